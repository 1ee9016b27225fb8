"""An uplink that is forecast to be full is left before it is: real agents, a real controller, packets."""

from __future__ import annotations

import sys
from pathlib import Path

from mininet_topos.overlay.growing import Growth, grow, tell_capacities
from mininet_topos.overlay.underlay import Uplink
from tests.system.vte.overlay_world import World, a_node, figure, overlay_world
from tests.system.waiting import wait_until

# With room for what a busy machine sends late and all at once.
NARROW, WIDE = Uplink("up0", 8.0, 2.0, queue_ms=200.0), Uplink("up1", 100.0, 12.0, queue_ms=200.0)
GROWTH = Growth(first=0.6, last=1.05, within_s=50.0)


def test_what_grows_beyond_an_uplink_leaves_it_before_a_packet_is_lost(tmp_path: Path) -> None:
    nodes = {name: a_node(name, (NARROW, WIDE)) for name in ("ber", "muc")}
    with overlay_world(tmp_path, nodes, tuple(nodes)) as world:
        try:
            world.wait_settled(within_s=30)
            # At first it takes the one that answers first, until it is seen which is the quicker.
            wait_until(lambda: uplink_taken(world) == "up0", 20, world.describe)
            tell_capacities(world, "ber", "muc")
            grown = grow(world, "ber", "muc", lambda rate: world.flow("ber", "muc", rate=rate), GROWTH)
        finally:
            sys.stdout.write(world.log_tail())
    assert grown.uplink == "up0", "it is the quicker one"
    assert grown.why == "the controller wants it so"
    figure("left_at_percent", 100 * grown.fullest)
    assert 0.5 < grown.fullest < 1.0
    assert (grown.lost, grown.dropped) == (0, 0)


def uplink_taken(world: World) -> str | None:
    """The way out of ber by which it sends to muc."""
    taken = world.taken("ber", "muc")
    return next((one["uplink"] for one in world.wanted("ber")["tunnels"] if one["name"] == taken), None)
