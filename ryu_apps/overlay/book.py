"""The agents that are on the channel, and what waits to be sent to each: only the newest of a kind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection

from vte_agent.protocol.base import Name, Serial
from vte_agent.protocol.frames import BadFrame
from vte_agent.protocol.has import Has

ANSWERS_KEPT = 4
TROUBLE_KEPT_S = 600.0

_MOST_TROUBLES = 1000
_SENT_WITHIN_S = 3.0


@dataclass(eq=False)
class Agent:
    """One connection of one agent. expires_s: when its certificate does, by the wall clock."""

    serial: Serial
    name: Name
    expires_s: float
    connection: ServerConnection
    address: str
    said_hello: bool = False
    has: Has | None = None
    roll: str | None = None
    wanted: Callable[[], str] | None = None
    answers: deque[str] = field(default_factory=lambda: deque(maxlen=ANSWERS_KEPT))
    news: asyncio.Event = field(default_factory=asyncio.Event)
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a message is sent, which may be in pieces."""

    def take_next(self) -> str | None:
        """What is to be sent first: who is out matters more than anything else."""
        if self.roll is not None:
            roll, self.roll = self.roll, None
            return roll
        if self.answers:
            return self.answers.popleft()
        wanted, self.wanted = self.wanted, None
        return wanted() if wanted is not None else None

    async def close(self, code: int, why: str) -> None:
        """End the connection, with the reason.

        One that is closed in the middle of a message hears none; so that is waited for, though not for long.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.sending.acquire(), _SENT_WITHIN_S)
        await self.connection.close(code, why)

    def whole(self, has: Has) -> Has:
        """A report, with what it left out since the one before has said it. Raises BadFrame."""
        try:
            self.has = has.whole(self.has)
        except ValueError as error:
            raise BadFrame(str(error)) from None
        return self.has

    def __str__(self) -> str:
        return f"{self.name} (serial {self.serial})"


class Troubles:
    """What has gone wrong with which agent lately, for whoever asks how things are."""

    def __init__(self) -> None:
        self._of: OrderedDict[Serial, tuple[float, str]] = OrderedDict()

    def note(self, serial: Serial, what: str) -> None:
        """Remember one for ten minutes, the last of each agent."""
        self._of[serial] = time.monotonic(), what
        self._of.move_to_end(serial)
        if len(self._of) > _MOST_TROUBLES:
            self._of.popitem(last=False)

    def forget(self, serial: Serial) -> None:
        """It is no member any more: what went wrong with it is no trouble now."""
        self._of.pop(serial, None)

    def recent(self) -> dict[Serial, str]:
        """Those of the last ten minutes."""
        since_s = time.monotonic() - TROUBLE_KEPT_S
        return {serial: what for serial, (at_s, what) in list(self._of.items()) if at_s >= since_s}
