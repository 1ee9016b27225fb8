"""The lab of the overlay: three sites with a switch and a host each, and two compute instances."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import permutations
from pathlib import Path

from mininet_topos.ending import terminate_as_exit
from mininet_topos.handles import LabError
from mininet_topos.overlay.bridge import BridgeHost, SiteBridge
from mininet_topos.overlay.flow import PORT, Receiver, flow
from mininet_topos.overlay.sender import Rate
from mininet_topos.overlay.underlay import Uplink
from mininet_topos.overlay.world import ENVIRONMENT, Node, World, overlay_world
from mininet_topos.ovs import LabUnavailable, require_programs, require_root, require_tun
from mininet_topos.waiting import wait_until
from vte_agent.tunnels.wireguard import wireguard_tunnels

_NEEDS = (
    "ip",
    "nft",
    "nsenter",
    "ovs-vsctl",
    "ovs-vswitchd",
    "ovsdb-server",
    "ovsdb-tool",
    "ping",
    "sysctl",
    "unshare",
)

# With room for what comes late and all at once where a program is held up: lines drop what others delayed.
_FIBRE, _CABLE = Uplink("fibre", 12.0, 3.0, queue_ms=200.0), Uplink("cable", 50.0, 20.0, queue_ms=200.0)

NODES = (
    Node("ber", (_FIBRE, _CABLE), IPv4Network("10.1.0.0/24")),
    Node("muc", (_FIBRE, _CABLE), IPv4Network("10.2.0.0/24")),
    # What goes by radio is lost now and then.
    Node("ham", (_FIBRE, Uplink("radio", 10.0, 20.0, loss=0.005)), IPv4Network("10.3.0.0/24")),
    Node("fra", (Uplink("up0", 100.0, 1.0), Uplink("up1", 100.0, 1.0))),
    Node("vie", (Uplink("up0", 100.0, 6.0), Uplink("up1", 100.0, 6.0))),
)

_RULES = {
    f"{site}-by-instances": {"one": {"name": "ham"}, "other": {"name": site}, "say": "must-not"}
    for site in ("ber", "muc")
}
"""What one site sends always goes by a compute instance: one that is killed is one that packets went by."""


def require_overlay() -> None:
    """Raise LabUnavailable, with the remedy, unless the lab of the overlay can run here."""
    require_root()
    require_programs(_NEEDS)
    require_tun()
    if missing := wireguard_tunnels().missing():
        raise LabUnavailable(f"the lab needs WireGuard: {missing}")


@dataclass
class OverlayLab:
    """All of it while it runs: the world, and by site its switch and the host behind that."""

    world: World
    bridges: dict[str, SiteBridge]
    hosts: dict[str, BridgeHost]

    def start(self) -> None:
        """Start the controller, let everybody in and start all agents; returns at once then."""
        world = self.world
        world.start_controller()
        world.trust_controller()
        for name, rule in _RULES.items():
            world.call("PUT", f"/overlay/rules/{name}", json=rule)
        world.enroll(*world.nodes)
        # Sites that are there before them would be the hubs.
        relays = [name for name in world.nodes if name not in world.sites]
        for name in relays:
            world.start_agent(name)
        world.wait_settled(relays)
        for name in world.sites:
            world.start_agent(name)

    def unreached(self) -> list[tuple[str, str]]:
        """The pairs of sites of which the host at one does not reach the one at the other."""
        return [ends for ends in permutations(self.world.sites, 2) if not self.pings(*ends)]

    def pings(self, source: str, target: str) -> bool:
        """Whether the host at one site reaches the one at another."""
        words = ["ping", "-n", "-q", "-c1", "-W1", self.hosts[target].ip]
        try:
            self.hosts[source].enclosure.run(words)
        except LabError:
            return False
        return True

    @contextmanager
    def flow(self, source: str, target: str, port: int = PORT, rate: Rate | None = None) -> Iterator[Receiver]:
        """A UDP packet every 5 ms between the hosts of two sites, or so many Mbit/s, as long as the body runs."""
        one, other = self.hosts[source], self.hosts[target]
        with flow(one.enclosure, one.ip, other.enclosure, other.ip, port, ENVIRONMENT, rate) as found:
            wait_until(lambda: len(found.read()) > 40, 20, lambda: f"no packet comes: {self.world.describe()}")
            found.forget()
            yield found


@contextmanager
def overlay_lab() -> Iterator[OverlayLab]:
    """Everything but controller and agents, which `start` starts. Nothing is left afterwards, however it ends.

    Raises LabUnavailable, LabError.
    """
    require_overlay()
    with ExitStack() as stack:
        stack.enter_context(terminate_as_exit())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lockstitch-overlay-")))
        world = stack.enter_context(overlay_world(directory, NODES))
        lab = OverlayLab(world, {}, {})
        for number, name in enumerate(world.sites, 1):
            bridge = stack.enter_context(SiteBridge(world.at(name), number, fail_mode="standalone"))
            lab.bridges[name], lab.hosts[name] = bridge, _host(world, name, bridge)
        yield lab


def _host(world: World, site: str, bridge: SiteBridge) -> BridgeHost:
    """The site itself is on its switch too, and is the gateway of the host there."""
    prefix = world.nodes[site].prefix
    assert prefix is not None
    gateway = world.host(site)
    words = f"addr add {gateway}/{prefix.prefixlen} dev {bridge.name}\nlink set {bridge.name} up\n"
    world.at(site).run(["ip", "-batch", "-"], stdin=words)
    host = bridge.add_host(f"{site}1", f"{prefix[10]}/{prefix.prefixlen}")
    host.enclosure.run(["ip", "route", "add", "default", "via", gateway])
    return host
