"""Alarms on the series of the Numenta Anomaly Benchmark, whose anomalies people have labelled.

The first 15 % are for training, as in that benchmark; after it the forecaster is moved on and never fitted again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.foreseeing.data import DAY_S, NAB_OTHER, NAB_TRAFFIC, nab, nab_windows
from benchmarks.foreseeing.judge import AREA
from benchmarks.support.figure import Better, Figure, note
from forecasting import Forecaster, Panel
from forecasting.backtest import cut
from forecasting.panel import FloatArray

_TRAINING_SHARE = 0.15


class Watched(NamedTuple):
    """What came of a series: its windows, those alarmed in, the other alarms, and for how long it was watched."""

    windows: int
    alarmed: int
    false: int
    weeks: float


def nab_alarms() -> Iterator[Figure]:
    """Labelled windows of the three traffic series with an alarm in them, and alarms a week outside of any."""
    traffic = {name: _watch(name) for name in NAB_TRAFFIC}
    other = {name: _watch(name) for name in NAB_OTHER}
    for name, found in (traffic | other).items():
        note(f"{name}: windows={found.alarmed}/{found.windows} false={found.false} in {found.weeks:.1f} weeks")
    windows, alarmed = (sum(getattr(found, what) for found in traffic.values()) for what in ("windows", "alarmed"))
    yield Figure("nab_windows_alarmed", AREA, alarmed, f"of {windows}", Better.MORE, windows)
    # Of the two weeks of the short files, two alarms would be at the limit.
    false, weeks = (sum(getattr(found, what) for found in traffic.values()) for what in ("false", "weeks"))
    yield Figure("nab_false_alarms_a_week", AREA, false / weeks, "1/week", Better.LESS, 1.0)
    worst = max(found.false / found.weeks for found in (traffic | other).values())
    yield Figure("nab_false_alarms_a_week_worst_file", AREA, worst, "1/week", Better.LESS, 1.0)


def _watch(name: str) -> Watched:
    found, windows = nab(name), nab_windows(name)
    panel = found.panel
    first = round(_TRAINING_SHARE * panel.times.size)
    alarms = panel.times[_alarms(panel, found.horizon, first)]
    within = (alarms[:, None] >= windows[:, 0]) & (alarms[:, None] <= windows[:, 1])
    for start, end in windows[~within.any(axis=0)]:
        note(f"{name}: no alarm from {_date(start)} to {_date(end)}")
    false = alarms[~within.any(axis=1)]
    if false.size:
        note(f"{name}: false alarms at {', '.join(map(_date, false))}")
    weeks = (panel.times[-1] - panel.times[first]) / (7 * DAY_S)
    return Watched(len(windows), int(within.any(axis=0).sum()), int(false.size), float(weeks))


def _alarms(panel: Panel, horizon: int, first: int) -> list[int]:
    """Places of the samples that an alarm was raised at."""
    forecaster = Forecaster(horizon)
    forecaster.fit(cut(panel, 0, first))
    alarms: list[int] = []
    # In pieces of a day, as a long one would be taken for a new history.
    for start in range(first, panel.times.size, horizon):
        part = cut(panel, start, min(start + horizon, panel.times.size))
        verdict = forecaster.update(part.times, part.values)
        alarms.extend((start + np.flatnonzero(verdict.alarm[0])).tolist())
    return alarms


def _date(time_s: FloatArray) -> str:
    return str(np.datetime64(int(time_s), "s"))
