"""A full mesh of sites, from nothing: agents that have nothing yet, and a controller that may tell them now.

Signer, overlay and agents are those that everybody runs. The agents are let in and connected; but the signer does
not trust the controller, so they do nothing that it says, until it does.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from benchmarks.meshing.bare import shaken_at_s
from benchmarks.meshing.overlay_asked import AskedOverlay
from benchmarks.support.figure import MeasurementFailed
from mininet_topos.overlay.cabled import Cabled
from mininet_topos.overlay.underlay import Uplink
from mininet_topos.overlay.world import CONTROL_PORT, ENVIRONMENT, NOC, Node, World, overlay_world
from mininet_topos.waiting import wait_until
from ryu_apps.overlay.card import CARD_FILE, read_card
from ryu_apps.overlay.signing.places import in_state

INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
"""A network namespace here, and a wireguard-go there, takes one; by default there are 128 for all of a user."""

_MANY_INSTANCES = 1024
_UPLINKS = (Uplink("up0"),)
_WITHIN_S, _STARTED_S = 60.0, 120.0


@dataclass(frozen=True)
class Built:
    """Seconds from the order until both ends of all tunnels have had a handshake."""

    tunnels: int
    shaken_s: float


def full_mesh(sites: int) -> Built:
    """Build it once. Raises LabError."""
    nodes = [Node(f"s{n}", _UPLINKS, IPv4Network(f"10.{n}.0.0/24")) for n in range(1, sites + 1)]
    with ExitStack() as stack:
        stack.enter_context(_many_instances())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        world = stack.enter_context(overlay_world(directory, nodes, Cabled))
        overlay = stack.enter_context(_overlay(world))
        card = read_card((world.state / CARD_FILE).read_text())
        # They are given its address, and then not told to follow it.
        world.operator.trust(card)
        world.enroll(*world.nodes)
        world.operator.distrust(card.state_key)
        for name in world.nodes:
            world.start_agent(name)
        wait_until(lambda: overlay.connected() == sites, _STARTED_S, world.log_tail, 0.5)
        wait_until(lambda: all(map(world.has, world.nodes)), _STARTED_S, world.describe, 0.5)
        if any(shaken_at_s(world.at(name)) for name in world.nodes):
            raise MeasurementFailed("there are tunnels before the controller is trusted")
        wanted = sites * (sites - 1) // 2
        began_s = time.time()
        world.operator.trust(card)

        def shaken_s() -> list[float]:
            return [at_s for name in world.nodes for at_s in shaken_at_s(world.at(name))]

        # When it was is in what is asked: asked seldom, it holds up nobody.
        wait_until(lambda: len(shaken_s()) == 2 * wanted, _WITHIN_S, lambda: f"{len(shaken_s())} ends", 1.0)
        return Built(wanted, max(shaken_s()) - began_s)


@contextmanager
def _overlay(world: World) -> Iterator[AskedOverlay]:
    address = f"{world.underlay.address(NOC, 'up0')}:{CONTROL_PORT}"
    words = [world.state, address, in_state(world.signer).controller]
    with AskedOverlay(words, world.at(NOC).enter, ENVIRONMENT) as overlay:
        wait_until((world.state / CARD_FILE).exists, _STARTED_S, lambda: "the overlay does not start")
        overlay.connected()
        yield overlay


@contextmanager
def _many_instances() -> Iterator[None]:
    before = INSTANCES.read_text()
    INSTANCES.write_text(f"{max(_MANY_INSTANCES, int(before))}")
    try:
        yield
    finally:
        INSTANCES.write_text(before)
