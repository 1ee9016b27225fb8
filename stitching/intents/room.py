"""How much more fits between two switches: the widest path, beside what is there and what is to come."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice

from pathing import Resources
from stitching.intents.world import World
from stitching.kinds import links_to_reserve, place
from stitching.network import LinkKey
from stitching.plan import NotPossible, Situation
from stitching.routes import default_routes
from stitching.stitch import StitchRequest

MOST_COMING = 20
"""Stitches that are planned to see what they will leave."""


def widest(free_mbps: Mapping[LinkKey, float], source: int, target: int) -> tuple[float, tuple[LinkKey, ...]]:
    """The most that one path has free between two switches, and its links; 0 and none where there is no path."""
    if source == target:
        return float("inf"), ()
    leaving: dict[int, list[LinkKey]] = defaultdict(list)
    for key in sorted(free_mbps):
        leaving[key[0]].append(key)
    best = {source: float("inf")}
    came: dict[int, LinkKey] = {}
    queue = [(-best[source], 0, source)]
    done: set[int] = set()
    while queue:
        _, hops, here = heapq.heappop(queue)
        if here in done:
            continue
        done.add(here)
        if here == target:
            break
        for key in leaving[here]:
            room = min(best[here], free_mbps[key])
            if room > best.get(key[2], 0.0):
                best[key[2]], came[key[2]] = room, key
                heapq.heappush(queue, (-room, hops + 1, key[2]))
    if target not in came:
        return 0.0, ()
    links = [came[target]]
    while links[-1][0] != source:
        links.append(came[links[-1][0]])
    return best[target], tuple(links[::-1])


def beside(
    free_mbps: Mapping[LinkKey, float], coming: Iterable[StitchRequest], world: World
) -> dict[LinkKey, float]:
    """What is left when stitches that are to come have what they ask for, as far as that can be had."""
    free = dict(free_mbps)
    for request in islice(coming, MOST_COMING):
        routes = partial(default_routes, world.network, world.directory)
        now = Situation(world.network, world.directory, Resources(free), {}, routes=routes)
        try:
            placed = place(request, now)
        except NotPossible:
            continue
        for key in links_to_reserve(request, placed):
            if key in free:
                free[key] = max(0.0, free[key] - request.bandwidth_mbps)
    return free
