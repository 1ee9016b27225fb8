"""When a rule holds: by the week in some time zone, or once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MIN = 24 * 60


@dataclass(frozen=True, slots=True)
class Weekly:
    """From a minute of these days (0 is Monday) until another, by the clock on the wall in an IANA time zone.

    Where it ends no later than it begins, it ends on the day after. Where clocks are set forward over its begin or
    end, that is as much later as the clock was set.
    """

    days: frozenset[int]
    from_min: int
    until_min: int
    zone: str

    def around(self, time_s: float) -> Iterator[tuple[float, float]]:
        """Its intervals, in seconds since the epoch, that may hold at a time or begin in the week after."""
        zone = ZoneInfo(self.zone)
        today = datetime.fromtimestamp(time_s, UTC).astimezone(zone).date()
        for ahead in range(-2, 9):
            day = today + timedelta(days=ahead)
            if day.weekday() in self.days:
                longer = timedelta(days=int(self.until_min <= self.from_min))
                yield _moment_s(day, self.from_min, zone), _moment_s(day + longer, self.until_min, zone)


@dataclass(frozen=True, slots=True)
class Once:
    """From one moment until another, in seconds since the epoch; an open end is infinite."""

    from_s: float
    until_s: float

    def around(self, _time_s: float) -> Iterator[tuple[float, float]]:
        """Its only interval."""
        yield self.from_s, self.until_s


Window = Weekly | Once


def is_open(windows: Iterable[Window], time_s: float) -> bool:
    """Whether one of them holds at a time; with none at all it always does."""
    windows = tuple(windows)
    return not windows or any(
        start_s <= time_s < end_s for window in windows for start_s, end_s in window.around(time_s)
    )


def next_change_s(windows: Iterable[Window], time_s: float) -> float:
    """The first moment after a time at which one of them begins or ends; infinite where none does any more."""
    moments = (moment for window in windows for ends in window.around(time_s) for moment in ends)
    return min((moment for moment in moments if moment > time_s), default=float("inf"))


def _moment_s(day: date, minute: int, zone: ZoneInfo) -> float:
    if minute == DAY_MIN:
        day, minute = day + timedelta(days=1), 0
    return datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone).timestamp()
