"""Intervals from errors: the quantiles of what the forecasts missed by, step by step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from forecasting.panel import BoolArray, FloatArray

# Errors kept for each series and step ahead; the outermost default level is then five errors from the end.
_KEPT = 512

# How fast the scale follows: half of it is of the last 23 samples.
_MEMORY = 0.97

# After a long quiet the scale is at least this share of its slow average: links that idle have bursts. Half of
# that average is of the last 350 samples.
_SLOW_MEMORY = 0.998
_QUIET_SHARE = 0.2

# A one-step error of more scales than this is a jump to another level, and no larger error is remembered: the
# first burst after an endless quiet is any number of scales away, and busy hours must not be stretched by it.
_LARGEST_SIZE = 10.0

# Before there is any error, one step is thought to move a series by this share of its level; it counts as much as
# one error and is never forgotten, so that no spread shrinks to nothing.
_PRIOR_MOVE = 0.25

# Errors of traffic have a sharp peak and long tails. Student's t with 4 degrees of freedom does too, and its mean
# absolute value is exactly 1, the unit in which errors are kept.
_PRIOR_DEGREES = 4

# How errors grow with the step is learnt from all series together; until then it is thought to be a random walk's
# square root, which counts as much as this many independent errors of each series.
_GROWTH_PRIOR = 8.0

# The empirical quantiles count as much as the prior after this many independent errors.
_ERRORS_FOR_HALF = 15.0

# With fewer one-step errors than this the spread is mostly the prior's: the forecast says it is cold.
COLD_BELOW = 8


class Intervals:
    """Signed errors of past forecasts over the scale of their day, in rings for each series and step ahead.

    Errors are kept in units of a scale that follows how much the series moves, so that a quiet night and a busy
    noon share one distribution. Quantiles are the empirical ones of those errors (split conformal prediction with
    signed residuals; Gibbs and Candes, 2021, on why they must follow the data), shrunk to a Student prior, which
    is all there is at the start. How the prior widens with the step is learnt from all series together.
    """

    def __init__(self, n_series: int, horizon: int, levels: tuple[float, ...]) -> None:
        self._levels = np.asarray(levels)
        self._ring: npt.NDArray[np.float32] = np.full((n_series, horizon, _KEPT), np.nan, dtype=np.float32)
        self._next = 0
        self._count = np.zeros((n_series, horizon), dtype=np.int64)
        self._one_step = np.zeros(n_series, dtype=np.int64)
        self._move, self._level, self._weight = np.zeros(n_series), np.zeros(n_series), np.zeros(n_series)
        self._slow_move, self._slow_weight = np.zeros(n_series), np.zeros(n_series)
        self._student = stdtrit(_PRIOR_DEGREES, self._levels)
        self._root = np.sqrt(np.arange(1, horizon + 1))
        self._sized = _GROWTH_PRIOR * max(n_series, 1) * self._root
        self._sizes = self._sized * self._root

    def record(self, values: FloatArray, errors: FloatArray, scales: FloatArray) -> BoolArray:
        """Take in samples (n,), the errors (n, H) of the forecasts for them and the scales (n, H) of that time.

        Says which series (n,) jumped to another level.
        """
        with np.errstate(over="ignore"):
            scaled = np.divide(errors, scales, out=np.sign(errors) * _LARGEST_SIZE, where=scales > 0)
        jumped = np.abs(scaled[:, 0]) >= _LARGEST_SIZE
        scaled = np.clip(scaled, -_LARGEST_SIZE, _LARGEST_SIZE)
        self._count += np.isfinite(scaled)
        self._count -= np.isfinite(self._ring[:, :, self._next])
        self._ring[:, :, self._next] = scaled
        self._next = (self._next + 1) % _KEPT
        self._sizes += np.nansum(np.abs(scaled), axis=0)
        self._sized += np.count_nonzero(np.isfinite(scaled), axis=0)
        # The first sample of a series has a level and no error yet.
        seen, missed = np.isfinite(values), np.isfinite(errors[:, 0])
        self._one_step += missed
        self._level = np.where(seen, _MEMORY * self._level + np.abs(values), self._level)
        self._weight = np.where(seen, _MEMORY * self._weight + 1.0, self._weight)
        move = np.abs(errors[:, 0])
        self._move = np.where(missed, _MEMORY * self._move + move, self._move)
        self._slow_move = np.where(missed, _SLOW_MEMORY * self._slow_move + move, self._slow_move)
        self._slow_weight = np.where(missed, _SLOW_MEMORY * self._slow_weight + 1.0, self._slow_weight)
        return np.asarray(jumped)

    def scale(self) -> FloatArray:
        """Give the scale (n,) of each series: its mean absolute one-step error of late, in its own unit."""
        level = self._level / np.maximum(self._weight, 1e-12)
        errors = np.maximum(self._weight - 1.0, 0.0)
        floor = _QUIET_SHARE * self._slow_move / np.maximum(self._slow_weight, 1.0)
        return np.maximum((_PRIOR_MOVE * level + self._move) / (1.0 + errors), floor)

    @property
    def cold(self) -> BoolArray:
        """Which series (n,) have too few errors to know their spread."""
        return self._one_step < COLD_BELOW

    def offsets(self) -> FloatArray:
        """Give what to add to a forecast for each level: (n, H, levels), ascending in the level."""
        # A forecast is never thought to be surer of a later step.
        growth = np.maximum.accumulate(self._sizes / self._sized)
        ordered = np.sort(self._ring, axis=-1)
        # Position p (n + 1) among n ordered errors holds a share p of the next ones, for any distribution.
        most = np.maximum(self._count - 1, 0)[..., None]
        place = np.clip(self._levels * (self._count[..., None] + 1) - 1.0, 0.0, most)
        low = place.astype(np.int64)
        share = place - low
        empirical = (1.0 - share) * np.take_along_axis(ordered, low, axis=-1) + share * np.take_along_axis(
            ordered, np.minimum(low + 1, most), axis=-1
        )
        unsure = 1.0 + 1.0 / (1.0 + self._one_step)
        prior = unsure[:, None, None] * growth[None, :, None] * self._student
        # Errors several steps ahead overlap, so that fewer of them are independent.
        trust = self._count / (self._count + _ERRORS_FOR_HALF * self._root)
        trust = np.where(self.cold[:, None], 0.0, trust)[..., None]
        mixed = np.where(trust > 0, trust * np.nan_to_num(empirical), 0.0) + (1.0 - trust) * prior
        answer: FloatArray = mixed * self.scale()[:, None, None]
        return answer
