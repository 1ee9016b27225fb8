"""Exponentially weighted moving average: the recent average goes on."""

from __future__ import annotations

import numpy as np

from forecasting.members.member import Arrays, Sample
from forecasting.panel import BoolArray, FloatArray, Panel
from forecasting.settings import Settings

SHARED = False

DEFAULT_WEIGHT = 0.6

_CANDIDATES = np.array([0.1, 0.2, 0.35, 0.5, 0.65, 0.8])
_MOST_POINTS = 1024
_LEAST_POINTS = 8


def fit(panel: Panel, settings: Settings) -> Arrays:
    """Choose for each series the `weight` (n,) of the newest sample with the least mean absolute error.

    The error is taken at the first and at the last step ahead: the steps between lie between. Series with hardly
    any samples get DEFAULT_WEIGHT. Simple exponential smoothing, Hyndman and Athanasopoulos, ch. 8.
    """
    rows = panel.values[:, -_MOST_POINTS:]
    n, points = rows.shape
    levels = np.empty((points, n, _CANDIDATES.size))
    level = np.full((n, _CANDIDATES.size), np.nan)
    for index in range(points):
        level = follow(level, rows[:, index, None], _CANDIDATES)
        levels[index] = level
    total = np.zeros((n, _CANDIDATES.size))
    for ahead in {1, settings.horizon}:
        if points > ahead:
            errors = np.abs(rows.T[ahead:, :, None] - levels[:-ahead])
            total += np.nansum(errors, axis=0) / max(1, points - ahead)
    enough = np.count_nonzero(np.isfinite(rows), axis=1) >= _LEAST_POINTS
    return {"weight": np.where(enough, _CANDIDATES[np.argmin(total, axis=1)], DEFAULT_WEIGHT)}


def start(arrays: Arrays, settings: Settings) -> Ewma:  # noqa: ARG001 - a start has these arguments
    """Begin without a sample."""
    return Ewma(arrays["weight"])


class Ewma:
    """The moving average of each series."""

    def __init__(self, weight: FloatArray) -> None:
        self._weight = weight
        self._level = np.full(weight.size, np.nan)

    def step(self, sample: Sample) -> None:
        """Move the averages on."""
        self._level = follow(self._level, sample.values, self._weight)

    def forget(self, series: BoolArray) -> None:
        """Begin anew with the next sample of `series` (n,)."""
        self._level[series] = np.nan

    def forecast(self, times: FloatArray) -> FloatArray:
        """Repeat the average."""
        return np.repeat(self._level[:, None], times.size, axis=1)


def follow(level: FloatArray, values: FloatArray, weight: FloatArray | float) -> FloatArray:
    """Move averages on by one sample: NaN leaves them, the first sample is the average."""
    moved = np.where(np.isnan(level), values, level + weight * (values - level))
    return np.where(np.isnan(values), level, moved)
