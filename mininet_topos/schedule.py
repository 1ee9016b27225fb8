"""When every packet of a play leaves: a demand as a list of departures, worked out before the play begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mininet_topos.demand import Demand

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

HEADER_BYTES = 14 + 20 + 8
"""Ethernet, IPv4, UDP: the rate of a flow counts them, as the links do."""
PAYLOAD_MAX = 1200
PAYLOAD_MIN = 16
"""Flow, sequence number, time of departure."""
_PACKETS_PER_S_MIN = 4.0


@dataclass(frozen=True, eq=False)
class Schedule:
    """Departures in order of time: `time_s` since the start, index of the `flow`, `payload` in bytes.

    `flows` are (origin, destination) node indices; packets of a flow are numbered from 0 in order of
    departure.
    """

    flows: tuple[tuple[int, int], ...]
    time_s: FloatArray
    flow: npt.NDArray[np.int32]
    payload: npt.NDArray[np.int32]
    duration_s: float


def payload_bytes(rate_mbps: FloatArray) -> npt.NDArray[np.int32]:
    """1200 bytes; less for a slow flow, so that it still sends 4 packets a second if its headers leave room."""
    frame = np.clip(
        rate_mbps * 1e6 / 8 / _PACKETS_PER_S_MIN, HEADER_BYTES + PAYLOAD_MIN, HEADER_BYTES + PAYLOAD_MAX
    )
    return (np.floor(frame) - HEADER_BYTES).astype(np.int32)


def schedule(demand: Demand, seconds_per_step: float, seed: int = 0, *, interpolate: bool = False) -> Schedule:
    """Spread each flow's packets evenly at its rate, with a random phase; pairs that never send are left out.

    The rate is constant over a step, or runs straight from one matrix to the next with `interpolate`. Raises
    ValueError.
    """
    if not 0 < seconds_per_step < float("inf"):
        raise ValueError(f"seconds_per_step={seconds_per_step} must be positive")
    steps, n, _ = demand.matrices.shape
    flat = demand.matrices.reshape(steps, n * n)
    pairs = [int(p) for p in np.flatnonzero(flat.max(axis=0) > 0) if p // n != p % n]
    pieces = 10 if interpolate else 1
    edges = np.linspace(0.0, steps * seconds_per_step, steps * pieces + 1)
    rng = np.random.default_rng(seed)
    times, flows, payloads = [], [], []
    for number, pair in enumerate(pairs):
        rates = _between(flat[:, pair], pieces)
        sizes = payload_bytes(rates)
        packets_s = rates * 1e6 / 8 / (sizes + HEADER_BYTES)
        due = np.concatenate([[0.0], np.cumsum(packets_s * np.diff(edges))])
        phase = rng.random()
        count = int(np.floor(due[-1] + phase))
        # Packet k leaves when the count of packets due, begun at the phase, reaches k.
        at = np.interp(np.arange(1, count + 1) - phase, due, edges)
        step = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(sizes) - 1)
        times.append(at)
        flows.append(np.full(count, number, dtype=np.int32))
        payloads.append(sizes[step])
    time_s = np.concatenate(times) if times else np.zeros(0)
    order = np.argsort(time_s, kind="stable")
    return Schedule(
        tuple((pair // n, pair % n) for pair in pairs),
        time_s[order],
        (np.concatenate(flows) if flows else np.zeros(0, dtype=np.int32))[order],
        (np.concatenate(payloads) if payloads else np.zeros(0, dtype=np.int32))[order],
        steps * seconds_per_step,
    )


def _between(rates: FloatArray, pieces: int) -> FloatArray:
    if pieces == 1:
        return rates
    at = np.arange(len(rates) * pieces) / pieces
    between: FloatArray = np.interp(at, np.arange(len(rates)), rates)
    return between
