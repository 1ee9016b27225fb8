"""A flow between two places: a numbered UDP packet every few milliseconds, or as many as fill a line that far.

How long none came, and how many never did, is told from those that came.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from mininet_topos.namespaces import network_of
from mininet_topos.overlay.enclosure import Enclosure
from mininet_topos.overlay.sender import EVERY_S, PACKET, Rate, sending

PORT = 7001
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 35, 33
_NANOSECONDS = struct.Struct("@qq")
_BUFFER_BYTES = 32 << 20


@dataclass(frozen=True)
class Came:
    """One packet of a flow: its number, when the kernel got it, and when it was sent (wall clock)."""

    number: int
    at_s: float
    sent_s: float


class Receiver:
    """What came of a flow. The kernel keeps it with the time it came, so nothing has to be punctual here."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self.came: list[Came] = []

    def read(self) -> list[Came]:
        """All that came until now."""
        while True:
            try:
                data, ancillary, _, _ = self._source.recvmsg(64, 64)
            except BlockingIOError:
                return self.came
            seconds, nanoseconds = _NANOSECONDS.unpack(ancillary[0][2])
            number, sent_s = PACKET.unpack_from(data)
            self.came.append(Came(number, seconds + nanoseconds * 1e-9, sent_s))

    def longest_silence_s(self) -> float:
        """The longest time between two packets that came one after the other."""
        return max((b.at_s - a.at_s for a, b in pairwise(self.read())), default=float("inf"))

    def lost(self) -> int:
        """How many did not come, between the first and the last that did."""
        numbers = {one.number for one in self.read()}
        return max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0

    def forget(self) -> None:
        """Count from here on."""
        self.read()
        self.came.clear()


def listen(pid: int, address: str, port: int = PORT) -> socket.socket:
    """A socket for a flow in the network namespace of a process."""
    with network_of(pid):
        source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    source.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    source.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    source.bind((address, port))
    return source


@contextmanager
def flow(
    sender: Enclosure,
    source: str,
    receiver: Enclosure,
    target: str,
    port: int = PORT,
    environment: Mapping[str, str] | None = None,
    rate: Rate | None = None,
    every_s: float = EVERY_S,
) -> Iterator[Receiver]:
    """A flow that runs as long as the body; source and target are addresses at the two ends."""
    with listen(receiver.pid, target, port) as heard:
        process = sender.start(sending(source, target, port, rate, every_s), environment=environment)
        try:
            yield Receiver(heard)
        finally:
            # With the program that has entered the enclosure for it.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
