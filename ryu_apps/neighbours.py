"""ARP (RFC 826) and IPv6 neighbour discovery (RFC 4861): who asks for whom, and the answer."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from stitching.match import ETH_ARP, ETH_IPV6, ETH_VLAN, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION
from stitching.neighbour_rules import PROBER

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_TAG = struct.Struct("!HH")
_VID = 0xFFF
_ICMPV6 = 58
_FROM_REQUEST = 0x60000000
"""Neighbour advertisement flags: solicited, and override what is in the cache."""


@dataclass(frozen=True, slots=True)
class Question:
    """Somebody asks for the MAC of an address. sender_ip is None for a probe for duplicates (RFC 5227, 4862).

    vid is of the VLAN tag (IEEE 802.1Q) around the question, None without one.
    """

    sender_mac: str
    sender_ip: str | None
    target_ip: str
    vid: int | None = None


def read_question(frame: bytes) -> Question | None:
    """The question in an Ethernet frame, or None where there is none (or none that is well formed)."""
    if len(frame) < _ETHERNET.size:
        return None
    _, sender, eth_type = _ETHERNET.unpack_from(frame)
    packet, vid = frame[_ETHERNET.size :], None
    if eth_type == ETH_VLAN and len(packet) >= _TAG.size:
        tag, eth_type = _TAG.unpack_from(packet)
        packet, vid = packet[_TAG.size :], tag & _VID
    if eth_type == ETH_ARP:
        return _read_arp(packet, sender, vid)
    if eth_type == ETH_IPV6:
        return _read_solicitation(packet, sender, vid)
    return None


def answer(question: Question, mac: str) -> bytes | None:
    """The frame that answers a question with this MAC, behind the tag that was asked behind.

    None for a duplicate probe, which its owner answers.
    """
    if question.sender_ip is None:
        return None
    plain = _answer(question, question.sender_ip, mac)
    return plain if question.vid is None else plain[:12] + struct.pack("!HH", ETH_VLAN, question.vid) + plain[12:]


def _answer(question: Question, sender_ip: str, mac: str) -> bytes:
    target = ipaddress.ip_address(question.target_ip)
    sender = ipaddress.ip_address(sender_ip)
    if target.version == 4:
        arp = _ARP.pack(1, 0x0800, 6, 4, 2, _raw(mac), target.packed, _raw(question.sender_mac), sender.packed)
        return _ETHERNET.pack(_raw(question.sender_mac), _raw(mac), ETH_ARP) + arp
    option = b"\x02\x01" + _raw(mac)
    body = struct.pack("!I16s", _FROM_REQUEST, target.packed) + option
    pseudo = target.packed + sender.packed + struct.pack("!IxxxB", 4 + len(body), _ICMPV6)
    checksum = _checksum(pseudo + struct.pack("!BBH", NEIGHBOUR_ADVERTISEMENT, 0, 0) + body)
    icmp = struct.pack("!BBH", NEIGHBOUR_ADVERTISEMENT, 0, checksum) + body
    header = _IPV6.pack(6 << 28, len(icmp), _ICMPV6, 255, target.packed, sender.packed)
    return _ETHERNET.pack(_raw(question.sender_mac), _raw(mac), ETH_IPV6) + header + icmp


def probe(mac: str, ip: str) -> bytes:
    """The question to one host whether it is there, which changes nobody's cache (RFC 5227, 2.1.1)."""
    nobody = bytes(4)
    arp = _ARP.pack(1, 0x0800, 6, 4, 1, _raw(PROBER), nobody, bytes(6), ipaddress.IPv4Address(ip).packed)
    return _ETHERNET.pack(_raw(mac), _raw(PROBER), ETH_ARP) + arp


def _read_arp(packet: bytes, sender: bytes, vid: int | None) -> Question | None:
    if len(packet) < _ARP.size:
        return None
    hardware, protocol, mac_length, ip_length, operation, _, sender_ip, _, target_ip = _ARP.unpack_from(packet)
    if (hardware, protocol, mac_length, ip_length, operation) != (1, 0x0800, 6, 4, 1):
        return None
    asks = str(ipaddress.IPv4Address(sender_ip)) if any(sender_ip) else None
    if sender_ip == target_ip:
        asks = None  # an announcement: nobody is to answer it
    return Question(sender.hex(":"), asks, str(ipaddress.IPv4Address(target_ip)), vid)


def _read_solicitation(packet: bytes, sender: bytes, vid: int | None) -> Question | None:
    if len(packet) < _IPV6.size + 24:
        return None
    _, _, next_header, hop_limit, source, _ = _IPV6.unpack_from(packet)
    kind, code = packet[_IPV6.size : _IPV6.size + 2]
    # A hop limit of 255 proves that the packet has crossed no router (RFC 4861, 7.1.1).
    if (next_header, hop_limit, kind, code) != (_ICMPV6, 255, NEIGHBOUR_SOLICITATION, 0):
        return None
    target = ipaddress.IPv6Address(packet[_IPV6.size + 8 : _IPV6.size + 24])
    asks = str(ipaddress.IPv6Address(source)) if any(source) else None
    return Question(sender.hex(":"), asks, str(target), vid)


def _raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
