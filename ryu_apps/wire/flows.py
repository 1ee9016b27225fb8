"""Flow rules to FlowMods, and flow entries that a switch reported back to rules."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from os_ken.ofproto import ofproto_v1_3_parser

from ryu_apps.wire.fields import encode_labelled, encode_match, mac_bytes, match_words, read_match
from ryu_apps.wire.remembering import remembered
from ryu_apps.wire.stats import FlowStats
from stitching.cookie import OURS, OWNER_MASK
from stitching.match import ETH_VLAN, Match
from stitching.rules import (
    PORT_CONTROLLER,
    Action,
    FlowRule,
    Output,
    PopLabel,
    PushLabel,
    SetDscp,
    SetQueue,
    StrayRule,
    ToGroup,
)

_VERSION, _FLOW_MOD = 4, 14
_DELETE, _DELETE_STRICT = 3, 4
_ALL_TABLES = 0xFF
_NO_BUFFER = _ANY = 0xFFFFFFFF
_GOTO, _APPLY, _METER = 1, 4, 6
_OUTPUT, _PUSH_VLAN, _POP_VLAN, _SET_QUEUE, _GROUP, _SET_FIELD = 0, 17, 18, 21, 22, 25
_OXM_VLAN_VID, _OXM_VLAN_PCP, _OXM_IP_DSCP = 0x80000C02, 0x80000E01, 0x80001001

_HEAD = struct.Struct("!IIQQII")
# Buffer, out port and out group of a FlowMod: none; its flags and padding.
_TAIL = struct.pack("!IIIHxx", _NO_BUFFER, _ANY, _ANY, 0)
# Version, type and the length of a FlowMod without match and instructions. Its command is OFPFC_ADD, which is 0.
_FIRST_WORD = (_VERSION << 24 | _FLOW_MOD << 16) + _HEAD.size + len(_TAIL)

# Rules match on eth_dst, or on it and eth_src, more than on all else together: these are made of ready pieces.
_TO_HEAD, _TO_PAD = bytes.fromhex("0001000e80000606"), bytes(2)
_PAIR_HEAD, _PAIR_MIDDLE = bytes.fromhex("0001001880000606"), bytes.fromhex("80000806")

_NO_OTHERS = [None] * 5
_OUT = struct.Struct("!HHIHxxxxxx")
_NUMBER = struct.Struct("!HHI")
_PUSH = struct.Struct("!HHHxx")
_BARE = struct.Struct("!HHxxxx")
_SET_VLAN = struct.Struct("!HHIHxxxxxx")
_SET_ONE_BYTE = struct.Struct("!HHIBxxxxxxx")


def flow_mod(rule: FlowRule, xid: int, *, remove: bool = False) -> bytes:
    """The message that adds a rule, or removes it strictly and only where it is ours.

    Raises ValueError naming the field that cannot be said.
    """
    table, priority, match, actions, goto, cookie, meter = rule
    in_port, eth_src, eth_dst, *others = match
    if eth_dst is None or in_port is not None or others != _NO_OTHERS:
        body = encode_labelled(match) or _match(match)
    elif eth_src is None:
        body = _TO_HEAD + mac_bytes(eth_dst) + _TO_PAD
    else:
        body = b"".join((_PAIR_HEAD, mac_bytes(eth_dst), _PAIR_MIDDLE, mac_bytes(eth_src)))
    if remove:
        return _removal(table, priority, body, xid)
    does = _instructions(actions, goto, meter)
    head = _HEAD.pack(_FIRST_WORD + len(body) + len(does), xid, cookie, 0, table << 24, priority)
    return b"".join((head, _TAIL, body, does))


def stray_removal(rule: StrayRule, xid: int) -> bytes:
    """The message that removes a rule by its match as the switch told it."""
    return _removal(rule.table, rule.priority, rule.match + bytes(-len(rule.match) % 8), xid)


def removal_of_all(cookie: int, mask: int, xid: int) -> bytes:
    """The message that removes all rules with a cookie, under a mask, from all tables."""
    match = encode_match(Match())
    command = _ALL_TABLES << 24 | _DELETE << 16
    return _HEAD.pack(_FIRST_WORD + len(match), xid, cookie, mask, command, 0) + _TAIL + match


def _removal(table: int, priority: int, match: bytes, xid: int) -> bytes:
    # What is removed may do something we cannot say, which reads as a rule without a cookie.
    command = table << 24 | _DELETE_STRICT << 16
    return _HEAD.pack(_FIRST_WORD + len(match), xid, OURS, OWNER_MASK, command, priority) + _TAIL + match


def output(port_no: int, max_len: int = 0) -> bytes:
    """The action that sends a packet out of a port."""
    return _OUT.pack(_OUTPUT, 16, port_no, max_len)


_match = lru_cache(maxsize=1 << 15)(encode_match)


def _instructions(actions: tuple[Action, ...], goto: int | None, meter: int | None) -> bytes:
    if meter is None:
        if not actions:
            return _go_on(goto)
        if len(actions) == 1 and type(action := actions[0]) is Output:
            return _send_out(action.port_no, action.max_len, goto)
    return _do(actions, goto, meter)


@lru_cache(maxsize=1 << 8)
def _go_on(goto: int | None) -> bytes:
    return b"" if goto is None else struct.pack("!HHBxxx", _GOTO, 8, goto)


@lru_cache(maxsize=1 << 12)
def _send_out(port_no: int, max_len: int, goto: int | None) -> bytes:
    """What most rules do, found by numbers: they are hashed faster than the action is."""
    return _do((Output(port_no, max_len),), goto, None)


@lru_cache(maxsize=1 << 12)
def _do(actions: tuple[Action, ...], goto: int | None, meter: int | None) -> bytes:
    encoded = b""
    if meter is not None:
        encoded += _NUMBER.pack(_METER, 8, meter)
    if actions:
        listed = encode_actions(actions)
        encoded += struct.pack("!HHxxxx", _APPLY, 8 + len(listed)) + listed
    return encoded + _go_on(goto)


def encode_actions(actions: tuple[Action, ...]) -> bytes:
    """A list of actions, in this order."""
    return b"".join(_encode_action(action) for action in actions)


def _encode_action(action: Action) -> bytes:
    match action:
        case Output(port_no, max_len):
            return output(port_no, max_len)
        case ToGroup(group_id):
            return _NUMBER.pack(_GROUP, 8, group_id)
        case PushLabel(vlan_vid, pcp):
            label = _PUSH.pack(_PUSH_VLAN, 8, ETH_VLAN) + _SET_VLAN.pack(_SET_FIELD, 16, _OXM_VLAN_VID, vlan_vid)
            return label + _SET_ONE_BYTE.pack(_SET_FIELD, 16, _OXM_VLAN_PCP, pcp) if pcp else label
        case PopLabel():
            return _BARE.pack(_POP_VLAN, 8)
        case SetQueue(queue_id):
            return _NUMBER.pack(_SET_QUEUE, 8, queue_id)
        case SetDscp(dscp):
            return _SET_ONE_BYTE.pack(_SET_FIELD, 16, _OXM_IP_DSCP, dscp)


def read_flow(stats: FlowStats) -> FlowRule | None:
    """A flow entry that a switch reported as a rule.

    An entry that does more than our rules can say comes back with cookie 0, so it equals none of them. None where
    its match cannot be said at all, see read_stray.
    """
    match = read_match(stats.match)
    if match is None:
        return None
    does = _read_instructions(stats.instructions)
    plain = does.plain and not (stats.idle_timeout or stats.hard_timeout or stats.flags)
    cookie = stats.cookie if plain else 0
    return FlowRule(stats.table_id, stats.priority, match, does.actions, does.goto, cookie, does.meter)


def read_stray(stats: FlowStats) -> StrayRule:
    """A flow entry whose match no rule of ours has, whatever its cookie says."""
    said = match_words(stats.match)
    return StrayRule(stats.table_id, stats.priority, bytes(stats.match), stats.cookie, said)


class _Does(NamedTuple):
    """What an entry does; plain: whether that is all."""

    actions: tuple[Action, ...]
    goto: int | None
    meter: int | None
    plain: bool


@remembered(1 << 12)
def _read_instructions(data: bytes) -> _Does:
    actions: list[Action | None] = []
    goto: int | None = None
    meter: int | None = None
    plain = True
    offset = 0
    while offset < len(data):
        try:
            instruction = ofproto_v1_3_parser.OFPInstruction.parser(data, offset)
        except Exception:  # noqa: BLE001  # os-ken's decoder raises anything on bytes it cannot read
            instruction = None
        if instruction is None or instruction.len < 8:
            return _Does((), goto, meter, plain=False)
        offset += instruction.len
        if instruction.type == _GOTO:
            goto = instruction.table_id
        elif instruction.type == _METER:
            meter = instruction.meter_id
        elif instruction.type == _APPLY:
            actions += read_actions(instruction.actions)
        else:
            plain = False
    said = tuple(action for action in actions if action is not None)
    return _Does(said, goto, meter, plain and len(said) == len(actions))


def read_actions(listed: Sequence[Any]) -> Iterator[Action | None]:
    """The actions of a list; None for what ours cannot say."""
    actions = deque(listed)
    while actions:
        action = actions.popleft()
        if action.type == _PUSH_VLAN and action.ethertype == ETH_VLAN:
            yield _read_label(actions)
        else:
            yield _read_action(action)


def _read_label(actions: deque[Any]) -> Action | None:
    """What is set of the tag that was just pushed, taken off the actions that are left."""
    if not actions or not _sets(actions[0], "vlan_vid"):
        return None
    vlan_vid = actions.popleft().value
    pcp = actions.popleft().value if actions and _sets(actions[0], "vlan_pcp") else 0
    return PushLabel(vlan_vid, pcp)


def _sets(action: Any, name: str) -> bool:
    return bool(action.type == _SET_FIELD and action.key == name)


def _read_action(action: Any) -> Action | None:
    if action.type == _OUTPUT:
        # A length only means something towards the controller; switches report what they like for other ports.
        return Output(action.port, action.max_len if action.port == PORT_CONTROLLER else 0)
    if action.type == _GROUP:
        return ToGroup(action.group_id)
    if action.type == _POP_VLAN:
        return PopLabel()
    if action.type == _SET_QUEUE:
        return SetQueue(action.queue_id)
    if action.type == _SET_FIELD and action.key == "ip_dscp":
        return SetDscp(action.value)
    return None
