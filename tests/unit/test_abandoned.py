"""Rules of hosted apps that do not run: counted, named, and taken out when somebody asks for it; no others."""

from __future__ import annotations

from os_ken.controller.handler import MAIN_DISPATCHER

from ryu_apps.events import ApplyStages, Reconcile, Reconciled, WantRules
from ryu_apps.installing.keeper import FORWARDING
from ryu_apps.installing.rereading import READ_AGAIN_S
from stitching.cookie import Kind
from stitching.difference import Change, Difference
from stitching.rules import rule_set
from tests.unit.fake_switch import FakeSwitch
from tests.unit.test_installer import Told, answer, flow, wants

FIRST, SECOND = 0xE0, 0xE1
WANTED = (flow(1), flow(2))


def installer(*gone: int) -> Told:
    """An installer that all rules of WANTED are wanted of, with these owners of apps that do not run."""
    told = Told(gone)
    told.on_want(WantRules(FORWARDING, wants(*WANTED)))
    return told


def say(told: Told, switch: FakeSwitch) -> None:
    """Answer all that the switch was asked, until it is asked no more."""
    for event in switch.holds():
        told.on_holds(event)
    for event in switch.owners():
        told.on_holds(event)


def connect(told: Told, guests: dict[int, int], **settings: bool) -> FakeSwitch:
    switch = FakeSwitch(1, dict(rule_set(WANTED)), guests=guests, **settings)  # type: ignore[arg-type]
    told.on_state(switch.state(MAIN_DISPATCHER))
    say(told, switch)
    answer(told, switch)
    return switch


def reconciled(
    told: Told, switch: FakeSwitch, *, dry_run: bool = False, remove_guests: bool = True, readings: int = 1
) -> Reconciled:
    request = Reconcile(1, dry_run, remove_guests)
    told.on_reconcile(request)
    for _ in range(readings):
        assert not request.future.done()
        say(told, switch)
    answer(told, switch)
    return request.future.result(0)


def test_what_an_app_left_that_does_not_run_is_named_and_stays() -> None:
    told = installer(FIRST, SECOND)
    switch = connect(told, {FIRST: 3, 0x52: 5})
    assert told.status().abandoned == {1: {FIRST: 3}}
    assert switch.guests == {FIRST: 3, 0x52: 5}
    done = reconciled(told, switch, remove_guests=False)
    assert (done.abandoned, done.removed, done.others_rules) == ({FIRST: 3}, {}, 8)
    assert switch.guests == {FIRST: 3, 0x52: 5}


def test_a_switch_on_which_only_we_have_rules_is_not_asked_for_more() -> None:
    told = installer(FIRST, SECOND)
    switch = connect(told, {})
    assert told.status().abandoned == {} and told.status().ready == {1}
    assert [kind for kind, _ in switch.sent].count(18) == 4


def test_it_is_taken_out_when_asked_for_and_ours_are_put_right_in_the_same_go() -> None:
    told = installer(FIRST, SECOND)
    switch = connect(told, {FIRST: 3, SECOND: 1, 0x52: 5})
    del switch.table[flow(1).key]
    done = reconciled(told, switch, readings=2)
    assert (done.abandoned, done.removed) == ({}, {FIRST: 3, SECOND: 1})
    assert done.difference == Difference(missing=(flow(1),)) and flow(1) in switch.table.values()
    assert switch.guests == {0x52: 5}, "rules by the REST paths are the operator's"
    assert told.status().abandoned == {}


def test_a_dry_run_says_what_would_go_and_leaves_it() -> None:
    told = installer(FIRST)
    switch = connect(told, {FIRST: 3})
    done = reconciled(told, switch, dry_run=True)
    assert (done.abandoned, done.removed) == ({FIRST: 3}, {})
    assert switch.guests == {FIRST: 3}


def test_rules_of_an_app_that_runs_are_not_counted_and_never_touched() -> None:
    told = installer(SECOND)
    switch = connect(told, {FIRST: 3, SECOND: 1})
    assert told.status().abandoned == {1: {SECOND: 1}}
    assert reconciled(told, switch, readings=2).removed == {SECOND: 1}
    assert switch.guests == {FIRST: 3}


def test_with_nothing_to_take_out_it_is_read_once() -> None:
    told = installer(FIRST)
    switch = connect(told, {0x52: 5})
    assert reconciled(told, switch).removed == {}


def test_a_switch_that_keeps_them_is_told_so_and_not_asked_for_ever() -> None:
    told = installer(FIRST)
    switch = connect(told, {FIRST: 3}, keeps_guests=True)
    done = reconciled(told, switch, readings=2)
    assert (done.abandoned, done.removed) == ({FIRST: 3}, {FIRST: 0})
    assert told.status().abandoned == {1: {FIRST: 3}}


def test_a_change_that_begins_meanwhile_is_waited_for() -> None:
    told = installer(FIRST)
    switch = connect(told, {FIRST: 3})
    request = Reconcile(1, remove_guests=True)
    told.on_reconcile(request)
    stitch = flow(20, kind=Kind.STITCH)
    told.on_apply(ApplyStages("stitch:1", ((Change(1, stitch),),), wants(stitch, dpids=(1,)), 1))
    say(told, switch)
    assert not request.future.done() and switch.guests == {}
    answer(told, switch)
    say(told, switch)
    answer(told, switch)
    assert request.future.result(0).removed == {FIRST: 3}
    assert {*WANTED, stitch} == set(switch.table.values())


def test_what_was_left_is_noticed_while_the_controller_runs() -> None:
    told = installer(FIRST)
    switch = connect(told, {})
    switch.guests[FIRST] = 2
    told.now_s += READ_AGAIN_S + 1
    told.on_deadline(None)  # type: ignore[arg-type]  # the tick says nothing
    say(told, switch)
    assert told.status().abandoned == {1: {FIRST: 2}}
    switch.guests.clear()
    told.now_s += READ_AGAIN_S + 1
    told.on_deadline(None)  # type: ignore[arg-type]
    say(told, switch)
    assert told.status().abandoned == {}


def test_a_switch_that_does_not_say_how_many_they_are_is_ready_all_the_same() -> None:
    told = installer(FIRST, SECOND)
    switch = FakeSwitch(1, dict(rule_set(WANTED)), guests={FIRST: 3, SECOND: 2})
    told.on_state(switch.state(MAIN_DISPATCHER))
    for event in switch.holds():
        told.on_holds(event)
    refused, answered = switch.owners_asked
    told.on_error(switch.error(refused))
    (event,) = [one for one in switch.owners() if one.msg.xid == answered]
    told.on_holds(event)
    answer(told, switch)
    assert told.status().ready == {1} and told.status().abandoned == {1: {SECOND: 2}}
