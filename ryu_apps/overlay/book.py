"""The agents that are on the channel, and what waits to be sent to each: only the newest of a kind."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection

from vte_agent.protocol.base import Name, Serial

ANSWERS_KEPT = 4
TROUBLE_KEPT_S = 600.0

_MOST_TROUBLES = 1000


@dataclass(eq=False)
class Agent:
    """One connection of one agent. expires_s: when its certificate does, by the wall clock."""

    serial: Serial
    name: Name
    expires_s: float
    connection: ServerConnection
    address: str
    said_hello: bool = False
    roll: bytes | None = None
    wanted: bytes | None = None
    answers: deque[bytes] = field(default_factory=lambda: deque(maxlen=ANSWERS_KEPT))
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def take_next(self) -> bytes | None:
        """What is to be sent first: who is out matters more than anything else."""
        if self.roll is not None:
            roll, self.roll = self.roll, None
            return roll
        if self.answers:
            return self.answers.popleft()
        wanted, self.wanted = self.wanted, None
        return wanted

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

    def recent(self) -> dict[Serial, str]:
        """Those of the last ten minutes."""
        since_s = time.monotonic() - TROUBLE_KEPT_S
        return {serial: what for serial, (at_s, what) in list(self._of.items()) if at_s >= since_s}
