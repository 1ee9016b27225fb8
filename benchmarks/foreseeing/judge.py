"""Runs a forecaster through a data set as if it were then, and says how it did beside last value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.foreseeing.data import DAY_S, DataSet
from benchmarks.support.figure import Better, Figure, note
from forecasting import MEMBERS, Forecaster
from forecasting.backtest import SCORED_LEVELS, BacktestResult, RollingOrigin, backtest
from forecasting.panel import FloatArray
from forecasting.scores import median_over_series

AREA = "forecasts"

# A set without days is cut into parts of this many seconds for the worst of them.
_PART_S = 1000.0


def judge(found: DataSet, members: Sequence[str] = MEMBERS, refit_every: int | None = None) -> BacktestResult:
    """Fit to the training part, move on through the rest and score the forecasts from every `every`-th sample."""
    forecaster = Forecaster(found.horizon, levels=SCORED_LEVELS, members=members, calendar=found.calendar)
    plan = RollingOrigin(found.training, found.horizon, found.every, refit_every)
    return backtest(found.panel, forecaster, plan, day_s=found.calendar.day_s or _PART_S)


def score_figure(
    name: str, result: BacktestResult, score: str, step: int, target: float, unit: str = ""
) -> Figure:
    """Give the median over series of a score `step` steps ahead, beside that of last value."""
    ours, last = (float(scores.medians()[score][step - 1]) for scores in (result.scores, result.last_scores))
    return Figure(name, AREA, ours, unit, Better.LESS, target, "last value", last)


def median_ratio(result: BacktestResult) -> FloatArray:
    """Give the median over series of the mean absolute error over that of last value, at each step."""
    return median_over_series(result.ratio_to_last())


def say(found: DataSet, result: BacktestResult) -> None:
    """Write what a set came to at all its horizons, in one line."""
    medians, ratio = result.scores.medians(), median_ratio(result)
    c80, c95, worst = (medians[name] for name in ("coverage_80", "coverage_95", "worst_day_pooled"))
    note(
        f"{found.name}: series={len(found.panel.names)} origins={result.origins.size} horizons=1-{found.horizon} "
        f"coverage80={c80.min():.3f}-{c80.max():.3f} coverage95={c95.min():.3f}-{c95.max():.3f} "
        f"worst_day95={worst.min():.3f} error_to_last={ratio.min():.3f}-{ratio.max():.3f}"
    )
    note(f"{found.name}: " + "; ".join(_at(result, step) for step in shown_steps(found)))


def shown_steps(found: DataSet) -> tuple[int, ...]:
    """Choose a few steps ahead: the first, an hour, six hours, and the last."""
    hour = round(DAY_S / 24 / found.panel.step_s) if found.calendar.day_s else 10
    return tuple(sorted({step for step in (1, hour, 6 * hour, found.horizon) if 1 <= step <= found.horizon}))


def _at(result: BacktestResult, step: int) -> str:
    medians, last = result.scores.medians(), result.last_scores.medians()
    names = ("mase", "nmae", "winkler95", "coverage_80", "coverage_95")
    ours = " ".join(f"{name}={medians[name][step - 1]:.3f}" for name in names)
    return (
        f"h={step} {ours} last_nmae={last['nmae'][step - 1]:.3f} last_winkler95={last['winkler95'][step - 1]:.3f}"
    )


class Extremes:
    """The least and the largest of a score over sets and steps, and where they were."""

    def __init__(self) -> None:
        self.least, self.largest = np.inf, -np.inf
        self._least_at = self._largest_at = ""

    def add(self, where: str, values: FloatArray) -> None:
        """Take in a score at each step (H,) of a set."""
        low, high = int(np.argmin(values)), int(np.argmax(values))
        if values[low] < self.least:
            self.least, self._least_at = float(values[low]), f"{where} h={low + 1}"
        if values[high] > self.largest:
            self.largest, self._largest_at = float(values[high]), f"{where} h={high + 1}"

    def figures(
        self, least: tuple[str, float] | None, largest: tuple[str, float] | None, peer: float | None = None
    ) -> Iterator[Figure]:
        """Give those asked for, each as (name, target), and write where they were."""
        if least is not None:
            note(f"{least[0]}: {self._least_at}")
            yield Figure(least[0], AREA, self.least, "", Better.MORE, least[1])
        if largest is not None:
            note(f"{largest[0]}: {self._largest_at}")
            who = None if peer is None else "last value"
            yield Figure(largest[0], AREA, self.largest, "", Better.LESS, largest[1], who, peer)
