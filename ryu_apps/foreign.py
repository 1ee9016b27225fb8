"""Messages of others to switches of ours: whose cookie a rule has, and what of ours must stay out of reach."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto.nicira_ext import NXAST_LEARN

from stitching.cookie import FIRST_GROUP, FIRST_METER, OWNER_MASK, USER_MASK


def claim(flow_mod: Any, owner: int) -> None:
    """Put the owner into the cookie of an OFPFlowMod: what it changes or deletes are then rules of that owner."""
    mask = flow_mod.cookie_mask & USER_MASK
    adds = flow_mod.command == ofp.OFPFC_ADD
    flow_mod.cookie = owner << 56 | flow_mod.cookie & (USER_MASK if adds else mask)
    flow_mod.cookie_mask = 0 if adds else OWNER_MASK | mask


def claim_filter(request: Any, owner: int, *, always: bool) -> None:
    """Have a request for flow counters mean the cookies of an owner: a cookie without an owner byte is one of his.

    Unless `always`, a request that asks for no owner at all still finds the rules of everybody.
    """
    mask = request.cookie_mask
    if always or (mask & OWNER_MASK and not request.cookie & mask & OWNER_MASK):
        request.cookie = owner << 56 | request.cookie & USER_MASK
        request.cookie_mask = mask | OWNER_MASK


def shown_cookie(cookie: int, owner: int) -> int:
    """The cookie as the owner of the rule wrote it; those of others as they are."""
    return cookie & USER_MASK if cookie >> 56 == owner else cookie


def trespass(message: Any) -> str | None:
    """How a message would use or change a group or meter of ours; None where it does not."""
    kind = message.cls_msg_type
    if kind == ofp.OFPT_FLOW_MOD:
        return _of_instructions(message.instructions)
    if kind == ofp.OFPT_PACKET_OUT:
        return _of_actions(message.actions)
    if kind == ofp.OFPT_GROUP_MOD:
        return _of_group(message)
    if kind == ofp.OFPT_METER_MOD and message.meter_id >= FIRST_METER:
        return f"meters from {FIRST_METER} on are the controller's, and so is the choice of all; take one below"
    return None


def _of_group(message: Any) -> str | None:
    if message.group_id >= FIRST_GROUP:
        return f"groups from {FIRST_GROUP} on are the controller's, and so is the choice of all; take one below"
    for bucket in message.buckets or ():
        if FIRST_GROUP <= bucket.watch_group != ofp.OFPG_ANY:
            return f"a bucket watches group {bucket.watch_group}, which is the controller's"
        if (reason := _of_actions(bucket.actions)) is not None:
            return reason
    return None


def _of_instructions(instructions: Iterable[Any]) -> str | None:
    for instruction in instructions or ():
        if instruction.type == ofp.OFPIT_METER and instruction.meter_id >= FIRST_METER:
            return f"meter {instruction.meter_id} is the controller's; take one below {FIRST_METER}"
        reason = _of_actions(getattr(instruction, "actions", None) or ())
        if reason is not None:
            return reason
    return None


def _of_actions(actions: Iterable[Any]) -> str | None:
    for action in actions or ():
        if getattr(action, "subtype", None) == NXAST_LEARN:
            return "a learn action adds rules of no owner"
        if getattr(action, "type", None) == ofp.OFPAT_GROUP and action.group_id >= FIRST_GROUP:
            return f"group {action.group_id} is the controller's; take one below {FIRST_GROUP}"
    return None


def same_entry(match: Any) -> frozenset[tuple[int, int, int]]:
    """A match so that two of the same entry are equal, however they were written: (field, value, mask) each.

    A mask of all bits is none, and bits of a value outside its mask mean nothing (OpenFlow 1.3.5, 7.2.3).
    """
    data = bytearray()
    match.serialize(data, 0)
    fields = set()
    place, end = 4, int.from_bytes(data[2:4], "big")
    while place < end:
        head = int.from_bytes(data[place : place + 4], "big")
        length, masked = head & 0xFF, bool(head & 0x100)
        payload = bytes(data[place + 4 : place + 4 + length])
        width = length // 2 if masked else length
        value = int.from_bytes(payload[:width], "big")
        mask = int.from_bytes(payload[width:], "big") if masked else (1 << 8 * width) - 1
        if mask:
            fields.add((head >> 9, value & mask, mask))
        place += 4 + length
    return frozenset(fields)
