"""What a flow rule matches on: the fields of OpenFlow 1.3.5, section 7.2.3.8, that rules of ours use."""

from __future__ import annotations

from typing import NamedTuple

MULTICAST = "01:00:00:00:00:00"
"""The group bit of an Ethernet address: as value and mask it matches broadcast and multicast."""

ETH_IPV4 = 0x0800
ETH_ARP = 0x0806
ETH_VLAN = 0x8100
ETH_SERVICE_VLAN = 0x88A8
"""The outer tag of IEEE 802.1ad. Below a tag, either says that another one follows."""

ETH_IPV6 = 0x86DD
ETH_LLDP = 0x88CC
ETH_PROBE = 0x88B5
"""IEEE 802 local experimental EtherType 1: the probes that cross a stitch."""

VLAN_PRESENT = 0x1000
"""The bit of vlan_vid that says that there is a tag at all (OFPVID_PRESENT)."""

NO_VLAN = 0
"""The vlan_vid of a packet without a tag (OFPVID_NONE)."""

ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
"""IP protocol numbers."""

NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
"""Types of ICMPv6 (RFC 4861): who has this address, and the answer."""


class L3Match(NamedTuple):
    """Fields behind the Ethernet header; the eth_type and ip_proto of the match decide which ones there can be.

    Addresses are text, with a prefix length where they stand for many ("10.0.0.0/8"). Ports are of the protocol in
    ip_proto (TCP, UDP, SCTP); a mask, where there is one, says which of their bits count. icmp_type is of ICMP or
    ICMPv6. The arp_ fields are of ARP, the nd_ fields of neighbour discovery.
    """

    ip_dscp: int | None = None
    ip_proto: int | None = None
    ip_src: str | None = None
    ip_dst: str | None = None
    src_port: int | None = None
    src_port_mask: int | None = None
    dst_port: int | None = None
    dst_port_mask: int | None = None
    icmp_type: int | None = None
    arp_op: int | None = None
    arp_spa: str | None = None
    arp_sha: str | None = None
    nd_target: str | None = None
    nd_sll: str | None = None


class Match(NamedTuple):
    """The fields a rule matches on; None matches anything. Addresses are lower case with colons.

    vlan_vid has VLAN_PRESENT set where it matches a tag; with a mask, only those bits count.
    """

    in_port: int | None = None
    eth_src: str | None = None
    eth_dst: str | None = None
    eth_dst_mask: str | None = None
    eth_type: int | None = None
    vlan_vid: int | None = None
    vlan_mask: int | None = None
    l3: L3Match | None = None
