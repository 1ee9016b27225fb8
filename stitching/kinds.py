"""What differs between the kinds of stitches, asked by those who carry any of them through its life."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from stitching.bandwidth_plan import bandwidth_damage, missing_hosts, plan_bandwidth
from stitching.bandwidth_rules import bandwidth_rules
from stitching.damage import Damage, path_damage
from stitching.labels import free_label, free_mark, free_meter, paths_of, segment_labels
from stitching.members import members_now, missing_side, names
from stitching.network import LinkKey, Network
from stitching.path_rules import path_rules
from stitching.plan import NotPossible, Situation, over_plain_links, path_links, plan_path
from stitching.policy.ruling import Ruling
from stitching.rivalry import collide
from stitching.segment import can_follow
from stitching.segment_detours import booked
from stitching.segment_failover import protected_rules
from stitching.segment_plan import plan_segment
from stitching.segment_policy import allowed_links, forbids_segment
from stitching.segment_rules import segment_rules
from stitching.segment_watch import Flood, floods, probed_pairs, segment_damage, segment_routes
from stitching.stages import NOTHING, Fleet
from stitching.stitch import (
    BandwidthRequest,
    BandwidthShares,
    Placement,
    SegmentRequest,
    SegmentTree,
    State,
    Stitch,
    StitchPath,
    StitchRequest,
    VmRequest,
)

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ProbeWay:
    """A probe that proves a stitch: whose packet it stands for, and at which switches it enters and comes out.

    It enters with a label where the rules that put one on would not know it for a packet of the stitch.
    """

    pair: Pair
    enters: int
    leaves: int
    label: int | None = None

    @property
    def comes_out(self) -> frozenset[int]:
        """The switches that it has to come out at."""
        return frozenset({self.leaves})

    @property
    def ends(self) -> frozenset[int]:
        """The switches that it enters and leaves by."""
        return frozenset({self.enters, self.leaves})


def place(request: StitchRequest, situation: Situation, before: Placement | None = None) -> Placement:
    """Where a stitch would lie. Raises NotPossible with the field that stands in the way and what would do."""
    match request:
        case VmRequest():
            return plan_path(request, situation)
        case SegmentRequest():
            return _plan_segment(request, situation, before if isinstance(before, SegmentTree) else None)
        case BandwidthRequest():
            return plan_bandwidth(request, situation, before if isinstance(before, BandwidthShares) else None)


def _plan_segment(request: SegmentRequest, situation: Situation, before: SegmentTree | None) -> SegmentTree:
    members = members_now(request, situation.network, situation.directory, situation.contested, before)
    sides = [member.mac for member in members.sources], [member.mac for member in members.targets]
    allowed = allowed_links(sides, situation.network, situation.rulings, encrypted=request.encrypted)
    remedy = "change what the policy says of these hosts"
    try:
        tree = plan_segment(request, replace(situation, network=allowed), before)
    except NotPossible as error:
        if request.encrypted:
            raise over_plain_links(NotPossible("encrypted", error.reason, error.remedy)) from error
        if allowed is situation.network:
            raise
        reason = f"{error.reason}, on the links that the policy leaves to it"
        raise NotPossible(error.field, reason, f"{error.remedy}, or {remedy}") from error
    if (forbidden := forbids_segment(tree, allowed, situation.rulings)) is not None:
        raise NotPossible("destination", forbidden, remedy)
    return tree


def refuse(request: StitchRequest) -> None:
    """Raise NotPossible for what nobody can give to this kind, or to any."""
    if request.encrypted and isinstance(request, BandwidthRequest):
        raise NotPossible(
            "encrypted",
            "a stitch of kind bandwidth leads no packet anywhere: it cannot keep them on encrypted links",
            "let a rule of the policy demand encryption between these networks, or leave encrypted out",
        )
    if request.expects is not None and not isinstance(request, VmRequest):
        raise NotPossible(
            "mode",
            f"a stitch of kind {request.KIND} is not made on the forecast: only the traffic between two hosts is",
            "ask for mode 'now', with valid times if need be",
        )


def rules(stitch: Stitch) -> Fleet:
    """All it needs, per switch; nothing where it lies nowhere."""
    match stitch.request, stitch.path:
        case VmRequest() as request, StitchPath() as path:
            return path_rules(stitch, request, path)
        case SegmentRequest(), SegmentTree() as tree:
            return (protected_rules if tree.detours else segment_rules)(stitch.id, tree)
        case BandwidthRequest(), BandwidthShares() as placed:
            return bandwidth_rules(stitch.id, placed)
    return NOTHING


def links_to_reserve(request: StitchRequest, placement: Placement | None) -> tuple[LinkKey, ...]:
    """The links on which its bandwidth is promised."""
    match request, placement:
        case VmRequest(), StitchPath():
            return path_links(request, placement)
        case SegmentRequest(), SegmentTree():
            return booked(placement)
        case BandwidthRequest(), BandwidthShares():
            return placement.links if request.bandwidth_mbps else ()
    return ()


def damage(stitch: Stitch, now: Situation) -> Damage | None:
    """What is wrong with where it lies, None where nothing is or it lies nowhere."""
    hurt = _damage(stitch, now)
    return hurt if hurt is not None and hurt.lost else _in_the_open(stitch, now) or hurt


def _in_the_open(stitch: Stitch, now: Situation) -> Damage | None:
    """It has to be on encrypted links, and one of them is encrypted no more."""
    if stitch.path is None or not (stitch.request.encrypted or now.rulings.demands_encryption):
        return None
    reason = None
    if stitch.request.encrypted:
        reason = now.rulings.plain(links_to_reserve(stitch.request, stitch.path))
    reason = reason or parted(stitch, now.network, now.rulings)
    return Damage(reason, path_gone=True, lost=True) if reason is not None else None


def _damage(stitch: Stitch, now: Situation) -> Damage | None:
    network = now.network
    match stitch.request, stitch.path:
        case VmRequest() as request, StitchPath() as path:
            return path_damage(request, path, network)
        case SegmentRequest() as request, SegmentTree() as tree:
            return segment_damage(request, tree, now)
        case BandwidthRequest() as request, BandwidthShares() as placed:
            return bandwidth_damage(request, placed, now)
    return None


def waits_for(request: StitchRequest, now: Situation) -> str | None:
    """What has to come before it can be made, None where it may be tried."""
    match request:
        case SegmentRequest():
            members = members_now(request, now.network, now.directory, now.contested)
            # One that has nobody left for their addresses is refused instead.
            return None if members.left_out else missing_side(request, members)
        case BandwidthRequest():
            return missing_hosts(request, now)
    return None


def shortcomings(placement: Placement) -> tuple[str, ...]:
    """What a placement lacks of what was asked for."""
    match placement:
        case SegmentTree():
            return placement.left_out
    return ()


def parted(stitch: Stitch, network: Network, ruling: Ruling) -> str | None:
    """Why it may not be any more, now that hosts and rules are what they are; None where it may."""
    match stitch.request, stitch.path:
        case VmRequest() as request, (StitchPath() | None) as path:
            return ruling.forbids(request, path, network)
        case SegmentRequest(), SegmentTree() as tree:
            return forbids_segment(tree, network, ruling)
    return None


def probe_ways(stitch: Stitch) -> tuple[ProbeWay, ...]:
    """The probes that prove it, all of which have to come through."""
    match stitch.request, stitch.path:
        case VmRequest() as request, StitchPath() as path:
            # A probe is no packet of an application: it enters behind the rules that tell those.
            label = path.label if request.application is not None else None
            ends = (path.hops[0].dpid, path.hops[-1].dpid)
            both = (ends, ends[::-1])
            return tuple(ProbeWay(pair, *way, label) for pair, way in zip(request.directions, both, strict=False))
        case SegmentRequest(), SegmentTree() as tree:
            return tuple(ProbeWay((one.mac, other.mac), one.dpid, other.dpid) for one, other in probed_pairs(tree))
    return ()


def probed_links(stitch: Stitch) -> Iterator[tuple[LinkKey, ...]]:
    """The links that each of its probes between two hosts crosses, in the order of probe_ways."""
    match stitch.path:
        case StitchPath() as path:
            yield from (path.links, path.reversed.links)[: len(probe_ways(stitch))]
        case SegmentTree() as tree:
            way = dict(segment_routes(tree))
            yield from (way.get(probe.pair, ()) for probe in probe_ways(stitch))


def broadcast_probes(stitch: Stitch) -> tuple[Flood, ...]:
    """The broadcast probes that prove it beside those, each of which has to come out at all its switches."""
    return floods(stitch.path) if isinstance(stitch.path, SegmentTree) else ()


def silent_words(stitch: Stitch, numbers: Iterable[int]) -> str:
    """Of which hosts nothing comes through, by the numbers of probes."""
    probes: tuple[ProbeWay | Flood, ...] = (*probe_ways(stitch), *broadcast_probes(stitch))
    said = [
        f"from broadcast of host {probe.pair[0]}"
        if isinstance(probe, Flood)
        else "from host {} to {}".format(*probe.pair)
        for probe in (probes[number] for number in numbers if number < len(probes))
    ]
    return names(said, most=4)


def has_branches(request: StitchRequest) -> bool:
    """Whether a part of it may be dead while another one carries."""
    return isinstance(request, SegmentRequest)


def near(stitch: Stitch) -> Placement | None:
    """What a better place for a stitch is looked for near to; one that is up may lie anywhere."""
    if stitch.state is State.UP and isinstance(stitch.path, SegmentTree):
        return replace(stitch.path, links=(), detours=())
    return stitch.path


def fixed_pairs(request: StitchRequest) -> tuple[Pair, ...] | None:
    """The demands (source MAC, target MAC) that it is about; None where those come and go with the hosts."""
    match request:
        case VmRequest():
            return request.directions
    return None


def carried(stitch: Stitch) -> Iterable[Pair]:
    """The demands (source MAC, target MAC) that are on it as far as it is made: others leave them alone."""
    match stitch.request, stitch.path:
        case VmRequest() as request, _:
            return request.directions
        case SegmentRequest(), SegmentTree() as tree:
            return ((one.mac, other.mac) for one, other in tree.pairs())
    return ()


def routes(stitch: Stitch) -> Iterator[tuple[Pair, tuple[LinkKey, ...]]]:
    """The links each of its demands crosses. Of one application: how much of a demand it is, nobody measures."""
    match stitch.request, stitch.path:
        case VmRequest(application=None) as request, StitchPath() as path:
            yield from zip(request.directions, (path.links, path.reversed.links), strict=False)
        case SegmentRequest(), SegmentTree() as tree:
            yield from segment_routes(tree)


def senders(stitch: Stitch) -> Iterator[tuple[int, frozenset[str]]]:
    """By whose entrance rules its load is counted: the MACs at each switch."""
    match stitch.request, stitch.path:
        case VmRequest() as request, StitchPath() as path:
            yield path.hops[0].dpid, frozenset({request.source_mac})
        case SegmentRequest(), SegmentTree() as tree:
            for dpid in sorted({member.dpid for member in tree.members}):
                yield dpid, frozenset(member.mac for member in tree.members if member.dpid == dpid)


def entrances(stitch: Stitch) -> frozenset[int]:
    """The switches where packets enter it, in any direction."""
    found = {dpid for dpid, _ in senders(stitch)}
    if isinstance(stitch.path, StitchPath) and stitch.vm_request.both_ways:
        found.add(stitch.path.hops[-1].dpid)
    return frozenset(found)


def same_place(one: Placement, other: Placement) -> bool:
    """Whether two placements are on the same links."""
    match one, other:
        case StitchPath(), StitchPath():
            spares = (path.backup.links if path.backup is not None else () for path in (one, other))
            return one.links == other.links and len(set(spares)) == 1
        case SegmentTree(), SegmentTree():
            one, other = (
                replace(tree, latency_ms=None, label=0, since=0, detour_labels=()) for tree in (one, other)
            )
            return one == other
        case BandwidthShares(), BandwidthShares():
            return replace(one, shares=(), meter=0, mark=0) == replace(other, shares=(), meter=0, mark=0)
    return False


def labelled(stitch: Stitch, placement: Placement, stitches: Iterable[Stitch], *, settled: bool) -> Placement:
    """A new placement of a stitch (in its new epoch) with labels by which no packet of another one is told.

    stitches are all that may have packets on the way. settled: of earlier placements of this one nothing is left.
    """
    match stitch.request, placement:
        case VmRequest() as request, StitchPath():
            return replace(placement, label=free_label(request, stitch.epoch, paths_of(stitches)))
        case SegmentRequest(), SegmentTree():
            before = stitch.path
            if settled and isinstance(before, SegmentTree) and before.label and can_follow(before, placement):
                return replace(
                    placement, label=before.label, detour_labels=before.detour_labels, since=before.since
                )
            count = 1 + max((detour.colour + 1 for detour in placement.detours), default=0)
            label, *others = segment_labels(
                stitch.epoch, count, stitches, before if isinstance(before, SegmentTree) else None
            )
            return replace(placement, label=label, detour_labels=tuple(others), since=stitch.epoch)
        case BandwidthRequest(), BandwidthShares():
            meter = placement.meter or (free_meter(stitches) if placement.shares else 0)
            mark = free_mark(placement, (other for other in stitches if other.id != stitch.id))
            return replace(placement, meter=meter, mark=mark)
    return placement


def rivals(request: StitchRequest, stitches: Iterable[Stitch]) -> list[Stitch]:
    """Those that would carry packets which this one is to carry, with no telling whose they are."""
    return [other for other in stitches if collide(request, other.request)]
