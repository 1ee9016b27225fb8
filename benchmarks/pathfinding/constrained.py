"""How long a path under three end-to-end limits takes, beside label setting without bounds on the same pairs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

from benchmarks.pathfinding.shortest import geometric_network
from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from pathing import NoPath, Topology, shortest_path
from pathing.constrained import constrained_path
from pathing.constraints import Constraints

_SEED = 31
_NODES = 1_000
_ANSWERED = 250
_MOST_QUESTIONS = 5_000
_MEDIAN_MS = 5.0
_P99_MS = 50.0
_EQUAL_TO = 1e-9
_ROUNDING = 1e-12
_PEER = "label setting without bounds"

# Each link of a node: the other end, cost, latency_ms and -ln(1 - loss).
Neighbours = dict[str, list[tuple[str, float, float, float]]]


@dataclass
class _Times:
    """Milliseconds a question."""

    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)


def constrained_1000() -> Iterator[Figure]:
    """Pairs drawn at random, each limit at random from the least there is to what the cheapest path has.

    Three in four such questions have no answer; the figures with targets are of those that have one. A refusal
    costs more, for it finds out which limit is at fault and the nearest that works; the peer only says no.
    """
    topology = _network()
    neighbours = _neighbours(topology)
    random = np.random.default_rng(_SEED)
    answered, refused = _Times(), _Times()
    for _ in range(_MOST_QUESTIONS):
        src, dst = (f"n{node}" for node in random.choice(_NODES, 2, replace=False))
        constraints = _tight(topology, src, dst, random)
        began = time.perf_counter()
        cost = _ours(topology, src, dst, constraints)
        between = time.perf_counter()
        peer_cost = _without_bounds(neighbours, src, dst, constraints)
        ended = time.perf_counter()
        if not (cost == peer_cost or abs(cost - peer_cost) <= _EQUAL_TO * cost):
            raise MeasurementFailed(f"{src} to {dst}: cost {cost}, by {_PEER} {peer_cost}")
        times = answered if cost < math.inf else refused
        times.ours.append((between - began) * 1e3)
        times.peer.append((ended - between) * 1e3)
        if len(answered.ours) == _ANSWERED:
            break
    note(f"constrained_{_NODES}: answered={len(answered.ours)} refused={len(refused.ours)}")
    yield _figure("constrained_median_ms", answered, 50, _MEDIAN_MS)
    yield _figure("constrained_p99_ms", answered, 99, _P99_MS)
    yield _figure("constrained_refused_median_ms", refused, 50, None)
    yield _figure("constrained_refused_p99_ms", refused, 99, None)


def _figure(name: str, times: _Times, percentile: int, target: float | None) -> Figure:
    return Figure(
        name=name,
        area="paths",
        value=float(np.percentile(times.ours, percentile)),
        unit="ms",
        better=Better.LESS,
        target=target,
        peer=_PEER,
        peer_value=float(np.percentile(times.peer, percentile)),
    )


def _network() -> Topology:
    topology = geometric_network(_NODES).topology
    random = np.random.default_rng([_SEED, _NODES])
    for link in range(topology.n_links):
        topology.set_link(link, loss=float(random.uniform(0, 0.01)), cost=float(random.uniform(1, 10)))
    return topology


def _neighbours(topology: Topology) -> Neighbours:
    neighbours: Neighbours = {name: [] for name in topology.node_names}
    for link in topology.links():
        latency_ms = math.inf if link.latency_ms is None else link.latency_ms
        neighbours[link.src].append((link.dst, link.cost, latency_ms, -math.log1p(-link.loss)))
    return neighbours


def _tight(topology: Topology, src: str, dst: str, random: np.random.Generator) -> Constraints:
    cheapest = shortest_path(topology, src, dst, "cost")
    least_ms = shortest_path(topology, src, dst, "latency_ms").weight
    least_loss = shortest_path(topology, src, dst, -np.log1p(-topology.array("loss"))).loss(topology)
    least_hops = shortest_path(topology, src, dst, "hops").hops
    share = random.random(3)
    latency_ms = cheapest.latency_ms(topology)
    return Constraints(
        max_latency_ms=least_ms + share[0] * ((least_ms if latency_ms is None else latency_ms) - least_ms),
        max_loss=least_loss + share[1] * (cheapest.loss(topology) - least_loss),
        max_hops=math.floor(least_hops + share[2] * (cheapest.hops - least_hops)),
    )


def _ours(topology: Topology, src: str, dst: str, constraints: Constraints) -> float:
    try:
        return constrained_path(topology, src, dst, constraints, "cost").weight
    except NoPath:
        return math.inf


def _without_bounds(neighbours: Neighbours, src: str, dst: str, constraints: Constraints) -> float:
    """Least cost, infinite for none: labels in order of cost, dropped only when dominated or beyond a limit."""
    most_ms = (constraints.max_latency_ms or 0.0) * (1 + _ROUNDING)
    most_loss = -math.log1p(-(constraints.max_loss or 0.0)) * (1 + _ROUNDING)
    most_hops = constraints.max_hops or 0
    fronts: dict[str, list[tuple[float, float, int]]] = {}
    labels: list[tuple[float, int, str, float, float, int]] = [(0.0, 0, src, 0.0, 0.0, 0)]
    made = 0
    while labels:
        cost, _, node, latency_ms, loss, hops = heappop(labels)
        if node == dst:
            return cost
        front = fronts.setdefault(node, [])
        if any(one[0] <= latency_ms and one[1] <= loss and one[2] <= hops for one in front):
            continue
        front.append((latency_ms, loss, hops))
        if hops == most_hops:
            continue
        for neighbour, link_cost, link_ms, link_loss in neighbours[node]:
            if latency_ms + link_ms <= most_ms and loss + link_loss <= most_loss:
                made += 1
                onward = (neighbour, latency_ms + link_ms, loss + link_loss, hops + 1)
                heappush(labels, (cost + link_cost, made, *onward))
    return math.inf
