"""Holds hosts to what is theirs: the rules of table 0 for one host, and whose an address is.

Addresses that are declared are the only ones of their host. Where a virtual network is guarded strictly, so is the
first address that was learned of each family, until it ages.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from stitching import cookie
from stitching.cookie import Kind
from stitching.match import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    ETH_SERVICE_VLAN,
    ETH_VLAN,
    ICMPV6,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    UDP,
    L3Match,
    Match,
)
from stitching.neighbour_rules import COPY, copied
from stitching.network import Host, Network
from stitching.rules import Action, FlowRule, Table
from stitching.vnet import Directory, SpoofGuard

NOBODY = "nobody"
"""Whose an address is that a host may not use, though no other has it."""

HOLDS_ADDRESSES = frozenset({SpoofGuard.STRICT, SpoofGuard.DECLARED})

KNOWN, NOT_ITS_OWN, ITS_OWN, NEIGHBOURS, NEIGHBOUR_CLAIM = 500, 510, 520, 525, 530
"""Priorities in table 0, all below those of labels and probes."""

_NO_OPTION = "00:00:00:00:00:00"
"""What Open vSwitch sees as the link-layer address where a solicitation carries none."""

_DHCP_CLIENT, _DHCP_SERVER = 68, 67

_EDGE = cookie.pack(Kind.EDGE)
_SPOOF = cookie.pack(Kind.SPOOF)


def bound_addresses(host: Host, directory: Directory) -> tuple[frozenset[str], frozenset[int]]:
    """The addresses a host is held to, and the IP versions of which it may use no others."""
    member, guard = directory.member(host.mac), directory.guard_of(host)
    if guard not in HOLDS_ADDRESSES:
        return frozenset(), frozenset()
    if member is not None and member.ips:
        return frozenset(member.ips), frozenset({4, 6})
    if guard is SpoofGuard.STRICT:
        return host.ips, frozenset(ipaddress.ip_address(ip).version for ip in host.ips)
    return frozenset(), frozenset()


def link_local(mac: str) -> str:
    """The IPv6 link-local address made of a MAC (RFC 4291, appendix A)."""
    raw = bytes.fromhex(mac.replace(":", ""))
    interface = bytes((raw[0] ^ 2, *raw[1:3], 0xFF, 0xFE, *raw[3:]))
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + interface))


def whose(ip: str, mac: str, network: Network, directory: Directory) -> str | None:
    """The MAC that an address is held for where that is another than this one; None where mac may claim it."""
    member = directory.member(mac)
    host = network.hosts.get(mac, Host(mac, 0, 0))
    owner = directory.declared_owner(ip)
    if owner is not None and owner != mac:
        return owner if directory.guard_of(Host(owner, 0, 0)) in HOLDS_ADDRESSES else None
    if member is not None and member.ips and directory.guard_of(host) in HOLDS_ADDRESSES:
        return None if ip in member.ips or ip == link_local(mac) else NOBODY
    other = network.host_by_ip(ip)
    if other is not None and other.mac != mac and directory.guard_of(other) is SpoofGuard.STRICT:
        return other.mac
    return None


def edge_rules(host: Host, directory: Directory) -> Iterator[FlowRule]:
    """What a host may send at all, at its own port: with its own MAC, and its own addresses where it is bound."""
    base = Match(in_port=host.port_no, eth_src=host.mac)
    yield FlowRule(Table.EDGE, KNOWN, base, goto=Table.SEGMENT, cookie=_EDGE)
    addresses, versions = bound_addresses(host, directory)
    yield from copied(base, versions, _EDGE)
    if versions:
        # Behind a second tag switches do not look: whose address is there, nobody could tell.
        yield from (_drop(base, eth_type, NOT_ITS_OWN) for eth_type in (ETH_VLAN, ETH_SERVICE_VLAN))
    v4 = sorted(ip for ip in addresses if ":" not in ip)
    v6 = sorted({link_local(host.mac), *(ip for ip in addresses if ":" in ip)})
    if 4 in versions:
        yield from _allow(base, _ipv4(host, v4))
        yield from (_drop(base, eth_type, NOT_ITS_OWN) for eth_type in (ETH_IPV4, ETH_ARP))
    if 6 in versions:
        yield from _allow(base, _ipv6(v6))
        yield from _neighbour_rules(base, host, v6)
        yield _drop(base, ETH_IPV6, NOT_ITS_OWN)


def _ipv4(host: Host, addresses: Iterable[str]) -> Iterator[tuple[int, L3Match]]:
    for ip in addresses:
        yield ETH_IPV4, L3Match(ip_src=ip)
        yield ETH_ARP, L3Match(arp_spa=ip, arp_sha=host.mac)
    yield ETH_IPV4, L3Match(ip_proto=UDP, ip_src="0.0.0.0", src_port=_DHCP_CLIENT, dst_port=_DHCP_SERVER)  # noqa: S104
    # Is somebody there? (RFC 5227)
    yield ETH_ARP, L3Match(arp_spa="0.0.0.0", arp_sha=host.mac)  # noqa: S104


def _ipv6(addresses: Iterable[str]) -> Iterator[tuple[int, L3Match]]:
    for ip in addresses:
        yield ETH_IPV6, L3Match(ip_src=ip)
    # Before it has an address: is somebody there, and who routes? (RFC 4862)
    yield ETH_IPV6, L3Match(ip_proto=ICMPV6, ip_src="::")


def _neighbour_rules(base: Match, host: Host, addresses: list[str]) -> Iterator[FlowRule]:
    """In neighbour discovery a host may speak of itself only (RFC 4861, 4.3 and 4.4)."""
    for ip in (*addresses, "::"):
        for option in (host.mac, _NO_OPTION):
            asks = L3Match(ip_proto=ICMPV6, icmp_type=NEIGHBOUR_SOLICITATION, ip_src=ip, nd_sll=option)
            yield _allowed(base, ETH_IPV6, asks, NEIGHBOUR_CLAIM, COPY)
    for ip in addresses:
        says = L3Match(ip_proto=ICMPV6, icmp_type=NEIGHBOUR_ADVERTISEMENT, nd_target=ip)
        yield _allowed(base, ETH_IPV6, says, NEIGHBOUR_CLAIM)
    for icmp_type in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
        l3 = L3Match(ip_proto=ICMPV6, icmp_type=icmp_type)
        match = Match(in_port=base.in_port, eth_src=base.eth_src, eth_type=ETH_IPV6, l3=l3)
        yield FlowRule(Table.EDGE, NEIGHBOURS, match, cookie=_SPOOF)


def _allow(base: Match, fields: Iterable[tuple[int, L3Match]]) -> Iterator[FlowRule]:
    for eth_type, l3 in fields:
        yield _allowed(base, eth_type, l3, ITS_OWN, COPY if eth_type == ETH_ARP else ())


def _allowed(base: Match, eth_type: int, l3: L3Match, priority: int, copy: tuple[Action, ...] = ()) -> FlowRule:
    match = Match(in_port=base.in_port, eth_src=base.eth_src, eth_type=eth_type, l3=l3)
    return FlowRule(Table.EDGE, priority, match, copy, Table.SEGMENT, _EDGE)


def _drop(base: Match, eth_type: int, priority: int) -> FlowRule:
    match = Match(in_port=base.in_port, eth_src=base.eth_src, eth_type=eth_type)
    return FlowRule(Table.EDGE, priority, match, cookie=_SPOOF)
