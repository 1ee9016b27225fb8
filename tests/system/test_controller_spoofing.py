"""A host cannot be another one, and a storm from one of them stops nobody else."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from mininet_topos.topology import line
from stitching import cookie
from stitching.cookie import KIND_MASK, Kind
from tests.system.controller import Fabric, running_fabric
from tests.system.flows import flows
from tests.system.frames import ARP, BROADCAST, announce, arp_request, ears, frame, send, settle
from tests.system.ip_frames import IPV4, ip_frame
from tests.system.waiting import wait_until

VICTIM, OTHER, THIEF = "hs1", "hs2", "hs3"

STORM_PER_S = 10_000


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """Three hosts in a row; the addresses of two are declared."""
    with running_fabric(line(3), tmp_path_factory.mktemp("spoofing") / "state") as fabric:
        fabric.wait_for_links("path_latency_ms")
        hosts = [
            {"name": name, "mac": fabric.lab.host(name).mac, "ips": [fabric.lab.host(name).ip]}
            for name in (VICTIM, OTHER)
        ]
        hosts.append({"name": THIEF, "mac": fabric.lab.host(THIEF).mac})
        assert fabric.controller.api.put("/v1/vnets/red", json={"hosts": hosts}).status_code == 201
        wait_until(lambda: spoof_rules(fabric, "s1") > 0, 2.0, "guarded")
        yield fabric


def spoof_rules(fabric: Fabric, router: str) -> int:
    return len(flows(fabric.lab.bridge(router), cookie.pack(Kind.SPOOF), KIND_MASK))


def dropped(fabric: Fabric, router: str) -> int:
    """Packets that a switch dropped because they were not of their sender."""
    return sum(flow.packets for flow in flows(fabric.lab.bridge(router), cookie.pack(Kind.SPOOF), KIND_MASK))


def test_a_declared_host_reaches_others_as_itself(fabric: Fabric) -> None:
    for pair in itertools.permutations((VICTIM, OTHER, THIEF), 2):
        assert fabric.lab.ping(*pair), pair


def test_a_host_cannot_send_from_an_address_that_is_not_declared_for_it(fabric: Fabric) -> None:
    source, target = fabric.lab.host(OTHER), fabric.lab.host(THIEF)
    before = dropped(fabric, "s2")
    with ears(target, eth_type=IPV4) as heard:
        send(source, ip_frame(source, target, 17, 1, 2, src_ip=fabric.lab.host(VICTIM).ip))
        assert settle(heard) == {THIEF: 0}
        send(source, ip_frame(source, target, 17, 1, 2))
        assert settle(heard) == {THIEF: 1}
    send(source, arp_request(source.mac, fabric.lab.host(VICTIM).ip, target.ip))
    wait_until(lambda: dropped(fabric, "s2") - before == 2, 3.0, "both counted")


def test_a_forged_mac_is_not_learned_and_raises_one_alarm(fabric: Fabric) -> None:
    victim, thief = fabric.lab.host(VICTIM), fabric.lab.host(THIEF)

    def alarms() -> list[str]:
        lines = fabric.controller.log().splitlines()
        return [text for text in lines if f"event=spoof mac={victim.mac}" in text]

    def alarmed() -> bool:
        send(thief, frame(victim.mac, BROADCAST))
        return bool(alarms())

    wait_until(alarmed, 3.0, "the victim has answered, and the thief is named", poll_s=0.05)
    for _ in range(20):
        send(thief, frame(victim.mac, BROADCAST))
    found = fabric.controller.host(victim.mac)
    assert found is not None
    assert found["dpid"] == fabric.dpid("s1")
    assert "the host is on 0000000000000001:" in alarms()[0]
    assert fabric.lab.ping(OTHER, VICTIM)
    assert len(alarms()) == 1


def test_an_address_that_is_declared_for_another_is_neither_learned_nor_passed_on(fabric: Fabric) -> None:
    victim, thief = fabric.lab.host(VICTIM), fabric.lab.host(THIEF)
    with ears(fabric.lab.host(VICTIM), fabric.lab.host(OTHER), eth_type=ARP) as heard:
        send(thief, arp_request(thief.mac, victim.ip, "10.0.0.200"))
        assert settle(heard) == {VICTIM: 0, OTHER: 0}
    found = fabric.controller.host(victim.mac)
    assert found is not None
    assert victim.ip in found["ips"]
    announce(thief)
    assert fabric.lab.ping(THIEF, VICTIM)


def test_an_arp_storm_stops_neither_stitches_nor_other_hosts(fabric: Fabric) -> None:
    thief = fabric.lab.host(THIEF)
    stitch = fabric.controller.create_stitch(VICTIM, OTHER)
    storm = subprocess.Popen(
        [sys.executable, "-m", "tests.system.storm", str(thief.pid), thief.mac, thief.ip, str(STORM_PER_S), "6"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        pings, slowest_s = 0, 0.0
        while storm.poll() is None:
            fabric.lab.run_in(VICTIM, ["ip", "neigh", "flush", "dev", "eth0"])
            assert fabric.lab.ping(VICTIM, OTHER)
            pings += 1
            asked_s = time.monotonic()
            assert fabric.controller.stitch(stitch["id"])["state"] == "up"
            slowest_s = max(slowest_s, time.monotonic() - asked_s)
        again = fabric.controller.create_stitch(OTHER, THIEF)
    finally:
        storm.kill()
        sent, _ = storm.communicate()
    assert pings >= 3
    assert fabric.controller.links().keys() == fabric.wired()
    print(f"storm {sent.strip()}; {pings} pings answered, slowest answer of the API {1e3 * slowest_s:.0f} ms")  # noqa: T201
    for number in (stitch["id"], again["id"]):
        fabric.controller.delete_stitch(number)
