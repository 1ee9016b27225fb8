"""A packet every millisecond from one host to another, and the longest time that none arrived."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import socket
import threading
import time
from typing import Protocol, Self

from mininet_topos.namespaces import network_of
from mininet_topos.punctual import become_punctual

_PORT = 9077
_STEP_S = 1e-3
_PAYLOAD = bytes(64)


class Ended(Protocol):
    """A host: the process that holds its namespace, and its address."""

    @property
    def pid(self) -> int:
        """The process."""

    @property
    def ip(self) -> str:
        """The address."""


class Stream:
    """The stream while its `with` block runs. One thread sends and receives, so both share a clock."""

    def __init__(self, source: Ended, target: Ended) -> None:
        with network_of(source.pid):
            self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with network_of(target.pid):
            self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in.bind(("", _PORT))
        self._in.setblocking(False)
        self._out.connect((target.ip, _PORT))
        self._ending = threading.Event()
        self._resting = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._arrived_s: list[float] = []
        self._sent_s: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._out.close()
        self._in.close()

    def rest(self) -> None:
        """Send no more, so that all that was sent can arrive."""
        self._resting.set()

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

    @property
    def sent(self) -> int:
        """Packets sent so far."""
        return len(self._sent_s)

    def _run(self) -> None:
        become_punctual()
        next_s = time.monotonic()
        while not self._ending.is_set():
            if not self._resting.is_set():
                self._send()
            next_s += _STEP_S
            time.sleep(max(0.0, next_s - time.monotonic()))
            try:
                while self._in.recv(2048):
                    self._arrived_s.append(time.monotonic())
            except BlockingIOError:
                continue

    def _send(self) -> None:
        self._sent_s.append(time.monotonic())
        with contextlib.suppress(OSError):  # a full queue is a lost packet, which is what is measured
            self._out.send(_PAYLOAD)


def _longest_ms(times_s: list[float], since_s: float, until_s: float) -> float:
    first, after = (bisect.bisect(times_s, at) for at in (since_s, until_s))
    inside = [since_s, *times_s[first:after], until_s]
    return 1e3 * max(later - earlier for earlier, later in itertools.pairwise(inside))
