"""Frames as hosts of a lab send and receive them, byte by byte."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from mininet_topos.handles import HostHandle
from mininet_topos.namespaces import network_of

BROADCAST = "ff:ff:ff:ff:ff:ff"
LLDP = 0x88CC
ARP = 0x0806
TEST = 0x88B6
"""IEEE 802, local experimental 2: nobody else sends this."""

_FRAME_MAX = 2048
_HOST = socket.AF_PACKET, socket.SOCK_RAW


def raw(mac: str) -> bytes:
    """The bytes of a MAC."""
    return bytes.fromhex(mac.replace(":", ""))


def frame(source: str, target: str, payload: bytes = b"", eth_type: int = TEST) -> bytes:
    """An Ethernet frame between two MACs."""
    return (raw(target) + raw(source) + eth_type.to_bytes(2) + payload).ljust(60, b"\0")


def arp_request(mac: str, ip: str, wanted_ip: str) -> bytes:
    """Who has wanted_ip? Tell ip, which is at mac (RFC 826)."""
    head = bytes.fromhex("0001080006040001")
    body = head + raw(mac) + socket.inet_aton(ip) + bytes(6) + socket.inet_aton(wanted_ip)
    return frame(mac, BROADCAST, body, ARP)


def announce(host: HostHandle) -> None:
    """Let a host say who and where it is."""
    send(host, arp_request(host.mac, host.ip, host.ip))


def send(host: HostHandle, *frames: bytes) -> None:
    """Send frames from a host, whatever their source says."""
    with network_of(host.pid):
        nic = socket.socket(*_HOST, 0)
    with nic:
        nic.bind(("eth0", 0))
        for one in frames:
            nic.send(one)


class Ear:
    """Hears the frames of one Ethernet type that come in at a host, for whomever they are."""

    def __init__(self, host: HostHandle, eth_type: int = TEST) -> None:
        with network_of(host.pid):
            self._socket = socket.socket(*_HOST, socket.htons(eth_type))
        self._socket.bind(("eth0", eth_type))
        self._socket.setblocking(False)
        self.heard: list[bytes] = []

    def listen(self) -> list[bytes]:
        """All that came in so far."""
        while True:
            try:
                data, address = self._socket.recvfrom(_FRAME_MAX)
            except BlockingIOError:
                return self.heard
            if address[2] != socket.PACKET_OUTGOING:
                self.heard.append(data)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@contextmanager
def ears(*hosts: HostHandle, eth_type: int = TEST) -> Iterator[dict[str, Ear]]:
    """An ear at each host, by the host's name."""
    with ExitStack() as stack:
        heard = {}
        for host in hosts:
            heard[host.name] = Ear(host, eth_type)
            stack.callback(heard[host.name].close)
        yield heard


def settle(heard: dict[str, Ear], quiet_s: float = 0.2) -> dict[str, int]:
    """How many frames each ear has heard once nothing new comes for quiet_s (two seconds at most)."""
    give_up_s = time.monotonic() + 2.0
    counts = {name: len(ear.listen()) for name, ear in heard.items()}
    changed_s = time.monotonic()
    while time.monotonic() < min(changed_s + quiet_s, give_up_s):
        time.sleep(0.01)
        now = {name: len(ear.listen()) for name, ear in heard.items()}
        if now != counts:
            counts, changed_s = now, time.monotonic()
    return counts
