"""What a user calls a node or a link, and what is asked of a path in these words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pathing.constraints import Constraints
from pathing.errors import ConstraintError, UnknownNode
from pathing.topology import Topology

_LINK = "link:"


class SenselessPlace(Exception):
    """A place to avoid that contradicts the rest of the question, whatever the network."""


def constraints(
    topology: Topology,
    ends: tuple[str, str],
    limits: Mapping[str, float | None],
    avoid: Iterable[str],
    require: Iterable[str],
) -> Constraints:
    """Make the constraints out of `limits` by field name, and the places to avoid and to cross between `ends`.

    A place is a node, "link:ID", or "SRC:DST", which stands for all links from SRC to DST where they are avoided
    and for the only one where it is required. Raises `UnknownNode` and `ConstraintError`, and `SenselessPlace`
    for what no network could answer.
    """
    avoid_nodes, avoid_links = _places(topology, avoid)
    require_nodes, require_links = _places(topology, require, one=True)
    for name, what in zip(ends, ("source", "destination"), strict=True):
        if name in avoid_nodes:
            raise SenselessPlace(f"{name!r} is the {what}, which every path is at")
    for place in (*avoid_nodes & require_nodes, *(f"{_LINK}{link}" for link in avoid_links & require_links)):
        raise SenselessPlace(f"{place!r} is required too; take it out of one of the two")
    return Constraints(
        **limits,  # type: ignore[arg-type]  # every field checks its value
        avoid_nodes=avoid_nodes,
        avoid_links=avoid_links,
        require_nodes=require_nodes,
        require_links=require_links,
    )


def _places(topology: Topology, texts: Iterable[str], one: bool = False) -> tuple[frozenset[str], frozenset[int]]:
    nodes, links = set(), set()
    for text in texts:
        # A node may be called anything, also "link:1" and "a:b".
        if text in topology.node_names:
            nodes.add(text)
        elif text.startswith(_LINK) and text.removeprefix(_LINK).isdecimal():
            links.add(topology.link(int(text.removeprefix(_LINK))).id)
        else:
            links |= _between(topology, text, one)
    return frozenset(nodes), frozenset(links)


def _between(topology: Topology, text: str, one: bool) -> set[int]:
    """The links that "SRC:DST" means, whatever colons there are in the names."""
    known = set(topology.node_names)
    parts = text.split(":")
    ends = [(":".join(parts[:cut]), ":".join(parts[cut:])) for cut in range(1, len(parts))]
    pairs = [(src, dst) for src, dst in ends if src in known and dst in known]
    if not pairs:
        unknown = next((name for pair in ends[:1] for name in pair if name not in known), text)
        raise UnknownNode(unknown, known)
    links = {link.id for src, dst in pairs for link in topology.links_between(src, dst)}
    if not links:
        raise ConstraintError(f"no link goes from {pairs[0][0]!r} straight to {pairs[0][1]!r}")
    if one and len(links) > 1:
        ids = ", ".join(f"{_LINK}{link}" for link in sorted(links))
        raise ConstraintError(f"{text!r} are {len(links)} parallel links; require one of {ids}")
    return links
