"""BFD runs on both ends of every link or on neither, a switch at a time, and never over somebody else's."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ryu_apps.ovsdb.bfd import COME_UP_S, FORGET_S, RETRY_S, BfdKeeper, Step
from ryu_apps.ovsdb.changes import BFD_MARK, bfd_settings
from ryu_apps.ovsdb.view import PortView
from stitching.network import Host, Link, LinkKey, Network, PortId, reverse

A, B, C = (1, 1), (2, 1), (3, 1)
FOREIGN = {"enable": "true", "min_tx": "100"}


def key(source: PortId, target: PortId) -> LinkKey:
    return (*source, *target)


def network(*cables: tuple[PortId, PortId], hosts: tuple[Host, ...] = ()) -> Network:
    links = {k: Link(k) for a, b in cables for k in (key(a, b), reverse(key(a, b)))}
    return Network(links=MappingProxyType(links), hosts=MappingProxyType({host.mac: host for host in hosts}))


def port(where: PortId) -> PortView:
    name = f"{where[0]}-{where[1]}"
    return PortView(uuid=f"p{name}", interface_uuid=f"i{name}", name=name, port_no=where[1])


class Database:
    """The ports of some switches, which do as a step says; sessions come up when told."""

    def __init__(self, *where: PortId) -> None:
        self.ports = {one: port(one) for one in where}

    def obey(self, step: Step) -> None:
        for where, change in step.changes.items():
            assert change.interface_uuid == self.ports[where].interface_uuid
            assert dict(change.seen) == dict(self.ports[where].bfd)
            ids = {} if change.interval_ms is None else {BFD_MARK: str(change.interval_ms)}
            bfd = {} if change.interval_ms is None else bfd_settings(change.interval_ms)
            status = self.ports[where].bfd_status if bfd else {}
            self.ports[where] = replace(self.ports[where], bfd=bfd, external_ids=ids, bfd_status=status)

    def say(self, where: PortId, state: str) -> None:
        self.ports[where] = replace(self.ports[where], bfd_status={"state": state})

    def on(self) -> set[PortId]:
        return {where for where, one in self.ports.items() if one.bfd.get("enable") == "true"}


def test_both_ends_of_a_link_get_bfd_and_a_mark_and_once_only() -> None:
    database, keeper = Database(A, B), BfdKeeper(20)
    step = keeper.step(network((A, B)), database.ports, 0.0)
    assert {where: change.interval_ms for where, change in step.changes.items()} == {A: 20, B: 20}
    database.obey(step)
    assert database.ports[A].external_ids == {BFD_MARK: "20"}
    assert not keeper.step(network((A, B)), database.ports, 1.0).changes


def test_an_end_that_cannot_be_reached_leaves_the_link_without() -> None:
    assert not BfdKeeper(20).step(network((A, B)), Database(A).ports, 0.0).changes


def test_somebody_elses_bfd_is_not_touched() -> None:
    database, keeper = Database(A, B), BfdKeeper(20)
    database.ports[A] = replace(database.ports[A], bfd=FOREIGN)
    for now_s in (0.0, 100.0, 1000.0):
        assert not keeper.step(network((A, B)), database.ports, now_s).changes


def test_what_somebody_changed_after_us_is_theirs() -> None:
    database, keeper = Database(A, B), BfdKeeper(20)
    database.obey(keeper.step(network((A, B)), database.ports, 0.0))
    database.ports[A] = replace(database.ports[A], bfd={**bfd_settings(20), "min_tx": "300"})
    for now_s in (1.0, 100.0):
        assert A not in keeper.step(network((A, B)), database.ports, now_s).changes


def test_two_links_of_a_switch_come_up_one_after_the_other() -> None:
    hub = (1, 2)
    database, keeper, fabric = Database(A, hub, B, C), BfdKeeper(20), network((A, B), (hub, C))
    database.obey(keeper.step(fabric, database.ports, 0.0))
    assert len(database.on()) == 2
    assert not keeper.step(fabric, database.ports, 1.0).changes
    for where in database.on():
        database.say(where, "up")
    database.obey(keeper.step(fabric, database.ports, 2.0))
    assert len(database.on()) == 4


def test_a_session_that_does_not_come_up_is_taken_back_and_tried_again_later() -> None:
    database, keeper, fabric = Database(A, B), BfdKeeper(20), network((A, B))
    database.obey(keeper.step(fabric, database.ports, 0.0))
    keeper.step(fabric, database.ports, 1.0)
    step = keeper.step(fabric, database.ports, 1.5 + COME_UP_S)
    assert step.given_up == (key(A, B),)
    database.obey(step)
    assert not database.on() and not database.ports[A].external_ids
    assert not keeper.step(fabric, database.ports, 10 + COME_UP_S).changes
    assert keeper.step(fabric, database.ports, 2 + COME_UP_S + RETRY_S).changes


def test_a_link_that_died_keeps_its_bfd() -> None:
    database, keeper = Database(A, B), BfdKeeper(20)
    database.obey(keeper.step(network((A, B)), database.ports, 0.0))
    for now_s in (1.0, 100.0, 500.0):
        assert not keeper.step(network(), database.ports, now_s).changes
    assert set(keeper.step(network(), database.ports, 2.0 + FORGET_S).changes) == {A, B}


def test_a_port_that_leads_to_a_host_now_loses_its_bfd() -> None:
    database, keeper = Database(A, B), BfdKeeper(20)
    database.obey(keeper.step(network((A, B)), database.ports, 0.0))
    step = keeper.step(network(hosts=(Host("02:00:00:00:00:01", *A),)), database.ports, 1.0)
    assert {where: change.interval_ms for where, change in step.changes.items()} == {A: None}


def test_a_cable_moved_to_a_switch_without_ovsdb_is_not_taken_for_dead() -> None:
    database, keeper = Database(A, B), BfdKeeper(20)
    database.obey(keeper.step(network((A, B)), database.ports, 0.0))
    moved = network((A, C))
    keeper.step(moved, database.ports, 1.0)
    step = keeper.step(moved, database.ports, 2.0 + COME_UP_S)
    assert step.changes[A].interval_ms is None


def test_another_interval_is_set_on_sessions_of_ours() -> None:
    database = Database(A, B)
    database.obey(BfdKeeper(20).step(network((A, B)), database.ports, 0.0))
    for where in (A, B):
        database.say(where, "up")
    step = BfdKeeper(50).step(network((A, B)), database.ports, 0.0)
    assert {change.interval_ms for change in step.changes.values()} == {50}


@pytest.mark.parametrize("interval_ms", [0, -1, 10_001])
def test_an_interval_is_within_bounds(interval_ms: int) -> None:
    with pytest.raises(ValueError, match="interval"):
        BfdKeeper(interval_ms)


CABLES = (((1, 1), (2, 1)), ((2, 2), (3, 1)), ((3, 2), (1, 2)), ((1, 3), (2, 3)))
ENDS = tuple(end for cable in CABLES for end in cable)


class Fabric(RuleBasedStateMachine):
    """Links that come and go, sessions that come up or do not, people who set BFD, servers that go away."""

    def __init__(self) -> None:
        super().__init__()
        self.database = Database(*ENDS)
        self.keeper = BfdKeeper(20)
        self.there = set(CABLES)
        self.away: set[int] = set()
        self.now_s = 0.0

    @rule(cable=st.sampled_from(CABLES))
    def link_breaks_or_returns(self, cable: tuple[PortId, PortId]) -> None:
        self.there ^= {cable}
        if cable not in self.there:
            for end in cable:
                self.database.say(end, "down")

    @rule(dpid=st.integers(1, 3))
    def server_goes_or_returns(self, dpid: int) -> None:
        self.away ^= {dpid}

    @rule(end=st.sampled_from(ENDS))
    def somebody_sets_bfd(self, end: PortId) -> None:
        self.database.ports[end] = replace(self.database.ports[end], bfd=FOREIGN, bfd_status={})

    @rule(wait_s=st.sampled_from((0.1, 1.0, 5.0, 30.0)))
    def time_passes(self, wait_s: float) -> None:
        self.now_s += wait_s
        for a, b in self.there:
            if {a, b} <= self.database.on():
                for end in (a, b):
                    self.database.say(end, "up")
        seen = {end: one for end, one in self.database.ports.items() if end[0] not in self.away}
        foreign = {end for end, one in seen.items() if dict(one.bfd) == FOREIGN}
        was_on, coming_up = self.database.on(), dict.fromkeys((1, 2, 3), 0)
        step = self.keeper.step(network(*self.there), seen, self.now_s)
        assert not foreign & step.changes.keys()
        for end, change in step.changes.items():
            coming_up[end[0]] += change.interval_ms is not None and end not in was_on
        assert max(coming_up.values()) <= 1, "two ports of a switch would be dead to its groups"
        self.database.obey(step)

    @precondition(lambda self: not self.away)
    @invariant()
    def what_is_up_on_both_ends_and_ours_is_never_turned_off(self) -> None:
        seen = self.database.ports
        up = {
            end
            for cable in self.there
            if all(seen[e].bfd_status.get("state") == "up" and BFD_MARK in seen[e].external_ids for e in cable)
            for end in cable
        }
        step = BfdKeeper(20).step(network(*self.there), seen, self.now_s)
        assert not {end for end in up if end in step.changes and step.changes[end].interval_ms is None}


Fabric.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestFabric = Fabric.TestCase
