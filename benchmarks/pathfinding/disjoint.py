"""How fast disjoint pairs are found: by link and by node at 1,000 nodes, by shared risk at 100."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import networkx
import numpy as np

from benchmarks.pathfinding.shortest import geometric_network
from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from pathing import NoPath, Topology
from pathing.disjoint import DisjointPaths, disjoint_paths
from pathing.disjoint_search import Apart

_SEED = 21
_NODES = 1_000
_PAIRS = 400
_TARGET_MS = 5.0
_PEER_PAIRS = 3
# The peer needs whole numbers as weights: latencies in units of this many ms.
_PEER_UNIT_MS = 1e-6

_RISK_NODES = 100
_RISK_PAIRS = 60
# So many cables run through one duct, on average.
_CABLES_A_DUCT = 3

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers, each with its time in ms, and the times of the refusals: pairs that are not joined twice."""

    answers: dict[Pair, DisjointPaths]
    answered_ms: dict[Pair, float]
    refused_ms: list[float]


def disjoint_1000() -> Iterator[Figure]:
    """Pairs of least total weight: median over the random pairs of nodes that have one.

    The peer is networkx's network simplex for a flow of two units on the same network, on a few of the pairs; the
    totals must be the same.
    """
    topology = geometric_network(_NODES).topology
    pairs = _pairs(topology, _PAIRS)
    for by in ("link", "node"):
        measured = _measure(topology, pairs, by, maximally=False)
        _note(f"disjoint_{by}", measured)
        peer_ms = [
            _peer_ms(topology, pair, by, measured.answers[pair].weight)
            for pair in list(measured.answers)[:_PEER_PAIRS]
        ]
        yield Figure(
            name=f"disjoint_pair_{by}_median_ms",
            area="paths",
            value=median(measured.answered_ms.values()),
            unit="ms",
            better=Better.LESS,
            target=_TARGET_MS,
            peer="networkx.network_simplex",
            peer_value=median(peer_ms),
        )
    yield _by_risk()


def _by_risk() -> Figure:
    topology = geometric_network(_RISK_NODES).topology
    _lay_in_ducts(topology)
    measured = _measure(topology, _pairs(topology, _RISK_PAIRS), "srlg", maximally=True)
    _note("disjoint_srlg", measured)
    sharing = sum(bool(answer.shared) for answer in measured.answers.values())
    open_gaps = sum(answer.gap > 1e-8 for answer in measured.answers.values())
    note(f"disjoint_srlg: {sharing} of {len(measured.answers)} have to share a group, {open_gaps} not proven best")
    return Figure(
        name="disjoint_pair_srlg_100_median_ms",
        area="paths",
        value=median(measured.answered_ms.values()),
        unit="ms",
        better=Better.LESS,
    )


def _pairs(topology: Topology, n_pairs: int) -> list[Pair]:
    random = np.random.default_rng([_SEED, topology.n_nodes])
    names = topology.node_names
    drawn = (random.choice(topology.n_nodes, 2, replace=False).tolist() for _ in range(n_pairs))
    return [(names[src], names[dst]) for src, dst in drawn]


def _measure(topology: Topology, pairs: Sequence[Pair], by: Apart, *, maximally: bool) -> Measured:
    measured = Measured({}, {}, [])
    for src, dst in pairs:
        start_s = time.perf_counter()
        try:
            answer = disjoint_paths(topology, src, dst, 2, by, maximally=maximally)
        except NoPath:
            measured.refused_ms.append((time.perf_counter() - start_s) * 1e3)
            continue
        measured.answered_ms[src, dst] = (time.perf_counter() - start_s) * 1e3
        measured.answers[src, dst] = answer
    if not measured.answers:
        raise MeasurementFailed(f"none of {len(pairs)} pairs of nodes has a disjoint pair of paths by {by}")
    return measured


def _note(name: str, measured: Measured) -> None:
    times = list(measured.answered_ms.values())
    refused = (
        f", {len(measured.refused_ms)} refused in {median(measured.refused_ms):.3g}" if measured.refused_ms else ""
    )
    note(
        f"{name}: n={len(times)} median_ms={median(times):.3g} p90_ms={np.quantile(times, 0.9):.3g} "
        f"max_ms={max(times):.3g}{refused}"
    )


def _peer_ms(topology: Topology, pair: Pair, by: Apart, weight_ms: float) -> float:
    """Give the time of the peer, the building of its graph left out; raises where it finds another total."""
    src, dst = pair
    graph = networkx.DiGraph()
    for name in topology.node_names:
        # By node each one is two, and only the ends may be passed more than once.
        wide = 2 if by == "link" or name in pair else 1
        graph.add_edge((name, "in"), (name, "out"), capacity=wide, weight=0)
    graph.nodes[src, "in"]["demand"] = -2
    graph.nodes[dst, "out"]["demand"] = 2
    for link in topology.links():
        latency = round((link.latency_ms or 0.0) / _PEER_UNIT_MS)
        graph.add_edge((link.src, "out"), (link.dst, "in"), capacity=1, weight=latency)
    start_s = time.perf_counter()
    total, _ = networkx.network_simplex(graph)
    spent_ms = (time.perf_counter() - start_s) * 1e3
    if abs(total * _PEER_UNIT_MS - weight_ms) > _PEER_UNIT_MS * topology.n_links:
        raise MeasurementFailed(f"{src} to {dst} by {by}: {weight_ms} ms, networkx has {total * _PEER_UNIT_MS} ms")
    return spent_ms


def _lay_in_ducts(topology: Topology) -> None:
    """Give both directions of each cable a group of their own, and one of the duct it runs through."""
    random = np.random.default_rng([_SEED, topology.n_nodes])
    cables = defaultdict(list)
    for link in topology.links():
        cables[min(link.src, link.dst), max(link.src, link.dst)].append(link.id)
    n_ducts = max(1, len(cables) // _CABLES_A_DUCT)
    for number, links in enumerate(cables.values()):
        duct = random.integers(n_ducts)
        for link_id in links:
            topology.set_link(link_id, srlg=(f"cable{number}", f"duct{duct}"))
