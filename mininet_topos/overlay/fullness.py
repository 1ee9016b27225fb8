"""How full a line has been, by the clock of what emulates it."""

from __future__ import annotations

import time

from mininet_topos.emulator import DirectionStats
from mininet_topos.handles import LinkHandle

WINDOW_S = 1.0


class Fullness:
    """Of what a place sends into one of its uplinks, from now on. To be looked at a few times a second."""

    def __init__(self, line: LinkHandle) -> None:
        self._line = line
        self._before = self._out()
        self._seen = [(time.monotonic(), self._before.busy_s)]
        self.fullest = 0.0
        """The share of its fullest second, 1 being full."""

    def look(self) -> None:
        """Take in what has been sent until now."""
        now_s, busy_s = time.monotonic(), self._out().busy_s
        self._seen.append((now_s, busy_s))
        # The newest that is a window ago, and all after it.
        while len(self._seen) > 1 and self._seen[1][0] <= now_s - WINDOW_S:
            self._seen.pop(0)
        then_s, then_busy_s = self._seen[0]
        if now_s - then_s >= WINDOW_S:
            self.fullest = max(self.fullest, (busy_s - then_busy_s) / (now_s - then_s))

    @property
    def dropped(self) -> int:
        """Packets that found no room on it."""
        return self._out().dropped_queue - self._before.dropped_queue

    @property
    def sent_bytes(self) -> int:
        """All that it has carried."""
        return self._out().bytes - self._before.bytes

    def _out(self) -> DirectionStats:
        return self._line.stats().a_to_b
