"""Samples of any order, with jumps and gaps, put on an even clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# Numbers in memory at most: 1 GiB. Ten million points of a dozen series fit.
MOST_VALUES = 2**27

# Faster clocks than this are not told apart from rounding in seconds since 1970.
LEAST_STEP_S = 1e-3

# A step this near to whole seconds is meant to be whole seconds: polls are late by a little.
_NEARLY_WHOLE = 0.01

# A file may be short and still have a gap of days; with more samples missing than this, a clock was wrong.
_ALWAYS_TICKS, _TICKS_A_SAMPLE = 200_000, 50


class UnevenClock(ValueError):
    """No even clock can be made of these times; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class OnClock:
    """`values` (series, T) at `times` (T,), `step_s` apart, NaN where there was no sample.

    `moved` samples were more than a tenth of a step away from their tick, `doubled` came for a tick that another
    sample had (the last one in the file stays), `unsorted` stood behind a later one, and `gaps` ticks have none.
    """

    times: FloatArray
    values: FloatArray
    step_s: float
    moved: int
    doubled: int
    unsorted: int
    gaps: int


def on_even_clock(times: FloatArray, values: FloatArray) -> OnClock:
    """Put samples `values` (series, k) of `times` (k,), finite seconds, on ticks as far apart as most of them are.

    Raises UnevenClock.
    """
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    gaps = np.diff(ordered)
    step_s = _step(gaps[gaps > 0])
    span = (ordered[-1] - ordered[0]) / step_s
    most = min(max(_ALWAYS_TICKS, _TICKS_A_SAMPLE * times.size), MOST_VALUES // max(1, values.shape[0]))
    if not span < most:
        raise UnevenClock(
            f"{times.size} samples, mostly {step_s:g} s apart, spread over {span:.3g} steps: the clock jumped; "
            "cut the file where it did, or name fewer columns"
        )
    exact = (ordered - ordered[0]) / step_s
    ticks = np.rint(exact).astype(np.int64)
    # Of several for one tick the last one in the file stays, whichever is the later by its own time.
    by_tick = np.lexsort((order, ticks))
    ticks, chosen = ticks[by_tick], order[by_tick]
    last = np.append(ticks[1:] != ticks[:-1], True)
    n_ticks = int(ticks[-1]) + 1
    even = np.full((values.shape[0], n_ticks), np.nan)
    even[:, ticks[last]] = values[:, chosen[last]]
    return OnClock(
        times=ordered[0] + step_s * np.arange(n_ticks),
        values=even,
        step_s=step_s,
        moved=int(np.count_nonzero(np.abs(exact - np.rint(exact)) > 0.1)),
        doubled=int(np.count_nonzero(~last)),
        unsorted=int(np.count_nonzero(np.diff(times) < 0)),
        gaps=n_ticks - int(np.count_nonzero(last)),
    )


def _step(gaps: FloatArray) -> float:
    if gaps.size == 0:
        raise UnevenClock("all samples are of one time; give at least two times")
    step_s = float(np.median(gaps))
    whole = round(step_s)
    if whole >= 1 and abs(step_s - whole) <= _NEARLY_WHOLE * whole:
        return float(whole)
    if not step_s >= LEAST_STEP_S:
        raise UnevenClock(f"most samples are {step_s:g} s apart; give times at least {LEAST_STEP_S:g} s apart")
    return step_s
