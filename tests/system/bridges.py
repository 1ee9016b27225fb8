"""Private dummy bridges under a controller process: real OpenFlow switches without devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from mininet_topos.ovs import run
from mininet_topos.private_ovs import PrivateOvs, add_bridges, bridge_name, private_ovs
from tests.system.controller import RunningController, running_controller
from tests.system.waiting import wait_until

HOSTS = {1: ("02000000aa01", "0a000001"), 2: ("02000000aa02", "0a000002")}
"""The hosts of bridges_with_hosts() by the bridge they are at: MAC and IPv4 address, in hex."""

ENDS = {"source": "10.0.0.1", "destination": "10.0.0.2"}
"""The two of them, as a stitch names them."""


@dataclass(frozen=True)
class Bridges:
    """The daemons and the controller. Bridge n has dpid n and host ports 1 and 2."""

    ovs: PrivateOvs
    controller: RunningController

    def rules(self, dpid: int, cookie: str = "") -> list[str]:
        """The rules of a bridge as ovs-ofctl shows them without counters; `cookie` is VALUE/MASK."""
        only = (f"cookie={cookie}",) if cookie else ()
        text = self.ovs.ofctl("dump-flows", bridge_name(dpid), "--no-stats", *only)
        return sorted(line.strip() for line in text.splitlines() if "cookie=" in line)

    def packet(self, dpid: int, port: int, flow: str) -> str:
        """What becomes of a packet (in ovs-appctl's words) that comes in by a port; no frame is sent."""
        return self.appctl("ofproto/trace", bridge_name(dpid), f"in_port={port},{flow}")

    def receive(self, dpid: int, port: int, frame: str) -> None:
        """Have a frame, in hex, arrive by a host port."""
        self.appctl("netdev-dummy/receive", f"h{dpid}-{port}", frame)

    def appctl(self, *arguments: str) -> str:
        """Run ovs-appctl on the daemon."""
        (target,) = self.ovs.directory.glob("*vswitchd*.ctl")
        return run(["ovs-appctl", "-t", str(target), *arguments], self.ovs.environment)

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send a body as curl does: JSON that says it is a form."""
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return self.controller.api.request(method, path, json=body, headers=headers)

    def json(self, path: str, body: Any = None) -> Any:
        """What a path answers, which has to be 200; with a body by POST."""
        answer = self.call("GET" if body is None else "POST", path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def bridges(
    state: Path, n_bridges: int = 2, edges: Sequence[tuple[int, int]] = ((1, 2),), *options: str
) -> Iterator[Bridges]:
    """Bridges in the given shape, all connected and their rules read; nothing stays."""
    with running_controller(state, *options) as controller, private_ovs() as ovs:
        add_bridges(ovs, n_bridges, edges, controller=f"127.0.0.1:{controller.of_port}", host_ports=2)
        wait_until(
            lambda: (
                controller.get("/health")["installer"]["switches_ready"] == n_bridges
                and len(controller.links()) == 2 * len(edges)
            ),
            15.0,
            lambda: f"every bridge ready: {controller.get('/health')}",
        )
        running = Bridges(ovs, controller)
        wait_until(
            lambda: (
                sum("priority=700," in rule for dpid in range(1, n_bridges + 1) for rule in running.rules(dpid))
                == 2 * len(edges)
            ),
            5.0,
            "the rule of every fabric port",
        )
        yield running


@contextmanager
def bridges_with_hosts(state: Path, *options: str) -> Iterator[Bridges]:
    """Two bridges with a host each, between which a stitch can be had."""
    with bridges(state, 2, ((1, 2),), *options) as running:

        def known() -> bool:
            for dpid, (mac, ip) in HOSTS.items():
                running.receive(dpid, 1, f"ffffffffffff{mac}08060001080006040001{mac}{ip}000000000000{ip}")
            capacities = [{"dpid": e[0], "port": e[1], "capacity_mbps": 10.0} for e in running.controller.links()]
            running.controller.api.put("/v1/links/capacities", json=capacities)
            found = running.controller.api.post("/v1/stitches/check", json={**ENDS, "bandwidth_mbps": 1.0})
            return found.status_code == 200 and bool(found.json()["possible"])

        wait_until(known, 10.0, "both hosts known", poll_s=0.2)
        yield running
