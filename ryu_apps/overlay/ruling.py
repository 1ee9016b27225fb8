"""The policy and the virtual networks, as the sites carry them out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from stitching.overlay.segmenting import Segments, SiteFilters
from stitching.overlay.site_plan import SitePlan
from stitching.overlay.sites import Prefix, Site
from stitching.policy.document import NO_POLICY, Policy
from stitching.policy.ruling import Ruling
from stitching.vnet import Directory, VNet


class SiteRules:
    """What each site shall let through its tunnels. For one thread."""

    def __init__(self) -> None:
        self._policy: tuple[Policy, float] = (NO_POLICY, 0.0)
        self._directory = Directory.of(())
        self._prefixes: Mapping[int, tuple[Prefix, ...]] = {}
        self._segments: Segments | None = None
        self._made: dict[int, tuple[Segments, bool, SiteFilters | None]] = {}
        self.ruling = Ruling()

    def policy(self, policy: Policy, time_s: float) -> None:
        """The policy is now this one, or its verdicts are now those of time_s."""
        self._policy = policy, time_s
        self._rule_anew()

    def vnets(self, vnets: Iterable[VNet]) -> None:
        """The virtual networks are now these."""
        self._directory = Directory.of(vnets)
        self._rule_anew()

    def _rule_anew(self) -> None:
        self.ruling = Ruling(self._policy[0], self._directory, self._policy[1])
        self._segments = None

    def at(self, time_s: float | None) -> Ruling:
        """What holds now, or at another time."""
        return self.ruling if time_s is None else replace(self.ruling, time_s=time_s)

    def sites(self, sites: Mapping[int, Site]) -> None:
        """The sites are now these."""
        prefixes = {serial: site.prefixes for serial, site in sites.items()}
        if self._segments is None or prefixes != self._prefixes:
            self._prefixes = prefixes
            self._segments = Segments(self.ruling, prefixes)
            self._made = {serial: made for serial, made in self._made.items() if serial in prefixes}

    def of(self, plan: SitePlan) -> SiteFilters | None:
        """What the site of a plan shall let through. The same object for as long as nothing of it has changed."""
        segments = self._segments
        if segments is None:
            raise RuntimeError("it was not said which sites there are")
        before = self._made.get(plan.serial)
        if before is not None and before[:2] == (segments, plan.transit):
            return before[2]
        filters = segments.of(plan.serial, transit=plan.transit)
        if before is not None and filters == before[2]:
            filters = before[2]
        self._made[plan.serial] = segments, plan.transit, filters
        return filters
