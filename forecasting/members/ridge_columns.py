"""The columns of the ridge member that come from the series themselves.

All of them are changes from the newest sample, or zero when nothing is known, so that a regression shrunk to
nothing forecasts the last value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecasting.members.past import Past, same_time_before, season_steps
from forecasting.panel import BoolArray, FloatArray
from forecasting.settings import Settings

IntArray = npt.NDArray[np.int64]

# The newest lags one by one; further back means of some.
LAGS = 24
_BLOCKS = ((24, 36), (36, 72), (72, 144))
REACH = 144


@dataclass(frozen=True)
class Seasons:
    """Steps of a day and of a week, 0 where the clock has none."""

    day: int
    week: int

    @classmethod
    def of(cls, settings: Settings) -> Seasons:
        """Read them from the calendar."""
        calendar, step_s = settings.calendar, settings.step_s
        return cls(season_steps(calendar.day_s, step_s), season_steps(calendar.week_s, step_s))

    @property
    def known(self) -> tuple[int, ...]:
        """Those that there are, the day first."""
        return tuple(season for season in (self.day, self.week) if season)


class History:
    """The columns of one series at every time of its history, for a fit.

    `z` (T,) has the last known sample where one is missing, and NaN before the first; `extra` (T, c) are the
    optional columns. `near` (T, p) does not depend on the time asked for.
    """

    def __init__(self, z: FloatArray, extra: FloatArray, seasons: Seasons) -> None:
        self._z, self._seasons = z, seasons
        lags = [_lag(z, lag) for lag in range(1, LAGS + 1)]
        blocks = [_lagged_mean(z, start, end) for start, end in _BLOCKS]
        seasonal = [_lag(z, season) for season in seasons.known]
        changes = np.nan_to_num(np.column_stack([*lags, *blocks, *seasonal]) - z[:, None])
        self.near = np.column_stack([changes, extra, np.ones(z.size)])

    def ahead(self, steps: int, end: int) -> FloatArray:
        """Say how it went on a season ago, `steps` ahead of the first `end` times: (end, seasons)."""
        answer = np.zeros((end, len(self._seasons.known)))
        for index, season in enumerate(self._seasons.known):
            before = int(same_time_before(np.array([steps]), season)[0])
            answer[:, index] = (_lag(self._z, before) - _lag(self._z, season))[:end]
        return np.nan_to_num(answer)


class Now:
    """The same columns in a stream, of all series at the newest time."""

    def __init__(self, seasons: Seasons, step_s: float) -> None:
        self._seasons = seasons
        self._past = Past(1 + max(REACH, *seasons.known, 0), step_s)

    def push(self, time_s: float, z: FloatArray) -> None:
        """Take the newest z (n,), the last known one where it is missing."""
        self._past.push(time_s, z)

    def forget(self, series: BoolArray) -> None:
        """Take what was before of `series` (n,) as another level; how it went on a season ago is still known."""
        self._past.forget(series)

    def near(self, z: FloatArray, extra: FloatArray) -> FloatArray:
        """Give the columns (n, p) that do not depend on the time asked for."""
        recent = self._past.level_ago(np.arange(REACH))
        blocks = [recent[:, start:end].mean(axis=1) for start, end in _BLOCKS]
        seasonal = self._past.level_ago(np.array(self._seasons.known, dtype=np.int64))
        lagged = np.column_stack([recent[:, 1 : LAGS + 1], *blocks, seasonal])
        return np.column_stack([np.nan_to_num(lagged - z[:, None]), extra, np.ones(z.size)])

    def ahead(self, horizon: int) -> FloatArray:
        """Say for each season how it went on a season ago: (seasons, n, H)."""
        steps = np.arange(1, horizon + 1)
        answer = [
            self._past.ago(same_time_before(steps, season)) - self._past.ago(np.array([season]))
            for season in self._seasons.known
        ]
        return np.nan_to_num(np.array(answer))


def _lag(z: FloatArray, steps: int) -> FloatArray:
    lagged = np.full(z.size, np.nan)
    lagged[steps:] = z[: max(z.size - steps, 0)]
    return lagged


def _lagged_mean(z: FloatArray, start: int, end: int) -> FloatArray:
    # The mean of the lags from `start` to before `end`.
    first = int(np.count_nonzero(np.isnan(z)))
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(z))])
    mean = np.full(z.size, np.nan)
    at = np.arange(first + end - 1, z.size)
    mean[at] = (total[at - start + 1] - total[at - end + 1]) / (end - start)
    return mean
