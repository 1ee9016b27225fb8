"""Matches on ports, Ethernet addresses and tags alone, as nearly all are, read from their bytes.

When a controller starts it reads every rule there is for the first time: os-ken's decoder takes 60 us for a match.
"""

from __future__ import annotations

from stitching.match import Match

_HEADER = 4
_FIELDS = {
    bytes.fromhex("80000004"): ("in_port", 4, False),
    bytes.fromhex("80000606"): ("eth_dst", 6, True),
    bytes.fromhex("80000806"): ("eth_src", 6, True),
    bytes.fromhex("80000a02"): ("eth_type", 2, False),
    bytes.fromhex("80000c02"): ("vlan_vid", 2, False),
}
"""By OXM header: the field, how many bytes it has, and whether it is an address."""


def plain_match(data: bytes) -> Match | None:
    """The match of an ofp_match without its padding; None where it has other fields, or masks, or is none."""
    end = len(data)
    if end < _HEADER or data[:_HEADER] != b"\0\1" + end.to_bytes(2, "big"):
        return None
    fields: dict[str, int | str] = {}
    offset = _HEADER
    while offset < end:
        known = _FIELDS.get(data[offset : offset + _HEADER])
        if known is None:
            return None
        name, width, is_address = known
        offset += _HEADER + width
        value = data[offset - width : offset]
        if offset > end or name in fields:
            return None
        fields[name] = value.hex(":") if is_address else int.from_bytes(value, "big")
    return Match(**fields)  # type: ignore[arg-type]  # each is of the type of its field
