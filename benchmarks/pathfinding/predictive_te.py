"""Plans made from the last matrices and judged on the next one: Abilene's second week and GEANT's last two days.

The settings are the same for both networks. They were chosen on Abilene's first week and GEANT's first day.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from pathing import Topology
from pathing.csr import FloatArray
from pathing.routing import RoutingPlan, route_demands
from pathing.routing.network import Pair

_DATA = Path(__file__).parents[2].parent / "shared" / "data"

# What a plan is for: the last matrices as samples of the next, and the last one with one of the demands that were
# so much larger lately at that height again, for each of the few that would add most.
_LAST = 12
_LATELY = 72
_BURSTS = 48
_MEAN_WEIGHT = 0.1
# A hair less than the twentieth that is asked for, as fractions are rounded.
_MAX_MOVED = 0.0499
_MOVED_TARGET = 0.05

_OPTIMUM_GAP = 1e-5
_ANY_NUMBER_OF_PATHS = 99


class Traffic(NamedTuple):
    """Matrices of demands, and when plans are made."""

    name: str
    topology: Topology
    pairs: tuple[Pair, ...]
    mbps: FloatArray  # (n_times, n_pairs)
    origins: range

    def demands(self, mbps: FloatArray) -> dict[Pair, float]:
        """Name the numbers of one matrix."""
        return dict(zip(self.pairs, mbps.tolist(), strict=True))


class Judged(NamedTuple):
    """Realised maximum utilisation over the best possible, and the share of traffic moved, by plan."""

    ratio: FloatArray
    moved: FloatArray


def abilene_predictive() -> Iterator[Figure]:
    """Abilene, week 2, every 30 minutes."""
    yield from _figures(_abilene(), mean=1.045, p99=1.20)


def geant_predictive() -> Iterator[Figure]:
    """GEANT with 22 nodes, every 15 minutes from 4 May 2005, 23:45 + 24 h on."""
    yield from _figures(_geant(), mean=1.04, p99=1.19)


def _figures(traffic: Traffic, mean: float, p99: float) -> Iterator[Figure]:
    best = np.array([_least_mlu(traffic, now + 1) for now in traffic.origins])
    ours = _judge(traffic, best, predictive=True)
    last = _judge(traffic, best, predictive=False)
    for what, judged in (("predictive", ours), ("last matrix alone", last)):
        note(
            f"{traffic.name}, {what}: plans={judged.ratio.size} mean={judged.ratio.mean():.4f} "
            f"p99={np.quantile(judged.ratio, 0.99):.4f} max={judged.ratio.max():.3f} "
            f"moved_mean={judged.moved.mean():.4f} moved_max={judged.moved.max():.4f}"
        )
    peer = "least maximum utilisation for the last matrix"
    for what, (value, of_peer), target in (
        ("next_mean", (one.ratio.mean() for one in (ours, last)), mean),
        ("next_p99", (np.quantile(one.ratio, 0.99) for one in (ours, last)), p99),
        ("moved", (one.moved.max() for one in (ours, last)), _MOVED_TARGET),
    ):
        name = f"{traffic.name}_{what}"
        yield Figure(name, "paths", float(value), "", Better.LESS, target, peer, float(of_peer))


def _judge(traffic: Traffic, best: FloatArray, *, predictive: bool) -> Judged:
    ratio, moved = [], []
    plan: RoutingPlan | None = None
    for now in traffic.origins:
        plan = _plan(traffic, now, plan) if predictive else _plan_for_last(traffic, now, plan)
        ratio.append(_fullest(traffic, plan, traffic.mbps[now + 1]))
        moved.append(plan.moved)
    # Before the first plan there was none to move from.
    return Judged(np.array(ratio) / best, np.array(moved[1:]))


def _plan(traffic: Traffic, now: int, previous: RoutingPlan | None) -> RoutingPlan:
    """Plan at a time, knowing the matrices up to it."""
    last, lately = traffic.mbps[now], traffic.mbps[max(0, now - _LATELY + 1) : now + 1].max(axis=0)
    samples = list(traffic.mbps[now - _LAST + 1 : now])
    for pair in np.argsort(lately - last)[-_BURSTS:]:
        again = last.copy()
        again[pair] = lately[pair]
        samples.append(again)
    return route_demands(
        traffic.topology,
        traffic.demands(last),
        scenarios=[traffic.demands(sample) for sample in samples],
        over_scenarios="mean",
        mean_weight=_MEAN_WEIGHT,
        previous=previous,
        max_moved=None if previous is None else _MAX_MOVED,
    )


def _plan_for_last(traffic: Traffic, now: int, previous: RoutingPlan | None) -> RoutingPlan:
    return route_demands(traffic.topology, traffic.demands(traffic.mbps[now]), previous=previous)


def _least_mlu(traffic: Traffic, now: int) -> float:
    """A lower bound, 1e-5 from the best there is: the ratios err on the high side."""
    demands = traffic.demands(traffic.mbps[now])
    plan = route_demands(
        traffic.topology, demands, gap=_OPTIMUM_GAP, mean_weight=0.0, max_paths=_ANY_NUMBER_OF_PATHS
    )
    if plan.mlu - plan.lower_bound > 10 * _OPTIMUM_GAP * plan.mlu:
        raise MeasurementFailed(f"{traffic.name}: the best plan for matrix {now} is not known: {plan.status}")
    return plan.lower_bound


def _fullest(traffic: Traffic, plan: RoutingPlan, mbps: FloatArray) -> float:
    """The utilisation of the fullest link when these demands come and the plan stands."""
    load = np.zeros(traffic.topology.n_links)
    for pair, volume in zip(traffic.pairs, mbps.tolist(), strict=True):
        for path, fraction in plan.paths[pair]:
            load[list(path.links)] += fraction * volume
    return float((load / traffic.topology.array("capacity_mbps")).max())


def _abilene() -> Traffic:
    archive = _archive("abilene/abilene_tm_5min_20040301_14d.npz")
    topology = Topology()
    with (_DATA / "abilene" / "links.csv").open(newline="") as file:
        links = [(row["src"], row["dst"], float(row["capacity_kbps"]) / 1e3) for row in csv.DictReader(file)]
    week = 7 * 24 * 12
    # Thirty minutes, and what is known before the first plan.
    return _traffic("abilene", topology, links, archive, range(week + 11, 2 * week - 1, 6))


def _geant() -> Traffic:
    archive = _archive("geant/geant22_15min_20050504_3d.npz")
    topology = Topology()
    with (_DATA / "geant" / "geant22_links.csv").open(newline="") as file:
        links = [(row["src"], row["dst"], float(row["capacity_mbps"])) for row in csv.DictReader(file)]
    return _traffic("geant22", topology, links, archive, range(132, 320))


def _archive(name: str) -> tuple[FloatArray, list[str]]:
    path = _DATA / name
    if not path.exists():
        raise MeasurementFailed(f"there is no ../shared/data/{name}")
    with np.load(path) as archive:
        return archive["tm_mbps"].astype(np.float64), [str(node) for node in archive["nodes"]]


def _traffic(
    name: str,
    topology: Topology,
    links: list[tuple[str, str, float]],
    archive: tuple[FloatArray, list[str]],
    origins: range,
) -> Traffic:
    matrices, nodes = archive
    for node in nodes:
        topology.add_node(node)
    for src, dst, capacity_mbps in links:
        topology.add_link(src, dst, capacity_mbps=capacity_mbps)
    src_index, dst_index = np.nonzero(~np.eye(len(nodes), dtype=np.bool_))
    pairs = tuple((nodes[src], nodes[dst]) for src, dst in zip(src_index, dst_index, strict=True))
    return Traffic(name, topology, pairs, matrices[:, src_index, dst_index], origins)
