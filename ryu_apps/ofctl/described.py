"""What the description of the API says of Ryu's paths: numbers in a path, answers, and bodies as Ryu reads them.

The parameters are text to FastAPI: what is wrong with one is told by `asking`, with status 400.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

_NUMBER = "(0|[1-9][0-9]{0,19}|0[xX][0-9a-fA-F]{1,16})"

NUMBER = f"^{_NUMBER}$"
PORT = f"^({_NUMBER}|[A-Za-z_]{{1,20}})$"


def _path(pattern: str, what: str) -> Any:
    return Path(description=what, json_schema_extra={"pattern": pattern, "examples": ["1"]})


Dpid = Annotated[str, _path(NUMBER, "The switch: decimal, or 0x and hex digits.")]
Port = Annotated[str, _path(PORT, "Decimal, or 0x and hex digits, or LOCAL and the like.")]
Queue = Annotated[str, _path(NUMBER, "Decimal, or 0x and hex digits.")]
Group = Annotated[str, _path(NUMBER, "Decimal, or 0x and hex digits.")]
Meter = Annotated[str, _path(NUMBER, "Decimal, or 0x and hex digits.")]

Described = dict[str, dict[str, Any]]
"""An answer: by the dpid in decimal, one object."""

Listed = dict[str, list[dict[str, Any]]]
"""An answer: by the dpid in decimal, a list of objects."""

_WHOLE = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_NUMBER}$"}]}
_NAMED = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}
_OBJECT: dict[str, Any] = {"type": "object"}
_ACTION = {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]}
_ACTIONS = {"type": "array", "items": _ACTION}

_FLOW = {
    **dict.fromkeys(("cookie", "cookie_mask", "idle_timeout", "hard_timeout", "flags", "buffer_id"), _WHOLE),
    "priority": {"anyOf": [{"type": "integer", "minimum": -1, "maximum": 0xFFFF}, {"type": "string"}]},
    **dict.fromkeys(("table_id", "out_port", "out_group"), _NAMED),
    "match": _OBJECT,
    "actions": _ACTIONS,
}
_BUCKET = {
    "type": "object",
    "properties": {
        "weight": _WHOLE,
        "watch_port": _NAMED,
        "watch_group": _NAMED,
        "actions": _ACTIONS,
    },
}
_GROUP = {
    "type": {"enum": ["ALL", "SELECT", "INDIRECT", "FF"]},
    "group_id": _NAMED,
    "buckets": {"type": "array", "items": _BUCKET},
}
_METER_FLAG = {"enum": ["KBPS", "PKTPS", "BURST", "STATS"]}
_BAND = {
    "type": "object",
    "properties": {
        "type": {"enum": ["DROP", "DSCP_REMARK"]},
        **dict.fromkeys(("rate", "burst_size", "prec_level"), _WHOLE),
    },
    "required": ["type"],
}
_METER = {
    "flags": {"anyOf": [_METER_FLAG, {"type": "array", "items": _METER_FLAG}]},
    "meter_id": _NAMED,
    "bands": {"type": "array", "items": _BAND},
}
_PORT = {
    "port_no": _WHOLE,
    "hw_addr": {"type": "string"},
    **dict.fromkeys(("config", "mask", "advertise"), _WHOLE),
}


def _body(fields: dict[str, Any], *required: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": fields}
    if required:
        schema["required"] = list(required)
    return {"requestBody": {"required": bool(required), "content": {"application/json": {"schema": schema}}}}


def _change(fields: dict[str, Any]) -> dict[str, Any]:
    return _body({"dpid": {**_WHOLE, "examples": [1]}, **fields}, "dpid")


FILTER = _body(_FLOW)
"""Describes a body that is read whatever content type it says: curl's own is not JSON."""

CHANGES = {"flow": _change(_FLOW), "group": _change(_GROUP), "meter": _change(_METER), "port": _change(_PORT)}
"""The same by what is changed."""

ANYTHING = _body({})
