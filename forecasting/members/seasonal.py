"""Seasonal naive: what was at this time yesterday, or a week ago, comes again."""

from __future__ import annotations

import numpy as np

from forecasting.members.member import Member, Sample
from forecasting.members.past import Past, same_time_before, season_steps
from forecasting.panel import BoolArray, FloatArray, Panel
from forecasting.settings import Settings

SHARED = False


class Seasonal:
    """The sample one season before (Hyndman and Athanasopoulos, ch. 5.2), or the last one where it is missing.

    Where the series had another level then, it is the last sample and the change that came a season ago.
    """

    def __init__(self, season: int, settings: Settings) -> None:
        self._season = season
        self._past = Past(season + 1, settings.step_s)
        self._last = np.zeros(0)

    def step(self, sample: Sample) -> None:
        """Remember the samples."""
        self._past.push(sample.time_s, sample.values)
        known = np.isfinite(sample.values)
        self._last = np.where(known, sample.values, self._last if self._last.size else np.nan)

    def forget(self, series: BoolArray) -> None:
        """Take what was before of `series` (n,) as another level."""
        self._past.forget(series)

    def forecast(self, times: FloatArray) -> FloatArray:
        """Repeat the last season."""
        last = np.repeat(self._last[:, None], times.size, axis=1)
        if self._season == 0:
            return last
        steps = same_time_before(np.arange(1, times.size + 1), self._season)
        before, then = self._past.ago(steps), self._past.ago(np.array([self._season]))
        before = np.where(np.isfinite(self._past.level_ago(steps)), before, last + before - then)
        return np.where(np.isfinite(before), before, last)


def fit(panel: Panel, settings: Settings) -> dict[str, np.ndarray]:  # noqa: ARG001
    """Nothing is fitted."""
    return {"nothing": np.zeros((len(panel.names), 0))}


def start_day(arrays: dict[str, np.ndarray], settings: Settings) -> Member:  # noqa: ARG001
    """Start the member of a day: without days, or with steps that do not fit into one, it is last value."""
    return Seasonal(season_steps(settings.calendar.day_s, settings.step_s), settings)


def start_week(arrays: dict[str, np.ndarray], settings: Settings) -> Member:  # noqa: ARG001
    """Start the member of a week: without weeks it is last value."""
    return Seasonal(season_steps(settings.calendar.week_s, settings.step_s), settings)
