"""Questions for addresses (ARP, IPv6 neighbour discovery): the controller hears all, a host those to it alone.

The controller answers what it knows, whoever is asked. What a host asks another alone, to see whether it is still
there (RFC 4861, 7.3.3), goes on to that host as well: hosts that know each other need no controller to go on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from stitching import cookie
from stitching.cookie import Kind
from stitching.match import (
    ETH_ARP,
    ETH_IPV6,
    ICMPV6,
    MULTICAST,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    L3Match,
    Match,
)
from stitching.rules import PORT_CONTROLLER, WHOLE_PACKET, FlowRule, Output, Table

COPY = (Output(PORT_CONTROLLER, WHOLE_PACKET),)
"""What the switch does with every question of a known host, before that goes on."""

PROBER = "02:4c:53:00:00:01"
"""Who asks in the controller's own questions: a locally administered address that no host has."""

UNBOUND = 505
"""In table 0, above what lets a host send at all, below what holds it to its addresses."""

ABOVE_POLICY = 40_000
"""In table 1: a policy is about what hosts send each other once they know where they are."""

_SOLICITATION = L3Match(ip_proto=ICMPV6, icmp_type=NEIGHBOUR_SOLICITATION)
_ADVERTISEMENT = L3Match(ip_proto=ICMPV6, icmp_type=NEIGHBOUR_ADVERTISEMENT)


def copied(sender: Match, bound: Collection[int], edge_cookie: int) -> Iterator[FlowRule]:
    """The questions of a host in those IP versions (4, 6) in which it is not bound to its addresses."""
    if 4 not in bound:
        yield FlowRule(Table.EDGE, UNBOUND, sender._replace(eth_type=ETH_ARP), COPY, Table.SEGMENT, edge_cookie)
    if 6 not in bound:
        asks = sender._replace(eth_type=ETH_IPV6, l3=_SOLICITATION)
        yield FlowRule(Table.EDGE, UNBOUND, asks, COPY, Table.SEGMENT, edge_cookie)


def not_flooded() -> Iterator[FlowRule]:
    """What everybody is asked ends here, and so do answers to the controller: it has a copy."""
    base = cookie.pack(Kind.BASE)
    to_all = Match(eth_dst=MULTICAST, eth_dst_mask=MULTICAST)
    for match in (
        to_all._replace(eth_type=ETH_ARP),
        to_all._replace(eth_type=ETH_IPV6, l3=_SOLICITATION),
        Match(eth_dst=PROBER, eth_type=ETH_ARP),
    ):
        yield FlowRule(Table.SEGMENT, ABOVE_POLICY, match, cookie=base)


def let_through(pair: Match) -> Iterator[FlowRule]:
    """Questions and answers of one host to another that a policy lets send some things only, or only answer."""
    for eth_type, l3 in ((ETH_ARP, None), (ETH_IPV6, _SOLICITATION), (ETH_IPV6, _ADVERTISEMENT)):
        match = pair._replace(eth_type=eth_type, l3=l3)
        yield FlowRule(Table.SEGMENT, ABOVE_POLICY, match, goto=Table.METER, cookie=cookie.pack(Kind.NEIGHBOUR))
