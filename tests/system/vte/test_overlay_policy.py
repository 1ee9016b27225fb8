"""What may pass between hosts behind two sites is what the policy says: packets, `explain` and counters agree."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

import pytest

from mininet_topos.overlay.enclosure import Enclosure, cable
from mininet_topos.overlay.flow import Receiver, flow
from mininet_topos.overlay.world import ENVIRONMENT, Node, World, overlay_world
from tests.system.vte.overlay_world import an_uplink
from tests.system.waiting import wait_until

WEB, PC, DB, PRINTER = "10.1.0.10", "10.1.0.20", "10.2.0.10", "10.2.0.20"
SITES = {"ber": (WEB, PC), "muc": (DB, PRINTER)}
"""What is behind them; WEB and DB are of virtual networks of their own."""

TO_DB = {"from": "web", "to": {"host": "db"}, "protocol": "udp"}
NO_5002 = {"name": "no 5002", **TO_DB, "ports": 5002, "action": "deny"}
ORDERS = {"name": "orders", **TO_DB, "ports": "5000-5009", "action": "allow"}


@dataclass
class Joined:
    """Two sites, and a machine with two addresses behind each."""

    world: World
    behind: dict[str, Enclosure]

    def flow(self, source: str, target: str, port: int) -> AbstractContextManager[Receiver]:
        """A UDP packet every 5 ms between two of these addresses."""
        return flow(self.behind[source], source, self.behind[target], target, port, ENVIRONMENT)

    def explain(self, source: str, target: str, port: int) -> Any:
        return self.world.ask("/explain", src=source, dst=target, proto="udp", port=str(port))

    def put_policy(self, *rules: dict[str, Any]) -> None:
        self.world.call("PUT", "/policy", json={"groups": {"web": [{"labels": ["web"]}]}, "rules": rules})

    def counted(self, name: str) -> dict[str, int]:
        """Packets by rule, as a site has counted them."""
        return {one["rule"]: one["packets"] for one in self.world.ask(f"/overlay/sites/{name}")["rules"]}


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Joined]:
    nodes = [
        Node(name, (an_uplink("up0", 2.0),), IPv4Network(f"10.{n}.0.0/24")) for n, name in enumerate(SITES, 1)
    ]
    with overlay_world(tmp_path_factory.mktemp("policy"), nodes) as world, ExitStack() as stack:
        behind: dict[str, Enclosure] = {}
        for name, addresses in SITES.items():
            machine = Enclosure(f"behind-{name}")
            stack.callback(machine.close)
            attach(world.at(name), world.host(name), machine, addresses)
            behind |= dict.fromkeys(addresses, machine)
        world.start_controller()
        world.trust_controller()
        world.enroll(*SITES)
        for name in SITES:
            world.start_agent(name)
        world.wait_settled()
        yield Joined(world, behind)


def attach(site: Enclosure, gateway: str, machine: Enclosure, addresses: tuple[str, ...]) -> None:
    """A machine with these addresses behind a site."""
    cable(site, "lan", machine, "eth0")
    site.run(["ip", "addr", "add", f"{gateway}/24", "dev", "lan"])
    site.run(["ip", "link", "set", "lan", "up"])
    for address in addresses:
        machine.run(["ip", "addr", "add", f"{address}/24", "dev", "eth0"])
    machine.run(["ip", "link", "set", "eth0", "up"])
    machine.run(["ip", "route", "add", "default", "via", gateway])


def comes(receiver: Receiver) -> None:
    seen = len(receiver.read())
    wait_until(lambda: len(receiver.read()) > seen + 20, 20, "no packet comes")


def test_what_may_pass_passes_and_what_may_not_does_not_and_is_counted_by_its_rule(joined: Joined) -> None:
    with joined.flow(PC, PRINTER, 6000) as unruled, joined.flow(WEB, DB, 5001) as to_db:
        comes(unruled)
        comes(to_db)
        assert joined.counted("ber") == {}, "nothing is filtered where nothing is said of these addresses"
        web = {"name": "web", "mac": "02:00:00:00:00:01", "ips": [WEB], "labels": ["web"]}
        joined.world.call("PUT", "/vnets/front", json={"hosts": [web]})
        db = {"name": "db", "mac": "02:00:00:00:00:02", "ips": [DB]}
        joined.world.call("PUT", "/vnets/back", json={"hosts": [db]})
        stops(to_db)
        comes(unruled)
        joined.put_policy(NO_5002, ORDERS)
        comes(to_db)
        with joined.flow(WEB, DB, 5002) as denied, joined.flow(PC, DB, 5004) as other:
            comes(unruled)
            wait_until(lambda: joined.counted("ber").get("no 5002", 0) > 20, 10, lambda: joined.counted("ber"))
            assert denied.read() == other.read() == []
    for source, target, port, rule, arrives in (
        (WEB, DB, 5001, "orders", True),
        (WEB, DB, 5002, "no 5002", False),
        (PC, DB, 5001, "default between virtual networks", False),
        (PC, PRINTER, 6000, "default within a virtual network", True),
    ):
        told = joined.explain(source, target, port)
        assert (told["rule"], told["arrives"], told["decided_at"]) == (rule, arrives, "ber"), told
        assert told["sites"] == (["ber", "muc"] if arrives else []) and bool(told["tunnels"]) is arrives
    assert (
        "allowed by rule 'orders'; it goes from ber to muc by t1-2-" in joined.explain("web", "db", 5001)["words"]
    )
    counted = joined.counted("ber")
    assert (
        counted["orders"] > 20 and counted["default within a virtual network"] > 20 and counted["(no rule)"] > 20
    )


def test_a_change_of_the_policy_stops_packets_within_a_second(joined: Joined) -> None:
    joined.put_policy(NO_5002, ORDERS)
    with joined.flow(WEB, DB, 5003) as ruled, joined.flow(PC, PRINTER, 6001) as unruled:
        comes(ruled)
        comes(unruled)
        began_s = time.time()
        joined.put_policy(NO_5002)
        stops(ruled)
        last_s = max(one.at_s for one in ruled.read())
        sys.stdout.write(f"policy_stops_ms={(last_s - began_s) * 1e3:.0f}\n")
        assert last_s - began_s < 1
        comes(unruled)
        assert unruled.lost() == 0, "what the change is not about does not notice it"


def stops(receiver: Receiver) -> None:
    """Packets come no more."""

    def is_silent() -> bool:
        came = receiver.read()
        return not came or time.time() - came[-1].at_s > 0.3

    wait_until(is_silent, 20, "packets still come")
