"""How long a packet may be that still gets through: found by sending some, as RFC 8899 (DPLPMTUD) does.

The longest that could pass is tried first, since it mostly does; below it the search halves what is left. What was
proven is proven again now and then: where long packets vanish and short ones do not, the search begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass

TRIES, CONFIRM_TRIES = 3, 6
"""MAX_PROBES of the RFC: so many in a row unanswered, and the size is too long. What was proven is given up later:
on a path that loses some packets three in a row are soon lost by chance."""

AGAIN_S = 0.15
"""How long an answer is waited for, while nothing is known of the round trip."""

CONFIRM_S = 2.0
RAISE_S = 600.0
"""PMTU_RAISE_TIMER: after so long longer packets are tried again."""

GRAIN = 8
"""The search ends when it is this close, in bytes."""


@dataclass(frozen=True)
class _Trial:
    size: int
    sent: int = 0
    sent_s: float = float("-inf")


class PathMtu:
    """Sizes in bytes, of whatever layer the caller counts; times of one monotonic clock. Raises ValueError."""

    def __init__(self, least: int, most: int) -> None:
        if not 0 < least <= most:
            raise ValueError(f"no size is both at least {least} and at most {most}")
        self._least, self._most = least, most
        self._proven = 0
        self._too_long = most + 1
        self._trial: _Trial | None = _Trial(most)
        self.is_blocked = False
        """Not even the least gets through."""
        self._confirm_s = self._raise_s = float("inf")

    @property
    def proven(self) -> int | None:
        """The longest that has got through, None before the first has."""
        return self._proven or None

    @property
    def is_searching(self) -> bool:
        """Whether a longer one may still be found."""
        return self._trial is not None and self._trial.size != self._proven

    def due(self, now_s: float, rtt_s: float = 0.0) -> int | None:
        """The size to send a probe of now, None while there is nothing to send."""
        self._give_up(now_s, rtt_s)
        if self._trial is None and now_s >= self._raise_s and self._proven < self._most:
            self._too_long, self._raise_s = self._most + 1, float("inf")
            self._trial = _Trial(self._most)
        if self._trial is None and now_s >= self._confirm_s:
            self._trial = _Trial(self._proven)
        if self._trial is None or (self._trial.sent and now_s - self._trial.sent_s < self._patience_s(rtt_s)):
            return None
        self._trial = _Trial(self._trial.size, self._trial.sent + 1, now_s)
        return self._trial.size

    def next_s(self, rtt_s: float = 0.0) -> float:
        """When `due` is worth asking again."""
        if self._trial is not None:
            return self._trial.sent_s + self._patience_s(rtt_s) if self._trial.sent else float("-inf")
        return self._confirm_s if self._proven == self._most else min(self._confirm_s, self._raise_s)

    def resume(self, now_s: float) -> None:
        """The path was dead meanwhile: what was not answered says nothing, and it may be another path now."""
        if self._trial is not None:
            self._trial = _Trial(self._trial.size)
        self._confirm_s, self._raise_s = min(self._confirm_s, now_s), min(self._raise_s, now_s)

    def answered(self, size: int, now_s: float) -> None:
        """A probe of this size got through; a late answer counts as well."""
        if not self._least <= size <= self._most:
            return
        self.is_blocked = False
        if size > self._proven:
            self._proven = size
            self._too_long = max(self._too_long, size + 1)
        if self._trial is None or size < self._trial.size:
            return
        self._go_on(now_s)

    def _give_up(self, now_s: float, rtt_s: float) -> None:
        trial = self._trial
        if trial is None or now_s - trial.sent_s < self._patience_s(rtt_s):
            return
        if trial.sent < (CONFIRM_TRIES if trial.size <= self._proven else TRIES):
            return
        if trial.size <= self._proven:
            # What was proven passes no more: all that is known is that it is shorter by now.
            self._proven, self._raise_s = 0, float("inf")
        self._too_long = min(self._too_long, trial.size)
        self._go_on(now_s)

    def _go_on(self, now_s: float) -> None:
        """The next size to try, or none."""
        low, high = max(self._proven, self._least - 1), self._too_long
        if self._proven and high - low <= GRAIN:
            self._trial = None
            self._confirm_s = now_s + CONFIRM_S
            # A search is over, or there was none and the time to begin one stays.
            self._raise_s = min(self._raise_s, now_s + RAISE_S)
        elif high - 1 <= self._least:
            # Not even the least passes: nothing does, and that is for others to find out. It is tried again.
            self._too_long = self._most + 1
            self._trial = _Trial(self._least, 0, now_s)
            self.is_blocked = True
        elif not self._proven:
            # The least first: it nearly always passes, and tells a short path from a dead one.
            self._trial = _Trial(self._least)
        elif high > self._most:
            # Nothing is known against the longest.
            self._trial = _Trial(self._most)
        else:
            self._trial = _Trial(low + (high - low) // 2)

    def _patience_s(self, rtt_s: float) -> float:
        return max(AGAIN_S, 3.0 * rtt_s)
