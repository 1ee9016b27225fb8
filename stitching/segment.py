"""The stitch that makes one segment of parts of two virtual networks: what is asked for, and what it becomes."""

from __future__ import annotations

import ipaddress
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from stitching.network import Host, LinkKey, PortId, reverse
from stitching.terms import Terms
from stitching.vnet import Directory

NO_ROOM = "no links with the bandwidth free lead to host "
"""How the reason begins for which a host is left out that nothing but links are missing for."""


@dataclass(frozen=True, slots=True)
class Side:
    """A part of a virtual network: hosts named by MAC and those in subnets, or all where neither is given."""

    vnet: str
    hosts: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()

    def takes(self, host: Host, directory: Directory) -> bool:
        """Whether a host is of this part."""
        if directory.vnet_of(host) != self.vnet:
            return False
        if not self.hosts and not self.subnets:
            return True
        networks = [ipaddress.ip_network(subnet) for subnet in self.subnets]
        return host.mac in self.hosts or any(
            ipaddress.ip_address(ip) in net for ip in host.ips for net in networks
        )

    def may_share(self, other: Side) -> bool:
        """Whether some host could be of both parts: only lists of hosts are known to have none in common."""
        named = self.hosts and other.hosts and not self.subnets and not other.subnets
        return self.vnet == other.vnet and not (named and set(self.hosts).isdisjoint(other.hosts))


@dataclass(frozen=True, slots=True)
class SegmentRequest(Terms):
    """Two parts of virtual networks that are to be one segment; hosts join and leave it as they come and go.

    bandwidth_mbps is promised each way on every link of the segment.
    """

    KIND: ClassVar = "segment"

    source: Side
    target: Side
    bandwidth_mbps: float

    @property
    def vnets(self) -> tuple[str, str]:
        """The networks of both parts."""
        return self.source.vnet, self.target.vnet

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both parts."""
        return self.source, self.target


@dataclass(frozen=True, slots=True)
class Member:
    """A host of a segment and its port. hears: broadcast of the other network leaves by that port anyway."""

    mac: str
    dpid: int
    port_no: int
    hears: bool = False

    @property
    def port(self) -> PortId:
        """The edge port it is on."""
        return self.dpid, self.port_no


@dataclass(frozen=True, slots=True)
class Detour:
    """A way round a link of a tree, or round the switch behind that as well, for packets that would take the link.

    It begins where the link does, and ends at the switch behind it or at one behind that. In its last switch a
    packet goes on as if it had come by the tree; with only_here it goes to the members there and no further, as
    others lead to what lies behind. Detours of one colour have a label in common: no packet meets rules of two.
    """

    around: LinkKey
    links: tuple[LinkKey, ...]
    only_here: bool = False
    colour: int = 0

    @property
    def end(self) -> int:
        """The switch it leads to."""
        return self.links[-1][2]


@dataclass(frozen=True, slots=True)
class SegmentTree:
    """A tree of links that joins the switches of all members; each link is there once, and crossed both ways.

    What sources send carries `label` on the way, what targets send the one after it. since is the epoch in which
    it took them. left_out says which hosts are not members although they should be, and why. latency_ms is that of
    the two members of different sides that are farthest apart. Where it is protected there are detours; those of a
    colour carry the label of that place in detour_labels, and the one after it, likewise.
    """

    KIND: ClassVar = "tree"

    links: tuple[LinkKey, ...]
    sources: tuple[Member, ...]
    targets: tuple[Member, ...]
    latency_ms: float | None
    label: int = 0
    since: int = 0
    left_out: tuple[str, ...] = ()
    detours: tuple[Detour, ...] = ()
    detour_labels: tuple[int, ...] = ()

    @property
    def all_links(self) -> tuple[LinkKey, ...]:
        """The links that packets may be on, each once and in one direction: those of the tree first."""
        there = dict.fromkeys(self.links)
        for key in (key for detour in self.detours for key in detour.links):
            if reverse(key) not in there:
                there.setdefault(key)
        return tuple(there)

    @property
    def members(self) -> tuple[Member, ...]:
        """The hosts of both sides."""
        return (*self.sources, *self.targets)

    @property
    def dpids(self) -> frozenset[int]:
        """The switches it needs."""
        return frozenset(member.dpid for member in self.members) | {
            d for key in self.all_links for d in (key[0], key[2])
        }

    @property
    def labels(self) -> tuple[int, ...]:
        """The first of each two labels that it has, where it has them."""
        return (self.label, *self.detour_labels) if self.label else ()

    @property
    def ways(self) -> tuple[tuple[tuple[Member, ...], tuple[Member, ...], int], ...]:
        """Who sends to whom, with which label."""
        return (self.sources, self.targets, self.label), (self.targets, self.sources, self.label + 1)

    def pairs(self) -> Iterator[tuple[Member, Member]]:
        """Every sender with every receiver of the other side."""
        return ((one, other) for senders, receivers, _ in self.ways for one in senders for other in receivers)


Ports = Mapping[int, Mapping[int, LinkKey]]
"""By switch: the links of a tree that leave it, by port."""


def ports_of(links: tuple[LinkKey, ...]) -> Ports:
    """The links of a tree, in both directions, by switch and port."""
    ports: dict[int, dict[int, LinkKey]] = defaultdict(dict)
    for one, one_port, other, other_port in links:
        ports[one][one_port] = (one, one_port, other, other_port)
        ports[other][other_port] = (other, other_port, one, one_port)
    return ports


def links_towards(ports: Ports, dpid: int) -> dict[int, LinkKey]:
    """The link by which each other switch of a tree reaches this one."""
    towards: dict[int, LinkKey] = {}
    ahead = deque([dpid])
    while ahead:
        for here, here_port, there, there_port in ports.get(ahead.popleft(), {}).values():
            if there != dpid and there not in towards:
                towards[there] = (there, there_port, here, here_port)
                ahead.append(there)
    return towards


def way_to(towards: Mapping[int, LinkKey], dpid: int) -> tuple[LinkKey, ...]:
    """The links from a switch on, to where all of these lead."""
    way = []
    while dpid in towards:
        way.append(towards[dpid])
        dpid = towards[dpid][2]
    return tuple(way)


def is_forest(links: frozenset[frozenset[PortId]]) -> bool:
    """Whether these wires, each by its two ports, form no circle."""
    root: dict[int, int] = {}

    def find(dpid: int) -> int:
        while (above := root.get(dpid, dpid)) != dpid:
            dpid = above
        return dpid

    for one, other in (sorted(wire) for wire in links):
        first, second = find(one[0]), find(other[0])
        if first == second:
            return False
        root[first] = second
    return True


def can_follow(before: SegmentTree, after: SegmentTree) -> bool:
    """Whether rules of one may meet packets of the other: both trees together are none with a circle in it.

    Then every two hosts that stay are joined by the same links in both, and what a switch sends elsewhere by one
    of them cannot come back: the label may stay. With detours, which lead anywhere, it may where no link changes.
    """
    places = {member.mac: member.port for member in before.members}
    sides = {member.mac for member in before.sources}
    stay = all(
        places.get(member.mac, member.port) == member.port
        and (member.mac not in places or (member.mac in sides) == (member in after.sources))
        for member in after.members
    )
    if before.detours or after.detours:
        return stay and (before.links, before.detours) == (after.links, after.detours)
    wires = frozenset(frozenset({key[:2], key[2:]}) for key in (*before.links, *after.links))
    return stay and is_forest(wires)
