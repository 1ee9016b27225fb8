"""Whether all that intents are promised can cross the fabric: no cut of it may be promised more than it carries.

A cut that cannot carry its demands proves that no choice of paths can (max-flow min-cut, Ford and Fulkerson 1956).
That none is found does not prove the opposite: the stitcher admits each stitch by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from stitching.intents.faults import Conflict
from stitching.intents.world import World
from stitching.network import node_name
from stitching.stitch import BandwidthRequest, SegmentRequest, StitchRequest, VmRequest

MOST_CUTS = 200
"""Pairs of switches whose cut is looked at, those with the largest demands first."""

_UNITS = 1_000_000
_SLACK_MBPS = 1e-6


@dataclass(frozen=True, slots=True)
class Demand:
    """What an intent is promised from some switches to others, once wherever that crosses a cut."""

    intent: str
    sources: frozenset[int]
    targets: frozenset[int]
    mbps: float

    def crosses(self, side: frozenset[int]) -> bool:
        """Whether any of it leaves this side of a cut."""
        return not self.sources.isdisjoint(side) and not self.targets <= side

    @property
    def pairs(self) -> Iterator[tuple[int, int]]:
        """Two switches each: minimum cuts between these are the ones to look at."""
        first, last = min(self.sources), max(self.targets)
        found = {(first, target) for target in self.targets} | {(source, last) for source in self.sources}
        return (pair for pair in sorted(found) if pair[0] != pair[1])


def demands_of(stitches: Iterable[tuple[str, StitchRequest]], world: World) -> list[Demand]:
    """What stitches, each with its intent, are promised between the switches that their hosts are on."""
    found = []
    for intent, request in stitches:
        for sources, targets in _switches(request, world):
            if sources and targets and len(sources | targets) > 1 and request.bandwidth_mbps > 0:
                found.append(Demand(intent, sources, targets, request.bandwidth_mbps))
    return found


def _switches(request: StitchRequest, world: World) -> Iterator[tuple[frozenset[int], frozenset[int]]]:
    """From which switches to which a stitch is promised its bandwidth."""
    hosts = world.network.hosts
    match request:
        case VmRequest():
            for pair in request.directions:
                one, other = (frozenset({hosts[mac].dpid} if mac in hosts else ()) for mac in pair)
                yield one, other
        case SegmentRequest():
            sides = [
                frozenset(host.dpid for host in hosts.values() if side.takes(host, world.directory))
                for side in request.sides
            ]
            if all(sides):
                # One tree joins all of them, and is booked each way.
                yield sides[0] | sides[1], sides[0] | sides[1]
        case BandwidthRequest():
            one, other = (
                frozenset(hosts[mac].dpid for mac in world.members.get(vnet, ()) if mac in hosts)
                for vnet in request.vnets
            )
            yield one, other


def overfull(demands: list[Demand], world: World) -> list[Conflict]:
    """Cuts that are promised more than they carry, each with the intents that cross it."""
    capacity = _between_switches(world)
    found: dict[tuple[str, ...], Conflict] = {}
    for side in _sides(demands, capacity):
        conflict = _judge(side, demands, capacity, world)
        if conflict is not None:
            found.setdefault(conflict.intents, conflict)
    # One that names more intents than another does says no more.
    return [
        conflict
        for names, conflict in sorted(found.items())
        if not any(set(other) < set(names) for other in found)
    ]


def _between_switches(world: World) -> dict[tuple[int, int], float]:
    """What all links from one switch to another have free; infinite where one of them is not known."""
    capacity: dict[tuple[int, int], float] = defaultdict(float)
    for key in world.network.link_order:
        capacity[key[0], key[2]] += world.free_mbps.get(key, float("inf"))
    return capacity


def _sides(demands: list[Demand], capacity: Mapping[tuple[int, int], float]) -> list[frozenset[int]]:
    """The sides of cuts to look at: single switches, what a switch is not, and minimum cuts of each demand."""
    total: dict[tuple[int, int], float] = defaultdict(float)
    for demand in demands:
        for pair in demand.pairs:
            total[pair] += demand.mbps
    switches = sorted({dpid for pair in capacity for dpid in pair} | {dpid for pair in total for dpid in pair})
    every = frozenset(switches)
    ends = sorted({dpid for pair in total for dpid in pair})
    sides = [frozenset({dpid}) for dpid in ends] + [every - {dpid} for dpid in ends]
    largest = sorted(total, key=lambda pair: (-total[pair], pair))[:MOST_CUTS]
    if largest:
        place = {dpid: n for n, dpid in enumerate(switches)}
        # Whole units: a link that carries more than all demands together is never what is short.
        unit = sum(total.values()) / _UNITS
        graph = _graph(capacity, place, unit)
        for source, target in largest:
            reached = _reached(graph, place[source], place[target])
            sides.append(frozenset(switches[n] for n in reached))
    return list(dict.fromkeys(sides))


def _graph(capacity: Mapping[tuple[int, int], float], place: Mapping[int, int], unit: float) -> csr_array:
    pairs = sorted(capacity)
    units = [min(capacity[pair] / unit, 2.0 * _UNITS) for pair in pairs]
    rows, columns = (np.array([place[pair[end]] for pair in pairs], dtype=np.int32) for end in (0, 1))
    made: csr_array = coo_array(
        (np.array(units, dtype=np.int32), (rows, columns)), shape=(len(place), len(place))
    ).tocsr()
    return made


def _reached(graph: csr_array, source: int, target: int) -> list[int]:
    """The side of the source in a minimum cut: what still can be reached when no more flow fits."""
    if graph.nnz == 0:
        return [source]
    left = csr_array(graph - maximum_flow(graph, source, target).flow)
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    return [int(n) for n in breadth_first_order(left, source, return_predecessors=False)]


def _judge(
    side: frozenset[int], demands: list[Demand], capacity: Mapping[tuple[int, int], float], world: World
) -> Conflict | None:
    crossing = [demand for demand in demands if demand.crosses(side)]
    carries = sum(mbps for (a, b), mbps in capacity.items() if a in side and b not in side)
    wants = sum(demand.mbps for demand in crossing)
    if wants <= carries + _SLACK_MBPS:
        return None
    names = tuple(sorted({demand.intent for demand in crossing}))
    whole = len(world.network.dpids)
    smaller = side if 2 * len(side) <= whole else frozenset(world.network.dpids) - side
    where = "switch " if len(smaller) == 1 else "switches "
    listed = ", ".join(node_name(dpid) for dpid in sorted(smaller)[:4]) + (", ..." if len(smaller) > 4 else "")
    way = "out of" if smaller == side else "into"
    reason = f"the guarantees come to {wants:g} Mbit/s {way} {where}{listed}, whose links have {carries:g} free"
    return Conflict(names, reason, f"ask for {wants - carries:g} Mbit/s less, or add capacity there")
