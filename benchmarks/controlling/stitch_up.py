"""How soon a stitch that was asked for is up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from benchmarks.controlling.abilene_lab import Pair, abilene_lab, host_pairs, stitch_body
from benchmarks.support.controller_process import RunningController
from benchmarks.support.figure import Better, Figure, MeasurementFailed, note

_STITCHES = 40
_MBPS = 0.1
_TARGET_MS = 100.0
_WAIT_S = 10


def stitch_up() -> Iterator[Figure]:
    """Milliseconds from the POST until its answer says UP: the median of 40 stitches, one after the other."""
    with abilene_lab() as (running, lab, _state):
        took = [_up_ms(running, pair) for pair in host_pairs(lab, _STITCHES)]
    took_ms = sorted(up_ms for up_ms, _ in took)
    probe_ms = median(flight_ms for _, flight_ms in took)
    note(
        f"stitch_up least_ms={took_ms[0]:.1f} p90_ms={took_ms[int(0.9 * _STITCHES)]:.1f} "
        f"most_ms={took_ms[-1]:.1f} probe_ms={probe_ms:.1f}"
    )
    yield Figure.over("stitch_up_ms", "controller", took_ms, "ms", Better.LESS, target=_TARGET_MS)


def _up_ms(running: RunningController, pair: Pair) -> tuple[float, float]:
    """The time from POST to answer, and the part of it that the stitch's own probe was under way."""
    start_s = time.perf_counter()
    stitch = running.post("/v1/stitches", stitch_body(pair, _MBPS), wait_s=_WAIT_S)
    took_ms = 1e3 * (time.perf_counter() - start_s)
    if stitch["state"] != "up":
        raise MeasurementFailed(
            f"stitch {stitch['id']} is {stitch['state']} after {_WAIT_S} s: {stitch['reason']}"
        )
    return took_ms, stitch["probe_ms"] or 0.0
