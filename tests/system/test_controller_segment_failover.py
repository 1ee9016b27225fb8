"""A protected segment on real switches without a controller: any link or transit switch may die."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mininet_topos.topology import grid
from tests.system.controller import Fabric, running_fabric
from tests.system.frames import BROADCAST, Ear, ears, frame, send, settle
from tests.system.test_controller_forwarding import put_vnet
from tests.system.waiting import wait_until

RED, BLUE = ("hs1_1",), ("hs1_3", "hs2_2")
MEMBERS = (*RED, *BLUE)
LINKS = [(link.a, link.b) for link in grid(2, 3).links]
TRANSIT = ("s1_2", "s2_1", "s2_3")
"""The routers without members: some are on the tree, others on detours."""


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fabric, dict[str, Any]]]:
    """Two rings side by side, a segment on them that any switch may leave, and no controller any more."""
    state = tmp_path_factory.mktemp("failover") / "state"
    with running_fabric(grid(2, 3, rate_mbps=20.0), state) as fabric:
        fabric.wait_for_links("path_latency_ms")
        for name, members in (("red", RED), ("blue", BLUE)):
            put_vnet(fabric, name, members)
        body = {
            "kind": "segment",
            "source": {"vnet": "red"},
            "destination": {"vnet": "blue"},
            "bandwidth_mbps": 1.0,
            "protection": "node",
        }
        answer = fabric.controller.api.post("/v1/stitches", params={"wait": "up", "wait_s": 10}, json=body)
        assert answer.status_code == 201 and answer.json()["state"] == "up", answer.text
        fabric.controller.kill9()
        yield fabric, answer.json()


def across() -> list[tuple[str, str]]:
    return [pair for red in RED for blue in BLUE for pair in ((red, blue), (blue, red))]


def other_side(name: str) -> tuple[str, ...]:
    return BLUE if name in RED else RED


@contextmanager
def without(fabric: Fabric, links: Iterable[tuple[str, str]]) -> Iterator[None]:
    """These links have lost their carrier."""
    dead = [fabric.lab.link(*ends) for ends in links]
    try:
        for link in dead:
            link.cut(silent=False)
        yield
    finally:
        for link in dead:
            link.restore()


def exchange(fabric: Fabric, heard: dict[str, Ear]) -> dict[tuple[str, str], int]:
    """Each member sends a packet to each one across, and a broadcast: how often which came to whom."""
    for ear in heard.values():
        ear.listen().clear()
    for source, target in across():
        send(fabric.lab.host(source), frame(fabric.lab.host(source).mac, fabric.lab.host(target).mac))
    for source in MEMBERS:
        send(fabric.lab.host(source), frame(fabric.lab.host(source).mac, BROADCAST))
    # A busy machine may take its time: what is awaited is given some, then what should not come is.
    give_up_s = time.monotonic() + 0.5
    while came(fabric, heard) != wanted() and time.monotonic() < give_up_s:
        time.sleep(0.01)
    settle(heard)
    return came(fabric, heard)


def came(fabric: Fabric, heard: dict[str, Ear]) -> dict[tuple[str, str], int]:
    """What the ears have heard of it so far."""
    names = {fabric.lab.host(name).mac: name for name in MEMBERS}
    found: dict[tuple[str, str], int] = {}
    for name, ear in heard.items():
        for data in ear.listen():
            source = names[data[6:12].hex(":")]
            cast = "all" if data[:6] == b"\xff" * 6 else "one"
            # Its own network hears it too, by a tree that is not the segment's.
            if name not in MEMBERS or name in other_side(source):
                found[f"{source} {cast}", name] = found.get((f"{source} {cast}", name), 0) + 1
    return found


def wanted() -> dict[tuple[str, str], int]:
    """Everybody across hears everything once; nobody outside hears anything."""
    return {(f"{source} {cast}", target): 1 for source, target in across() for cast in ("one", "all")}


def assert_joined(fabric: Fabric) -> None:
    """As soon as the switches have seen what died, and from then on."""
    with ears(*fabric.lab.hosts()) as heard:
        last: dict[tuple[str, str], int] = {}

        def joined() -> bool:
            nonlocal last
            last = exchange(fabric, heard)
            return last == wanted()

        wait_until(joined, 5.0, lambda: f"joined: {last}")
        assert exchange(fabric, heard) == wanted()


@pytest.mark.parametrize("ends", LINKS, ids="-".join)
def test_any_link_dies(segment: tuple[Fabric, dict[str, Any]], ends: tuple[str, str]) -> None:
    fabric, _ = segment
    assert_joined(fabric)
    with without(fabric, [ends]):
        assert_joined(fabric)


@pytest.mark.parametrize("router", TRANSIT)
def test_any_transit_switch_dies(segment: tuple[Fabric, dict[str, Any]], router: str) -> None:
    fabric, _ = segment
    assert_joined(fabric)
    with without(fabric, [ends for ends in LINKS if router in ends]):
        assert_joined(fabric)


def test_a_transit_switch_was_on_the_tree(segment: tuple[Fabric, dict[str, Any]]) -> None:
    fabric, stitch = segment
    crossed = {fabric.router(link[end]) for link in stitch["links"] for end in ("src_dpid", "dst_dpid")}
    assert crossed & set(TRANSIT) and stitch["detours"]


def test_the_controller_comes_back_to_a_fabric_that_has_changed_and_mends_the_segment(
    segment: tuple[Fabric, dict[str, Any]],
) -> None:
    fabric, stitch = segment
    dead = tuple(fabric.router(stitch["links"][0][end]) for end in ("src_dpid", "dst_dpid"))
    with without(fabric, [(dead[0], dead[1])]):
        assert_joined(fabric)
        fabric.controller.restart()

        def mended() -> bool:
            now = fabric.controller.stitch(stitch["id"])
            ends = [
                {fabric.router(link["src_dpid"]), fabric.router(link["dst_dpid"])} for link in now["links"] or []
            ]
            return now["state"] in ("up", "degraded") and bool(ends) and set(dead) not in ends

        wait_until(mended, 20.0, lambda: str(fabric.controller.stitch(stitch["id"])))
        assert_joined(fabric)
