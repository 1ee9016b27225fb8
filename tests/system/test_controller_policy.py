"""Real packets meet the fate that GET /v1/explain tells, and a policy change takes effect within a second."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mininet_topos.topology import grid
from stitching import cookie
from stitching.cookie import KIND_MASK, Kind
from stitching.match import UDP
from stitching.policy.ruling import rule_number
from tests.system.controller import Fabric, running_fabric
from tests.system.flows import flows
from tests.system.frames import ears, send, settle
from tests.system.ip_frames import IPV4, PROTOCOLS, ip_frame
from tests.system.waiting import wait_until

RED = ("hs1_1", "hs2_2")
BLUE = ("hs1_2", "hs2_1")
ALL = RED + BLUE

CALLS = [
    ("tcp", 40000, 22),
    ("tcp", 40000, 80),
    ("tcp", 40000, 8001),
    ("tcp", 80, 40000),
    ("tcp", 8004, 40000),
    ("udp", 40000, 53),
    ("udp", 53, 40000),
    ("icmp", None, None),
    ("47", None, None),
]

RED_TO_BLUE = {"from": {"vnet": "red"}, "to": {"vnet": "blue"}}
WITHIN_RED = {"from": {"vnet": "red"}, "to": {"vnet": "red"}}

SHOP: dict[str, Any] = {
    "groups": {"front": [{"labels": ["front"]}], "store": [{"host": BLUE[0]}]},
    "rules": [
        {"name": "no ssh", "protocol": "tcp", "ports": 22, "action": "deny"},
        {
            "name": "web",
            "from": "front",
            "to": "store",
            "protocol": "tcp",
            "ports": [80, "8000-8005"],
            "action": "allow",
        },
        {"name": "quiet", "from": "front", "to": {"vnet": "blue"}, "protocol": "icmp", "action": "deny"},
        {
            "name": "dns",
            "from": {"vnet": "blue"},
            "to": {"vnet": "red"},
            "protocol": "udp",
            "ports": 53,
            "action": "allow",
        },
    ],
    "cases": [
        {"from": RED[0], "to": BLUE[0], "protocol": "tcp", "port": 80, "expect": "allow"},
        {"from": RED[1], "to": BLUE[0], "protocol": "tcp", "port": 80, "expect": "deny"},
    ],
}


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """A square of switches with a host each, in two virtual networks."""
    state = tmp_path_factory.mktemp("policy") / "state"
    # Of two ways of the same length the one that is measured to be shorter would be another every now and then.
    square = grid(2, 2)
    *others, last = square.links
    with running_fabric(replace(square, links=(*others, replace(last, delay_ms=8.0))), state) as fabric:
        fabric.wait_for_links("path_latency_ms")
        for name, members in (("red", RED), ("blue", BLUE)):
            hosts = [
                {"name": one, "mac": fabric.lab.host(one).mac, "labels": ["front"] if one == RED[0] else []}
                for one in members
            ]
            answer = fabric.controller.api.put(f"/v1/vnets/{name}", json={"hosts": hosts})
            assert answer.status_code == 201, answer.text
        yield fabric


@pytest.fixture(autouse=True)
def no_policy(fabric: Fabric) -> Iterator[None]:
    """Every test begins without one."""
    put(fabric, {})
    yield
    put(fabric, {})


def put(fabric: Fabric, document: dict[str, Any]) -> dict[str, Any]:
    """Make this the policy, and wait until switches have it."""
    answer = fabric.controller.api.put("/v1/policy", json=document)
    assert answer.status_code == 200, answer.text
    outcome: dict[str, Any] = answer.json()
    wait_until(
        lambda: decisions(fabric) == {one["dpid"]: one["rules"] for one in outcome["rules"]}, 2.0, "rules in place"
    )
    return outcome


def decisions(fabric: Fabric) -> dict[str, int]:
    """How many rules each switch has that decide who may send to whom."""
    return {
        fabric.dpid(router): sum(
            len(flows(bridge, cookie.pack(kind), KIND_MASK)) for kind in (Kind.SEGMENT, Kind.DENY, Kind.NEIGHBOUR)
        )
        for router, bridge in fabric.bridges().items()
    }


def explain(fabric: Fabric, src: str, dst: str, call: tuple[str, int | None, int | None]) -> dict[str, Any]:
    proto, src_port, port = call
    query = {"src": src, "dst": dst, "proto": proto, "src_port": src_port, "port": port}
    answer = fabric.controller.api.get(
        "/v1/explain", params={name: value for name, value in query.items() if value is not None}
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def fates(fabric: Fabric) -> dict[tuple[str, str, str], bool]:
    """Which of all packets between all hosts arrive, by sending them.

    Each is told by all its bytes: hosts answer some of them, with identifications of their own.
    """
    asked = {
        (a, b, str((proto, src_port, port))): ip_frame(
            fabric.lab.host(a), fabric.lab.host(b), PROTOCOLS[proto], src_port or 0, port or 0, number=number
        )
        for number, ((a, b), (proto, src_port, port)) in enumerate(
            itertools.product(itertools.permutations(ALL, 2), CALLS), start=1
        )
    }
    with ears(*fabric.lab.hosts(), eth_type=IPV4) as heard:
        for (a, _, _), packet in asked.items():
            send(fabric.lab.host(a), packet)
        settle(heard)
        arrived = {name: {*ear.heard} for name, ear in heard.items()}
    return {key: packet in arrived[key[1]] for key, packet in asked.items()}


def told(fabric: Fabric) -> dict[tuple[str, str, str], bool]:
    """Which of them arrive, as the API explains it."""
    return {
        (a, b, str(call)): explain(fabric, a, b, call)["arrives"]
        for (a, b), call in itertools.product(itertools.permutations(ALL, 2), CALLS)
    }


def test_real_packets_meet_the_fate_that_is_explained(fabric: Fabric) -> None:
    assert fates(fabric) == told(fabric)
    outcome = put(fabric, SHOP)
    assert outcome["cases_passed"] == 2
    found = fates(fabric)
    assert found == told(fabric)
    assert found[RED[0], BLUE[0], str(("tcp", 40000, 80))]
    assert not found[RED[0], RED[1], str(("tcp", 40000, 22))]
    assert 0 < sum(found.values()) < len(found)


def test_what_a_deny_rule_drops_is_counted_at_the_switch_of_the_sender(fabric: Fabric) -> None:
    put(fabric, SHOP)
    source, target = fabric.lab.host(RED[0]), fabric.lab.host(RED[1])
    bridge = fabric.lab.bridge("s1_1")
    mark = cookie.pack(Kind.DENY, stitch=rule_number("no ssh"))
    send(source, *(ip_frame(source, target, 6, 40000, 22, number=n) for n in range(7)))
    wait_until(
        lambda: sum(flow.packets for flow in flows(bridge, mark, (1 << 64) - 1)) == 7, 3.0, "seven packets counted"
    )


def test_the_explained_path_is_the_one_that_packets_take(fabric: Fabric) -> None:
    put(fabric, SHOP)
    found = explain(fabric, RED[0], BLUE[0], ("tcp", 40000, 80))
    routers = [fabric.router(hop["dpid"]) for hop in found["path"]]
    assert (routers[0], routers[-1], found["stitch"]) == ("s1_1", "s1_2", None)
    assert found["decided_at"] == fabric.dpid("s1_1")
    source, target = fabric.lab.host(RED[0]), fabric.lab.host(BLUE[0])
    before = crossings(fabric)
    count = 200
    with ears(target, eth_type=IPV4) as heard:
        send(source, *(ip_frame(source, target, 6, 40000, 80, number=n) for n in range(count)))
        assert settle(heard) == {target.name: count}
    after = crossings(fabric)
    used = {ends for ends in after if after[ends] - before[ends] >= count}
    assert used == set(itertools.pairwise(routers))


def crossings(fabric: Fabric) -> dict[tuple[str, str], int]:
    """Frames that crossed each link, by its routers."""
    counts = {}
    for link, spec in zip(fabric.lab.stats().links, fabric.lab.topology.links, strict=True):
        counts[spec.a, spec.b] = link.a_to_b.frames
        counts[spec.b, spec.a] = link.b_to_a.frames
    return counts


def test_a_change_stops_what_it_forbids_within_a_second_and_names_the_rule_to_the_stitch(fabric: Fabric) -> None:
    allow = {"rules": [{"name": "all for a while", **RED_TO_BLUE, "action": "allow"}]}
    deny = {"rules": [{"name": "over", **RED_TO_BLUE, "action": "deny"}]}
    refused = fabric.controller.api.post(
        "/v1/stitches", json={"source": RED[0], "destination": BLUE[0], "bandwidth_mbps": 1}
    )
    assert (refused.status_code, "no policy rule lets them talk" in refused.text) == (409, True)
    put(fabric, allow)
    stitch = fabric.controller.create_stitch(RED[0], BLUE[0])
    assert explain(fabric, RED[0], BLUE[0], ("udp", 40000, 9))["stitch"] == stitch["id"]
    outcome = fabric.controller.api.put("/v1/policy?dry_run=true", json=deny).json()
    assert [one["id"] for one in outcome["stitches"]] == [stitch["id"]]
    source, target = fabric.lab.host(RED[0]), fabric.lab.host(BLUE[0])
    with ears(target, eth_type=IPV4) as heard:
        send(source, ip_frame(source, target, UDP, 40000, 9))
        assert settle(heard) == {target.name: 1}
        asked_s = time.monotonic()
        assert fabric.controller.api.put("/v1/policy", json=deny).status_code == 200
        stopped_s = last_arrival_s(fabric, heard[target.name])
    assert stopped_s - asked_s < 1.0
    wait_until(lambda: fabric.controller.stitch(stitch["id"])["state"] == "terminated", 2.0, "the stitch gone")
    assert "policy rule 'over'" in fabric.controller.stitch(stitch["id"])["reason"]
    print(f"stopped {1e3 * (stopped_s - asked_s):.0f} ms after the request was sent")  # noqa: T201


def last_arrival_s(fabric: Fabric, ear: Any) -> float:
    """Send every few milliseconds until nothing arrived for half a second; when the last one did."""
    source, target = fabric.lab.host(RED[0]), fabric.lab.host(BLUE[0])
    heard, last_s = len(ear.listen()), time.monotonic()
    while time.monotonic() - last_s < 0.5:
        send(source, ip_frame(source, target, UDP, 40000, 9))
        time.sleep(0.005)
        if (now := len(ear.listen())) != heard:
            heard, last_s = now, time.monotonic()
    return last_s


def test_a_rule_begins_to_hold_when_its_time_comes(fabric: Fabric) -> None:
    begin_s = time.time() + 1.5
    begin = datetime.fromtimestamp(begin_s, UTC).isoformat()
    put(fabric, {"rules": [{"name": "later", **WITHIN_RED, "action": "deny", "times": [{"from": begin}]}]})
    call = ("udp", 40000, 9)
    assert explain(fabric, *RED, call)["arrives"]
    later = fabric.controller.api.get("/v1/explain", params={"src": RED[0], "dst": RED[1], "at": begin}).json()
    assert (later["arrives"], later["rule"]) == (False, "later")
    wait_until(lambda: not explain(fabric, *RED, call)["arrives"], 4.0, "the rule holds")
    assert time.time() >= begin_s
    wait_until(lambda: not fates(fabric)[(*RED, str(("udp", 40000, 53)))], 2.0, "packets stopped")


def test_what_may_not_leave_a_zone_is_stopped_where_it_would_and_a_stitch_finds_the_way_inside(
    fabric: Fabric,
) -> None:
    # From s1_1 to s2_2 there are two ways: the zone has the slower one, which is not taken.
    call = ("udp", 40000, 9)
    taken = [fabric.router(hop["dpid"]) for hop in explain(fabric, *RED, call)["path"]]
    inside = ({"s1_1", "s1_2", "s2_1", "s2_2"} - {taken[1]}) | {taken[0], taken[-1]}
    zones = {"home": sorted(fabric.dpid(router) for router in inside)}
    rule = {"name": "stay", **WITHIN_RED, "action": "allow", "zones": ["home"]}
    put(fabric, {"zones": zones, "rules": [rule]})
    wait_until(lambda: not fates(fabric)[(*RED, str(("udp", 40000, 53)))], 2.0, "packets stopped")
    found = explain(fabric, *RED, call)
    assert (found["allowed"], found["arrives"], found["zones"]) == (True, False, ["home"])
    assert "is outside the allowed zones (home)" in found["words"]
    stitch = fabric.controller.create_stitch(*RED)
    assert taken[1] not in fabric.path(stitch)
    assert fates(fabric)[(*RED, str(("udp", 40000, 53)))]
    assert explain(fabric, *RED, call)["stitch"] == stitch["id"]
    fabric.controller.delete_stitch(stitch["id"])


def test_a_policy_that_fails_its_own_case_is_refused_by_name_and_changes_nothing(fabric: Fabric) -> None:
    version = fabric.controller.get("/policy")["version"]
    wrong = {**SHOP, "cases": [{"from": RED[1], "to": BLUE[0], "protocol": "tcp", "port": 80, "expect": "allow"}]}
    answer = fabric.controller.api.put("/v1/policy", json=wrong)
    assert answer.status_code == 422
    assert (
        "case 1: expect: expected allow, got deny by default between virtual networks" in answer.json()["detail"]
    )
    assert fabric.controller.get("/policy")["version"] == version
