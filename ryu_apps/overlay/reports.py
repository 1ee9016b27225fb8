"""What sites have said of themselves, as decisions want to know it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv6Address, ip_address
from operator import itemgetter
from types import MappingProxyType

from ryu_apps.overlay.wanting import FarEnd
from stitching.overlay.compiling import ChoiceKey
from stitching.overlay.explaining import Leg, NextLeg
from stitching.overlay.measures import Measured, smoothed
from stitching.overlay.replacing import EndReport, SiteReport
from stitching.overlay.sites import Address, Bridge, NodeLoad, Role, Site, Uplink
from stitching.overlay.tunnels import TunnelBook
from vte_agent.protocol.has import Has, TunnelReport
from vte_agent.protocol.members import Member


class Reports:
    """The last word of each site. For one thread."""

    def __init__(self) -> None:
        self.said: dict[int, Has] = {}
        self.silent_since_s: dict[int, float] = {}
        self.here: set[int] = set()
        """Whose channel is there: they can be told something."""
        self._told_up_to: dict[int, int] = {}
        self.reports: dict[int, SiteReport] = {}
        self.far_ends: dict[tuple[int, str], FarEnd] = {}
        self.loads: dict[int, NodeLoad] = {}
        self.hidden: dict[int, frozenset[Address]] = {}
        """Own addresses of sites that are another's where they are seen: a NAT lies between."""
        self._measured: dict[tuple[int, str], Measured] = {}
        self._names: dict[int, frozenset[str]] = {}

    def has(self, serial: int, has: Has, now_s: float, seen_from: str | None = None) -> bool:
        """A site says what it has; its channel is seen to come from an address.

        Returns whether that is news, and not only how quick and how busy everything is now.
        """
        before, is_news = self.said.get(serial), serial in self.silent_since_s
        self.said[serial] = has
        if has.channel_address is not None and seen_from is not None:
            hidden = self.hidden.get(serial, frozenset())
            own = frozenset({has.channel_address})
            self.hidden[serial] = hidden - own if _plain(seen_from) == has.channel_address else hidden | own
            is_news |= self.hidden[serial] != hidden
        self.silent_since_s.pop(serial, None)
        used = {route.tunnel for route in has.routes}
        ends = {one.name: EndReport(one.state.value, one.name in used) for one in has.tunnels}
        ports = {one.name: one.port for one in has.links if one.port is not None}
        report = SiteReport(has.generation, MappingProxyType(ends), MappingProxyType(ports))
        is_news |= before is None or _site(before) != _site(has) or self.reports.get(serial) != report
        self.reports[serial] = report
        self.loads[serial] = NodeLoad(has.host.cpu, has.host.memory)
        names = frozenset(ends)
        for gone in self._names.get(serial, frozenset()) - names:
            self._drop(serial, gone)
        self._names[serial] = names
        for one in has.tunnels:
            key, far = (serial, one.name), FarEnd(one.key, one.port)
            # The same object while it is the same: what is made of it is compared each round.
            if self.far_ends.get(key) != far:
                self.far_ends[key] = far
                is_news = True
            self._measured[key] = smoothed(self._measured.get(key), _measured(one, now_s))
        return is_news

    def came(self, serial: int) -> None:
        """A site's channel is there."""
        self.here.add(serial)

    def silent(self, serial: int, now_s: float, generation: int) -> None:
        """A site's channel is gone. What it had it has still, as far as anybody knows.

        generation: the last that it can have been told.
        """
        self.silent_since_s.setdefault(serial, now_s)
        self.here.discard(serial)
        self._told_up_to[serial] = generation

    def away(self, serials: Iterable[int]) -> Mapping[int, int]:
        """Who of them cannot be told anything now, and the last generation that each can have been told."""
        return {serial: self._told_up_to.get(serial, 0) for serial in serials if serial not in self.here}

    def forget(self, serial: int) -> None:
        """It is no member any more."""
        self.silent_since_s.pop(serial, None)
        for table in (self.said, self.reports, self.loads, self.hidden, self._told_up_to):
            table.pop(serial, None)
        for name in self._names.pop(serial, frozenset()):
            self._drop(serial, name)

    def _drop(self, serial: int, name: str) -> None:
        for table in (self.far_ends, self._measured):
            table.pop((serial, name), None)

    def measured(self, ends: Mapping[str, tuple[int, int]]) -> Mapping[str, Measured]:
        """What is measured of tunnels, as their end a sees it; `ends` are the serials of both, by name.

        What end a has not measured is taken from end b.
        """
        found = {}
        for name, (a, b) in ends.items():
            here, there = self._measured.get((a, name)), self._measured.get((b, name))
            if here is not None and here.rtt_ms is not None:
                found[name] = here
            elif there is not None:
                found[name] = there.turned()
        return found


def _site(has: Has) -> object:
    return has.transports, has.uplinks, has.bridge


def next_legs(said: Mapping[int, Has], book: TunnelBook) -> NextLeg:
    """Where sites send packets, by their own last words: they move routes without asking."""
    lines = {tunnel.name: tunnel.line for tunnel in book.tunnels()}

    def next_leg(serial: int, address: Address, class_name: str | None) -> Leg | None:
        has = said.get(serial)
        routes = [
            (one.class_name, prefix.prefixlen, one.tunnel)
            for one in (has.routes if has is not None else ())
            for prefix in one.prefixes
            if address in prefix
        ]
        mine = [one for one in routes if one[0] == class_name] or [one for one in routes if one[0] is None]
        tunnel = max(mine, key=itemgetter(1))[2] if mine else None
        line = lines.get(tunnel) if tunnel is not None else None
        return Leg(tunnel, line.other(serial)) if tunnel is not None and line is not None else None

    return next_leg


def site_of(member: Member, has: Has | None, hidden: Collection[Address] = ()) -> Site:
    """A member as a site: with the uplinks and transports that it says it has.

    Others cannot call an uplink whose address is hidden by a NAT. The member's label `nat` says so where nobody
    can see it: `yes` for all its uplinks, or their names with commas between; `no` where each can be called.
    """
    nat = member.labels.get("nat", "").strip()
    named = {name.strip() for name in nat.split(",")}
    uplinks = tuple(
        Uplink(
            one.name,
            one.address,
            callable=nat == "no" or not (nat == "yes" or one.name in named or one.address in hidden),
        )
        for one in (has.uplinks if has is not None else ())
    )
    transports = tuple(one.value for one in has.transports) if has is not None else ()
    return Site(
        serial=member.serial,
        name=member.name,
        role=Role(member.role.value),
        prefixes=member.prefixes,
        labels=MappingProxyType(dict(member.labels)),
        critical=member.labels.get("critical") == "yes",
        uplinks=uplinks,
        transports=transports or ("wireguard",),
        bridge=Bridge(has.bridge.name, has.bridge.dpid) if has is not None and has.bridge is not None else None,
    )


def taken_tunnels(
    keys: Iterable[ChoiceKey], said: Mapping[int, Has], sites: Mapping[int, Site], book: TunnelBook
) -> Mapping[ChoiceKey, str]:
    """Into which tunnels sites send now what is for another one, by what they said last."""
    leg_of, found = next_legs(said, book), {}
    for src, dst, class_name in keys:
        prefixes = sites[dst].prefixes if dst in sites else ()
        leg = leg_of(src, prefixes[0].network_address, class_name) if prefixes else None
        if leg is not None:
            found[src, dst, class_name] = leg.tunnel
    return found


def _plain(text: str) -> Address | None:
    """An address as it is seen; one of IPv4 at a socket for both kinds looks like one of IPv6."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _measured(one: TunnelReport, now_s: float) -> Measured:
    quality = one.quality
    return Measured(quality.rtt_ms, quality.jitter_ms, quality.loss_out, quality.loss_in, now_s)
