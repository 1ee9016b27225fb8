"""Two sites with a bridge each, and hosts behind them: one controller keeps both, and the overlay between them.

The switches call it over the internet, as the agents do; what hosts send each other may not be seen there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mininet_topos.overlay import world as worlds
from mininet_topos.overlay.bridge import BridgeHost, SiteBridge
from mininet_topos.overlay.world import NOC
from tests.system.frames import announce
from tests.system.vte.overlay_world import RELAY, World, a_node
from tests.system.waiting import wait_until

OF_PORT = 6653
BRIDGES = {"ber": 0xBE, "muc": 0x3C}
HOSTS = {"ber": ("b1", "b2", "b3"), "muc": ("m1", "m2", "m3")}
RED, BLUE = ("b1", "b2", "m3"), ("m1", "m2", "b3")
"""The virtual networks: two hosts of each at one site, and one at the other."""


@dataclass
class JoinedWorld(World):
    """All of it while it runs."""

    bridges: dict[str, SiteBridge] = field(default_factory=dict)

    def start_controller(self, *options: str) -> None:
        """Start it where switches reach it too."""
        address = f"{self.underlay.address(NOC, 'up0')}"
        super().start_controller("--of-host", address, "--of-port", f"{OF_PORT}", *options)

    def start_agent(self, name: str, *options: str) -> None:
        bridge = self.bridges.get(name)
        of_bridge = ("--bridge", bridge.name, "--ovsdb", bridge.database) if bridge is not None else ()
        super().start_agent(name, *of_bridge, *options)

    def behind(self, name: str) -> BridgeHost:
        """A host by its name."""
        return next(bridge.hosts[name] for bridge in self.bridges.values() if name in bridge.hosts)

    def links(self) -> list[dict[str, Any]]:
        """The links between the bridges that the controller has found."""
        found: list[dict[str, Any]] = self.ask("/topology")["links"]
        return found

    def bridged(self) -> bool:
        """Both ways a link was found, and is known to be encrypted."""
        links = self.links()
        return len(links) == 2 and all(link["encrypted"] for link in links)

    def make(self, body: dict[str, Any]) -> dict[str, Any]:
        """A stitch, which has to be UP soon."""
        stitch: dict[str, Any] = self.call("POST", "/stitches", json=body, params={"wait": "up", "wait_s": 20})
        assert stitch["state"] == "up", stitch
        return stitch

    def stitch(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(f"/stitches/{number}")
        return found

    def delete(self, number: int) -> None:
        self.call("DELETE", f"/stitches/{number}")
        wait_until(lambda: self.stitch(number)["state"] == "terminated", 10.0, lambda: self.stitch(number))

    def announce(self) -> None:
        """Every host says that it is there, until all are known."""
        hosts = [one for bridge in self.bridges.values() for one in bridge.hosts.values()]

        def heard() -> bool:
            known = {one["mac"] for one in self.ask("/hosts")}
            for one in hosts:
                if one.mac not in known:
                    announce(one.handle)
            return known >= {one.mac for one in hosts}

        wait_until(heard, 15.0, lambda: f"every host known: {self.ask('/hosts')}", poll_s=0.2)

    def put_vnets(self) -> None:
        for name, members in (("red", RED), ("blue", BLUE)):
            hosts = [{"name": one, "mac": self.behind(one).mac} for one in members]
            self.call("PUT", f"/vnets/{name}", json={"hosts": hosts})


@contextmanager
def joined_world(directory: Path) -> Iterator[JoinedWorld]:
    """Two sites and a relay, joined; nothing is left afterwards, however it ends."""
    names = (*BRIDGES, RELAY)
    with worlds.overlay_world(directory, tuple(a_node(name) for name in names)) as made, ExitStack() as stack:
        world = JoinedWorld(**vars(made))
        stack.callback(world.kill_controller)
        world.start_controller()
        world.trust_controller()
        world.enroll(*names)
        for number, (site, dpid) in enumerate(BRIDGES.items()):
            inside = world.at(site)
            inside.run(["ip", "addr", "add", f"{world.host(site)}/24", "dev", "lo"])
            controller = f"{world.underlay.address(NOC, 'up0')}:{OF_PORT}"
            bridge = world.bridges[site] = stack.enter_context(SiteBridge(inside, dpid))
            for place, name in enumerate(HOSTS[site], 1):
                bridge.add_host(name, f"10.20.0.{10 * number + place}/24")
            bridge.call(controller)
        for name in names:
            world.clean[name] = world.listing(name)
            world.start_agent(name)
        yield world
