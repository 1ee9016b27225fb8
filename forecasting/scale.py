"""How large errors will be: a scale for each series and step ahead that knows the hour and how restless it is."""

from __future__ import annotations

import numpy as np

from forecasting.calendar import Calendar
from forecasting.panel import BoolArray, FloatArray

# How fast the three averages of the one-step error follow: half of them is of the last 4, 23 and 350 samples.
_MEMORIES = np.array([0.85, 0.97, 0.998])
_FAST, _USUAL, _SLOW = 0, 1, 2

# Before there is any error, one step is thought to move a series by this share of its level; it counts as much as
# one error and is never forgotten, so that no scale shrinks to nothing.
_PRIOR_MOVE = 0.25

# After a long quiet the scale is at least this share of its slow average: links that idle have bursts.
_QUIET_SHARE = 0.2

# No error counts as more than this many scales: one jump is no new regime, and a new regime gets there in steps.
_LARGEST = 6.0

# After a change of level the errors before it count as this many samples.
_KEPT_AT_CHANGE = 4.0

# Parts of a day that the errors of which are averaged on their own, how fast those follow (half of four days at
# twelve samples an hour), and how many samples of a part are as good as the average of the whole day.
_PARTS, _PART_MEMORY, _PART_PRIOR = 24, 0.985, 12.0

# The regression: its memory, how many steps its prior counts (both longer for later steps, whose errors overlap),
# and the prior itself: the scale is between the fast and the usual average.
_REGRESSION_MEMORY, _REGRESSION_PRIOR = 0.9995, 100.0
FEATURES = 10
_PRIOR_COEFFICIENTS = np.array([0.0, 0.25, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1])
_LARGEST_FEATURE = 3.0
_LARGEST_RATIO = 5.0


class Moves:
    """Averages of the one-step errors and of the level of n series: what all features are made of."""

    def __init__(self, n_series: int, calendar: Calendar) -> None:
        self._calendar = calendar
        self._sum, self._count = np.zeros((3, n_series)), np.zeros((3, n_series))
        self._level, self._level_count = np.zeros(n_series), np.zeros(n_series)
        self._part_sum, self._part_count = np.zeros((n_series, _PARTS)), np.zeros((n_series, _PARTS))

    def record(self, time_s: float, values: FloatArray, errors: FloatArray) -> None:
        """Take in the samples (n,) of `time_s` and the errors (n,) of the one-step forecasts of them."""
        seen, missed = np.isfinite(values), np.isfinite(errors)
        size = np.minimum(np.abs(errors), _LARGEST * self.usual())
        memory = _MEMORIES[:, None]
        # Where an idle series starts, nothing is large: its usual error is that of its first sample.
        size = np.where(self.usual() > 0, size, np.abs(errors))
        self._sum = np.where(missed, memory * self._sum + size, self._sum)
        self._count = np.where(missed, memory * self._count + 1.0, self._count)
        memory_of_level = _MEMORIES[_USUAL]
        self._level = np.where(seen, memory_of_level * self._level + np.abs(values), self._level)
        self._level_count = np.where(seen, memory_of_level * self._level_count + 1.0, self._level_count)
        if self._calendar.day_s is not None:
            part = int(self._calendar.day_phase(np.array([time_s]))[0] * _PARTS) % _PARTS
            held, count = self._part_sum[:, part], self._part_count[:, part]
            self._part_sum[:, part] = np.where(missed, _PART_MEMORY * held + size, held)
            self._part_count[:, part] = np.where(missed, _PART_MEMORY * count + 1.0, count)

    def level(self) -> FloatArray:
        """Give the mean absolute value (n,) of late."""
        answer: FloatArray = self._level / np.maximum(self._level_count, 1e-12)
        return answer

    def average(self, which: int) -> FloatArray:
        """Give one of the three averages (n,) of the one-step error, shrunk to the prior."""
        answer: FloatArray = (_PRIOR_MOVE * self.level() + self._sum[which]) / (1.0 + self._count[which])
        return answer

    def usual(self) -> FloatArray:
        """Give the unit (n,) that errors are measured in: the usual average, with a floor."""
        floor = _QUIET_SHARE * self._sum[_SLOW] / np.maximum(self._count[_SLOW], 1.0)
        return np.asarray(np.maximum(self.average(_USUAL), floor))

    def of_day(self, times: FloatArray) -> FloatArray:
        """Say how restless the part of the day around `times` (T,) is, over the whole day: (n, T), 1 at first."""
        n = self._sum.shape[1]
        if self._calendar.day_s is None:
            return np.ones((n, times.size))
        total, count = self._part_sum.sum(axis=1), self._part_count.sum(axis=1)
        mean = np.divide(total, count, out=np.ones(n), where=(count > 0) & (total > 0))[:, None]
        parts = (self._part_sum / mean + _PART_PRIOR) / (self._part_count + _PART_PRIOR)
        # Between the middles of the parts it goes in a straight line.
        place = self._calendar.day_phase(times) * _PARTS - 0.5
        low = np.floor(place).astype(np.int64)
        share = place - low
        return np.asarray((1.0 - share) * parts[:, low % _PARTS] + share * parts[:, (low + 1) % _PARTS])

    def forget(self, series: BoolArray) -> None:
        """Start at a new level with `series` (n,): what they moved by of late counts as a few samples only."""
        for held in (self._sum, self._part_sum.T):
            count = self._count if held is self._sum else self._part_count.T
            kept = np.minimum(1.0, _KEPT_AT_CHANGE / np.maximum(count[:, series], 1.0))
            held[:, series] *= kept
            count[:, series] *= kept
        self._level[series] *= 0.0
        self._level_count[series] *= 0.0


def features(
    moves: Moves, time_s: float, times: FloatArray, said: FloatArray, last: FloatArray, recent: FloatArray
) -> FloatArray:
    """Give what the scale at `times` (T,) is regressed on: (n, T, FEATURES), logarithms of ratios, about 0.

    `said` (3, n, T) is the forecast, the mean own spread of members (NaN for none), how far members disagree;
    `last` (n,) are the newest samples; `recent` (n, T) is how large errors so far ahead were of late.
    """
    centre, spread, disagreement = said
    usual = np.maximum(moves.usual(), 1e-300)[:, None]
    level = np.maximum(moves.level(), 1e-300)[:, None]
    day = moves.of_day(np.concatenate([[time_s], times]))
    answer = np.zeros((*centre.shape, FEATURES))
    answer[..., 0] = 1.0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        answer[..., 1] = np.log(moves.average(_FAST)[:, None] / usual)
        answer[..., 2] = np.log(moves.average(_SLOW)[:, None] / usual)
        answer[..., 3] = np.log(day[:, 1:])
        answer[..., 4] = np.log(day[:, :1])
        answer[..., 5] = np.log((np.abs(centre) + 0.1 * level) / (1.1 * level))
        answer[..., 6] = np.log1p(np.abs(centre - last[:, None]) / usual)
        answer[..., 7] = np.log1p(disagreement / usual)
        answer[..., 8] = np.log(spread / usual)
        answer[..., 9] = np.log(recent)
    answer[~np.isfinite(answer)] = 0.0
    return np.clip(answer, -_LARGEST_FEATURE, _LARGEST_FEATURE)


class ScaleModel:
    """Regression of the size of errors on the features, one for each knot and shared by all series.

    A gamma generalised linear model with a logarithmic link (McCullagh and Nelder, Generalized Linear Models,
    ch. 8), moved on by Fisher scoring with forgetting: the mean absolute error is the unit times
    sqrt(h) exp(features . coefficients).
    """

    def __init__(self, steps: FloatArray) -> None:
        root = np.sqrt(steps)
        self._root, self._memory = root, 1.0 - (1.0 - _REGRESSION_MEMORY) / root
        self._prior = _REGRESSION_PRIOR * root
        self.coefficients = np.repeat(_PRIOR_COEFFICIENTS[None], steps.size, axis=0)
        self._information = np.eye(FEATURES) * self._prior[:, None, None]

    def record(self, rows: FloatArray, ratios: FloatArray) -> None:
        """Learn from `rows` (n, K, FEATURES) and the sizes of errors over the scale that was said, (n, K)."""
        # An exact hit is a series that stands still and says nothing about the others.
        known = np.isfinite(ratios) & (ratios > 0)
        used = np.where(np.expand_dims(known, -1), rows, 0.0)
        miss = np.where(known, np.minimum(ratios, _LARGEST_RATIO) - 1.0, 0.0)
        by_knot = used.transpose(1, 2, 0)
        forgotten = (1.0 - self._memory)[:, None, None] * (np.eye(FEATURES) * self._prior[:, None, None])
        any_known = np.any(known, axis=0)[:, None, None]
        moved = self._memory[:, None, None] * self._information + by_knot @ by_knot.transpose(0, 2, 1) + forgotten
        self._information = np.where(any_known, moved, self._information)
        step = np.linalg.solve(self._information, (by_knot @ miss.T[..., None]))[..., 0]
        self.coefficients = np.clip(self.coefficients + step, -3.0, 3.0)

    def factor(self, rows: FloatArray, coefficients: FloatArray) -> FloatArray:
        """Give exp(features . coefficients) for `rows` (n, T, FEATURES) and `coefficients` (T, FEATURES)."""
        power = np.einsum("ntf,tf->nt", rows, coefficients)
        return np.asarray(np.exp(np.clip(power, -5.0, 5.0)))
