"""Drawn entries of every shape there is, told the one way in which a switch echoes them."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from hypothesis import strategies as st

from stitching import cookie
from stitching.cookie import Kind
from stitching.match import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    ICMP,
    ICMPV6,
    MULTICAST,
    SCTP,
    TCP,
    UDP,
    VLAN_PRESENT,
    L3Match,
    Match,
)
from stitching.rules import (
    LEAST_METER,
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Action,
    Bypass,
    Failover,
    First,
    FlowRule,
    Meter,
    Output,
    PopLabel,
    PushLabel,
    SetDscp,
    SetQueue,
    ToGroup,
)

macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
ports = st.integers(1, 0xFEFF)
dscps = st.integers(0, 63)


@st.composite
def addresses(draw: st.DrawFn, width: int) -> str:
    """An IP address of so many bytes, or a network."""
    raw = draw(st.binary(min_size=width, max_size=width))
    prefix = draw(st.integers(1, 8 * width) | st.just(8 * width))
    network = ip_network((raw, prefix), strict=False)
    return str(network.network_address if prefix == 8 * width else network)


@st.composite
def masked(draw: st.DrawFn) -> tuple[int | None, int | None]:
    """A port number, or some of its bits."""
    mask = draw(st.none() | st.integers(1, 0xFFFE))
    value = draw(st.integers(0, 0xFFFF))
    return (value, None) if mask is None else (value & mask, mask)


@st.composite
def ip_fields(draw: st.DrawFn, eth_type: int) -> L3Match | None:
    """Fields behind an IP header, None where none is drawn."""
    width = 4 if eth_type == ETH_IPV4 else 16
    proto = draw(st.none() | st.sampled_from([TCP, UDP, SCTP, ICMP if eth_type == ETH_IPV4 else ICMPV6, 47]))
    fields: dict[str, Any] = {
        "ip_proto": proto,
        "ip_dscp": draw(st.none() | dscps),
        "ip_src": draw(st.none() | addresses(width)),
        "ip_dst": draw(st.none() | addresses(width)),
    }
    if proto in (TCP, UDP, SCTP):
        for side in ("src_port", "dst_port"):
            if draw(st.booleans()):
                fields[side], fields[f"{side}_mask"] = draw(masked())
    elif proto == ICMP:
        fields["icmp_type"] = draw(st.none() | st.integers(0, 255))
    elif proto == ICMPV6:
        fields["icmp_type"] = draw(st.none() | st.just(135) | st.integers(0, 255))
        if fields["icmp_type"] == 135:
            fields["nd_target"] = draw(st.none() | addresses(16))
            fields["nd_sll"] = draw(st.none() | macs)
    l3 = L3Match(**fields)
    return None if l3 == L3Match() else l3


arp_fields = st.builds(
    lambda op, spa, sha: L3Match(arp_op=op, arp_spa=spa, arp_sha=sha),
    st.none() | st.integers(1, 255),
    st.none() | addresses(4),
    st.none() | macs,
).map(lambda l3: None if l3 == L3Match() else l3)

vlans = (
    st.just((None, None))
    | st.integers(0, 0xFFF).map(lambda vid: (vid | VLAN_PRESENT, None))
    | st.just((VLAN_PRESENT, VLAN_PRESENT))
    | st.just((0, None))
)


@st.composite
def matches(draw: st.DrawFn) -> Match:
    """A match whose fields may stand together."""
    eth_type = draw(st.sampled_from([None, ETH_ARP, ETH_IPV4, ETH_IPV6, 0x88B5]))
    l3 = None
    if eth_type == ETH_ARP:
        l3 = draw(arp_fields)
    elif eth_type in (ETH_IPV4, ETH_IPV6):
        l3 = draw(ip_fields(eth_type))
    vlan_vid, vlan_mask = draw(vlans)
    eth_dst, mask = draw(st.tuples(st.none() | macs, st.none()) | st.just((MULTICAST, MULTICAST)))
    return Match(draw(st.none() | ports), draw(st.none() | macs), eth_dst, mask, eth_type, vlan_vid, vlan_mask, l3)


outputs: st.SearchStrategy[Action] = st.builds(Output, ports | st.just(PORT_IN_PORT)) | st.just(
    Output(PORT_CONTROLLER, 0xFFFF)
)
labels = st.builds(PushLabel, st.integers(1, 0xFFF).map(lambda vid: vid | VLAN_PRESENT), st.integers(0, 7))


@st.composite
def rules(draw: st.DrawFn, groups: tuple[int, ...] = (), meters: tuple[int, ...] = ()) -> FlowRule:
    """A rule that a switch with these groups and meters takes."""
    match = draw(matches())
    choices: list[st.SearchStrategy[Action]] = [outputs, labels, st.builds(SetQueue, st.integers(0, 99))]
    if match.vlan_vid:
        choices.append(st.just(PopLabel()))
    if groups:
        choices.append(st.sampled_from(groups).map(ToGroup))
    if match.eth_type in (ETH_IPV4, ETH_IPV6):
        choices.append(st.builds(SetDscp, dscps))
    actions = draw(st.lists(st.one_of(choices), max_size=5))
    # What follows a tag that is gone or new is checked against another packet than the match tells of.
    last = next((i for i, action in enumerate(actions) if isinstance(action, PopLabel | PushLabel)), len(actions))
    actions = [*actions[: last + 1], *(action for action in actions[last + 1 :] if isinstance(action, Output))]
    table = draw(st.integers(0, 3))
    return FlowRule(
        table,
        draw(st.integers(0, 0xFFFF)),
        match,
        tuple(actions),
        draw(st.none() | st.integers(table + 1, 4)),
        draw(cookies),
        draw(st.none() | st.sampled_from(meters)) if meters else None,
    )


# The nameplate of a switch is nobody's rule: it is not read as one.
kinds = st.sampled_from([kind for kind in Kind if kind is not Kind.NAMEPLATE])
cookies = st.builds(cookie.pack, kinds, epoch=st.integers(0, 0xFFFF), stitch=st.integers(0, 0xFFFFFFFF))
failovers = st.builds(Failover, st.tuples(ports, ports | st.just(PORT_IN_PORT)))
bypasses = st.builds(
    Bypass,
    ports,
    st.integers(3072, 4093).map(lambda vid: vid | VLAN_PRESENT),
    ports | st.just(PORT_IN_PORT),
    st.sampled_from(First),
)
groups = failovers | bypasses
meters = st.builds(
    Meter, st.integers(LEAST_METER, LEAST_METER + 0xFFFF), st.integers(1, 1 << 24), st.integers(1, 1 << 20)
)
