"""Whether a learnt delay-load curve predicts and chooses better than the fixed weights of `link_cost`.

A replay on Abilene: two weeks of real demand matrices, scaled until the busiest link is almost full at peaks, on
OSPF's shortest paths. Each link is a fluid queue of its own buffer fed by its own bursts, in slots of 100 ms; the
model is told none of that. Every five minutes a link is probed ten times; some rounds are lost, some are off by
tens of ms. Week 1 is for learning; in week 2, every half hour, what was measured last is the forecast for the five
minutes that follow, for all alike, and learning goes on in between.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from pathing import CostWeights, Topology, all_pairs, great_circle_ms, link_cost, shortest_paths_from
from pathing.csr import FloatArray, IndexArray
from pathing.latency_model import LatencyModel

_DATA = Path(__file__).parents[2].parent / "shared" / "data" / "abilene"
_WEEK = 2016
_EVERY = 6
_PEAK_UTILISATION = 0.6, 1.0
_LATENCY_AND_LOAD = CostWeights(loss_ms=0.0, price_ms=0.0)

_SEED = 20040301
_SLOT_MS = 100.0
_SLOTS, _WARM_UP, _PROBES = 600, 100, 10
_LOST_ROUNDS, _WRONG_ROUNDS, _WRONG_MS, _CLOCK_MS = 0.05, 0.01, 30.0, 0.05


class Measured(NamedTuple):
    """What happened on each link in each interval, all (n_intervals, n_links)."""

    utilisation: FloatArray
    latency_ms: FloatArray
    loss: FloatArray
    true_latency_ms: FloatArray


def learned_latency() -> Iterator[Figure]:
    """Error of predicted path latency, median and mean, and mean latency met on the paths chosen."""
    topology, demands = _abilene()
    happened = _simulate(topology, _loads(topology, demands))
    tally = _replay(topology, happened)
    median, mean, chosen = ({name: one(t) for name, t in tally.items()} for one in (_median, _mean, _met))
    _say(median, mean, chosen)
    for name, values, peer in (
        ("learned_latency_median_error", median, "fixed"),
        ("learned_latency_mean_error", mean, "fixed"),
        ("learned_latency_mean_error_to_last", mean, "last"),
        ("learned_latency_chosen", chosen, "fixed"),
    ):
        yield Figure(
            name=name,
            area="paths",
            value=values["learned"],
            unit="ms",
            better=Better.LESS,
            peer=_PEERS[peer],
            peer_value=values[peer],
        )


_PEERS = {"fixed": "pathing.cost.link_cost", "last": "latency measured last"}


def _say(median: Mapping[str, float], mean: Mapping[str, float], chosen: Mapping[str, float]) -> None:
    for what, values, unit in (
        ("error of path latency, median", median, "predicts"),
        ("error of path latency, mean", mean, "predicts"),
        ("mean latency of chosen paths", chosen, "chooses"),
    ):
        better = [name for name in ("fixed", "last", "propagation") if values["learned"] < values[name]]
        note(f"{what}, ms: " + " ".join(f"{name}={value:.3f}" for name, value in values.items()))
        note(f"the learnt curve {unit} better than: {', '.join(better) or 'NONE OF THEM'}")


# -- the network and what happens on it


def _abilene() -> tuple[Topology, FloatArray]:
    """The topology with latencies of straight fibres, and demands in Mbit/s (n_intervals, n_nodes, n_nodes)."""
    if not _DATA.is_dir():
        raise MeasurementFailed("the Abilene matrices are not there: ../shared/data/abilene")
    with (_DATA / "nodes.csv").open() as file:
        places = {row["node"]: (float(row["lon"]), float(row["lat"])) for row in csv.DictReader(file)}
    matrices = np.load(_DATA / "abilene_tm_5min_20040301_14d.npz")
    topology = Topology()
    for node in matrices["nodes"]:
        topology.add_node(str(node))
    with (_DATA / "links.csv").open() as file:
        for row in csv.DictReader(file):
            topology.add_link(
                row["src"],
                row["dst"],
                capacity_mbps=float(row["capacity_kbps"]) / 1e3,
                latency_ms=great_circle_ms(places[row["src"]], places[row["dst"]]),
                weight=float(row["ospf_weight"]),
            )
    demands = matrices["tm_mbps"].astype(np.float64)
    demands[:, range(topology.n_nodes), range(topology.n_nodes)] = 0.0
    return topology, demands


def _loads(topology: Topology, demands: FloatArray) -> FloatArray:
    """Load over capacity on OSPF's shortest paths, (n_intervals, n_links).

    Capacities are changed so that every link is well used at its peak of week 1.
    """
    pairs = all_pairs(topology, "weight")
    hops = np.stack([pairs.paths_to(name).link for name in topology.node_names], axis=1)
    n_nodes = topology.n_nodes
    share = np.zeros((n_nodes * n_nodes, topology.n_links))
    for pair in range(n_nodes * n_nodes):
        node, end = divmod(pair, n_nodes)
        while node != end:
            share[pair, hops[node, end]] = 1.0
            node = topology.end_indexes(int(hops[node, end]))[1]
    mbps: FloatArray = demands.reshape(len(demands), -1) @ share
    random = np.random.default_rng(_SEED)
    peak = np.quantile(mbps[:_WEEK], 0.99, axis=0)
    capacity = peak / random.uniform(*_PEAK_UTILISATION, topology.n_links)
    for link, value in enumerate(capacity):
        topology.set_link(link, capacity_mbps=float(value))
    return mbps / capacity


def _simulate(topology: Topology, loads: FloatArray) -> Measured:
    """Run a fluid queue on every link in every interval, and probe it."""
    random = np.random.default_rng(_SEED)
    n_links = topology.n_links
    buffer_ms = random.uniform(15.0, 100.0, n_links).astype(np.float32)
    burstiness = random.uniform(0.1, 0.35, n_links).astype(np.float32)
    memory = random.uniform(0.3, 0.85, n_links).astype(np.float32)  # from one slot to the next
    # Bursts are not the same every hour either.
    sigma = (burstiness * np.exp(random.normal(0.0, 0.15, loads.shape))).astype(np.float32)
    mean_rate = (loads * np.exp(-(sigma.astype(np.float64) ** 2) / 2)).astype(np.float32)
    burst = random.standard_normal(loads.shape, dtype=np.float32)
    queue_ms, total_ms, probed_ms, dropped_ms = (np.zeros(loads.shape, dtype=np.float32) for _ in range(4))
    fresh = np.sqrt(1 - memory**2).astype(np.float32)
    for slot in range(-_WARM_UP, _SLOTS):
        burst = memory * burst + fresh * random.standard_normal(loads.shape, dtype=np.float32)
        queue_ms += np.float32(_SLOT_MS) * (mean_rate * np.exp(sigma * burst) - 1)
        np.maximum(queue_ms, 0.0, out=queue_ms)
        if slot >= 0:
            dropped_ms += np.maximum(queue_ms - buffer_ms, 0.0)
        np.minimum(queue_ms, buffer_ms, out=queue_ms)
        if slot >= 0:
            total_ms += queue_ms
        if slot >= 0 and slot % (_SLOTS // _PROBES) == 0:
            probed_ms += queue_ms
    base_ms = topology.array("latency_ms")
    loss = np.minimum(0.99, dropped_ms / np.maximum(loads * _SLOTS * _SLOT_MS, 1e-9))
    probed = base_ms + probed_ms / _PROBES + random.normal(0.0, _CLOCK_MS, loads.shape)
    wrong = random.random(loads.shape) < _WRONG_ROUNDS
    probed += np.where(wrong, random.exponential(_WRONG_MS, loads.shape), 0.0)
    probed = np.maximum(probed, 0.0)
    probed[random.random(loads.shape) < _LOST_ROUNDS] = np.nan
    return Measured(loads * (1 - loss), probed, loss, base_ms + total_ms / _SLOTS)


# -- the replay


@dataclass
class _Tally:
    """Errors of predicted path latency and latencies met on chosen paths, (n_pairs,) at each origin."""

    errors: list[FloatArray]
    met: list[FloatArray]


def _median(tally: _Tally) -> float:
    return float(np.median(tally.errors))


def _mean(tally: _Tally) -> float:
    return float(np.mean(tally.errors))


def _met(tally: _Tally) -> float:
    return float(np.mean(tally.met))


def _replay(topology: Topology, happened: Measured) -> Mapping[str, _Tally]:
    """Learn week 1; in week 2 predict, choose and go on learning."""
    model = LatencyModel(topology)
    links = np.arange(topology.n_links)
    paths = _Trees(topology, topology.array("latency_ms"))
    last = topology.array("latency_ms").copy()
    tally = {name: _Tally([], []) for name in ("learned", "fixed", "propagation", "last", "hindsight")}
    for now in range(len(happened.latency_ms) - 1):
        measured = happened.latency_ms[now]
        model.observe(links, happened.utilisation[now], measured, happened.loss[now])
        last = np.where(np.isnan(measured), last, measured)
        if now < _WEEK or now % _EVERY:
            continue
        truth = happened.true_latency_ms[now + 1]
        forecast = happened.utilisation[now] / (1 - happened.loss[now])
        for name, (predicted, weight) in _weights(topology, model, forecast, last, truth).items():
            tally[name].errors.append(np.abs(paths.sums(predicted) - paths.sums(truth)))
            tally[name].met.append(_Trees(topology, weight).sums(truth))
    return tally


def _weights(
    topology: Topology, model: LatencyModel, forecast: FloatArray, last: FloatArray, truth: FloatArray
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """What each contender says the links' latencies are, and the weights it chooses by."""
    for link, value in enumerate(forecast):
        topology.set_link(link, utilisation=float(value))
    learned = model.link_latency_ms(forecast)
    propagation = topology.array("latency_ms")
    return {
        "learned": (learned, learned),
        # As a prediction only its latency and load parts: the others are no time spent on the way.
        "fixed": (link_cost(topology, weights=_LATENCY_AND_LOAD), link_cost(topology)),
        "propagation": (propagation, propagation),
        "last": (last, last),
        "hindsight": (truth, truth),
    }


class _Trees:
    """Shortest paths between all pairs under one weight, to add up anything along them."""

    def __init__(self, topology: Topology, weight: FloatArray) -> None:
        sources = topology.ends()[0]
        self._steps: list[tuple[IndexArray, IndexArray, IndexArray]] = []
        for name in topology.node_names:
            tree = shortest_paths_from(topology, name, weight)
            order = np.argsort(tree.distance, kind="stable")[1:]
            self._steps.append((order, sources[tree.link[order]], tree.link[order]))

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum of the links' values along each path, (n_pairs,)."""
        totals = []
        for nodes, parents, links in self._steps:
            total = np.zeros(nodes.size + 1)
            for node, parent, link in zip(nodes, parents, links, strict=True):
                total[node] = total[parent] + values[link]
            totals.append(total[nodes])
        return np.concatenate(totals)
