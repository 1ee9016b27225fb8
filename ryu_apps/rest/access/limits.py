"""How often somebody may ask: token buckets, one for each key, of which only so many are remembered."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable


class Buckets:
    """A bucket of `burst` for each key that fills with `rate_per_s`.

    Of more than `most` keys the one that asked longest ago is forgotten: it starts with a full bucket again. To be
    used by one thread.
    """

    def __init__(self, rate_per_s: float, burst: float, clock: Callable[[], float], *, most: int = 10_000) -> None:
        if not (rate_per_s > 0 and burst >= 1):
            raise ValueError("a bucket needs a rate above 0 and room for one")
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._clock = clock
        self._most = most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, much: float = 1.0) -> int | None:
        """Take so much out of the bucket of a key; None, or where that is not there the whole seconds until it is.

        Of more than a bucket holds, what it holds is enough.
        """
        level, much = self._level(key), min(much, self._burst)
        if level < much:
            return self._wait_s(level, much)
        self._put(key, level - much)
        return None

    def wait_s(self, key: str) -> int | None:
        """The whole seconds until take() gives something; None where it would now. Takes nothing."""
        level = self._level(key)
        return self._wait_s(level, 1.0) if level < 1 else None

    def _level(self, key: str) -> float:
        level, at_s = self._levels.get(key, (self._burst, self._clock()))
        return min(self._burst, level + max(0.0, self._clock() - at_s) * self._rate_per_s)

    def _wait_s(self, level: float, much: float) -> int:
        return max(1, math.ceil((much - level) / self._rate_per_s))

    def _put(self, key: str, level: float) -> None:
        self._levels[key] = level, self._clock()
        self._levels.move_to_end(key)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)
