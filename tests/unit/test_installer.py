"""The installer sends the difference only, in confirmed stages, and takes back what a switch refuses."""

from __future__ import annotations

from collections.abc import Sequence
from queue import Queue

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from ryu_apps import wire
from ryu_apps.app import Event
from ryu_apps.events import ApplyStages, Reconcile, StagesApplied, SwitchReady, WantRules
from ryu_apps.installer import OFFER_AGAIN_S, READ_S, STUCK_S, Installer
from ryu_apps.installing.keeper import FORWARDING
from ryu_apps.installing.staging import CONFIRM_S
from stitching import cookie
from stitching.cookie import Kind
from stitching.difference import Change
from stitching.match import L3Match, Match
from stitching.rules import (
    LEAST_METER,
    PORT_IN_PORT,
    Entry,
    EntryKey,
    Failover,
    FlowRule,
    Meter,
    Output,
    ToGroup,
    rule_set,
)
from tests.unit.fake_switch import FakeSwitch

FLOW_MOD, BARRIER = 14, 20


class Told(Installer):
    """An installer on the test's own thread and clock, that notes what it tells the others."""

    def __init__(self, gone: Sequence[int] = ()) -> None:
        self.now_s = 0.0
        self.told: list[Event] = []
        self.posted: list[Event] = []
        super().__init__(clock=lambda: self.now_s, gone=gone)

    def publish(self, occurred: Event) -> None:
        self.told.append(occurred)

    def post(self, occurred: Event) -> None:
        self.posted.append(occurred)

    def ended(self) -> list[StagesApplied]:
        return [event for event in self.told if isinstance(event, StagesApplied)]


def flow(number: int, port: int = 1, kind: Kind = Kind.FORWARD) -> FlowRule:
    match = Match(eth_dst=f"02:00:00:00:00:{number:02x}")
    return FlowRule(3, 100, match, (Output(port),), cookie=cookie.pack(kind))


def wants(*rules: Entry, dpids: tuple[int, ...] = (1, 2)) -> dict[int, dict[EntryKey, Entry]]:
    return {dpid: rule_set(rules) for dpid in dpids}


@pytest.fixture
def installer() -> Told:
    return Told()


def connect(installer: Told, dpid: int, *has: Entry) -> FakeSwitch:
    switch = FakeSwitch(dpid, dict(rule_set(has)))
    installer.on_state(switch.state(MAIN_DISPATCHER))
    for event in switch.holds():
        installer.on_holds(event)
    if (BARRIER, switch.sent[-1][1]) == switch.sent[-1]:
        installer.on_barrier(switch.barrier_reply())
    return switch


def test_a_new_switch_gets_what_is_wanted(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(flow(1), flow(2))))
    switch = connect(installer, 1)
    assert set(switch.table.values()) == {flow(1), flow(2)}
    assert SwitchReady(1) in installer.told


def test_a_switch_that_has_it_all_is_not_written_to(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(flow(1), flow(2))))
    switch = connect(installer, 1, flow(1), flow(2))
    assert switch.flow_mods == 0
    assert installer.status().rules_kept == 2


def test_only_missing_wrong_and_excess_rules_are_touched(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(flow(1), flow(2, port=7), flow(3))))
    switch = connect(installer, 1, flow(1), flow(2, port=8), flow(9))
    assert set(switch.table.values()) == {flow(1), flow(2, port=7), flow(3)}
    assert switch.flow_mods == 3


def test_nothing_is_touched_before_forwarding_has_spoken(installer: Told) -> None:
    switch = connect(installer, 1, flow(9))
    assert switch.flow_mods == 0
    assert set(switch.table.values()) == {flow(9)}


def test_rules_of_other_owners_are_not_seen(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(flow(1))))
    foreign = FlowRule(0, 1, Match(), (Output(1),), cookie=0x1234)
    switch = connect(installer, 1, foreign)
    assert foreign in switch.table.values()
    assert switch.flow_mods == 1


def ready(installer: Told) -> tuple[FakeSwitch, FakeSwitch]:
    installer.on_want(WantRules(FORWARDING, wants(flow(1))))
    return connect(installer, 1), connect(installer, 2)


def apply(installer: Told, owner: str = "stitch:1", ticket: int = 5) -> ApplyStages:
    far, near = flow(20, kind=Kind.STITCH), flow(21, kind=Kind.STITCH)
    stages = ((Change(2, far),), (Change(1, near),))
    request = ApplyStages(owner, stages, {2: rule_set([far]), 1: rule_set([near])}, ticket)
    installer.on_apply(request)
    return request


def test_a_stage_starts_when_the_one_before_is_confirmed(installer: Told) -> None:
    one, two = ready(installer)
    before = one.flow_mods
    apply(installer)
    assert flow(20, kind=Kind.STITCH) in two.table.values()
    assert one.flow_mods == before
    installer.on_barrier(two.barrier_reply())
    assert flow(21, kind=Kind.STITCH) in one.table.values()
    assert not installer.ended()
    installer.on_barrier(one.barrier_reply())
    assert installer.ended() == [StagesApplied("stitch:1", 5, None, 2)]


def test_a_refusal_takes_the_whole_change_back_and_says_why(installer: Told) -> None:
    one, two = ready(installer)
    apply(installer)
    installer.on_barrier(two.barrier_reply())
    installer.on_error(one.error(one.last(FLOW_MOD)))
    (ended,) = installer.ended()
    assert ended.error is not None and "0000000000000001 refused" in ended.error and "TABLE_FULL" in ended.error
    assert set(two.table.values()) == {flow(1)}
    assert not installer.status().differences


def test_a_switch_that_goes_away_half_way_has_the_rest_taken_back(installer: Told) -> None:
    one, two = ready(installer)
    apply(installer)
    installer.on_barrier(two.barrier_reply())
    installer.on_state(one.state(DEAD_DISPATCHER))
    (ended,) = installer.ended()
    assert ended.error == "switch 0000000000000001 disconnected"
    assert set(two.table.values()) == {flow(1)}


def test_a_switch_that_does_not_confirm_ends_the_change(installer: Told) -> None:
    _, two = ready(installer)
    apply(installer)
    installer.now_s = CONFIRM_S + 0.1
    installer.on_deadline(None)  # type: ignore[arg-type]  # the tick says nothing
    (ended,) = installer.ended()
    assert ended.error is not None and "did not confirm" in ended.error
    assert set(two.table.values()) == {flow(1)}


def test_a_change_on_a_switch_that_is_away_is_refused_at_once(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(flow(1))))
    two = connect(installer, 2)
    apply(installer)
    assert installer.ended()[0].error == "switch 0000000000000001 is not connected"
    assert set(two.table.values()) == {flow(1)}


def test_reconciling_leaves_a_change_in_progress_alone(installer: Told) -> None:
    one, two = ready(installer)
    apply(installer)
    installer.on_want(WantRules(FORWARDING, wants(flow(1), flow(2))))
    assert flow(20, kind=Kind.STITCH) in two.table.values()
    installer.on_barrier(two.barrier_reply())
    assert set(one.table.values()) >= {flow(1), flow(2)}


def test_a_rule_that_replaced_another_is_put_back(installer: Told) -> None:
    one, two = ready(installer)
    changed = flow(1, port=9)
    installer.on_apply(ApplyStages("stitch:1", ((Change(2, changed),), (Change(1, flow(5)),)), {}, 1))
    assert changed in two.table.values()
    installer.on_state(one.state(DEAD_DISPATCHER))
    assert set(two.table.values()) == {flow(1)}


GROUP, METER = Failover((1, 2)), Meter(LEAST_METER, 1000, 100)
BY_GROUP = FlowRule(
    2, 9, Match(in_port=1), (ToGroup(GROUP.group_id),), None, cookie.pack(Kind.STITCH), LEAST_METER
)


def test_groups_and_meters_are_there_before_the_rules_that_name_them(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(BY_GROUP, GROUP, METER)))
    switch = connect(installer, 1)
    assert set(switch.table.values()) == {BY_GROUP, GROUP, METER}
    assert [kind for kind, _ in switch.sent if kind in (14, 15, 29)] == [15, 29, 14]
    installer.on_want(WantRules(FORWARDING, wants()))
    assert not switch.table
    assert [kind for kind, _ in switch.sent if kind in (14, 15, 29)][3] == 14


def test_right_groups_and_meters_are_not_touched_and_a_wrong_meter_is_changed(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(GROUP, METER)))
    switch = connect(installer, 1, GROUP, Meter(LEAST_METER, 5, 5))
    assert set(switch.table.values()) == {GROUP, METER}
    assert [kind for kind, _ in switch.sent if kind in (14, 15, 29)] == [29]
    assert installer.status().rules_kept == 1


def test_a_group_that_sends_back_comes_with_the_group_it_watches_and_takes_it_along(installer: Told) -> None:
    back = Failover((1, PORT_IN_PORT))
    installer.on_want(WantRules(FORWARDING, wants(back)))
    switch = connect(installer, 1)
    assert set(switch.table.values()) == {back, wire.ALIVE}
    installer.on_want(WantRules(FORWARDING, wants(flow(1))))
    assert set(switch.table.values()) == {flow(1)}


def test_what_another_owner_still_wants_is_not_taken_away(installer: Told) -> None:
    one, _ = ready(installer)
    for number in (1, 2):
        request = ApplyStages(f"stitch:{number}", ((Change(1, GROUP),),), {1: rule_set([GROUP])}, number)
        installer.on_apply(request)
        installer.on_barrier(one.barrier_reply())
    installer.on_apply(ApplyStages("stitch:1", ((Change(1, GROUP, remove=True),),), {}, 3))
    installer.on_barrier(one.barrier_reply())
    assert GROUP in one.table.values()
    installer.on_apply(ApplyStages("stitch:2", ((Change(1, GROUP, remove=True),),), {}, 4))
    installer.on_barrier(one.barrier_reply())
    assert GROUP not in one.table.values()
    assert [event.error for event in installer.ended()] == [None] * 4


def test_an_undo_takes_nothing_away_that_another_change_counts_on(installer: Told) -> None:
    one, two = ready(installer)
    for number in (1, 2):
        stages = (Change(1, GROUP),), (Change(2, flow(20 + number)),)
        installer.on_apply(ApplyStages(f"stitch:{number}", stages, {1: rule_set([GROUP])}, number))
        installer.on_barrier(one.barrier_reply())
    installer.on_error(two.error(two.last(FLOW_MOD)))
    assert GROUP in one.table.values()
    assert [event.ticket for event in installer.ended()] == [2]


def test_a_refusal_fails_every_change_that_counted_on_the_entry(installer: Told) -> None:
    one, _ = ready(installer)
    for number in (1, 2):
        request = ApplyStages(f"stitch:{number}", ((Change(1, GROUP),),), {1: rule_set([GROUP])}, number)
        installer.on_apply(request)
    refused = one.last(15)
    one.undo(refused)
    installer.on_error(one.error(refused))
    assert [event.ticket for event in installer.ended() if event.error] == [1, 2]
    assert GROUP not in one.table.values()


def test_a_switch_that_does_not_say_what_it_holds_is_disconnected(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(flow(1))))
    switch = FakeSwitch(1)
    installer.on_state(switch.state(MAIN_DISPATCHER))
    installer.on_holds(switch.flows())
    installer.now_s = READ_S + 0.1
    installer.on_deadline(None)  # type: ignore[arg-type]  # the tick says nothing
    assert switch.closed
    assert switch.flow_mods == 0


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 2, 3, 0)])
def test_what_a_switch_holds_may_be_said_in_any_order_and_in_parts(
    installer: Told, order: tuple[int, ...]
) -> None:
    installer.on_want(WantRules(FORWARDING, wants(flow(1), GROUP, METER)))
    switch = FakeSwitch(1, dict(rule_set([flow(1), GROUP, METER])))
    installer.on_state(switch.state(MAIN_DISPATCHER))
    installer.on_holds(switch.flows(more=True))
    for number in order:
        installer.on_holds(switch.holds()[number])
    assert installer.status().rules_kept == 3
    assert [kind for kind, _ in switch.sent if kind in (14, 15, 29)] == []


def test_a_switch_without_meters_has_none(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(flow(1))))
    switch = FakeSwitch(1, dict(rule_set([flow(1)])))
    installer.on_state(switch.state(MAIN_DISPATCHER))
    installer.on_holds(switch.flows())
    installer.on_holds(switch.groups())
    installer.on_holds(switch.count())
    installer.on_error(switch.error(switch.meters().msg.xid))
    assert installer.status().rules_kept == 1
    assert not switch.closed


class MoreToCome:
    """A queue in which something always waits."""

    def qsize(self) -> int:
        return 1


def test_what_comes_together_is_written_together(installer: Told) -> None:
    one, two = ready(installer)
    barriers = len([kind for kind, _ in two.sent if kind == BARRIER])
    installer.events = MoreToCome()
    for number in range(2, 60):
        far, near = flow(number, kind=Kind.STITCH), flow(number + 100, kind=Kind.STITCH)
        stages = (Change(2, far),), (Change(1, near),)
        installer.on_apply(ApplyStages(f"stitch:{number}", stages, {2: rule_set([far]), 1: rule_set([near])}, 0))
    assert len(two.table) == 1
    assert len(installer.posted) == 1
    installer.on_flush(None)
    assert len(two.table) == 59
    assert len([kind for kind, _ in two.sent if kind == BARRIER]) == barriers + 1
    installer.on_barrier(two.barrier_reply())
    installer.on_flush(None)
    installer.on_barrier(one.barrier_reply())
    assert len([event for event in installer.ended() if event.error is None]) == 58


def test_a_rule_that_cannot_be_said_fails_its_change_only(installer: Told) -> None:
    one, _ = ready(installer)
    unsayable = FlowRule(2, 9, Match(eth_type=0x0800, l3=L3Match(ip_dst="10.0.0.1/8")), (Output(1),))
    installer.on_apply(ApplyStages("stitch:1", ((Change(1, flow(5)), Change(1, unsayable)),), {}, 1))
    (ended,) = installer.ended()
    assert ended.error is not None and "host bits" in ended.error
    assert set(one.table.values()) == {flow(1)}


def answer(installer: Told, *switches: FakeSwitch) -> None:
    """Let the switches say all they have to say, errors first, until nobody has anything to say."""
    while any(installer._switches[switch.id].outbox.oldest for switch in switches):
        for switch in switches:
            while switch.errors:
                installer.on_error(switch.error(switch.errors.pop(0)))
            outbox = installer._switches[switch.id].outbox
            if outbox.oldest is not None:
                event = switch.barrier_reply()
                event.msg.xid = outbox.oldest
                installer.on_barrier(event)


MANY = [flow(number) for number in range(100)]


def test_many_steps_are_carried_out_as_one(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(*MANY, GROUP, METER)))
    switch = FakeSwitch(1)
    installer.on_state(switch.state(MAIN_DISPATCHER))
    for event in switch.holds():
        installer.on_holds(event)
    assert set(switch.table.values()) == {METER}
    answer(installer, switch)
    assert switch.table == rule_set([*MANY, GROUP, METER])
    assert switch.commits == 1
    installer.on_want(WantRules(FORWARDING, wants(flow(1))))
    answer(installer, switch)
    assert set(switch.table.values()) == {flow(1)}
    assert switch.commits == 2


def test_a_switch_without_bundles_is_asked_once(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(*MANY)))
    switch = FakeSwitch(1, bundles=False)
    installer.on_state(switch.state(MAIN_DISPATCHER))
    for event in switch.holds():
        installer.on_holds(event)
    answer(installer, switch)
    assert switch.table == rule_set(MANY)
    asked = len([kind for kind, _ in switch.sent if kind == 4])
    installer.on_want(WantRules(FORWARDING, wants()))
    answer(installer, switch)
    assert not switch.table
    assert len([kind for kind, _ in switch.sent if kind == 4]) == asked
    assert installer.status().errors == 0


def test_a_stage_is_carried_out_on_a_switch_as_a_whole_or_not_at_all(installer: Told) -> None:
    one, _ = ready(installer)
    bad = MANY[70]
    one.refuses.add(bad.key)
    request = ApplyStages("stitch:1", (tuple(Change(1, rule) for rule in MANY[10:]),), {1: rule_set(MANY[10:])}, 1)
    mods = one.flow_mods
    installer.on_apply(request)
    answer(installer, one)
    (ended,) = installer.ended()
    assert ended.error is not None and "refused a rule in table 3" in ended.error
    assert set(one.table.values()) == {flow(1)}
    assert one.flow_mods == mods


def test_a_refusal_in_a_bundle_fails_nobody_else(installer: Told) -> None:
    one, _ = ready(installer)
    one.refuses.add(MANY[70].key)
    installer.events = MoreToCome()
    for number, rules in ((1, MANY[10:50]), (2, MANY[50:])):
        stages = (tuple(Change(1, rule) for rule in rules),)
        installer.on_apply(ApplyStages(f"stitch:{number}", stages, {1: rule_set(rules)}, number))
    installer.events = Queue()
    installer.on_flush(None)
    answer(installer, one)
    assert {event.ticket: event.error is None for event in installer.ended()} == {1: True, 2: False}
    assert one.table == rule_set([flow(1), *MANY[10:50]])


def test_what_a_full_table_does_not_take_is_the_only_thing_missing(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(*MANY)))
    switch = FakeSwitch(1, refuses={rule.key for rule in MANY[:30]})
    installer.on_state(switch.state(MAIN_DISPATCHER))
    for event in switch.holds():
        installer.on_holds(event)
    answer(installer, switch)
    assert switch.table == rule_set(MANY[30:])
    assert set(installer.status().differences[1].missing) == set(MANY[:30])
    switch.refuses.clear()
    installer.now_s += OFFER_AGAIN_S + 0.1
    installer.on_deadline(None)  # type: ignore[arg-type]  # the tick says nothing
    answer(installer, switch)
    assert switch.table == rule_set(MANY)
    assert not installer.status().differences


def test_what_changes_while_a_bundle_is_on_its_way_comes_after_it(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(*MANY)))
    switch = FakeSwitch(1)
    installer.on_state(switch.state(MAIN_DISPATCHER))
    for event in switch.holds():
        installer.on_holds(event)
    installer.on_want(WantRules(FORWARDING, wants(*MANY[:5], flow(7, port=9))))
    switch.refuses.add(MANY[50].key)
    answer(installer, switch)
    assert switch.table == rule_set([*MANY[:5], flow(7, port=9)])
    assert not installer.status().differences


def test_a_meter_that_is_wanted_again_while_it_is_on_its_way_out_is_not_added_twice(installer: Told) -> None:
    installer.on_want(WantRules(FORWARDING, wants(*MANY, METER)))
    switch = FakeSwitch(1)
    installer.on_state(switch.state(MAIN_DISPATCHER))
    for event in switch.holds():
        installer.on_holds(event)
    answer(installer, switch)
    installer.on_want(WantRules(FORWARDING, wants(flow(1))))
    installer.on_want(WantRules(FORWARDING, wants(*MANY, METER)))
    answer(installer, switch)
    assert switch.table == rule_set([*MANY, METER])


def test_a_switch_that_answers_no_barrier_is_disconnected(installer: Told) -> None:
    one, _ = ready(installer)
    installer.on_want(WantRules(FORWARDING, wants(flow(1), flow(2))))
    for _ in range(3):
        installer.on_deadline(None)  # type: ignore[arg-type]  # the tick says nothing
        installer.now_s += STUCK_S * 0.6
    assert one.closed


class AnySequence(RuleBasedStateMachine):
    """Whatever happens in whatever order, a connected switch that has confirmed everything has what is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.installer = Told()
        self.switches: dict[int, FakeSwitch] = {}
        self.by_hand: set[int] = set()
        self.tables: dict[int, dict[EntryKey, Entry]] = {1: {}, 2: {}}
        self.installer.on_want(WantRules(FORWARDING, wants(flow(1))))

    dpids = st.sampled_from([1, 2])

    @rule(least=st.integers(1, 40), port=st.integers(1, 3))
    def forwarding_wants_many(self, least: int, port: int) -> None:
        rules = [flow(number, port) for number in range(least, least + 70)]
        self.installer.on_want(WantRules(FORWARDING, wants(*rules, GROUP, Meter(LEAST_METER, port, 5))))

    @rule(numbers=st.sets(st.integers(1, 6), min_size=1), port=st.integers(1, 3))
    def forwarding_wants(self, numbers: set[int], port: int) -> None:
        rules = [flow(number, port) for number in sorted(numbers)]
        self.installer.on_want(WantRules(FORWARDING, wants(*rules)))

    @rule(dpid=dpids)
    def connects(self, dpid: int) -> None:
        if dpid not in self.switches:
            switch = FakeSwitch(dpid, self.tables[dpid])
            self.switches[dpid] = switch
            self.installer.on_state(switch.state(MAIN_DISPATCHER))
            for event in switch.holds():
                self.installer.on_holds(event)

    @rule(dpid=dpids)
    def disconnects(self, dpid: int) -> None:
        switch = self.switches.pop(dpid, None)
        if switch is not None:
            self.tables[dpid] = switch.table
            self.installer.on_state(switch.state(DEAD_DISPATCHER))

    @rule(number=st.integers(1, 3))
    def stitches(self, number: int) -> None:
        apply(self.installer, f"stitch:{number}", number)

    @rule(number=st.integers(1, 3))
    def unstitches(self, number: int) -> None:
        self.installer.on_want(WantRules(f"stitch:{number}", {}))

    @rule(dpid=dpids)
    def refuses(self, dpid: int) -> None:
        switch = self.switches.get(dpid)
        if switch is not None and switch.flow_mods and any(s == FLOW_MOD for s, _ in switch.sent[-3:]):
            xid = switch.last(FLOW_MOD)
            if xid in self.installer._switches[dpid].outbox._unconfirmed and xid not in switch.errors:
                switch.undo(xid)
                self.installer.on_error(switch.error(xid))

    @rule(dpid=dpids, numbers=st.sets(st.integers(1, 30)), bundles=st.booleans())
    def takes_no_more_of(self, dpid: int, numbers: set[int], bundles: bool) -> None:
        if dpid in self.switches:
            self.switches[dpid].refuses = {flow(number).key for number in numbers}
            self.switches[dpid].bundles &= bundles

    @rule(dpid=dpids)
    def answers_once(self, dpid: int) -> None:
        if dpid in self.switches:
            switch, outbox = self.switches[dpid], self.installer._switches[dpid].outbox
            while switch.errors:
                self.installer.on_error(switch.error(switch.errors.pop(0)))
            if outbox.oldest is not None:
                event = switch.barrier_reply()
                event.msg.xid = outbox.oldest
                self.installer.on_barrier(event)

    @rule(dpid=dpids, dry_run=st.booleans())
    def is_read_again(self, dpid: int, dry_run: bool) -> None:
        self.installer.on_reconcile(Reconcile(dpid, dry_run))

    @rule(dpid=dpids)
    def says_what_it_holds(self, dpid: int) -> None:
        if dpid in self.switches and self.installer._switches[dpid].reading is not None:
            for event in self.switches[dpid].holds():
                self.installer.on_holds(event)

    @rule(dpid=dpids, number=st.integers(1, 9))
    def is_changed_by_hand(self, dpid: int, number: int) -> None:
        switch = self.switches.get(dpid)
        if switch is not None and self.installer._switches[dpid].outbox.is_quiet:
            self.by_hand.add(dpid)
            if switch.table.pop(flow(number).key, None) is None:
                switch.table[flow(number).key] = flow(number, port=7)

    @precondition(lambda self: self.switches)
    @rule()
    def everything_is_confirmed(self) -> None:
        for switch in self.switches.values():
            switch.refuses.clear()
        for _ in range(10):
            answer(self.installer, *self.switches.values())
        for dpid in self.by_hand & self.switches.keys():
            self.installer.on_reconcile(Reconcile(dpid))
            self.says_what_it_holds(dpid)
            answer(self.installer, *self.switches.values())
            self.says_what_it_holds(dpid)
            answer(self.installer, *self.switches.values())
        self.by_hand.clear()
        assert len(self.installer._keeper.batches) == 0
        self.installer.on_want(WantRules("nobody", wants(dpids=(1, 2))))
        answer(self.installer, *self.switches.values())
        assert not self.installer.status().differences
        for dpid, switch in self.switches.items():
            assert switch.table == self.installer._keeper.wants.on(dpid)

    @invariant()
    def what_it_believes_is_what_the_switch_has(self) -> None:
        for dpid, switch in self.switches.items():
            outbox = self.installer._switches[dpid].outbox
            if not outbox._bundles and not outbox._queue and not switch.errors and dpid not in self.by_hand:
                assert self.installer._switches[dpid].has == switch.table


AnySequence.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAnySequence = AnySequence.TestCase
