"""The blend: how much each member counts, by the losses of the forecasts it gave."""

from __future__ import annotations

import numpy as np

from forecasting.knots import Knots, Pending
from forecasting.panel import BoolArray, FloatArray

# The quantiles that members are judged on; a member's spread is half the way between the outer two.
_LEVELS = np.array([0.1, 0.5, 0.9])
_SIDES = np.array([-1.0, 0.0, 1.0])
# The median is what a forecast is first judged by, and the outer ones, which say three times as much of a large
# error, follow outliers.
_LEVEL_WEIGHTS = np.array([0.1, 1.0, 0.1])

# A loss counts half after about 700 steps (two days and a half of five minutes): members differ by less than the
# noise of a day. Losses of forecasts h steps ahead overlap, so they are remembered sqrt(h) times as long.
_MEMORY = 0.999

# A member gains or loses no more at once than this many half-widths of the interval from 0.1 to 0.9: weights that
# one spike has set would be those of the spike for days. This took up to 5 % off errors (training parts).
_LARGEST_GAIN = 2.0

# A member further than this many half-widths beyond the others is taken for no further: a spike a thousand times
# the level comes back a day and a week later in what some say, and a small weight of that is still large.
_FURTHEST, _LEAST_MEMBERS = 10.0, 3

# The memory of the comparison with last value, which has to notice sooner that the pool went wrong.
_GUARD_MEMORY = 0.995

# The rate of learning, in units of the one that is safe for independent regrets. Those h steps ahead come in runs,
# which would look like evidence: it falls with h ** -0.5.
_RATE, _RATE_EXPONENT = 2.0, 0.5

# The mean regret of all series counts this many times as much as that of the series itself; both are in units of
# their own noise, and a member that is good for most is likely good for one.
_POOL_SHARE = 2.0

# Last value's weight before anything is known, and the least weight of all members together: one that was poor is
# not out for ever.
_LAST_FIRST = 0.4
_LEAST_WEIGHT = 0.01

# A blend that lost 1 % more than last value gets exp(-1) of the odds that an even one has.
_GUARD_SHARPNESS = 100.0

# It is compared twice: by all that was lost, and in units of the spread of the time, with no loss above this many
# half-widths, since one spike far off outweighs days on which the blend was worse. The comparison that trusts it
# less counts.
_LARGEST_LOSS = 5.0
_GUARD_OUTCOMES = 10.0

_TINY, _HUGE = 1e-300, 1e300


class QuantileBlend:
    """Weights of the members for each series and step ahead, learnt from quantile losses as outcomes arrive.

    Exponentially weighted aggregation of quantiles on linearised losses: a member gains by what a little more of
    it would have improved the blend (Wintenberger, Optimal learning with Bernstein online aggregation, 2017;
    Berrisch and Ziel, CRPS learning, 2023), with forgetting, a rate that follows the size of the regrets, and the
    mean over series as a prior. The first member is last value; where the blend lost more than it, last value is
    used. `own` are the members that give a spread of their own.
    """

    def __init__(self, n_members: int, n_series: int, horizon: int, own: tuple[int, ...] = ()) -> None:
        self._knots, self._members, self._own = Knots(horizon), n_members, own
        shape = (n_members, n_series, self._knots.count)
        self._regret, self._noise = np.zeros(shape), np.zeros(shape)
        # Of the blend and of last value, as they are and in spreads.
        self._loss, self._outcomes = np.zeros((2, 2, *shape[1:])), np.zeros(shape[1:])
        # Medians, own spreads, then the blend's median and spread, and the calibrated spread.
        self._pending = Pending(self._knots, n_members + len(own) + 3, n_series)
        root = np.sqrt(self._knots.steps)
        self._memory, self._guard_memory = 1 - (1 - _MEMORY) / root, 1 - (1 - _GUARD_MEMORY) / root
        self._rate = _RATE * np.sqrt(np.log(max(n_members, 2))) / self._knots.steps**_RATE_EXPONENT
        prior = np.full(n_members, (1.0 - _LAST_FIRST) / max(n_members - 1, 1))
        prior[0] = _LAST_FIRST
        self._log_prior = np.log(prior)[:, None, None]
        self._spread = np.full((n_series, self._knots.count), _HUGE)
        self._said = np.full((n_members + len(own) + 1, n_series, self._knots.count), np.nan)

    def record(self, values: FloatArray) -> None:
        """Take in the samples (n,) of now, NaN where one is missing."""
        due = self._pending.due()
        medians, blended, spread = due[: self._members], due[-3], due[-1]
        spreads = np.broadcast_to(spread, medians.shape)
        blend_spread = spread
        if self._own:
            spreads = spreads.copy()
            own = due[self._members : -3]
            spreads[list(self._own)] = np.where(np.isfinite(own), own, spread)
            blend_spread = due[-2]
        y = values[:, None]
        known = np.isfinite(y) & np.isfinite(blended)
        gain, most = np.zeros(medians.shape), _LARGEST_GAIN * spread
        loss, last = np.abs(blended - y) / 2.0, np.abs(medians[0] - y) / 2.0
        for level, side, weight in zip(_LEVELS, _SIDES, _LEVEL_WEIGHTS, strict=True):
            quantile = blended + side * blend_spread
            slope = weight * ((quantile >= y) - level)
            gain += slope * np.clip(quantile - (medians + side * spreads), -most, most)
        losses = np.stack([loss, last])
        with np.errstate(over="ignore"):
            in_spreads = np.divide(losses, spread, out=np.zeros(losses.shape), where=spread > 0)
        losses = np.stack([losses, np.minimum(in_spreads, _LARGEST_LOSS / 2.0)], axis=1)
        self._regret = np.where(known, self._memory * self._regret + gain, self._regret)
        self._noise = np.where(known, self._memory * self._noise + gain * gain, self._noise)
        self._loss = np.where(known, self._guard_memory * self._loss + losses, self._loss)
        self._outcomes = np.where(known, self._guard_memory * self._outcomes + 1.0, self._outcomes)

    def weights(self) -> FloatArray:
        """Give the weight of each member at the knots, (m, n, K), before the comparison with last value."""
        noise = np.sqrt(self._noise.max(axis=0))
        evidence = np.divide(self._rate * self._regret, noise, out=np.zeros_like(self._regret), where=noise > 0)
        active = noise > 0
        pooled = evidence.sum(axis=1) / np.maximum(active.sum(axis=0), 1)
        # The noise of the sum of both is about that of one.
        evidence = (evidence + _POOL_SHARE * pooled[:, None]) / np.sqrt(1.0 + _POOL_SHARE)
        power = evidence + self._log_prior
        weights = np.exp(power - power.max(axis=0))
        weights /= weights.sum(axis=0)
        answer: FloatArray = (1.0 - _LEAST_WEIGHT) * weights + _LEAST_WEIGHT / self._members
        return answer

    def trust(self) -> FloatArray:
        """Say how much of the blend is used beside last value, (n, K): 1 where it lost no more."""
        loss, last = self._loss
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            each = np.where(last > 0, np.log(np.maximum(loss, _TINY) / np.maximum(last, _TINY)), 0.0)
        worse = each.max(axis=0)
        sure = self._outcomes / (self._outcomes + _GUARD_OUTCOMES * np.sqrt(self._knots.steps))
        odds = np.exp(-np.clip(_GUARD_SHARPNESS * sure * worse, 0.0, 50.0))
        answer: FloatArray = 2.0 * odds / (1.0 + odds)
        return answer

    def combine(self, medians: FloatArray, spreads: FloatArray | None = None) -> tuple[FloatArray, ...]:
        """Blend `medians` (m, n, H) and the own `spreads` (len(own), n, H): (median, spread, disagreement).

        Each is (n, H). `spread` is the mean of the own ones by weight, NaN where no member knows one;
        `disagreement` is how far the members are from their blend, by weight. Then call `issue`.
        """
        weights, trust = self.weights(), self.trust()
        medians = self._with_others(medians)
        every, share = self._knots.between(weights), self._knots.between(trust)
        blended = np.einsum("mnh,mnh->nh", every, medians)
        used = medians[0] + share * (blended - medians[0])
        disagreement = np.einsum("mnh,mnh->nh", every, np.abs(medians - used))
        at = self._knots.at
        self._said[: self._members], self._said[-1] = at(medians), at(blended)
        spread = np.full_like(used, np.nan)
        if self._own and spreads is not None:
            theirs = every[list(self._own)]
            known = np.isfinite(spreads)
            total = np.where(known, theirs, 0.0).sum(axis=0)
            with np.errstate(invalid="ignore"):
                spread = np.where(known, theirs * spreads, 0.0).sum(axis=0) / np.where(total > 0, total, np.nan)
            self._said[self._members : -1] = at(spreads)
        return used, spread, disagreement

    def _with_others(self, medians: FloatArray) -> FloatArray:
        # Last value, the first one, stays what it is.
        if self._members < _LEAST_MEMBERS:
            return medians
        margin = _FURTHEST * self._knots.between(self._spread)
        ordered = np.partition(medians, (1, self._members - 2), axis=0)
        answer = np.clip(medians, ordered[1] - margin, ordered[-2] + margin)
        answer[0] = medians[0]
        return np.asarray(answer)

    def issue(self, spread: FloatArray) -> None:
        """Keep what was combined until it comes true; `spread` (n, K) is what `Calibration.issue` gives."""
        self._spread = np.nan_to_num(spread, nan=_HUGE, posinf=_HUGE)
        blend_spread = spread
        if self._own:
            own = self._said[self._members : -1]
            weights = self.weights()[list(self._own)]
            theirs = np.where(np.isfinite(own), own, spread)
            blend_spread = spread + (weights * (theirs - spread)).sum(axis=0)
        self._pending.put(np.concatenate([self._said, blend_spread[None], spread[None]]))

    def forget(self, series: BoolArray) -> None:
        """Take back the forecasts made for `series` (n,): their level is another one now. The weights stay."""
        self._pending.drop(series)
