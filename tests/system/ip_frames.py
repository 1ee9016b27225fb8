"""IPv4 packets with ports, as hosts of a lab send them."""

from __future__ import annotations

import socket
import struct

from mininet_topos.handles import HostHandle
from stitching.match import ICMP, TCP, UDP
from tests.system.frames import frame

IPV4 = 0x0800


def ip_frame(
    source: HostHandle,
    target: HostHandle,
    protocol: int,
    src_port: int = 0,
    dst_port: int = 0,
    *,
    number: int = 0,
    src_ip: str | None = None,
) -> bytes:
    """One packet; number is its identification, by which it is told from others. TCP is a SYN."""
    match protocol:
        case 6:
            body = struct.pack("!HHIIBBHHH", src_port, dst_port, 0, 0, 5 << 4, 2, 1024, 0, 0)
        case 17:
            body = struct.pack("!HHHH", src_port, dst_port, 8, 0)
        case 1:
            body = struct.pack("!BBHHH", 8, 0, 0xF7FF, 0, 0)
        case _:
            body = bytes(8)
    addresses = socket.inet_aton(src_ip or source.ip) + socket.inet_aton(target.ip)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), number, 0, 64, protocol, 0) + addresses
    checksum = _checksum(head)
    return frame(source.mac, target.mac, head[:10] + checksum.to_bytes(2) + head[12:] + body, IPV4)


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "47": 47}
