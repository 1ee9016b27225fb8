"""How long packets of a site that was put out still arrive at its peers; signer and controller are real ones."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from ipaddress import IPv4Network
from pathlib import Path

from mininet_topos.overlay.underlay import Uplink
from mininet_topos.overlay.world import Node, overlay_world
from mininet_topos.waiting import wait_until

_UPLINKS = (Uplink("up0", 100.0, 3.0),)
_WITHIN_S = 120.0

_EVERY_S = 0.02
"""Between two packets of each flow. There are many, and all sites share the processors of one machine."""


def last_packets_ms(sites: int) -> list[float]:
    """Of all but two sites, one after the other: from the signer's answer's beginning to the last packet.

    Raises LabError.
    """
    nodes = [Node(f"s{n}", _UPLINKS, IPv4Network(f"10.{n}.0.0/24")) for n in range(1, sites + 1)]
    relay = Node("relay", _UPLINKS)
    with tempfile.TemporaryDirectory() as directory, overlay_world(Path(directory), (relay, *nodes)) as world:
        for name in world.sites:
            world.at(name).run(["ip", "addr", "add", f"{world.host(name)}/24", "dev", "lo"])
        world.start_controller()
        world.trust_controller()
        world.enroll(*world.nodes)
        for name in world.nodes:
            world.start_agent(name)
        found, left = [], list(world.sites)
        while len(left) > 2:
            world.wait_settled(("relay", *left), within_s=_WITHIN_S)
            serials = {site["name"]: site["serial"] for site in world.ask("/overlay/sites")}
            gone, left = left[-1], left[:-1]
            with ExitStack() as stack:
                flows = [
                    stack.enter_context(world.flow(*ends, 7001 + number, every_s=_EVERY_S))
                    for number, ends in enumerate([(one, gone) for one in left] + [(gone, one) for one in left])
                ]
                tunnels = set(world.up(gone))
                began_s = time.time()
                world.operator.revoke(serials[gone])
                for name in ("relay", *left):
                    wait_until(lambda at=name, its=tunnels: not its & set(world.up(at)), 20, world.describe)  # type: ignore[misc]
                found.append((max(one.at_s for flow in flows for one in flow.read()) - began_s) * 1e3)
        return found
