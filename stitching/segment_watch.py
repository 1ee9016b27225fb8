"""What became of a segment that is made: what hurts it, which pairs prove it, which links its demands cross."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice

from stitching.damage import Damage, first_gone, gone_words
from stitching.members import members_now, missing_side, names
from stitching.network import LinkKey
from stitching.plan import Situation
from stitching.segment import NO_ROOM, Member, SegmentRequest, SegmentTree, links_towards, ports_of, way_to

MOST_PROBES = 64
"""How many pairs of hosts are probed, one a second each."""


def segment_damage(request: SegmentRequest, tree: SegmentTree, now: Situation) -> Damage | None:
    """Links that are gone, hosts that came, went or moved, and who is left out."""
    gone = first_gone(tree.links, now.network, both_ways=True)
    if gone is not None:
        return Damage(gone_words(gone), path_gone=True, lost=True)
    members = members_now(request, now.network, now.directory, now.contested, tree)
    if (missing := missing_side(request, members)) is not None:
        return Damage(missing, path_gone=True, lost=True)
    here = {(member.mac, member.port) for member in tree.members}
    there = {(member.mac, member.port) for member in (*members.sources, *members.targets)}
    # Those for whom there was no room are tried again by and by, and not with every change of the fabric.
    waiting = {mac for mac, _ in there - here if NO_ROOM + mac in tree.left_out}
    news = [
        f"{words} {names(macs)}"
        for words, macs in (
            ("to join:", {mac for mac, _ in there - here} - waiting),
            ("gone or moved:", {mac for mac, _ in here - there}),
        )
        if macs
    ]
    if news:
        return Damage("hosts " + ", ".join(news))
    if (members.sources, members.targets) != (tree.sources, tree.targets) and not waiting:
        return Damage("ports are shared by other hosts than they were")
    left_out = members.left_out + tuple(reason for reason in tree.left_out if reason.startswith(NO_ROOM))
    if left_out:
        return Damage("; ".join(left_out))
    return Damage("a host that was left out may join") if tree.left_out else None


def probed_pairs(tree: SegmentTree) -> tuple[tuple[Member, Member], ...]:
    """A pair of hosts for every two switches with members of different sides, each way.

    Where these are more than MOST_PROBES, as many as let every such switch send to one and hear from one.
    """
    sources, targets = ({member.dpid: member for member in side} for side in (tree.sources, tree.targets))
    if 2 * len(sources) * len(targets) <= MOST_PROBES:
        chosen = [(one, other) for one in sources.values() for other in targets.values()]
    else:
        most = max(len(sources), len(targets))
        both = (islice(cycle(side.values()), most) for side in (sources, targets))
        chosen = list(zip(*both, strict=True))
    return tuple(pair for one, other in chosen for pair in ((one, other), (other, one)))


def segment_routes(tree: SegmentTree) -> Iterator[tuple[tuple[str, str], tuple[LinkKey, ...]]]:
    """The links that the packets of each pair cross."""
    ports = ports_of(tree.links)
    towards = {dpid: links_towards(ports, dpid) for dpid in {member.dpid for member in tree.members}}
    for sender, receiver in tree.pairs():
        yield (sender.mac, receiver.mac), way_to(towards[receiver.dpid], sender.dpid)
