"""ETS: exponential smoothing with a damped trend."""

from __future__ import annotations

from collections import deque

import numpy as np

from forecasting.members.logs import Scale, find_scale
from forecasting.members.member import Member, Sample
from forecasting.panel import BoolArray, FloatArray, Panel
from forecasting.settings import Settings

SHARED = False

# Candidates: the weight of the newest sample in the level, in the trend as a share of that, and what is left of
# the trend after a step. Finer ones forecast no better.
_LEVEL_WEIGHTS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_TREND_SHARES = (0.02, 0.05, 0.1, 0.2)
_DAMPING = (0.8, 0.9, 0.95)

# The newest points that candidates are tried on, and those at the start that are not scored.
_MOST_POINTS, _UNSCORED = 1024, 20

# With fewer scores the weights of last value stay.
_LEAST_SCORES = 16

# The far step that weights are chosen for, at most: later ones would be scored on too few independent errors.
_MOST_FAR_STEP = 24


class Ets:
    """Two smoothings of each series, one chosen for the next step and one for far ones; between them their mean.

    Gardner and McKenzie (1985). The weights that forecast the next step best follow too closely for the next hour.
    """

    def __init__(self, arrays: dict[str, np.ndarray], settings: Settings) -> None:
        self._scale = Scale(arrays["unit"], arrays["offset"])
        self._limit = arrays["limit"]
        self._weights = tuple(arrays[name] for name in ("level_weight", "trend_weight", "damping"))
        self._level = np.full(arrays["damping"].shape, np.nan)
        self._trend = np.zeros(arrays["damping"].shape)
        self._last = np.full(self._limit.shape, np.nan)
        self._far = _far_step(settings.horizon)

    def step(self, sample: Sample) -> None:
        """Move levels and trends on."""
        z = self._scale.forward(sample.values)
        self._last = np.where(np.isnan(z), self._last, z)
        self._level, self._trend = _smooth(self._level, self._trend, z[:, None], *self._weights)

    def forget(self, series: BoolArray) -> None:
        """Begin anew with the next sample of `series` (n,), without a trend."""
        self._level[series], self._trend[series] = np.nan, 0.0

    def forecast(self, times: FloatArray) -> FloatArray:
        """Follow the damped trends; no series leaves its last value by more than it ever ranged."""
        steps = np.arange(1, times.size + 1, dtype=np.float64)
        ahead = self._level[:, :, None] + _reach(self._weights[2][:, :, None], steps) * self._trend[:, :, None]
        share = np.clip(np.log(steps) / np.log(max(self._far, 2)), 0.0, 1.0)
        z = (1.0 - share) * ahead[:, 0] + share * ahead[:, 1]
        last, limit = self._last[:, None], self._limit[:, None]
        return self._scale.backward(last + np.clip(z - last, -limit, limit))


def start(arrays: dict[str, np.ndarray], settings: Settings) -> Member:
    """Start from what `fit` found."""
    return Ets(arrays, settings)


def fit(panel: Panel, settings: Settings) -> dict[str, np.ndarray]:
    """Choose the weights (n, 2) of each series by mean absolute error, for the next step and for far ones.

    A grid over all series at once: an optimiser takes longer and ends beside it. Series with too few samples, or
    constant ones, get the weights of last value.
    """
    values = panel.values[:, -_MOST_POINTS:]
    scale = find_scale(values)
    z = scale.forward(values)
    weights, shares, damping = (
        axis.ravel() for axis in np.meshgrid(_LEVEL_WEIGHTS, _TREND_SHARES, _DAMPING, indexing="ij")
    )
    # Last first: no trend at all.
    weights = np.concatenate([[1.0], _LEVEL_WEIGHTS, weights])
    plain = np.zeros(weights.size - shares.size)
    trends = weights * np.concatenate([plain, shares])
    damping = np.concatenate([plain + _DAMPING[0], damping])
    best = np.stack(_best_candidates(z, weights, trends, damping, _far_step(settings.horizon)), axis=1)
    known = np.isfinite(z)
    low = np.min(z, axis=1, initial=np.inf, where=known)
    high = np.max(z, axis=1, initial=-np.inf, where=known)
    return {
        "level_weight": weights[best],
        "trend_weight": trends[best],
        "damping": damping[best],
        "limit": np.where(known.any(axis=1), high - low, 0.0),
        "unit": scale.unit,
        "offset": scale.offset,
    }


def _best_candidates(
    z: FloatArray, weights: FloatArray, trends: FloatArray, damping: FloatArray, far: int
) -> list[np.ndarray]:
    # For each of the two steps ahead, which candidate errs least, (n,); the first one where that is unknown.
    level = np.full((z.shape[0], weights.size), np.nan)
    trend = np.zeros_like(level)
    steps = (1, far)
    made: tuple[deque[FloatArray], ...] = tuple(deque(maxlen=ahead) for ahead in steps)
    missed = np.zeros((2, *level.shape))
    scores = np.zeros((2, z.shape[0]))
    for index in range(z.shape[1]):
        now = z[:, index, None]
        for which, ahead in enumerate(steps):
            if index >= _UNSCORED + ahead:
                error = np.abs(now - made[which][0])
                scored = np.isfinite(error[:, :1])
                missed[which] += np.where(scored, error, 0.0)
                scores[which] += scored[:, 0]
        level, trend = _smooth(level, trend, now, weights, trends, damping)
        for which, ahead in enumerate(steps):
            made[which].append(level + _reach(damping, np.float64(ahead)) * trend)
    return [
        np.where(scores[which] >= _LEAST_SCORES, np.argmin(missed[which], axis=1), 0)
        for which in range(len(steps))
    ]


def _smooth(
    level: FloatArray,
    trend: FloatArray,
    z: FloatArray,
    weight: FloatArray,
    trend_weight: FloatArray,
    damping: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    # One step of the recursion; a missing sample is as forecast, the first one is the level.
    expected = level + damping * trend
    error = z - expected
    error = np.where(np.isnan(error), 0.0, error)
    moved = np.where(np.isnan(level), z, expected + weight * error)
    return moved, damping * trend + trend_weight * error


def _reach(damping: FloatArray, steps: FloatArray | np.float64) -> FloatArray:
    # How much of the trend is added up until `steps` ahead.
    answer: FloatArray = damping * (1.0 - damping**steps) / (1.0 - damping)
    return answer


def _far_step(horizon: int) -> int:
    return min(horizon, _MOST_FAR_STEP)
