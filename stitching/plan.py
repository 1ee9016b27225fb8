"""From a request to a path: which way a stitch goes, and whether it may be promised at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from pathing import (
    Constraints,
    CostWeights,
    Fault,
    LabelBudget,
    NoPath,
    Path,
    Topology,
    Undecided,
    constrained_path,
    disjoint_paths,
    link_cost,
    shortest_path,
)
from stitching.network import Host, LinkKey, Network, node_name, reverse
from stitching.path_memory import PathMemory, Room
from stitching.policy.ruling import Ruling
from stitching.stitch import Hop, Protection, StitchPath, VmRequest
from stitching.terms import Terms
from stitching.vnet import Directory

Floats = npt.NDArray[np.float64]

SEARCH_S = 1.0
"""How long the search for two paths may take where it is hard (a limit on latency): other stitches wait for it."""

DISJOINT_GAP = 0.01
"""Two paths within 1 % of the best are as good as the best: loads are not known better."""


LOSS_MS = 1e4
"""What loss costs where it is limited: for one per cent less, a path may take 100 ms more."""


class NotPossible(Exception):
    """A stitch cannot be had: the field that stands in the way, why, and what would help."""

    def __init__(self, field: str, reason: str, remedy: str) -> None:
        super().__init__(f"{field}: {reason}; {remedy}")
        self.field = field
        self.reason = reason
        self.remedy = remedy


class Rooms(Protocol):
    """What could still be promised on links (pathing.Resources, or a part of it)."""

    def free(self, key: LinkKey) -> float:
        """Mbit/s left to promise on a link."""


@dataclass(frozen=True)
class Situation:
    """What a plan is made on.

    load_mbps is what each link is expected to carry (absent means nothing is known, taken as idle); resources
    holds what is promised already; ruling is what the policy says now. contested are the addresses that several
    hosts claim, with their MACs; demand_mbps is what each pair sent lately, and routes tells the links that each
    pair crosses. paths are those found before on this network under this load. lossy (-ln of the share that comes
    through) and late_ms are what links are suspected of adding to what is known of them, see stitching.blame.
    """

    network: Network
    directory: Directory
    resources: Rooms
    load_mbps: Mapping[LinkKey, float]
    ruling: Ruling | None = None
    contested: Mapping[str, frozenset[str]] = field(default_factory=dict)
    demand_mbps: Mapping[tuple[str, str], float] = field(default_factory=dict)
    routes: Callable[[], Mapping[tuple[str, str], tuple[LinkKey, ...]]] = dict
    paths: PathMemory = field(default_factory=PathMemory)
    lossy: Mapping[LinkKey, float] = field(default_factory=dict)
    late_ms: Mapping[LinkKey, float] = field(default_factory=dict)

    @property
    def suspects(self) -> bool:
        """Whether any link is suspected of anything: mostly none is, and asking of each would cost."""
        return bool(self.lossy or self.late_ms)

    def suspicion_ms(self, request: Terms, keys: Iterable[LinkKey], *, both_ways: bool) -> list[float]:
        """What links cost beside latency and load, for what has a limit on loss or latency.

        A way round is worth a lot where loss is limited: no limit is put on it, so that what is suspected wrongly
        can keep nobody from the only path there is.
        """
        lossy = self.lossy if request.max_loss is not None else {}
        late_ms = self.late_ms if request.max_latency_ms is not None else {}

        def one_way_ms(key: LinkKey) -> float:
            return LOSS_MS * lossy.get(key, 0.0) + late_ms.get(key, 0.0)

        if not both_ways:
            return [one_way_ms(key) for key in keys]
        return [one_way_ms(key) + one_way_ms(reverse(key)) for key in keys]

    @property
    def rulings(self) -> Ruling:
        """What the policy says; without one, hosts of one virtual network may talk."""
        return self.ruling or Ruling(directory=self.directory, marked=self.network.encrypted_ports)


def plan_path(request: VmRequest, situation: Situation) -> StitchPath:
    """The cheapest path that can be promised, cost being latency plus congestion (see pathing.link_cost).

    Raises NotPossible naming the field that makes it impossible and the nearest value that would have worked.
    """
    source, target = _endpoints(request, situation)
    both_ways = uses_both_ways(request)
    allowed = situation.rulings.allowed_part(situation.network, request, both_ways=both_ways)
    narrowed = allowed is not situation.network
    if narrowed:
        situation = replace(situation, network=allowed, paths=PathMemory())
    try:
        path = _plan_path(request, situation, source, target)
    except NotPossible as error:
        if request.encrypted:
            raise over_plain_links(error) from error
        if narrowed:
            raise _by_policy(error, error.reason) from error
        raise
    if (reason := situation.rulings.forbids(request, path, situation.network)) is not None:
        raise _by_policy(NotPossible("destination", reason, "ask for another pair of hosts"), reason)
    return path


def over_plain_links(error: NotPossible) -> NotPossible:
    """The same where only encrypted links may be used."""
    field = "encrypted" if error.field == "destination" else error.field
    remedy = "or mark links as encrypted (PUT /v1/links/encryption), or leave encrypted out"
    return NotPossible(
        field, f"{error.reason}, over links that are marked as encrypted", f"{error.remedy}, {remedy}"
    )


def _by_policy(error: NotPossible, reason: str) -> NotPossible:
    """The same where the policy leaves only a part of the fabric to a path."""
    said = reason if reason.startswith("policy") else f"{reason}, on the links that the policy leaves to it"
    return NotPossible(error.field, said, f"{error.remedy}, or change what the policy demands of the path")


def _plan_path(request: VmRequest, situation: Situation, source: Host, target: Host) -> StitchPath:
    network = situation.network
    if source.dpid == target.dpid:
        return StitchPath((Hop(source.dpid, source.port_no, target.port_no),), (), 0.0)
    try:
        paths = _best(request, situation, source.dpid, target.dpid)
    except NoPath as error:
        raise _not_possible(request, error) from error
    except (LabelBudget, Undecided) as error:
        raise _not_found(request) from error
    first, *others = (_stitch_path(path, source, target, network) for path in paths)
    return replace(first, backup=others[0]) if others else first


def _best(request: VmRequest, situation: Situation, source: int, target: int) -> tuple[Path, ...]:
    """The path between two switches, and its backup where there is to be one: found before, or searched."""
    network, mbps = situation.network, request.bandwidth_mbps
    both_ways = uses_both_ways(request)
    room = _room(situation, both_ways=both_ways)
    limits_loss = request.max_loss is not None
    asked = (source, target, mbps, request.max_latency_ms, request.protection, both_ways, limits_loss)
    known = situation.paths.recall(asked, mbps, room)
    if known is not None:
        return known
    topology = network.both_ways if both_ways else network.topology
    load = np.array([situation.load_mbps.get(key, 0.0) for key in network.link_order])
    free = np.array([room(key) for key in network.link_order], dtype=np.float64)
    cost = link_cost(topology, load_mbps=load + mbps, weights=CostWeights())
    if situation.suspects:
        cost = cost + np.array(situation.suspicion_ms(request, network.link_order, both_ways=both_ways))
    question = _Question(
        topology,
        node_name(source),
        node_name(target),
        Constraints(bandwidth_mbps=mbps, max_latency_ms=request.max_latency_ms, free_mbps=free),
        cost,
    )
    paths = _paths(request.protection, question)
    full = tuple(network.link_order[row] for row in np.flatnonzero(free < mbps))
    situation.paths.keep(asked, paths, network, full)
    return paths


@dataclass(frozen=True, eq=False, slots=True)
class _Question:
    """Between which nodes, what has to hold, and what a link costs."""

    topology: Topology
    source: str
    target: str
    wanted: Constraints
    cost: Floats


def _paths(protection: Protection, ask: _Question) -> tuple[Path, ...]:
    """The best path or, where it is to be protected, the best two that do not die together, the better first."""
    if protection is Protection.NONE:
        try:
            return (constrained_path(ask.topology, ask.source, ask.target, ask.wanted, ask.cost),)
        except LabelBudget as error:
            # It keeps what was asked; only that no path is cheaper was not proven.
            if error.best is None:
                raise
            return (error.best,)
    apart: Literal["node", "link"] = "node" if protection is Protection.NODE else "link"
    return disjoint_paths(
        ask.topology,
        ask.source,
        ask.target,
        by=apart,
        weight=ask.cost,
        constraints=ask.wanted,
        gap=DISJOINT_GAP,
        time_limit_s=SEARCH_S,
    ).paths


def path_at_cost(network: Network, source: Host, target: Host, cost: Floats) -> StitchPath | None:
    """The cheapest path between two hosts, cost being one number a link in link order, infinite to avoid it."""
    if source.dpid == target.dpid:
        return StitchPath((Hop(source.dpid, source.port_no, target.port_no),), (), 0.0)
    path = _shortest(network, source, target, cost)
    return None if path is None else _stitch_path(path, source, target, network)


def path_links(request: VmRequest, path: StitchPath) -> tuple[LinkKey, ...]:
    """The links on which the bandwidth of a stitch is promised: those of each direction it carries.

    On a protected path packets also run back from what died, against a direction that nothing comes through then.
    """
    links = path.all_links
    if request.both_ways:
        return links + tuple(reverse(key) for key in links)
    return links if path.backup is None else links + tuple(reverse(key) for key in path.links)


def uses_both_ways(request: VmRequest) -> bool:
    """Whether packets cross the links of the path in both directions, if need be."""
    return request.both_ways or request.protection is not Protection.NONE


def _endpoints(request: VmRequest, situation: Situation) -> tuple[Host, Host]:
    hosts = situation.network.hosts
    for name, mac in (("source", request.source_mac), ("destination", request.target_mac)):
        if mac not in hosts:
            raise NotPossible(name, f"host {mac} is not on any port", "connect it and let it send a packet")
    source, target = hosts[request.source_mac], hosts[request.target_mac]
    if source.mac == target.mac:
        raise NotPossible("destination", "it is the source itself", "name two different hosts")
    for mac, other in request.directions:
        application = request.application
        if mac != source.mac and application is not None:
            application = application.back
        if (reason := situation.rulings.forbids_pair(hosts[mac], hosts[other], application)) is not None:
            raise NotPossible(
                "destination", reason, "put both hosts into one virtual network, or allow it in the policy"
            )
    return source, target


def _room(situation: Situation, *, both_ways: bool) -> Room:
    """What a link could still be promised, in both directions if need be; one of unknown capacity nothing."""
    links, resources = situation.network.links, situation.resources

    def free(key: LinkKey) -> float:
        link = links.get(key)
        return 0.0 if link is None or link.capacity_mbps is None else resources.free(key)

    def both(key: LinkKey) -> float:
        return min(free(key), free(reverse(key)))

    return both if both_ways else free


def _not_possible(request: VmRequest, error: NoPath) -> NotPossible:
    """What a request has to change, in the words of the request: every constraint that stands in the way."""
    if any(fault.constraint == "k" for fault in error.faults):
        what = "link or switch" if request.protection is Protection.NODE else "link"
        return NotPossible(
            "protection",
            f"no two paths with what was asked exist that have no {what} in common",
            "add a link, ask for less, or for protection 'link' or 'none'",
        )
    if not error.faults:
        return NotPossible(
            "destination",
            f"no chain of links joins switches {error.src} and {error.dst}",
            "repair or add a link between them",
        )
    if len(error.faults) > 1 and all(fault.nearest is None and not fault.unmeasured for fault in error.faults):
        return _not_found(request)
    changes = [
        _bandwidth(request, fault) if fault.constraint == "bandwidth_mbps" else _latency(request, fault)
        for fault in error.faults
    ]
    reasons, remedies = zip(*changes, strict=True)
    return NotPossible(error.faults[0].constraint, ", and ".join(reasons), "; also ".join(remedies))


def _bandwidth(request: VmRequest, fault: Fault) -> tuple[str, str]:
    """Why the bandwidth cannot be had, and what would help."""
    if fault.nearest is None:
        return f"no path has {request.bandwidth_mbps:g} Mbit/s free", "ask for less bandwidth"
    most = _decimal(fault.nearest, "0.001", ROUND_FLOOR)
    return (
        f"no path has {request.bandwidth_mbps:g} Mbit/s free; {most} is the most",
        f"ask for {most} or less, or free capacity" if most != "0" else "free capacity, or wait",
    )


def _latency(request: VmRequest, fault: Fault) -> tuple[str, str]:
    """Why the latency cannot be had, and what would help."""
    if fault.unmeasured:
        return (
            "every path with the bandwidth has a link whose latency is not measured yet",
            "try again in a few seconds, or leave max_latency_ms out",
        )
    if fault.nearest is None:
        return f"no path takes {request.max_latency_ms:g} ms or less", "allow more latency"
    least = _decimal(fault.nearest, "0.01", ROUND_CEILING)
    return f"the fastest path with the bandwidth takes {least} ms", f"allow {least} ms or more"


def _not_found(request: VmRequest) -> NotPossible:
    """The search ended before it knew what would work."""
    return NotPossible(
        "max_latency_ms",
        f"no path with {request.bandwidth_mbps:g} Mbit/s free within {request.max_latency_ms} ms was found in the "
        "steps that a search may take",
        "ask for less bandwidth, or allow more latency",
    )


def _decimal(value: float, step: str, rounding: str) -> str:
    """A number as text, rounded to the side on which asking for exactly that works."""
    text = str(Decimal(str(value)).quantize(Decimal(step), rounding))
    return text.rstrip("0").rstrip(".")


def _shortest(network: Network, source: Host, target: Host, weight: Floats) -> Path | None:
    try:
        return shortest_path(network.topology, node_name(source.dpid), node_name(target.dpid), weight)
    except NoPath:
        return None


def _stitch_path(path: Path, source: Host, target: Host, network: Network) -> StitchPath:
    keys = tuple(network.link_order[link_id] for link_id in path.links)
    in_ports = [source.port_no, *(key[3] for key in keys)]
    out_ports = [*(key[1] for key in keys), target.port_no]
    dpids = [source.dpid, *(key[2] for key in keys)]
    hops = tuple(Hop(*hop) for hop in zip(dpids, in_ports, out_ports, strict=True))
    return StitchPath(hops, keys, path.latency_ms(network.topology))
