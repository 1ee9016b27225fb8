"""What each site was told last, and what it has to be told now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from ryu_apps.overlay.wanting import FarEnds, Told, ingredients
from stitching.overlay.rounds import Overlay
from stitching.overlay.segmenting import SiteFilters
from stitching.overlay.site_plan import SitePlan
from vte_agent.protocol.base import PublicKey
from vte_agent.protocol.signed import Signed


class Telling:
    """The last word to each site, by serial."""

    def __init__(self) -> None:
        self.told: dict[int, Told] = {}

    def news(
        self,
        overlay: Overlay,
        roll: Signed,
        followed: tuple[PublicKey, ...],
        members: Mapping[int, Signed],
        far_ends: FarEnds,
        filters: Callable[[SitePlan], SiteFilters | None] = lambda _plan: None,
    ) -> tuple[Overlay, list[Told]]:
        """What each member shall have, where that is made of something else than what it was sent last.

        `followed`: the controllers that the roll names. `filters`: what the site of a plan lets through. Each
        message has a generation of its own; the overlay that is returned knows the last of them.
        """
        news = []
        for serial, plan in overlay.plans.items():
            if serial not in members:
                continue
            made_of = ingredients(plan, roll, followed, members, far_ends, filters(plan))
            before = self.told.get(serial)
            if before is None or before.made_of != made_of:
                overlay = replace(overlay, generation=overlay.generation + 1)
                news.append(Told(overlay.generation, made_of))
        return overlay, news

    def keep(self, members: Collection[int]) -> None:
        """Forget what others than these were told."""
        for serial in self.told.keys() - set(members):
            del self.told[serial]
