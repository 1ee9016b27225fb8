"""From the tunnels there are and the ways that were chosen to what each site shall have.

A site sends packets for another one over a tunnel straight to it, or to one that passes on. That one sends them
straight there, or to another that passes on and comes earlier in an order of their own for each destination. In
it those whose tunnels are alive come first: between hubs packets go towards the one that still has a way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from stitching.overlay.links import LinkEnd
from stitching.overlay.loops import Withheld, withheld
from stitching.overlay.prefix_sets import PrefixSet, PrefixTable, Span
from stitching.overlay.site_plan import PlannedClass, RouteGroup, SitePlan, TunnelEnd
from stitching.overlay.sites import Prefix, Site
from stitching.overlay.tunnels import LineState, Phase, Tunnel, TunnelBook, addresses

ChoiceKey = tuple[int, int, str | None]
"""From which site, to which, for which class (None: packets of no class)."""

Orders = Mapping[int, Mapping[int, Mapping[str | None, Sequence[tuple[str, ...]]]]]
"""By source, destination and class: ways as names of tunnels, best first."""

_BY_PHASE = {Phase.ACTIVE: 0, Phase.LEAVING: 1, Phase.COMING: 2}


@dataclass(frozen=True, slots=True)
class Given:
    """What plans are made from. `transit`: who passes on, the preferred first. `down`: tunnels that are not up.

    `anchors` lead to the ends of links at sites, as their prefixes do; `links` are those of each site.
    The parts that are the same objects as the last time are taken to be unchanged.
    """

    sites: Mapping[int, Site]
    book: TunnelBook
    transit: tuple[int, ...] = ()
    classes: tuple[PlannedClass, ...] = ()
    orders: Orders = field(default_factory=lambda: MappingProxyType({}))
    down: Collection[str] = frozenset()
    anchors: Mapping[int, Prefix] = field(default_factory=lambda: MappingProxyType({}))
    links: Mapping[int, tuple[LinkEnd, ...]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Compiled:
    """The plans by serial, what they were made from, and what they may not do yet."""

    plans: Mapping[int, SitePlan]
    given: Given
    owners: Mapping[Prefix, int]
    everything: PrefixTable
    withheld: Withheld
    partial: Mapping[int, frozenset[int]]
    """Destinations that not everyone who passes on has a way to, and who has."""


def compile_plans(
    given: Given, in_force: Mapping[int, Sequence[SitePlan]], before: Compiled | None = None
) -> Compiled:
    """Compile all plans; those of sites that nothing changed for are taken from `before`, as the same objects.

    `in_force`: for each site all plans that it may be carrying out, the last one it has confirmed and all that
    were sent to it since. Plans made now do nothing that makes a loop with any of them, see loops.py.
    """
    return _Compiling(given, in_force, before).compiled()


class _Compiling:
    def __init__(self, given: Given, in_force: Mapping[int, Sequence[SitePlan]], before: Compiled | None) -> None:
        self.given, self.in_force, self.before = given, in_force, before
        self.transit = tuple(serial for serial in given.transit if serial in given.sites)
        self.same = before if before is not None and _same_places(before.given, given) else None
        self.owners = (
            self.same.owners
            if self.same is not None
            else {prefix: site.serial for site in given.sites.values() for prefix in self._owned(site)}
        )
        self.tunnels: dict[int, list[Tunnel]] = {}
        self.legs: dict[int, dict[int, list[Tunnel]]] = {serial: {} for serial in self.transit}
        for state in given.book.lines.values():
            for tunnel in state.tunnels:
                if tunnel.wanted and {tunnel.line.a, tunnel.line.b} <= given.sites.keys():
                    self._index(tunnel)
        self.place = {serial: place for place, serial in enumerate(self.transit)}
        self.rank_memo: dict[int, dict[int, int]] = {}
        self.near_memo: dict[int, dict[int, list[Tunnel]]] = {}
        everyone = frozenset(given.sites)
        self.served = {relay: self._served(relay) | {relay} for relay in self.transit}
        by_all = everyone.intersection(*self.served.values()) if self.served else frozenset[int]()
        self.partial = {
            dst: frozenset(relay for relay, served in self.served.items() if dst in served)
            for dst in everyone - by_all
        }
        self.span: dict[int, Span] = {}
        end = 0
        for serial, site in given.sites.items():
            start, end = end, end + len(self._owned(site))
            self.span[serial] = start, end
        self.everything = (
            self.same.everything
            if self.same is not None
            else PrefixTable(prefix for site in given.sites.values() for prefix in self._owned(site))
        )

    def _owned(self, site: Site) -> tuple[Prefix, ...]:
        """All that leads to a site."""
        anchor = self.given.anchors.get(site.serial)
        return site.prefixes if anchor is None else (*site.prefixes, anchor)

    def _index(self, tunnel: Tunnel) -> None:
        for end in tunnel.line.pair:
            self.tunnels.setdefault(end, []).append(tunnel)
            if end in self.legs:
                self.legs[end].setdefault(tunnel.line.other(end), []).append(tunnel)

    def compiled(self) -> Compiled:
        before = self.before
        held = withheld(
            self.owners,
            self.transit,
            self.next_of,
            self.in_force,
            self._known_targets,
            before.plans if before is not None else {},
            before.owners.keys() if before is not None else (),
        )
        self.held = held
        touched = self._touched()
        plans: dict[int, SitePlan] = {}
        for serial in self.given.sites:
            old = before.plans.get(serial) if before is not None else None
            if old is not None and serial not in touched:
                plans[serial] = old
                continue
            plan = self._plan(serial)
            plans[serial] = old if old is not None and old == plan else plan
        return Compiled(MappingProxyType(plans), self.given, self.owners, self.everything, held, self.partial)

    def _known_targets(self, prefix: Prefix) -> Collection[int]:
        before = self.before
        if before is None:
            return ()
        owner = before.owners.get(prefix)
        return before.given.transit if owner is None else (*before.given.transit, owner)

    def _touched(self) -> Collection[int]:
        """The sites whose plan has to be made anew."""
        before, given = self.same, self.given
        if (
            before is None
            or before.given.transit != given.transit
            or before.given.classes != given.classes
            or before.partial != self.partial
        ):
            return given.sites.keys()
        touched = set(self.transit) if before.given.down != given.down else set()
        if before.given.sites is not given.sites:
            # Its uplinks are others: so are its ends of tunnels, and what the far ends are told of it.
            for serial, site in given.sites.items():
                if before.given.sites[serial] != site:
                    touched.update((serial, *self._near(serial)))
        old, new = before.given.book.lines, given.book.lines
        if old is not new:
            nothing = LineState()
            for line in {*old, *new}:
                if old.get(line, nothing) is not new.get(line, nothing):
                    touched.update(line.pair)
        if touched & self.place.keys():
            touched.update(self.transit)
        was, now = before.given.orders, given.orders
        if was is not now:
            touched.update(serial for serial in {*was, *now} if was.get(serial) != now.get(serial))
        links, newer = before.given.links, given.links
        touched.update(serial for serial in {*links, *newer} if links.get(serial) != newer.get(serial))
        touched.update(s for s in {*before.withheld, *self.held} if before.withheld.get(s) != self.held.get(s))
        return touched

    # -- who passes on to whom

    def _served(self, relay: int) -> frozenset[int]:
        """Everyone a relay has a tunnel to, or another relay that it has a tunnel to."""
        near = self.legs[relay]
        return frozenset(near).union(*(self.legs[other] for other in self.transit if other in near))

    def _rank(self, dst: int) -> Mapping[int, int]:
        """The order of those that pass on, by destination: from an earlier one nothing goes to a later one."""
        known = self.rank_memo.get(dst)
        if known is None:
            down = self.given.down

            def far(relay: int) -> tuple[bool, bool, int]:
                legs = self.legs[relay].get(dst, ())
                return not legs, all(tunnel.name in down for tunnel in legs), self.place[relay]

            order = sorted(self.transit, key=far)
            known = self.rank_memo[dst] = {relay: place for place, relay in enumerate(order)}
        return known

    def _relays(self, src: int, dst: int) -> list[int]:
        """Those a site may hand packets for another one to, the preferred first."""
        near = self._near(src)
        if src not in self.place:
            return [
                relay for relay in self.transit if relay in near and relay != dst and dst in self.served[relay]
            ]
        rank = self._rank(dst)
        earlier = (relay for relay in self.transit if rank[relay] < rank[src] and relay != dst)
        return [relay for relay in earlier if relay in near and dst in self.legs[relay]]

    def next_of(self, src: int, dst: int) -> list[int]:
        """Everyone a site may send packets for another one to."""
        if src == dst or src not in self.given.sites:
            return []
        straight = [dst] if dst in self._near(src) else []
        return straight + self._relays(src, dst)

    def _near(self, serial: int) -> Mapping[int, list[Tunnel]]:
        known = self.near_memo.get(serial)
        if known is None:
            known = self.near_memo[serial] = self.legs.get(serial) or {}
            if serial not in self.legs:
                for tunnel in self.tunnels.get(serial, ()):
                    known.setdefault(tunnel.line.other(serial), []).append(tunnel)
        return known

    # -- one plan

    def _plan(self, serial: int) -> SitePlan:
        site = self.given.sites[serial]
        mine = sorted(self.tunnels.get(serial, ()), key=lambda tunnel: tunnel.name)
        before = self.before
        old = before.plans.get(serial) if before is not None and before.given.sites is self.given.sites else None
        # Neither tunnels nor, with the same sites, where they lead to change: the ends there were stay.
        known = {end.name: end for end in old.tunnels} if old is not None else {}
        ends = tuple(known.get(tunnel.name) or self._end(serial, tunnel) for tunnel in mine)
        return SitePlan(
            *(serial, serial in self.place, self._owned(site), ends, self.given.classes, self._routes(serial)),
            links=self.given.links.get(serial, ()),
            anchors=tuple(self.given.anchors.values()) if serial in self.place else (),
        )

    def _end(self, serial: int, tunnel: Tunnel) -> TunnelEnd:
        line, sites = tunnel.line, self.given.sites
        peer = line.other(serial)
        near, far = line.uplink_at(serial), line.uplink_at(peer)
        here, there = sites[serial].uplink(near), sites[peer].uplink(far)
        pair = addresses(self.given.book.overlay_range, tunnel.slot)
        mine, theirs = pair if serial == line.a else pair[::-1]
        remote = there.address if there is not None and there.callable else None
        local = here.address if here is not None else mine
        return TunnelEnd(tunnel.name, peer, line.transport, near, local, far, remote, mine, theirs, tunnel.spec)

    def _routes(self, src: int) -> tuple[RouteGroup, ...]:
        near, orders = self._near(src), self.given.orders.get(src, {})
        passing = src in self.place
        apart = (
            self.given.sites.keys()
            if passing
            else {*near, *orders, *self.partial, *(dst for dst, _ in self.held.get(src, ()))}
        )
        apart = {dst for dst in apart if dst != src and dst in self.given.sites}
        groups: dict[tuple[str | None, tuple[str, ...]], list[Span]] = {}
        if not passing and self.transit:
            rest = self._without({src, *apart})
            relays = [relay for relay in self.transit if relay in near]
            tunnels = self._in_order([tunnel for relay in relays for tunnel in near[relay]], ())
            if rest and tunnels:
                groups[None, tunnels] = rest
        for dst in sorted(apart):
            span = self.span[dst]
            if span[0] == span[1]:
                continue
            banned = self.held.get(src, frozenset())
            hops = [hop for hop in self.next_of(src, dst) if (dst, hop) not in banned]
            usable = [tunnel for hop in hops for tunnel in near[hop]]
            if usable:
                self._group(groups, span, usable, orders.get(dst, {}))
        return tuple(
            RouteGroup(name, tunnels, PrefixSet.of(self.everything, behind))
            for (name, tunnels), behind in groups.items()
        )

    def _group(
        self,
        groups: dict[tuple[str | None, tuple[str, ...]], list[Span]],
        behind: Span,
        usable: list[Tunnel],
        orders: Mapping[str | None, Sequence[tuple[str, ...]]],
    ) -> None:
        common = self._in_order(usable, orders.get(None, ()))
        groups.setdefault((None, common), []).append(behind)
        for planned in self.given.classes:
            if planned.name in orders:
                own = self._in_order(usable, orders[planned.name])
                if own != common:
                    groups.setdefault((planned.name, own), []).append(behind)

    def _in_order(self, usable: Sequence[Tunnel], ways: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        """Names of tunnels, best first: those that carry, as the ways say; those that leave; those that come."""
        lines = {tunnel.name: tunnel.line for tunnel in usable}
        first: dict[object, int] = {}
        if ways:
            for place, way in enumerate(ways):
                # A newer version stands where the one before it stood.
                line = lines.get(way[0]) or self._line_of(way[0], usable)
                if line is not None:
                    first.setdefault(line, place)
        last = len(ways)
        indexed = sorted(
            enumerate(usable),
            key=lambda one: (_BY_PHASE[one[1].phase], first.get(one[1].line, last), one[0]),
        )
        return tuple(tunnel.name for _, tunnel in indexed)

    @staticmethod
    def _line_of(name: str, usable: Iterable[Tunnel]) -> object | None:
        stem = name.rpartition("-v")[0]
        return next((tunnel.line for tunnel in usable if tunnel.name.rpartition("-v")[0] == stem), None)

    def _without(self, left_out: Collection[int]) -> list[Span]:
        """What is behind all sites but these."""
        kept: list[Span] = []
        at = 0
        for start, end in sorted(self.span[serial] for serial in left_out if serial in self.span):
            kept.append((at, start))
            at = max(at, end)
        kept.append((at, len(self.everything.prefixes)))
        return [span for span in kept if span[0] < span[1]]


def _same_places(one: Given, other: Given) -> bool:
    """Whether there are the same sites in the same order, and the same leads to each."""
    if one.anchors != other.anchors:
        return False
    return one.sites is other.sites or [(serial, site.prefixes) for serial, site in one.sites.items()] == [
        (serial, site.prefixes) for serial, site in other.sites.items()
    ]
