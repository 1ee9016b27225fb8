"""How often an agent moves a route while the tunnel that it took gets bad and good again every few seconds."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from benchmarks.meshing.silence import KNOWN_S, in_use, joined, worsen
from mininet_topos.overlay.two_nodes import TwoNodes

HALF_S = 4.0
"""For so long it is bad, and then for so long good."""

LOSS, MORE_MS = 0.05, 50.0
"""How it is bad, by turns."""

WINDOW_S = 60.0


@dataclass(frozen=True)
class Moves:
    """in_a_minute: the most of one route within WINDOW_S; why: of all moves, in order."""

    in_a_minute: int
    why: tuple[str, ...]


def moves(seconds: float) -> Moves:
    """Those of all routes of both sites, for so long, by what the agents say of them. Raises LabError."""
    with joined("wireguard", 50) as nodes:
        tunnel = in_use(nodes)
        time.sleep(KNOWN_S)
        before = [len(one.ask("moves")) for one in nodes.nodes]
        _swing(nodes, tunnel, time.monotonic() + seconds)
        told = [one.ask("moves")[n:] for one, n in zip(nodes.nodes, before, strict=True)]
    at_s: dict[tuple[int, str], list[float]] = defaultdict(list)
    for site, ones in enumerate(told):
        for when_s, prefix, _, _ in ones:
            at_s[site, prefix].append(when_s)
    why = tuple(f"{why}" for _, _, _, why in sorted(one for ones in told for one in ones))
    return Moves(max(map(most_within, at_s.values()), default=0), why)


def _swing(nodes: TwoNodes, tunnel: str, end_s: float) -> None:
    for loss, more_ms in cycle(((LOSS, 0.0), (0.0, 0.0), (0.0, MORE_MS), (0.0, 0.0))):
        if time.monotonic() >= end_s:
            return
        worsen(nodes, tunnel, loss, more_ms)
        time.sleep(HALF_S)


def most_within(at_s: Sequence[float], window_s: float = WINDOW_S) -> int:
    """The most of these moments that lie less than so long apart."""
    return max((sum(0 <= one - first < window_s for one in at_s) for first in at_s), default=0)
