"""IPsec carries what is behind sites, and its charon may die: agents that run at both ends see to it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from mininet_topos.overlay.flow import flow
from mininet_topos.overlay.two_nodes import TwoNodes, host, two_nodes
from mininet_topos.overlay.underlay import Uplink
from mininet_topos.overlay.world import ENVIRONMENT
from tests.system.waiting import wait_until

TUNNELS = {"ipsec": ("up0", "ipsec"), "other": ("up1", "ipsec"), "wireguard": ("up1", "wireguard")}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    uplinks = [Uplink(name, rate_mbps=100.0, delay_ms=2.0) for name in ("up0", "up1")]
    log = tmp_path_factory.mktemp("ipsec") / "log"
    with two_nodes(uplinks, log) as made:
        try:
            made.want(TUNNELS)
            yield made
        finally:
            sys.stdout.write(log.read_text()[-4000:])


@pytest.mark.parametrize("version", [4, 6])
def test_hosts_behind_two_sites_reach_each_other_at_the_first_packet(world: TwoNodes, version: int) -> None:
    world.prefer("ipsec")
    world.taken("ipsec")
    source, target = (host(serial, version) for serial in (1, 2))
    world.nodes[0].host.run(["ping", "-n", "-c1", "-W2", "-I", source, target])


def test_a_flow_goes_from_one_transport_to_the_other_and_back_without_a_packet_lost(world: TwoNodes) -> None:
    (near, near_address), (far, far_address) = [(node.host, host(node.serial)) for node in world.nodes]
    with flow(near, near_address, far, far_address, environment=ENVIRONMENT) as receiver:
        wait_until(lambda: len(receiver.read()) > 40, 30, "no packet comes")
        for name in ("wireguard", "ipsec", "wireguard"):
            seen = len(receiver.read())
            world.prefer(name)
            world.taken(name)
            wait_until(lambda seen=seen: len(receiver.read()) > seen + 60, 5, "no packet comes any more")  # type: ignore[misc]
        assert receiver.lost() == 0


def test_a_charon_that_is_killed_comes_back_and_tunnels_of_another_kind_do_not_notice(world: TwoNodes) -> None:
    world.prefer("wireguard")
    world.taken("wireguard")
    (near, near_address), (far, far_address) = [(node.host, host(node.serial)) for node in world.nodes]
    with flow(near, near_address, far, far_address, environment=ENVIRONMENT) as receiver:
        wait_until(lambda: len(receiver.read()) > 40, 30, "no packet comes")
        before = world.nodes[0].at.run(["pidof", "charon-systemd"])
        world.nodes[0].at.run(["kill", f"-{signal.SIGKILL:d}", before.strip()])
        running = ["sh", "-c", "pidof charon-systemd || true"]
        wait_until(lambda: world.nodes[0].at.run(running).strip() not in ("", before.strip()), 10, "it stays away")
        world.wait(lambda one: one["state"] == "up", 20)
        assert receiver.lost() == 0
        for name in ("ipsec", "other"):
            world.prefer(name)
            world.taken(name)
            seen = len(receiver.read())
            wait_until(lambda seen=seen: len(receiver.read()) > seen + 60, 10, f"no packet comes by {name}")  # type: ignore[misc]
