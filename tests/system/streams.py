"""Steady UDP streams between two hosts of a lab, every packet of which is accounted for."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass
from typing import Self

from mininet_topos.handles import HostHandle
from mininet_topos.namespaces import network_of
from tests.system.conftest import eventually

_PORT = 9009
_HEADER_BYTES = 42
"""Ethernet, IPv4 and UDP."""


@dataclass(frozen=True)
class Account:
    """What became of a stream: packets sent, the numbers of those that did not arrive, and doubled ones."""

    sent: int
    lost: tuple[int, ...]
    doubled: int


class Stream:
    """Sends packets at a steady rate from one host to another while its `with` block runs."""

    def __init__(
        self, source: HostHandle, target: HostHandle, packets_per_s: float, frame_bytes: int = 100
    ) -> None:
        with network_of(source.pid):
            self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with network_of(target.pid):
            self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in.bind(("", _PORT))
        self._in.settimeout(0.1)
        self._out.connect((target.ip, _PORT))
        self._gap_s = 1.0 / packets_per_s
        self._padding = bytes(frame_bytes - _HEADER_BYTES - 8)
        self._frame_bytes = frame_bytes
        self._ending = threading.Event()
        self._deaf = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]
        self.sent = 0
        self.arrived: list[int] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._deaf.set()
        for thread in self._threads:
            thread.join()
        self._out.close()
        self._in.close()

    @property
    def sent_bytes(self) -> int:
        """Bytes of the Ethernet frames sent so far."""
        return self.sent * self._frame_bytes

    def end(self, within_s: float = 2.0) -> Account:
        """Stop sending, give the last packets time to arrive, and draw up the account."""
        self._ending.set()
        self._threads[0].join()
        eventually(lambda: len(set(self.arrived)) == self.sent, within_s)
        arrived = set(self.arrived)
        lost = tuple(number for number in range(self.sent) if number not in arrived)
        return Account(self.sent, lost, len(self.arrived) - len(arrived))

    def _send(self) -> None:
        next_s = time.monotonic()
        while not self._ending.wait(max(0.0, next_s - time.monotonic())):
            self._out.send(self.sent.to_bytes(8) + self._padding)
            self.sent += 1
            next_s += self._gap_s

    def _receive(self) -> None:
        while not self._deaf.is_set():
            try:
                self.arrived.append(int.from_bytes(self._in.recv(2048)[:8]))
            except TimeoutError:
                continue
