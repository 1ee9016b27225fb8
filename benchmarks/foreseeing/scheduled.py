"""What a calendar of scheduled events is worth: an hour ahead on the World Cup 98 site, 23 to 30 June.

The forecaster is fitted anew every day. How events enter the models was chosen on 13 to 22
June; the days judged here were looked at when that was done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks.foreseeing.data import DataSet, world_cup
from benchmarks.foreseeing.judge import AREA, judge
from benchmarks.support.figure import Better, Figure, note
from forecasting import Calendar
from forecasting.backtest import BacktestResult
from forecasting.panel import BoolArray, FloatArray

_FIRST_S = float(np.datetime64("1998-06-23T00:00:00", "s").astype(np.int64))
_HOUR = 12
_DAY = 288


class Error(NamedTuple):
    """Mean absolute error over the mean: of all hours, of those inside match windows, of those outside."""

    overall: float
    inside: float
    outside: float


def events() -> Iterator[Figure]:
    """NMAE of requests an hour ahead with the calendar, beside last value; and outside also beside no calendar."""
    found = _found()
    result = judge(found, refit_every=_DAY)
    inside = _inside(found, result)
    ours, last = _error(result, result.issued.mean, inside), _error(result, result.last_issued.mean, inside)
    blind = judge(replace(found, calendar=Calendar()), refit_every=_DAY)
    without = _error(blind, blind.issued.mean, inside)
    note(f"{found.name}, requests, 23-30 June: fits={result.fits} inside={inside.mean():.3f} of the hours")
    for who, error in (("with the calendar", ours), ("without", without), ("last value", last)):
        note(f"{found.name}: {who}: " + " ".join(f"{n}={v:.3f}" for n, v in error._asdict().items()))
    for name, target in (("overall", 0.21), ("inside", 0.27)):
        value, peer = getattr(ours, name), getattr(last, name)
        yield Figure(f"events_{name}", AREA, value, "", Better.LESS, target, "last value", peer)
    yield Figure(
        "events_outside",
        AREA,
        ours.outside,
        "",
        Better.LESS,
        round(without.outside, 3),
        "no calendar",
        without.outside,
    )


def _found() -> DataSet:
    whole = world_cup()
    panel = whole.panel.select(["requests"])
    training = int(np.searchsorted(panel.times, _FIRST_S)) - _HOUR
    return replace(whole, panel=panel, training=training, horizon=_HOUR, every=1)


def _inside(found: DataSet, result: BacktestResult) -> BoolArray:
    """Say which of the hours that came true (O,) are in a match window."""
    times = result.origin_times + _HOUR * found.panel.step_s
    answer = np.zeros(times.size, dtype=np.bool_)
    for event in found.calendar.events:
        answer |= (times >= event.start_s) & (times <= event.end_s)
    return answer


def _error(result: BacktestResult, mean: FloatArray, inside: BoolArray) -> Error:
    actual = result.actual[0, :, -1]
    missed = np.abs(actual - mean[0, :, -1])
    return Error(*(float(missed[at].sum() / actual[at].sum()) for at in (inside | ~inside, inside, ~inside)))
