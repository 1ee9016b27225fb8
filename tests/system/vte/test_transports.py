"""Sites go from one transport to another when the controller is told to, under traffic."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.system.vte.overlay_world import World, figure, overlay_world
from tests.system.waiting import wait_until

SITES = ("ber", "muc")


def test_an_operator_asks_for_ipsec_and_all_tunnels_become_it_without_a_packet_lost(tmp_path: Path) -> None:
    with overlay_world(tmp_path, names=SITES) as world:
        try:
            world.wait_settled()
            assert transports(world) == {"wireguard"}
            with world.flow("ber", "muc") as there, world.flow("muc", "ber", 7002) as back:
                world.kill_controller()
                world.start_controller("--overlay-transport", "ipsec")
                wait_until(lambda: transports(world) == {"ipsec"}, 60, world.describe)
                for each in (there, back):
                    seen = len(each.read())
                    wait_until(lambda: len(each.read()) > seen + 60, 5, "no packet comes any more")  # noqa: B023
                    figure("swap_lost", each.lost())
                    assert each.lost() == 0
            assert world.ear.heard() == 0, "packets of the inside crossed the internet unencrypted"
        finally:
            sys.stdout.write(world.log_tail())


def transports(world: World) -> set[str]:
    """What all tunnels are made of that any site has."""
    kinds = {tunnel["name"]: tunnel["transport"] for site in SITES for tunnel in world.wanted(site)["tunnels"]}
    return {kinds.get(name, "no more") for site in SITES for name in world.up(site)}
