"""Hosts of one virtual network reach each other on a fabric with cycles; no others do, and nothing loops."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mininet_topos.handles import HostHandle
from mininet_topos.topology import grid
from tests.system.controller import Fabric, running_fabric
from tests.system.flows import flows
from tests.system.frames import ARP, BROADCAST, arp_request, ears, frame, send, settle
from tests.system.waiting import wait_until

RED = ("hs1_1", "hs2_2", "hs1_3")
BLUE = ("hs1_2", "hs2_1", "hs2_3")


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """Two rings side by side. Latencies have settled, so that shortest paths stay what they are."""
    state = tmp_path_factory.mktemp("forwarding") / "state"
    with running_fabric(grid(2, 3), state) as fabric:
        fabric.wait_for_links("path_latency_ms")
        yield fabric


@pytest.fixture
def two_vnets(fabric: Fabric) -> Iterator[None]:
    try:
        for name, members in (("red", RED), ("blue", BLUE)):
            put_vnet(fabric, name, members)
        wait_until(
            lambda: allowed(fabric) == {*pairs(RED), *pairs(BLUE)}, 2.0, lambda: f"segmented: {allowed(fabric)}"
        )
        yield
    finally:
        for name in ("red", "blue"):
            fabric.controller.api.delete(f"/v1/vnets/{name}")
        wait_until(lambda: allowed(fabric) == set(pairs(RED + BLUE)), 2.0, "one network again")


def put_vnet(fabric: Fabric, name: str, members: Iterable[str]) -> None:
    hosts = [{"name": member, "mac": fabric.lab.host(member).mac} for member in members]
    answer = fabric.controller.api.put(f"/v1/vnets/{name}", json={"hosts": hosts})
    assert answer.status_code == 201, answer.text


def pairs(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    return itertools.permutations(names, 2)


def allowed(fabric: Fabric) -> set[tuple[str, str]]:
    """The pairs of hosts that the switches let talk to each other, by the rules they have."""
    found = set()
    for bridge in fabric.bridges().values():
        rules = [flow.key[2] for flow in flows(bridge) if flow.key[1] == 1]
        for a, b in pairs(host.name for host in fabric.lab.hosts()):
            source, target = fabric.lab.host(a).mac, fabric.lab.host(b).mac
            if any(f"dl_src={source},dl_dst={target}" in rule for rule in rules):
                found.add((a, b))
    return found


def that_ping(fabric: Fabric, wanted: Iterable[tuple[str, str]], deadline_s: float = 3.0) -> set[tuple[str, str]]:
    """Those of the pairs that get an answer, asking for the address first."""
    wanted = list(wanted)
    for name in {a for a, _ in wanted}:
        fabric.lab.run_in(name, ["ip", "neigh", "flush", "dev", "eth0"])
    with ThreadPoolExecutor(8) as pool:
        answered = pool.map(lambda pair: fabric.lab.ping(pair[0], pair[1], deadline_s=deadline_s), wanted)
    return {pair for pair, reached in zip(wanted, answered, strict=True) if reached}


def hosts(fabric: Fabric, names: Iterable[str]) -> list[HostHandle]:
    return [fabric.lab.host(name) for name in names]


def fabric_frames(fabric: Fabric) -> int:
    return sum(way.frames for link in fabric.lab.stats().links for way in (link.a_to_b, link.b_to_a))


def test_all_hosts_of_one_network_reach_each_other(fabric: Fabric) -> None:
    everybody = set(pairs(RED + BLUE))
    assert that_ping(fabric, everybody) == everybody


@pytest.mark.usefixtures("two_vnets")
def test_hosts_of_two_networks_do_not_reach_each_other_and_those_of_one_do(fabric: Fabric) -> None:
    within = {*pairs(RED), *pairs(BLUE)}
    across = {(a, b) for a, b in pairs(RED + BLUE) if (a, b) not in within}
    assert that_ping(fabric, within) == within
    assert that_ping(fabric, across, deadline_s=1.0) == set()


@pytest.mark.usefixtures("two_vnets")
def test_no_unicast_frame_crosses_to_another_network_by_whoever_knows_the_address(fabric: Fabric) -> None:
    with ears(*fabric.lab.hosts()) as heard:
        for a, b in pairs(RED + BLUE):
            send(fabric.lab.host(a), frame(fabric.lab.host(a).mac, fabric.lab.host(b).mac))
        counts = settle(heard)
    # From each of the two others of its own network, and from nobody else.
    assert counts == dict.fromkeys(RED + BLUE, 2)
    for name, ear in heard.items():
        friends = {fabric.lab.host(other).mac for other in (RED if name in RED else BLUE)}
        assert {data[6:12].hex(":") for data in ear.heard} <= friends


@pytest.mark.usefixtures("two_vnets")
def test_a_broadcast_frame_arrives_once_at_each_other_host_of_its_network_and_nowhere_else(fabric: Fabric) -> None:
    for source in (*RED, *BLUE):
        friends = RED if source in RED else BLUE
        with ears(*fabric.lab.hosts()) as heard:
            send(fabric.lab.host(source), frame(fabric.lab.host(source).mac, BROADCAST))
            assert settle(heard) == {n: int(n in friends and n != source) for n in RED + BLUE}, source


@pytest.mark.usefixtures("two_vnets")
def test_an_arp_request_of_another_network_arrives_nowhere(fabric: Fabric) -> None:
    asker, other = fabric.lab.host(RED[0]), fabric.lab.host(BLUE[0])
    with ears(*fabric.lab.hosts(), eth_type=ARP) as heard:
        send(asker, arp_request(asker.mac, asker.ip, other.ip))
        assert settle(heard) == dict.fromkeys(RED + BLUE, 0)


def test_when_the_networks_are_deleted_everybody_reaches_everybody_again(fabric: Fabric) -> None:
    put_vnet(fabric, "red", RED)
    wait_until(lambda: (RED[0], BLUE[0]) not in allowed(fabric), 2.0, "segmented")
    assert fabric.controller.api.delete("/v1/vnets/red").status_code == 204
    across = {(RED[0], BLUE[0]), (BLUE[1], RED[1])}
    assert that_ping(fabric, across) == across


def test_an_address_is_told_by_the_controller_and_asked_of_nobody(fabric: Fabric) -> None:
    asker, wanted = fabric.lab.host(RED[0]), fabric.lab.host(RED[1])
    with ears(*fabric.lab.hosts(), eth_type=ARP) as heard:
        send(asker, arp_request(asker.mac, asker.ip, wanted.ip))
        counts = settle(heard)
    assert counts == {name: int(name == asker.name) for name in RED + BLUE}
    assert heard[asker.name].heard[0][22:28].hex(":") == wanted.mac


def test_broadcast_crosses_each_link_of_one_tree_once_and_never_loops(fabric: Fabric) -> None:
    source = fabric.lab.host(RED[0])
    tree, count = len(fabric.lab.topology.nodes) - 1, 200
    before = fabric_frames(fabric)
    with ears(*fabric.lab.hosts()) as heard:
        send(source, *[frame(source.mac, BROADCAST)] * count)
        everywhere_else = {name: count * (name != source.name) for name in RED + BLUE}
        assert settle(heard) == everywhere_else
    # What is more than that are the probes of two seconds at most.
    probes = 3 * 2 * len(fabric.lab.topology.links)
    assert count * tree <= fabric_frames(fabric) - before <= count * tree + probes
