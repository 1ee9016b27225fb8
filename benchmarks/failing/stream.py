"""A packet every millisecond from one host to another, and the longest time that none arrived."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import socket
import time
from typing import Protocol

from benchmarks.support.sending import Sending
from mininet_topos.namespaces import network_of

_PORT = 9077
_PAYLOAD = bytes(64)


class Ended(Protocol):
    """A host: the process that holds its namespace, and its address."""

    @property
    def pid(self) -> int:
        """The process."""

    @property
    def ip(self) -> str:
        """The address."""


class Stream(Sending):
    """The stream while its `with` block runs."""

    def __init__(self, source: Ended, target: Ended) -> None:
        with network_of(source.pid):
            out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with network_of(target.pid):
            into = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        into.bind(("", _PORT))
        out.connect((target.ip, _PORT))
        super().__init__("stream", out, into)
        self._arrived_s: list[float] = []

    @property
    def arrived(self) -> int:
        """Packets that arrived so far."""
        return len(self._arrived_s)

    @property
    def last_arrived_s(self) -> float:
        """When the last packet so far arrived (monotonic clock)."""
        return self._arrived_s[-1] if self._arrived_s else 0.0

    def silence_ms(self, since_s: float, until_s: float) -> float:
        """The longest time between two arrivals in that stretch (monotonic clock), its borders among them."""
        return _longest_ms(self._arrived_s, since_s, until_s)

    def sender_silence_ms(self, since_s: float, until_s: float) -> float:
        """The longest time between two packets that were sent: so much of a silence may be the sender's own."""
        return _longest_ms(self._sent_s, since_s, until_s)

    def _send(self, _now_s: float) -> None:
        with contextlib.suppress(OSError):  # a full queue is a lost packet, which is what is measured
            self._out.send(_PAYLOAD)

    def _arrived(self, _data: bytes) -> None:
        self._arrived_s.append(time.monotonic())


def _longest_ms(times_s: list[float], since_s: float, until_s: float) -> float:
    first, after = (bisect.bisect(times_s, at) for at in (since_s, until_s))
    inside = [since_s, *times_s[first:after], until_s]
    return 1e3 * max(later - earlier for earlier, later in itertools.pairwise(inside))
