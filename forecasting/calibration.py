"""Calibration: the quantiles of what forecasts miss by, moved on with every outcome so that they hold."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri, stdtrit

from forecasting.anomalies import signed_bits
from forecasting.calendar import Calendar
from forecasting.knots import IntArray, Knots, Pending
from forecasting.panel import BoolArray, FloatArray
from forecasting.scale import FEATURES, Moves, ScaleModel, features

# Errors of traffic have a sharp peak and long tails. Student's t with 4 degrees of freedom does too, and its mean
# absolute value is exactly 1, the unit in which errors are kept.
_PRIOR_DEGREES, _PRIOR_DENSITY = 4, 0.375

# How many of the newest outcomes a quantile is of: as many as have these many beyond it, within bounds, and more
# for later steps, whose errors overlap and come in runs. The prior counts as much as the last number.
_TAIL_OUTCOMES, _KEPT, _KEPT_EXPONENT, _PRIOR_COUNT = 15.0, 100.0, 0.3, 30.0
_MOST_KEPT = 8.0 * _KEPT

# All series together remember this many times as long.
_POOL_RATIO = 2.0

# A series has its own quantiles half after this many outcomes times sqrt(h), till then those of all series.
_OWN_FOR_HALF = 60.0

# How large the errors of each knot were of late: the memory (longer for later steps), what it is shrunk to 1 by,
# and the most that one error counts.
_RECENT_MEMORY, _RECENT_EXPONENT, _RECENT_PRIOR, _LARGEST_RECENT = 0.99, 0.5, 10.0, 10.0

# In scales: no larger error is learnt from, and none is more surprising than the second.
_LARGEST_SIZE, _MOST_SURPRISING = 30.0, 1e6

# An error of less than this share of the level surprises by no more than so many bits.
_NEGLIGIBLE, _NEGLIGIBLE_BITS = 0.002, 5.0

# With fewer one-step errors than this the spread is mostly the prior's: the forecast says it is cold.
COLD_BELOW = 8


class Calibration:
    """Quantiles of the scaled signed errors for each series, knot and level, tracked as outcomes arrive.

    Adaptive conformal inference as online quantile tracking (Gibbs and Candes, 2021; Angelopoulos, Candes and
    Tibshirani, Conformal PID control, 2023): a quantile that was exceeded goes up by much, one that was not goes
    down by little, so that in the long run it is exceeded as often as its level says, whatever the series does.
    Each knot learns when its outcome is there. Errors are in units of a scale that is regressed on how restless
    series are of late, on the hour, and on what members think (`scale`). Steps are those of implicit gradient
    descent: none goes past the outcome it learns from, so that a series that stands still is hit exactly.
    """

    def __init__(
        self, n_series: int, horizon: int, levels: tuple[float, ...], step_s: float, calendar: Calendar
    ) -> None:
        self._knots, self._levels = Knots(horizon), np.asarray(levels)
        steps = self._knots.steps.astype(np.float64)
        self._ahead_s = step_s * np.arange(1, horizon + 1, dtype=np.float64)
        self._root = np.sqrt(steps)
        self._moves, self._model = Moves(n_series, calendar), ScaleModel(steps)
        prior = stdtrit(_PRIOR_DEGREES, self._levels)
        # The step that Newton's method takes is one over the density there.
        self._stride = (1.0 + prior**2 / _PRIOR_DEGREES) ** ((_PRIOR_DEGREES + 1) / 2) / _PRIOR_DENSITY
        tail = np.minimum(self._levels, 1.0 - self._levels)
        self._kept = np.clip(_TAIL_OUTCOMES / tail, _KEPT, _MOST_KEPT) * steps[:, None] ** _KEPT_EXPONENT
        self._own = np.tile(prior, (n_series, steps.size, 1))
        self._pool, self._pool_count = np.tile(prior, (steps.size, 1)), np.zeros(steps.size)
        self._count = np.zeros((n_series, steps.size))
        self._one_step = np.zeros(n_series, dtype=np.int64)
        # The forecast, the unit of its errors, and the features.
        self._pending = Pending(self._knots, 2 + FEATURES, n_series)
        self._recent, self._recent_count = np.zeros(self._count.shape), np.zeros(self._count.shape)
        self._recent_memory = 1.0 - (1.0 - _RECENT_MEMORY) / steps**_RECENT_EXPONENT
        self._time_s, self._last = 0.0, np.zeros(n_series)
        self._said = np.full((3, n_series, horizon), np.nan)

    @property
    def steps(self) -> IntArray:
        """The knots, in steps ahead, (K,)."""
        return self._knots.steps

    def record(self, time_s: float, values: FloatArray) -> FloatArray:
        """Take in the samples (n,) of `time_s`, NaN where one is missing.

        Gives how surprising each is to what was forecast for it at each knot, (n, K), in bits, negative where it
        is too small (`anomalies.signed_bits`); NaN where nothing was forecast or nothing came.
        """
        due = self._pending.due()
        centre, unit, rows = due[0], due[1], np.moveaxis(due[2:], 0, -1)
        errors = values[:, None] - centre
        # By what is known now: with what was said h steps ago, one miss would be put right h times.
        scale = unit * self._model.factor(rows, self._model.coefficients)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            scaled = np.where(scale > 0, errors / scale, np.sign(errors) * _MOST_SURPRISING)
        scaled = np.where(np.isfinite(errors), np.clip(scaled, -_MOST_SURPRISING, _MOST_SURPRISING), np.nan)
        surprise = signed_bits(self._levels, np.sort(self._mixed(), axis=-1), scaled)
        # A series that hardly ever moves is not called about for a thousandth of its level.
        small = np.abs(errors) < _NEGLIGIBLE * self._moves.level()[:, None]
        surprise = np.where(small, np.clip(surprise, -_NEGLIGIBLE_BITS, _NEGLIGIBLE_BITS), surprise)
        scaled = np.clip(scaled, -_LARGEST_SIZE, _LARGEST_SIZE)
        self._track(scaled)
        self._model.record(rows, np.abs(scaled))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            size = np.minimum(np.abs(errors) / unit, _LARGEST_RECENT)
        known = np.isfinite(size)
        self._recent = np.where(known, self._recent_memory * self._recent + np.where(known, size, 0), self._recent)
        self._recent_count = np.where(known, self._recent_memory * self._recent_count + 1.0, self._recent_count)
        self._one_step += np.isfinite(errors[:, 0])
        self._moves.record(time_s, values, errors[:, 0])
        self._time_s = time_s
        self._last = np.where(np.isfinite(values), values, self._last)
        return np.asarray(surprise)

    def _track(self, scaled: FloatArray) -> None:
        known = np.isfinite(scaled)
        self._count += known
        stride = self._stride / (np.minimum(self._count[..., None], self._kept) + _PRIOR_COUNT)
        at = np.where(known, scaled, 0.0)[..., None]
        moved = np.clip(at, self._own - stride * (1.0 - self._levels), self._own + stride * self._levels)
        self._own = np.where(known[..., None], moved, self._own)
        seen = known.sum(axis=0)
        self._pool_count += seen > 0
        exceeded = np.where(known[..., None], at > self._pool, 0.0).sum(axis=0) / np.maximum(seen, 1)[:, None]
        step = self._stride / (np.minimum(self._pool_count[:, None], _POOL_RATIO * self._kept) + _PRIOR_COUNT)
        self._pool = np.where(
            (seen > 0)[:, None], self._pool + step * (exceeded - (1.0 - self._levels)), self._pool
        )

    def issue(self, centre: FloatArray, spread: FloatArray, disagreement: FloatArray) -> FloatArray:
        """Take what the blend says now, each (n, H); give half the width of 0.1 to 0.9 at the knots, (n, K)."""
        self._said = np.stack([centre, spread, disagreement])
        steps = self._knots.steps
        times = self._time_s + self._ahead_s[steps - 1]
        said = self._knots.at(self._said)
        rows = features(self._moves, self._time_s, times, said, self._last, self._of_late())
        unit = self._moves.usual()[:, None] * self._root
        scale = unit * self._model.factor(rows, self._model.coefficients)
        self._pending.put(np.concatenate([said[:1], unit[None], np.moveaxis(rows, -1, 0)]))
        mixed = self._mixed()
        low, high = (mixed[..., int(np.argmin(np.abs(self._levels - level)))] for level in (0.1, 0.9))
        return np.asarray(np.maximum(high - low, 1e-6) / 2.0 * scale)

    def _of_late(self) -> FloatArray:
        return (self._recent + _RECENT_PRIOR) / (self._recent_count + _RECENT_PRIOR)

    def _mixed(self) -> FloatArray:
        trust = self._trust()
        return np.asarray(trust * self._own + (1.0 - trust) * self._pool)

    def _trust(self) -> FloatArray:
        return np.asarray(self._count / (self._count + _OWN_FOR_HALF * self._root))[..., None]

    def _widening(self) -> FloatArray:
        """Say how much wider quantiles are for being learnt from few outcomes, (n, K, levels).

        Errors h steps ahead overlap, so of the outcomes a quantile is of every h-th tells something new; those of
        other series count as the root of their number, since series rise together. A quantile that so many
        independent outcomes gave is one of Student's t for the next one (Geisser, Predictive Inference, 1993),
        here by the expansion of Abramowitz and Stegun, 26.7.5.
        """
        trust, steps = self._trust(), self._knots.steps[:, None]
        own = np.minimum(self._count[..., None], self._kept)
        pool = np.minimum(self._pool_count[:, None], _POOL_RATIO * self._kept) * np.sqrt(len(self._count))
        degrees = _PRIOR_DEGREES + (trust * own + (1.0 - trust) * pool) / steps
        squared = ndtri(self._levels) ** 2
        first, second = (squared + 1.0) / 4.0, (5.0 * squared**2 + 16.0 * squared + 3.0) / 96.0
        return np.asarray((1.0 + (first + second / degrees) / degrees) * np.sqrt(1.0 + 1.0 / degrees))

    def quantiles(self) -> FloatArray:
        """Give the quantiles of the forecast that was issued last, (n, H, levels), ascending in the level."""
        between = self._knots.between
        rows = features(
            self._moves,
            self._time_s,
            self._time_s + self._ahead_s,
            self._said,
            self._last,
            between(self._of_late()),
        )
        factor = self._model.factor(rows, between(self._model.coefficients, axis=0))
        unsure = 1.0 + 1.0 / (1.0 + self._one_step)
        scale = self._moves.usual()[:, None] * between(self._root) * factor * unsure[:, None]
        offsets = np.sort(between(self._mixed() * self._widening(), axis=1), axis=-1)
        return np.asarray(np.nan_to_num(self._said[0])[..., None] + scale[..., None] * offsets)

    @property
    def cold(self) -> BoolArray:
        """Which series (n,) have too few errors to know their spread."""
        return np.asarray(self._one_step < COLD_BELOW)

    def forget(self, series: BoolArray) -> None:
        """Take back the forecasts made for `series` (n,) and the averages of their errors."""
        self._pending.drop(series)
        self._moves.forget(series)
