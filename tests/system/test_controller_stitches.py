"""A stitch over REST: its rules are on its path and nowhere else, carry its packets, and leave without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from mininet_topos.ovs import run
from mininet_topos.topology import ring
from stitching.cookie import Kind, kind_of
from tests.system.controller import Fabric, running_fabric
from tests.system.flows import FlowKey, all_flows, bridges_of_stitch, flows, stitch_flows
from tests.system.streams import Stream
from tests.system.waiting import wait_until

FOREIGN = 0xDEADBEEF


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """A ring where one way round is shorter than the other; each link carries 10 Mbit/s."""
    made = ring(4, rate_mbps=10.0)
    slow = replace(made, links=tuple(replace(link, delay_ms=2.0 + 3.0 * i) for i, link in enumerate(made.links)))
    state = tmp_path_factory.mktemp("stitches") / "state"
    with running_fabric(slow, state) as fabric:
        fabric.wait_for_links("path_latency_ms")
        yield fabric


@pytest.fixture(autouse=True)
def _no_stitches_stay(fabric: Fabric) -> Iterator[None]:
    yield
    for link in fabric.lab.topology.links:
        fabric.lab.link(link.a, link.b).restore()
    for stitch in fabric.controller.get("/stitches"):
        if stitch["state"] != "terminated":
            fabric.controller.delete_stitch(stitch["id"])
    wait_until(lambda: fabric.controller.links().keys() == fabric.wired(), 5.0, "every link is there again")


def check(fabric: Fabric, mbps: float) -> dict[str, object]:
    body = {"source": ip(fabric, "hs1"), "destination": ip(fabric, "hs3"), "bandwidth_mbps": mbps}
    answer = fabric.controller.api.post("/v1/stitches/check", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def ip(fabric: Fabric, host: str) -> str:
    return fabric.lab.host(host).ip


def carried(fabric: Fabric, number: int) -> dict[FlowKey, int]:
    """How many packets the rules of a stitch have met, without those for probes."""
    return {
        flow.key: flow.packets
        for bridge in fabric.bridges().values()
        for flow in stitch_flows(bridge, number)
        if kind_of(flow.cookie) == Kind.STITCH
    }


def test_a_stitch_has_rules_on_exactly_the_switches_of_its_path(fabric: Fabric) -> None:
    stitch = fabric.controller.create_stitch(ip(fabric, "hs1"), ip(fabric, "hs3"))
    assert fabric.path(stitch) == ["s1", "s2", "s3"]
    assert bridges_of_stitch(fabric.bridges(), stitch["id"]) == {"s1", "s2", "s3"}
    # 2 ms and 5 ms of line, as planned and as a probe measured it; a busy machine adds to that.
    assert 6.5 < stitch["latency_ms"] < 14.0

    def probed() -> bool:
        probe_ms = fabric.controller.stitch(stitch["id"])["probe_ms"]
        assert probe_ms is None or probe_ms > 6.0, "faster than the line"
        return probe_ms is not None and probe_ms < 20.0

    wait_until(probed, 5.0, lambda: fabric.controller.stitch(stitch["id"]))


def test_packets_go_through_the_rules_of_the_stitch(fabric: Fabric) -> None:
    assert fabric.lab.ping("hs1", "hs3")
    stitch = fabric.controller.create_stitch(ip(fabric, "hs1"), ip(fabric, "hs3"))
    before = carried(fabric, stitch["id"])
    assert len(before) == 6, "two directions on three switches"
    assert fabric.lab.ping("hs1", "hs3", count=10)

    def counted() -> bool:
        after = carried(fabric, stitch["id"])
        return all(after[rule] >= before[rule] + 10 for rule in before)

    wait_until(counted, 3.0, lambda: f"each rule met ten packets: {before} {carried(fabric, stitch['id'])}")


@pytest.mark.parametrize("way", [["s1", "s2", "s3"], ["s1", "s4", "s3"]], ids=["shortest", "another"])
def test_no_packet_is_lost_while_a_stitch_comes_and_goes(fabric: Fabric, way: list[str]) -> None:
    assert fabric.lab.ping("hs1", "hs3")
    if "s2" not in way:
        fabric.controller.create_stitch(ip(fabric, "hs2"), ip(fabric, "hs3"), mbps=10.0)
    with Stream(fabric.lab.host("hs1"), fabric.lab.host("hs3"), packets_per_s=200) as stream:
        for _ in range(3):
            stitch = fabric.controller.create_stitch(ip(fabric, "hs1"), ip(fabric, "hs3"))
            assert fabric.path(stitch) == way
            # Packets are on their way while it comes, while it stands and while it goes.
            enough = stream.sent + 20
            wait_until(lambda enough=enough: stream.sent > enough, 2.0, "packets sent")  # type: ignore[misc]
            fabric.controller.delete_stitch(stitch["id"])
        account = stream.end()
    assert account.sent > 60 and (account.lost, account.doubled) == ((), 0)


def test_asking_books_nothing_and_a_stitch_does(fabric: Fabric) -> None:
    for _ in range(3):
        assert check(fabric, 10.0)["possible"]
    before = all_flows(fabric.bridges()).keys()
    assert fabric.controller.get("/stitches?state=up") == []
    fabric.controller.create_stitch(ip(fabric, "hs1"), ip(fabric, "hs2"), mbps=6.0)
    assert all_flows(fabric.bridges()).keys() > before
    # What is left of the direct way does not do; the long way round has all of its own.
    answer = check(fabric, 8.0)
    assert answer["possible"] and fabric.path(answer) == ["s1", "s4", "s3"]


def test_deleting_a_stitch_removes_its_rules_and_touches_no_other(fabric: Fabric) -> None:
    bridges = fabric.bridges()
    other = fabric.controller.create_stitch(ip(fabric, "hs2"), ip(fabric, "hs4"))
    foreign_rules = {"table=2": "priority=250,dl_type=0x9000,actions=drop", "table=77": "priority=5,actions=drop"}
    for bridge in bridges.values():
        for table, rule in foreign_rules.items():
            run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", bridge, f"cookie={FOREIGN:#x},{table},{rule}"])
    try:
        before = all_flows(bridges)
        stitch = fabric.controller.create_stitch(ip(fabric, "hs1"), ip(fabric, "hs3"))
        assert len(all_flows(bridges)) > len(before)
        fabric.controller.delete_stitch(stitch["id"])
        assert bridges_of_stitch(bridges, stitch["id"]) == set()
        after = all_flows(bridges)
        assert after.keys() == before.keys()
        # A rule that was written again would be younger.
        assert [key for key in before if after[key].duration_s < before[key].duration_s] == []
        assert fabric.controller.stitch(other["id"])["state"] == "up"
        for bridge in bridges.values():
            assert len(flows(bridge, FOREIGN, 2**64 - 1)) == 2
    finally:
        for bridge in bridges.values():
            run(["ovs-ofctl", "-O", "OpenFlow13", "del-flows", bridge, f"cookie={FOREIGN:#x}/-1"])


def test_a_stitch_leaves_a_link_that_dies_silently(fabric: Fabric) -> None:
    stitch = fabric.controller.create_stitch(ip(fabric, "hs1"), ip(fabric, "hs3"))
    assert fabric.path(stitch) == ["s1", "s2", "s3"]
    fabric.lab.link("s1", "s2").cut()

    def elsewhere() -> bool:
        now = fabric.controller.stitch(stitch["id"])
        return now["state"] == "up" and fabric.path(now) == ["s1", "s4", "s3"]

    wait_until(elsewhere, 8.0, lambda: fabric.controller.stitch(stitch["id"]))
    # What is on the way on the path before is let through first.
    wait_until(
        lambda: bridges_of_stitch(fabric.bridges(), stitch["id"]) == {"s1", "s4", "s3"},
        3.0,
        "the path before is gone",
    )
    before = carried(fabric, stitch["id"])
    assert fabric.lab.ping("hs1", "hs3", count=3)
    wait_until(
        lambda: all(packets >= before[rule] + 3 for rule, packets in carried(fabric, stitch["id"]).items()),
        3.0,
        "the packets go through its new rules",
    )
