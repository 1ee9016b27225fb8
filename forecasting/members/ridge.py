"""Ridge: a linear regression for each step ahead, shrunk towards the last value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from forecasting.members.calendar_columns import FIRST_EVENT, calendar_columns, usable_calendar_columns
from forecasting.members.logs import Scale, filled_forward, find_scale
from forecasting.members.member import Member, Sample
from forecasting.members.ridge_columns import History, Now, Seasons
from forecasting.panel import BoolArray, FloatArray, Panel
from forecasting.settings import Settings

SHARED = False

# More points than this (two weeks of five minutes) cost time, and tell of another month.
_MOST_POINTS = 4096

# With fewer rows nothing is learnt, not even how far to shrink.
_LEAST_ROWS = 32

# At most this many steps have a regression of their own, close ones near and wider apart later.
_MOST_KNOTS = 16

# The penalty in rows: a column of the usual size is thought to have been seen this often without any effect, for
# each step ahead, as errors further ahead overlap; no further than two hours of five minutes.
_PENALTY, _MOST_PENALISED_STEPS = 100.0, 24

# Events are rare, and their columns are zero most of the time: their size is that of a day with one.
_EVENT_PENALTY_SHARE = 0.1

# Errors beyond this many standard deviations, as the median sees them, pull no harder (Huber, 1964).
_HUBER, _HUBER_ROUNDS = 1.0, 2
_MEDIAN_TO_DEVIATION = 1.4826

# No column counts as more than this many of its usual sizes: the regression never saw more.
_LARGEST_COLUMN = 6.0


class Ridge:
    """Coefficients of all series at a few steps ahead, and between them the mean of those on either side."""

    def __init__(self, arrays: dict[str, np.ndarray], settings: Settings) -> None:
        self._settings = settings
        self._scale = Scale(arrays["unit"], arrays["offset"])
        self._limit, self._near = arrays["limit"], arrays["near"]
        self._column_mean, self._column_size = arrays["column_mean"], arrays["column_size"]
        seasons = Seasons.of(settings)
        self._now = Now(seasons, settings.step_s)
        self._share = _shares(settings.horizon)
        far = arrays["far"]
        # The seasons' coefficients at every step; (seasons, n, H).
        self._seasonal = np.einsum("nks,kh->snh", far[:, :, : len(seasons.known)], self._share)
        self._calendar = np.ascontiguousarray(far[:, :, len(seasons.known) :].transpose(1, 2, 0))
        n = self._limit.size
        self._z = np.full(n, np.nan)
        self._extra = np.zeros_like(self._column_mean)

    def step(self, sample: Sample) -> None:
        """Take the samples into the lags; where one is missing, the last one goes on."""
        z = self._scale.forward(sample.values)
        self._z = np.where(np.isnan(z), self._z, z)
        self._now.push(sample.time_s, self._z)
        columns = self._extra.shape[1]
        scaled = (sample.columns[:, :columns] - self._column_mean) / self._column_size
        self._extra = np.where(np.isnan(scaled), self._extra, np.clip(scaled, -_LARGEST_COLUMN, _LARGEST_COLUMN))

    def forget(self, series: BoolArray) -> None:
        """Know of no change in `series` (n,) before the next sample."""
        self._now.forget(series)

    def forecast(self, times: FloatArray) -> FloatArray:
        """Add up columns times coefficients; no series leaves its last value by more than it ever ranged."""
        horizon = times.size
        near = self._now.near(self._z, self._extra)
        at_knots = np.einsum("np,nkp->nk", near, self._near)
        change = at_knots @ self._share[:, :horizon]
        if self._seasonal.size:
            change += (self._seasonal[:, :, :horizon] * self._now.ahead(horizon)).sum(axis=0)
        calendar = calendar_columns(times, self._settings)
        for share, coefficients in zip(self._share[:, :horizon], self._calendar, strict=True):
            at = np.flatnonzero(share)
            change[:, at] += ((share[at, None] * calendar[at]) @ coefficients).T
        limit = self._limit[:, None]
        return self._scale.backward(self._z[:, None] + np.clip(change, -limit, limit))


def start(arrays: dict[str, np.ndarray], settings: Settings) -> Member:
    """Start from what `fit` found."""
    return Ridge(arrays, settings)


def fit(panel: Panel, settings: Settings) -> dict[str, np.ndarray]:
    """Fit every series of `panel`: coefficients `near` (n, K, p) and `far` (n, K, q) at K steps ahead.

    Hoerl and Kennard (1970), with Huber's loss by pseudo-values, so that one factorisation serves every round.
    `unit` and `offset` are the scale, `limit` (n,) is the range of the series on it. Series with too few samples
    have zero coefficients: last value.
    """
    times, values = panel.times[-_MOST_POINTS:], panel.values[:, -_MOST_POINTS:]
    extra, column_mean, column_size = _optional_columns(panel, times.size)
    frame = _Frame(settings, calendar_columns(times, settings), times)
    logs = find_scale(values)
    offset, fits = logs.offset.copy(), []
    for row in range(len(panel.names)):
        one = Scale(logs.unit[row : row + 1], logs.offset[row : row + 1])
        problem = _Problem(values[row], one, extra[row], frame)
        if one.offset[0] > 0:
            level = _Problem(values[row], Scale(one.unit, np.zeros(1)), extra[row], frame)
            if level.error() < problem.error():
                problem, offset[row] = level, 0.0
        fits.append((*problem.solve(), problem.range))
    if not fits:
        # An empty panel has arrays of the usual widths: those of a series without samples, which is left out.
        nothing = Scale(np.ones(1), np.zeros(1))
        unknown = _Problem(np.full(times.size, np.nan), nothing, np.zeros((times.size, extra.shape[2])), frame)
        fits.append((*unknown.solve(), 0.0))
    n = len(panel.names)
    return {
        "near": np.array([near for near, _, _ in fits])[:n],
        "far": np.array([far for _, far, _ in fits])[:n],
        "limit": np.array([limit for _, _, limit in fits])[:n],
        "unit": logs.unit,
        "offset": offset,
        "column_mean": column_mean,
        "column_size": column_size,
    }


@dataclass(frozen=True)
class _Frame:
    # What all series of a panel share: `calendar` (T, q) and the clock.
    settings: Settings
    calendar: FloatArray
    times: FloatArray

    @property
    def seasons(self) -> Seasons:
        return Seasons.of(self.settings)


class _Problem:
    """The regressions of one series on one scale."""

    def __init__(self, values: FloatArray, scale: Scale, extra: FloatArray, frame: _Frame) -> None:
        self._values, self._scale, self._frame = values, scale, frame
        z = scale.forward(values[None])[0]
        known = np.flatnonzero(np.isfinite(z))
        self._z, self._filled = z, filled_forward(z)
        self._history = History(self._filled, extra, frame.seasons)
        self._near = self._history.near
        # Where the newest sample is missing the last value is an old one: nothing is learnt there.
        self._rows = known[1:]
        self._gram = self._near[self._rows].T @ self._near[self._rows]
        self.range = float(np.ptp(z[known])) if known.size else 0.0
        span_s = frame.times[-1] - frame.times[known[0]] + frame.settings.step_s if known.size else 0.0
        # Calendar columns that are always zero here cost time and get no coefficient.
        usable = usable_calendar_columns(span_s, frame.settings, frame.calendar.shape[1])
        self._used = np.flatnonzero((usable > 0) & frame.calendar.any(axis=0))
        self._calendar = np.ascontiguousarray(frame.calendar[:, self._used])
        before = np.ones(self._near.shape[1] + len(frame.seasons.known))
        self._penalty = _PENALTY * np.append(before, np.where(self._used < FIRST_EVENT, 1.0, _EVENT_PENALTY_SHARE))

    def solve(self) -> tuple[FloatArray, FloatArray]:
        """Give the coefficients at every knot, (K, p) and (K, q)."""
        split, seasons = self._near.shape[1], len(self._frame.seasons.known)
        found = np.array([self._regress(int(steps))[0] for steps in knots(self._frame.settings.horizon)])
        far = np.zeros((len(found), seasons + self._frame.calendar.shape[1]))
        far[:, :seasons] = found[:, split : split + seasons]
        far[:, seasons + self._used] = found[:, split + seasons :]
        return found[:, :split], far

    def error(self) -> float:
        """Give the mean absolute error at the middle knot, in the unit of the series, where it is fitted."""
        at = knots(self._frame.settings.horizon)
        steps = int(at[at.size // 2])
        change, rows = self._regress(steps)[1:]
        if rows.size == 0:
            return 0.0
        expected = self._filled[rows] + np.clip(change, -self.range, self.range)
        missed = self._values[rows + steps] - self._scale.backward(expected[None])[0]
        return float(np.nanmean(np.abs(missed))) if np.isfinite(missed).any() else 0.0

    def _regress(self, steps: int) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
        # The coefficients `steps` ahead, with what they make of the rows they come from.
        split, end = self._near.shape[1], self._filled.size - steps
        cut = int(np.searchsorted(self._rows, end))
        rows, left_out = self._rows[:cut], self._near[self._rows[cut:]]
        if rows.size < _LEAST_ROWS:
            return np.zeros(self._penalty.size), np.zeros(0), rows[:0]
        near = self._near[rows]
        far = np.hstack([self._history.ahead(steps, end)[rows], self._calendar[rows + steps]])
        gram = np.empty((self._penalty.size, self._penalty.size))
        gram[:split, :split] = self._gram - left_out.T @ left_out
        gram[split:, :split] = far.T @ near
        gram[:split, split:] = gram[split:, :split].T
        gram[split:, split:] = far.T @ far
        size = np.diagonal(gram) / rows.size
        penalty = self._penalty * min(steps, _MOST_PENALISED_STEPS) * np.where(size > 1e-12, size, 1.0)
        factor = cho_factor(gram + np.diag(penalty), lower=True, check_finite=False)
        change = self._z[rows + steps] - self._z[rows]
        missing = np.isnan(change)
        # What is missing is thought to come out as forecast: at first unchanged, then as the last round says.
        target = np.where(missing, 0.0, change)
        coefficients = expected = np.zeros(0)
        for turn in range(1 + _HUBER_ROUNDS):
            right = np.concatenate([near.T @ target, far.T @ target])
            coefficients = cho_solve(factor, right, check_finite=False)
            expected = near @ coefficients[:split] + far @ coefficients[split:]
            if turn < _HUBER_ROUNDS:
                missed = np.where(missing, 0.0, change - expected)
                bound = _HUBER * _MEDIAN_TO_DEVIATION * _median(np.abs(missed[~missing]))
                target = expected + np.clip(missed, -bound, bound)
        return coefficients, expected, rows


def _optional_columns(panel: Panel, points: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    # The columns beside the series in usual sizes, (n, T, c), the last known one where missing; mean, size (n, c).
    n = len(panel.names)
    given = [np.broadcast_to(column, (n, panel.times.size)) for column in panel.columns.values()]
    if not given:
        return np.zeros((n, points, 0)), np.zeros((n, 0)), np.ones((n, 0))
    stacked = filled_forward(np.stack(given, axis=1)[:, :, -points:].astype(np.float64))
    known = np.isfinite(stacked)
    count = np.maximum(known.sum(axis=-1), 1)
    clean = np.where(known, stacked, 0.0)
    mean = clean.sum(axis=-1) / count
    size = np.sqrt((np.where(known, stacked - mean[:, :, None], 0.0) ** 2).sum(axis=-1) / count)
    size = np.where(size > 1e-12 * np.abs(mean), size, 1.0)
    scaled = np.where(known, (stacked - mean[:, :, None]) / size[:, :, None], 0.0)
    return np.clip(scaled, -_LARGEST_COLUMN, _LARGEST_COLUMN).transpose(0, 2, 1), mean, size


def knots(horizon: int) -> npt.NDArray[np.int64]:
    """Give the steps ahead that have a regression: all of a short horizon, else closer ones near."""
    steps = np.geomspace(1, horizon, min(horizon, _MOST_KNOTS))
    return np.unique(np.maximum(np.rint(steps), np.arange(1, steps.size + 1)).astype(np.int64))


def _shares(horizon: int) -> FloatArray:
    # How much each knot says about each step: (K, H), linear between knots.
    at = knots(horizon)
    return np.array([np.interp(np.arange(1, horizon + 1), at, row) for row in np.eye(at.size)])


def _median(values: FloatArray) -> float:
    return float(np.median(values)) if values.size else 0.0
