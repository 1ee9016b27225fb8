"""When a stitch is to be there: from a moment on, until another one, and within that at certain hours of the week.

Times are seconds since the epoch. Hours are those of a wall clock in a zone of the IANA database, so that a window
keeps its hours when clocks are set for summer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Weekly:
    """On these days (0 is Monday) from start to end, in minutes of the day; an end not after it is of the next."""

    days: tuple[int, ...]
    start_min: int
    end_min: int
    zone: str = "UTC"

    def windows(self, since_s: float) -> Iterator[tuple[float, float]]:
        """The windows (begin, end) that end after a time, over eight days."""
        zone = _zone(self.zone)
        today = datetime.fromtimestamp(since_s, zone).date()
        for ahead in range(-1, 9):
            day = today + timedelta(days=ahead)
            if day.weekday() in self.days:
                last = day + timedelta(days=int(self.end_min <= self.start_min))
                window = _moment(day, self.start_min, zone), _moment(last, self.end_min, zone)
                if window[1] > max(since_s, window[0]):
                    yield window


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when, and within that at which hours; None is no limit."""

    from_s: float | None = None
    until_s: float | None = None
    weekly: Weekly | None = None

    def begins_s(self, now_s: float) -> float | None:
        """When it is valid next, now_s where it is now; None where never again."""
        earliest = now_s if self.from_s is None else max(now_s, self.from_s)
        if self.weekly is not None:
            begin = next((max(start, earliest) for start, _ in self.weekly.windows(earliest)), None)
        else:
            begin = earliest
        return None if begin is None or (self.until_s is not None and begin >= self.until_s) else begin


ALWAYS = Validity()


def words(moment_s: float) -> str:
    """A moment for people: UTC, to the second."""
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _moment(day: date, minute: int, zone: ZoneInfo) -> float:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return midnight.replace(hour=minute // 60 % 24, minute=minute % 60).timestamp()


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
