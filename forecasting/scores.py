"""Scores of forecasts against what came true, for each series and step ahead.

Arrays are (n_series, n_origins, H): what was forecast at each origin for each of the H steps after it. A score is
(n_series, H) and leaves out what is NaN; it is NaN itself where nothing is left, or nothing to scale by.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecasting.errors import SettingError
from forecasting.panel import FloatArray

# A window of which less than this share came true is no window: a few outcomes cover anything between 0 and 1.
_LEAST_WINDOW = 0.5


def mase_scale(training: FloatArray) -> FloatArray:
    """Give the mean absolute one-step change (n,) of `training` (n, T): the error of last value, one step ahead.

    NaN for a series that never changes or was seen less than twice in a row. Hyndman and Koehler, Another look at
    measures of forecast accuracy, International Journal of Forecasting 22 (2006), with season 1.
    """
    scale = _mean(np.abs(np.diff(training, axis=1)), axis=1)
    return np.where(scale > 0, scale, np.nan)


def mase(actual: FloatArray, point: FloatArray, scale: FloatArray) -> FloatArray:
    """Give the mean absolute scaled error (n, H); `scale` (n,) is `mase_scale` of the training."""
    return _mean(np.abs(actual - point)) / scale[:, None]


def mean_size(actual: FloatArray) -> FloatArray:
    """Give the mean size (n, H) of what came true, which errors are compared with; NaN where that is 0."""
    size = _mean(np.abs(actual))
    return np.where(size > 0, size, np.nan)


def nmae(actual: FloatArray, point: FloatArray) -> FloatArray:
    """Give the mean absolute error over the mean (n, H); also known as WAPE."""
    return _mean(np.abs(actual - point)) / mean_size(actual)


def nrmse(actual: FloatArray, point: FloatArray) -> FloatArray:
    """Give the root of the mean squared error over the mean (n, H)."""
    return np.sqrt(_mean((actual - point) ** 2)) / mean_size(actual)


def coverage(actual: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Give the share (n, H) of outcomes inside the interval, its ends included."""
    return _mean(_inside(actual, low, high))


def winkler(actual: FloatArray, low: FloatArray, high: FloatArray, level: float) -> FloatArray:
    """Give the mean interval score (n, H) of central intervals that shall hold a share `level`.

    In the unit of the series: the width, and for each miss 2 / (1 - level) times how far out it was; it is
    least for the true quantiles. Winkler (1972); Gneiting and Raftery, Strictly proper scoring rules, JASA 102
    (2007), eq. 43. Raises SettingError.
    """
    if not 0.0 < level < 1.0:
        raise SettingError(f"winkler: level {level}; give a share between 0 and 1")
    missed = np.maximum(low - actual, 0.0) + np.maximum(actual - high, 0.0)
    return _mean(high - low + 2.0 / (1.0 - level) * missed)


def pinball(actual: FloatArray, quantiles: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Give the pinball loss (n, H), the mean over `levels` of `quantiles` (n, n_origins, H, len(levels)).

    In the unit of the series; with evenly spread levels half the continuous ranked probability score. Koenker and
    Bassett (1978); Gneiting and Raftery (2007), eq. 40.
    """
    loss = np.zeros_like(actual)
    # One level at a time: all together would take as much memory again as the quantiles.
    for index, level in enumerate(levels):
        error = actual - quantiles[..., index]
        loss += np.maximum(level * error, (level - 1.0) * error)
    return _mean(loss) / len(levels)


def worst_window_coverage(
    actual: FloatArray, low: FloatArray, high: FloatArray, window: int, *, pooled: bool = False
) -> FloatArray:
    """Give the coverage (n, H) in the worst of the windows of `window` origins that follow each other.

    Windows less than half of which came true are left out. `pooled`: one window holds the outcomes of all series,
    and the answer is (1, H): with few origins a window, one series' worst one says more of chance than of the
    intervals. Raises SettingError.
    """
    if window < 1:
        raise SettingError(f"worst_window_coverage: window {window}; give the number of origins, 1 or more")
    hits = _inside(actual, low, high)
    n, origins, horizon = hits.shape
    windows = -(-origins // window)
    padded = np.full((n, windows * window, horizon), np.nan)
    padded[:, :origins] = hits
    grouped = padded.reshape(n, windows, window, horizon)
    if pooled:
        grouped = grouped.transpose(1, 0, 2, 3).reshape(1, windows, n * window, horizon)
    known = np.count_nonzero(np.isfinite(grouped), axis=2)
    covered = np.where(known >= _LEAST_WINDOW * grouped.shape[2], _mean(grouped, axis=2), np.inf)
    worst = covered.min(axis=1, initial=np.inf)
    return np.where(np.isfinite(worst), worst, np.nan)


def share_below(actual: FloatArray, quantiles: FloatArray) -> FloatArray:
    """Give how often (n, H, levels) an outcome was at or below each of `quantiles` (n, n_origins, H, levels)."""
    parts = [
        _mean(np.where(np.isnan(actual), np.nan, actual <= quantiles[..., index]))
        for index in range(quantiles.shape[-1])
    ]
    return np.stack(parts, axis=-1)


def median_over_series(score: FloatArray) -> FloatArray:
    """Give the median (H,) of a score (n, H) over the series that have one; NaN where none has.

    Means are ruled by the few series that are nearly empty.
    """
    if score.shape[0] == 0:
        return np.full(score.shape[1:], np.nan)
    # NaN sorts last: the median of the known ones is in the middle of so many.
    ordered = np.sort(score, axis=0)
    known = np.count_nonzero(np.isfinite(score), axis=0)
    low = np.take_along_axis(ordered, np.maximum((known - 1) // 2, 0)[None], axis=0)[0]
    high = np.take_along_axis(ordered, np.minimum(known // 2, score.shape[0] - 1)[None], axis=0)[0]
    middle: FloatArray = np.where(known > 0, 0.5 * (low + high), np.nan)
    return middle


def _inside(actual: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    return np.where(np.isnan(actual), np.nan, (low <= actual) & (actual <= high))


def _mean(values: FloatArray, axis: int = 1) -> FloatArray:
    """Mean of what is not NaN, without numpy's warning where nothing is."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=axis)
    count = np.count_nonzero(known, axis=axis)
    mean: FloatArray = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean
