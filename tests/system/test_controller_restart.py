"""Killed with -9 and started again, the controller goes on as if nothing had been, and so does the traffic."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from mininet_topos.ovs import run
from mininet_topos.topology import ring
from stitching.cookie import Kind, kind_of
from tests.system.controller import Fabric, pause_until, running_fabric
from tests.system.flows import all_flows, bridges_of_stitch, flows, stitch_flows, stitches_with_flows
from tests.system.streams import Stream
from tests.system.waiting import wait_until

FOREIGN = 0xDEADBEEF
RED = ("hs1", "hs3")
_ADDRESSES = itertools.count(2)
DELAYS_MS = (2.0, 4.0, 6.0, 9.0)


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    made = ring(4, rate_mbps=10.0)
    links = (replace(link, delay_ms=delay) for link, delay in zip(made.links, DELAYS_MS, strict=True))
    state = tmp_path_factory.mktemp("restart") / "state"
    # On every address of this machine: see come_back_at_once().
    with running_fabric(replace(made, links=tuple(links)), state, "--of-host", "0.0.0.0") as fabric:  # noqa: S104
        fabric.wait_for_links("path_latency_ms")
        # The fabric is saved once a second; what was learned in the last one before a kill -9 is learned again.
        fabric.wait_for_fabric_saved()
        yield fabric


@pytest.fixture
def red(fabric: Fabric) -> Iterator[dict[str, Any]]:
    """A virtual network with a stitch that is UP."""
    lab, controller = fabric.lab, fabric.controller
    hosts = [{"name": name, "mac": lab.host(name).mac} for name in RED]
    controller.api.put("/v1/vnets/red", json={"hosts": hosts, "subnets": ["10.77.0.0/16"]}).raise_for_status()
    stitch = controller.create_stitch(*RED)
    assert lab.ping(*RED)
    yield stitch
    controller.delete_stitch(stitch["id"])
    controller.api.delete("/v1/vnets/red").raise_for_status()


def come_back_at_once(fabric: Fabric) -> None:
    """Let the switches connect without the up to 8 s that Open vSwitch waits after a connection that was short.

    It does not heed max_backoff. An address that is new to it is tried at once; its rules stay as they are.
    """
    fabric.lab.set_controller(f"127.0.0.{next(_ADDRESSES)}:{fabric.controller.of_port}")


def wait_until_settled(fabric: Fabric) -> None:
    """Every switch is read, every link measured as often as it takes to change a path, every stitch at rest."""
    controller = fabric.controller
    wait_until(lambda: controller.get("/health")["installer"]["switches_ready"] == 4, 10.0, controller.log_tail)
    wait_until(lambda: unrest(fabric) == [], 15.0, lambda: f"at rest: {unrest(fabric)}")


def unrest(fabric: Fabric) -> list[dict[str, Any]]:
    stitches: list[dict[str, Any]] = fabric.controller.get("/stitches")
    return [stitch for stitch in stitches if stitch["state"] not in ("up", "terminated")]


def what_is_known(fabric: Fabric) -> dict[str, Any]:
    """What a restart must not forget."""
    controller = fabric.controller
    return {
        "hosts": controller.get("/hosts"),
        "vnets": controller.get("/vnets"),
        "capacities": {ends: link["capacity_mbps"] for ends, link in controller.links().items()},
    }


def test_a_restart_loses_no_packet_and_rewrites_no_rule(fabric: Fabric, red: dict[str, Any]) -> None:
    controller, bridges = fabric.controller, fabric.bridges()
    for bridge in bridges.values():
        rule = f"cookie={FOREIGN:#x},table=2,priority=250,dl_type=0x9000,actions=drop"
        run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", bridge, rule])
    try:
        known = what_is_known(fabric)
        with Stream(fabric.lab.host("hs1"), fabric.lab.host("hs3"), packets_per_s=100) as stream:
            wait_until(lambda: stream.arrived, 2.0, "packets arrive")
            before, before_s = all_flows(bridges), time.monotonic()
            controller.kill9()
            alone = stream.sent + 50
            wait_until(lambda: stream.sent > alone, 3.0, "packets sent without a controller")
            controller.restart()
            again = controller.stitch(red["id"])
            assert (again["state"], again["path"]) == ("up", red["path"])
            wait_until_settled(fabric)
            fabric.wait_for_links("latency_spread_ms")
            account = stream.end()
        assert account.sent > 300 and (account.lost, account.doubled) == ((), 0)

        age_s, after = time.monotonic() - before_s, all_flows(bridges)
        assert after.keys() == before.keys()
        younger = {
            key: flow for key, flow in after.items() if flow.duration_s < before[key].duration_s + age_s - 1
        }
        assert younger == {}
        installer = controller.get("/health")["installer"]
        ours = sum(flow.cookie != FOREIGN for flow in after.values())
        assert (installer["rules_added"], installer["rules_removed"]) == (0, 0)
        assert (installer["rules_kept"], installer["switches_differing"]) == (ours, [])

        assert what_is_known(fabric) == known
        assert [stitch["id"] for stitch in controller.get("/stitches?state=up")] == [red["id"]]
    finally:
        for bridge in bridges.values():
            run(["ovs-ofctl", "-O", "OpenFlow13", "del-flows", bridge, f"cookie={FOREIGN:#x}/-1"])


@pytest.mark.usefixtures("red")
def test_before_any_switch_is_back_all_is_known_but_latencies_which_are_null(fabric: Fabric) -> None:
    controller = fabric.controller
    known = what_is_known(fabric)
    controller.kill9()
    fabric.lab.set_controller(None)
    controller.restart()
    try:
        assert what_is_known(fabric) == known
        assert not any(switch["connected"] for switch in controller.get("/topology")["switches"])
        links = controller.links()
        assert links.keys() == fabric.wired()
        assert [link["latency_ms"] for link in links.values()] == [None] * len(links)
    finally:
        come_back_at_once(fabric)
    wait_until_settled(fabric)
    fabric.wait_for_links()


def test_what_is_no_longer_wanted_goes_and_what_is_missing_comes_after_a_restart(fabric: Fabric) -> None:
    """While the controller was away somebody took rules of ours and left one that looks like ours."""
    controller, bridges = fabric.controller, fabric.bridges()
    stitch = controller.create_stitch(fabric.lab.host("hs1").ip, fabric.lab.host("hs3").ip)
    before = all_flows(bridges).keys()
    controller.kill9()
    try:
        taken = f"cookie={stitch_flows(bridges['s2'], stitch['id'])[0].cookie:#x}/-1"
        run(["ovs-ofctl", "-O", "OpenFlow13", "del-flows", bridges["s2"], taken])
        left = "cookie=0x4c06000000000fff,table=2,priority=200,dl_src=02:00:00:00:77:77,actions=drop"
        run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", bridges["s1"], left])
        assert all_flows(bridges).keys() != before
    finally:
        controller.restart()
        come_back_at_once(fabric)
    wait_until_settled(fabric)
    wait_until(
        lambda: all_flows(bridges).keys() == before,
        3.0,
        lambda: f"put right: {all_flows(bridges).keys() ^ before}",
    )
    controller.delete_stitch(stitch["id"])


def test_killed_while_it_makes_a_stitch_it_leaves_no_orphan(fabric: Fabric) -> None:
    controller, bridges = fabric.controller, fabric.bridges()
    chance = random.Random()
    # Anywhere from before the request is read to after it is answered, and surely in the middle of it.
    moments = (
        *(f"after {chance.uniform(0, 20):.1f} ms" for _ in range(2)),
        *["state=establishing"] * 3,
    )
    for moment, (a, b) in zip(moments, itertools.combinations(fabric.lab.hosts(), 2), strict=False):
        body = {"source": a.ip, "destination": b.ip, "bandwidth_mbps": 1.0}
        client, log_bytes = controller.api, controller.log_file.stat().st_size

        def post(client: httpx.Client = client, body: dict[str, Any] = body) -> None:
            # The answer may never come.
            try:
                client.post("/v1/stitches", params={"wait_s": 5}, json=body)
            except httpx.TransportError:
                return

        asking = threading.Thread(target=post)
        asking.start()
        if moment.startswith("after"):
            pause_until(time.monotonic() + float(moment.split()[1]) / 1e3)
        else:
            wait_until(lambda: moment in controller.log()[log_bytes:], 2.0, moment, poll_s=0.0005)  # noqa: B023
        controller.kill9()
        asking.join()
        controller.restart()
        come_back_at_once(fabric)
        wait_until_settled(fabric)

        up = {stitch["id"]: stitch for stitch in controller.get("/stitches?state=up")}
        ends = [{stitch["source"]["mac"], stitch["destination"]["mac"]} for stitch in up.values()]
        assert {a.mac, b.mac} in ends or moment.startswith("after"), "what was stored is made"
        wait_until(
            lambda up=up: stitches_with_flows(bridges) == up.keys(),  # type: ignore[misc]
            3.0,
            lambda up=up: f"rules of {stitches_with_flows(bridges)}, stitches {up}",  # type: ignore[misc]
        )
        for number, stitch in up.items():
            path = fabric.path(stitch)
            assert bridges_of_stitch(bridges, number) == set(path)
            # Two directions on each switch, all of one epoch: nothing is left of an attempt before.
            rules = [flow for bridge in bridges.values() for flow in stitch_flows(bridge, number)]
            assert sum(kind_of(flow.cookie) == Kind.STITCH for flow in rules) == 2 * len(path)
            assert len({flow.cookie >> 32 & 0xFFFF for flow in rules}) == 1
    for stitch in controller.get("/stitches?state=up"):
        controller.delete_stitch(stitch["id"])
    assert stitches_with_flows(bridges) == set()
    assert not [flow for bridge in bridges.values() for flow in flows(bridge, FOREIGN, 2**64 - 1)]
