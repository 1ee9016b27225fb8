"""Puts right a fault of os-ken's decoder: a part of a message that says it has no length kept it going for ever.

It goes from part to part by the lengths they say they have, on the thread that serves all switches. Whoever may
connect could stop the controller with one hello of 12 bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

_LEAST = 4
"""Bytes of what every part begins with: its type and its length."""


def mend() -> None:
    """Change os-ken's decoder in this process."""
    if hasattr(parser.OFPAction.parser, "__wrapped__"):
        return
    known = vars(parser.OFPMultipartReply)["_STATS_MSG_TYPES"]
    bodies = {kind.cls_stats_body_cls for kind in known.values()}
    for owner in (
        *(parser.OFPAction, parser.OFPInstruction, parser.OFPBucket),
        *(parser.OFPQueueProp, parser.OFPPacketQueue),
        *(body for body in bodies if "parser" in vars(body)),
    ):
        _wrap(owner, "parser", lambda part: part)
    for owner in (parser.OFPInstructionId, parser.OFPActionId):
        _wrap(owner, "parse", lambda found: found[0])
    # The classes of these properties have no other way to them.
    inner = inspect.getclosurevars(parser.NXActionController2.parser.__func__).nonlocals
    properties = vars(inner["NXActionController2Prop"])["_TYPES"].values()
    for owner in {*properties, inner["NXActionController2PropUnknown"]}:
        _wrap_property(owner)


def check_hello(data: bytes | bytearray) -> None:
    """Raise ValueError where an element of a hello has no length."""
    place = ofp.OFP_HEADER_SIZE
    while place < len(data):
        length = int.from_bytes(data[place + 2 : place + 4])
        _require(length >= _LEAST, "an element of a hello")
        place += length


def _wrap(owner: Any, name: str, part_of: Callable[[Any], Any]) -> None:
    """Have a class method that decodes one part of many refuse one that leads no further."""
    original = vars(owner)[name].__func__

    @wraps(original)
    def checked(cls: type, *args: Any) -> Any:
        found = original(cls, *args)
        part = part_of(found)
        length = getattr(part, "length", None) or getattr(part, "len", None) or 0
        _require(length >= _LEAST, owner.__name__)
        return found

    setattr(owner, name, classmethod(checked))


def _wrap_property(owner: Any) -> None:
    """Properties of Nicira's controller action are given how long they are without that head."""
    original = vars(owner)["parser_prop"].__func__

    @wraps(original)
    def checked(cls: type, data: Any, length: int) -> Any:
        _require(length >= 0, owner.__name__)
        return original(cls, data, length)

    owner.parser_prop = classmethod(checked)


def _require(leads_on: bool, what: str) -> None:
    if not leads_on:
        raise ValueError(f"{what} without a length")
