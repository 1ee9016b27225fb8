"""Segments and caps on real switches: who hears whom, what ARP says, and how much comes through."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from mininet_topos.topology import grid
from stitching import cookie
from tests.system.controller import Fabric, running_fabric
from tests.system.flows import bridges_of_stitch, stitch_flows
from tests.system.frames import ARP, BROADCAST, arp_request, ears, frame, send, settle
from tests.system.streams import Stream
from tests.system.test_controller_forwarding import allowed, pairs, put_vnet
from tests.system.waiting import wait_until

RED = ("hs1_1", "hs2_2", "hs1_3")
BLUE = ("hs1_2", "hs2_1", "hs2_3")
IN_RED, IN_BLUE = ("hs1_1", "hs2_2"), ("hs1_2", "hs2_3")
"""The parts of both that become one segment."""


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """Two rings side by side with two virtual networks on them; each link carries 20 Mbit/s."""
    state = tmp_path_factory.mktemp("kinds") / "state"
    with running_fabric(grid(2, 3, rate_mbps=20.0), state) as fabric:
        fabric.wait_for_links("path_latency_ms")
        for name, members in (("red", RED), ("blue", BLUE)):
            put_vnet(fabric, name, members)
        wait_until(lambda: allowed(fabric) == apart(), 2.0, "segmented")
        yield fabric


@pytest.fixture(autouse=True)
def _no_stitches_stay(fabric: Fabric) -> Iterator[None]:
    yield
    for stitch in fabric.controller.get("/stitches"):
        if stitch["state"] not in ("terminated", "rejected"):
            fabric.controller.delete_stitch(stitch["id"])
            assert bridges_of_stitch(fabric.bridges(), stitch["id"]) == set()
    wait_until(lambda: allowed(fabric) == apart(), 2.0, "segmented again")


def apart() -> set[tuple[str, str]]:
    return {*pairs(RED), *pairs(BLUE)}


def across() -> set[tuple[str, str]]:
    both = itertools.product(IN_RED, IN_BLUE)
    return {pair for a, b in both for pair in ((a, b), (b, a))}


def make(fabric: Fabric, body: dict[str, Any]) -> dict[str, Any]:
    answer = fabric.controller.api.post("/v1/stitches", params={"wait": "up", "wait_s": 10}, json=body)
    assert answer.status_code == 201, answer.text
    stitch: dict[str, Any] = answer.json()
    assert stitch["state"] == "up", stitch
    return stitch


def segment(fabric: Fabric, red: Iterable[str] = IN_RED, blue: Iterable[str] = IN_BLUE) -> dict[str, Any]:
    sides = {
        "source": {"vnet": "red", "hosts": list(red)},
        "destination": {"vnet": "blue", "hosts": list(blue)},
    }
    return make(fabric, {"kind": "segment", "bandwidth_mbps": 1.0, **sides})


def test_members_of_a_segment_ping_across_and_nobody_else_does(fabric: Fabric) -> None:
    segment(fabric)
    assert all(fabric.lab.ping(a, b) for a, b in sorted(across()))
    outside = [(a, b) for a in RED for b in BLUE if (a, b) not in across()]
    assert not any(fabric.lab.ping(a, b, deadline_s=1.0) for a, b in outside)
    assert all(fabric.lab.ping(a, b) for a, b in pairs(RED))


def test_broadcast_of_a_member_is_heard_once_in_its_network_and_across_and_nowhere_else(fabric: Fabric) -> None:
    segment(fabric)
    for source in (*RED, *BLUE):
        own, members, others = (RED, IN_RED, IN_BLUE) if source in RED else (BLUE, IN_BLUE, IN_RED)
        hears = {*own, *(others if source in members else ())} - {source}
        with ears(*fabric.lab.hosts()) as heard:
            send(fabric.lab.host(source), frame(fabric.lab.host(source).mac, BROADCAST))
            assert settle(heard) == {name: int(name in hears) for name in RED + BLUE}, source
            sent = frame(fabric.lab.host(source).mac, BROADCAST)
            assert all(data == sent for ear in heard.values() for data in ear.heard), "as it was sent, unlabelled"


def test_arp_is_answered_across_a_segment_and_no_longer_when_it_is_gone(fabric: Fabric) -> None:
    asker, other, outside = (fabric.lab.host(name) for name in (IN_RED[0], IN_BLUE[1], "hs2_1"))
    stitch = segment(fabric)
    with ears(asker, eth_type=ARP) as heard:
        send(asker, arp_request(asker.mac, asker.ip, other.ip))
        send(asker, arp_request(asker.mac, asker.ip, outside.ip))
        assert settle(heard) == {asker.name: 1}
        fabric.controller.delete_stitch(stitch["id"])
        send(asker, arp_request(asker.mac, asker.ip, other.ip))
        assert settle(heard) == {asker.name: 1}


def test_a_host_joins_and_leaves_a_segment_of_whole_networks_by_itself(fabric: Fabric) -> None:
    stitch = segment(fabric, red=(), blue=())
    assert fabric.lab.ping("hs1_3", "hs2_1")
    put(fabric, "red", RED[:2])

    def members() -> set[str]:
        side = fabric.controller.stitch(stitch["id"])["source"]["members"]
        return {member["name"] for member in side}

    wait_until(lambda: members() == set(RED[:2]), 5.0, "the host left")
    assert not fabric.lab.ping("hs1_3", "hs2_1", deadline_s=1.0)
    put(fabric, "red", RED)
    wait_until(lambda: members() == set(RED), 5.0, "the host joined again")
    wait_until(lambda: fabric.lab.ping("hs1_3", "hs2_1"), 5.0, "it is reached")


def put(fabric: Fabric, name: str, members: Iterable[str]) -> None:
    hosts = [{"name": member, "mac": fabric.lab.host(member).mac} for member in members]
    assert fabric.controller.api.put(f"/v1/vnets/{name}", json={"hosts": hosts}).status_code == 200


def test_no_packet_is_lost_while_hosts_join_a_segment(fabric: Fabric) -> None:
    put(fabric, "red", RED[:2])
    try:
        stitch = segment(fabric, red=(), blue=())
        assert fabric.lab.ping("hs1_1", "hs1_2")
        with Stream(fabric.lab.host("hs1_1"), fabric.lab.host("hs1_2"), packets_per_s=200) as stream:
            wait_until(lambda: stream.sent > 50, 3.0, "packets sent")
            put(fabric, "red", RED)
            wait_until(
                lambda: len(fabric.controller.stitch(stitch["id"])["source"]["members"]) == 3, 5.0, "it joined"
            )
            enough = stream.sent + 100
            wait_until(lambda: stream.sent > enough, 3.0, "packets sent")
            account = stream.end()
        assert (account.lost, account.doubled) == ((), 0)
    finally:
        put(fabric, "red", RED)


@pytest.mark.parametrize("cap_mbps", [2.0, 5.0])
def test_a_cap_lets_udp_have_what_it_says_and_no_more(fabric: Fabric, cap_mbps: float) -> None:
    assert fabric.lab.ping("hs1_1", "hs1_3")
    stitch = make(fabric, {"kind": "bandwidth", "source": "red", "destination": "red", "cap_mbps": cap_mbps})
    with Stream(
        fabric.lab.host("hs1_1"), fabric.lab.host("hs1_3"), packets_per_s=1250, frame_bytes=1000
    ) as stream:
        # The share of the sender grows to nearly all of the cap, and the burst is used up.
        wait_until(lambda: share(fabric, stitch, "s1_1") > 0.9 * cap_mbps, 10.0, "the cap follows who sends")
        settled_s = time.monotonic() + 2.0
        wait_until(lambda: time.monotonic() > settled_s, 3.0, "the burst is over")
        began_s, began = time.monotonic(), len(stream.arrived)
        wait_until(lambda: time.monotonic() > began_s + 3.0, 5.0, "three seconds of it")
        mbps = (len(stream.arrived) - began) * 8000 / 1e6 / (time.monotonic() - began_s)
    limit = share(fabric, stitch, "s1_1")
    assert 0.9 * limit <= mbps <= 1.05 * limit
    wait_until(
        lambda: "meters count" in (fabric.controller.stitch(stitch["id"])["enforced_why"] or ""), 5.0, "verified"
    )
    assert fabric.controller.stitch(stitch["id"])["enforced"] == "meter"


def share(fabric: Fabric, stitch: dict[str, Any], router: str) -> float:
    shares = fabric.controller.stitch(stitch["id"])["shares"]
    return next((float(one["mbps"]) for one in shares if one["dpid"] == fabric.dpid(router)), 0.0)


def patch(fabric: Fabric, stitch: dict[str, Any], **terms: Any) -> dict[str, Any]:
    path = f"/v1/stitches/{stitch['id']}"
    answer = fabric.controller.api.patch(path, params={"wait": "up", "wait_s": 10}, json=terms)
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    assert changed["state"] == "up", changed
    return changed


def test_other_terms_lose_no_packet_and_what_is_refused_changes_nothing(fabric: Fabric) -> None:
    ends = {"source": "hs1_1", "destination": "hs2_2"}
    vm = make(fabric, {**ends, "bandwidth_mbps": 1.0})
    joined = segment(fabric)
    with (
        Stream(fabric.lab.host("hs1_1"), fabric.lab.host("hs2_2"), packets_per_s=200) as inside,
        Stream(fabric.lab.host("hs2_2"), fabric.lab.host("hs1_2"), packets_per_s=200) as across_both,
    ):
        wait_until(lambda: min(inside.sent, across_both.sent) > 20, 3.0, "packets sent")
        assert patch(fabric, vm, protection="link")["backup"]
        assert patch(fabric, vm, bandwidth_mbps=9.0, priority=6)["priority"] == 6
        assert patch(fabric, joined, bandwidth_mbps=4.0, max_latency_ms=500.0)["bandwidth_mbps"] == 4.0
        refused = fabric.controller.api.patch(f"/v1/stitches/{vm['id']}", json={"bandwidth_mbps": 19.0})
        assert refused.status_code == 409 and refused.json()["remedy"]
        assert patch(fabric, vm, protection="none", bandwidth_mbps=2.0)["backup"] is None
        accounts = inside.end(), across_both.end()
    assert [(account.lost, account.doubled) for account in accounts] == [((), 0), ((), 0)]


def test_another_cap_lets_through_what_it_says(fabric: Fabric) -> None:
    stitch = make(fabric, {"kind": "bandwidth", "source": "red", "destination": "red", "cap_mbps": 2.0})
    assert sum(one["mbps"] for one in patch(fabric, stitch, cap_mbps=6.0)["shares"]) == pytest.approx(6.0)
    assert patch(fabric, stitch, cap_mbps=None, guarantee_mbps=3.0)["shares"] == []
    left = [flow for bridge in fabric.bridges().values() for flow in stitch_flows(bridge, stitch["id"])]
    assert {cookie.kind_of(flow.key[-1]) for flow in left} == {cookie.Kind.MARK}, "marks alone: no meter is left"


def test_what_has_to_be_encrypted_leaves_a_link_that_is_so_no_more(fabric: Fabric) -> None:
    ends = {"source": "hs1_1", "destination": "hs2_2", "bandwidth_mbps": 1.0, "encrypted": True}
    refused = fabric.controller.api.post("/v1/stitches", json=ends)
    assert (refused.status_code, refused.json()["field"]) == (409, "encrypted")
    links = fabric.controller.get("/topology")["links"]
    mark(fabric, links, encrypted=True)
    try:
        stitch = make(fabric, ends)
        hops = [(hop["dpid"], hop["out_port"]) for hop in stitch["path"][:-1]]
        with Stream(fabric.lab.host("hs1_1"), fabric.lab.host("hs2_2"), packets_per_s=200) as stream:
            wait_until(lambda: stream.sent > 20, 3.0, "packets sent")
            mark(fabric, [one for one in links if (one["src_dpid"], one["src_port"]) == hops[0]], encrypted=False)

            def elsewhere() -> bool:
                now = fabric.controller.stitch(stitch["id"])
                way = [(hop["dpid"], hop["out_port"]) for hop in now["path"] or ()]
                return now["state"] == "up" and hops[0] not in way

            wait_until(elsewhere, 5.0, lambda: str(fabric.controller.stitch(stitch["id"])))
            account = stream.end()
        assert (account.lost, account.doubled) == ((), 0)
        mark(fabric, links, encrypted=False)
        wait_until(
            lambda: "marked as encrypted" in (fabric.controller.stitch(stitch["id"])["reason"] or ""), 5.0, "down"
        )
        wait_until(lambda: bridges_of_stitch(fabric.bridges(), stitch["id"]) == set(), 5.0, "its rules are gone")
    finally:
        mark(fabric, links, encrypted=False)


def mark(fabric: Fabric, links: Iterable[dict[str, Any]], *, encrypted: bool) -> None:
    marks = [{"dpid": one["src_dpid"], "port": one["src_port"], "encrypted": encrypted} for one in links]
    assert fabric.controller.api.put("/v1/links/encryption", json=marks).status_code == 200


def test_the_least_important_makes_room_and_comes_back(fabric: Fabric) -> None:
    # Two links of 20 Mbit/s lead away from hs1_1.
    def corner(other: str, priority: int) -> dict[str, Any]:
        return {"source": "hs1_1", "destination": other, "bandwidth_mbps": 15.0, "priority": priority}

    put(fabric, "blue", ("hs1_2", "hs2_3"))
    put(fabric, "red", (*RED, "hs2_1"))
    try:
        least, middle = make(fabric, corner("hs2_2", 2)), make(fabric, corner("hs2_1", 3))
        refused = fabric.controller.api.post("/v1/stitches", json=corner("hs1_3", 2))
        assert refused.status_code == 409
        most = make(fabric, corner("hs1_3", 6))
        reason = f"displaced by stitch {most['id']} (priority 6 over 2)"
        assert fabric.controller.stitch(least["id"])["state"] == "failed"
        assert fabric.controller.stitch(least["id"])["reason"] == reason
        assert fabric.controller.stitch(middle["id"])["state"] == "up"
        for one in fabric.controller.get("/reservations"):
            assert one["promised_mbps"] <= one["capacity_mbps"]
        fabric.controller.delete_stitch(most["id"])
        wait_until(lambda: fabric.controller.stitch(least["id"])["state"] == "up", 15.0, "it is tried again")
        fabric.controller.delete_stitch(least["id"])
        fabric.controller.delete_stitch(middle["id"])
    finally:
        put(fabric, "red", RED)
        put(fabric, "blue", BLUE)
