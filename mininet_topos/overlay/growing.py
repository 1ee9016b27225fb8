"""What two sites send each other grows beyond what their uplink carries: when it is left, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from mininet_topos.overlay.flow import Receiver
from mininet_topos.overlay.fullness import Fullness
from mininet_topos.overlay.sender import Rate
from mininet_topos.overlay.world import World

LOOK_S, AFTER_S = 0.1, 3.0

Flow = Callable[[Rate], AbstractContextManager[Receiver]]
"""Starts a flow between the two sites."""


@dataclass(frozen=True)
class Growth:
    """Of what an uplink carries, from which share of it to which, and in what time."""

    first: float
    last: float
    within_s: float


@dataclass(frozen=True)
class Grown:
    """What came of it.

    why: what the site says of the route that left it; "" where none did. fullest: the share of its fullest second
    until it was left, or of all where it was not. lost: of the flow. dropped: by any uplink of the site that
    sends, for want of room.
    """

    uplink: str
    why: str
    fullest: float
    lost: int
    dropped: int


def tell_capacities(world: World, *sites: str) -> None:
    """Tell the controller what uplinks of sites carry. Raises LabError."""
    for site in sites:
        for uplink in world.nodes[site].uplinks:
            terms = {"capacity_mbps": uplink.rate_mbps}
            world.call("PUT", f"/overlay/sites/{site}/uplinks/{uplink.name}", json=terms)


def grow(world: World, source: str, target: str, flow: Flow, growth: Growth) -> Grown:
    """Send more and more; the controller knows what uplinks carry. Raises LabError."""
    uplinks = {one.name: one.rate_mbps for one in world.nodes[source].uplinks}
    lines = {name: Fullness(world.underlay.link(source, name)) for name in uplinks}
    first = world.leaves_by(source, target)
    why, fullest = "", 0.0
    rate = Rate(growth.first * uplinks[first], growth.last * uplinks[first], growth.within_s)
    with flow(rate) as received:
        ends_s = time.monotonic() + growth.within_s + AFTER_S
        while time.monotonic() < ends_s:
            if not why:
                lines[first].look()
                fullest = lines[first].fullest
                if world.leaves_by(source, target) not in ("", first):
                    why = world.route_why(source, target)
            received.read()
            time.sleep(LOOK_S)
        dropped = sum(line.dropped for line in lines.values())
        return Grown(first, why, fullest, received.lost(), dropped)
