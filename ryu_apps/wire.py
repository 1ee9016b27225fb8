"""Flow rules to OpenFlow 1.3 bytes and back.

os-ken's encoder makes some 13,000 FlowMods a second and would be the limit of the installer; these few structs
make ten times as many. The tests hold every byte against os-ken's decoder.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

from stitching.cookie import OURS, OWNER_MASK
from stitching.match import Match
from stitching.rules import FlowRule, Output

_VERSION = 4
_FLOW_MOD, _PACKET_OUT, _MULTIPART, _BARRIER = 14, 13, 18, 20
_FLOW_STATS = 1
_ADD, _DELETE_STRICT = 0, 4
_NO_BUFFER = _ANY = 0xFFFFFFFF
_ALL_TABLES = 0xFF
_GOTO, _APPLY = 1, 4

_FLOW_MOD_HEAD = struct.Struct("!BBHIQQBBHHHIIIHxx")
_OUTPUT = struct.Struct("!HHIHxxxxxx")
_HEADER = struct.Struct("!BBHI")

# OXM header of the openflow-basic class: field, and whether it has a mask.
_BASIC = 0x8000
_FIELDS: tuple[tuple[str, int, int], ...] = (
    ("in_port", 0, 4),
    ("eth_dst", 3, 6),
    ("eth_src", 4, 6),
    ("eth_type", 5, 2),
    ("ip_proto", 10, 1),
    ("icmpv6_type", 29, 1),
)


def flow_mod(rule: FlowRule, xid: int, *, remove: bool = False) -> bytes:
    """The message that adds a rule, or removes it strictly and only where it is ours."""
    body = _match(rule.match)
    if not remove:
        body += _instructions(rule.actions, rule.goto)
    head = _FLOW_MOD_HEAD.pack(
        _VERSION,
        _FLOW_MOD,
        _FLOW_MOD_HEAD.size + len(body),
        xid,
        rule.cookie,
        OWNER_MASK if remove else 0,
        rule.table,
        _DELETE_STRICT if remove else _ADD,
        0,
        0,
        rule.priority,
        _NO_BUFFER,
        _ANY,
        _ANY,
        0,
    )
    return head + body


def barrier(xid: int) -> bytes:
    """A barrier request."""
    return _HEADER.pack(_VERSION, _BARRIER, _HEADER.size, xid)


def our_flows(xid: int, cookie: int = OURS, mask: int = OWNER_MASK) -> bytes:
    """A request for the flow entries of ours, with their counters."""
    return (
        struct.pack("!BBHIHHxxxx", _VERSION, _MULTIPART, 56, xid, _FLOW_STATS, 0)
        + struct.pack("!BxxxIIxxxxQQ", _ALL_TABLES, _ANY, _ANY, cookie, mask)
        + _match(Match())
    )


def packet_out(data: bytes, *, in_port: int, out_ports: tuple[int, ...], xid: int = 0) -> bytes:
    """Send a frame out of these ports; OFPP_TABLE among them: through the tables, as if it came by in_port."""
    actions = b"".join(_OUTPUT.pack(0, 16, port, 0) for port in out_ports)
    length = 24 + len(actions) + len(data)
    head = struct.pack("!BBHIIIHxxxxxx", _VERSION, _PACKET_OUT, length, xid, _NO_BUFFER, in_port, len(actions))
    return head + actions + data


def read_flow(stats: Any) -> FlowRule | None:
    """A flow entry that a switch reported (os-ken's OFPFlowStats) as a rule.

    An entry that does more than our rules can say comes back with cookie 0, so it equals none of them. None where
    its match cannot be said at all: it is none of ours, whatever its cookie.
    """
    match = _read_match(stats.match)
    if match is None:
        return None
    actions: list[Output] = []
    goto: int | None = None
    plain = not stats.idle_timeout and not stats.hard_timeout
    for instruction in stats.instructions:
        if instruction.type == _GOTO:
            goto = instruction.table_id
        elif instruction.type == _APPLY and all(action.type == 0 for action in instruction.actions):
            actions += [_read_output(action) for action in instruction.actions]
        else:
            plain = False
    cookie = stats.cookie if plain else 0
    return FlowRule(stats.table_id, stats.priority, match, tuple(actions), goto, cookie)


def _read_output(action: Any) -> Output:
    # A length is only meaningful towards the controller; switches report what they like for other ports.
    return Output(action.port, action.max_len if action.port == 0xFFFFFFFD else 0)


def _read_match(match: Any) -> Match | None:
    fields: dict[str, Any] = {}
    known = {name for name, _, _ in _FIELDS}
    for name, value in match.items():
        if name not in known:
            return None
        if isinstance(value, tuple):
            if name != "eth_dst":
                return None
            fields["eth_dst"], fields["eth_dst_mask"] = value
        else:
            fields[name] = value
    return Match(**fields)


@lru_cache(maxsize=1 << 15)
def _match(match: Match) -> bytes:
    oxm = b""
    for name, number, width in _FIELDS:
        value = getattr(match, name)
        if value is None:
            continue
        data = _address(value) if width == 6 else value.to_bytes(width, "big")
        mask = _address(match.eth_dst_mask) if name == "eth_dst" and match.eth_dst_mask else b""
        oxm += struct.pack("!HBB", _BASIC, number << 1 | bool(mask), width + len(mask)) + data + mask
    length = 4 + len(oxm)
    return struct.pack("!HH", 1, length) + oxm + bytes(-length % 8)


@lru_cache(maxsize=1 << 12)
def _instructions(actions: tuple[Output, ...], goto: int | None) -> bytes:
    encoded = b""
    if actions:
        outputs = b"".join(_OUTPUT.pack(0, 16, action.port_no, action.max_len) for action in actions)
        encoded += struct.pack("!HHxxxx", _APPLY, 8 + len(outputs)) + outputs
    if goto is not None:
        encoded += struct.pack("!HHBxxx", _GOTO, 8, goto)
    return encoded


def _address(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
