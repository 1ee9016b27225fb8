"""The calendar: days, weeks, holidays and scheduled events, as columns that a linear model can learn from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt

from forecasting.checks import is_number, is_time, is_whole
from forecasting.errors import SettingError
from forecasting.panel import BoolArray, FloatArray

# 1970-01-01 was a Thursday; with weeks of seven days weekday 0 is then Monday.
_FIRST_WEEKDAY, _SATURDAY, _WEEKDAYS = 3, 5, 7

# No season is longer than a year, and none so short that the time of the day drowns in rounding.
_LONGEST_SEASON_S, _SHORTEST_DAY_S = 366 * 86400.0, 1e-3

# An event is told apart in this many parts, where the step is short enough: a break in the middle shows.
_PARTS = 8

EVENT_FIELDS = ("start_utc", "end_utc", "kind")
"""The columns of a table of events."""

# Seconds until the year 2286; larger numbers count a smaller unit.
_SECONDS_MAX = 1e10
_DIGITS_OF_A_DAY = 8

# Knots before the start and after the end, in parts: close ones first, where the change is fast. At the outermost
# ones nothing is left, so an event reaches from one length before its start to two lengths behind its end.
_BEFORE = (-8.0, -4.0, -2.0, -1.0)
_AFTER = (1.0, 2.0, 4.0, 8.0, 16.0)

# A model learns columns of its own for every kind, at a cost that grows with the square of their number.
_MOST_KINDS = 64


@dataclass(frozen=True)
class Event:
    """Something scheduled from `start_s` to `end_s` (seconds, the same clock as the samples).

    Events of one `kind` are thought to act alike. Raises SettingError.
    """

    start_s: float
    end_s: float
    kind: str

    def __post_init__(self) -> None:
        if not (isinstance(self.kind, str) and self.kind.isprintable() and self.kind.strip()):
            raise SettingError(f"event {self.kind!r}: give its kind as a name, like 'match' or 'backup'")
        if not (is_time(self.start_s) and is_time(self.end_s)):
            raise SettingError(f"event {self}: give its start and its end in seconds")
        if self.end_s < self.start_s:
            raise SettingError(f"event {self} ends before it starts; swap the two times")
        object.__setattr__(self, "start_s", float(self.start_s))
        object.__setattr__(self, "end_s", float(self.end_s))

    def __str__(self) -> str:
        return f"{self.kind!r} from {_in_words(self.start_s)} to {_in_words(self.end_s)}"


@dataclass(frozen=True)
class Calendar:
    """When days and weeks turn, which days are holidays, and what is scheduled.

    `day_s` is the length of a day in seconds (None: there is no season at all) and `days_a_week` that of a week
    in days (1: there are no weeks); `utc_offset_s` is added to a time to get the local one; each of `holidays` is
    a time, and the whole local day around it is a holiday; `events` may overlap. Raises SettingError.
    """

    day_s: float | None = 86400.0
    days_a_week: int = _WEEKDAYS
    utc_offset_s: float = 0.0
    holidays: tuple[float, ...] = ()
    events: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        self._check_seasons()
        if not is_time(self.utc_offset_s):
            raise SettingError(f"utc_offset_s is {self.utc_offset_s!r}; give seconds")
        object.__setattr__(self, "utc_offset_s", float(self.utc_offset_s))
        for holiday in self.holidays:
            if not is_time(holiday):
                raise SettingError(f"holiday {holiday!r}: give a time in seconds on the day that is one")
        object.__setattr__(self, "holidays", tuple(float(holiday) for holiday in self.holidays))
        object.__setattr__(self, "events", tuple(self.events))
        for event in self.events:
            if not isinstance(event, Event):
                raise SettingError(f"event {event!r}: give an Event")
        if len(self.kinds) > _MOST_KINDS:
            raise SettingError(
                f"the events are of {len(self.kinds)} kinds, {_MOST_KINDS} at most; those of one kind are thought "
                "to act alike, so give few kinds and not a name to each event"
            )

    def _check_seasons(self) -> None:
        if not is_whole(self.days_a_week) or self.days_a_week < 1:
            raise SettingError(f"days_a_week is {self.days_a_week!r}; give a whole number of days, 1 for no weeks")
        object.__setattr__(self, "days_a_week", int(self.days_a_week))
        if self.day_s is None:
            return
        if not (is_number(self.day_s) and self.day_s >= _SHORTEST_DAY_S):
            raise SettingError(
                f"day_s is {self.day_s!r}; give the length of a day in seconds, {_SHORTEST_DAY_S} or more, or "
                "None for no season"
            )
        object.__setattr__(self, "day_s", float(self.day_s))
        if self.day_s * self.days_a_week > _LONGEST_SEASON_S:
            raise SettingError(
                f"a day of {self.day_s:g} s and a week of {self.days_a_week} days; a week lasts "
                f"{_LONGEST_SEASON_S:g} s at most"
            )

    @property
    def week_s(self) -> float | None:
        """The length of a week in seconds; None where there are no days, or no weeks of more than one."""
        return self.day_s * self.days_a_week if self.day_s is not None and self.days_a_week > 1 else None

    def day_phase(self, times: FloatArray) -> FloatArray:
        """Say how much of the local day is over at `times` (T,): from 0 to below 1, and 0 without a season."""
        return np.mod(self._days(times), 1.0)

    def week_phase(self, times: FloatArray) -> FloatArray:
        """Say how much of the week is over at `times` (T,), from 0 to below 1."""
        return np.mod(self._days(times) + self._shift, self.days_a_week) / self.days_a_week

    def weekday(self, times: FloatArray) -> npt.NDArray[np.int64]:
        """Count the days of the week at `times` (T,), from 0; of seven days 0 is Monday."""
        days: npt.NDArray[np.int64] = np.floor(self._days(times)).astype(np.int64)
        return np.mod(days + self._shift, self.days_a_week)

    def is_holiday(self, times: FloatArray) -> BoolArray:
        """Say which of `times` (T,) are on a holiday."""
        return np.isin(np.floor(self._days(times)), np.floor(self._days(np.asarray(self.holidays))))

    def is_day_off(self, times: FloatArray) -> BoolArray:
        """Say which of `times` (T,) are on a holiday or, in weeks of seven days, on a Saturday or Sunday."""
        weekend = self.weekday(times) >= _SATURDAY
        return self.is_holiday(times) | (weekend & (self.days_a_week == _WEEKDAYS) & (self.day_s is not None))

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the events, in the order of the alphabet."""
        return tuple(sorted({event.kind for event in self.events}))

    def event_columns(self, times: FloatArray, step_s: float) -> FloatArray:
        """Give what events are doing at `times` (T,), each kind in columns of its own: (T, columns).

        A column is a hat over the time from an event's start, so that a weighted sum of the columns of a kind is
        a broken line: how its events rise, go on and fade. The lines bend at parts of the event (eighths, not
        shorter than `step_s`) and further and further away from it outside. Events of one kind add up.
        """
        parts = [self._kind_columns(times, kind, step_s) for kind in self.kinds]
        return np.hstack(parts) if parts else np.zeros((times.size, 0))

    def _kind_columns(self, times: FloatArray, kind: str, step_s: float) -> FloatArray:
        starts, ends = self._spans[kind]
        length = float(np.median(ends - starts))
        count = max(1, int(min(_PARTS, length / step_s)))
        part = max(length / count, step_s)
        knots = np.array([*_BEFORE, *range(count + 1), *(count + after for after in _AFTER)])
        columns = np.zeros((times.size, knots.size))
        if times.size == 0:
            return columns[:, 1:-1]
        near = (ends >= times.min() + part * (count - knots[-1])) & (starts <= times.max() - part * knots[0])
        for start, end in zip(starts[near], ends[near], strict=True):
            # Inside, events of another length than usual are stretched; outside, parts are the same for all.
            inside = (times - start) * (count / max(end - start, 1e-9 * part))
            place = np.where(times < start, (times - start) / part, np.minimum(inside, count))
            place = np.where(times > end, count + (times - end) / part, place)
            at = np.flatnonzero((place > knots[0]) & (place < knots[-1]))
            index = np.interp(place[at], knots, np.arange(knots.size))
            lower = np.minimum(index.astype(np.int64), knots.size - 2)
            columns[at, lower] += 1.0 - (index - lower)
            columns[at, lower + 1] += index - lower
        return columns[:, 1:-1]

    @cached_property
    def _spans(self) -> Mapping[str, tuple[FloatArray, FloatArray]]:
        # Starts and ends of the events of each kind.
        spans = {kind: [e for e in self.events if e.kind == kind] for kind in self.kinds}
        return {
            kind: (np.array([e.start_s for e in found]), np.array([e.end_s for e in found]))
            for kind, found in spans.items()
        }

    @property
    def _shift(self) -> int:
        return _FIRST_WEEKDAY if self.days_a_week == _WEEKDAYS else 0

    def _days(self, times: FloatArray) -> FloatArray:
        # Local days since 1970, with their fraction; everything is day 0 when there are none.
        if self.day_s is None:
            return np.zeros(np.shape(times))
        days: FloatArray = (np.asarray(times, dtype=np.float64) + self.utc_offset_s) / self.day_s
        return days


def harmonics(phase: FloatArray, pairs: int) -> FloatArray:
    """Give sine and cosine of the first `pairs` harmonics of a season at `phase` (T,): (T, 2 * pairs)."""
    angle = 2.0 * np.pi * phase[:, None] * np.arange(1, pairs + 1)
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(phase.size, 2 * pairs)


def events_from_rows(rows: Iterable[Mapping[str, str]]) -> tuple[Event, ...]:
    """Make events of rows; raises SettingError, which names the row, counted from 1."""
    events = []
    for number, row in enumerate(rows, start=1):
        try:
            events.append(event_from_row(row))
        except SettingError as error:
            raise SettingError(f"row {number}: {error}") from None
    return tuple(events)


def event_from_row(row: Mapping[str, str]) -> Event:
    """Make an event of a row with `start_utc`, `end_utc` and `kind`.

    Times are ISO 8601, UTC unless they say otherwise, or counted since 1970 in seconds, milli-, micro- or
    nanoseconds, whichever makes them times of this age. Raises SettingError.
    """
    fields = []
    for name in EVENT_FIELDS:
        text = row.get(name) if isinstance(row, Mapping) else None
        if not isinstance(text, str) or not text.strip():
            raise SettingError(f"no {name}; each row has {', '.join(EVENT_FIELDS[:-1])} and {EVENT_FIELDS[-1]}")
        fields.append(text.strip())
    return Event(_seconds(fields[0]), _seconds(fields[1]), fields[2])


def _seconds(text: str) -> float:
    # Eight digits are a day, as in 19980610.
    counted = math.nan if len(text) == _DIGITS_OF_A_DAY else _counted(text)
    if math.isfinite(counted):
        return counted
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise SettingError(
            f"time {text!r} is neither ISO 8601 nor counted since 1970; write it like 1998-06-10 15:30:00"
        ) from None


def _counted(text: str) -> float:
    """Seconds since 1970 of a number; NaN for none, and for what is no time of this age in any unit."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return next((number / unit for unit in (1.0, 1e3, 1e6, 1e9) if abs(number) <= _SECONDS_MAX * unit), math.nan)


def _in_words(time_s: object) -> str:
    """A time as people write it, in UTC; what is none as it stands."""
    try:
        return f"{datetime.fromtimestamp(float(time_s), UTC):%Y-%m-%d %H:%M:%S} UTC"  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return repr(time_s)
