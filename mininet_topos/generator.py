"""Demand made up from a seed: gravity model, daily cycle, noise with memory, bursts, scheduled events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from mininet_topos.demand import BadDemand, Demand
from mininet_topos.loads import shortest_utilisation
from mininet_topos.topology import LabTopology

FloatArray = npt.NDArray[np.float64]

_MEAN_UTILISATION = 0.5
_START = np.datetime64("2024-01-01T00:00:00", "s")
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Event:
    """A surge known beforehand: `factor` times the demand of a pair, from step `start` up to `end` - 1."""

    start: int
    end: int
    source: str
    destination: str
    factor: float


def generate(
    topology: LabTopology,
    seed: int,
    steps: int,
    *,
    step_s: float = 300.0,
    daily_swing: float = 0.5,
    noise: float = 0.15,
    bursts_per_day: float = 20.0,
    events_per_day: float = 6.0,
) -> tuple[Demand, tuple[Event, ...]]:
    """Make `steps` matrices and the list of scheduled events in them; the same arguments give the same numbers.

    Base: gravity with log-normal masses (Roughan, "Simplifying the synthesis of Internet traffic matrices",
    CCR 2005). On it a daily sine of `daily_swing`, shifted by longitude, and per pair an AR(1) of standard
    deviation `noise`, short bursts and long events. The mean load of the fullest link on shortest paths is
    half its capacity; scale it as wanted. Raises BadDemand.
    """
    n = len(topology.nodes)
    if steps < 1 or n < 2 or step_s <= 0:
        raise BadDemand(
            f"{steps} steps of {step_s} s for {n} routers: at least one step and two routers are needed"
        )
    rng = np.random.default_rng(seed)
    mass = rng.lognormal(0.0, 0.8, n)
    base = np.outer(mass, mass) / mass.sum()
    np.fill_diagonal(base, 0.0)
    matrices = base[None] * _daily(topology, steps, step_s, daily_swing) * _noise(rng, steps, n, noise)
    days = steps * step_s / _DAY_S
    _add_bursts(rng, matrices, rng.poisson(bursts_per_day * days))
    events = _schedule(rng, topology, steps, max(1, rng.poisson(events_per_day * days)))
    index = {name: i for i, name in enumerate(topology.node_names)}
    for event in events:
        matrices[event.start : event.end, index[event.source], index[event.destination]] *= event.factor
    fullest = float(shortest_utilisation(topology, matrices).mean(axis=0).max())
    matrices *= _MEAN_UTILISATION / fullest
    return Demand(f"generated (seed {seed})", matrices, topology.node_names, step_s, _START), events


def _daily(topology: LabTopology, steps: int, step_s: float, swing: float) -> FloatArray:
    hours = np.arange(steps) * step_s / 3600.0
    # A place 15 degrees further west has its day an hour later.
    shift = np.array([-(node.longitude_deg or 0.0) / 15.0 for node in topology.nodes])
    cycle = 1.0 + swing * np.sin(2 * np.pi * (hours[:, None] - shift[None, :] - 14.0) / 24.0)
    both: FloatArray = np.sqrt(cycle[:, :, None] * cycle[:, None, :])
    return both


def _noise(rng: np.random.Generator, steps: int, n: int, deviation: float) -> FloatArray:
    memory = 0.9
    shocks = rng.normal(0.0, deviation * np.sqrt(1 - memory**2), (steps, n, n))
    shocks[0] = rng.normal(0.0, deviation, (n, n))
    level: FloatArray = np.exp(lfilter([1.0], [1.0, -memory], shocks, axis=0))
    return level


def _add_bursts(rng: np.random.Generator, matrices: FloatArray, count: int) -> None:
    steps, n, _ = matrices.shape
    for _ in range(count):
        source, hop = rng.integers(n), rng.integers(1, n)
        start, lasts = rng.integers(steps), rng.integers(1, 4)
        matrices[start : start + lasts, source, (source + hop) % n] *= 1.0 + rng.pareto(2.5)


def _schedule(rng: np.random.Generator, topology: LabTopology, steps: int, count: int) -> tuple[Event, ...]:
    names = topology.node_names
    events = []
    for _ in range(count):
        source, hop = int(rng.integers(len(names))), int(rng.integers(1, len(names)))
        start = int(rng.integers(steps))
        end = min(steps, start + int(rng.integers(6, 19)))
        destination = names[(source + hop) % len(names)]
        events.append(Event(start, end, names[source], destination, float(rng.uniform(2.0, 5.0))))
    return tuple(sorted(events, key=lambda event: (event.start, event.source, event.destination)))
