"""Sends a packet every millisecond and notes what arrives, on one thread, so both share a clock."""

from __future__ import annotations

import socket
import threading
import time
from abc import ABC, abstractmethod
from typing import Self

from mininet_topos.punctual import become_punctual

STEP_S = 1e-3


class Sending(ABC):
    """Packets out of one socket and in by another while the `with` block runs; closes both."""

    def __init__(self, name: str, out: socket.socket, into: socket.socket) -> None:
        into.setblocking(False)
        self._out, self._in = out, into
        self._ending, self._resting = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
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
    def sent(self) -> int:
        """Packets sent so far."""
        return len(self._sent_s)

    @abstractmethod
    def _send(self, now_s: float) -> None:
        """Send the next packet; it is counted as sent behind this."""

    @abstractmethod
    def _arrived(self, data: bytes) -> None:
        """A packet came in."""

    def _run(self) -> None:
        become_punctual()
        next_s = time.monotonic()
        while not self._ending.is_set():
            if not self._resting.is_set():
                now_s = time.monotonic()
                self._send(now_s)
                self._sent_s.append(now_s)
            next_s += STEP_S
            time.sleep(max(0.0, next_s - time.monotonic()))
            try:
                while data := self._in.recv(2048):
                    self._arrived(data)
            except BlockingIOError:
                continue
