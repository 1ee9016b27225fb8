"""Rolling-origin back-test: forecasts made as if it were then, beside those of last value, against what came true.

Fit on the first part, then move on through the rest without a look ahead and forecast every so many steps
(Tashman, Out-of-sample tests of forecasting accuracy, International Journal of Forecasting 16, 2000).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from forecasting.errors import SettingError
from forecasting.evaluation import SCORED_LEVELS, Issued, LastValueIntervals, Scores, evaluate
from forecasting.forecast import Forecast
from forecasting.panel import FloatArray, Panel
from forecasting.stopwatch import Clock, Spent, Stopwatch

# Last value takes its intervals from changes, and a change takes two samples.
_LEAST_TRAINING = 2

Progress = Callable[[int, int], None]
"""Told how many of how many parts are done."""


class Forecasts(Protocol):
    """What is tested: the package's Forecaster, or anything like it."""

    def fit(self, panel: Panel, executor: Executor | None = None, progress: Progress | None = None) -> object:
        """Take `panel` as the history and fit to it."""

    def update(
        self, times: npt.ArrayLike, values: npt.ArrayLike, columns: Mapping[str, npt.ArrayLike] | None = None
    ) -> object:
        """Move on by samples: `times` (k,), `values` (n, k), `columns` as in the panel."""

    def predict(self) -> Forecast:
        """Forecast the steps after the newest sample."""


@dataclass(frozen=True)
class RollingOrigin:
    """Train on the first `train_steps`, then forecast `horizon` steps from every `every`-th sample on.

    The first origin is the last sample of the training. With `refit_every` (steps) the forecaster is fitted anew,
    to all that is known by then. Raises SettingError.
    """

    train_steps: int
    horizon: int
    every: int = 1
    refit_every: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("train_steps", _LEAST_TRAINING), ("horizon", 1), ("every", 1), ("refit_every", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingError(f"{name} is {value}; give a number of steps, {least} or more")

    def origins(self, points: int) -> npt.NDArray[np.int64]:
        """Give the places (O,) of the origins among `points` samples; SettingError where there is none."""
        if self.train_steps >= points:
            raise SettingError(
                f"training of {self.train_steps} steps leaves none of {points} to test on; train on fewer"
            )
        if self.train_steps + self.horizon > points:
            raise SettingError(
                f"a horizon of {self.horizon} steps after {self.train_steps} of training is beyond the {points} "
                "there are; choose a shorter horizon or less training"
            )
        return np.arange(self.train_steps - 1, points - self.horizon, self.every)


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """What came of a back-test.

    `actual` (n, O, H) is what came true after each of the origins, at `origins` (O,) among the times of the panel;
    `issued` and `last_issued` are what was forecast, `scores` and `last_scores` how good that was; their worst day
    is one of `origins_a_day` origins. `fits` were made. Time spent is that of the caller's process (`cpu`) and
    what passed (`wall`).
    """

    panel: Panel
    plan: RollingOrigin
    origins: npt.NDArray[np.int64]
    actual: FloatArray
    issued: Issued
    last_issued: Issued
    scores: Scores
    last_scores: Scores
    origins_a_day: int
    fits: int
    cpu: Spent
    wall: Spent

    @property
    def origin_times(self) -> FloatArray:
        """When the forecasts were made, in seconds (O,)."""
        return self.panel.times[self.origins]

    def ratio_to_last(self) -> FloatArray:
        """Give the mean absolute error over that of last value (n, H): above 1 is worse, NaN where both are 0."""
        last = self.last_scores.nmae
        ratio: FloatArray = np.divide(self.scores.nmae, last, out=np.full(last.shape, np.nan), where=last > 0)
        return ratio


def train_steps(panel: Panel, *, share: float | None = None, seconds: float | None = None) -> int:
    """Say how many steps of `panel` are a share of it, or a time; SettingError unless exactly one is given."""
    if (share is None) == (seconds is None):
        raise SettingError("training: give a share or a time in seconds, one of them")
    if share is not None:
        if not 0.0 < share < 1.0:
            raise SettingError(f"training share {share}; give a number between 0 and 1, like 0.5")
        steps = int(share * panel.times.size)
    elif seconds is not None and math.isfinite(seconds) and seconds > 0:
        steps = int(min(seconds / panel.step_s, 2.0**53))
    else:
        raise SettingError(f"training of {seconds} s; give a time above 0")
    if steps < _LEAST_TRAINING:
        raise SettingError(
            f"training would be {steps} of the {panel.times.size} steps of {panel.step_s:g} s there are; "
            f"train on more, {_LEAST_TRAINING} steps at least"
        )
    return steps


def backtest(
    panel: Panel,
    forecaster: Forecasts,
    plan: RollingOrigin,
    *,
    day_s: float = 86400.0,
    executor: Executor | None = None,
    progress: Progress | None = None,
    fit_progress: Progress | None = None,
    cpu_clock: Clock | None = None,
    wall_clock: Clock | None = None,
) -> BacktestResult:
    """Run `forecaster` through `panel` and score it and last value.

    Last value has the plainest intervals: the quantiles of its own changes over so many steps in training. `day_s`
    is the time whose worst coverage is looked for. `progress` is told of origins, `fit_progress` of each fit.
    Takes about 300 bytes for each series, origin and step. Raises SettingError where the plan does not fit the
    panel, the forecaster's horizon is shorter than the plan's or nothing is known of any series in the training;
    and what the forecaster or the executor raises.
    """
    origins = plan.origins(panel.times.size)
    training = panel.values[:, : plan.train_steps]
    if not np.isfinite(training).any():
        raise SettingError(f"no series has a sample in the {plan.train_steps} steps of training; train on more")
    watch = Stopwatch(cpu_clock, wall_clock)
    fit = _Fit(forecaster, executor, fit_progress, watch)
    issued = _run(panel, forecaster, plan, origins, fit, progress or _silent, watch)
    ahead = np.arange(1, plan.horizon + 1)
    actual = panel.values[:, origins[:, None] + ahead]
    last_issued = LastValueIntervals(training, plan.horizon).issue(panel.values, origins)
    window = _origins_a_day(day_s, panel.step_s * plan.every, origins.size)
    cpu, wall = watch.spent()
    return BacktestResult(
        panel,
        plan,
        origins,
        actual,
        issued,
        last_issued,
        evaluate(actual, issued, training, window),
        evaluate(actual, last_issued, training, window),
        window,
        fit.count,
        cpu,
        wall,
    )


def _origins_a_day(day_s: float, every_s: float, origins: int) -> int:
    if not (math.isfinite(day_s) and day_s > 0):
        raise SettingError(f"day_s is {day_s}; give the length of a day in seconds")
    return max(1, round(min(day_s / every_s, origins)))


def _run(
    panel: Panel,
    forecaster: Forecasts,
    plan: RollingOrigin,
    origins: npt.NDArray[np.int64],
    fit: _Fit,
    progress: Progress,
    watch: Stopwatch,
) -> Issued:
    """Fit, move on and forecast at every origin."""
    issued = Issued.empty(len(panel.names), origins.size, plan.horizon)
    known = fitted = plan.train_steps
    fit.to(cut(panel, 0, known))
    progress(0, origins.size)
    for index, origin in enumerate(origins):
        now = int(origin) + 1
        if plan.refit_every is not None and now - fitted >= plan.refit_every:
            fit.to(cut(panel, 0, now))
            known = fitted = now
        if now > known:
            new = cut(panel, known, now)
            with watch.on("update", now - known):
                forecaster.update(new.times, new.values, new.columns)
            known = now
        with watch.on("predict"):
            forecast = forecaster.predict()
        _check(forecast, panel, plan.horizon)
        issued.put(index, forecast)
        progress(index + 1, origins.size)
    return issued


def cut(panel: Panel, start: int, stop: int) -> Panel:
    """Give the points `start` to `stop` (not included) of `panel`."""
    columns = {name: column[..., start:stop] for name, column in panel.columns.items()}
    return replace(panel, times=panel.times[start:stop], values=panel.values[:, start:stop], columns=columns)


class _Fit:
    """Fits a forecaster, and counts how often."""

    def __init__(
        self, forecaster: Forecasts, executor: Executor | None, progress: Progress | None, watch: Stopwatch
    ) -> None:
        self._forecaster, self._executor, self._progress, self._watch = forecaster, executor, progress, watch
        self.count = 0

    def to(self, panel: Panel) -> None:
        self.count += 1
        with self._watch.on("fit"):
            self._forecaster.fit(panel, executor=self._executor, progress=self._progress)


def _check(forecast: Forecast, panel: Panel, horizon: int) -> None:
    if forecast.names != panel.names:
        raise SettingError("the forecaster gave other series than the panel has; fit it to this panel only")
    if forecast.horizon < horizon:
        raise SettingError(
            f"the forecaster looks {forecast.horizon} steps ahead and {horizon} are tested; make it for {horizon}"
        )


def _silent(_done: int, _of: int) -> None:
    pass


__all__ = [
    "SCORED_LEVELS",
    "BacktestResult",
    "Clock",
    "Forecasts",
    "Progress",
    "RollingOrigin",
    "Spent",
    "backtest",
    "cut",
    "train_steps",
]
