"""Paths found lately, so that stitches made or moved together do not each search the same fabric."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from pathing import Path
from stitching.network import LinkKey, Network

MOST = 4096
"""So many questions are remembered at once."""

Room = Callable[[LinkKey], float]
"""Mbit/s that could still be promised on a link."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An answer: its paths, all their links, and the links that had too little room for it."""

    paths: tuple[Path, ...]
    links: tuple[LinkKey, ...]
    full: tuple[LinkKey, ...]


class PathMemory:
    """The best paths on one network under one load: another of either needs another memory.

    What was best stays so while all its links have room and every link that was full then is full now: there is
    nothing to choose from that there was not before.
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, _Found] = {}

    def recall(self, question: Hashable, bandwidth_mbps: float, room: Room) -> tuple[Path, ...] | None:
        """The answer to a question asked before, None where it may be another one now."""
        found = self._found.get(question)
        if found is None:
            return None
        fits = all(room(key) >= bandwidth_mbps for key in found.links)
        return found.paths if fits and all(room(key) < bandwidth_mbps for key in found.full) else None

    def keep(
        self, question: Hashable, paths: tuple[Path, ...], network: Network, full: tuple[LinkKey, ...]
    ) -> None:
        """Remember an answer, and which links were too full for it."""
        if len(self._found) >= MOST:
            self._found.clear()
        links = tuple({network.link_order[row]: None for path in paths for row in path.links})
        self._found[question] = _Found(paths, links, full)
