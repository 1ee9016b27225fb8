"""Bodies of Ryu's REST paths: read as Ryu reads them, and checked where Ryu goes on with less than was asked.

Ryu leaves out a match field or an action it does not know, which makes a rule match more than its author meant.
Here that is an error.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ryu_apps.ofctl.translator import BadBody

_LITERAL_BYTES = 1 << 16

_U16, _U32, _U64 = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF

_FLOW_NUMBERS = {
    "cookie_mask": _U64,
    "idle_timeout": _U16,
    "hard_timeout": _U16,
    "priority": _U16,
    "flags": _U16,
}

_ADDRESSES = frozenset(
    {
        *("dl_dst", "dl_src", "eth_dst", "eth_src", "arp_sha", "arp_tha", "ipv6_nd_sll", "ipv6_nd_tll"),
        *(
            "nw_src",
            "nw_dst",
            "ipv4_src",
            "ipv4_dst",
            "arp_spa",
            "arp_tpa",
            "ipv6_src",
            "ipv6_dst",
            "ipv6_nd_target",
        ),
    }
)

_BITS = {
    **dict.fromkeys(("metadata", "tunnel_id"), 64),
    **dict.fromkeys(("in_port", "in_phy_port"), 32),
    "pbb_isid": 24,
    **dict.fromkeys(("mpls_label", "ipv6_flabel"), 20),
    **dict.fromkeys(("dl_type", "eth_type", "tp_src", "tp_dst", "tcp_src", "tcp_dst", "udp_src", "udp_dst"), 16),
    **dict.fromkeys(("sctp_src", "sctp_dst", "arp_op"), 16),
    **dict.fromkeys(("dl_vlan", "vlan_vid"), 13),
    "ipv6_exthdr": 9,
    **dict.fromkeys(("nw_proto", "ip_proto", "icmpv4_type", "icmpv4_code", "icmpv6_type", "icmpv6_code"), 8),
    "ip_dscp": 6,
    **dict.fromkeys(("vlan_pcp", "mpls_tc"), 3),
    "ip_ecn": 2,
    "mpls_bos": 1,
}
"""How wide the fields are that are numbers: os-ken cuts off what does not fit."""

_ACTIONS = frozenset(
    {
        *("OUTPUT", "GROUP", "SET_QUEUE", "SET_FIELD", "SET_NW_TTL", "DEC_NW_TTL", "COPY_TTL_OUT", "COPY_TTL_IN"),
        *("PUSH_VLAN", "POP_VLAN", "PUSH_MPLS", "POP_MPLS", "SET_MPLS_TTL", "DEC_MPLS_TTL", "PUSH_PBB", "POP_PBB"),
    }
)
_INSTRUCTIONS = frozenset({"GOTO_TABLE", "WRITE_METADATA", "METER", "WRITE_ACTIONS", "CLEAR_ACTIONS"})

_GROUP_TYPES = ("ALL", "SELECT", "INDIRECT", "FF")
_METER_FLAGS = ("KBPS", "PKTPS", "BURST", "STATS")
_BANDS = ("DROP", "DSCP_REMARK")


def read_body(data: bytes) -> dict[str, Any]:
    """The object in a body: JSON, or a Python literal as Ryu takes it ({'dl_type': 0x800}). Raises BadBody."""
    if not data.strip():
        return {}
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        body = _literal(data, error)
    if not isinstance(body, dict):
        raise BadBody("the body is not an object")
    if not all(isinstance(key, str) for key in body):
        raise BadBody("a name in the body is not a string")
    return body


def _literal(data: bytes, why: Exception) -> Any:
    try:
        if len(data) > _LITERAL_BYTES:
            raise ValueError("too long to be a Python literal")
        return ast.literal_eval(data.decode().strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise BadBody(f"the body is not JSON: {why}") from why


def number(value: Any, name: str, most: int, least: int = 0) -> int:
    """A whole number, as such or as text ("0x10"). Raises BadBody naming the field."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadBody(f"{name} is not a whole number", name)
    try:
        whole = value if isinstance(value, int) else int(value, 0)
    except ValueError:
        raise BadBody(f"{name} is {str(value)[:40]!r}, which is not a whole number", name) from None
    if not least <= whole <= most:
        raise BadBody(f"{name} has to be between {least} and {most}", name)
    return whole


def dpid_of(body: Mapping[str, Any]) -> int:
    """The switch a change is for. Raises BadBody."""
    if "dpid" not in body:
        raise BadBody("dpid is missing: which switch is this for?", "dpid")
    return number(body["dpid"], "dpid", _U64)


def check_flow(body: Mapping[str, Any]) -> None:
    """Raise BadBody for what the translator would leave out or what does not fit."""
    for name, most in _FLOW_NUMBERS.items():
        if name in body:
            number(body[name], name, most, -1 if name == "priority" else 0)
    _check_match(_object(body.get("match", {}), "match"))
    _check_actions(_objects(body.get("actions", []), "actions"), "actions", _ACTIONS | _INSTRUCTIONS)


def check_group(body: Mapping[str, Any]) -> None:
    """Raise BadBody for what the translator would leave out."""
    _one_of(body.get("type", "ALL"), _GROUP_TYPES, "type")
    for position, bucket in enumerate(_objects(body.get("buckets", []), "buckets")):
        name = f"buckets[{position}].actions"
        _check_actions(_objects(bucket.get("actions", []), name), name, _ACTIONS)


def check_meter(body: Mapping[str, Any]) -> None:
    """Raise BadBody for what the translator would leave out."""
    flags = body.get("flags", [])
    for flag in flags if isinstance(flags, list) else [flags]:
        _one_of(flag, _METER_FLAGS, "flags")
    for position, band in enumerate(_objects(body.get("bands", []), "bands")):
        _one_of(band.get("type"), _BANDS, f"bands[{position}].type")


def _check_match(match: Mapping[str, Any]) -> None:
    for name in match:
        if name in _BITS:
            _check_number(match[name], name, f"match.{name}")
        elif name not in _ADDRESSES:
            raise BadBody(f"there is no match field {name[:60]!r}", f"match.{name[:60]}")
    if {"tp_src", "tp_dst"} & match.keys():
        proto = match.get("nw_proto", match.get("ip_proto"))
        if proto not in (6, 17):
            raise BadBody("tp_src and tp_dst need nw_proto 6 (TCP) or 17 (UDP) beside them", "match.nw_proto")


def _check_number(value: Any, name: str, where: str) -> None:
    """A number, or VALUE/MASK; a port may have a name, which the translator knows."""
    if name == "in_port" and isinstance(value, str) and value.isalpha():
        return
    for part in value.split("/") if isinstance(value, str) else [value]:
        number(part, where, (1 << _BITS[name]) - 1)


def _check_actions(actions: Iterable[Mapping[str, Any]], where: str, known: frozenset[str]) -> None:
    for position, action in enumerate(actions):
        name = f"{where}[{position}]"
        kind = _one_of(action.get("type"), known, f"{name}.type")
        if kind == "SET_FIELD" and action.get("field") in _BITS:
            _check_number(action.get("value"), str(action["field"]), f"{name}.value")
        if kind == "WRITE_ACTIONS":
            _check_actions(_objects(action.get("actions", []), f"{name}.actions"), f"{name}.actions", _ACTIONS)


def _one_of(value: Any, known: Iterable[str], name: str) -> str:
    if not isinstance(value, str) or value not in known:
        given = repr(value[:40]) if isinstance(value, str) else "not text"
        raise BadBody(f"{name} is {given} and has to be one of {', '.join(sorted(known))}", name)
    return value


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise BadBody(f"{name} is not an object", name)
    return value


def _objects(value: Any, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise BadBody(f"{name} is not a list", name)
    return [_object(item, f"{name}[{position}]") for position, item in enumerate(value)]
