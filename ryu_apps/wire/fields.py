"""Matches to OXM and back (OpenFlow 1.3.5, 7.2.3).

A value that a switch would echo in other words than ours (host bits behind a prefix, a mask that says nothing)
would look wrong for ever, so it is refused before it is sent.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from os_ken.ofproto import ofproto_v1_3_parser

from ryu_apps.wire.plain import plain_match
from ryu_apps.wire.remembering import remembered
from stitching.match import ETH_ARP, ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, SCTP, TCP, UDP, L3Match, Match

_BASIC = 0x8000
_MACS: dict[str, bytes] = {}
_MANY_MACS = 1 << 16
_VLAN_BITS = 0x1FFF


class _Field(NamedTuple):
    """One OXM field: its number in the openflow-basic class, its width in bytes, and how it is told as text."""

    number: int
    width: int
    kind: str = "number"


_IN_PORT = _Field(0, 4)
_ETH_DST = _Field(3, 6, "mac")
_ETH_SRC = _Field(4, 6, "mac")
_ETH_TYPE = _Field(5, 2)
_VLAN_VID = _Field(6, 2)

_IPV4 = {
    "ip_dscp": _Field(8, 1),
    "ip_proto": _Field(10, 1),
    "ip_src": _Field(11, 4, "ip"),
    "ip_dst": _Field(12, 4, "ip"),
}
_IPV6 = {
    "ip_dscp": _Field(8, 1),
    "ip_proto": _Field(10, 1),
    "ip_src": _Field(26, 16, "ip"),
    "ip_dst": _Field(27, 16, "ip"),
}
_ARP = {"arp_op": _Field(21, 2), "arp_spa": _Field(22, 4, "ip"), "arp_sha": _Field(24, 6, "mac")}
_PORTS = {
    proto: {"src_port": _Field(n, 2), "dst_port": _Field(n + 1, 2)}
    for proto, n in ((TCP, 13), (UDP, 15), (SCTP, 17))
}
_ICMPV4_FIELDS = {"icmp_type": _Field(19, 1)}
_ICMPV6_FIELDS = {"icmp_type": _Field(29, 1), "nd_target": _Field(31, 16, "ip"), "nd_sll": _Field(32, 6, "mac")}

_L3_NAMES = tuple(name for name in L3Match._fields if not name.endswith("_mask"))
_NO_L3 = L3Match()


@lru_cache(maxsize=256)
def _behind(eth_type: int | None, ip_proto: int | None) -> dict[str, _Field]:
    """The fields there can be behind an Ethernet header of this type, in the order of their numbers."""
    fields: dict[str, _Field] = {}
    if eth_type == ETH_ARP:
        fields = dict(_ARP)
    elif eth_type in (ETH_IPV4, ETH_IPV6):
        fields = dict(_IPV4 if eth_type == ETH_IPV4 else _IPV6)
        if ip_proto in _PORTS:
            fields |= _PORTS[ip_proto]
        elif (eth_type, ip_proto) == (ETH_IPV4, ICMP):
            fields |= _ICMPV4_FIELDS
        elif (eth_type, ip_proto) == (ETH_IPV6, ICMPV6):
            fields |= _ICMPV6_FIELDS
    return dict(sorted(fields.items(), key=lambda item: item[1].number))


# What os-ken calls the fields of an L3Match.
_NAMES = {
    "ip_dscp": "ip_dscp",
    "ip_proto": "ip_proto",
    "ipv4_src": "ip_src",
    "ipv4_dst": "ip_dst",
    "ipv6_src": "ip_src",
    "ipv6_dst": "ip_dst",
    **{f"{name}_{side}": f"{side}_port" for name in ("tcp", "udp", "sctp") for side in ("src", "dst")},
    "icmpv4_type": "icmp_type",
    "icmpv6_type": "icmp_type",
    "arp_op": "arp_op",
    "arp_spa": "arp_spa",
    "arp_sha": "arp_sha",
    "ipv6_nd_target": "nd_target",
    "ipv6_nd_sll": "nd_sll",
}
_PLAIN = frozenset({"in_port", "eth_src", "eth_dst", "eth_type", "vlan_vid"})
_MASKED = frozenset({"src_port", "dst_port"})


def encode_match(match: Match) -> bytes:
    """The ofp_match of a match, padded. Raises ValueError naming the field that cannot be said, or not so."""
    in_port, eth_src, eth_dst, eth_dst_mask, eth_type, vlan_vid, vlan_mask, l3 = match
    oxm = b""
    if in_port is not None:
        oxm += _oxm(_IN_PORT, in_port, None)
    if eth_dst is not None:
        oxm += _oxm(_ETH_DST, eth_dst, eth_dst_mask)
    if eth_src is not None:
        oxm += _oxm(_ETH_SRC, eth_src, None)
    if eth_type is not None:
        oxm += _oxm(_ETH_TYPE, eth_type, None)
    if vlan_vid is not None:
        oxm += _oxm(_VLAN_VID, vlan_vid, vlan_mask)
    if l3 is not None:
        oxm += _l3(eth_type, l3)
    length = 4 + len(oxm)
    return struct.pack("!HH", 1, length) + oxm + bytes(-length % 8)


# in_port, eth_dst, eth_src, vlan_vid; and eth_dst, eth_src, eth_type, vlan_vid: OXM headers and values, padded.
_BY_PORT = struct.Struct("!HHIII6sI6sIHxx")
_BY_TYPE = struct.Struct("!HHI6sI6sIHIHxxxx")


def encode_labelled(match: Match) -> bytes | None:
    """The ofp_match of what most rules behind an entrance match on; None for anything else.

    Each of these is of one switch and one stitch: packing it at once is cheaper than remembering it.
    """
    in_port, eth_src, eth_dst, eth_dst_mask, eth_type, vlan_vid, vlan_mask, l3 = match
    if vlan_vid is None or eth_src is None or eth_dst is None:
        return None
    if vlan_mask is not None or eth_dst_mask is not None or l3 is not None:
        return None
    target, source = mac_bytes(eth_dst), mac_bytes(eth_src)
    try:
        if eth_type is None and in_port is not None:
            return _BY_PORT.pack(
                1, 38, 0x80000004, in_port, 0x80000606, target, 0x80000806, source, 0x80000C02, vlan_vid
            )
        if in_port is None and eth_type is not None:
            return _BY_TYPE.pack(
                1, 36, 0x80000606, target, 0x80000806, source, 0x80000A02, eth_type, 0x80000C02, vlan_vid
            )
    except struct.error:
        pass  # A number that does not fit: encode_match says which.
    return None


@lru_cache(maxsize=1 << 13)
def _l3(eth_type: int | None, l3: L3Match) -> bytes:
    known = _behind(eth_type, l3.ip_proto)
    if l3 == _NO_L3:
        raise ValueError("an l3 without fields is told as None")
    for name in _L3_NAMES:
        if getattr(l3, name) is not None and name not in known:
            raise ValueError(f"{name} needs another eth_type or ip_proto than {eth_type} and {l3.ip_proto}")
    oxm = b""
    for name, field in known.items():
        value = getattr(l3, name)
        mask = getattr(l3, f"{name}_mask") if name in _MASKED else None
        if value is not None:
            oxm += _oxm(field, value, mask)
        elif mask is not None:
            raise ValueError(f"{name}_mask without {name}")
    return oxm


def _oxm(field: _Field, value: Any, mask: Any) -> bytes:
    if field.kind == "ip":
        data, bits = _ip_bytes(value, field.width)
    else:
        data = _value_bytes(field, value)
        bits = b"" if mask is None else _value_bytes(field, mask)
        if bits:
            _require_telling(data, bits, _VLAN_BITS if field is _VLAN_VID else (1 << 8 * field.width) - 1)
    return struct.pack("!HBB", _BASIC, field.number << 1 | bool(bits), field.width + len(bits)) + data + bits


def _value_bytes(field: _Field, value: Any) -> bytes:
    return mac_bytes(value) if field.kind == "mac" else _number_bytes(value, field.width)


def _require_telling(data: bytes, bits: bytes, whole: int) -> None:
    value, mask = int.from_bytes(data, "big"), int.from_bytes(bits, "big")
    if not 0 < mask < whole:
        raise ValueError(f"mask {mask:#x} is for no or all bits: leave it out")
    if value & ~mask:
        raise ValueError(f"value {value:#x} has bits outside its mask {mask:#x}")


def mac_bytes(mac: str) -> bytes:
    """An Ethernet address; raises ValueError where it is not told as a switch echoes it."""
    data = _MACS.get(mac)
    if data is None:
        data = bytes.fromhex(mac.replace(":", ""))
        if data.hex(":") != mac or len(data) != 6:
            raise ValueError(f"address {mac!r} should be six pairs of lower case hex digits with colons")
        if len(_MACS) >= _MANY_MACS:
            _MACS.clear()
        _MACS[mac] = data
    return data


def _number_bytes(value: int, width: int) -> bytes:
    try:
        return value.to_bytes(width, "big")
    except OverflowError as error:
        raise ValueError(f"{value} does not fit in {width} bytes") from error


@lru_cache(maxsize=1 << 14)
def _ip_bytes(text: str, width: int) -> tuple[bytes, bytes]:
    """Address and mask, which is empty for one address."""
    network = ip_network(text)
    if network.max_prefixlen != 8 * width:
        raise ValueError(f"{text} is an address of the other IP version")
    one = network.prefixlen == network.max_prefixlen
    if text != (str(network.network_address) if one else str(network)) or not network.prefixlen:
        raise ValueError(f"{text} is to be told as {network}, one address without a prefix length, all as None")
    return network.network_address.packed, b"" if one else network.netmask.packed


@remembered(1 << 17)
def read_match(data: bytes) -> Match | None:
    """The match of an ofp_match without its padding, None where a Match cannot say it, or nobody can read it."""
    plain = plain_match(data)
    return plain if plain is not None else decoded_match(data)


def decoded_match(data: bytes) -> Match | None:
    """The same by os-ken's decoder, whatever fields it has."""
    try:
        match = ofproto_v1_3_parser.OFPMatch.parser(data, 0)
    except Exception:  # noqa: BLE001  # os-ken's decoder raises anything on bytes it cannot read
        return None
    fields: dict[str, Any] = {}
    l3: dict[str, Any] = {}
    for name, value in match.items():
        value, mask = value if isinstance(value, tuple) else (value, None)
        if name in _PLAIN:
            fields[name] = value
            if mask is not None:
                if name not in ("eth_dst", "vlan_vid"):
                    return None
                fields["eth_dst_mask" if name == "eth_dst" else "vlan_mask"] = mask
        elif not _take_l3(l3, _NAMES.get(name), value, mask):
            return None
    if l3:
        fields["l3"] = L3Match(**l3)
    return Match(**fields)


def match_words(data: bytes) -> str:
    """A match in words, whatever fields it has: by their names where os-ken knows them, else in hex."""
    try:
        listed = ofproto_v1_3_parser.OFPMatch.parser(data, 0).items()
        return " ".join(
            f"{name}={value[0]}/{value[1]}" if isinstance(value, tuple) else f"{name}={value}"
            for name, value in listed
        )
    except Exception:  # noqa: BLE001  # os-ken's decoder raises anything on bytes it cannot read
        return data.hex()


def _take_l3(l3: dict[str, Any], name: str | None, value: Any, mask: Any) -> bool:
    if name is None:
        return False
    if name in ("ip_src", "ip_dst", "arp_spa", "nd_target"):
        text = _ip_text(value, mask)
        l3[name] = text
        return text is not None
    l3[name] = value
    if mask is not None:
        if name not in _MASKED:
            return False
        l3[f"{name}_mask"] = mask
    return True


def _ip_text(value: str, mask: str | None) -> str | None:
    """An address or network as ip_network writes it, None for a mask that is no prefix."""
    if mask is None:
        return str(ip_address(value))
    bits = int(ip_address(mask))
    width = ip_address(mask).max_prefixlen
    prefix = bits.bit_count()
    if bits != (1 << width) - (1 << width - prefix):
        return None
    return str(ip_network((value, prefix), strict=False))
