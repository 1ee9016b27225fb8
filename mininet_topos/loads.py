"""What a demand matrix does to the links of a lab: loads on shortest paths, and the best any routing could do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import OptimizeResult, linprog
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

from mininet_topos.demand import BadDemand
from mininet_topos.topology import LabTopology

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]

_FLOOR_MS = 1e-6
"""A delay of exactly 0 would be no edge to a sparse matrix."""


def directions(topology: LabTopology) -> tuple[IndexArray, IndexArray, FloatArray, FloatArray]:
    """Source and destination index, capacity in Mbit/s, delay in ms; link i is directions 2i (a to b), 2i + 1."""
    index = {name: i for i, name in enumerate(topology.node_names)}
    ends = [(index[link.a], index[link.b]) for link in topology.links]
    src = np.array([end for a, b in ends for end in (a, b)], dtype=np.int64)
    dst = np.array([end for a, b in ends for end in (b, a)], dtype=np.int64)
    capacity = np.repeat([link.rate_mbps for link in topology.links], 2).astype(np.float64)
    delay = np.repeat([link.delay_ms for link in topology.links], 2).astype(np.float64)
    return src, dst, capacity, delay


def shortest_routing(topology: LabTopology) -> FloatArray:
    """Return (directions, n * n): 1 where the lowest-latency path of a pair (row-major) uses a direction.

    Raises BadDemand when the lab is not connected.
    """
    src, dst, _, delay = directions(topology)
    n = len(topology.nodes)
    graph = csr_matrix((np.maximum(delay, _FLOOR_MS), (src, dst)), shape=(n, n))
    distance, before = dijkstra(graph, return_predecessors=True)
    if np.isinf(distance).any():
        raise BadDemand(f"{topology.name}: not every router reaches every other; leave the parts apart out")
    number = {(int(a), int(b)): i for i, (a, b) in enumerate(zip(src, dst, strict=True))}
    routing = np.zeros((len(src), n * n))
    for origin in range(n):
        for destination in range(n):
            node = destination
            while node != origin:
                previous = int(before[origin, node])
                routing[number[previous, node], origin * n + destination] = 1.0
                node = previous
    return routing


def shortest_utilisation(topology: LabTopology, matrices: FloatArray) -> FloatArray:
    """Return (steps, directions): load over capacity with every pair on its lowest-latency path."""
    _, _, capacity, _ = directions(topology)
    flat = matrices.reshape(len(matrices), -1)
    loads: FloatArray = flat @ shortest_routing(topology).T / capacity
    return loads


def optimum_utilisation(topology: LabTopology, matrix: FloatArray) -> float:
    """Return the lowest possible highest utilisation for one matrix, traffic split at will (an LP, HiGHS).

    Flows are summed by destination, which is exact when they may be split. Raises BadDemand when there is no
    solution.
    """
    src, dst, capacity, _ = directions(topology)
    n, m = len(topology.nodes), len(src)
    sinks = np.flatnonzero(matrix.sum(axis=0) > 0)
    k = len(sinks)
    if k == 0:
        return 0.0
    # Variables: x[sink, direction], then the utilisation. Conservation at each node but the sink.
    block = coo_matrix(
        (np.r_[np.ones(m), -np.ones(m)], (np.r_[src, dst], np.r_[np.arange(m), np.arange(m)])), shape=(n, m)
    )
    rows, columns, values, right = [], [], [], []
    for i, sink in enumerate(sinks):
        keep = block.row != sink
        rows.append(block.row[keep] + i * n)
        columns.append(block.col[keep] + i * m)
        values.append(block.data[keep])
        supply = matrix[:, sink].copy()
        supply[sink] = 0.0
        right.append(supply)
    balance = csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(k * n, k * m + 1)
    )
    each = np.tile(np.arange(m), k)
    limit = csr_matrix(
        (
            np.r_[np.ones(k * m), -capacity],
            (np.r_[each, np.arange(m)], np.r_[np.arange(k * m), np.full(m, k * m)]),
        ),
        shape=(m, k * m + 1),
    )
    cost = np.zeros(k * m + 1)
    cost[-1] = 1.0
    # linprog takes sparse matrices; its stubs know only dense ones.
    solve: Callable[..., OptimizeResult] = linprog
    found = solve(cost, A_ub=limit, b_ub=np.zeros(m), A_eq=balance, b_eq=np.concatenate(right), method="highs")
    if not found.success:
        raise BadDemand(f"{topology.name}: the demand has no routing: {found.message}")
    return float(found.fun)
