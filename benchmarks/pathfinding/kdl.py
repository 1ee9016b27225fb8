"""A plan for the largest network of the Topology Zoo: Kdl, 754 nodes and more than half a million demands."""

from __future__ import annotations

import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.pathfinding.zoo import DATA
from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from pathing import Topology
from pathing.readers import read_graphml
from pathing.routing import route_demands

_LIMIT_S = 60.0
_TIME_FOR_THE_REST_S = 8.0
_GAP = 0.05
# Every node sends to every other in proportion to the product of their degrees, this much in all, so that the
# fullest link ends near two thirds. Links have a capacity of 1.
_TOTAL_MBPS = 13.9


def kdl() -> Iterator[Figure]:
    """The proven gap of a plan for Kdl and the time it takes; unit capacities, gravity demands by degree."""
    topology = _topology()
    demands = _demands(topology)
    start_s = time.perf_counter()
    plan = route_demands(topology, demands, time_limit_s=_LIMIT_S - _TIME_FOR_THE_REST_S, clock=time.perf_counter)
    took_s = time.perf_counter() - start_s
    note(
        f"kdl: demands={len(demands)} mlu={plan.mlu:.5f} lower_bound={plan.lower_bound:.5f} "
        f"mean={plan.mean_utilisation:.4f} status={plan.status!r}"
    )
    yield Figure("kdl_gap", "paths", 1 - plan.lower_bound / plan.mlu, "", Better.LESS, _GAP)
    yield Figure("kdl_seconds", "paths", took_s, "s", Better.LESS, _LIMIT_S)


def _topology() -> Topology:
    archive = DATA / "topology_zoo_graphml.tar.gz"
    if not archive.exists():
        raise MeasurementFailed("there is no ../shared/data/topologies/topology_zoo_graphml.tar.gz")
    with tarfile.open(archive) as packed, tempfile.TemporaryDirectory() as folder:
        member = packed.extractfile("graphml/Kdl.graphml")
        if member is None:
            raise MeasurementFailed("the archive of GraphML files has no Kdl")
        path = Path(folder) / "Kdl.graphml"
        path.write_bytes(member.read())
        topology = read_graphml(path).topology
    for link in range(topology.n_links):
        topology.set_link(link, capacity_mbps=1.0)
    return topology


def _demands(topology: Topology) -> dict[tuple[str, str], float]:
    tails, _ = topology.ends()
    degree = np.bincount(tails, minlength=topology.n_nodes).astype(np.float64)
    mbps = np.outer(degree, degree)
    np.fill_diagonal(mbps, 0.0)
    mbps *= _TOTAL_MBPS / mbps.sum()
    names = topology.node_names
    return {
        (src, dst): volume
        for src, row in zip(names, mbps.tolist(), strict=True)
        for dst, volume in zip(names, row, strict=True)
        if volume > 0
    }
