"""When the overlay decides again: soon after news, and never so often that nothing else gets done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_S = 1.0
"""How often a round is made where nothing was heard."""


def steady_clock() -> Callable[[], float]:
    """Unix time as it is now and what has passed since: no deadline moves where the machine's clock is set."""
    began_s = time.time() - time.monotonic()
    return lambda: began_s + time.monotonic()


class Pace:
    """A round of all that is heard meanwhile. After each there is a rest as long: sites may be thousands.

    have_due: has `take_due` called after all that was heard already. For one thread.
    """

    def __init__(self, have_due: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._have_due, self._clock = have_due, clock
        self._has_news = self._is_due = False
        self._rested_s = self._look_s = float("-inf")

    def news(self, *, waits: bool = True) -> None:
        """Something was heard that a round has to take in; what people asked for need not wait for the rest."""
        self._has_news = True
        if not self._is_due and not (waits and self._clock() < self._rested_s):
            self._is_due = True
            self._have_due()

    def take_due(self) -> bool:
        """Whether the round that was due still has anything to take in."""
        self._is_due = False
        return self._has_news

    def is_time(self) -> bool:
        """Whether there is news that had to wait, or nothing was heard for long."""
        return self._has_news or self._clock() >= self._look_s

    @contextmanager
    def round(self) -> Iterator[None]:
        """A round, which takes in all news that there are when it begins."""
        began_s, self._has_news = self._clock(), False
        try:
            yield
        finally:
            ended_s = self._clock()
            self._rested_s, self._look_s = 2 * ended_s - began_s, ended_s + LOOK_S
