"""Finds out which links make stitches fall short of the loss and latency asked for, and tells the planner."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ryu_apps.stitches.life import CARRYING_ON, Life
from ryu_apps.stitches.watch import Watch
from stitching.blame import Blame
from stitching.kinds import probed_links
from stitching.network import LinkKey
from stitching.stitch import Placement, Stitch

CLEAN_PROBES = 30
"""So many probes in a row that come through clear the links of a path; 15 % loss passes that once in 130 times."""

_MOST_LOST = 0.99


class Blamer:
    """Weighs what the probes of all stitches say of the links they cross."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._loss, self._late = Blame(), Blame()

    def weigh(self) -> None:
        """Take in what probes said since the last time."""
        life, now_s = self._life, self._life.monotonic()
        watched = [(life.book[number], watch) for number, watch in life.prover.watches.items()]
        carrying = [(stitch, watch) for stitch, watch in watched if stitch.state in CARRYING_ON]
        for stitch, watch in carrying:
            if watch.lossy or watch.slow:
                self._blame(stitch, watch, now_s)
        if self._loss or self._late:
            for stitch, watch in carrying:
                self._clear(stitch, watch, now_s)
        life.planner.suspect(self._loss.now(now_s), self._late.now(now_s))

    def _blame(self, stitch: Stitch, watch: Watch, now_s: float) -> None:
        for links, direction in zip(probed_links(stitch), watch.directions, strict=False):
            if watch.is_lossy(direction):
                share = min(direction.lost / len(direction.answered), _MOST_LOST)
                self._loss.lay(links, -math.log1p(-share), now_s, direction.flawed_since_s)
            if watch.is_slow(direction) and direction.latency_ms is not None:
                excess_ms = direction.latency_ms - self._expected_ms(links)
                if excess_ms > 0:
                    self._late.lay(links, excess_ms, now_s, direction.slow_since_s)

    def _clear(self, stitch: Stitch, watch: Watch, now_s: float) -> None:
        enough_s = CLEAN_PROBES * watch.every_s
        for links, direction in zip(probed_links(stitch), watch.directions, strict=False):
            if direction.latency_ms is None:
                continue
            self._loss.clear(links, max(direction.flawed_s, watch.started_s), now_s, enough_s)
            if watch.max_latency_ms is not None and not direction.slow:
                self._late.clear(links, max(direction.slow_s, watch.started_s), now_s, enough_s)

    def _expected_ms(self, links: Iterable[LinkKey]) -> float:
        known = self._life.planner.network.links
        return sum((known[key].latency_ms or 0.0) for key in links if key in known)

    def is_cleaner(self, stitch: Stitch, watch: Watch | None, path: Placement) -> bool:
        """Whether less is to be expected of what a stitch suffers from, half at most, on this path."""
        if watch is None or stitch.path is None or not (watch.lossy or watch.slow):
            return True
        now, there = (self._life.planner.suspicion(stitch.request, where) for where in (stitch.path, path))
        return there <= 0.5 * now
