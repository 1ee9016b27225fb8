"""Intents over REST on a real lab: what they ask for comes up, stays, and survives the end of the controller."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from mininet_topos.topology import ring
from tests.system.controller import Fabric, running_fabric
from tests.system.streams import Stream
from tests.system.waiting import wait_until

Intent = dict[str, Any]

SOON_S = 15.0


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """A ring of four switches with a host each; every link carries 10 Mbit/s."""
    with running_fabric(ring(4, rate_mbps=10.0), tmp_path_factory.mktemp("intents") / "state") as fabric:
        fabric.wait_for_links("path_latency_ms")
        yield fabric


@pytest.fixture(autouse=True)
def _no_intents_stay(fabric: Fabric) -> Iterator[None]:
    yield
    apply(fabric)
    for stitch in live(fabric):
        if stitch["origin"] != "intent":
            fabric.controller.delete_stitch(stitch["id"])
    wait_until(lambda: live(fabric) == [], SOON_S, lambda: str(live(fabric)))
    for vnet in fabric.controller.get("/vnets"):
        fabric.controller.api.delete(f"/v1/vnets/{vnet['name']}").raise_for_status()


def ip(fabric: Fabric, host: str) -> str:
    return fabric.lab.host(host).ip


def latency(fabric: Fabric, name: str, *hosts: str, **terms: Any) -> Intent:
    return {"name": name, "latency": {"between": [ip(fabric, host) for host in hosts], **terms}}


def put(fabric: Fabric, *intents: Intent, **params: Any) -> httpx.Response:
    return fabric.controller.api.put("/v1/intents", json={"intents": list(intents)}, params=params)


def apply(fabric: Fabric, *intents: Intent) -> dict[str, Any]:
    answer = put(fabric, *intents)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def states(fabric: Fabric) -> dict[str, str]:
    return {one["name"]: one["state"] for one in fabric.controller.get("/intents")["intents"]}


def wait_for(fabric: Fabric, **wanted: str) -> None:
    wait_until(lambda: states(fabric) == wanted, SOON_S, lambda: str(fabric.controller.get("/intents")))


def live(fabric: Fabric, intent: str | None = None) -> list[dict[str, Any]]:
    stitches = fabric.controller.get("/stitches")
    there = [stitch for stitch in stitches if stitch["state"] not in ("terminated", "rejected")]
    return [stitch for stitch in there if intent is None or stitch["labels"].get("intent") == intent]


def test_what_is_asked_for_comes_up_and_comes_back_when_it_is_deleted_by_hand(fabric: Fabric) -> None:
    manual = fabric.controller.create_stitch(ip(fabric, "hs2"), ip(fabric, "hs4"))
    video = latency(fabric, "video", "hs1", "hs3", max_latency="200 ms", bandwidth="2 Mbit/s", protection="link")
    assert apply(fabric, video)["creates"] == 1
    wait_for(fabric, video="satisfied")
    (stitch,) = live(fabric, "video")
    assert (stitch["state"], stitch["origin"], stitch["bandwidth_mbps"]) == ("up", "intent", 2.0)
    assert stitch["backup"]
    fabric.controller.delete_stitch(stitch["id"])

    def back() -> bool:
        there = live(fabric, "video")
        return len(there) == 1 and there[0]["id"] != stitch["id"] and there[0]["state"] == "up"

    wait_until(back, SOON_S, lambda: str(live(fabric)))
    wait_for(fabric, video="satisfied")
    assert apply(fabric)["deletes"] == 1
    wait_until(lambda: live(fabric, "video") == [], SOON_S, lambda: str(live(fabric)))
    assert [one["id"] for one in live(fabric)] == [manual["id"]], "what people made is not touched"


def test_other_terms_move_no_packet_off_its_stitch(fabric: Fabric) -> None:
    apply(fabric, latency(fabric, "video", "hs1", "hs3"))
    wait_for(fabric, video="satisfied")
    (before,) = live(fabric, "video")
    with Stream(fabric.lab.host("hs1"), fabric.lab.host("hs3"), packets_per_s=200) as stream:
        wait_until(lambda: stream.sent > 20, 2.0, "packets sent")
        for bandwidth, protection in ((3, "none"), (4, "link"), (2, "none")):
            apply(fabric, latency(fabric, "video", "hs1", "hs3", bandwidth=bandwidth, protection=protection))
            wait_for(fabric, video="satisfied")
            (after,) = live(fabric, "video")
            assert (after["id"], after["bandwidth_mbps"]) == (before["id"], bandwidth)
        account = stream.end()
    assert (account.lost, account.doubled) == ((), 0)


def test_who_may_reach_whom_follows_the_intents(fabric: Fabric) -> None:
    for vnet, hosts in (("red", ("hs1", "hs2")), ("blue", ("hs3", "hs4"))):
        members = [{"name": host, "mac": fabric.lab.host(host).mac} for host in hosts]
        fabric.controller.api.put(f"/v1/vnets/{vnet}", json={"hosts": members}).raise_for_status()
    wait_until(lambda: not fabric.lab.ping("hs1", "hs3"), SOON_S, "two networks")
    reach = {"name": "ping", "reach": {"from": "red", "to": "blue"}}
    across = {"name": "across", "latency": {"between": ["hs1", "hs3"]}}
    apply(fabric, reach, across)
    wait_for(fabric, across="satisfied", ping="satisfied")
    wait_until(lambda: fabric.lab.ping("hs1", "hs3"), SOON_S, "they may talk")
    apart = {"name": "keep", "apart": ["red", "blue"]}
    answer = put(fabric, reach, across, apart)
    assert answer.status_code == 409
    told = answer.json()["detail"]
    assert "'keep' and 'ping'" in told and "'across' and 'keep'" in told
    assert states(fabric) == {"across": "satisfied", "ping": "satisfied"}
    apply(fabric, apart)
    wait_for(fabric, keep="satisfied")
    wait_until(lambda: not fabric.lab.ping("hs1", "hs3"), SOON_S, "they are apart")
    rules = [rule["name"] for rule in fabric.controller.get("/policy")["document"]["rules"]]
    assert rules == ["intent/keep/from-blue", "intent/keep/from-red"]


def test_two_networks_share_a_segment_and_have_a_rate_as_long_as_somebody_wants_it(fabric: Fabric) -> None:
    for vnet, hosts in (("red", ("hs1", "hs2")), ("blue", ("hs3", "hs4"))):
        members = [{"name": host, "mac": fabric.lab.host(host).mac} for host in hosts]
        fabric.controller.api.put(f"/v1/vnets/{vnet}", json={"hosts": members}).raise_for_status()
    wait_until(lambda: not fabric.lab.ping("hs1", "hs3"), SOON_S, "two networks")
    lab = {"name": "lab", "share": {"between": [{"vnet": "red", "hosts": ["hs1"]}, "blue"], "bandwidth": 1}}
    rate = {"name": "office", "rate": {"from": "red", "to": "blue", "guarantee": 1, "cap": "4 Mbit/s"}}
    assert apply(fabric, lab, rate)["creates"] == 2
    wait_for(fabric, lab="satisfied", office="satisfied")
    wait_until(lambda: fabric.lab.ping("hs1", "hs3"), SOON_S, "hosts of the segment reach each other")
    assert not fabric.lab.ping("hs2", "hs3", deadline_s=1.0)
    ids = {stitch["kind"]: stitch["id"] for stitch in live(fabric)}
    assert set(ids) == {"segment", "bandwidth"}
    whole = {"name": "lab", "share": {"between": ["blue", "red"], "bandwidth": 2}}
    more = {"name": "office", "rate": {"from": "red", "to": "blue", "guarantee": 2, "cap": 5}}
    assert apply(fabric, whole, more)["changes"] == 2
    wait_for(fabric, lab="satisfied", office="satisfied")
    after = {stitch["kind"]: stitch for stitch in live(fabric)}
    assert {kind: stitch["id"] for kind, stitch in after.items()} == ids, "changed where they are"
    assert (after["segment"]["bandwidth_mbps"], after["bandwidth"]["cap_mbps"]) == (2.0, 5.0)
    wait_until(lambda: fabric.lab.ping("hs2", "hs3"), SOON_S, "all of red is in it")
    fabric.controller.delete_stitch(after["bandwidth"]["id"])

    def back() -> bool:
        return [one["state"] for one in live(fabric, "office")] == ["up"]

    wait_until(back, SOON_S, lambda: str(live(fabric)))
    answer = put(fabric, whole, {"name": "keep", "apart": ["red", "blue"]})
    assert answer.status_code == 409 and "one segment" in answer.json()["detail"]


def test_what_cannot_be_had_as_a_whole_is_undone(fabric: Fabric) -> None:
    first = latency(fabric, "first", "hs1", "hs2")
    apply(fabric, first)
    wait_for(fabric, first="satisfied")
    # Two ways of 10 Mbit/s lead to hs3: as guarantees they fit, on one path they do not.
    fat = latency(fabric, "fat", "hs1", "hs3", bandwidth=15)
    answer = put(fabric, latency(fabric, "thin", "hs2", "hs4"), fat, atomic=True)
    assert answer.status_code == 409, answer.text
    assert "'fat' cannot be had" in answer.json()["detail"] and "15 Mbit/s" in answer.json()["detail"]
    wait_for(fabric, first="satisfied")
    wait_until(lambda: live(fabric, "thin") == [], SOON_S, lambda: str(live(fabric)))
    answer = put(fabric, first, latency(fabric, "thin", "hs2", "hs4"), fat)
    assert answer.status_code == 200
    wait_for(fabric, first="satisfied", thin="satisfied", fat="violated")


def test_a_transfer_has_a_stitch_until_all_is_carried(fabric: Fabric) -> None:
    deadline = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    ends = {"from": ip(fabric, "hs1"), "to": ip(fabric, "hs2")}
    move = {"name": "move", "transfer": {**ends, "amount": "1 MB", "deadline": deadline}}
    planned = fabric.controller.api.post("/v1/intents/plan", json={"intents": [move]}).json()
    assert (planned["version"], planned["creates"], live(fabric)) == (None, 1, [])
    apply(fabric, move)
    wait_for(fabric, move="satisfied")
    (stitch,) = live(fabric, "move")
    # 8 Mbit in a minute, and a tenth more.
    assert (stitch["state"], stitch["both_ways"]) == ("up", False)
    assert 0.14 < stitch["bandwidth_mbps"] < 0.17
    with Stream(fabric.lab.host("hs1"), fabric.lab.host("hs2"), packets_per_s=500, frame_bytes=1000):
        wait_until(lambda: live(fabric) == [], SOON_S, lambda: str(fabric.controller.get("/intents")))
    (intent,) = fabric.controller.get("/intents")["intents"]
    assert intent["state"] == "satisfied" and "all was carried" in intent["reason"]


def test_an_apply_that_was_cut_short_is_completed_after_the_restart(fabric: Fabric) -> None:
    ten = [
        latency(fabric, f"app-{n}", "hs1", ("hs2", "hs3", "hs4")[n % 3], app=f"tcp/{8000 + n}", bandwidth=0.5)
        for n in range(10)
    ]
    controller = fabric.controller
    fabric.wait_for_fabric_saved()

    def asking() -> None:
        with contextlib.suppress(httpx.HTTPError):
            put(fabric, *ten)

    asker = threading.Thread(target=asking)
    asker.start()
    wait_until(lambda: "intents=10 version=" in controller.log(), SOON_S, "it is stored")
    controller.kill9()
    asker.join()
    done = controller.log().partition("intents=10 version=")[2].count("state=up")
    assert done < 10, "it was in the middle of it"
    controller.restart()
    fabric.wait_for_links()
    wait_for(fabric, **{f"app-{n}": "satisfied" for n in range(10)})
    stitches = live(fabric)
    assert sorted(stitch["labels"]["intent"] for stitch in stitches) == sorted(f"app-{n}" for n in range(10))
    assert {stitch["state"] for stitch in stitches} == {"up"}
    wait_until(lambda: controller.get("/intents")["settled"], SOON_S, "all that can be done is done")
