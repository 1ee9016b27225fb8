"""Frames with VLAN tags (IEEE 802.1Q), as hosts of a lab send and hear them."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from mininet_topos.handles import HostHandle
from mininet_topos.namespaces import network_of

_SOL_PACKET, _PACKET_AUXDATA = 263, 8
_AUXDATA = struct.Struct("=IIIHHHH")
_VLAN_VALID = 1 << 4
_EVERYTHING = 3


def tagged(data: bytes, *vids: int) -> bytes:
    """A frame with these tags around what it carries, the outermost first."""
    return data[:12] + b"".join(struct.pack("!HH", 0x8100, vid) for vid in vids) + data[12:]


class Heard(NamedTuple):
    """A frame that came in: the VLAN id of its outermost tag (None without one), and the rest of it."""

    vid: int | None
    data: bytes


class TagEar:
    """Hears frames from one MAC with the tags they have, which the kernel takes off on the way to a socket."""

    def __init__(self, host: HostHandle, source: str) -> None:
        self._source = bytes.fromhex(source.replace(":", ""))
        with network_of(host.pid):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERYTHING))
        self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self._socket.bind(("eth0", _EVERYTHING))
        self._socket.setblocking(False)
        self.heard: list[Heard] = []

    def listen(self) -> list[Heard]:
        """All that came in so far."""
        while True:
            try:
                data, more, _, address = self._socket.recvmsg(2048, 256)
            except BlockingIOError:
                return self.heard
            if address[2] != socket.PACKET_OUTGOING and data[6:12] == self._source:
                self.heard.append(Heard(_vid_of(more), data))

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


def _vid_of(more: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in more:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, *_, tci, _tpid = _AUXDATA.unpack_from(data)
            return tci & 0xFFF if status & _VLAN_VALID else None
    return None
