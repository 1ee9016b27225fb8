"""A switch that is read again is put right where it differs, and nowhere else; each bad answer has its name."""

from __future__ import annotations

import pytest
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from ryu_apps.events import ApplyStages, NotReconciled, Reconcile, Reconciled, WantRules
from ryu_apps.installer import READ_S
from ryu_apps.installing.held import ANSWER_S
from ryu_apps.installing.keeper import FORWARDING
from ryu_apps.installing.rereading import READ_AGAIN_S
from stitching.cookie import OURS, Kind
from stitching.difference import Change, Difference
from stitching.rules import Entry, EntryKey, StrayRule, Table
from tests.unit.fake_switch import FakeSwitch
from tests.unit.test_installer import (
    GROUP,
    METER,
    Told,
    answer,
    connect,
    flow,
    wants,
)

WANTED = (flow(1), flow(2), GROUP, METER)


@pytest.fixture
def installer() -> Told:
    told = Told()
    told.on_want(WantRules(FORWARDING, wants(*WANTED)))
    return told


@pytest.fixture
def switch(installer: Told) -> FakeSwitch:
    return connect(installer, 1)


def ask(installer: Told, *, dry_run: bool = False) -> Reconcile:
    request = Reconcile(1, dry_run)
    installer.on_reconcile(request)
    return request


def say(installer: Told, switch: FakeSwitch, table: dict[EntryKey, Entry] | None = None) -> None:
    """Say what the switch holds, or held when it was asked."""
    now, switch.table = switch.table, switch.table if table is None else table
    events = switch.holds()
    switch.table = now
    for event in events:
        installer.on_holds(event)


def tick(installer: Told, later_s: float) -> None:
    installer.now_s += later_s
    installer.on_deadline(None)  # type: ignore[arg-type]  # the tick says nothing


def reconciled(installer: Told, switch: FakeSwitch, *, dry_run: bool = False) -> Reconciled:
    request = ask(installer, dry_run=dry_run)
    say(installer, switch)
    answer(installer, switch)
    return request.future.result(0)


def failed(request: Reconcile) -> str:
    with pytest.raises(NotReconciled) as error:
        request.future.result(0)
    return str(error.value)


def drift(switch: FakeSwitch) -> int:
    """One rule is gone, one is wrong, one is too many; returns how many messages were sent before."""
    del switch.table[flow(1).key]
    switch.table[flow(2).key] = flow(2, port=9)
    switch.table[flow(3).key] = flow(3)
    return len(switch.before)


def test_what_was_changed_behind_our_back_is_put_right_and_nothing_else(
    installer: Told, switch: FakeSwitch
) -> None:
    sent = drift(switch)
    done = reconciled(installer, switch)
    assert done.difference == Difference((flow(1),), (flow(2),), (flow(3),))
    assert done.right == 2
    assert set(switch.table.values()) == set(WANTED)
    assert len(switch.before) == sent + 3


def test_a_dry_run_changes_nothing_and_what_differs_is_known_from_then_on(
    installer: Told, switch: FakeSwitch
) -> None:
    sent = drift(switch)
    before = dict(switch.table)
    done = reconciled(installer, switch, dry_run=True)
    assert done.dry_run
    assert done.difference == Difference((flow(1),), (flow(2),), (flow(3),))
    assert switch.table == before
    assert len(switch.before) == sent
    found = installer.status().differences[1]
    assert {*found.missing, *found.wrong, *found.excess} == {flow(1), flow(2), flow(3)}


def test_what_a_dry_run_found_and_was_put_right_after_it_was_not_refused(
    installer: Told, switch: FakeSwitch
) -> None:
    drift(switch)
    reconciled(installer, switch, dry_run=True)
    assert reconciled(installer, switch).refused == ()
    drift(switch)
    assert reconciled(installer, switch).refused == ()


def test_it_waits_for_a_change_in_progress(installer: Told, switch: FakeSwitch) -> None:
    connect(installer, 2)
    stitch = flow(20, kind=Kind.STITCH)
    installer.on_apply(ApplyStages("stitch:1", ((Change(1, stitch),),), wants(stitch, dpids=(1,)), 1))
    asked = switch.asked.copy()
    request = ask(installer)
    assert switch.asked == asked
    answer(installer, switch)
    assert switch.asked != asked
    say(installer, switch)
    answer(installer, switch)
    assert not request.future.result(0).difference
    assert stitch in switch.table.values()


def test_it_does_not_wait_for_ever(installer: Told, switch: FakeSwitch) -> None:
    two = connect(installer, 2)
    stages = (Change(1, flow(20)),), (Change(2, flow(21)),)
    installer.on_apply(ApplyStages("stitch:1", stages, {}, 1))
    answer(installer, switch)
    request = ask(installer)
    installer.on_state(two.state(DEAD_DISPATCHER))
    assert installer.ended()[0].error is not None
    tick(installer, ANSWER_S + 1)
    assert "changes in progress on it have not ended" in failed(request)


def test_a_change_that_comes_while_a_switch_is_read_is_not_taken_for_drift(
    installer: Told, switch: FakeSwitch
) -> None:
    request = ask(installer)
    held = dict(switch.table)
    stitch = flow(20, kind=Kind.STITCH)
    installer.on_apply(ApplyStages("stitch:1", ((Change(1, stitch),),), wants(stitch, dpids=(1,)), 1))
    installer.on_want(WantRules(FORWARDING, wants(*WANTED[1:])))
    say(installer, switch, held)
    answer(installer, switch)
    assert not request.future.result(0).difference
    assert set(switch.table.values()) == {stitch, *WANTED[1:]}
    assert installer._switches[1].has == switch.table


def test_what_a_switch_refuses_again_is_named_with_what_it_says(installer: Told, switch: FakeSwitch) -> None:
    del switch.table[flow(1).key]
    switch.refuses.add(flow(1).key)
    assert reconciled(installer, switch).refused == ("a rule in table 3: OFPFMFC_TABLE_FULL(1)",)


def test_a_switch_that_is_away_or_goes_away_cannot_be_reconciled(installer: Told, switch: FakeSwitch) -> None:
    assert "0000000000000007: it is not connected" in failed(_ask(installer, 7))
    request = ask(installer)
    installer.on_state(switch.state(DEAD_DISPATCHER))
    assert "it disconnected" in failed(request)


def _ask(installer: Told, dpid: int) -> Reconcile:
    request = Reconcile(dpid)
    installer.on_reconcile(request)
    return request


def test_a_switch_that_nothing_is_known_of_is_left_alone() -> None:
    installer = Told()
    switch = connect(installer, 1, flow(9))
    assert "not known yet" in failed(ask(installer))
    assert flow(9) in switch.table.values()


def test_a_switch_that_does_not_answer_again_stays_connected(installer: Told, switch: FakeSwitch) -> None:
    request = ask(installer)
    tick(installer, READ_S + 1)
    assert not switch.closed
    tick(installer, ANSWER_S)
    assert "it has not said what it holds" in failed(request)
    say(installer, switch)
    assert set(switch.table.values()) == set(WANTED)
    assert not reconciled(installer, switch).difference


def test_a_switch_that_will_not_say_its_rules_again_says_so(installer: Told, switch: FakeSwitch) -> None:
    request = ask(installer)
    installer.on_error(switch.error(switch.flows().msg.xid))
    assert "will not say what rules it has" in failed(request)
    assert not switch.closed


def test_a_switch_that_does_not_confirm_is_named(installer: Told, switch: FakeSwitch) -> None:
    drift(switch)
    request = ask(installer)
    say(installer, switch)
    tick(installer, ANSWER_S + 1)
    assert "has not confirmed what was put right" in failed(request)


def test_a_switch_that_answers_another_ones_question_is_not_believed(installer: Told, switch: FakeSwitch) -> None:
    ask(installer)
    event = switch.flows()
    event.msg.xid += 1000
    event.msg.entries = []
    installer.on_holds(event)
    assert installer._switches[1].has == switch.table


def test_drift_is_found_without_being_asked(installer: Told, switch: FakeSwitch) -> None:
    two = connect(installer, 2)
    for one in (switch, two):
        drift(one)
        tick(installer, READ_AGAIN_S + 1)
        say(installer, one)
        answer(installer, one)
        assert set(one.table.values()) == set(WANTED)


def test_a_switch_that_reboots_in_the_middle_of_a_stage_ends_with_what_is_wanted(
    installer: Told, switch: FakeSwitch
) -> None:
    two = connect(installer, 2)
    stages = (Change(1, flow(20)), Change(1, flow(21))), (Change(2, flow(20)),)
    installer.on_apply(ApplyStages("stitch:1", stages, {}, 1))
    # It comes back, empty, before its old connection is known to be over.
    again = FakeSwitch(1)
    installer.on_state(again.state(MAIN_DISPATCHER))
    assert installer.ended()[0].error == "switch 0000000000000001 disconnected"
    installer.on_barrier(switch.barrier_reply())
    say(installer, again)
    answer(installer, again, two)
    assert set(again.table.values()) == set(WANTED) == set(two.table.values())


def test_a_barrier_or_error_that_is_answered_twice_or_late_does_nothing(
    installer: Told, switch: FakeSwitch
) -> None:
    installer.on_apply(ApplyStages("stitch:1", ((Change(1, flow(20)),),), wants(flow(20), dpids=(1,)), 1))
    barrier, error = switch.barrier_reply(), switch.error(switch.last(14))
    for event in (barrier, barrier):
        installer.on_barrier(event)
    installer.on_error(error)
    assert [event.error for event in installer.ended()] == [None]
    assert flow(20) in switch.table.values()
    assert installer._switches[1].has == switch.table


STRAY_MATCH = bytes.fromhex("00010010800004080000000000000001")
"""An ofp_match on metadata, which no rule of ours has."""


def test_rules_under_our_cookie_that_we_never_write_are_named_as_excess_and_taken_out(
    installer: Told, switch: FakeSwitch
) -> None:
    stray = StrayRule(Table.SEGMENT, 900, STRAY_MATCH, OURS)
    posing = flow(7, kind=Kind.NAMEPLATE)
    switch.table[stray.key] = stray
    switch.table[posing.key] = posing
    found = reconciled(installer, switch, dry_run=True)
    assert set(found.difference.excess) == {stray, posing} and found.others_rules == 0
    assert set(installer.status().differences[1].excess) == {stray, posing}
    assert stray.key in switch.table
    done = reconciled(installer, switch)
    assert set(done.difference.excess) == {stray, posing}
    assert set(switch.table.values()) == set(WANTED)
    assert not installer.status().differences


def test_a_switch_that_had_such_a_rule_before_is_rid_of_it_when_it_connects(installer: Told) -> None:
    stray = StrayRule(Table.SEGMENT, 900, STRAY_MATCH, OURS)
    switch = FakeSwitch(1, {stray.key: stray})
    installer.on_state(switch.state(MAIN_DISPATCHER))
    say(installer, switch)
    answer(installer, switch)
    assert set(switch.table.values()) == set(WANTED)
