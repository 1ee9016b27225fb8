"""The controller sees the fabric as it is wired: switches, links with their delay, hosts; and nobody fools it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from mininet_topos.handles import HostHandle
from mininet_topos.lab import Lab
from mininet_topos.topology import LabTopology, ring
from ryu_apps.discovering.probes import ProbeSigner
from tests.system.controller import Fabric, LinkEnds, RunningController, pause_until, running_controller
from tests.system.frames import LLDP, arp_request, ears, frame, send
from tests.system.waiting import wait_until

DELAYS_MS = (2.0, 4.0, 6.0, 9.0)
"""Each link its own, so that one taken for another shows."""

NEWCOMER = "02:00:00:00:aa:01"
NEWCOMER_IP = "10.0.9.9"


@dataclass(frozen=True)
class Connected(Fabric):
    """A fabric, and how long after its last switch its last link was found."""

    found_after_s: float


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connected]:
    """A ring under a controller. No host has said a word yet, and none is waited for."""
    state = tmp_path_factory.mktemp("discovery") / "state"
    with running_controller(state) as controller, Lab(topology(), controller=None) as lab:
        wired = Fabric(lab, controller)
        assert found(wired) == set()
        lab.set_controller(f"127.0.0.1:{controller.of_port}")
        wait_until(lambda: controller.get("/health")["switches_connected"] == 4, 5.0, "all switches connected")
        connected_s = time.monotonic()
        wait_until(lambda: found(wired) == wired.wired(), 5.0, lambda: f"{found(wired)} == {wired.wired()}")
        yield Connected(lab, controller, time.monotonic() - connected_s)


def topology() -> LabTopology:
    made = ring(4)
    links = (replace(link, delay_ms=delay) for link, delay in zip(made.links, DELAYS_MS, strict=True))
    return replace(made, links=tuple(links))


def both(fabric: Fabric, a: str, b: str) -> set[LinkEnds]:
    return {fabric.ends(a, b), fabric.ends(b, a)}


def found(fabric: Fabric) -> set[LinkEnds]:
    return set(fabric.controller.links())


def take_all_links_down_and_up(fabric: Fabric) -> None:
    """Ports and all; nothing is remembered of a link that was down."""
    handles = [fabric.lab.link(link.a, link.b) for link in fabric.lab.topology.links]
    for handle in handles:
        handle.cut(silent=False)
    try:
        wait_until(lambda: not found(fabric), 1.0, "a link whose ports are down is gone")
    finally:
        for handle in handles:
            handle.restore()


# links


def test_every_link_is_found_within_a_second_of_the_switches_connecting(fabric: Connected) -> None:
    assert fabric.found_after_s < 1.0


def test_every_link_is_found_within_a_second_of_its_ports_coming_up(fabric: Fabric) -> None:
    take_all_links_down_and_up(fabric)
    wait_until(lambda: found(fabric) == fabric.wired(), 1.0, lambda: f"{found(fabric)} == {fabric.wired()}")


def test_the_latency_of_a_link_is_null_until_it_is_measured_and_then_that_of_the_link(fabric: Fabric) -> None:
    wired = {ends: link.delay_ms for link in fabric.lab.topology.links for ends in both(fabric, link.a, link.b)}
    take_all_links_down_and_up(fabric)
    seen: list[tuple[LinkEnds, float | None]] = []

    def right() -> set[LinkEnds]:
        seen.extend((ends, link["latency_ms"]) for ends, link in fabric.controller.links().items())
        # On a busy machine a link is now and then measured late, and each at another time.
        return {
            ends
            for ends, said_ms in seen
            if said_ms is not None and abs(said_ms - wired[ends]) <= max(3.0, 0.4 * wired[ends])
        }

    wait_until(lambda: right() == wired.keys(), 20.0, lambda: f"{wired} is {seen[-8:]}")
    # What is unknown is said to be unknown: never zero, never less than the wire can do.
    too_good = [(ends, said_ms) for ends, said_ms in seen if said_ms is not None and said_ms < wired[ends] - 2.0]
    assert not too_good


def test_a_link_that_dies_silently_is_gone_after_three_missed_probes_and_found_again(fabric: Fabric) -> None:
    lost = both(fabric, "s1", "s2")
    with_link = fabric.lab.link("s1", "s2")
    wait_until(lambda: found(fabric) == fabric.wired(), 5.0, "every link is there to begin with")
    with_link.cut()
    try:
        wait_until(lambda: found(fabric) == fabric.wired() - lost, 4.5, lambda: f"{lost} gone of {found(fabric)}")
    finally:
        with_link.restore()
    wait_until(lambda: found(fabric) == fabric.wired(), 2.5, lambda: f"{lost} back in {found(fabric)}")


# hosts


def place(controller: RunningController, mac: str) -> tuple[str, int] | None:
    host = controller.host(mac)
    return (host["dpid"], host["port"]) if host is not None else None


def where(host: HostHandle) -> tuple[str, int]:
    return f"{host.dpid:016x}", host.port_no


def test_a_host_is_known_from_its_first_packet_on_and_followed_where_it_moves(fabric: Fabric) -> None:
    controller, here, there = fabric.controller, fabric.lab.host("hs2"), fabric.lab.host("hs4")
    assert controller.host(NEWCOMER) is None
    hello = arp_request(NEWCOMER, NEWCOMER_IP, NEWCOMER_IP)
    send(here, hello)
    host = wait_until(lambda: controller.host(NEWCOMER), 1.0, "the host known after one packet")
    assert host == {
        "name": NEWCOMER_IP,
        "mac": NEWCOMER,
        "ips": [NEWCOMER_IP],
        "dpid": fabric.dpid("s2"),
        "port": fabric.lab.port_no("s2", "hs2"),
        "vnet": "default",
        "labels": [],
    }
    body = {"hosts": [{"name": "newcomer", "mac": NEWCOMER}]}
    try:
        controller.api.put("/v1/vnets/green", json=body).raise_for_status()
        named = controller.host(NEWCOMER)
        assert named is not None and (named["name"], named["vnet"]) == ("newcomer", "green")
    finally:
        controller.api.delete("/v1/vnets/green").raise_for_status()

    send(there, hello)
    wait_until(lambda: place(controller, NEWCOMER) == where(there), 1.0, "the host found where it moved to")
    with ears(here, there) as heard:
        sender = fabric.lab.host("hs1")
        packet = frame(sender.mac, NEWCOMER)

        def arrives() -> bool:
            send(sender, packet)
            return bool(heard["hs4"].listen())

        wait_until(arrives, 3.0, "its packets follow it")
        assert heard["hs2"].listen() == []


# whoever makes up links


def test_no_frame_that_a_host_can_make_or_replay_there_makes_a_link(fabric: Fabric) -> None:
    liar, accomplice = fabric.lab.host("hs1"), fabric.lab.host("hs3")
    controller = fabric.controller
    send(liar, arp_request(liar.mac, liar.ip, liar.ip))
    wait_until(lambda: place(controller, liar.mac), 5.0, "the liar is a known host")
    with ears(liar, eth_type=LLDP) as heard:
        genuine = wait_until(heard["hs1"].listen, 6.0, "a probe comes out of the port of a host")[-1]
    heard_s = time.monotonic()

    def refused(reason: str) -> int:
        return controller.log().count(f"event=probe_refused dpid={fabric.dpid('s1')} port_no=1 reason={reason}")

    def looped() -> int:
        return controller.log().count("event=loop")

    # Its own key; a genuine probe turned into one of another port, with the signature it had; no probe at all.
    own_key = ProbeSigner(bytes(32)).frame(3, fabric.lab.port_no("s3", "s2"), liar.mac, time.monotonic())
    turned = genuine.replace(b"%016x" % 1, b"%016x" % 3).replace((1).to_bytes(8), (3).to_bytes(8))
    assert turned != genuine
    for forged in (own_key, turned, frame(liar.mac, "01:80:c2:00:00:0e", bytes(60), LLDP)):
        before = refused("not_ours")

        def is_refused(forged: bytes = forged, before: int = before) -> bool:
            # One line a second is logged of those.
            send(liar, forged)
            return refused("not_ours") > before

        wait_until(is_refused, 3.0, "a forged probe is refused")
        assert found(fabric) == fabric.wired()
    # A genuine one: back into its own port it shows a loop, and when it is old nobody believes it anywhere.
    before = looped()
    with ears(liar, eth_type=LLDP) as heard:
        fresh = wait_until(heard["hs1"].listen, 6.0, "another probe")[-1]
    send(liar, fresh)
    wait_until(lambda: looped() > before, 3.0, "a probe that comes back is a loop")
    pause_until(heard_s + 3.2)
    send(accomplice, genuine)
    wait_until(
        lambda: f"dpid={fabric.dpid('s3')} port_no=1 reason=stale" in controller.log(),
        3.0,
        "an old probe is stale",
    )
    assert found(fabric) == fabric.wired()
    assert place(controller, liar.mac) == where(liar), "the port of a host is still one"
