"""Packets that rules for probes send to the controller: told apart without being decoded."""

from __future__ import annotations

import struct

from os_ken.ofproto import ofproto_v1_3

from stitching import cookie
from stitching.cookie import Kind

_PACKET_IN = struct.Struct("!8xIHBBQHH")
_PADDING = 2


def probe_in(data: bytes | bytearray) -> bytes | None:
    """The frame of a packet-in of one of our rules for probes; None for any other message."""
    if data[1] != ofproto_v1_3.OFPT_PACKET_IN or len(data) < _PACKET_IN.size:
        return None
    _, _, _, _, its_cookie, _, match_length = _PACKET_IN.unpack_from(data)
    if not cookie.is_ours(its_cookie) or cookie.kind_of(its_cookie) != Kind.PROBE:
        return None
    start = _PACKET_IN.size - 4 + (match_length + 7 & ~7) + _PADDING
    return bytes(data[start:])
