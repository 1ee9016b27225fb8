"""Waiting for what another process is about to do."""

from __future__ import annotations

import time

_FIRST_S, _LONGEST_S, _GROWTH = 0.001, 0.016, 1.5


class Rests:
    """Rests that get longer: where many wait for what starts, each look takes the processor from it."""

    def __init__(self, within_s: float) -> None:
        """within_s: after that it is over."""
        self._until_s = time.monotonic() + within_s
        self._next_s = _FIRST_S

    def is_over(self) -> bool:
        """Whether it has taken too long."""
        return time.monotonic() > self._until_s

    def rest(self) -> None:
        """Wait until the next look."""
        time.sleep(self._next_s)
        self._next_s = min(_GROWTH * self._next_s, _LONGEST_S)
