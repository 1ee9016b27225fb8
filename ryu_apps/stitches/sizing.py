"""Lets guarantees and caps of bandwidth stitches follow the traffic that there is, and that is expected."""

from __future__ import annotations

from dataclasses import replace
from logging import Logger

from ryu_apps.events import Outlook, Rates
from ryu_apps.stitches.life import REFUSALS, Life
from ryu_apps.stitches.moving import Mover
from stitching.bandwidth import BandwidthShares
from stitching.following import Following
from stitching.stitch import Stitch


class Sizer:
    """Knows what the hosts under a cap send."""

    def __init__(self, life: Life, mover: Mover, log: Logger) -> None:
        self._life = life
        self._mover = mover
        self._log = log
        self._following = Following()

    def measured(self, rates: Rates) -> None:
        """Let caps follow who sends."""
        active, planner = self._life.book.active, self._life.planner
        self._following.measured(rates.demand_mbps, rates.meter_packets, active)
        for stitch, shares in self._following.shares(self._life.monotonic(), active):
            if not planner.all_ready(shares.dpids):
                continue
            try:
                self._mover.move(stitch, stitch.request, shares, "its cap is split anew")
            except REFUSALS as error:
                self._log.warning("stitch=%d not_split_anew error=%s", stitch.id, error)

    def expect(self, outlook: Outlook, active: tuple[Stitch, ...]) -> None:
        """Let guarantees follow what is expected; no rule changes."""
        sizes = self._following.promises(self._life.monotonic(), outlook.pairs, outlook.demands, active)
        for stitch, mbps in sizes:
            try:
                self._mover.resize(stitch, mbps)
            except REFUSALS as error:
                self._log.info("stitch=%d not_resized mbps=%g error=%s", stitch.id, mbps, error)

    def as_judged(self, stitch: Stitch) -> Stitch:
        """A stitch with what is known of how its cap is enforced."""
        if not isinstance(stitch.path, BandwidthShares):
            return stitch
        by, why = self._following.verdict(stitch)
        return replace(stitch, enforced=by, enforced_why=why)
