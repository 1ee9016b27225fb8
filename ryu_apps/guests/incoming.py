"""Messages of a switch on their way to a hosted app: those that are for it, as if its tables were all."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from os_ken.controller.handler import CONFIG_DISPATCHER
from os_ken.ofproto import ofproto_v1_3 as ofp

from ryu_apps import foreign
from ryu_apps.guests.share import Share
from stitching.cookie import FIRST_GROUP, FIRST_METER

_FOR_ALL = frozenset({ofp.OFPT_HELLO, ofp.OFPT_ECHO_REQUEST, ofp.OFPT_FEATURES_REPLY, ofp.OFPT_PORT_STATUS})

_RULES = frozenset({ofp.OFPMP_FLOW})
_TABLES = frozenset({ofp.OFPMP_TABLE, ofp.OFPMP_TABLE_FEATURES})
_GROUPS = frozenset({ofp.OFPMP_GROUP, ofp.OFPMP_GROUP_DESC})
_METERS = frozenset({ofp.OFPMP_METER, ofp.OFPMP_METER_CONFIG})


def incoming(message: Any, state: str | None, share: Share, datapath: Any) -> Any | None:
    """The message as the app sees it, at its own datapath; None where it is for somebody else.

    The original is shared with every other app and stays as it is. state is that of the connection.
    """
    kind = message.msg_type
    if kind == ofp.OFPT_PACKET_IN:
        seen = share.seen_table(message.table_id)
        return None if seen is None else _changed(message, datapath, table_id=seen, cookie=_cookie(message, share))
    if kind == ofp.OFPT_FLOW_REMOVED:
        seen = share.seen_table(message.table_id)
        if seen is None or message.cookie >> 56 != share.owner:
            return None
        return _changed(message, datapath, table_id=seen, cookie=_cookie(message, share))
    if kind not in _FOR_ALL and not share.has_xid(message.xid) and state != CONFIG_DISPATCHER:
        return None
    if kind == ofp.OFPT_MULTIPART_REPLY:
        return _changed(message, datapath, body=_body(message, share))
    return _changed(message, datapath)


def _body(message: Any, share: Share) -> Any:
    kind = message.type
    if kind in _RULES:
        return _each(message.body, lambda rule: _rule(rule, share))
    if kind in _TABLES:
        return _each(message.body, lambda table: _table(table, share))
    if kind in _GROUPS:
        return [group for group in message.body if group.group_id < FIRST_GROUP]
    if kind in _METERS:
        return [meter for meter in message.body if meter.meter_id < FIRST_METER]
    return message.body


def _each(items: Any, seen: Callable[[Any], Any | None]) -> list[Any]:
    return [item for item in map(seen, items) if item is not None]


def _rule(rule: Any, share: Share) -> Any | None:
    table = share.seen_table(rule.table_id)
    if table is None or rule.cookie >> 56 != share.owner:
        return None
    instructions = [_instruction(instruction, share) for instruction in rule.instructions]
    return _replaced(rule, table_id=table, cookie=_cookie(rule, share), instructions=instructions)


def _instruction(instruction: Any, share: Share) -> Any:
    if instruction.type != ofp.OFPIT_GOTO_TABLE:
        return instruction
    return _replaced(instruction, table_id=share.seen_table(instruction.table_id))


def _table(table: Any, share: Share) -> Any | None:
    seen = share.seen_table(table.table_id)
    return None if seen is None else _replaced(table, table_id=seen)


def _cookie(item: Any, share: Share) -> int:
    return foreign.shown_cookie(item.cookie, share.owner)


def _changed(message: Any, datapath: Any, **fields: Any) -> Any:
    return _replaced(message, datapath=datapath, **fields)


def _replaced(item: Any, **fields: Any) -> Any:
    if isinstance(item, tuple):
        # os-ken has named tuples in some bodies.
        return item._replace(**fields)  # type: ignore[attr-defined]
    other = copy.copy(item)
    for name, value in fields.items():
        setattr(other, name, value)
    return other
