"""Packets over many stitches in turn, one each millisecond, each with a number of its own: which ones are lost."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from mininet_topos.lab import HostHandle
from mininet_topos.namespaces import network_of
from mininet_topos.punctual import become_punctual

STEP_S = 1e-3
_PORT = 9078
_IPV4, _UDP = 0x0800, 17
_HEADERS = 14 + 20 + 8
_NUMBER = struct.Struct("!I")
_PAYLOAD = 64


@dataclass(frozen=True)
class Ends:
    """Who a flow is from and to: Ethernet and IPv4 addresses."""

    source_mac: str
    source_ip: str
    target_mac: str
    target_ip: str


class ManyFlows:
    """The flows while their `with` block runs, all from one host's network card to another's.

    One thread sends and receives; what a host's own protocol stack thinks of such addresses does not matter.
    """

    def __init__(self, source: HostHandle, target: HostHandle, flows: Sequence[Ends]) -> None:
        self._heads = [_head(ends) for ends in flows]
        self._out, self._in = _card(source, 0), _card(target, _IPV4)
        self._in.setblocking(False)
        self._ending, self._resting = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="flows", daemon=True)
        self._sent_s: list[float] = []
        self._arrived: set[int] = set()
        self.largest_gap_ms = 0.0

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
        """Packets that were sent."""
        return len(self._sent_s)

    @property
    def lost_s(self) -> list[float]:
        """When those were sent that have not arrived (monotonic clock)."""
        return [sent_s for number, sent_s in enumerate(self._sent_s) if number not in self._arrived]

    def _run(self) -> None:
        become_punctual()
        heads = itertools.cycle(self._heads)
        next_s = before_s = time.monotonic()
        while not self._ending.is_set():
            if not self._resting.is_set():
                now_s = time.monotonic()
                self.largest_gap_ms = max(self.largest_gap_ms, 1e3 * (now_s - before_s))
                before_s = now_s
                self._out.send(next(heads) + _NUMBER.pack(self.sent) + bytes(_PAYLOAD - _NUMBER.size))
                self._sent_s.append(now_s)
            self._receive()
            next_s += STEP_S
            time.sleep(max(0.0, next_s - time.monotonic()))

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = self._in.recv(2048)
                if frame[23] == _UDP and int.from_bytes(frame[36:38], "big") == _PORT:
                    self._arrived.add(*_NUMBER.unpack_from(frame, _HEADERS))


def _card(host: HostHandle, ethertype: int) -> socket.socket:
    with network_of(host.pid):
        card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    card.bind(("eth0", ethertype))
    return card


def _head(ends: Ends) -> bytes:
    """Ethernet, IPv4 and UDP headers (the latter without a checksum, which IPv4 allows)."""
    macs = bytes.fromhex((ends.target_mac + ends.source_mac).replace(":", ""))
    addresses = socket.inet_aton(ends.source_ip) + socket.inet_aton(ends.target_ip)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 28 + _PAYLOAD, 0, 0, 64, _UDP, 0) + addresses
    udp = struct.pack("!HHHH", _PORT, _PORT, 8 + _PAYLOAD, 0)
    return macs + _IPV4.to_bytes(2) + ip[:10] + _checksum(ip).to_bytes(2) + ip[12:] + udp


def _checksum(header: bytes) -> int:
    """The Internet checksum (RFC 1071) of a header with an even length."""
    total = sum(int.from_bytes(header[place : place + 2], "big") for place in range(0, len(header), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
