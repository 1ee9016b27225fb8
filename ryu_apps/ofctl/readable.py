"""What switches say that os-ken's translator fails on: texts that are not ASCII, and actions of Open vSwitch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from os_ken.ofproto import ofproto_v1_3_parser as parser


def description(dpid: int, replies: Iterable[Any]) -> dict[str, dict[str, str]]:
    """What a switch says of itself, in the shape of os-ken's get_desc_stats, which takes ASCII alone."""
    texts: dict[str, str] = {}
    for reply in replies:
        texts = {name: value.decode("utf-8", "replace") for name, value in reply.body._asdict().items()}
    return {str(dpid): texts}


def made_readable(reply: Any) -> Any:
    """The same reply, changed in place to one that can be translated."""
    body = getattr(reply, "body", None)
    for item in body if isinstance(body, list) else ():
        if isinstance(item, parser.OFPTableFeaturesStats):
            item.name = item.name.decode("utf-8", "replace").encode()
        for action in _actions(item):
            # The translator knows few of Open vSwitch's actions; of the others it shows `data`, which they lack.
            if isinstance(action, parser.OFPActionExperimenter) and not hasattr(action, "data"):
                action.data = _data(action)
    return reply


def _actions(item: Any) -> Iterator[Any]:
    """The actions of a rule, or of a group."""
    for part in getattr(item, "instructions", None) or getattr(item, "buckets", None) or ():
        yield from getattr(part, "actions", None) or ()


def _data(action: Any) -> bytes:
    """What stands behind the experimenter's number."""
    buffer = bytearray()
    try:
        action.serialize(buffer, 0)
    except Exception:  # noqa: BLE001  # os-ken's encoder fails in any way on values it decoded loosely
        return b""
    return bytes(buffer[8:])
