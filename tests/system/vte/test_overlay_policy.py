"""What passes between hosts behind two sites is what the policy says, and the way it goes what its class wants."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

import pytest

from mininet_topos.namespaces import network_of
from mininet_topos.overlay.enclosure import Enclosure, cable
from mininet_topos.overlay.flow import Receiver, flow
from mininet_topos.overlay.world import ENVIRONMENT, Node, World, overlay_world
from tests.system.vte.overlay_world import an_uplink
from tests.system.waiting import wait_until
from vte_agent.cleaning import TABLES
from vte_agent.segmentation import TO_MACHINE

UDP = socket.SOCK_DGRAM
SERVICE = 2222

WEB, PC, DB, PRINTER = "10.1.0.10", "10.1.0.20", "10.2.0.10", "10.2.0.20"
SITES = {"ber": (WEB, PC), "muc": (DB, PRINTER)}
"""What is behind them; WEB and DB are of virtual networks of their own."""

CLASSES = {"voice": 7010, "bulk": 7011}
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

    def describe(self) -> str:
        """For whoever reads a failure: what sites say, what they filter, and what runs behind them."""
        filters = [self.world.at(name).run(["nft", "list", "ruleset"]) for name in SITES]
        running = [machine.run(["ps", "-eo", "stat,etimes,args"]) for machine in {*self.behind.values()}]
        return "\n".join([self.world.describe(), *filters, *running])

    def counted(self, name: str) -> dict[str, int]:
        """Packets by rule, as a site has counted them."""
        return {one["rule"]: one["packets"] for one in self.world.ask(f"/overlay/sites/{name}")["rules"]}


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Joined]:
    nodes = [
        Node(name, (an_uplink("up0", 2.0), an_uplink("up1", 30.0)), IPv4Network(f"10.{n}.0.0/24"))
        for n, name in enumerate(SITES, 1)
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
        sys.stdout.write(world.log_tail())


def attach(site: Enclosure, gateway: str, machine: Enclosure, addresses: tuple[str, ...]) -> None:
    """A machine with these addresses behind a site."""
    cable(site, "lan", machine, "eth0")
    site.run(["ip", "addr", "add", f"{gateway}/24", "dev", "lan"])
    site.run(["ip", "link", "set", "lan", "up"])
    for address in addresses:
        machine.run(["ip", "addr", "add", f"{address}/24", "dev", "eth0"])
    machine.run(["ip", "link", "set", "eth0", "up"])
    machine.run(["ip", "route", "add", "default", "via", gateway])


def comes(receiver: Receiver, joined: Joined) -> None:
    seen = len(receiver.read())
    wait_until(lambda: len(receiver.read()) > seen + 20, 20, lambda: f"no packet comes: {joined.describe()}")


def test_what_may_pass_passes_and_what_may_not_does_not_and_is_counted_by_its_rule(joined: Joined) -> None:
    with joined.flow(PC, PRINTER, 6000) as unruled, joined.flow(WEB, DB, 5001) as to_db:
        comes(unruled, joined)
        comes(to_db, joined)
        assert joined.counted("ber") == {}, "nothing is filtered where nothing is said of these addresses"
        web = {"name": "web", "mac": "02:00:00:00:00:01", "ips": [WEB], "labels": ["web"]}
        joined.world.call("PUT", "/vnets/front", json={"hosts": [web]})
        db = {"name": "db", "mac": "02:00:00:00:00:02", "ips": [DB]}
        joined.world.call("PUT", "/vnets/back", json={"hosts": [db]})
        stops(to_db)
        comes(unruled, joined)
        joined.put_policy(NO_5002, ORDERS)
        comes(to_db, joined)
        with joined.flow(WEB, DB, 5002) as denied, joined.flow(PC, DB, 5004) as other:
            comes(unruled, joined)
            wait_until(lambda: joined.counted("ber").get("no 5002", 0) > 20, 30, lambda: joined.counted("ber"))
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
        comes(ruled, joined)
        comes(unruled, joined)
        began_s = time.time()
        joined.put_policy(NO_5002)
        stops(ruled)
        last_s = max(one.at_s for one in ruled.read())
        sys.stdout.write(f"policy_stops_ms={(last_s - began_s) * 1e3:.0f}\n")
        assert last_s - began_s < 1
        comes(unruled, joined)
        assert unruled.lost() == 0, "what the change is not about does not notice it"


def test_two_applications_between_the_same_sites_take_two_ways(joined: Joined) -> None:
    world = joined.world
    for name in SITES:
        world.call("PUT", f"/overlay/sites/{name}/uplinks/up0", json={"price": 5.0, "capacity_mbps": 100.0})
    nothing = dict.fromkeys(("latency", "loss", "bandwidth", "price", "relay_load"), 0.0)
    for name, part in (("voice", "latency"), ("bulk", "price")):
        matches = [{"protocol": "udp", "ports": str(CLASSES[name])}]
        wants = {"weights": {**nothing, part: 1.0}}
        world.call("PUT", f"/overlay/classes/{name}", json={"matches": matches, "wants": wants})
    ends = {one["name"]: (one["uplink_a"], one["uplink_b"]) for one in world.ask("/overlay/tunnels")}
    wanted = {"voice": ("up0", "up0"), "bulk": ("up1", "up1")}

    def are_apart() -> bool:
        ways = {name: taken(joined, name) for name in CLASSES}
        return {name: ends.get(tunnel) for name, tunnel in ways.items()} == wanted

    wait_until(are_apart, 30, lambda: f"{[taken(joined, name) for name in CLASSES]} {world.describe()}")
    for name, port in CLASSES.items():
        told = joined.explain(PC, PRINTER, port)
        assert (told["class_name"], told["tunnels"]) == (name, [taken(joined, name)])
        with joined.flow(PC, PRINTER, port) as receiver:
            comes(receiver, joined)
            before, seen = crossed(world.at("ber")), len(receiver.read())
            wait_until(lambda r=receiver, n=seen: len(r.read()) > n + 300, 20, "no packet comes")  # type: ignore[misc]
            after = crossed(world.at("ber"))
        # Probes are 50 a second at the most.
        carried = {ends[tunnel] for tunnel in after if after[tunnel] - before[tunnel] > 290}
        assert carried == {wanted[name]}, (before, after)


def test_what_another_program_flushes_is_back_within_two_seconds_and_said_and_a_new_policy_applies(
    joined: Joined,
) -> None:
    sites = [joined.world.at(name) for name in SITES]
    joined.put_policy(NO_5002)
    with joined.flow(WEB, DB, 5002) as denied, joined.flow(PC, PRINTER, 6002) as unruled:
        comes(unruled, joined)
        counted = joined.counted("ber")["no 5002"]
        wait_until(lambda: joined.counted("ber")["no 5002"] > counted, 20, lambda: joined.counted("ber"))
        assert denied.read() == []
        before = [kept(site) for site in sites]
        assert {f"table inet {one} {{" for one in TABLES} <= set(before[0])
        began_s = time.time()
        for site in sites:
            site.run(["nft", "flush", "ruleset"])
            site.run(["ip", "rule", "del", "pref", "7601"])
            site.run(["ip", "route", "flush", "table", "7600"])
        wait_until(lambda: [kept(site) for site in sites] == before, 10, lambda: [kept(site) for site in sites])
        back_s, seen = time.time() - began_s, len(denied.read())
        comes(unruled, joined)
        leaked = denied.read()
        last_s = max((one.at_s for one in leaked), default=began_s) - began_s
        sys.stdout.write(f"flushed_back_ms={back_s * 1e3:.0f} leaked={len(leaked)} last_ms={last_s * 1e3:.0f}\n")
        assert len(leaked) == seen and last_s < 2 and back_s < 4
        for name in SITES:
            said = wait_until(lambda name=name: taken_away(joined, name), 20, joined.describe)  # type: ignore[misc]
            assert said == set(TABLES)
        joined.put_policy(ORDERS)
        comes(denied, joined)
        assert joined.counted("ber")["no 5002"] > counted, "what was counted stays counted"


def test_who_has_a_gateway_reaches_nothing_of_another_but_what_tunnels_need(joined: Joined) -> None:
    ber, muc = (joined.world.at(name) for name in SITES)
    device, inside = next((one["ifname"], one["addr_info"][0]["address"]) for one in tunnels_of(ber))
    uplink = str(joined.world.underlay.address("muc", "up0"))
    with network_of(muc.pid), socket.create_server(("0.0.0.0", SERVICE)), socket.socket(type=UDP) as heard:  # noqa: S104
        heard.bind(("0.0.0.0", SERVICE))  # noqa: S104
        heard.settimeout(1)
        for target in (inside, uplink):
            assert not connects(ber, device, target), f"{target} answers while the policy says nothing of it"
            assert not hears(heard, ber, device, target)
        ber.run(["ping", "-n", "-c1", "-W5", "-I", device, inside])
        assert set(joined.world.up("ber").values()) == {"up"}, "probes go on"
        wait_until(lambda: joined.counted("muc").get(TO_MACHINE, 0) > 1, 20, joined.describe)
        joined.world.call("PUT", "/policy", json={"groups": {}, "rules": []})
        for name in ("front", "back"):
            joined.world.call("DELETE", f"/vnets/{name}")
        wait_until(lambda: joined.counted("muc") == {}, 20, joined.describe)
        # Without any policy nothing is filtered. Answers from an uplink's address leave by that uplink.
        assert connects(ber, device, inside) and hears(heard, ber, device, inside)
        assert hears(heard, ber, device, uplink)


def connects(site: Enclosure, device: str, target: str) -> bool:
    """Whether somebody at a site has a TCP connection through a tunnel to what listens there."""
    with through(site, device, socket.SOCK_STREAM) as caller:
        caller.settimeout(1)
        return caller.connect_ex((target, SERVICE)) == 0


def hears(heard: socket.socket, site: Enclosure, device: str, target: str) -> bool:
    """Whether what is sent there through a tunnel arrives."""
    with through(site, device, UDP) as caller:
        caller.sendto(b"?", (target, SERVICE))
    try:
        return heard.recv(9) == b"?"
    except TimeoutError:
        return False


@contextmanager
def through(site: Enclosure, device: str, kind: socket.SocketKind) -> Iterator[socket.socket]:
    with network_of(site.pid), socket.socket(type=kind) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        yield caller


def tunnels_of(site: Enclosure) -> list[dict[str, Any]]:
    found = json.loads(site.run(["ip", "-j", "addr"]))
    return [one for one in found if one["ifname"].startswith("ls")]


def kept(site: Enclosure) -> list[str]:
    """Tables (under either name), routes and rules of a site, line by line, but for what is counted."""
    asked = (["nft", "-s", "list", "ruleset"], ["ip", "route", "show", "table", "7600"], ["ip", "rule"])
    return sorted(line.replace("_2 {", " {") for words in asked for line in site.run(words).splitlines())


def taken_away(joined: Joined, name: str) -> set[str]:
    """The tables that a site says another program has taken away."""
    told = joined.world.ask(f"/overlay/sites/{name}")["problems"]
    return {said.split()[1] for said in told if "was taken away or changed by another program" in said}


def taken(joined: Joined, name: str) -> str:
    """The tunnel that a class takes: as the controller has chosen, and as the site does it."""
    answer = joined.world.ask("/overlay/paths", **{"from": "ber", "to": "muc", "class": name})
    chosen = [way["tunnels"] for choice in answer["choices"] for way in choice["ways"] if way["taken"]]
    told = joined.explain(PC, PRINTER, CLASSES[name])["tunnels"]
    return told[0] if chosen == [told] else ""


def crossed(site: Enclosure) -> dict[str, int]:
    """Packets that each tunnel of a site has been given, by the tunnel's name."""
    links = json.loads(site.run(["ip", "-j", "-s", "link"]))
    return {
        link["ifalias"].removeprefix("lockstitch:"): link["stats64"]["tx"]["packets"]
        for link in links
        if link["ifname"].startswith("ls") and link.get("ifalias")
    }


def stops(receiver: Receiver) -> None:
    """Packets come no more."""

    def is_silent() -> bool:
        came = receiver.read()
        return not came or time.time() - came[-1].at_s > 0.3

    wait_until(is_silent, 20, "packets still come")
