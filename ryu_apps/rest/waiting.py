"""Waits for stitches: one question to the app that has them answers everybody who waits."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

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


class Waiting:
    """Those who wait for a stitch to be on the way no more. For one event loop at a time."""

    def __init__(self) -> None:
        self._seen: dict[int, Stitch] = {}
        self._waiters: dict[int, list[asyncio.Future[None]]] = {}
        self._poll_s = _FIRST_POLL_S
        self._thread = ThreadPoolExecutor(1, "rest-waiting")
        self._polling: asyncio.Task[None] | None = None

    async def settled(self, ask: Ask, stitch: Stitch, wait_s: float) -> Stitch:
        """The stitch once it is on the way no more, or as it was last seen when the time is over.

        ask is called in a thread of its own.
        """
        if wait_s <= 0 or stitch.state not in ON_THE_WAY:
            return stitch
        done = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(stitch.id, []).append(done)
        self._seen.setdefault(stitch.id, stitch)
        self._poll_s = _FIRST_POLL_S
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll(ask))
        try:
            async with asyncio.timeout(wait_s):
                await done
        except TimeoutError:
            pass
        finally:
            seen = self._seen[stitch.id]
            self._leave(stitch.id, done)
        return seen

    def _leave(self, number: int, done: asyncio.Future[None]) -> None:
        waiters = self._waiters.get(number, [])
        if done in waiters:
            waiters.remove(done)
        if not waiters:
            self._waiters.pop(number, None)
            self._seen.pop(number, None)

    async def _poll(self, ask: Ask) -> None:
        loop = asyncio.get_running_loop()
        for number in itertools.count(1):
            await asyncio.sleep(self._poll_s)
            if not self._waiters:
                return
            self._poll_s = min(2 * self._poll_s, _LAST_POLL_S)
            but = ON_THE_WAY if number % _LOOK_AT_ALL else frozenset()
            try:
                stitches = await loop.run_in_executor(self._thread, ask, frozenset(self._waiters), but)
            except Exception as error:  # noqa: BLE001  # it may be over the next time
                # The stitches exist: who waits is told so, as far as they got, and not that something was late.
                log.info("waiting=not_answered error=%s", type(error).__name__)
                continue
            for stitch in stitches:
                if stitch.id in self._waiters:
                    self._seen[stitch.id] = stitch
                    if stitch.state not in ON_THE_WAY:
                        for done in self._waiters[stitch.id]:
                            if not done.done():
                                done.set_result(None)
