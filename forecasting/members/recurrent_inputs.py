"""What a recurrent network sees of each series: changes, levels, the profile of the day, calendar, columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forecasting.calendar import Calendar, harmonics
from forecasting.members.ewma import follow
from forecasting.panel import BoolArray, FloatArray
from forecasting.settings import Settings

# At most this many steps ahead are answered for; between them the answers are interpolated.
_MOST_KNOTS = 12

# How fast the two scales follow: half of them is of the last 23 and of the last 230 samples.
_MEMORY, _SLOW_MEMORY = 0.97, 0.997

# The short scale is at least this share of the long one: links that idle have bursts.
_QUIET_SHARE = 0.2

# Before there is any change, one step is thought to move a series by this share of its level.
_PRIOR_MOVE = 0.05

# Weights of the newest sample in the two levels that the last value is compared with.
_FAST, _SLOW = 0.3, 0.03

# The profile of the day: at most this many slots, of each the weight of the newest day, and how many slots on
# either side are averaged when it is read.
_MOST_SLOTS, _NEWEST_DAY, _SMOOTH = 288, 0.5, 2

# Days of fewer slots than this are not smoothed: hours differ.
_SLOTS_FOR_SMOOTH = 72

# Where the inputs of the profile stand among all.
PROFILE_INPUTS = slice(7, 12)

# Inputs beyond this are outliers that would drive the network where it was never trained.
LARGEST_INPUT = 8.0

Arrays = dict[str, npt.NDArray[Any]]
FloatArray32 = npt.NDArray[np.float32]


def knots_of(horizon: int) -> npt.NDArray[np.int64]:
    """Give the steps ahead that the network answers for: all of a short horizon, thinner further out."""
    if horizon <= _MOST_KNOTS:
        return np.arange(1, horizon + 1)
    return np.unique(np.rint(np.geomspace(1, horizon, _MOST_KNOTS)).astype(np.int64))


@dataclass(frozen=True)
class Plan:
    """Which inputs a network has.

    `knots` are the steps ahead it answers for; `daily` says whether it sees the profile of the day, `clock`
    whether it is told the time of the day (1) and the day of the week too (2); `columns` is how many there are
    beside the series; `kinds` are the kinds of events, each with its number of columns.
    """

    knots: npt.NDArray[np.int64]
    daily: bool
    clock: int
    columns: int
    kinds: tuple[str, ...]
    kind_columns: tuple[int, ...]

    def as_arrays(self) -> Arrays:
        """Write it as plain arrays; `from_arrays` reads them."""
        return {
            "knots": self.knots,
            "daily": np.array(self.daily),
            "clock": np.array(self.clock),
            "columns": np.array(self.columns),
            "kinds": np.array(self.kinds, dtype=np.str_),
            "kind_columns": np.array(self.kind_columns, dtype=np.int64),
        }

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> Plan:
        """Read what `as_arrays` wrote."""
        return Plan(
            arrays["knots"].astype(np.int64),
            bool(arrays["daily"]),
            int(arrays["clock"]),
            int(arrays["columns"]),
            tuple(str(kind) for kind in arrays["kinds"]),
            tuple(int(count) for count in arrays["kind_columns"]),
        )


class Inputs:
    """What the network sees of n series, found from what was known at the time only.

    After `step`, `base` (n,) is the last value and `scale` (n,) the unit of the answers: the mean change from one
    sample to the next of late, in the unit of the series.
    """

    def __init__(self, n: int, plan: Plan, settings: Settings) -> None:
        self._plan, self._settings = plan, settings
        self.base, self.scale = np.full(n, np.nan), np.zeros(n)
        self._fast, self._level = self.base.copy(), self.base.copy()
        self._move, self._weight, self._slow_move, self._slow_weight, self._age = np.zeros((5, n))
        self._column_mean, self._column_move = np.full((n, plan.columns), np.nan), np.zeros((n, plan.columns))
        self._profile = _DayProfile(n, plan, settings) if plan.daily else None

    def step(self, time_s: float, values: FloatArray, columns: FloatArray) -> FloatArray:
        """Take the samples of `time_s`: (n, k) inputs, finite whatever the samples are."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            seen = self._step_series(values)
            parts = [seen]
            if self._profile is not None:
                parts.append(self._profile.step(time_s, values, self.base, self._unit))
            parts.append(self._step_columns(columns))
        parts.append(np.broadcast_to(self._scheduled(time_s), (values.size, self._scheduled_count)))
        finite: FloatArray = np.clip(np.nan_to_num(np.concatenate(parts, axis=1)), -LARGEST_INPUT, LARGEST_INPUT)
        return finite

    def forget(self, series: BoolArray) -> None:
        """Know no level of `series` (n,) before the next sample; how much they move stays."""
        for level in (self.base, self._fast, self._level):
            level[series] = np.nan
        if self._profile is not None:
            self._profile.forget(series)

    def _step_series(self, values: FloatArray) -> FloatArray:
        missing = np.isnan(values)
        moved = ~(missing | np.isnan(self.base))
        change = np.where(moved, values - self.base, 0.0)
        # A change over a gap is that of a random walk over as many steps.
        move = np.abs(change) / np.sqrt(self._age + 1.0)
        self._move = np.where(moved, _MEMORY * self._move + move, self._move)
        self._weight = np.where(moved, _MEMORY * self._weight + 1.0, self._weight)
        self._slow_move = np.where(moved, _SLOW_MEMORY * self._slow_move + move, self._slow_move)
        self._slow_weight = np.where(moved, _SLOW_MEMORY * self._slow_weight + 1.0, self._slow_weight)
        self._age = np.where(missing, self._age + 1.0, 0.0)
        self.base = np.where(missing, self.base, values)
        self._fast = follow(self._fast, values, _FAST)
        self._level = follow(self._level, values, _SLOW)
        level = np.abs(np.nan_to_num(self._level))
        slow = (_PRIOR_MOVE * level + self._slow_move) / (1.0 + self._slow_weight)
        recent = (2.0 * slow + self._move) / (2.0 + self._weight)
        # Rounding errors of a constant are no change.
        least = np.maximum(_QUIET_SHARE * slow, 1e-9 * level)
        self.scale = np.nan_to_num(np.maximum(recent, least))
        unit = self._unit
        return np.stack(
            [
                _bounded(change / unit),
                _bounded((self.base - self._fast) / unit),
                np.arcsinh((self.base - self._level) / unit),
                np.log(np.maximum(self.scale, 1e-3 * slow) / np.where(slow > 0.0, slow, 1.0)),
                np.log(np.clip(self.scale / np.where(level > 0.0, level, 1.0), 1e-4, 10.0)) + 2.0,
                missing.astype(np.float64),
                np.log1p(self._age),
            ],
            axis=1,
        )

    @property
    def _unit(self) -> FloatArray:
        return np.where(self.scale > 0.0, self.scale, 1.0)

    def _step_columns(self, columns: FloatArray) -> FloatArray:
        # A column is told by its distance from its own running mean, and whether it is known.
        wanted = self._column_mean.shape
        given = np.full(wanted, np.nan)
        shared = min(wanted[1], columns.shape[1])
        given[:, :shared] = columns[:, :shared]
        self._column_mean = follow(self._column_mean, given, _SLOW)
        away = given - self._column_mean
        self._column_move = np.nan_to_num(follow(self._column_move, np.abs(away), _SLOW))
        known = np.isfinite(given) & (self._column_move > 0.0)
        unit = np.where(known, self._column_move, 1.0)
        return np.concatenate([np.where(known, np.arcsinh(away / unit), 0.0), np.isfinite(given)], axis=1)

    @property
    def _scheduled_count(self) -> int:
        return 2 * (1 + sum(self._plan.kind_columns)) + 2 * self._plan.clock

    def _scheduled(self, time_s: float) -> FloatArray:
        # Holidays and events half the horizon and the whole of it ahead: they are known before they begin.
        calendar, ahead = self._settings.calendar, int(self._plan.knots[-1])
        times = time_s + self._settings.step_s * np.array([(ahead + 1) // 2, ahead], dtype=np.float64)
        parts = [calendar.is_holiday(times)[:, None].astype(np.float64)]
        for kind, count in zip(self._plan.kinds, self._plan.kind_columns, strict=True):
            found = events_of(calendar, kind, times, self._settings.step_s)
            # A kind that is no longer in the calendar, or told apart in other parts, says nothing.
            parts.append(found if found.shape[1] == count else np.zeros((times.size, count)))
        now = np.array([time_s])
        clock = [harmonics(phase(now), 1)[0] for phase in (calendar.day_phase, calendar.week_phase)]
        return np.concatenate([np.hstack(parts).ravel(), *clock[: self._plan.clock]])


def _bounded(x: FloatArray) -> FloatArray:
    # Straight where most samples are: the next step is nearly a weighted sum of the last ones.
    answer: FloatArray = LARGEST_INPUT * np.tanh(x / LARGEST_INPUT)
    return answer


class _DayProfile:
    """What each slot of the day was on the days before: inputs are how it went on from this time of the day."""

    def __init__(self, n: int, plan: Plan, settings: Settings) -> None:
        day_s = float(settings.calendar.day_s or settings.step_s)
        self._slot_s = max(settings.step_s, day_s / _MOST_SLOTS)
        self._slots = max(1, round(day_s / self._slot_s))
        self._smooth = min(_SMOOTH, self._slots // _SLOTS_FOR_SMOOTH)
        self._weight = _NEWEST_DAY * settings.step_s / self._slot_s
        # The slots of a day ago are kept as far as they are read beside those of today.
        self._ring = np.full((self._slots + 2 * self._smooth + 2, n), np.nan)
        seconds = settings.step_s * plan.knots[-1] * np.array([0.25, 0.5, 1.0])
        self._ahead = [round(float(ahead) / self._slot_s) % self._slots for ahead in seconds]
        self._slot: int | None = None

    def step(self, time_s: float, values: FloatArray, base: FloatArray, unit: FloatArray) -> FloatArray:
        """Take samples; give (n, 5): known, distance from the profile, and how the profile goes on."""
        # A sample a little before its time still belongs to its slot.
        slot = math.floor(time_s / self._slot_s + 0.01)
        length = len(self._ring)
        if slot != self._slot:
            yesterday = self._ring[(slot - self._slots) % length]
            self._ring[slot % length] = follow(yesterday, values, _NEWEST_DAY)
        else:
            self._ring[slot % length] = follow(self._ring[slot % length], values, self._weight)
        self._slot = slot
        here = self._read(slot, 0)
        parts = [np.isfinite(here).astype(np.float64), 0.5 * np.arcsinh((base - here) / unit)]
        parts += [np.arcsinh((self._read(slot, ahead) - here) / unit) for ahead in self._ahead]
        return np.stack(parts, axis=1)

    def forget(self, series: BoolArray) -> None:
        """Know no day of `series` (n,)."""
        self._ring[:, series] = np.nan

    def _read(self, slot: int, ahead: int) -> FloatArray:
        taps = slot - self._slots + ahead + np.arange(-self._smooth, self._smooth + 1)
        answer: FloatArray = self._ring[taps % len(self._ring)].mean(axis=0)
        return answer


def events_of(calendar: Calendar, kind: str, times: FloatArray, step_s: float) -> FloatArray:
    """Give the event columns (T, columns) of one kind."""
    found = tuple(event for event in calendar.events if event.kind == kind)
    return Calendar(calendar.day_s, calendar.days_a_week, calendar.utc_offset_s, events=found).event_columns(
        times, step_s
    )
