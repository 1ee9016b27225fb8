"""Lets guarantees and caps of bandwidth stitches follow the traffic, and says what enforces those of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from logging import Logger
from types import MappingProxyType

from ryu_apps.events import Outlook, Rates
from ryu_apps.stitches.life import REFUSALS, Life
from ryu_apps.stitches.moving import Mover
from stitching.bandwidth import BandwidthShares
from stitching.enforced import Verdict, together
from stitching.following import Following
from stitching.stitch import Stitch

_NO_SERVER = (
    "the guarantee is kept by admission alone: no OVSDB server is given; see lockstitch switch ovsdb --help"
)
_NOT_YET = "the guarantee is kept by admission alone: its queues are being set"


class Sizer:
    """Knows what the hosts under a cap send."""

    def __init__(self, life: Life, mover: Mover, log: Logger) -> None:
        self._life = life
        self._mover = mover
        self._log = log
        self._following = Following()
        self._guarantees: Mapping[int, Verdict] = MappingProxyType({})
        self._servers: frozenset[str] = frozenset()

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

    def guarantees_are(self, verdicts: Mapping[int, Verdict]) -> None:
        """By what the promise of each stitch is enforced now."""
        self._guarantees = verdicts

    def servers_are(self, servers: frozenset[str]) -> None:
        """The OVSDB servers that answer now."""
        self._servers = servers

    def as_judged(self, stitch: Stitch) -> Stitch:
        """A stitch with what is known of how its cap and its guarantee are enforced."""
        if stitch.path is None:
            return stitch
        cap = guarantee = None
        if isinstance(stitch.path, BandwidthShares) and stitch.path.shares:
            cap = self._following.verdict(stitch)
        if stitch.request.bandwidth_mbps:
            why = _NOT_YET if self._servers else _NO_SERVER
            guarantee = self._guarantees.get(stitch.id, ("none", why))
        said = together(cap, guarantee)
        return replace(stitch, enforced=said.by, enforced_why=said.why, enforced_cap=said.cap_by)
