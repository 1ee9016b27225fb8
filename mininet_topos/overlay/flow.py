"""A steady flow between two places: a numbered UDP packet every few milliseconds, and how long none came."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

from mininet_topos.namespaces import network_of
from mininet_topos.overlay.enclosure import Enclosure
from mininet_topos.punctual import become_punctual

PORT = 7001
_PACKET = struct.Struct("!I")
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 35, 33
_NANOSECONDS = struct.Struct("@qq")


@dataclass(frozen=True)
class Passage:
    """What came of a stretch of a flow. lost counts packets between the first and the last one that came."""

    came: int
    lost: int
    longest_silence_ms: float


class Flow:
    """Runs while its `with` block does. source and target are addresses at the two ends."""

    def __init__(
        self,
        sender: Enclosure,
        source: str,
        receiver: Enclosure,
        target: str,
        *,
        every_ms: float = 5.0,
        port: int = PORT,
    ) -> None:
        self._sender, self._receiver = sender, receiver
        self._words = [source, target, str(port), str(every_ms)]
        self._address = target, port
        self._came: list[tuple[int, float]] = []
        self._begun = 0

    def __enter__(self) -> Self:
        with network_of(self._receiver.pid):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 32 << 20)
            # The kernel says when each came: nothing has to be punctual here.
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._socket.bind(self._address)
            program = [sys.executable, "-m", "mininet_topos.overlay.flow", *self._words]
            self._process = self._sender.start(program)
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._socket.close()

    def begin(self) -> None:
        """From here on is the next stretch."""
        self._read()
        self._begun = len(self._came)

    def passage(self) -> Passage:
        """The stretch since `begin`, up to now."""
        self._read()
        stretch = self._came[max(0, self._begun - 1) :]
        if len(stretch) < 2:
            return Passage(len(stretch), 0, float("inf"))
        numbers = {number for number, _ in stretch}
        silence_s = max(after - before for (_, before), (_, after) in pairwise(stretch))
        return Passage(len(stretch), max(numbers) - min(numbers) + 1 - len(numbers), 1e3 * silence_s)

    def _read(self) -> None:
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(64, 64)
            except BlockingIOError:
                return
            seconds, nanoseconds = _NANOSECONDS.unpack(ancillary[0][2])
            self._came.append((_PACKET.unpack(data)[0], seconds + nanoseconds * 1e-9))


def main() -> None:
    """Send for ever: SOURCE TARGET PORT EVERY_MS."""
    source, target, port, every_ms = sys.argv[1:]
    become_punctual()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((source, 0))
        number, due_s = 0, time.monotonic()
        while True:
            # Where there is no way, that is to be seen in what came.
            with contextlib.suppress(OSError):
                link.sendto(_PACKET.pack(number), (target, int(port)))
            number += 1
            due_s += float(every_ms) / 1e3
            time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main()
