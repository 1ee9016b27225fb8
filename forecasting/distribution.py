"""Quantile functions given at a few levels: read at any level, and inverted.

Between the levels they are linear, beyond the outermost ones they have exponential tails that go on with the
density of the outermost pair. What is not below 0 at its least level never is.
"""

from __future__ import annotations

import numpy as np

from forecasting.panel import FloatArray

# A forecast with spread is never certain; this is the least it may say.
_LEAST_PROBABILITY = 1e-9

# A tail is at least this share as long as the whole spread makes it, however close the outermost quantiles lie.
_LEAST_TAIL_SHARE = 0.05


def quantile_at(levels: tuple[float, ...], quantiles: FloatArray, level: float) -> FloatArray:
    """Read quantile functions at one level between 0 and 1.

    `quantiles` is (..., len(levels)), ascending; the answer has its shape without the last axis.
    """
    if levels[0] <= level <= levels[-1]:
        # The same as below for all at once, which is what forecasts are asked for most.
        upper = max(1, int(np.searchsorted(levels, level)))
        low, high = quantiles[..., upper - 1], quantiles[..., upper]
        return _between(low, high, (level - levels[upper - 1]) / (levels[upper] - levels[upper - 1]))
    return quantiles_at(levels, quantiles, np.full(quantiles.shape[:-1], level))


def quantiles_at(levels: tuple[float, ...], quantiles: FloatArray, at: FloatArray) -> FloatArray:
    """Read each quantile function at a level of its own.

    `quantiles` is (..., len(levels)), ascending; `at` (...) is between 0 and 1, as is not either of them.
    """
    known = np.asarray(levels)
    upper = np.clip(np.searchsorted(known, at), 1, known.size - 1)
    low, high = (np.take_along_axis(quantiles, (upper - side)[..., None], axis=-1)[..., 0] for side in (1, 0))
    inside = _between(low, high, (at - known[upper - 1]) / (known[upper] - known[upper - 1]))
    low_tail, high_tail = _tails(known, quantiles)
    under = low_tail * np.log(np.minimum(at / known[0], 1.0))
    over = high_tail * np.log(np.minimum((1.0 - at) / (1.0 - known[-1]), 1.0))
    answer: FloatArray = np.maximum(inside + under - over, _floor(quantiles))
    return answer


def probability_above(levels: tuple[float, ...], quantiles: FloatArray, threshold: FloatArray) -> FloatArray:
    """Give P(X > threshold), the inverse of `quantile_at`.

    `quantiles` is (n, H, len(levels)), ascending; `threshold` broadcasts to (n, H). Where the quantiles differ the
    answer is strictly inside (0, 1), where they are all the same it is 1 or 0, and it is 1 below a floor of 0.
    """
    at = np.broadcast_to(threshold, quantiles.shape[:-1])
    known = np.asarray(levels)
    last = known.size - 1
    below = np.count_nonzero(quantiles <= at[..., None], axis=-1)
    lower = np.clip(below - 1, 0, last - 1)
    at_lower = np.take_along_axis(quantiles, lower[..., None], axis=-1)[..., 0]
    at_upper = np.take_along_axis(quantiles, lower[..., None] + 1, axis=-1)[..., 0]
    width = at_upper - at_lower
    bottom, top = quantiles[..., 0], quantiles[..., -1]
    spread = top - bottom
    low_tail, high_tail = _tails(known, quantiles)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(width > 0, (at - at_lower) / width, 1.0)
        inside = known[lower] + share * (known[lower + 1] - known[lower])
        under = known[0] * np.exp(-(bottom - at) / low_tail)
        over = 1.0 - (1.0 - known[-1]) * np.exp(-(at - top) / high_tail)
    cumulative = np.where(below == 0, under, np.where(below > last, over, inside))
    answer = 1.0 - np.clip(cumulative, _LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
    answer = np.where(spread > 0, answer, (bottom > at).astype(np.float64))
    return np.where(at < _floor(quantiles), 1.0, answer)


def _between(low: FloatArray, high: FloatArray, share: float | FloatArray) -> FloatArray:
    """Go a `share` of the way, clipped to 0 and 1, without ever passing the end by a rounding error."""
    share = np.clip(share, 0.0, 1.0)
    answer: FloatArray = np.where(share < 1.0, np.minimum(low + share * (high - low), high), high)
    return answer


def _floor(quantiles: FloatArray) -> FloatArray:
    """What a series is never below: 0 where it is not even at the least level."""
    return np.where(quantiles[..., 0] >= 0.0, 0.0, -np.inf)


def _tails(known: FloatArray, quantiles: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The lengths of the exponential tails beyond the outermost levels."""
    bottom, top = quantiles[..., 0], quantiles[..., -1]
    mean_gap = (top - bottom) / (known[-1] - known[0])
    low_gap = (quantiles[..., 1] - bottom) / (known[1] - known[0])
    high_gap = (top - quantiles[..., -2]) / (known[-1] - known[-2])
    return (
        known[0] * np.maximum(low_gap, _LEAST_TAIL_SHARE * mean_gap),
        (1.0 - known[-1]) * np.maximum(high_gap, _LEAST_TAIL_SHARE * mean_gap),
    )
