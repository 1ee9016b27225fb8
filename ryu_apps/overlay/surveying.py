"""What is known of the sites, as a round takes it: from members, their reports, forecasts and what people said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ryu_apps.overlay.defined import Defined
from ryu_apps.overlay.foreseeing import Foreseeing
from ryu_apps.overlay.members import Members
from ryu_apps.overlay.recalling import recalled_bridge, recalled_transports, recalled_uplinks
from ryu_apps.overlay.reports import Reports, site_of
from stitching.overlay.demands import pair_demands
from stitching.overlay.rounds import Facts, Overlay
from stitching.overlay.sites import Address, Site, together
from vte_agent.protocol.has import Has
from vte_agent.protocol.members import Member


class Survey:
    """The sites that go together, and what is measured and expected of them.

    For one thread.
    """

    def __init__(self, reports: Reports, defined: Defined, foreseeing: Foreseeing) -> None:
        self._reports, self._defined, self._foreseeing = reports, defined, foreseeing
        self._seen: Mapping[int, Site] = {}
        self._made: dict[int, tuple[Has | None, frozenset[Address], Member, Site]] = {}
        self.sites: Mapping[int, Site] = {}
        self.problems: tuple[str, ...] = ()
        """What is wrong with each of the sites that are left out, or go on as they were."""

    def facts(self, members: Members, overlay: Overlay) -> Facts:
        """All of it now. `sites` is the same object for as long as nothing of it has changed."""
        self._take(members, overlay)
        tunnels = overlay.book.tunnels()
        known = {serial for tunnel in tunnels for serial in tunnel.line.pair}
        return Facts(
            self.sites,
            self._reports.reports,
            self._reports.measured({tunnel.name: tunnel.line.pair for tunnel in tunnels}),
            self._reports.loads,
            self._reports.silent_since_s,
            pair_demands(self._foreseeing.expected),
            self._foreseeing.expected,
            departed=frozenset((known | overlay.in_force.keys()) - members.open.keys()),
            away=self._reports.away(self.sites),
        )

    def _take(self, members: Members, overlay: Overlay) -> None:
        sites = {}
        for serial, member in members.open.items():
            said, hidden = self._reports.said.get(serial), self._reports.hidden.get(serial, frozenset())
            site = self._made.get(serial)
            if site is None or site[0] is not said or site[1:3] != (hidden, member):
                site = self._made[serial] = said, hidden, member, site_of(member, said, hidden)
            now, known = (
                self._defined.on_terms(_recalled(site[3], overlay) if said is None else site[3]),
                self._seen,
            )
            # The same object while it is the same: what is made of two sites is kept for as long.
            sites[serial] = known[serial] if known.get(serial) == now else now
        for gone in self._made.keys() - sites.keys():
            del self._made[gone]
        if sites != self._seen:
            self._seen = sites
            found = together(sites.values(), overlay.book.overlay_range, self.sites)
            self.problems = found.refused
            if found.sites != self.sites:
                self.sites = found.sites


def _recalled(site: Site, overlay: Overlay) -> Site:
    """A site that was not heard yet: it goes on with what it has, and is not without uplinks for that."""
    serial = site.serial
    transports = recalled_transports(overlay, serial)
    if not transports:
        return site
    uplinks, bridge = recalled_uplinks(overlay, serial), recalled_bridge(overlay, serial)
    return replace(site, uplinks=uplinks, transports=transports, bridge=bridge)
