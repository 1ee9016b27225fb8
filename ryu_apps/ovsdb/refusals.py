"""Which OVSDB servers have refused a change lately: they are left alone for a while, for longer each time.

One that is read-only, or does not let us, refuses whatever it is asked; the next try has to wait for more than its
answer, or the two would keep each other busy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LEAST_S, MOST_S = 1.0, 60.0
"""How long the first pause is, and the longest."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    reason: str
    pause_s: float
    until_s: float


class Refusals:
    """What was refused, by server. Times are of one monotonic clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refusals: dict[str, _Refusal] = {}

    def __bool__(self) -> bool:
        """Whether any server has refused anything lately."""
        return bool(self._refusals)

    def add(self, remote: str, reason: str) -> None:
        """A server has refused a change."""
        now_s, before = self._clock(), self._refusals.get(remote)
        pause_s = LEAST_S
        if before is not None and now_s < before.until_s + MOST_S:
            # What was asked before it refused for the first time says nothing new.
            pause_s = before.pause_s if now_s < before.until_s else min(MOST_S, 2 * before.pause_s)
        self._refusals[remote] = _Refusal(reason, pause_s, now_s + pause_s)

    def forget(self, remote: str) -> None:
        """A server came or went: it may be another one."""
        self._refusals.pop(remote, None)

    def why(self, remote: str) -> str:
        """Why a server is left alone now; "" where it is not."""
        refusal = self._refusals.get(remote)
        return refusal.reason if refusal is not None and self._clock() < refusal.until_s else ""
