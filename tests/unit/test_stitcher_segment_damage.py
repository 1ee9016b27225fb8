"""What becomes of a segment when a part of the fabric dies: what can be joined stays joined."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ryu_apps.app import Tick
from ryu_apps.events import ProbeArrived, VnetsChanged
from ryu_apps.stitches.resuming import take_up
from ryu_apps.stitches.upkeep import FIRST_PAUSE_S, HOLD_DOWN_S
from stitching.kinds import rules
from stitching.network import reverse
from stitching.rules import Bypass
from stitching.stitch import Protection, State, Stitch
from tests.unit.segment_bench import (
    DIRECT,
    HOST_A,
    HOST_B,
    HOST_C,
    SEGMENT,
    VNETS,
    bench,
    members,
    prove,
    see,
    tree,
    up,
)
from tests.unit.stitcher_bench import Bench, MemoryStore, store, unlabelled

__all__ = ["bench", "store"]

OTHER_WAY = ((1, 3, 3, 1), (2, 3, 3, 2))
PROTECTED = replace(SEGMENT, protection=Protection.LINK)
BY_NODE = replace(SEGMENT, protection=Protection.NODE)


def cross(bench: Bench, dpids: Collection[int], *, broadcast: bool = True) -> None:
    """Probes come through between these switches only."""
    for dpid, switch in bench.switches.items():
        packets, switch.packets = switch.packets, []
        for frame in (packet[40:] for packet in packets if dpid in dpids):
            if broadcast or not frame.startswith(b"\xff"):
                for far in dpids:
                    bench.on_probe(ProbeArrived(far, unlabelled(frame), bench.now_s + 0.002))


def seconds(bench: Bench, count: int, dpids: Collection[int], *, broadcast: bool = True) -> None:
    for _ in range(count):
        bench.probe_tick(1.0)
        cross(bench, dpids, broadcast=broadcast)


def protected(stitch: Stitch) -> bool:
    groups = [entry for held in rules(stitch).values() for entry in held.values() if isinstance(entry, Bypass)]
    return bool(groups) and bool(tree(stitch).detours)


def test_a_protected_segment_holds_its_bandwidth_on_its_detours_too(bench: Bench) -> None:
    stitch = up(bench, PROTECTED)
    assert protected(stitch) and tree(stitch).links == (DIRECT,)
    for key in (DIRECT, *OTHER_WAY):
        for way in (key, reverse(key)):
            assert bench._planner.admission.resources.reserved(way) == 2.0
    bench._desk.delete(1)
    bench.confirm()
    assert bench._planner.admission.resources.owners((1, 3, 3, 1)) == ()


def test_after_a_restart_a_protected_segment_carries_on_where_it_was(bench: Bench, store: MemoryStore) -> None:
    """Its bandwidth is on some links more than once, of which nothing is known yet."""
    see(bench, HOST_A, HOST_B, HOST_C)
    before = up(bench, BY_NODE)
    again = Bench(store)
    take_up(again._life)
    again.on_vnets(VnetsChanged(VNETS))
    see(again, HOST_A, HOST_B, HOST_C)
    again.connect()
    again.probe_tick()
    again.all_probes_cross()
    assert (again.stitch().state, again.stitch().path) == (State.UP, before.path)


def test_a_link_that_dies_leaves_it_unprotected_on_what_is_left_and_protected_again_when_it_is_back(
    bench: Bench,
) -> None:
    up(bench, PROTECTED)
    see(bench, HOST_A, HOST_B, without=[DIRECT])
    assert bench.stitch().state is State.ADJUSTING
    bare = prove(bench)
    assert bare.state is State.DEGRADED and "it is not protected" in (bare.reason or "")
    assert "is all that joins" in (bare.reason or "") and not protected(bare)
    see(bench, HOST_A, HOST_B)
    bench.now_s += FIRST_PAUSE_S + 1.0
    for _ in range(2):
        bench.on_tick(Tick("retry"))
        bench.now_s += FIRST_PAUSE_S + 1.0
    whole = prove(bench)
    assert whole.state is State.UP and protected(whole)


def test_protection_is_asked_for_and_given_up_while_it_carries(bench: Bench) -> None:
    up(bench)
    bench._changer.change(1, PROTECTED)
    assert protected(prove(bench)) and bench.stitch().state is State.UP
    bench._changer.change(1, replace(PROTECTED, bandwidth_mbps=3.0))
    assert bench._planner.admission.resources.reserved(OTHER_WAY[0]) == 3.0
    bench.probe_tick(1.0)
    bench._changer.change(1, SEGMENT)
    assert not protected(prove(bench)) and bench.stitch().state is State.UP


def test_it_goes_home_when_the_links_have_been_the_same_for_the_hold_down(bench: Bench) -> None:
    up(bench)
    see(bench, HOST_A, HOST_B, without=[DIRECT])
    assert len(tree(prove(bench)).links) == 2
    see(bench, HOST_A, HOST_B)
    seconds(bench, int(HOLD_DOWN_S) - 1, (1, 2, 3))
    bench.on_tick(Tick("retry"))
    assert len(tree(bench.stitch()).links) == 2
    seconds(bench, 2, (1, 2, 3))
    bench.on_tick(Tick("retry"))
    home = prove(bench)
    assert (home.state, tree(home).links) == (State.UP, (DIRECT,))


def test_what_dies_while_it_is_proven_is_mended_as_soon_as_it_is_up(bench: Bench) -> None:
    bench._desk.create(PROTECTED)
    bench.confirm()
    see(bench, HOST_A, HOST_B, without=[DIRECT])
    assert bench.stitch().state is State.ESTABLISHING
    bench.all_probes_cross()
    assert bench.stitch().state is State.ADJUSTING
    assert DIRECT not in tree(prove(bench)).links


def test_a_link_of_a_detour_that_dies_hurts_the_protection_and_not_the_segment(bench: Bench) -> None:
    before = up(bench, PROTECTED)
    see(bench, HOST_A, HOST_B, without=[OTHER_WAY[0]])
    hurt = bench.stitch()
    assert (hurt.state, tree(hurt)) == (State.DEGRADED, tree(before))
    assert "of a detour: it is not protected" in (hurt.reason or "")


def test_a_switch_that_is_cut_off_leaves_the_others_joined_and_its_hosts_named(bench: Bench) -> None:
    see(bench, HOST_A, HOST_B, HOST_C)
    up(bench)
    see(bench, HOST_A, HOST_B, HOST_C, without=OTHER_WAY)
    left = prove(bench)
    assert left.state is State.DEGRADED and members(left) == {HOST_A.mac, HOST_B.mac}
    assert HOST_C.mac in (left.reason or "")
    see(bench, HOST_A, HOST_B, HOST_C)
    bench.now_s += FIRST_PAUSE_S + 1.0
    for _ in range(2):
        bench.on_tick(Tick("retry"))
        bench.now_s += FIRST_PAUSE_S + 1.0
    assert members(prove(bench)) == {HOST_A.mac, HOST_B.mac, HOST_C.mac}


def test_where_no_other_tree_is_fast_enough_what_still_hears_each_other_is_left_alone(bench: Bench) -> None:
    see(bench, HOST_A, HOST_B, HOST_C)
    before = up(bench, replace(SEGMENT, max_latency_ms=1.5))
    dead = next(key for key in tree(before).links if 1 in (key[0], key[2]))
    see(bench, HOST_A, HOST_B, HOST_C, without=[dead])
    hurt = bench.stitch()
    assert (hurt.state, tree(hurt)) == (State.DEGRADED, tree(before))
    assert f"hosts {HOST_A.mac} are cut off" in (hurt.reason or "")


def test_a_branch_that_goes_silent_is_named_and_the_others_go_on(bench: Bench) -> None:
    see(bench, HOST_A, HOST_B, HOST_C)
    up(bench)
    seconds(bench, 6, (1, 2))
    silent = bench.stitch()
    assert silent.state is State.DEGRADED and HOST_C.mac in (silent.reason or "")
    seconds(bench, 3, (1, 2, 3))
    seconds(bench, 3, (1, 2, 3))
    assert bench.stitch().state is State.UP
    seconds(bench, 6, ())
    assert bench.stitch().state in (State.DOWN, State.FAILED)


def test_it_is_not_up_before_broadcast_comes_through_and_not_when_that_has_stopped(bench: Bench) -> None:
    bench._desk.create(SEGMENT)
    bench.confirm()
    cross(bench, (1, 2), broadcast=False)
    assert bench.stitch().state is State.ESTABLISHING
    bench.probe_tick(0.1)
    cross(bench, (1, 2))
    assert bench.stitch().state is State.UP
    seconds(bench, 6, (1, 2), broadcast=False)
    assert bench.stitch().state is State.DEGRADED
    assert "from broadcast of host" in (bench.stitch().reason or "")


def test_a_host_where_nothing_can_be_protected_is_kept_out_while_the_others_stay_protected(bench: Bench) -> None:
    see(bench, HOST_A, HOST_B)
    before = up(bench, BY_NODE)
    assert protected(before)
    see(bench, HOST_A, HOST_B, HOST_C, without=[OTHER_WAY[0]])
    assert bench.stitch().state is State.DEGRADED
    assert members(bench.stitch()) == {HOST_A.mac, HOST_B.mac}
    see(bench, HOST_A, HOST_B, HOST_C)
    bench.now_s += FIRST_PAUSE_S + 1.0
    for _ in range(2):
        bench.on_tick(Tick("retry"))
        bench.now_s += FIRST_PAUSE_S + 1.0
    joined = prove(bench)
    assert members(joined) == {HOST_A.mac, HOST_B.mac, HOST_C.mac} and protected(joined)
