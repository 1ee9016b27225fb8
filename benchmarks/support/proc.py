"""What /proc says about processes: processor time, memory, children."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from mininet_topos.ownership import stamp

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

Stamps = dict[int, str]
"""Processes by pid, with a stamp each so that a later process with the same pid is not taken for it."""


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, user and system, in seconds; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def rss_mb(pid: int) -> float:
    """Resident memory in MB (10^6 bytes); 0 when the process is gone."""
    return _status_mb(pid, "VmRSS")


def peak_rss_mb(pid: int) -> float:
    """The most that it was so far."""
    return _status_mb(pid, "VmHWM")


def _status_mb(pid: int, what: str) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in text.splitlines() if line.startswith(f"{what}:")]
    return int(found[0]) * 1024 / 1e6 if found else 0.0


def descendants(pid: int) -> Stamps:
    """The processes that a process started, and those that they started."""
    found: Stamps = {}
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                if mark := stamp(child):
                    found[child] = mark
                found |= descendants(child)
    return found


def alive(processes: Stamps) -> list[int]:
    """Those that still run."""
    return [pid for pid, mark in processes.items() if stamp(pid) == mark]


def end_left(processes: Stamps, within_s: float) -> int:
    """Wait for processes to end by themselves and kill those that do not; returns how many."""
    deadline_s = time.monotonic() + within_s
    while (left := alive(processes)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(left)
