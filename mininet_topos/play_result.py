"""What a play measured, worked out from the two halves' logs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mininet_topos.schedule import HEADER_BYTES, Schedule

IntArray = npt.NDArray[np.int64]

LATE_MS = 5.0


@dataclass(frozen=True)
class DelayMs:
    """One-way delay in ms over packets that arrived; None when none did."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class FlowResult:
    """One flow between two hosts. Packets; `sent_bytes` and `received_bytes` are layer 2."""

    source: str
    destination: str
    sent: int
    received: int
    lost: int
    out_of_order: int
    sent_bytes: int
    received_bytes: int
    delay_ms: DelayMs


@dataclass(frozen=True)
class Second:
    """One second of the play, by time of departure: of the packets sent in it, how many arrived at all."""

    second: int
    sent: int
    received: int
    lost: int


@dataclass(frozen=True)
class PlayResult:
    """A whole play. `lost_share` is of packets, `lost_bytes_share` of layer-2 bytes; `delay_ms` of what arrived.

    `late_share`: packets that left more than 5 ms after their time, because the machine was too slow;
    `held_up_ms`: how late the latest was;
    `refused`: sent, but not even taken by the sending host (no ARP answer); they count as lost. `duplicates`
    arrived twice and count once.
    """

    duration_s: float
    sent: int
    received: int
    lost: int
    lost_share: float
    lost_bytes_share: float
    delay_ms: DelayMs
    out_of_order: int
    duplicates: int
    refused: int
    late_share: float
    held_up_ms: float
    flows: tuple[FlowResult, ...]
    seconds: tuple[Second, ...]
    cpu_s: float


@dataclass(frozen=True, eq=False)
class Logs:
    """Raw logs: `left_ns` per departure; `flow`, `number` in it and `arrived_ns` per arrival, in order."""

    start_ns: int
    left_ns: IntArray
    flow: IntArray
    number: IntArray
    arrived_ns: IntArray
    refused: int
    cpu_s: float


def delays(milliseconds: npt.NDArray[np.float64]) -> DelayMs:
    """Median, 95th and 99th percentile."""
    if not len(milliseconds):
        return DelayMs(None, None, None)
    p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99])
    return DelayMs(round(float(p50), 3), round(float(p95), 3), round(float(p99), 3))


def summarise(schedule: Schedule, names: tuple[str, ...], logs: Logs) -> PlayResult:
    """Match arrivals with departures.

    `names` are the hosts by node index. Raises ValueError on logs of another play.
    """
    n, k = len(schedule.time_s), len(schedule.flows)
    if len(logs.left_ns) != n:
        raise ValueError(f"{len(logs.left_ns)} departures logged for {n} scheduled; the sender did not finish")
    # Departures grouped by flow: packet `number` of a flow is at first[flow] + number of this order.
    order = np.argsort(schedule.flow, kind="stable")
    sent = np.bincount(schedule.flow, minlength=k)
    first = np.concatenate([[0], np.cumsum(sent)])[:-1]
    ours = (logs.flow >= 0) & (logs.flow < k)
    flow, number, arrived = logs.flow[ours], logs.number[ours], logs.arrived_ns[ours]
    fits = number < sent[flow] if k else np.zeros(0, dtype=bool)
    flow, number, arrived = flow[fits], number[fits], arrived[fits]
    departures = order[first[flow] + number]
    departures, where = np.unique(departures, return_index=True)
    duplicates = len(flow) - len(departures)
    arrived_once, flow_once = arrived[where], schedule.flow[departures]
    delay_ms = (arrived_once - logs.left_ns[departures]) / 1e6
    received = np.bincount(flow_once, minlength=k)
    size = (schedule.payload + HEADER_BYTES).astype(np.int64)
    got = np.zeros(n, dtype=bool)
    got[departures] = True
    disorder = _out_of_order(flow, number, k)
    by_flow = np.argsort(flow_once, kind="stable")
    parts = np.split(delay_ms[by_flow], np.cumsum(received)[:-1]) if k else []
    sent_bytes = np.bincount(schedule.flow, weights=size, minlength=k)
    received_bytes = np.bincount(flow_once, weights=size[departures], minlength=k)
    flows = tuple(
        FlowResult(
            names[source],
            names[destination],
            int(sent[i]),
            int(received[i]),
            int(sent[i] - received[i]),
            int(disorder[i]),
            int(sent_bytes[i]),
            int(received_bytes[i]),
            delays(parts[i]),
        )
        for i, (source, destination) in enumerate(schedule.flows)
    )
    late_ms = (logs.left_ns - (logs.start_ns + (schedule.time_s * 1e9).astype(np.int64))) / 1e6
    total, arrived_total = n, len(departures)
    return PlayResult(
        duration_s=schedule.duration_s,
        sent=total,
        received=arrived_total,
        lost=total - arrived_total,
        lost_share=_share(total - arrived_total, total),
        lost_bytes_share=_share(float(size[~got].sum()), float(size.sum())),
        delay_ms=delays(delay_ms),
        out_of_order=int(disorder.sum()),
        duplicates=duplicates,
        refused=logs.refused,
        late_share=_share(int((late_ms > LATE_MS).sum()), total),
        held_up_ms=round(float(late_ms.max(initial=0.0)), 3),
        flows=flows,
        seconds=_seconds(logs, got),
        cpu_s=logs.cpu_s,
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _out_of_order(flow: IntArray, number: IntArray, flows: int) -> IntArray:
    """Per flow, the packets that arrived after one with a higher number."""
    by_flow = np.argsort(flow, kind="stable")
    # Flow above number: the running maximum then starts anew with each flow.
    keys = (flow[by_flow].astype(np.int64) << 32) + number[by_flow]
    behind = keys < np.maximum.accumulate(keys) if len(keys) else np.zeros(0, dtype=bool)
    return np.bincount(flow[by_flow][behind], minlength=flows).astype(np.int64)


def _seconds(logs: Logs, got: npt.NDArray[np.bool_]) -> tuple[Second, ...]:
    second = np.maximum(logs.left_ns - logs.start_ns, 0) // 1_000_000_000
    if not len(second):
        return ()
    sent = np.bincount(second)
    received = np.bincount(second[got], minlength=len(sent))
    return tuple(
        Second(i, int(s), int(r), int(s - r)) for i, (s, r) in enumerate(zip(sent, received, strict=True))
    )
