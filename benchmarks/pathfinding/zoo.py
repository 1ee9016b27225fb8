"""Least maximum utilisation on the 260 REPETITA Topology Zoo graphs, whose optimum is 0.9 by construction."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import highspy
import numpy as np
from scipy.sparse import coo_array, csc_array

from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from pathing import Dataset, read_repetita
from pathing.routing import RoutingPlan, route_demands, route_greedily

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "topologies"

_OPTIMUM = 0.9
_GAP = 1e-3
_MOST_PATHS = 3
_SMALL_NODES = 100
_SMALL_S = 0.5
_LARGE_S = {"Interoute": 2.0, "TataNld": 5.0, "UsCarrier": 5.0, "Cogentco": 8.0}

_GREEDY_NODES = 75
_GREEDY_MEDIAN, _GREEDY_P90, _GREEDY_S = 1.02, 1.08, 0.2


class Outcome(NamedTuple):
    """One graph, planned."""

    name: str
    n_nodes: int
    plan: RoutingPlan
    took_s: float


def zoo_optimum() -> Iterator[Figure]:
    """How many graphs are planned within 1e-3 of the optimum, proven, and how long the slowest takes."""
    outcomes = []
    for name, dataset in _graphs():
        start_s = time.perf_counter()
        plan = route_demands(dataset.topology, dataset.demands, gap=_GAP, max_paths=_MOST_PATHS)
        took_s = time.perf_counter() - start_s
        _check(name, dataset, plan)
        outcomes.append(Outcome(name, dataset.topology.n_nodes, plan, took_s))
    for outcome in outcomes:
        if not _is_optimal(outcome.plan):
            _explain(outcome)
    yield Figure(
        name="zoo_graphs_within_1e-3",
        area="paths",
        value=sum(_is_optimal(outcome.plan) for outcome in outcomes),
        unit="graphs",
        better=Better.MORE,
        target=len(outcomes),
    )
    small = max((one for one in outcomes if one.n_nodes <= _SMALL_NODES), key=lambda one: one.took_s)
    note(f"zoo: of the graphs up to {_SMALL_NODES} nodes the slowest is {small.name}")
    yield _seconds("zoo_slowest_up_to_100_nodes", small.took_s, _SMALL_S)


def zoo_large() -> Iterator[Figure]:
    """The four large graphs, beside the programme with one flow a source and link that says only the optimum."""
    for name, target_s in _LARGE_S.items():
        dataset = _read(name)
        start_s = time.perf_counter()
        plan = route_demands(dataset.topology, dataset.demands, gap=_GAP, max_paths=_MOST_PATHS)
        took_s = time.perf_counter() - start_s
        _check(name, dataset, plan)
        start_s = time.perf_counter()
        optimum = flow_programme(dataset)
        peer_s = time.perf_counter() - start_s
        note(f"{name}: mlu={plan.mlu:.5f} lower_bound={plan.lower_bound:.5f} interior_point={optimum:.5f}")
        if plan.mlu > (1 + 2 * _GAP) * optimum:
            raise MeasurementFailed(f"{name}: our maximum {plan.mlu:.5f} is above the peer's {optimum:.5f}")
        yield _seconds(f"zoo_{name}", took_s, target_s, peer_s)


def zoo_greedy() -> Iterator[Figure]:
    """How near the greedy plan comes alone, on the graphs up to 100 nodes."""
    ratios, took = [], {}
    for name, dataset in _graphs():
        if dataset.topology.n_nodes <= _SMALL_NODES:
            start_s = time.perf_counter()
            plan = route_greedily(dataset.topology, dataset.demands, max_paths=_MOST_PATHS)
            seconds = time.perf_counter() - start_s
            _check(name, dataset, plan)
            ratios.append(plan.mlu / _OPTIMUM)
            if dataset.topology.n_nodes <= _GREEDY_NODES:
                took[name] = seconds
    slowest = max(took, key=lambda name: took[name])
    note(f"zoo_greedy: worst={max(ratios):.3f}; up to {_GREEDY_NODES} nodes the slowest is {slowest}")
    for name, value, target in (
        ("median", median(ratios), _GREEDY_MEDIAN),
        ("p90", float(np.quantile(ratios, 0.9)), _GREEDY_P90),
    ):
        yield Figure(f"zoo_greedy_{name}", "paths", value, "x the optimum", Better.LESS, target)
    yield _seconds("zoo_greedy_slowest_up_to_75_nodes", took[slowest], _GREEDY_S)


def flow_programme(dataset: Dataset) -> float:
    """The least maximum utilisation by interior point: a flow for each source and link, no paths, no bound."""
    topology = dataset.topology
    n_nodes, n_links = topology.n_nodes, topology.n_links
    tails, heads = topology.ends()
    taken = np.zeros((n_nodes, n_nodes))
    for (src, dst), mbps in dataset.demands.items():
        taken[topology.node_index(src), topology.node_index(dst)] += mbps
    scale = float(taken.max())
    right = taken / scale
    right[np.arange(n_nodes), np.arange(n_nodes)] = -right.sum(axis=1)
    shift = np.arange(n_nodes)[:, None]
    columns = (1 + shift * n_links + np.arange(n_links)).ravel()
    rows = [(shift * n_nodes + ends).ravel() for ends in (heads, tails)]
    link_rows = n_nodes * n_nodes + np.arange(n_links)
    capacity = topology.array("capacity_mbps") / scale
    ones = np.ones(columns.size)
    matrix = csc_array(
        coo_array(
            (
                np.concatenate([ones, -ones, ones, -capacity]),
                (
                    np.concatenate([*rows, np.tile(link_rows, n_nodes), link_rows]),
                    np.concatenate([columns, columns, columns, np.zeros(n_links, dtype=np.intp)]),
                ),
            ),
            shape=(n_nodes * n_nodes + n_links, 1 + n_nodes * n_links),
        )
    )
    return _solve(matrix, right.ravel(), n_links)


def _solve(matrix: csc_array[np.float64], right: Any, n_links: int) -> float:
    programme = highspy.HighsLp()
    programme.num_row_, programme.num_col_ = matrix.shape
    costs = np.zeros(matrix.shape[1])
    costs[0] = 1.0
    programme.col_cost_ = costs
    programme.col_lower_ = np.zeros(costs.size)
    programme.col_upper_ = np.full(costs.size, np.inf)
    programme.row_lower_ = np.append(right, np.full(n_links, -np.inf))
    programme.row_upper_ = np.append(right, np.zeros(n_links))
    programme.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    programme.a_matrix_.start_ = matrix.indptr
    programme.a_matrix_.index_ = matrix.indices
    programme.a_matrix_.value_ = matrix.data
    solver = highspy.Highs()
    for option, value in (("output_flag", False), ("solver", "ipm"), ("run_crossover", "off")):
        solver.setOptionValue(option, value)
    solver.passModel(programme)
    solver.run()
    return float(solver.getInfo().objective_function_value)


def _is_optimal(plan: RoutingPlan) -> bool:
    proven = plan.mlu - plan.lower_bound <= _GAP * plan.mlu
    return proven and plan.mlu <= (1 + _GAP) * _OPTIMUM


def _explain(outcome: Outcome) -> None:
    plan = outcome.plan
    note(
        f"{outcome.name}: mlu={plan.mlu:.5f}; none with {_MOST_PATHS} paths a demand is below "
        f"{plan.lower_bound:.5f}; status={plan.status}"
    )


def _check(name: str, dataset: Dataset, plan: RoutingPlan) -> None:
    """A plan is only worth its time if its paths carry all demands and its figures are those of its paths."""
    links = np.zeros(dataset.topology.n_links)
    for pair, mbps in dataset.demands.items():
        shares = plan.paths[pair]
        if len(shares) > _MOST_PATHS or abs(sum(fraction for _, fraction in shares) - 1) > 1e-9:
            raise MeasurementFailed(f"{name}: {pair} has {len(shares)} paths that do not carry it")
        for path, fraction in shares:
            links[list(path.links)] += mbps * fraction
    if not np.isclose((links / dataset.topology.array("capacity_mbps")).max(), plan.mlu, rtol=1e-9):
        raise MeasurementFailed(f"{name}: the maximum utilisation is not that of the paths")


def _seconds(name: str, value: float, target: float, peer_s: float | None = None) -> Figure:
    peer = None if peer_s is None else "HiGHS interior point, a flow for each source and link"
    return Figure(name, "paths", value, "s", Better.LESS, target, peer, peer_s)


def _graphs() -> Iterator[tuple[str, Dataset]]:
    names = sorted(path.stem for path in (DATA / "repetita_zoo").glob("*.graph"))
    if not names:
        raise MeasurementFailed("there are no REPETITA graphs in ../shared/data/topologies/repetita_zoo")
    return ((name, _read(name)) for name in names)


def _read(name: str) -> Dataset:
    folder = DATA / "repetita_zoo"
    files: Mapping[str, Path] = {kind: folder / f"{name}.{kind}" for kind in ("graph", "0000.demands.gz")}
    for path in files.values():
        if not path.exists():
            raise MeasurementFailed(f"there is no {path.name} in ../shared/data/topologies/repetita_zoo")
    return read_repetita(files["graph"], files["0000.demands.gz"])
