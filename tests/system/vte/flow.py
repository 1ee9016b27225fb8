"""A UDP packet with a number every 5 ms from one site to the other, and how long none came."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise

from mininet_topos.punctual import become_punctual
from tests.system.vte.two_sites import Site, open_in

EVERY_S = 0.005
PORT = 7001
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 35, 33


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
            seconds, nanoseconds = struct.unpack("@qq", ancillary[0][2])
            number, sent_s = struct.unpack("!Id", data)
            self.came.append(Came(number, seconds + nanoseconds * 1e-9, sent_s))

    def longest_silence_s(self) -> float:
        """The longest time between two packets that came one after the other."""
        came = self.read()
        return max((b.at_s - a.at_s for a, b in pairwise(came)), default=float("inf"))

    def forget(self) -> None:
        self.read()
        self.came.clear()


@contextmanager
def flow(sender: Site, receiver: Site, port: int = PORT) -> Iterator[Receiver]:
    """A flow that runs as long as the body."""

    def made() -> socket.socket:
        source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        source.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 32 << 20)
        source.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        source.bind((receiver.host, port))
        return source

    words = [sys.executable, "-m", "tests.system.vte.flow", sender.host, receiver.host, str(port)]
    with open_in(receiver, made) as source:
        process = subprocess.Popen(["ip", "netns", "exec", sender.namespace, *words])
        try:
            yield Receiver(source)
        finally:
            process.kill()
            process.wait(10)


def main() -> None:
    """Send for ever."""
    here, there, port = sys.argv[1:]
    become_punctual()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind((here, 0))
        number, due_s = 0, time.monotonic()
        while True:
            # Where there is no way, that is to be seen in what came.
            with suppress(OSError):
                target.sendto(struct.pack("!Id", number, time.time()), (there, int(port)))
            number += 1
            due_s += EVERY_S
            time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main()
