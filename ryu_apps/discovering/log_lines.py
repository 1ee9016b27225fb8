"""Log lines, of which a storm of packets cannot make a storm."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from logging import Logger

LINES_PER_S = 50
"""Log lines of one kind."""


class LogLines:
    """One log line for one decision, unless there were too many of this kind just now: those are counted."""

    def __init__(self, log: Logger, counts: Counter[str], clock: Callable[[], float]) -> None:
        self._log = log
        self._counts = counts
        self._clock = clock
        self._lines: dict[str, tuple[float, int]] = {}

    def tell(self, level: int, kind: str, text: str, *values: object, per_s: float = LINES_PER_S) -> None:
        """Log a line of this kind, at most per_s of them a second."""
        now_s = self._clock()
        since_s, lines = self._lines.get(kind, (-math.inf, 0))
        if now_s - since_s >= max(1.0, 1 / per_s):
            since_s, lines = now_s, 0
        self._lines[kind] = since_s, lines + 1
        if lines < max(1, per_s):
            self._log.log(level, f"event=%s {text}", kind, *values)
        else:
            self._counts[f"log_{kind}_left_out"] += 1
