"""Why a packet arrives or does not: which rule decides, at which switch, and on which way it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stitching.application import Application
from stitching.network import Host, LinkKey
from stitching.policy.decision import Flow, Verdict
from stitching.policy.document import BETWEEN, PROTOCOLS
from stitching.policy.ruling import Ruling
from stitching.routes import CARRYING
from stitching.segment import SegmentTree
from stitching.segment_watch import segment_routes
from stitching.stitch import Hop, Stitch, VmRequest

_OF_SEGMENT = -1
"""What a segment counts for where the narrowest stitch is looked for: a path between two hosts comes before it."""

_NAMES = {number: name.upper() for name, number in PROTOCOLS.items()}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of a packet. allowed is what the policy says; arrives also asks for a way it may take.

    decided_at is the switch that decides, the sender's; hops is the way, switch by switch, empty where it ends
    there. stitch is the stitch it takes, None for the shortest way.
    """

    verdict: Verdict
    arrives: bool
    decided_at: int
    hops: tuple[Hop, ...]
    stitch: int | None
    words: str


def explain(
    ruling: Ruling,
    hosts: tuple[Host, Host],
    flow: Flow,
    way: Callable[[Host, Host], tuple[LinkKey, ...] | None],
    stitches: Iterable[Stitch],
) -> Explanation:
    """What becomes of a packet between two hosts; way gives the links of the shortest way, None without one."""
    source, target = hosts
    verdict = ruling.decide(source, target, flow)
    names = (ruling.directory.name_of(source), ruling.directory.name_of(target))
    may = "allowed" if verdict.allowed else "denied"
    head = f"{in_words(flow)} from {names[0]} to {names[1]} is {may} {by(verdict)}"
    stitch = _stitch(source, target, flow, stitches)
    if not verdict.allowed and verdict.rule == BETWEEN and stitch is not None and stitch[0] == _OF_SEGMENT:
        words = f"{in_words(flow)} from {names[0]} to {names[1]} is allowed by stitch {stitch[1]}, a segment"
        return Explanation(verdict, True, source.dpid, stitch[2], stitch[1], words)
    if not verdict.allowed:
        words = f"{head}; switch {source.dpid:016x} drops it where it enters"
        return Explanation(verdict, False, source.dpid, (), None, words)
    if source.port == target.port:
        words = f"{head}; both are on one port, so no switch sees it"
        return Explanation(verdict, True, source.dpid, (), None, words)
    if stitch is not None:
        return Explanation(
            verdict, True, source.dpid, stitch[2], stitch[1], f"{head}; it takes stitch {stitch[1]}"
        )
    links = way(source, target)
    if links is None:
        words = f"{head}, but no chain of links leads there"
        return Explanation(verdict, False, source.dpid, (), None, words)
    hops = _hops(source, target, links)
    unmet = ruling.unmet(verdict.demands, (hop.dpid for hop in hops), links)
    if unmet is not None:
        words = (
            f"{head}, but only on {_demanded(verdict)}: on the shortest way {unmet}, so switch {source.dpid:016x} "
            "drops it; a stitch between the two finds another way where there is one"
        )
        return Explanation(verdict, False, source.dpid, (), None, words)
    demanded = f", which is {_demanded(verdict)}" if verdict.demands else ""
    return Explanation(verdict, True, source.dpid, hops, None, f"{head}; it takes the shortest way{demanded}")


def in_words(flow: Flow) -> str:
    """A flow as people say it."""
    if flow.protocol is None:
        return "traffic of a protocol that no rule names"
    name = _NAMES.get(flow.protocol, f"IP protocol {flow.protocol}")
    return f"{name} to port {flow.dst_port}" if flow.dst_port is not None else name


def by(verdict: Verdict) -> str:
    """What decides, in words."""
    if verdict.by_default:
        return f"by the {verdict.rule}"
    return f"by rule {verdict.rule!r}" + (" as an answer to what it allows the other way" if verdict.reply else "")


def _demanded(verdict: Verdict) -> str:
    parts = ["encrypted links"] if verdict.demands.encrypted else []
    if verdict.demands.zones is not None:
        parts.append(f"switches of {' or '.join(sorted(verdict.demands.zones))}")
    return "a path of " + " and ".join(parts)


def _stitch(
    source: Host, target: Host, flow: Flow, stitches: Iterable[Stitch]
) -> tuple[int, int, tuple[Hop, ...]] | None:
    """How narrow the stitch is that takes a packet, its id and its hops: of two, the narrower one."""
    found: list[tuple[int, int, tuple[Hop, ...]]] = []
    for stitch in stitches:
        if stitch.state not in CARRYING:
            continue
        if isinstance(stitch.path, SegmentTree):
            links = dict(segment_routes(stitch.path)).get((source.mac, target.mac))
            if links is not None:
                found.append((_OF_SEGMENT, stitch.id, _hops(source, target, links)))
            continue
        request, path = stitch.request, stitch.vm_path
        if (
            path is None
            or not isinstance(request, VmRequest)
            or (source.mac, target.mac) not in request.directions
        ):
            continue
        there = request.source_mac == source.mac
        application = request.application
        if application is not None and not _is_of(flow, application if there else application.back):
            continue
        narrowness = 0 if application is None else application.narrowness
        found.append((narrowness, stitch.id, (path if there else path.reversed).hops))
    return max(found, default=None)


def _is_of(flow: Flow, application: Application) -> bool:
    """Whether a packet without a DSCP is of an application."""
    wanted = (
        (application.ip_proto, flow.protocol),
        (application.source_port, flow.src_port),
        (application.target_port, flow.dst_port),
        (application.ip_dscp, 0),
    )
    return all(one is None or one == has for one, has in wanted)


def _hops(source: Host, target: Host, links: tuple[LinkKey, ...]) -> tuple[Hop, ...]:
    dpids = (source.dpid, *(key[2] for key in links))
    in_ports = (source.port_no, *(key[3] for key in links))
    out_ports = (*(key[1] for key in links), target.port_no)
    return tuple(Hop(*hop) for hop in zip(dpids, in_ports, out_ports, strict=True))
