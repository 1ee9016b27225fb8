"""What a switch says of its flow entries, cut into parts without decoding what nobody asks for.

os-ken's decoder takes 100 us for an entry. Of those that are counted every period only the numbers change, and a
match that was read once need not be read again.
"""

from __future__ import annotations

import struct
from functools import cached_property
from typing import Any, NamedTuple

from os_ken.exception import OFPTruncatedMessage
from os_ken.ofproto import ofproto_v1_3, ofproto_v1_3_parser

from ryu_apps.wire import decoder_mends

decoder_mends.mend()

_BODY = ofproto_v1_3.OFP_MULTIPART_REPLY_SIZE
_KIND = struct.Struct("!HH")
_ENTRY = struct.Struct("!HBxIIHHHHxxxxQQQ")
_MATCH = struct.Struct("!HH")


_FROM_SWITCHES = frozenset(
    {
        *(ofproto_v1_3.OFPT_HELLO, ofproto_v1_3.OFPT_ERROR, ofproto_v1_3.OFPT_EXPERIMENTER),
        *(ofproto_v1_3.OFPT_ECHO_REQUEST, ofproto_v1_3.OFPT_ECHO_REPLY, ofproto_v1_3.OFPT_BARRIER_REPLY),
        *(ofproto_v1_3.OFPT_FEATURES_REPLY, ofproto_v1_3.OFPT_GET_CONFIG_REPLY, ofproto_v1_3.OFPT_PACKET_IN),
        *(ofproto_v1_3.OFPT_FLOW_REMOVED, ofproto_v1_3.OFPT_PORT_STATUS, ofproto_v1_3.OFPT_MULTIPART_REPLY),
        *(ofproto_v1_3.OFPT_QUEUE_GET_CONFIG_REPLY, ofproto_v1_3.OFPT_ROLE_REPLY),
        ofproto_v1_3.OFPT_GET_ASYNC_REPLY,
    }
)


class Unreadable(ValueError):
    """A message that nobody can decode; says why."""


def message(datapath: Any, header: tuple[int, int, int, int], data: bytearray) -> Any:
    """A message as os-ken decodes it, flow entries aside.

    Raises Unreadable where os-ken cannot: it may be of a kind that it does not know. Raises ValueError or
    OFPTruncatedMessage where lengths do not fit.
    """
    if is_flow_stats(data):
        return OFPFlowStatsReply(datapath, header, data)
    _, kind, length, _ = header
    if kind not in _FROM_SWITCHES:
        raise Unreadable(f"a message of type {kind}, which no switch sends")
    try:
        if kind == ofproto_v1_3.OFPT_HELLO:
            decoder_mends.check_hello(data)
        # Not by os-ken's ofproto_parser.msg(): it writes all of a message it cannot decode to the log.
        return ofproto_v1_3_parser.msg_parser(datapath, *header, data)
    except OFPTruncatedMessage:
        raise
    except Exception as error:  # os-ken's decoder raises anything on bytes it cannot read
        raise Unreadable(f"a message of type {kind} and {length} bytes: {error!r:.200}") from error


class FlowStats(NamedTuple):
    """One flow entry and its counters; match and instructions are as they came, match without its padding."""

    table_id: int
    duration_sec: int
    duration_nsec: int
    priority: int
    idle_timeout: int
    hard_timeout: int
    flags: int
    cookie: int
    packet_count: int
    byte_count: int
    match: bytes
    instructions: bytes


def is_flow_stats(data: bytes | bytearray) -> bool:
    """Whether a message is a part of an answer that lists flow entries."""
    if data[1] != ofproto_v1_3.OFPT_MULTIPART_REPLY or len(data) < _BODY:
        return False
    kind: int = _KIND.unpack_from(data, ofproto_v1_3.OFP_HEADER_SIZE)[0]
    return kind == int(ofproto_v1_3.OFPMP_FLOW)


def flow_stats(data: bytes) -> list[FlowStats]:
    """The entries in one part of the answer. Raises ValueError where the lengths in it do not fit."""
    entries = []
    offset, end = _BODY, len(data)
    while offset < end:
        if end - offset < _ENTRY.size + _MATCH.size:
            raise ValueError(f"{end - offset} bytes are left for a flow entry")
        length, *numbers = _ENTRY.unpack_from(data, offset)
        start = offset + _ENTRY.size
        match_type, match_length = _MATCH.unpack_from(data, start)
        after = start + (match_length + 7 & ~7)
        if match_type != ofproto_v1_3.OFPMT_OXM or match_length < _MATCH.size:
            raise ValueError(f"a match of type {match_type} and {match_length} bytes")
        if not after <= offset + length <= end:
            raise ValueError(f"a flow entry of {length} bytes with a match of {match_length}")
        parts = data[start : start + match_length], data[after : offset + length]
        entries.append(FlowStats._make((*numbers, *parts)))
        offset += length
    return entries


class OFPFlowStatsReply(ofproto_v1_3_parser.OFPFlowStatsReply):  # type: ignore[misc]  # os-ken ships no types
    """The answer as os-ken's apps know it, whose body is decoded when somebody looks; entries are there at once.

    It has the name of os-ken's class, by which os-ken finds the event it is told with.
    """

    def __init__(self, datapath: Any, header: tuple[int, int, int, int], data: bytearray) -> None:
        super().__init__(datapath)
        self.set_headers(*header)
        self.set_buf(data)
        self.type, self.flags = _KIND.unpack_from(data, ofproto_v1_3.OFP_HEADER_SIZE)
        del self.__dict__["body"]  # os-ken puts None there, which would hide the property
        self.entries = flow_stats(self.buf)

    @cached_property
    def body(self) -> list[Any]:
        """All entries as os-ken decodes them."""
        listed: list[Any] = self.parser_stats_body(self.buf, self.msg_len, _BODY)
        return listed
