"""The world of mininet_topos.overlay with what only tests look at; agents are enrolled and started."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from mininet_topos.overlay import world as worlds
from mininet_topos.overlay.underlay import Uplink
from mininet_topos.overlay.world import RUNTIME, SOCKETS, Node

SITES = ("ber", "muc", "ham")
RELAY = "fra"
AGENTS = (*SITES, RELAY)


def an_uplink(name: str, delay_ms: float, *, behind_nat: bool = False) -> Uplink:
    """A line that is wide enough for whatever these tests send."""
    return Uplink(name, rate_mbps=100.0, delay_ms=delay_ms, behind_nat=behind_nat)


def a_node(name: str, uplinks: tuple[Uplink, ...] | None = None) -> Node:
    prefix = IPv4Network(f"10.{SITES.index(name) + 1}.0.0/24") if name in SITES else None
    return Node(name, uplinks or (an_uplink("up0", 2.0), an_uplink("up1", 4.0)), prefix)


def figure(name: str, value: float) -> None:
    """Show what was measured to whoever runs the tests with -s."""
    sys.stdout.write(f"{name}={value:.0f}\n")


@dataclass
class World(worlds.World):
    """All of it while it runs."""

    settled_s: float = 0.0
    """When all of it was there first."""
    clean: dict[str, dict[str, str]] = field(default_factory=dict)
    """What there was at each place before its agent started."""

    def sites_now(self) -> dict[str, dict[str, Any]]:
        """What the controller says of all sites, by name."""
        return {site["name"]: site for site in self.ask("/overlay/sites")}

    def serials(self) -> dict[str, int]:
        return {name: site["serial"] for name, site in self.sites_now().items()}

    def known(self) -> set[str]:
        """The tunnels that the controller knows."""
        return {tunnel["name"] for tunnel in self.ask("/overlay/tunnels")}

    # what runs and lies at a place

    def listing(self, name: str) -> dict[str, str]:
        """Links, addresses, routes, rules, filters, sockets and processes of a place."""
        asked = {
            "links": ["ip", "-o", "link"],
            "addresses": ["ip", "-o", "addr"],
            "routes": ["ip", "route", "show", "table", "all"],
            "routes 6": ["ip", "-6", "route", "show", "table", "all"],
            "rules": ["ip", "rule"],
            "rules 6": ["ip", "-6", "rule"],
            "filters": ["nft", "list", "ruleset"],
            "sockets": ["ls", SOCKETS, RUNTIME],
            "udp": ["ss", "-Huan"],
            "processes": ["ps", "-eo", "stat,args", "--no-headers"],
        }
        said = {what: self.at(name).run(words) for what, words in asked.items()}
        # Where sockets are bound: what waits in them for a moment, and their order, are not theirs.
        said["udp"] = "\n".join(sorted(line.split()[3] for line in said["udp"].splitlines()))
        # Zombies wait for an init that a real machine has; ps is in its own list.
        said["processes"] = "\n".join(
            sorted(
                line.split(None, 1)[1]
                for line in said["processes"].splitlines()
                if not line.startswith("Z") and "ps -eo" not in line
            )
        )
        return said

    def processes(self, name: str, word: str) -> dict[int, str]:
        """Processes of a place by the number they have inside."""
        lines = self.at(name).run(["ps", "-eo", "pid,stat,args", "--no-headers"]).splitlines()
        split = [line.split(None, 2) for line in lines]
        return {int(pid): words for pid, state, words in split if word in words and not state.startswith("Z")}

    def device(self, name: str, tunnel: str | None) -> str:
        """The device of a tunnel, by its alias."""
        for line in self.at(name).run(["ip", "-o", "link"]).splitlines():
            if tunnel and line.rstrip().endswith(tunnel):
                return line.split(":")[1].strip()
        raise AssertionError(f"no device of tunnel {tunnel} at {name}")


@contextmanager
def overlay_world(
    directory: Path, nodes: Mapping[str, Node] | None = None, names: Sequence[str] = AGENTS
) -> Iterator[World]:
    """All agents enrolled and started; nothing is left afterwards, however it ends. names: who is there."""
    known = {**{name: a_node(name) for name in names}, **(nodes or {})}
    with worlds.overlay_world(directory, tuple(known.values())) as made:
        world = World(**vars(made))
        try:
            world.start_controller()
            world.trust_controller()
            world.enroll(*names)
            for name in world.sites:
                # What is behind a site is itself here.
                world.at(name).run(["ip", "addr", "add", f"{world.host(name)}/24", "dev", "lo"])
            for name in names:
                world.clean[name] = world.listing(name)
                world.start_agent(name)
            yield world
        finally:
            world.kill_controller()
