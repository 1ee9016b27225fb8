"""The feed keeps the newest in order; the herald tells what came, what went, and of whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.app import Event
from ryu_apps.events import Alarm, AlarmsRaised, NetworkChanged, StitchMoved, VnetsChanged
from ryu_apps.feed import Feed, Happening, Missed
from ryu_apps.herald import Herald
from stitching.network import Network
from stitching.stitch import State, Stitch, VmRequest
from tests.unit.test_rest_fake import MACS, NOW_S, fabric, red_and_blue


@given(told=st.integers(0, 60), keep=st.integers(1, 20), number=st.integers(-3, 65), most=st.integers(1, 70))
def test_what_comes_after_a_number_is_given_whole_or_missed(told: int, keep: int, number: int, most: int) -> None:
    feed = Feed(keep)
    for n in range(1, told + 1):
        feed.tell(0.0, "link", {"n": n})
    expected = list(range(number + 1, told + 1))
    if number > told or number < max(0, told - keep):
        with pytest.raises(Missed):
            feed.after(number, most)
    else:
        assert [one.data["n"] for one in feed.after(number, most)] == expected[:most]
        assert [one.number for one in feed.after(number, most)] == expected[:most]


def test_ids_are_those_of_one_run() -> None:
    feed = Feed()
    feed.tell(0.0, "link", {})
    assert feed.number_of(feed.id_of(feed.last)) == 1
    for wrong in (Feed().id_of(1), "", "x", "1", f"{feed.id_of(1)}x", feed.id_of(1).replace("1", "\u00b9"), "-"):
        with pytest.raises(Missed):
            feed.number_of(wrong)


def test_who_watches_is_told_until_it_stops_watching() -> None:
    feed, seen = Feed(), list[int]()
    unwatch = feed.watch(lambda: seen.append(feed.last))
    feed.tell(0.0, "link", {})
    feed.close()
    unwatch()
    feed.tell(0.0, "link", {})
    assert (seen, feed.closed) == ([1, 1], True)


class Told:
    """A herald that runs no thread, and what it has told."""

    def __init__(self, network: Network | None = None) -> None:
        self.feed = Feed()
        self.herald = Herald(feed=self.feed, network=network, clock=lambda: NOW_S)

    def __call__(self, *events: Event) -> list[Happening]:
        before = self.feed.last
        for event in events:
            match event:
                case NetworkChanged():
                    self.herald.on_network(event)
                case VnetsChanged():
                    self.herald.on_vnets(event)
                case StitchMoved():
                    self.herald.on_stitch(event)
                case AlarmsRaised():
                    self.herald.on_alarms(event)
        return self.feed.after(before)


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    told(VnetsChanged(tuple(red_and_blue().values())))
    yield told
    told.herald.stop()


def test_switches_links_and_hosts_come_and_go(told: Told) -> None:
    network = fabric()
    came = told(NetworkChanged(network))
    assert [(one.kind, one.data["change"]) for one in came] == (
        [("switch", "up")] * 3 + [("link", "up")] * 5 + [("host", "up")] * 4
    )
    assert came[0].data["dpid"] == "0000000000000001"
    assert came[3].data == {
        "change": "up", "src_dpid": "0000000000000001", "src_port": 10,
        "dst_dpid": "0000000000000002", "dst_port": 10,
    }  # fmt: skip
    assert came[8].data["name"] == "h1" and came[8].data["vnet"] == "red"
    assert [one.vnets for one in came[8:]] == [frozenset({"red"})] * 3 + [frozenset({"blue"})]
    assert {one.vnets for one in came[:8]} == {None}
    assert told(NetworkChanged(replace(network))) == []
    host = network.hosts[MACS[0]]
    moved = replace(network, hosts={**network.hosts, MACS[0]: replace(host, port_no=9)})
    assert [(one.data["change"], one.data["port"]) for one in told(NetworkChanged(moved))] == [("moved", 9)]
    gone = told(NetworkChanged(Network()))
    assert [one.data["change"] for one in gone] == ["down"] * 12


def test_a_fabric_that_was_remembered_is_no_news() -> None:
    told = Told(fabric())
    assert {one.kind for one in told(NetworkChanged(fabric()))} == {"switch"} or not told.feed.last
    told.herald.stop()


def test_a_stitch_is_told_with_its_ends_and_their_networks(told: Told) -> None:
    told(NetworkChanged(fabric()))
    stitch = Stitch(7, VmRequest(MACS[0], MACS[3], 1.0), State.DOWN, NOW_S, NOW_S, reason="cut")
    (one,) = told(StitchMoved(stitch, State.UP))
    assert one.data == {
        "id": 7, "state": "down", "was": "up", "reason": "cut", "kind": "vm",
        "source": {"name": "h1", "mac": MACS[0]}, "destination": {"name": "10.0.0.4", "mac": MACS[3]},
    }  # fmt: skip
    assert one.vnets == frozenset({"red", "blue"})
    (new,) = told(StitchMoved(stitch, None))
    assert new.data["was"] is None


def test_alarms_are_told_with_the_time_of_their_sample(told: Told) -> None:
    alarms = (Alarm(5.0, "demands", f"{MACS[0]}>{MACS[1]}", 12.34), Alarm(6.0, "loads", "a>b", 10.0))
    demand, load = told(AlarmsRaised(alarms))
    assert (demand.time_s, demand.vnets) == (5.0, frozenset({"red"}))
    assert demand.data == {"kind": "demands", "series": f"{MACS[0]}>{MACS[1]}", "surprise_bits": 12.3}
    assert (load.time_s, load.vnets) == (6.0, None)
