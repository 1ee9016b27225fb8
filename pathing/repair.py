"""Detours that keep a path going when a link or a node of it fails, found where the failure is seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from pathing.csr import FloatArray
from pathing.errors import TopologyError
from pathing.path import Path
from pathing.shortest import search
from pathing.topology import Topology
from pathing.weights import Weight, weigh

# How far to look for a detour, as multiples of the way that is left; in vain, everywhere.
_SEARCH_AS_FAR_AS = (1.25, 2.5)


@dataclass(frozen=True, slots=True)
class Detour:
    """A way around a failed `link`, by id, or a failed `node`; the other of the two is None.

    `path` runs from the point of local repair, the last node before the failure, to the merge point, from where
    the packet follows the protected path again. `weight` is that of the whole way from end to end.
    `turns_back`: its first link leads to the node the packet has just come from. Where that is the port it came in
    by, a switch sends it out only if the action says OFPP_IN_PORT.
    """

    path: Path
    weight: float
    turns_back: bool
    link: int | None = None
    node: str | None = None

    @property
    def at(self) -> str:
        """The point of local repair."""
        return self.path.src

    @property
    def merge(self) -> str:
        """The merge point, the destination at the latest."""
        return self.path.dst


@dataclass(frozen=True, slots=True)
class Repair:
    """The detours of a path, in its order, None where there is no way around.

    `links` has an entry for each link of `path`, `nodes` one for each node between its ends.
    """

    path: Path
    links: tuple[Detour | None, ...]
    nodes: tuple[Detour | None, ...]

    @property
    def unprotected_links(self) -> tuple[int, ...]:
        """Ids of the links without a detour."""
        return tuple(link for link, detour in zip(self.path.links, self.links, strict=True) if detour is None)

    @property
    def unprotected_nodes(self) -> tuple[str, ...]:
        """Names of the nodes between the ends without a detour."""
        between = self.path.nodes[1:-1]
        return tuple(node for node, detour in zip(between, self.nodes, strict=True) if detour is None)

    @property
    def backups(self) -> tuple[Detour | None, ...]:
        """For each link, the detour for the second bucket of the fast-failover group at its near end.

        A switch sees that a link is dead, not why. So it is the detour around the node behind the link, which
        avoids the link as well; around the link alone where that node is the destination or a cut node.
        """
        return tuple(node or link for node, link in zip_longest(self.nodes, self.links))


def local_repair(topology: Topology, path: Path, weight: Weight = "latency_ms") -> Repair:
    """Find for each link, and each node between the ends, of `path` the detour that protects it.

    Of all ways from the point of local repair to any later node of the path and on along it, without the failed
    link or node, a detour is part of the one of least weight; the merge point is the first node from where the
    rest of that way is the path itself. A cut cable takes both directions with it: that needs no more, as no way
    that leaves a node comes back to it.

    It is assumed that packets on a detour carry a mark of that detour (a VLAN tag, a label) which is put on at the
    point of local repair and taken off at the merge point, and that the rules of the path do not match marked
    packets. So a detour may lead back over nodes of the path, even to the one before (`Detour.turns_back`), and
    cross later ones, without meeting a rule that would send the packet to the failure again. Beyond the merge
    point the path visits no node of the detour, so nothing loops. One failure at a time: all else counts as it is
    now, and so do links that are down.

    Raises `UnknownNode`, `WeightError`, and `TopologyError` where `path` is no path in the topology: a link does
    not join its nodes or is out of use, or a node comes twice.
    """
    weights = weigh(topology, weight).by_link
    _check(topology, path, weights)
    rest = [0.0]
    for link in reversed(path.links):
        rest.append(float(weights[link]) + rest[-1])
    search = _Search(topology, path, weights, rest[::-1])
    _, heads = topology.ends()
    links, nodes = [], []
    for position, link in enumerate(path.links):
        without_link = weights.copy()
        without_link[link] = np.inf
        links.append(search.detour(without_link, position, link=link))
    for position, node in enumerate(path.nodes[1:-1]):
        without_node = np.where(heads == topology.node_index(node), np.inf, weights)
        nodes.append(search.detour(without_node, position, node=node))
    return Repair(path, tuple(links), tuple(nodes))


def _check(topology: Topology, path: Path, weights: FloatArray) -> None:
    for node in path.nodes:
        topology.node_index(node)
    if len(path.nodes) != len(path.links) + 1:
        raise TopologyError(f"the path has {len(path.nodes)} nodes and {len(path.links)} links; it needs one less")
    twice = [node for node in path.nodes if path.nodes.count(node) > 1]
    if twice:
        raise TopologyError(f"the path visits node {twice[0]!r} twice; give one without loops")
    for number, src, dst in zip(path.links, path.nodes[:-1], path.nodes[1:], strict=True):
        link = topology.link(number)
        if (link.src, link.dst) != (src, dst):
            raise TopologyError(
                f"link {number} ({link.src!r} -> {link.dst!r}) of the path does not join {src!r} and {dst!r}"
            )
        if math.isinf(weights[number]):
            raise TopologyError(
                f"link {number} ({src!r} -> {dst!r}) of the path is out of use; repair a path that works"
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """`rest`: the weight of what is left of the path, from each of its nodes."""

    topology: Topology
    path: Path
    weights: FloatArray
    rest: Sequence[float]

    def detour(
        self, left: FloatArray, near: int, *, link: int | None = None, node: str | None = None
    ) -> Detour | None:
        """Find a detour by the weights that are `left`, from position `near` of the path to any later one."""
        nodes, graph = self.path.nodes, weigh(self.topology, left)
        # Detours are mostly short, networks may be large: no way beyond the limit beats one within it.
        for limit in (*(times * self.rest[near] for times in _SEARCH_AS_FAR_AS), math.inf):
            tree = search(self.topology, graph, nodes[near], to_root=False, limit=limit)
            total = {
                nodes[position]: float(tree.distance[self.topology.node_index(nodes[position])])
                + self.rest[position]
                for position in range(near + 1, len(nodes))
            }
            goal = min(total, key=total.__getitem__)
            least = total[goal]
            if least < limit:
                break
        else:
            return None
        way = tree.path(goal)
        # The way may meet the path again before its goal and be as good from there along the path.
        hops = next(hop for hop, name in enumerate(way.nodes) if total.get(name, math.inf) <= least)
        detour = Path(way.nodes[: hops + 1], way.links[:hops], self._weight(way.links[:hops]))
        links = (*self.path.links[:near], *detour.links, *self.path.links[nodes.index(detour.dst) :])
        turns_back = near > 0 and detour.nodes[1] == nodes[near - 1]
        return Detour(detour, self._weight(links), turns_back, link, node)

    def _weight(self, links: Sequence[int]) -> float:
        return math.fsum(float(self.weights[link]) for link in links)
