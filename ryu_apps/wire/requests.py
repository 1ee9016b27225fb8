"""The messages that ask a switch something, fence what was sent, or send a packet."""

from __future__ import annotations

import struct

from ryu_apps.wire.fields import encode_match
from ryu_apps.wire.flows import output
from stitching.cookie import OURS, OWNER_MASK
from stitching.match import Match

_VERSION = 4
_PACKET_OUT, _MULTIPART, _BARRIER = 13, 18, 20
_FLOW_STATS, _AGGREGATE, _GROUP_DESC, _METER_CONFIG = 1, 2, 7, 10
_NO_BUFFER = _ANY = 0xFFFFFFFF
_ALL_TABLES = 0xFF
_HEADER = struct.Struct("!BBHI")
_MULTIPART_HEADER = struct.Struct("!BBHIHHxxxx")


def barrier(xid: int) -> bytes:
    """A barrier request."""
    return _HEADER.pack(_VERSION, _BARRIER, _HEADER.size, xid)


def our_flows(xid: int, cookie: int = OURS, mask: int = OWNER_MASK, table: int = _ALL_TABLES) -> bytes:
    """A request for the flow entries of ours, with their counters."""
    return (
        _MULTIPART_HEADER.pack(_VERSION, _MULTIPART, 56, xid, _FLOW_STATS, 0)
        + struct.pack("!BxxxIIxxxxQQ", table, _ANY, _ANY, cookie, mask)
        + encode_match(Match())
    )


def rule_count(xid: int, cookie: int = 0, mask: int = 0) -> bytes:
    """A request for how many flow entries there are, whoever they belong to; with a mask, those of a cookie."""
    return (
        _MULTIPART_HEADER.pack(_VERSION, _MULTIPART, 56, xid, _AGGREGATE, 0)
        + struct.pack("!BxxxIIxxxxQQ", _ALL_TABLES, _ANY, _ANY, cookie, mask)
        + encode_match(Match())
    )


def groups(xid: int) -> bytes:
    """A request for what all groups are made of."""
    return _MULTIPART_HEADER.pack(_VERSION, _MULTIPART, 16, xid, _GROUP_DESC, 0)


def meters(xid: int) -> bytes:
    """A request for what all meters do."""
    head = _MULTIPART_HEADER.pack(_VERSION, _MULTIPART, 24, xid, _METER_CONFIG, 0)
    return head + struct.pack("!Ixxxx", _ANY)


def packet_out(data: bytes, *, in_port: int, out_ports: tuple[int, ...], xid: int = 0) -> bytes:
    """Send a frame out of these ports; OFPP_TABLE among them: through the tables, as if it came by in_port."""
    actions = b"".join(output(port) for port in out_ports)
    length = 24 + len(actions) + len(data)
    head = struct.pack("!BBHIIIHxxxxxx", _VERSION, _PACKET_OUT, length, xid, _NO_BUFFER, in_port, len(actions))
    return head + actions + data
