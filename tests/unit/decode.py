"""A message of ours as os-ken decodes it, those included that only a controller sends."""

from __future__ import annotations

import struct
from typing import Any

from os_ken.ofproto import ofproto_parser, ofproto_v1_3, ofproto_v1_3_parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from ryu_apps import wire

SWITCH = ProtocolDesc(version=ofproto_v1_3.OFP_VERSION)


def decode(data: bytes) -> Any:
    """The os-ken object of one message."""
    version, kind, length, xid = ofproto_parser.header(data)
    assert length == len(data)
    if kind == ofproto_v1_3.OFPT_GROUP_MOD:
        message = _group_mod(data)
    elif kind == ofproto_v1_3.OFPT_METER_MOD:
        message = _meter_mod(data)
    else:
        return ofproto_parser.msg(SWITCH, version, kind, length, xid, bytearray(data))
    message.set_xid(xid)
    return message


def reported(flow_mod: bytes) -> wire.FlowStats:
    """The entry that a FlowMod puts there, as a switch reports it."""
    cookie, table, idle, hard, priority, flags = struct.unpack_from("!Q8xBxHHH12xH", flow_mod, 8)
    (match_length,) = struct.unpack_from("!H", flow_mod, 50)
    match, does = flow_mod[48 : 48 + match_length], flow_mod[48 + (match_length + 7 & ~7) :]
    return wire.FlowStats(table, 0, 0, priority, idle, hard, flags, cookie, 0, 0, match, does)


def _group_mod(data: bytes) -> Any:
    command, kind, group_id = struct.unpack_from("!HBxI", data, 8)
    buckets, offset = [], 16
    while offset < len(data):
        buckets.append(ofproto_v1_3_parser.OFPBucket.parser(data, offset))
        offset += buckets[-1].len
    return ofproto_v1_3_parser.OFPGroupMod(SWITCH, command, kind, group_id, buckets)


def _meter_mod(data: bytes) -> Any:
    command, flags, meter_id = struct.unpack_from("!HHI", data, 8)
    bands, offset = [], 16
    while offset < len(data):
        bands.append(ofproto_v1_3_parser.OFPMeterBandHeader.parser(data, offset))
        offset += bands[-1].len
    return ofproto_v1_3_parser.OFPMeterMod(SWITCH, command, flags, meter_id, bands)
