"""The weight of the newest sample in an exponentially weighted moving average, for each series."""

from __future__ import annotations

import numpy as np

from forecasting.panel import FloatArray

DEFAULT_WEIGHT = 0.6

_CANDIDATES = np.array([0.1, 0.2, 0.35, 0.5, 0.65, 0.8])
_MOST_POINTS = 1024
_LEAST_POINTS = 8


def best_weights(values: FloatArray, horizon: int) -> FloatArray:
    """Choose for each row of `values` (n, T) the weight with the least mean absolute error, 1 to `horizon` ahead.

    The error is taken at the first and at the last step: the steps between lie between. Rows with hardly any
    samples get DEFAULT_WEIGHT. Simple exponential smoothing, Hyndman and Athanasopoulos, ch. 8.
    """
    rows = values[:, -_MOST_POINTS:]
    n, points = rows.shape
    levels = np.empty((points, n, _CANDIDATES.size))
    level = np.full((n, _CANDIDATES.size), np.nan)
    for index in range(points):
        level = ewma_step(level, rows[:, index, None], _CANDIDATES)
        levels[index] = level
    total = np.zeros((n, _CANDIDATES.size))
    for ahead in {1, horizon}:
        if points > ahead:
            errors = np.abs(rows.T[ahead:, :, None] - levels[:-ahead])
            total += np.nansum(errors, axis=0) / max(1, points - ahead)
    enough = np.count_nonzero(np.isfinite(rows), axis=1) >= _LEAST_POINTS
    return np.where(enough, _CANDIDATES[np.argmin(total, axis=1)], DEFAULT_WEIGHT)


def ewma_step(level: FloatArray, values: FloatArray, weight: FloatArray) -> FloatArray:
    """Move averages on by one sample: NaN samples leave them, the first sample is the average."""
    moved = np.where(np.isnan(level), values, level + weight * (values - level))
    return np.where(np.isnan(values), level, moved)
