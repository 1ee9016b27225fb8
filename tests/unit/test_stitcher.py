"""A stitch is stored before it is done, UP when a probe has crossed it, and never leaves anything behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from pathing import Oversubscribed
from ryu_apps.app import Event, Tick
from ryu_apps.events import (
    ApplyStages,
    NetworkChanged,
    ProbeArrived,
    RulesMissing,
    StagesApplied,
    StitchesRequest,
    SwitchReady,
    SwitchTaken,
    VnetsChanged,
    WantRules,
)
from ryu_apps.stitcher import REMEMBER_S, Stitcher
from ryu_apps.stitches.book import AGAIN_S
from ryu_apps.stitches.idle import RETRY_S
from ryu_apps.stitches.judging import AWAY_S
from ryu_apps.stitches.resuming import take_up
from ryu_apps.stitches.upkeep import HOLD_DOWN_S
from ryu_apps.stitches.watch import PROVE_WITHIN_S
from ryu_apps.store import StoreError
from stitching.application import Application
from stitching.kinds import rules as stitch_rules
from stitching.match import TCP, Match
from stitching.network import Host, Link, Network
from stitching.plan import NotPossible, path_at_cost
from stitching.planner import Duplicate
from stitching.rules import FlowRule, Table
from stitching.stitch import DEADLINES_S, ENDED, Protection, State, Stitch, StitchPath, VmRequest
from stitching.trigger import ORIGIN
from stitching.vnet import Member, VNet
from tests.unit.fake_switch import FakeSwitch

A, B, C, D = (f"02:00:00:00:00:0{letter}" for letter in "abcd")
REQUEST = VmRequest(A, B, bandwidth_mbps=4.0, max_latency_ms=50.0)


class MemoryStore:
    """What a StateStore keeps of stitches, with every state ever stored."""

    def __init__(self) -> None:
        self.kept: dict[int, Stitch] = {}
        self.log: list[tuple[int, State]] = []
        self.last_id = 0
        self.full = False

    def stitches(self) -> tuple[Stitch, ...]:
        return tuple(self.kept.values())

    def save_stitches(self, stitches: Iterable[Stitch]) -> None:
        if self.full:
            raise StoreError("cannot save stitches: database or disk is full")
        for stitch in stitches:
            self.kept[stitch.id] = stitch
            self.log.append((stitch.id, stitch.state))

    def next_stitch_ids(self, count: int) -> range:
        self.last_id += count
        return range(self.last_id - count + 1, self.last_id + 1)

    def forget_stitches(self, ended_before_s: float) -> None:
        ended = (s for s in self.kept.values() if s.state in ENDED and s.changed_s < ended_before_s)
        for number in [stitch.id for stitch in ended]:
            del self.kept[number]


def triangle(*, broken: bool = False, moved: bool = False, direct_mbps: float | None = 10.0) -> Network:
    """Switches 1, 2, 3 in a triangle; a on 1, b on 2; the direct link may be broken, b may have moved to 3."""
    ends = [(1, 2), (1, 3), (3, 2)]
    links = {}
    for one, two in ends[1:] if broken else ends:
        for a, b in ((one, two), (two, one)):
            key = (a, b, b, a)
            links[key] = Link(key, direct_mbps if {a, b} == {1, 2} else 10.0, latency_ms=1.0)
    hosts = {A: Host(A, 1, 10), B: Host(B, 3 if moved else 2, 10)}
    return Network({dpid: {} for dpid in (1, 2, 3)}, links, hosts)


class Bench(Stitcher):
    """A stitcher on the test's own thread and clock; what it tells the others is noted."""

    def __init__(self, store: MemoryStore) -> None:
        self.now_s = 1000.0
        self.clock_s = 0.0
        self.told: list[Event] = []
        self.on_publish: Callable[[Event], None] = lambda _: None
        super().__init__(
            store=store,
            key=b"k" * 32,
            policy=None,
            clock=lambda: self.clock_s + self.now_s,
            monotonic=lambda: self.now_s,
        )
        self.switches = {dpid: FakeSwitch(dpid) for dpid in (1, 2, 3)}

    def publish(self, occurred: Event) -> None:
        self.on_publish(occurred)
        self.told.append(occurred)

    def connect(self) -> None:
        for dpid, switch in self.switches.items():
            self.on_state(switch.state(MAIN_DISPATCHER))
            self.on_ready(SwitchReady(dpid))

    def batch(self) -> ApplyStages:
        return next(event for event in reversed(self.told) if isinstance(event, ApplyStages))

    def confirm(self, error: str | None = None) -> None:
        batch = self.batch()
        self.on_applied(StagesApplied(batch.owner, batch.ticket, error, 0))

    def probes_cross(self, took_s: float = 0.002) -> None:
        """Carry every probe that was sent to the far end of its stitch."""
        ends = {1: 2, 2: 1} if self.stitch().path else {}
        for dpid, far in ends.items():
            packets, self.switches[dpid].packets = self.switches[dpid].packets, []
            for packet in packets:
                self.on_probe(ProbeArrived(far, packet[40:], self.now_s + took_s))

    def all_probes_cross(self) -> None:
        """Carry every probe to the far end of its stitch, whichever that is."""
        for switch in self.switches.values():
            packets, switch.packets = switch.packets, []
            for packet in packets:
                for far in self.switches:
                    self.on_probe(ProbeArrived(far, unlabelled(packet[40:]), self.now_s + 0.002))

    def probe_tick(self, seconds: float = 0.0) -> None:
        self.now_s += seconds
        self.on_tick(Tick("probe"))

    def stitch(self, number: int = 1) -> Stitch:
        return next(stitch for stitch in self.listed() if stitch.id == number)

    def listed(self) -> tuple[Stitch, ...]:
        return self._listed(StitchesRequest())


def unlabelled(frame: bytes) -> bytes:
    return frame[:12] + frame[16:] if frame[12:14] == b"\x81\x00" else frame


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def bench(store: MemoryStore) -> Bench:
    made = Bench(store)
    made.on_network(NetworkChanged(triangle()))
    made.connect()
    return made


def create(bench: Bench, request: VmRequest = REQUEST) -> Stitch:
    return bench._desk.create(request)


def way(bench: Bench) -> list[int]:
    path = bench.stitch().vm_path
    return [hop.dpid for hop in path.hops] if path is not None else []


def up(bench: Bench, request: VmRequest = REQUEST) -> Stitch:
    create(bench, request)
    bench.confirm()
    bench.probes_cross()
    assert bench.stitch().state is State.UP
    bench.probe_tick()
    return bench.stitch()


def test_it_is_stored_before_any_rule_is_asked_for(bench: Bench, store: MemoryStore) -> None:
    stored: list[State] = []
    bench.on_publish = lambda event: stored.append(store.kept[1].state) if isinstance(event, ApplyStages) else None
    create(bench)
    assert stored == [State.ESTABLISHING]
    assert store.log == [(1, State.ESTABLISHING)]


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
    path = bench._desk.check(other)
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


def test_a_broken_path_is_left_and_another_one_taken(bench: Bench) -> None:
    up(bench)
    bench.on_network(NetworkChanged(triangle(broken=True)))
    assert bench.stitch().state is State.ADJUSTING
    assert "is gone" in (bench.stitch().reason or "")
    assert way(bench) == [1, 3, 2]
    bench.confirm()
    bench.probes_cross()
    assert bench.stitch().state is State.UP
    assert bench._planner.admission.resources.reservation(1) is not None


def test_a_broken_path_without_another_one_is_taken_out_and_tried_again(bench: Bench) -> None:
    up(bench)
    alone = replace(triangle(), links={})
    bench.on_network(NetworkChanged(alone))
    assert bench.stitch().state is State.DOWN
    bench.confirm()
    assert bench.stitch().state is State.FAILED
    bench.on_network(NetworkChanged(triangle()))
    assert bench.stitch().state is State.ESTABLISHING


PROTECTED = replace(REQUEST, protection=Protection.LINK)


def test_a_protected_stitch_holds_its_bandwidth_on_both_of_its_paths(bench: Bench) -> None:
    path = up(bench, PROTECTED).vm_path
    assert path is not None and path.backup is not None
    free = bench._planner.admission.resources.free
    assert {free(key) for key in triangle().links} == {6.0}


def test_protection_that_cannot_be_had_is_refused_with_the_reason(bench: Bench) -> None:
    bench.on_network(NetworkChanged(triangle(broken=True)))
    with pytest.raises(NotPossible, match="protection: no two paths"):
        create(bench, PROTECTED)


def test_a_protected_stitch_that_lost_a_link_stays_and_says_that_it_is_not_protected(bench: Bench) -> None:
    up(bench, PROTECTED)
    bench.on_network(NetworkChanged(triangle(broken=True)))
    assert bench.stitch().state is State.ADJUSTING
    assert way(bench) == [1, 3, 2], "whether its switches know that the link is gone, nobody can tell"
    bench.confirm()
    bench.probes_cross()
    bench.probe_tick(1.0)
    bench.probes_cross()
    assert bench.stitch().state is State.DEGRADED, "probes cross, but it is not what was asked for"
    assert "not protected" in (bench.stitch().reason or "")
    bench.on_network(NetworkChanged(triangle()))
    assert bench.stitch().state is State.DEGRADED, "a link that may flap moves nobody"
    for _ in range(int(HOLD_DOWN_S)):
        bench.now_s += 1.0
        bench.on_tick(Tick("retry"))
    assert bench.stitch().state is State.ADJUSTING
    path = bench.stitch().vm_path
    assert path is not None and path.backup is not None


def test_a_stitch_moved_off_a_broken_path_goes_back_when_the_fabric_has_been_quiet(bench: Bench) -> None:
    up(bench)
    bench.on_network(NetworkChanged(triangle(broken=True)))
    bench.confirm()
    bench.probes_cross()
    bench.on_network(NetworkChanged(triangle()))
    for _ in range(int(HOLD_DOWN_S) - 1):
        bench.now_s += 1.0
        bench.on_tick(Tick("retry"))
        assert way(bench) == [1, 3, 2]
    for _ in range(2):
        bench.now_s += 1.0
        bench.on_tick(Tick("retry"))
    assert bench.stitch().state is State.ADJUSTING
    assert way(bench) == [1, 2]


def test_a_move_that_no_probe_proves_goes_back_to_the_path_before(bench: Bench) -> None:
    up(bench)
    reroute(bench)
    bench.confirm()
    bench.probe_tick(PROVE_WITHIN_S + 0.1)
    assert bench.stitch().state is State.ADJUSTING
    assert way(bench) == [1, 2]
    bench.confirm()
    bench.probes_cross()
    assert bench.stitch().state is State.UP
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 6.0
    assert bench._planner.admission.resources.free((1, 3, 3, 1)) == 10.0


def test_what_is_left_of_the_path_before_goes_when_packets_have_left_it(bench: Bench) -> None:
    before = up(bench)
    reroute(bench)
    bench.confirm()
    bench.probes_cross()
    held = bench.batch().rules
    assert set(stitch_rules(before)[2]) <= set(held[2]), "packets may still be on the path before"
    told = len(bench.told)
    bench.probe_tick(1.0)
    (tidy,) = (event for event in bench.told[told:] if isinstance(event, WantRules))
    assert tidy.rules == stitch_rules(bench.stitch())


def wanted(bench: Bench) -> object:
    """The rules that the stitch is to have, as the installer was told last."""
    told = (e for e in reversed(bench.told) if isinstance(e, (ApplyStages, WantRules)) and e.owner == "stitch:1")
    return next(told).rules


def test_nothing_is_left_of_a_path_that_no_probe_proved(bench: Bench) -> None:
    up(bench)
    reroute(bench)
    bench.confirm()
    bench.probe_tick(PROVE_WITHIN_S + 0.1)
    bench.confirm()
    bench.probes_cross()
    assert (bench.stitch().state, way(bench)) == (State.UP, [1, 2])
    bench.probe_tick(1.0)
    assert wanted(bench) == stitch_rules(bench.stitch())


def test_one_whose_way_back_is_refused_too_leaves_no_rule_behind(bench: Bench) -> None:
    up(bench)
    reroute(bench)
    bench.confirm()
    bench.probe_tick(PROVE_WITHIN_S + 0.1)
    bench.confirm("switch 1 refused a rule")
    assert all(change.remove for stage in bench.batch().stages for change in stage)
    assert bench.stitch().state is State.ADJUSTING, "its rules still send packets where no probe came through"
    bench.confirm()
    assert (bench.stitch().state, bench.stitch().reason) == (State.FAILED, "switch 1 refused a rule")
    assert not bench._life.changes.holds(1)


def test_nothing_is_left_of_a_path_that_was_left_just_before_a_move_was_refused(bench: Bench) -> None:
    up(bench)
    reroute(bench)
    bench.confirm()
    bench.probes_cross()
    direct = bench._planner.path(REQUEST, (bench.stitch(),))
    bench._mover.move(bench.stitch(), REQUEST, direct, None)
    bench.confirm("switch 2 refused a rule")
    assert (bench.stitch().state, way(bench)) == (State.UP, [1, 3, 2])
    bench.probe_tick(1.0)
    assert wanted(bench) == stitch_rules(bench.stitch())


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


WEB = Application(ip_proto=TCP, target_port=80)


def test_an_application_has_a_stitch_beside_that_of_all_the_rest(bench: Bench) -> None:
    up(bench)
    create(bench, replace(REQUEST, application=WEB))
    with pytest.raises(Duplicate):
        create(bench, VmRequest(B, A, 1.0, application=WEB.back))
    labels = {stitch.path.label for stitch in bench._book if stitch.path is not None}
    assert len(labels) == 2


def test_a_host_that_moved_takes_its_stitch_along(bench: Bench) -> None:
    up(bench)
    bench.on_network(NetworkChanged(triangle(moved=True)))
    bench.confirm()
    bench.on_network(NetworkChanged(triangle(moved=True)))
    path = bench.stitch().vm_path
    assert path is not None and path.hops[-1].dpid == 3


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


def test_after_a_restart_an_up_stitch_is_wanted_as_it_was(bench: Bench, store: MemoryStore) -> None:
    before = up(bench)
    again = Bench(store)
    take_up(again._life)
    (wanted,) = (event for event in again.told if isinstance(event, WantRules))
    assert wanted.rules == stitch_rules(before)
    again.on_network(NetworkChanged(triangle()))
    assert again._planner.admission.resources.free((1, 2, 2, 1)) == 6.0
    assert again.stitch().state is State.UP


@pytest.mark.parametrize("confirmed", [False, True])
def test_what_was_half_made_at_a_restart_is_made_whole(bench: Bench, store: MemoryStore, confirmed: bool) -> None:
    create(bench)
    if confirmed:
        bench.confirm()
    made = stitch_rules(bench.stitch())
    again = Bench(store)
    take_up(again._life)
    assert again.stitch().state is State.ESTABLISHING
    assert WantRules("stitch:1", made) in again.told
    again.on_network(NetworkChanged(triangle()))
    again.connect()
    again.probe_tick()
    again.probes_cross()
    assert again.stitch().state is State.UP


def reroute(bench: Bench) -> None:
    bench._decider.reroute(bench._book[1], plan_round(bench), 5.0, (1, 2, 2, 1))


def plan_round(bench: Bench) -> StitchPath:
    hosts = bench._planner.network.hosts
    cost = np.array([np.inf if key[:3:2] == (1, 2) else 1.0 for key in bench._planner.network.link_order])
    path = path_at_cost(bench._planner.network, hosts[A], hosts[B], cost)
    assert path is not None
    return path


def test_a_rerouted_stitch_is_up_on_the_new_path_and_holds_bandwidth_there_only(bench: Bench) -> None:
    up(bench)
    reroute(bench)
    assert bench.stitch().state is State.ADJUSTING
    free = bench._planner.admission.resources.free
    assert (free((1, 2, 2, 1)), free((1, 3, 3, 1))) == (6.0, 5.0), "both paths may carry for a while"
    bench.confirm()
    bench.probes_cross()
    assert bench.stitch().state is State.UP
    assert (free((1, 2, 2, 1)), free((1, 3, 3, 1))) == (10.0, 5.0)
    assert bench.stitch().vm_request.relieves == (1, 2, 2, 1)
    assert bench.stitch().epoch == 2


def test_a_refused_reroute_leaves_the_stitch_where_it_was(bench: Bench) -> None:
    before = up(bench).path
    reroute(bench)
    bench.confirm("switch 0000000000000003 refused a rule in table 2: OFPFMFC_TABLE_FULL")
    assert bench.stitch().state is State.UP
    assert bench.stitch().vm_path == before
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 6.0
    assert bench._planner.admission.resources.free((1, 3, 3, 1)) == 10.0


def test_a_resized_stitch_keeps_its_rules(bench: Bench) -> None:
    up(bench)
    told = len(bench.told)
    bench._mover.resize(bench._book[1], 9.0)
    assert not any(isinstance(event, ApplyStages) for event in bench.told[told:])
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 1.0
    with pytest.raises(Oversubscribed):
        bench._mover.resize(bench._book[1], 11.0)
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 1.0


def test_hosts_on_one_switch_are_stitched_without_promising_any_link(bench: Bench) -> None:
    fabric = triangle()
    hosts = {A: Host(A, 1, 10), B: Host(B, 1, 11)}
    bench.on_network(NetworkChanged(Network(fabric.switches, fabric.links, hosts)))
    create(bench)
    assert bench.stitch().state is State.ESTABLISHING
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 10.0


def test_a_stitch_that_no_probe_proves_after_a_restart_does_not_stay_up(bench: Bench, store: MemoryStore) -> None:
    up(bench)
    again = Bench(store)
    take_up(again._life)
    again.on_network(NetworkChanged(triangle()))
    again.connect()
    for _ in range(30):
        again.probe_tick(0.1)
    assert again.stitch().state is State.DOWN


def test_a_stitch_whose_end_goes_away_while_it_is_made_is_given_up(bench: Bench) -> None:
    create(bench)
    bench.confirm()
    bench.on_state(bench.switches[2].state(DEAD_DISPATCHER))
    for _ in range(40):
        bench.probe_tick(1.0)
    bench.confirm("switch 0000000000000002 is not connected")
    assert bench.stitch().state is State.FAILED
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 10.0


OURS = VmRequest(A, B, 3.0, both_ways=False, origin=ORIGIN)


def test_what_the_trigger_made_gives_way_to_what_is_asked_for(bench: Bench, store: MemoryStore) -> None:
    create(bench, OURS)
    bench.confirm()
    bench.probes_cross()
    asked = create(bench, VmRequest(A, B, 8.0))  # more than is free beside the 3 of the trigger
    assert asked.state is State.REQUESTED and store.kept[2].state is State.REQUESTED
    assert bench.stitch(1).state is State.TERMINATING
    bench.confirm()
    assert bench.stitch(1).state is State.TERMINATED
    assert bench.stitch(2).state is State.ESTABLISHING and bench.stitch(2).reason is None
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 2.0
    with pytest.raises(Duplicate):
        create(bench, OURS)


def test_one_that_waits_for_another_to_make_room_can_be_deleted(bench: Bench) -> None:
    create(bench, OURS)
    create(bench)
    bench._desk.delete(2)
    bench.confirm()
    assert [bench.stitch(n).state for n in (1, 2)] == [State.TERMINATED, State.TERMINATED]


def test_a_link_that_shrank_keeps_no_promise_it_cannot_hold(bench: Bench) -> None:
    up(bench)
    bench.on_network(NetworkChanged(triangle(direct_mbps=3.0)))
    assert bench.stitch().state is State.ADJUSTING, "it moves without a gap"
    assert way(bench) == [1, 3, 2]
    bench.confirm()
    bench.probes_cross()
    assert not bench._planner.admission.resources.overcommitted()


def test_a_link_whose_capacity_is_no_longer_known_keeps_its_stitches(bench: Bench) -> None:
    up(bench)
    bench.on_network(NetworkChanged(triangle(direct_mbps=None)))
    assert bench.stitch().state is State.UP
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 0.0


def test_nothing_is_made_that_could_not_be_stored(bench: Bench, store: MemoryStore) -> None:
    store.full = True
    with pytest.raises(StoreError):
        create(bench)
    assert not bench.listed()
    assert not any(isinstance(event, ApplyStages) for event in bench.told)
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 10.0


def test_a_full_disk_keeps_no_broken_stitch_up(bench: Bench, store: MemoryStore) -> None:
    up(bench)
    store.full = True
    with pytest.raises(StoreError):
        bench._desk.delete(1)
    assert bench.stitch().state is State.UP, "what could not be stored is not begun"
    bench.on_network(NetworkChanged(triangle(broken=True)))
    bench.confirm()
    assert bench.stitch().state is State.FAILED
    assert store.kept[1].state is State.UP
    store.full = False
    bench.on_tick(Tick("retry"))
    assert store.kept[1].state is bench.stitch().state


def restarted(store: MemoryStore) -> Bench:
    again = Bench(store)
    take_up(again._life)
    again.on_network(NetworkChanged(triangle()))
    again.connect()
    return again


def batch_of(bench: Bench, number: int) -> ApplyStages:
    batches = (event for event in reversed(bench.told) if isinstance(event, ApplyStages))
    return next(batch for batch in batches if batch.owner == f"stitch:{number}")


def confirm(bench: Bench, number: int, error: str | None = None) -> None:
    batch = batch_of(bench, number)
    bench.on_applied(StagesApplied(batch.owner, batch.ticket, error, 0))


def two_up(bench: Bench) -> None:
    """4 Mbit/s asked for from a to b and back, and 4 of the trigger between hosts beside them."""
    fabric = triangle()
    hosts = {**fabric.hosts, C: Host(C, 1, 11), D: Host(D, 2, 11)}
    bench.on_network(NetworkChanged(replace(fabric, hosts=hosts)))
    up(bench)
    create(bench, VmRequest(C, D, 4.0, both_ways=False, origin=ORIGIN))
    confirm(bench, 2)
    bench.probes_cross()
    assert bench.stitch(2).state is State.UP
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 2.0


def test_of_two_on_a_link_that_shrank_only_as_many_go_as_must(bench: Bench) -> None:
    two_up(bench)
    shrunk = replace(triangle(direct_mbps=5.0), hosts=bench._planner.network.hosts)
    for _ in range(3):  # the rules of the one that goes are not gone yet
        bench.on_network(NetworkChanged(shrunk))
    assert [bench.stitch(number).state for number in (1, 2)] == [State.UP, State.ADJUSTING]


def test_what_is_leaving_a_link_already_makes_nobody_else_leave(bench: Bench) -> None:
    two_up(bench)
    detour = plan_round(bench)
    hops = tuple(replace(hop, in_port=11) if n == 0 else hop for n, hop in enumerate(detour.hops))
    hops = (*hops[:-1], replace(hops[-1], out_port=11))
    bench._decider.reroute(bench._book[2], replace(detour, hops=hops), 4.0, None)
    assert bench.stitch(2).state is State.ADJUSTING
    bench.on_network(NetworkChanged(replace(triangle(direct_mbps=5.0), hosts=bench._planner.network.hosts)))
    assert [bench.stitch(number).state for number in (1, 2)] == [State.UP, State.ADJUSTING]


def test_one_that_ended_while_the_disk_was_full_does_not_come_back(bench: Bench, store: MemoryStore) -> None:
    up(bench)
    store.full = True
    bench._life.terminate(bench._book[1], "no longer needed")
    bench.confirm()
    assert bench.stitch().state is State.TERMINATED
    bench.now_s += REMEMBER_S + 1
    bench.on_tick(Tick("retry"))
    store.full = False
    for _ in range(2):
        bench.now_s += AGAIN_S
        bench.on_tick(Tick("retry"))
    assert not [stitch for stitch in restarted(store).listed() if stitch.state not in ENDED]


def test_both_of_the_triggers_give_way_to_one_that_is_asked_for(bench: Bench) -> None:
    for request in (OURS, replace(OURS, source_mac=B, target_mac=A)):
        create(bench, request)
        bench.confirm()
        bench.probes_cross()
    create(bench, VmRequest(A, B, 9.0))
    assert bench._planner.admission.resources.free((1, 2, 2, 1)) == 1.0, "it is booked before the others have gone"
    confirm(bench, 1)
    assert bench.stitch(3).state is State.REQUESTED
    confirm(bench, 2)
    assert bench.stitch(3).state is State.ESTABLISHING
    confirm(bench, 3)
    for direction in (1, 2):
        assert bench.switches[direction].packets
    for _ in range(3):
        bench.probe_tick(1.0)


def test_half_made_stitches_of_the_trigger_are_not_taken_up_again(bench: Bench, store: MemoryStore) -> None:
    create(bench, OURS)
    again = restarted(store)
    assert again.stitch().state is State.TERMINATED
    assert again._planner.admission.resources.free((1, 2, 2, 1)) == 10.0


def test_a_restart_between_two_steps_of_a_replacement_ends_with_the_one_asked_for(
    bench: Bench, store: MemoryStore
) -> None:
    create(bench, OURS)
    bench.confirm()
    bench.probes_cross()
    before = store.kept[1]
    create(bench)
    store.kept[1] = before  # killed before the trigger's was stored as going
    again = restarted(store)
    again.now_s += RETRY_S
    again.on_tick(Tick("retry"))
    assert [again.stitch(n).state for n in (1, 2)] == [State.TERMINATED, State.ESTABLISHING]
    assert not any(isinstance(event, WantRules) and event.rules for event in again.told)


def test_a_host_whose_address_takes_it_to_another_network_loses_its_stitch(bench: Bench) -> None:
    bench.on_vnets(VnetsChanged((VNet("red", (), ("10.9.0.0/16",)),)))
    up(bench)
    fabric = triangle()
    moved = replace(fabric.hosts[B], ips=frozenset({"10.9.0.1"}))
    bench.on_network(NetworkChanged(replace(fabric, hosts={**fabric.hosts, B: moved})))
    assert bench.stitch().state is State.TERMINATING


def test_a_reroute_that_cannot_be_stored_is_not_begun(bench: Bench, store: MemoryStore) -> None:
    up(bench)
    store.full = True
    with pytest.raises(StoreError):
        reroute(bench)
    assert bench.stitch().state is State.UP and bench.stitch().epoch == 1
    free = bench._planner.admission.resources.free
    assert (free((1, 2, 2, 1)), free((1, 3, 3, 1))) == (6.0, 10.0)


def test_a_refused_reroute_does_not_go_back_to_a_path_that_broke(bench: Bench) -> None:
    up(bench)
    reroute(bench)
    refused = bench.batch()
    bench.on_network(NetworkChanged(triangle(broken=True)))
    assert bench.stitch().state is State.ADJUSTING
    bench.on_applied(StagesApplied(refused.owner, refused.ticket, "OFPFMFC_TABLE_FULL", 0))
    confirm(bench, 1)
    assert bench.stitch().state is State.FAILED


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


def test_one_that_has_ended_is_remembered_and_looked_at_no_more(bench: Bench, store: MemoryStore) -> None:
    up(bench)
    bench._desk.delete(1)
    bench.confirm()
    bench.on_tick(Tick("probe"))
    again = Bench(store)
    take_up(again._life)
    for book in (bench._book, again._book):
        assert [stitch.state for stitch in book] == [State.TERMINATED]
        assert (book.active, book.between(REQUEST)) == ((), [])
        assert not book._by_pair, "an hour of stitches between two hosts must not slow the next one down"
