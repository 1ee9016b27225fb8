"""What the policy says of a segment, which takes the place of the default deny, and not of rules that deny.

At every sender's switch the rules of the policy for a pair of hosts come before that of the segment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from stitching.network import Host, Network, reverse
from stitching.policy.document import Demands
from stitching.policy.ruling import Ruling
from stitching.segment import SegmentTree

Pair = tuple[Host, Host]


def allowed_links(
    sides: tuple[Collection[str], Collection[str]], network: Network, ruling: Ruling, *, encrypted: bool = False
) -> Network:
    """The fabric with only the links that a segment of these hosts (MACs) may use; its hosts are there."""
    demands = Demands(encrypted)
    for pair in _pairs(sides, network, ruling):
        demands = demands.and_also(ruling.demands(*pair))
    if not demands:
        return network
    links = {
        key: link
        for key, link in network.links.items()
        if ruling.unmet(demands, (key[0], key[2]), (key, reverse(key))) is None
    }
    return replace(network, links=links)


def forbids_segment(tree: SegmentTree, network: Network, ruling: Ruling) -> str | None:
    """Why a segment must not be, or None: no pair of its hosts may talk, or not on its links.

    Hosts that are not there now forbid nothing.
    """
    sides = tuple(member.mac for member in tree.sources), tuple(member.mac for member in tree.targets)
    pairs = list(_pairs(sides, network, ruling))
    denied = [reason for pair in pairs if (reason := ruling.denies(*pair)) is not None]
    if pairs and len(denied) == len(pairs):
        return denied[0]
    links = (*tree.all_links, *(reverse(key) for key in tree.all_links))
    for pair in pairs:
        for pattern in ruling.between(*pair):
            if (
                pattern.allowed
                and (reason := ruling.unmet(pattern.demands, sorted(tree.dpids), links)) is not None
            ):
                return f"policy rule {pattern.rule!r} demands other links: {reason}"
    return None


def _pairs(sides: tuple[Collection[str], Collection[str]], network: Network, ruling: Ruling) -> Iterator[Pair]:
    """A pair of hosts for every two standings of different sides, each way."""
    first, second = (
        {ruling.standing(network.hosts[mac]): network.hosts[mac] for mac in side if mac in network.hosts}
        for side in sides
    )
    for one in first.values():
        for other in second.values():
            yield one, other
            yield other, one
