"""When links were full, and how long before that somebody had done something about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Port = tuple[int, int]
"""(dpid, port number): a directed link by the port it leaves."""

Load = tuple[float, dict[Port, float]]
"""Seconds since the start, at the end of an interval, and the utilisation of each link in the interval."""

BUSY_SHARE = 0.9
APART_S = 5.0
"""Two spells of a full link that are closer than this are one congestion."""


@dataclass(frozen=True)
class Congestion:
    """A link was over 90 % from start_s to end_s, in seconds since the start of the play."""

    port: Port
    start_s: float
    end_s: float


def busy_seconds(loads: Sequence[Load]) -> float:
    """How long any link was over 90 %."""
    busy_s, before_s = 0.0, 0.0
    for at_s, shares in loads:
        if max(shares.values(), default=0.0) > BUSY_SHARE:
            busy_s += at_s - before_s
        before_s = at_s
    return busy_s


def congestions(loads: Sequence[Load]) -> tuple[Congestion, ...]:
    """Every congestion of every link, in order of time."""
    found: list[Congestion] = []
    for port in sorted({port for _, shares in loads for port in shares}):
        current: Congestion | None = None
        before_s = 0.0
        for at_s, shares in loads:
            if shares.get(port, 0.0) > BUSY_SHARE:
                if current is not None and before_s - current.end_s > APART_S:
                    found.append(current)
                    current = None
                current = Congestion(port, current.start_s if current else before_s, at_s)
            before_s = at_s
        if current is not None:
            found.append(current)
    return tuple(sorted(found, key=lambda congestion: (congestion.start_s, congestion.port)))


def lead_times(full: Iterable[Congestion], stitches: Sequence[dict[str, Any]], started_s: float) -> list[float]:
    """For each congestion, how long before it the first stitch that relieves its link was up, in seconds.

    A stitch that was gone before the congestion began does not count, nor one that came after it ended; one that
    came while it lasted gives a negative lead. Congestions that no stitch answered have no entry.
    """
    leads = []
    for congestion in full:
        ups = []
        for stitch in stitches:
            if stitch["relieves"] is None or stitch["up_since"] is None:
                continue
            port = (int(stitch["relieves"]["src_dpid"], 16), stitch["relieves"]["src_port"])
            up_s = _seconds(stitch["up_since"]) - started_s
            ended = stitch["state"] in ("terminated", "terminating")
            end_s = _seconds(stitch["changed"]) - started_s if ended else float("inf")
            if port == congestion.port and end_s > congestion.start_s and up_s < congestion.end_s:
                ups.append(up_s)
        if ups:
            leads.append(round(congestion.start_s - min(ups), 3))
    return leads


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
