"""Anomalies: how surprising each sample is, which ones to call about, and where a series went to another level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from forecasting.calendar import Calendar
from forecasting.knots import IntArray
from forecasting.panel import BoolArray, FloatArray

Rows = npt.NDArray[np.intp]

# One alarm in this many seconds is what chance may cause in a series.
FALSE_ALARM_S = 2 * 7 * 86400.0

# After an alarm a series is quiet for this long: one event is one alarm.
COOL_DOWN_S = 6 * 3600.0

# The weight of the newest sample in the smoothed surprise: a lone spike counts, three in a row count more.
_SMOOTHING = 0.7

# How long the mean of the seasonal misses is taken over, as a share of a day.
_SHARE_OF_DAY = 0.25

# Scores above this quantile are their tail, and its length is learnt from how far they are above it.
# What the two scores of a calibrated forecast have there, and how far their peaks are above it on average.
_SUDDEN, _SLOW = (4.0, 0.9), (1.6, 0.25)
_TAIL_LEVEL = 0.98
_TAIL_MEMORY = 0.9998
_TAIL_PRIOR = 10.0

# The first samples of a series raise no alarm: nothing is known of it yet.
_LEAST_SAMPLES = 144

# Forecasts made just before a jump for this many steps have to miss on the same side for a change of level, the
# first by 13 bits (1 in 8,000), the others by 7 (1 in 128).
_CONFIRMED_BY = 4
_JUMP_BITS, _STAY_BITS = 13.0, 7.0

_LARGEST_BITS = 60.0

# In units of the scale of errors: quantiles of a series that stands still may all be the same.
_LEAST_TAIL = 0.05

# The shape of the tails of errors, that of Student's t with 4 degrees of freedom.
_TAIL_SHAPE = 0.25


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is said of one sample of n series, all (n,).

    `score` is the smoothed surprise in bits, and of an alarm at least how rare that is which raised it; `alarm` is
    whether to call somebody, `changed` whether the series went to another level and what was said before is void.
    """

    score: FloatArray
    alarm: BoolArray
    changed: BoolArray

    @staticmethod
    def stacked(verdicts: Sequence[Verdict]) -> Verdict:
        """Put those of several times beside each other, (n, k)."""
        if not verdicts:
            return Verdict(np.zeros((0, 0)), np.zeros((0, 0), dtype=np.bool_), np.zeros((0, 0), dtype=np.bool_))
        return Verdict(
            np.stack([verdict.score for verdict in verdicts], axis=1),
            np.stack([verdict.alarm for verdict in verdicts], axis=1),
            np.stack([verdict.changed for verdict in verdicts], axis=1),
        )


class Tail:
    """The tail of a stream of scores: beyond which score less than a given share of them should be.

    Peaks over a threshold with an exponential tail (Siffer et al., Anomaly detection in streams with extreme
    value theory, 2017, with shape 0); the threshold is a quantile tracked online.
    """

    def __init__(self, n_series: int, level: float, excess: float) -> None:
        self._level, self._excess = np.full(n_series, level), np.full(n_series, excess * _TAIL_PRIOR)
        self._peaks, self._count, self._prior = np.full(n_series, _TAIL_PRIOR), np.zeros(n_series), excess

    def beyond(self, share: float) -> FloatArray:
        """Give the score (n,) that a share of the samples is above."""
        return np.asarray(self._level + self._excess / self._peaks * np.log((1.0 - _TAIL_LEVEL) / share))

    def bits(self, scores: FloatArray) -> FloatArray:
        """Say how rare scores (n,) above the threshold are: -log2 of the share of samples beyond them."""
        beyond = np.maximum(scores - self._level, 0.0) / (self._excess / self._peaks)
        return np.asarray((beyond - np.log(1.0 - _TAIL_LEVEL)) / np.log(2.0))

    def take_over(self, before: Tail, rows: Rows, old_rows: Rows) -> None:
        """Know of `rows` what `before` knew of `old_rows`."""
        for field in ("_level", "_excess", "_peaks", "_count"):
            getattr(self, field)[rows] = getattr(before, field)[old_rows]

    def record(self, scores: FloatArray, most: FloatArray) -> None:
        """Take in scores (n,), NaN for none; they count as no more than `most`."""
        known = np.isfinite(scores)
        score = np.minimum(np.where(known, scores, 0.0), most)
        self._count += known
        # Newton's step of a quantile: over the density of the exponential tail there.
        stride = self._excess / self._peaks / (1.0 - _TAIL_LEVEL) / (np.minimum(self._count, 1000.0) + 100.0)
        above = known & (score > self._level)
        peak = np.where(above, score - self._level, 0.0)
        self._excess = np.where(above, _TAIL_MEMORY ** (1 / (1 - _TAIL_LEVEL)) * self._excess + peak, self._excess)
        self._peaks = np.where(above, _TAIL_MEMORY ** (1 / (1 - _TAIL_LEVEL)) * self._peaks + 1.0, self._peaks)
        moved = np.clip(score, self._level - stride * (1.0 - _TAIL_LEVEL), self._level + stride * _TAIL_LEVEL)
        self._level = np.where(known, moved, self._level)


class Anomalies:
    """Scores samples by where they fell in their forecasts, raises alarms, and sees changes of level.

    Two scores: the smoothed surprise of the one-step forecasts, in bits, for what is sudden; and the mean miss of
    forecasts of the longest horizon over a part of a day, for days that are not like others. Each has a threshold
    that chance passes about once in FALSE_ALARM_S, learnt from the series itself. A change of level is one too.
    """

    def __init__(
        self,
        n_series: int,
        steps: IntArray,
        step_s: float,
        calendar: Calendar,
        cool_down_s: float = COOL_DOWN_S,
        false_alarm_s: float = FALSE_ALARM_S,
    ) -> None:
        self._early = int(np.count_nonzero(steps <= _CONFIRMED_BY))
        self._cool_down = cool_down_s / step_s
        self._share = min(step_s / false_alarm_s, 0.1 * (1.0 - _TAIL_LEVEL))
        day_s = calendar.day_s if calendar.day_s is not None else float(steps[-1]) * step_s
        self._slow = min(1.0, 1.0 / max(1.0, _SHARE_OF_DAY * day_s / step_s))
        self._bits, self._miss = np.zeros(n_series), np.zeros(n_series)
        self._tails = (Tail(n_series, *_SUDDEN), Tail(n_series, *_SLOW))
        self._samples, self._quiet = np.zeros(n_series), np.zeros(n_series)
        # Signed surprises of the newest samples in forecasts of the early knots, oldest first.
        self._recent = np.zeros((_CONFIRMED_BY + 1, n_series, self._early))

    def record(self, signed: FloatArray) -> Verdict:
        """Judge the newest samples by their signed surprises (n, K), what `Calibration.record` gives."""
        known = np.isfinite(signed[:, 0])
        bits = np.abs(signed[:, 0])
        self._bits = np.where(known, self._bits + _SMOOTHING * (bits - self._bits), self._bits)
        # The same as so many standard deviations.
        z = -np.sign(signed[:, -1]) * ndtri(0.5 * np.exp2(-np.abs(signed[:, -1])))
        self._miss = np.where(np.isfinite(z), self._miss + self._slow * (z - self._miss), self._miss)
        self._samples += known
        self._quiet = np.maximum(self._quiet - 1.0, 0.0)
        # How rare that is which raises an alarm, in bits; 0 where nothing does.
        rare = np.zeros(known.shape)
        sudden, slow = self._tails
        for tail, score, seen in ((sudden, self._bits, known), (slow, np.abs(self._miss), np.isfinite(z))):
            threshold = tail.beyond(self._share)
            rare = np.maximum(rare, np.where(seen & (score > threshold), tail.bits(score), 0.0))
            # An anomaly is not what normal is learnt from.
            tail.record(np.where(seen, score, np.nan), threshold)
        changed, jump = self._changed(signed)
        rare = np.minimum(np.maximum(rare, np.where(changed, jump, 0.0)), _LARGEST_BITS)
        alarm = (rare > 0.0) & (self._samples >= _LEAST_SAMPLES) & (self._quiet <= 0.0)
        self._quiet = np.where(alarm, self._cool_down, self._quiet)
        return Verdict(np.where(alarm, np.maximum(self._bits, rare), self._bits), np.asarray(alarm), changed)

    def take_over(self, before: Anomalies, rows: Rows, old_rows: Rows) -> None:
        """Know of `rows` what `before` knew of `old_rows`: what is usual, and what was called about already."""
        for tail, old in zip(self._tails, before._tails, strict=True):
            tail.take_over(old, rows, old_rows)
        self._samples[rows], self._quiet[rows] = before._samples[old_rows], before._quiet[old_rows]

    def _changed(self, signed: FloatArray) -> tuple[BoolArray, FloatArray]:
        self._recent = np.concatenate([self._recent[1:], np.nan_to_num(signed[None, :, : self._early])])
        # What was forecast just before the jump: one step ahead for the first sample after it, two for the next.
        missed = np.stack([self._recent[index - self._early, :, index] for index in range(self._early)])
        stays = (np.sign(missed) == np.sign(missed[0])) & (np.abs(missed) >= _STAY_BITS)
        # The way back from a spike is no new level: forecasts made at the spike miss it all.
        before = np.abs(self._recent[-self._early - 1, :, 0]) < _STAY_BITS
        changed = before & stays.all(axis=0) & (np.abs(missed[0]) >= _JUMP_BITS)
        # One miss alone may be a spike; a new level takes a second one.
        changed &= self._early > 1
        self._recent[:, changed] = 0.0
        return np.asarray(changed), np.abs(missed[0])


def signed_bits(levels: FloatArray, quantiles: FloatArray, at: FloatArray) -> FloatArray:
    """Say how surprising `at` (...) is to `quantiles` (..., L), ascending, of `levels` (L,): NaN where `at` is.

    The surprise is -log2 of the chance to be as far out on either side, in bits: 1 is 50 %, 10 is 1 in 1,000. It
    is 0 at the median, negative below, and goes on beyond the outermost quantiles with generalised Pareto tails.
    """
    known = np.isfinite(at)
    x = np.where(known, at, 0.0)[..., None]
    below = np.clip(np.count_nonzero(quantiles <= x, axis=-1)[..., None], 1, levels.size - 1)
    low, high = (np.take_along_axis(quantiles, below - side, axis=-1) for side in (1, 0))
    share = np.divide(x - low, high - low, out=np.where(x > low, 1.0, 0.5), where=high > low)
    place = levels[below - 1] + np.clip(share, 0.0, 1.0) * (levels[below] - levels[below - 1])
    log_tail = np.log(2.0 * np.minimum(place, 1.0 - place))[..., 0]
    over = np.maximum(x[..., 0] - quantiles[..., -1], 0.0)
    under = np.maximum(quantiles[..., 0] - x[..., 0], 0.0)
    high_tail = (quantiles[..., -1] - quantiles[..., -2]) / np.log((1.0 - levels[-2]) / (1.0 - levels[-1]))
    low_tail = (quantiles[..., 1] - quantiles[..., 0]) / np.log(levels[1] / levels[0])
    beyond = over / np.maximum(high_tail, _LEAST_TAIL) + under / np.maximum(low_tail, _LEAST_TAIL)
    far = np.log1p(_TAIL_SHAPE * beyond) / _TAIL_SHAPE
    bits = np.minimum((far - log_tail) / np.log(2.0), _LARGEST_BITS)
    return np.asarray(np.where(known, np.sign(place[..., 0] - 0.5) * bits, np.nan))
