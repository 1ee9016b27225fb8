"""A steady stream of UDP between two hosts of the twin bridges, and what of it arrives."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from mininet_topos.namespaces import network_of
from mininet_topos.twin_bridges import TwinHost

FIRST_PORT = 9100
"""The UDP port of flood number 0."""

_SIZE = 1200
_HEADERS = 42


class Flood:
    """UDP at a steady rate into one port of a host, with a DSCP; counts the bytes on the wire that arrive."""

    def __init__(self, source: TwinHost, target: TwinHost, mbps: float, dscp: int, number: int) -> None:
        with network_of(source.pid):
            self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with network_of(target.pid):
            self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._out.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
        self._in.bind(("", FIRST_PORT + number))
        self._in.settimeout(0.1)
        self._out.connect((target.ip, FIRST_PORT + number))
        self._gap_s = (_SIZE + _HEADERS) * 8 / (mbps * 1e6)
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]
        self.received = self.sent = 0

    def __enter__(self) -> Flood:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._out.close()
        self._in.close()

    def mbps(self, during_s: float) -> float:
        """What arrives in that time."""
        before, since_s = self.received, time.monotonic()
        self._ending.wait(during_s)
        return (self.received - before) * (_SIZE + _HEADERS) * 8 / (time.monotonic() - since_s) / 1e6

    def share_of(self, promised_mbps: float, during_s: float) -> float:
        """What arrives in that time of a promise, or of what was sent where a busy machine sends less."""
        sent, received, since_s = self.sent, self.received, time.monotonic()
        self._ending.wait(during_s)
        due = promised_mbps * 1e6 * (time.monotonic() - since_s) / ((_SIZE + _HEADERS) * 8)
        return (self.received - received) / min(self.sent - sent, due)

    def _send(self) -> None:
        next_s = time.monotonic()
        while not self._ending.wait(max(0.0, next_s - time.monotonic())):
            with contextlib.suppress(OSError):
                self._out.send(bytes(_SIZE))
                self.sent += 1
            next_s += self._gap_s

    def _receive(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                self._in.recv(2048)
                self.received += 1
