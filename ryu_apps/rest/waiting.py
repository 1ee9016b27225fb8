"""Waits for stitches: one question to the app that has them answers everybody who waits."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stitching.stitch import State, Stitch

log = logging.getLogger("lockstitch.rest")

ON_THE_WAY = frozenset({State.REQUESTED, State.ESTABLISHING, State.ADJUSTING})
CONFIRMED = frozenset({State.UP, State.DEGRADED})
"""The data plane carries it: a probe has crossed it."""

_FIRST_POLL_S = 0.005
_LAST_POLL_S = 0.02
_LOOK_AT_ALL = 10
"""Each so many times those on the way are asked for too: who gives up waiting is told how far it got."""

Ask = Callable[[frozenset[int], frozenset[State]], Iterable[Stitch]]
"""Gives the stitches of these numbers that are in none of these states."""


@dataclass(eq=False)
class _Waiter:
    """Somebody who waits until all of these are on the way no more."""

    numbers: set[int]
    done: asyncio.Future[None]


class Waiting:
    """Those who wait for stitches to be on the way no more. For one event loop at a time."""

    def __init__(self) -> None:
        self._seen: dict[int, Stitch] = {}
        self._waiters: dict[int, list[_Waiter]] = {}
        self._poll_s = _FIRST_POLL_S
        self._thread = ThreadPoolExecutor(1, "rest-waiting")
        self._polling: asyncio.Task[None] | None = None

    async def settled(self, ask: Ask, stitches: Sequence[Stitch], wait_s: float) -> list[Stitch]:
        """These stitches once they are on the way no more, or as they were last seen when the time is over.

        ask is called in a thread of its own.
        """
        on_the_way = {stitch.id: stitch for stitch in stitches if stitch.state in ON_THE_WAY}
        if wait_s <= 0 or not on_the_way:
            return list(stitches)
        waiter = _Waiter(set(on_the_way), asyncio.get_running_loop().create_future())
        for number, stitch in on_the_way.items():
            self._waiters.setdefault(number, []).append(waiter)
            self._seen[number] = stitch
        self._poll_s = _FIRST_POLL_S
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll(ask))
        try:
            async with asyncio.timeout(wait_s):
                await waiter.done
        except TimeoutError:
            pass
        finally:
            seen = {number: self._seen[number] for number in on_the_way}
            for number in on_the_way:
                self._leave(number, waiter)
        return [seen.get(stitch.id, stitch) for stitch in stitches]

    async def one_settled(self, ask: Ask, stitch: Stitch, wait_s: float) -> Stitch:
        """The same for one."""
        (seen,) = await self.settled(ask, [stitch], wait_s)
        return seen

    def _leave(self, number: int, waiter: _Waiter) -> None:
        waiters = self._waiters[number]
        waiters.remove(waiter)
        if not waiters:
            del self._waiters[number]
            del self._seen[number]

    async def _poll(self, ask: Ask) -> None:
        loop = asyncio.get_running_loop()
        for turn in itertools.count(1):
            await asyncio.sleep(self._poll_s)
            if not self._waiters:
                return
            self._poll_s = min(2 * self._poll_s, _LAST_POLL_S)
            but = ON_THE_WAY if turn % _LOOK_AT_ALL else frozenset()
            try:
                stitches = await loop.run_in_executor(self._thread, ask, self._open(), but)
            except Exception as error:  # noqa: BLE001  # it may be over the next time
                # The stitches exist: who waits is told so, as far as they got, and not that something was late.
                log.info("waiting=not_answered error=%s", type(error).__name__)
                continue
            for stitch in stitches:
                self._saw(stitch)

    def _open(self) -> frozenset[int]:
        """Those that were not seen to have settled."""
        return frozenset(number for number in self._waiters if self._seen[number].state in ON_THE_WAY)

    def _saw(self, stitch: Stitch) -> None:
        waiters = self._waiters.get(stitch.id)
        if waiters is None:
            return
        self._seen[stitch.id] = stitch
        if stitch.state in ON_THE_WAY:
            return
        for waiter in waiters:
            waiter.numbers.discard(stitch.id)
            if not waiter.numbers and not waiter.done.done():
                waiter.done.set_result(None)
