"""Which watches are due: found by what is due, however many there are."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Generator

from ryu_apps.stitches.watch import Watch


class DueLine:
    """The watches by when their next probes are due. `put` after every change of one, or it is not found."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int]] = []
        self._queued: dict[int, tuple[float, int]] = {}
        self._counted: dict[int, tuple[bool, int]] = {}
        self._restless: dict[int, None] = {}
        self._count = itertools.count()
        self.weights = {True: 0, False: 0}
        """How many probes those that are proven send at a time, and those that are not."""

    def put(self, number: int, watch: Watch) -> None:
        """A watch is new, or is not as it was."""
        self._recount(number, (watch.proven, watch.weight))
        if watch.is_restless:
            self._restless[number] = None
        else:
            self._restless.pop(number, None)
        known = self._queued.get(number)
        if known is None or known[0] != watch.next_s:
            turn = next(self._count)
            self._queued[number] = watch.next_s, turn
            heapq.heappush(self._heap, (watch.next_s, turn, number))

    def drop(self, number: int) -> None:
        """There is no watch of this number any more."""
        self._recount(number, None)
        self._queued.pop(number, None)
        self._restless.pop(number, None)

    def due(self, now_s: float) -> Generator[int, None, None]:
        """Those that are due, who has waited longest first; behind them those that have to be looked at anyway.

        Each once. One that is given is to be put, or dropped, before the next one; who stops early closes it.
        """
        looked_at, again = set[int](), []
        try:
            while self._heap and self._heap[0][0] <= now_s:
                entry = next_s, turn, number = heapq.heappop(self._heap)
                if self._queued.get(number) != (next_s, turn):
                    continue
                if number in looked_at:
                    again.append(entry)
                    continue
                del self._queued[number]
                looked_at.add(number)
                yield number
            yield from [number for number in self._restless if number not in looked_at]
        finally:
            for entry in again:
                heapq.heappush(self._heap, entry)

    def _recount(self, number: int, now: tuple[bool, int] | None) -> None:
        before = self._counted.pop(number, None)
        if before is not None:
            self.weights[before[0]] -= before[1]
        if now is not None:
            self.weights[now[0]] += now[1]
            self._counted[number] = now
