"""How the machine does: its processors, its memory, and what of it the agent takes; as /proc has it (proc(5))."""

from __future__ import annotations

import os
import time
from pathlib import Path

from vte_agent.protocol.has import HostReport

_LEAST_TICKS = 50
"""Less says nothing: the kernel counts in hundredths of a second."""

_LOOK_EVERY_S, _WEIGH_EVERY_S = 1.0, 5.0
"""The kernel takes a while to say how busy it was, and it takes another to go through all processes."""

_MB = 1e6


class Machine:
    """Keeps how busy it was when it was last asked, and what the agent last took."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._busy, self._share = self._ticks() or (0, 0), 0.0
        self._memory = 0.0
        self._looked_s = self._weighed_s = float("-inf")
        self._own_mb = 0.0

    def report(self, timer_late_s: float) -> HostReport:
        """As it is reported."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            self._look()
        if now_s - self._weighed_s >= _WEIGH_EVERY_S:
            self._own_mb, self._weighed_s = self._weighed_mb(), now_s
        return HostReport(
            cpu=self._share, memory=self._memory, memory_mb=self._own_mb, timer_late_ms=1e3 * timer_late_s
        )

    def _look(self) -> None:
        before, now = self._busy, self._ticks() or self._busy
        if now[1] - before[1] >= _LEAST_TICKS:
            self._busy = now
            self._share = min(1.0, max(0.0, (now[0] - before[0]) / (now[1] - before[1])))
        kb = dict(line.split()[:2] for line in _text(self._proc / "meminfo").splitlines())
        if kb:
            self._memory = min(1.0, max(0.0, 1 - int(kb["MemAvailable:"]) / int(kb["MemTotal:"])))

    def _ticks(self) -> tuple[int, int] | None:
        """Of all processors: in which something ran, and all."""
        ticks = [int(word) for word in _text(self._proc / "stat").partition("\n")[0].split()[1:9]]
        if not ticks:
            return None
        idle = ticks[3] + ticks[4]
        return sum(ticks) - idle, sum(ticks)

    def _weighed_mb(self) -> float:
        """Of this process and those that it has started: what of them is in memory."""
        files = (self._proc / "self/task").glob("*/children")
        processes = ["self", *(pid for file in files for pid in _text(file).split())]
        pages = [_text(self._proc / pid / "statm").split() for pid in processes]
        return sum(int(words[1]) for words in pages if words) * os.sysconf("SC_PAGE_SIZE") / _MB


def _text(file: Path) -> str:
    """What a file says; "" where it is gone with its process, or nothing can be read, and all is as it was."""
    try:
        return file.read_text()
    except OSError:
        return ""
