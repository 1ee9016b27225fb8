"""What became of a segment that is made: what hurts it, which pairs prove it, which links its demands cross."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice

from stitching.damage import Damage, first_gone, gone_words
from stitching.members import members_now, missing_side, names
from stitching.network import LinkKey, Network
from stitching.plan import Situation
from stitching.segment import NO_ROOM, Member, SegmentRequest, SegmentTree, links_towards, ports_of, way_to
from stitching.segment_reach import Reach
from stitching.terms import Protection

MOST_PROBES = 64
"""How many pairs of hosts are probed, one a second each."""

MOST_FLOODS = 16
"""How many switches broadcast is probed from, one a second, in each direction."""

BROADCAST = "ff:ff:ff:ff:ff:ff"


def segment_damage(request: SegmentRequest, tree: SegmentTree, now: Situation) -> Damage | None:
    """Links that are gone, hosts that came, went or moved, and who is left out."""
    gone = first_gone(tree.links, now.network, both_ways=True)
    if gone is not None:
        return _broken(tree, gone, now.network)
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
        # One that has had to do without protection takes them in without.
        bare = request.protection is not Protection.NONE and not tree.detours
        return Damage("hosts " + ", ".join(news), path_gone=bare)
    if (members.sources, members.targets) != (tree.sources, tree.targets) and not waiting:
        return Damage("ports are shared by other hosts than they were")
    left_out = members.left_out + tuple(reason for reason in tree.left_out if reason.startswith(NO_ROOM))
    if lacks := (*_unprotected(request, tree, now.network), *left_out):
        return Damage("; ".join(lacks))
    return Damage("a host that was left out may join") if tree.left_out else None


def _broken(tree: SegmentTree, gone: LinkKey, network: Network) -> Damage:
    """A link of the tree is gone: as long as some still reach each other, those are left alone."""
    reach = Reach(tree, network.links)
    if next(reach.pairs(), None) is None:
        return Damage(gone_words(gone), path_gone=True, lost=True)
    cut_off = reach.cut_off()
    but = f"hosts {names(cut_off)} are cut off" if cut_off else "it runs on detours and is not protected"
    return Damage(f"{gone_words(gone)}: {but}", path_gone=True)


def _unprotected(request: SegmentRequest, tree: SegmentTree, network: Network) -> Iterator[str]:
    """Why a tree that is to be protected is not, where it is not."""
    if request.protection is Protection.NONE or not tree.links:
        return
    if not tree.detours:
        yield "it is not protected"
    gone = (first_gone(detour.links, network, both_ways=False) for detour in tree.detours)
    if (key := next((key for key in gone if key is not None), None)) is not None:
        yield f"{gone_words(key)} of a detour: it is not protected"


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


@dataclass(frozen=True, slots=True)
class Flood:
    """A broadcast probe: as whose packet, and with which label, it enters at a switch, and where it comes out.

    way is the direction of the segment that it proves, a part of it: those of one direction are sent in turn.
    """

    pair: tuple[str, str]
    enters: int
    leaves: frozenset[int]
    label: int
    way: int

    @property
    def comes_out(self) -> frozenset[int]:
        """The switches that it has to come out at."""
        return self.leaves

    @property
    def ends(self) -> frozenset[int]:
        """The switches that it enters and leaves by."""
        return self.leaves | {self.enters}


def floods(tree: SegmentTree) -> tuple[Flood, ...]:
    """A broadcast from each switch that members send from, in each direction: MOST_FLOODS at most."""
    found: list[Flood] = []
    for way, (senders, receivers, label) in enumerate(tree.ways):
        there = {receiver.dpid for receiver in receivers}
        first = {sender.dpid: sender for sender in reversed(senders)}
        each = (
            Flood((first[dpid].mac, BROADCAST), dpid, frozenset(there - {dpid}), label, way)
            for dpid in sorted(first)
            if there - {dpid}
        )
        found += islice(each, MOST_FLOODS)
    return tuple(found)


def segment_routes(tree: SegmentTree) -> Iterator[tuple[tuple[str, str], tuple[LinkKey, ...]]]:
    """The links that the packets of each pair cross."""
    ports = ports_of(tree.links)
    towards = {dpid: links_towards(ports, dpid) for dpid in {member.dpid for member in tree.members}}
    for sender, receiver in tree.pairs():
        yield (sender.mac, receiver.mac), way_to(towards[receiver.dpid], sender.dpid)
