"""From successive readings of a switch's 64-bit counters to rates, and never to a spike that was not there."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)

WRAP = 1 << 64
NOT_COUNTED = WRAP - 1
"""What a switch says of a counter that it does not have (OpenFlow 1.3.5, section 7.3.5)."""

MOST_PER_S = 1.25e11
"""1 Tbit/s in bytes: the bound on what is believed of a counter where no better one is known."""

SURE_SHARE = 0.9
"""Without the switch's own clock, a rate is only made where the interval is known this well."""

_NO_CLOCK = 0xFFFFFFFF
_NO_LIMITS: Mapping[Hashable, float] = MappingProxyType({})


class Reading(NamedTuple, Generic[Key]):
    """One counter in an answer. duration_s: how long it has counted by the switch's clock, where it says so."""

    key: Key
    value: int
    duration_s: float | None


@dataclass(slots=True)
class Tally:
    """How often counters started over (resets), and how often a rate was past belief (absurd)."""

    resets: int = 0
    absurd: int = 0


class _Seen(NamedTuple):
    value: int
    duration_s: float | None
    asked_s: float
    received_s: float


def duration(seconds: int, nanoseconds: int) -> float | None:
    """The age of a counter from duration_sec and duration_nsec; None where the switch does not fill them.

    A clock of whole seconds is none for intervals of about one. One with fractions shows .0 now and then: then
    the time of receipt stands in once.
    """
    if seconds == _NO_CLOCK or nanoseconds in (0, _NO_CLOCK):
        return None
    return seconds + nanoseconds * 1e-9


class CounterTable(Generic[Key]):
    """The counters of one kind on one switch, from one complete answer to the next.

    - The interval is the difference of the switch's own durations, so the control channel adds no jitter and an
      answer that is missing or late only makes it longer. A switch without them is measured by time of receipt,
      and a late answer then makes no rate.
    - A counter may have started over since the last answer when its duration is not longer than the time since
      that was asked for, and cannot have otherwise. It makes no rate, with one exception: with starts_at_zero
      (flow entries; not ports, whose device may be older than the port) all it shows was counted since. Where
      that is certain, because the count fell or there was no such entry before, the rate is count / duration.
      A switch keeps the count of an entry that is added again over itself while its duration restarts (OpenFlow
      1.3.5, section 6.4), so a count that did not fall proves nothing. An entry that is made and added over
      itself between two answers is measured too high once.
    - A count that falls is a 64-bit wrap where that gives a believable rate, else a reset: no rate, a new start.
    - A rate above the limit of its counter is dropped and tallied.
    - A duration that stands still, and an interval below min_interval_s, are no news: the next rate is
      measured from the reading before.

    Counters that an answer does not list are forgotten.
    """

    def __init__(self, tally: Tally, *, min_interval_s: float, starts_at_zero: bool = False) -> None:
        self._tally = tally
        self._min_interval_s = min_interval_s
        self._starts_at_zero = starts_at_zero
        self._seen: dict[Key, _Seen] = {}
        self._asked_s: float | None = None

    def take(
        self,
        readings: Iterable[Reading[Key]],
        *,
        asked_s: float,
        received_s: float,
        limits: Mapping[Key, float] = _NO_LIMITS,  # type: ignore[assignment]  # empty: no key of any type is in it
    ) -> dict[Key, float]:
        """Take in a complete answer; the rates it makes, in counts per second, without those that it cannot.

        The switch read the counters at some time from asked_s to received_s, of one monotonic clock. limits are
        in counts per second.
        """
        rates: dict[Key, float] = {}
        seen: dict[Key, _Seen] = {}
        for key, value, duration_s in readings:
            if value == NOT_COUNTED:
                continue
            now = _Seen(value, duration_s, asked_s, received_s)
            before = self._seen.get(key)
            limit = limits.get(key, MOST_PER_S)
            if before is None:
                rate = self._since_start(now, self._asked_s)
            elif self._is_news(before, now):
                rate = self._between(before, now, limit)
            else:
                rate, now = None, before
            seen[key] = now
            if rate is None:
                continue
            if rate > limit:
                self._tally.absurd += 1
            else:
                rates[key] = rate
        self._seen = seen
        self._asked_s = asked_s
        return rates

    def _is_news(self, before: _Seen, now: _Seen) -> bool:
        if before.duration_s is None or now.duration_s is None:
            return now.received_s - before.received_s >= self._min_interval_s
        advanced_s = now.duration_s - before.duration_s
        return advanced_s < 0 or advanced_s >= self._min_interval_s

    def _between(self, before: _Seen, now: _Seen, limit: float) -> float | None:
        if before.duration_s is None or now.duration_s is None:
            elapsed_s = now.received_s - before.received_s
            sure = now.asked_s - before.received_s >= SURE_SHARE * (now.received_s - before.asked_s)
        elif now.duration_s <= now.received_s - before.asked_s:
            self._tally.resets += 1
            return self._since_start(now, before.asked_s) if now.value < before.value else None
        else:
            elapsed_s = now.duration_s - before.duration_s
            sure = True
        counted = now.value - before.value
        if elapsed_s > 0 and counted < 0 and counted + WRAP <= limit * elapsed_s:
            counted += WRAP
        if elapsed_s <= 0 or counted < 0:
            # An answer from before the last one, or a counter that was cleared while its clock ran on.
            self._tally.resets += 1
            return None
        return counted / elapsed_s if sure else None

    def _since_start(self, now: _Seen, absent_s: float | None) -> float | None:
        """The rate of a counter that began at zero after absent_s; None where that is not certain."""
        if not self._starts_at_zero or absent_s is None or now.duration_s is None:
            return None
        if not self._min_interval_s <= now.duration_s <= now.received_s - absent_s:
            return None
        return now.value / now.duration_s
