"""Who gives way for a stitch that finds no room: less important ones, and few of them (RFC 3209, 4.7.3)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from stitching.admission import ONE_BIT_MBPS, Admission
from stitching.kinds import links_to_reserve, shortcomings
from stitching.network import LinkKey
from stitching.plan import NotPossible, Rooms
from stitching.planner import Planner
from stitching.stitch import Placement, Stitch, StitchRequest

MOST_TRIED = 20
"""For so many of those that would go it is tried whether they could stay."""

DISPLACED = "displaced by "
"""How the reason of one begins that had to give way."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where a stitch can lie once these have given way."""

    placement: Placement
    victims: tuple[Stitch, ...]


class Left:
    """What is left of links beside what others hold, and beside what is taken of it."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._taken: dict[LinkKey, float] = defaultdict(float)

    def take(self, request: StitchRequest, placement: Placement) -> None:
        """A stitch is to be there too."""
        for key in links_to_reserve(request, placement):
            self._taken[key] += request.bandwidth_mbps

    def free(self, key: LinkKey) -> float:
        """Mbit/s left to promise on a link."""
        return max(0.0, self._rooms.free(key) - self._taken[key])


def why_displaced(stitch: Stitch, by: Stitch) -> str:
    """The reason of one that has to give way."""
    return f"{DISPLACED}stitch {by.id} (priority {by.request.priority} over {stitch.request.priority})"


def make_room(planner: Planner, request: StitchRequest, held: Iterable[Stitch]) -> Room | None:
    """Room for a stitch among `held`, of which only those of lower priority go; None where that does not help.

    The least important ones go as far as that is enough, of these the youngest. None of those who go could stay.
    """
    below = [stitch for stitch in held if stitch.request.priority < request.priority]
    for level in sorted({stitch.request.priority for stitch in below}):
        going = [stitch for stitch in below if stitch.request.priority <= level]
        placed = _placed(planner, request, going)
        if placed is None:
            continue
        room = Room(placed, _needed(planner.admission, request, placed, going))
        rooms = [_fewest(planner, request, room, room.victims)]
        if len(going) <= MOST_TRIED:
            rooms.insert(0, _fewest(planner, request, room, going))
        return min(rooms, key=lambda one: len(one.victims))
    return None


def _fewest(planner: Planner, request: StitchRequest, room: Room, going: Collection[Stitch]) -> Room:
    """The same without those of `going` who can stay after all, the most important first, on whichever path."""
    left = list(going)
    for stitch in sorted(left, key=_least_important, reverse=True)[:MOST_TRIED]:
        others = [other for other in left if other is not stitch]
        placed = _placed(planner, request, others)
        if placed is not None:
            left, room = others, Room(placed, _needed(planner.admission, request, placed, others))
    return room


def _placed(planner: Planner, request: StitchRequest, without: Sequence[Stitch]) -> Placement | None:
    try:
        placement = planner.path(request, without)
    except NotPossible:
        return None
    return placement if planner.all_ready(placement.dpids) and not shortcomings(placement) else None


def _needed(
    admission: Admission, request: StitchRequest, placement: Placement, going: Collection[Stitch]
) -> tuple[Stitch, ...]:
    """Those who hold what is missing on these links: the least important first, of these the youngest."""
    short = {}
    for key, times in Counter(links_to_reserve(request, placement)).items():
        missing = times * request.bandwidth_mbps - admission.left(key)
        if missing >= ONE_BIT_MBPS:
            short[key] = missing
    chosen = []
    for stitch in sorted(going, key=_least_important):
        if any(missing >= ONE_BIT_MBPS and admission.holds(stitch.id, key) for key, missing in short.items()):
            chosen.append(stitch)
            for key in short:
                short[key] -= admission.holds(stitch.id, key)
    # One taken early may be needless beside those taken later, for other links.
    for stitch in reversed(chosen.copy()):
        if all(short[key] + admission.holds(stitch.id, key) < ONE_BIT_MBPS for key in short):
            chosen.remove(stitch)
            for key in short:
                short[key] += admission.holds(stitch.id, key)
    return tuple(chosen)


def _least_important(stitch: Stitch) -> tuple[int, int]:
    return stitch.request.priority, -stitch.id
