"""Sends UDP packets that are longer than their device's MTU: how else would one know that longer ones pass again?

The kernel refuses such a packet but at a packet socket (packet(7)) that says it is to be cut into segments. As
these would be longer than the packet is, it is cut into none, and goes into the tunnel as it is.
"""

from __future__ import annotations

import contextlib
import socket
import struct

from vte_agent.probing.sockets import Address, ProbeFailed, cannot

_SOL_PACKET, _PACKET_VNET_HDR = 263, 15
_ETHERNET = 1
_TO_BE_CUT = struct.pack("=BBHHHH", 0, 3, 0, 0xFF00, 0, 0)
"""A virtio_net_hdr: UDP, in segments of 65,280 bytes."""

_IP, _IPV6 = 0x0800, 0x86DD
_UDP, _TTL = 17, 255
_WHOLE = 0x4000

HEADER_BYTES = {4: 28, 6: 48}
"""IP and UDP."""


class LongPackets:
    """From one port of this end of a tunnel to the same port of the other. Raises ProbeFailed.

    far_link: the link address of the other end, where the device has such.
    """

    def __init__(self, device: str, ends: tuple[Address, Address], port: int, far_link: bytes) -> None:
        self._ends, self._port = ends, port
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        except OSError as error:
            raise ProbeFailed(cannot("send long packets", error)) from error
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
            self._socket.bind((device, 0))
        except OSError as error:
            self._socket.close()
            raise ProbeFailed(cannot(f"send long packets through {device}", error, "Is the device up?")) from error
        kind, near_link = self._socket.getsockname()[3:5]
        self._protocol = _IP if ends[0].version == 4 else _IPV6
        link = far_link + near_link + struct.pack("!H", self._protocol) if kind == _ETHERNET else b""
        self._head = _TO_BE_CUT + link
        self._to = device, self._protocol, 0, 0, far_link

    def send(self, data: bytes) -> None:
        """Send, or not: what cannot be sent is not answered."""
        with contextlib.suppress(OSError):
            self._socket.sendto(self._head + packet(*self._ends, self._port, data), self._to)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def packet(source: Address, target: Address, port: int, data: bytes) -> bytes:
    """An IP packet that is not to be fragmented (RFC 791, 8200), with UDP from a port to the same (RFC 768)."""
    length = 8 + len(data)
    ends = source.packed + target.packed
    # The pseudo header of IPv6 has another form than that of IPv4, and the same sum.
    checksum = _checksum(ends + struct.pack("!HHHHHH", _UDP, length, port, port, length, 0) + data) or 0xFFFF
    udp = struct.pack("!HHHH", port, port, length, checksum) + data
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, length, _UDP, _TTL) + ends + udp
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + length, 0, _WHOLE, _TTL, _UDP)
    return head + struct.pack("!H", _checksum(head + bytes(2) + ends)) + ends + udp


def _checksum(data: bytes) -> int:
    """The internet's (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    # 65536 is 1 modulo 65535: the sum of all words is the number that they are, modulo that.
    total = int.from_bytes(padded) % 0xFFFF
    return 0xFFFF - total
