"""What differs between the kinds of stitches, asked by those who carry any of them through its life."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stitching.damage import Damage, path_damage
from stitching.network import LinkKey, Network
from stitching.path_rules import path_rules
from stitching.plan import Situation, path_links, plan_path
from stitching.policy.ruling import Ruling
from stitching.rivalry import collide
from stitching.stages import NOTHING, Fleet
from stitching.stitch import Placement, Stitch, StitchPath, StitchRequest, VmRequest

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


def place(request: StitchRequest, situation: Situation) -> Placement:
    """Where a stitch would lie. Raises NotPossible with the field that stands in the way and what would do."""
    match request:
        case VmRequest():
            return plan_path(request, situation)


def rules(stitch: Stitch) -> Fleet:
    """All it needs, per switch; nothing where it lies nowhere."""
    match stitch.request, stitch.path:
        case VmRequest() as request, StitchPath() as path:
            return path_rules(stitch, request, path)
    return NOTHING


def links_to_reserve(request: StitchRequest, placement: Placement | None) -> tuple[LinkKey, ...]:
    """The links on which its bandwidth is promised."""
    match request, placement:
        case VmRequest(), StitchPath():
            return path_links(request, placement)
    return ()


def damage(stitch: Stitch, network: Network) -> Damage | None:
    """What is wrong with where it lies, None where nothing is or it lies nowhere."""
    match stitch.request, stitch.path:
        case VmRequest() as request, StitchPath() as path:
            return path_damage(request, path, network)
    return None


def parted(stitch: Stitch, network: Network, ruling: Ruling) -> str | None:
    """Why it may not be any more, now that hosts and rules are what they are; None where it may."""
    match stitch.request, stitch.path:
        case VmRequest() as request, (StitchPath() | None) as path:
            return ruling.forbids(request, path, network)
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
    return ()


def fixed_pairs(request: StitchRequest) -> tuple[Pair, ...] | None:
    """The demands (source MAC, target MAC) that it is about; None where those come and go with the hosts."""
    match request:
        case VmRequest():
            return request.directions


def carried(stitch: Stitch) -> Iterable[Pair]:
    """The demands (source MAC, target MAC) that are on it as far as it is made: others leave them alone."""
    match stitch.request:
        case VmRequest() as request:
            return request.directions


def routes(stitch: Stitch) -> Iterator[tuple[Pair, tuple[LinkKey, ...]]]:
    """The links each of its demands crosses. Of one application: how much of a demand it is, nobody measures."""
    match stitch.request, stitch.path:
        case VmRequest(application=None) as request, StitchPath() as path:
            yield from zip(request.directions, (path.links, path.reversed.links), strict=False)


def senders(stitch: Stitch) -> Iterator[tuple[int, frozenset[str]]]:
    """By whose entrance rules its load is counted: the MACs at each switch."""
    match stitch.request, stitch.path:
        case VmRequest() as request, StitchPath() as path:
            yield path.hops[0].dpid, frozenset({request.source_mac})


def same_place(one: Placement, other: Placement) -> bool:
    """Whether two placements are on the same links."""
    match one, other:
        case StitchPath(), StitchPath():
            spares = (path.backup.links if path.backup is not None else () for path in (one, other))
            return one.links == other.links and len(set(spares)) == 1
    return False


def rivals(request: StitchRequest, stitches: Iterable[Stitch]) -> list[Stitch]:
    """Those that would carry packets which this one is to carry, with no telling whose they are."""
    return [other for other in stitches if collide(request, other.request)]
