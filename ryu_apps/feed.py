"""What happened lately, in order and numbered, for whoever follows it."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

KEPT = 10_000


class Missed(LookupError):
    """What is asked for is no longer kept, or never was."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened. kind: stitch, link, host, switch or alarm; data: JSON values.

    vnets: the virtual networks it is about, all of which a reader has to see; None where it is about the fabric.
    """

    number: int
    time_s: float
    kind: str
    data: Mapping[str, Any]
    vnets: frozenset[str] | None


class Feed:
    """The newest happenings. An id is `run-number`; each run counts from 1. May be used from any thread."""

    def __init__(self, keep: int = KEPT) -> None:
        self._run = secrets.token_hex(4)
        self._kept: deque[Happening] = deque(maxlen=keep)
        self._last = 0
        self._closed = False
        self._lock = threading.Lock()
        self._watchers: set[Callable[[], None]] = set()

    @property
    def last(self) -> int:
        """The number of the newest happening; 0 before the first."""
        return self._last

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    def tell(self, time_s: float, kind: str, data: Mapping[str, Any], vnets: frozenset[str] | None = None) -> None:
        """Something happened."""
        with self._lock:
            self._last += 1
            self._kept.append(Happening(self._last, time_s, kind, data, vnets))
            watchers = tuple(self._watchers)
        for watcher in watchers:
            watcher()

    def after(self, number: int, most: int = 500) -> list[Happening]:
        """What happened after that number, the oldest first. Raises Missed where some of it is no longer kept."""
        with self._lock:
            oldest = self._last - len(self._kept) + 1
            if not oldest - 1 <= number <= self._last:
                raise Missed(f"what happened after {number} is not kept")
            start = number - oldest + 1
            return list(islice(self._kept, start, start + most))

    def id_of(self, number: int) -> str:
        """The id of a happening."""
        return f"{self._run}-{number}"

    def number_of(self, event_id: str) -> int:
        """The number that an id has. Raises Missed for one of another run."""
        run, _, number = event_id.partition("-")
        if run != self._run or not (number.isascii() and number.isdecimal() and len(number) < 20):
            raise Missed("this id is not of this run of the controller")
        return int(number)

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call `watcher`, in the thread of whoever tells, when there is news; what ends that."""
        with self._lock:
            self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    def close(self) -> None:
        """Nothing more will come: readers end."""
        with self._lock:
            self._closed = True
            watchers = tuple(self._watchers)
        for watcher in watchers:
            watcher()
