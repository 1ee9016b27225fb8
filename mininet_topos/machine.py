"""How much of this machine went to programs of others while something was measured on it."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class MachineUse:
    """Averages over an interval, in processors: what others computed, and what the host kept from this machine."""

    processors: int
    others: float
    stolen: float


class MachineWatch:
    """Watches from when it is made. `own` are processes that count as ours, as do all that they have started."""

    def __init__(self, own: Collection[int], proc: Path = PROC) -> None:
        self._own = frozenset(own)
        self._proc = proc
        self._before = self._read()

    def use(self, seconds: float) -> MachineUse:
        """What it was since then; seconds have passed."""
        busy_s, stolen_s, ours_s = (now - before for now, before in zip(self._read(), self._before, strict=True))
        return MachineUse(
            processors=os.cpu_count() or 1,
            others=round(max(0.0, busy_s - ours_s) / seconds, 3),
            stolen=round(max(0.0, stolen_s) / seconds, 3),
        )

    def _read(self) -> tuple[float, float, float]:
        busy_s, stolen_s = _machine(self._proc)
        return busy_s, stolen_s, _of_these(self._proc, self._own)


def _machine(proc: Path) -> tuple[float, float]:
    """Seconds that programs computed, and that the host took, since the start, over all processors."""
    user, nice, system, _idle, _wait, _irq, _soft_irq, stolen, *_ = map(
        int, (proc / "stat").read_text().partition("\n")[0].split()[1:]
    )
    return (user + nice + system) * _TICK_S, stolen * _TICK_S


def _of_these(proc: Path, own: Collection[int]) -> float:
    """Seconds that processes and what they started have computed, also those that ended and were waited for."""
    parents: dict[int, int] = {}
    used_s: dict[int, float] = {}
    for entry in proc.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue  # it has ended
        # Its name may have blanks and parentheses in it.
        fields = text[text.rindex(")") + 1 :].split()
        parents[int(entry.name)] = int(fields[1])
        used_s[int(entry.name)] = sum(map(int, fields[11:15])) * _TICK_S
    return sum(seconds for pid, seconds in used_s.items() if _descends(pid, own, parents))


def _descends(pid: int, own: Collection[int], parents: dict[int, int]) -> bool:
    while pid in parents:
        if pid in own:
            return True
        pid = parents[pid]
    return False
