"""Which bridges of sites are joined, and by what: between each two that packets have a way between, a VXLAN.

A site with a bridge has an anchor, an address of the overlay that its tunnels lead to as to its prefixes. A link
is a VXLAN (RFC 7348) from anchor to anchor: it takes whatever way the routes take, across relays too, and moves
with them. At each end it is a port of the bridge, so whoever keeps the bridges finds it as any other link.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from types import MappingProxyType

from stitching.network import PortId, node_name
from stitching.overlay.replacing import SiteReport
from stitching.overlay.sites import Address, Bridge, Pair, Prefix, Site
from stitching.overlay.tunnels import TunnelBook, anchor_places, anchor_slot

MOST_LINKED = 32
"""So many sites have their bridges joined, each with each other; more would be too many links for one fabric."""

_MOST_VNI = (1 << 24) - 1


@dataclass(frozen=True, slots=True)
class SiteLink:
    """A link between the bridges of two sites (a < b, by serial); its ports are None until a site has said them.

    A link never changes: where another bridge is to be joined that is another link, with a VNI of its own.
    """

    a: int
    b: int
    vni: int
    bridge_a: Bridge
    bridge_b: Bridge
    port_a: int | None = None
    port_b: int | None = None

    @property
    def name(self) -> str:
        """As both ends and the messages call it."""
        return f"l{self.a}-{self.b}-{self.vni}"

    @property
    def pair(self) -> Pair:
        """The two sites."""
        return self.a, self.b

    @property
    def ports(self) -> tuple[PortId, PortId] | None:
        """Where it is plugged in at both ends, once both are known."""
        if self.port_a is None or self.port_b is None:
            return None
        return (self.bridge_a.dpid, self.port_a), (self.bridge_b.dpid, self.port_b)


@dataclass(frozen=True)
class LinkBook:
    """All links, and the place of each site's anchor: to be stored, or addresses and VNIs could be given twice."""

    anchors: tuple[tuple[int, int], ...] = ()
    links: tuple[SiteLink, ...] = ()
    next_anchor: int = 0
    next_vni: int = 1

    @cached_property
    def places(self) -> Mapping[int, int]:
        """The place of each anchor by serial."""
        return MappingProxyType(dict(self.anchors))

    @cached_property
    def by_pair(self) -> Mapping[Pair, SiteLink]:
        """The links by the sites at their ends."""
        return MappingProxyType({link.pair: link for link in self.links})

    @cached_property
    def plugged(self) -> frozenset[tuple[PortId, PortId]]:
        """The ports at both ends of those that are plugged in at both."""
        return frozenset(link.ports for link in self.links if link.ports is not None)


@dataclass(frozen=True)
class Linked:
    """The book after a step; what was decided; and what keeps bridges from being joined."""

    book: LinkBook
    events: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """One end of a link, as the site there is told: a VXLAN from one anchor to the other."""

    name: str
    peer: int
    vni: int
    local: Address
    remote: Address


Joined = Callable[[int, int], bool]
"""Whether two sites have a way to each other's anchors, both ways."""


def next_links(
    book: LinkBook,
    sites: Mapping[int, Site],
    reports: Mapping[int, SiteReport],
    tunnels: TunnelBook,
    joined: Joined,
) -> Linked:
    """Which links there are from now on. Without anything new the book is the same object as before.

    One is made once packets have a way, and is there for as long as both sites have the bridges that it joins: a
    way that is gone for a while takes it down and not away.
    """
    return _Step(book, sites, reports, tunnels).done(joined)


def anchor(tunnels: TunnelBook, place: int) -> Address:
    """The address of an anchor."""
    return tunnels.overlay_range.broadcast_address - 1 - place


def anchor_prefixes(book: LinkBook, tunnels: TunnelBook) -> Mapping[int, Prefix]:
    """What leads to each site's anchor, by serial."""
    whole = type(tunnels.overlay_range)
    return {
        serial: whole((int(anchor(tunnels, place)), 32 if tunnels.overlay_range.version == 4 else 128))
        for serial, place in book.anchors
    }


def link_ends(book: LinkBook, tunnels: TunnelBook) -> Mapping[int, tuple[LinkEnd, ...]]:
    """What each site is told of its links, by serial."""
    ends: dict[int, list[LinkEnd]] = {}
    for link in book.links:
        a, b = (anchor(tunnels, book.places[serial]) for serial in link.pair)
        ends.setdefault(link.a, []).append(LinkEnd(link.name, link.b, link.vni, a, b))
        ends.setdefault(link.b, []).append(LinkEnd(link.name, link.a, link.vni, b, a))
    return {serial: tuple(of_site) for serial, of_site in ends.items()}


class _Step:
    def __init__(
        self, book: LinkBook, sites: Mapping[int, Site], reports: Mapping[int, SiteReport], tunnels: TunnelBook
    ) -> None:
        self.book, self.sites, self.reports, self.tunnels = book, sites, reports, tunnels
        self.events: list[str] = []
        self.problems: list[str] = []

    def done(self, joined: Joined) -> Linked:
        bridges = self._bridges()
        places, next_anchor = self._anchors(bridges)
        kept = {}
        for pair, link in self.book.by_pair.items():
            if (bridges.get(link.a), bridges.get(link.b)) == (link.bridge_a, link.bridge_b):
                kept[pair] = self._plugged(link)
            else:
                self.events.append(f"link {link.name} goes: {self._why_gone(link, bridges)}")
        next_vni = self.book.next_vni
        taken = {link.vni for link in kept.values()}
        for a, b in combinations(sorted(bridges.keys() & places.keys()), 2):
            if (a, b) not in kept and joined(a, b):
                while next_vni in taken:
                    next_vni = next_vni % _MOST_VNI + 1
                kept[a, b] = link = SiteLink(a, b, next_vni, bridges[a], bridges[b])
                taken.add(next_vni)
                next_vni = next_vni % _MOST_VNI + 1
                names = f"{self.sites[a].name} and {self.sites[b].name}"
                self.events.append(f"link {link.name} comes: there is a way between {names}")
        anchors = tuple(sorted(places.items()))
        book = LinkBook(anchors, tuple(kept[pair] for pair in sorted(kept)), next_anchor, next_vni)
        return Linked(self.book if book == self.book else book, tuple(self.events), tuple(self.problems))

    def _bridges(self) -> dict[int, Bridge]:
        """The bridges to be joined by serial: two sites that call one switch theirs are not both right."""
        before = {serial: bridge for link in self.book.links for serial, bridge in _sides(link)}
        found: dict[int, Bridge] = {}
        owners: dict[int, int] = {}
        known = [(serial, site.bridge) for serial, site in self.sites.items() if site.bridge is not None]
        # Who has had it goes before who says so now.
        for serial, bridge in sorted(known, key=lambda one: (before.get(one[0]) != one[1], one[0])):
            name = self.sites[serial].name
            owner = owners.setdefault(bridge.dpid, serial)
            if owner != serial:
                self.problems.append(
                    f"{name} and {self.sites[owner].name} both have a bridge with the datapath id "
                    f"{node_name(bridge.dpid)}; that of {name} is joined to none: give it another "
                    f"(ovs-vsctl set bridge {bridge.name} other_config:datapath-id=...)"
                )
            elif len(found) == MOST_LINKED:
                self.problems.append(f"{name}: its bridge is joined to none, as {MOST_LINKED} others are already")
            else:
                found[serial] = bridge
        return found

    def _anchors(self, bridges: Mapping[int, Bridge]) -> tuple[dict[int, int], int]:
        """The anchors by serial. A member keeps the one it has; what was given last comes back last."""
        places = {serial: place for serial, place in self.book.anchors if serial in self.sites}
        if bridges.keys() <= places.keys():
            return places, self.book.next_anchor
        room = anchor_places(self.tunnels.overlay_range)
        slots = {one.slot for state in self.tunnels.lines.values() for one in state.tunnels}
        taken = set(places.values())
        place = self.book.next_anchor
        for serial in sorted(bridges.keys() - places.keys()):
            free = ((place + step) % room for step in range(room))
            found = next(
                (
                    one
                    for one in free
                    if one not in taken and anchor_slot(self.tunnels.overlay_range, one) not in slots
                ),
                None,
            )
            if found is None:
                name, whole = self.sites[serial].name, self.tunnels.overlay_range
                self.problems.append(f"{name}: its bridge waits, as {whole} has no address left for it")
                continue
            places[serial] = found
            taken.add(found)
            place = (found + 1) % room
        return places, place

    def _plugged(self, link: SiteLink) -> SiteLink:
        """The link with the ports that its sites say; of one that has not been heard, as it was known."""
        ports = [link.port_a, link.port_b]
        for side, serial in enumerate(link.pair):
            if (report := self.reports.get(serial)) is not None:
                ports[side] = report.ports.get(link.name)
        return link if ports == [link.port_a, link.port_b] else replace(link, port_a=ports[0], port_b=ports[1])

    def _why_gone(self, link: SiteLink, bridges: Mapping[int, Bridge]) -> str:
        for serial, bridge in _sides(link):
            if serial not in self.sites:
                return f"serial {serial} is no member any more"
            if bridges.get(serial) != bridge:
                return f"{self.sites[serial].name} has no bridge {bridge.name} ({node_name(bridge.dpid)}) any more"
        return "it is not wanted any more"


def _sides(link: SiteLink) -> tuple[tuple[int, Bridge], tuple[int, Bridge]]:
    return (link.a, link.bridge_a), (link.b, link.bridge_b)
