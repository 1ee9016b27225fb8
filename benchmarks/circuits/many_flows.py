"""Packets over many stitches in turn, one each millisecond, each with a number of its own: which ones are lost."""

from __future__ import annotations

import itertools
import math
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.support.sending import Sending
from mininet_topos.lab import HostHandle
from mininet_topos.namespaces import network_of

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


class ManyFlows(Sending):
    """The flows while their `with` block runs, all from one host's network card to another's.

    What a host's own protocol stack thinks of such addresses does not matter.
    """

    def __init__(self, source: HostHandle, target: HostHandle, flows: Sequence[Ends]) -> None:
        super().__init__("flows", _card(source, 0), _card(target, _IPV4))
        self._heads = itertools.cycle([_head(ends) for ends in flows])
        self._numbers: set[int] = set()
        self._before_s = math.inf
        self.largest_gap_ms = 0.0

    @property
    def lost_s(self) -> list[float]:
        """When those were sent that have not arrived (monotonic clock)."""
        return [sent_s for number, sent_s in enumerate(self._sent_s) if number not in self._numbers]

    def _send(self, now_s: float) -> None:
        self.largest_gap_ms = max(self.largest_gap_ms, 1e3 * (now_s - self._before_s))
        self._before_s = now_s
        self._out.send(next(self._heads) + _NUMBER.pack(self.sent) + bytes(_PAYLOAD - _NUMBER.size))

    def _arrived(self, data: bytes) -> None:
        if data[23] == _UDP and int.from_bytes(data[36:38], "big") == _PORT:
            self._numbers.add(*_NUMBER.unpack_from(data, _HEADERS))


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
