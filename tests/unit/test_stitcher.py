"""A stitch is UP when a probe has crossed it, its reasons are told, and it never leaves anything behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from os_ken.controller.handler import DEAD_DISPATCHER

from ryu_apps.app import Event, Tick
from ryu_apps.events import (
    ApplyStages,
    NetworkChanged,
    RulesMissing,
    StagesApplied,
    SwitchTaken,
    VnetsChanged,
    WantRules,
)
from ryu_apps.stitches.judging import AWAY_S
from ryu_apps.transactions import Asker
from stitching.application import Application
from stitching.match import TCP, Match
from stitching.network import Host, Network
from stitching.plan import NotPossible
from stitching.planner import Duplicate
from stitching.rules import FlowRule, Table
from stitching.stitch import DEADLINES_S, State, StitchPath, VmRequest
from stitching.vnet import Member, VNet
from tests.unit.stitcher_bench import REQUEST, A, B, Bench, C, bench, create, store, triangle, up

__all__ = ["bench", "store"]

WEB = Application(ip_proto=TCP, target_port=80)


def test_it_is_up_when_probes_have_crossed_it_both_ways_and_not_before(bench: Bench) -> None:
    create(bench)
    assert bench.stitch().state is State.ESTABLISHING
    bench.confirm()
    assert bench.stitch().state is State.ESTABLISHING
    bench.probes_cross()
    assert bench.stitch().state is State.UP
    assert bench.stitch().probe_ms == pytest.approx(2.0)


def test_rules_that_no_probe_crosses_are_taken_out_again(bench: Bench) -> None:
    create(bench)
    bench.confirm()
    bench.probe_tick(2.1)
    assert all(change.remove for stage in bench.batch().stages for change in stage)
    bench.confirm()
    assert bench.stitch().state is State.FAILED
    assert "no probe came through" in (bench.stitch().reason or "")


def test_what_a_switch_refuses_fails_with_its_reason_and_frees_the_bandwidth(bench: Bench) -> None:
    create(bench)
    bench.confirm("switch 0000000000000002 refused a rule in table 2: OFPFMFC_TABLE_FULL")
    assert bench.stitch().state is State.FAILED
    assert "TABLE_FULL" in (bench.stitch().reason or "")
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 10.0


def test_the_same_hosts_are_not_stitched_twice(bench: Bench) -> None:
    create(bench)
    with pytest.raises(Duplicate, match="stitch 1 joins these hosts already"):
        create(bench, VmRequest(B, A, 1.0))


def test_no_link_is_promised_more_than_it_has(bench: Bench) -> None:
    create(bench)
    other = VmRequest(A, B, 7.0)
    bench._book.put(bench._book[1].to(State.TERMINATING, 0.0).to(State.TERMINATED, 0.0))
    path = bench._desk.check(other).placement
    assert isinstance(path, StitchPath) and [hop.dpid for hop in path.hops] == [1, 3, 2]
    with pytest.raises(NotPossible, match="bandwidth_mbps"):
        bench._desk.check(VmRequest(A, B, 11.0))


def test_a_stitch_is_gone_when_its_rules_are(bench: Bench) -> None:
    up(bench)
    bench._desk.delete(1)
    assert bench.stitch().state is State.TERMINATING
    bench.confirm()
    assert bench.stitch().state is State.TERMINATED
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 10.0
    with pytest.raises(LookupError):
        bench._desk.delete(1)


def test_it_can_be_deleted_while_it_is_being_made(bench: Bench) -> None:
    create(bench)
    making = bench.batch()
    bench._desk.delete(1)
    bench.on_applied(StagesApplied(making.owner, making.ticket, "overtaken by a newer change", 0))
    assert bench.stitch().state is State.TERMINATING
    bench.confirm()
    assert bench.stitch().state is State.TERMINATED


def test_a_switch_that_is_away_at_the_end_gives_its_rules_up_later(bench: Bench) -> None:
    up(bench)
    bench._desk.delete(1)
    bench.confirm("switch 0000000000000002 is not connected")
    assert bench.stitch().state is State.TERMINATED
    assert WantRules("stitch:1", {}) in bench.told


def test_a_broken_path_without_another_one_is_taken_out_and_tried_again(bench: Bench) -> None:
    up(bench)
    alone = replace(triangle(), links={})
    bench.on_network(NetworkChanged(alone))
    assert bench.stitch().state is State.DOWN
    bench.confirm()
    assert bench.stitch().state is State.FAILED
    bench.on_network(NetworkChanged(triangle()))
    assert bench.stitch().state is State.ESTABLISHING


def test_a_stitch_that_loses_more_than_was_asked_for_is_degraded(bench: Bench) -> None:
    up(bench, replace(REQUEST, max_loss=0.02))
    for _ in range(30):
        bench.probe_tick(0.2)
        bench.probes_cross()
    for lost in range(3):
        for switch in bench.switches.values():
            switch.packets.clear()
        bench.probe_tick(0.2)
        for switch in bench.switches.values():
            switch.packets.clear()
        for _ in range(3):
            bench.probe_tick(0.2)
            bench.probes_cross()
        assert bench.stitch().state is (State.DEGRADED if lost == 2 else State.UP)
    assert "loss" in (bench.stitch().reason or "")


def test_nothing_is_on_its_way_for_ever(bench: Bench) -> None:
    create(bench)
    bench.now_s += DEADLINES_S[State.ESTABLISHING] + 1
    bench.on_tick(Tick("retry"))
    assert bench.stitch().state is State.FAILED
    assert "too long" in (bench.stitch().reason or "")
    assert WantRules("stitch:1", {}) in bench.told
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 10.0


def test_an_application_has_a_stitch_beside_that_of_all_the_rest(bench: Bench) -> None:
    up(bench)
    create(bench, replace(REQUEST, application=WEB))
    with pytest.raises(Duplicate):
        create(bench, VmRequest(B, A, 1.0, application=WEB.back))
    labels = {stitch.path.label for stitch in bench._book if stitch.path is not None}
    assert len(labels) == 2


def test_three_lost_probes_bring_it_down(bench: Bench) -> None:
    up(bench)
    for _ in range(5):
        bench.probe_tick(1.0)
    assert bench.stitch().state is State.DOWN


def test_a_controller_that_lost_a_switch_does_not_take_the_stitch_for_dead(bench: Bench) -> None:
    up(bench)
    bench.on_state(bench.switches[1].state(DEAD_DISPATCHER))
    for _ in range(20):
        bench.probe_tick(1.0)
    assert bench.stitch().state is State.UP


def test_a_slow_stitch_is_degraded_and_recovers(bench: Bench) -> None:
    up(bench)
    for _ in range(4):
        bench.probe_tick(1.0)
        bench.probes_cross(took_s=0.08)
    assert bench.stitch().state is State.DEGRADED
    bench.probe_tick(1.0)
    bench.probes_cross()
    assert bench.stitch().state is State.UP


def test_hosts_that_no_longer_belong_together_lose_their_stitch(bench: Bench) -> None:
    up(bench)
    bench.on_vnets(VnetsChanged((VNet("blue", (Member(A, "a"),)),)))
    assert bench.stitch().state is State.TERMINATING


def test_hosts_on_one_switch_are_stitched_without_promising_any_link(bench: Bench) -> None:
    fabric = triangle()
    hosts = {A: Host(A, 1, 10), B: Host(B, 1, 11)}
    bench.on_network(NetworkChanged(Network(fabric.switches, fabric.links, hosts)))
    create(bench)
    assert bench.stitch().state is State.ESTABLISHING
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 10.0


def test_a_stitch_whose_end_goes_away_while_it_is_made_is_given_up(bench: Bench) -> None:
    create(bench)
    bench.confirm()
    bench.on_state(bench.switches[2].state(DEAD_DISPATCHER))
    for _ in range(40):
        bench.probe_tick(1.0)
    bench.confirm("switch 0000000000000002 is not connected")
    assert bench.stitch().state is State.FAILED
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 10.0


def test_a_host_whose_address_takes_it_to_another_network_loses_its_stitch(bench: Bench) -> None:
    bench.on_vnets(VnetsChanged((VNet("red", (), ("10.9.0.0/16",)),)))
    up(bench)
    fabric = triangle()
    moved = replace(fabric.hosts[B], ips=frozenset({"10.9.0.1"}))
    bench.on_network(NetworkChanged(replace(fabric, hosts={**fabric.hosts, B: moved})))
    assert bench.stitch().state is State.TERMINATING


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_step_of_the_clock_changes_nothing_for_one_that_waits_for_a_switch(bench: Bench, step_s: float) -> None:
    create(bench)
    bench.confirm()
    bench.on_state(bench.switches[2].state(DEAD_DISPATCHER))
    bench.probe_tick()
    bench.clock_s = step_s
    bench.probe_tick(AWAY_S - 1)
    assert bench.stitch().state is State.ESTABLISHING
    bench.probe_tick(2.0)
    bench.confirm("switch 0000000000000002 is not connected")
    assert bench.stitch().state is State.FAILED


def test_where_packets_do_not_get_as_far_as_their_stitch_it_is_not_up_whatever_probes_say(bench: Bench) -> None:
    up(bench)
    kept_in = FlowRule(Table.EDGE, 100, Match(in_port=10, eth_src=A), goto=Table.SEGMENT)
    other = kept_in._replace(match=Match(in_port=11, eth_src=C))
    bench.on_missing(RulesMissing({1: (other,)}))
    bench.probe_tick(1.0)
    bench.probes_cross()
    assert bench.stitch().state is State.UP
    bench.on_missing(RulesMissing({1: (other, kept_in)}))
    bench.probe_tick(1.0)
    bench.probes_cross()
    assert bench.stitch().state is State.DEGRADED
    reason = "switch 0000000000000001 has not taken a rule that lets its packets in"
    assert bench.stitch().reason == reason
    bench.on_missing(RulesMissing({}))
    bench.probe_tick(1.0)
    bench.probes_cross()
    assert bench.stitch().state is State.UP


def test_what_crosses_a_switch_that_another_controller_took_is_down_and_says_so(bench: Bench) -> None:
    up(bench)
    bench.on_state(bench.switches[2].state(DEAD_DISPATCHER))
    bench.on_taken(SwitchTaken(2))
    bench.confirm()
    assert bench.stitch().state is State.FAILED
    assert "another controller has taken switch 0000000000000002" in (bench.stitch().reason or "")


def test_the_counters_of_a_stitch_are_read_before_its_rules_go(bench: Bench) -> None:
    up(bench)
    asked: dict[int, int] = {}

    def note(occurred: Event) -> None:
        if isinstance(occurred, ApplyStages):
            asked.update({dpid: sum(map(is_last_question, s.sent)) for dpid, s in bench.switches.items()})

    bench.on_publish = note
    bench._desk.delete(1)
    assert asked == {1: 1, 2: 1, 3: 0}


def is_last_question(sent: tuple[int, int]) -> bool:
    return sent[1] >> 24 == Asker.LAST_COUNTS
