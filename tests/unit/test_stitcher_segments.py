"""A segment goes through the same life as any stitch, and follows its hosts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ryu_apps.app import Tick
from ryu_apps.events import VnetsChanged
from ryu_apps.stitches.resuming import take_up
from ryu_apps.store.codec import dump, load
from stitching.plan import NotPossible
from stitching.planner import Duplicate
from stitching.segment import SegmentRequest, Side
from stitching.stitch import State, Stitch
from tests.unit.segment_bench import (
    DIRECT,
    HOST_A,
    HOST_B,
    HOST_C,
    HOST_D,
    SEGMENT,
    VNETS,
    bench,
    members,
    prove,
    see,
    tree,
    up,
)
from tests.unit.stitcher_bench import A, B, Bench, C, D, MemoryStore, store

__all__ = ["bench", "store"]


def test_it_is_up_when_probes_have_crossed_it_both_ways(bench: Bench) -> None:
    bench._desk.create(SEGMENT)
    bench.confirm()
    assert bench.stitch().state is State.ESTABLISHING
    bench.all_probes_cross()
    assert bench.stitch().state is State.UP
    assert bench._planner.admission.resources.reserved((1, 2, 2, 1)) == 2.0
    assert bench._planner.admission.resources.reserved((2, 1, 1, 2)) == 2.0


def test_it_waits_without_a_deadline_for_a_host_on_each_side(bench: Bench) -> None:
    see(bench, HOST_A)
    made = bench._desk.create(SEGMENT)
    assert (made.state, made.reason) == (State.REQUESTED, "waits for a host of 'blue'")
    bench.now_s += 3600.0
    bench.on_tick(Tick("retry"))
    assert bench.stitch().state is State.REQUESTED
    see(bench, HOST_A, HOST_B)
    assert prove(bench).state is State.UP


def test_hosts_join_and_leave_by_themselves_without_another_label(bench: Bench) -> None:
    label = tree(up(bench)).label
    see(bench, HOST_A, HOST_B, HOST_C)
    joined = prove(bench)
    assert (joined.state, members(joined), tree(joined).label) == (State.UP, {A, B, C}, label)
    bench.probe_tick(1.0)
    see(bench, HOST_B, HOST_C)
    left = prove(bench)
    assert (left.state, members(left)) == (State.UP, {B, C})


def test_it_waits_again_when_one_side_has_nobody_left(bench: Bench) -> None:
    up(bench)
    see(bench, HOST_B)
    assert bench.stitch().state is State.DOWN
    bench.confirm()
    bench.on_tick(Tick("retry"))
    assert bench.stitch().state in (State.FAILED, State.REQUESTED)
    bench.now_s += 10.0
    bench.on_tick(Tick("retry"))
    assert (bench.stitch().state, bench.stitch().reason) == (State.REQUESTED, "waits for a host of 'red'")
    assert bench._planner.admission.resources.reserved((1, 2, 2, 1)) == 0.0


def test_a_link_that_dies_is_replaced_under_another_label(bench: Bench) -> None:
    before = tree(up(bench))
    see(bench, HOST_A, HOST_B, without=[DIRECT])
    assert bench.stitch().state is State.ADJUSTING
    after = tree(prove(bench))
    assert after.label != before.label and len(after.links) == 2


def test_an_address_on_both_sides_is_refused_and_named(bench: Bench) -> None:
    see(bench, HOST_A, replace(HOST_B, ips=HOST_A.ips))
    with pytest.raises(NotPossible, match=r"10\.0\.0\.1") as refused:
        bench._desk.create(SEGMENT)
    assert A in refused.value.reason and B in refused.value.reason


def test_an_address_that_another_side_took_is_remembered(bench: Bench) -> None:
    """The table of hosts gives an address to the one that claimed it last."""
    see(bench, replace(HOST_A, ips=frozenset()), replace(HOST_B, ips=HOST_A.ips))
    with pytest.raises(NotPossible, match=r"10\.0\.0\.1"):
        bench._desk.create(SEGMENT)


def test_a_host_that_comes_with_an_address_of_the_other_side_is_left_out(bench: Bench) -> None:
    up(bench)
    see(bench, HOST_A, HOST_B, replace(HOST_D, ips=HOST_A.ips))
    stitch = bench.stitch()
    assert stitch.state in (State.DEGRADED, State.ADJUSTING)
    if stitch.state is State.ADJUSTING:
        stitch = prove(bench)
    bench.probe_tick(1.0)
    bench.all_probes_cross()
    stitch = bench.stitch()
    assert stitch.state is State.DEGRADED and members(stitch) == {A, B}
    assert "10.0.0.1" in (stitch.reason or "") and D in (stitch.reason or "")
    see(bench, HOST_A, HOST_B, HOST_D)
    stitch = prove(bench)
    assert members(stitch) == {A, B, D} and stitch.state is State.UP


def test_two_segments_share_no_host(bench: Bench) -> None:
    up(bench)
    with pytest.raises(Duplicate):
        bench._desk.create(SegmentRequest(Side("blue"), Side("green"), 1.0))


def test_after_a_restart_it_carries_on_where_it_was(bench: Bench, store: MemoryStore) -> None:
    before = up(bench)
    again = Bench(store)
    take_up(again._life)
    again.on_vnets(VnetsChanged(VNETS))
    see(again, HOST_A, HOST_B)
    again.connect()
    again.probe_tick()
    again.all_probes_cross()
    assert (again.stitch().state, again.stitch().path) == (State.UP, before.path)


def test_what_is_not_known_yet_after_a_restart_hurts_nobody(bench: Bench, store: MemoryStore) -> None:
    """Neither the fabric nor who belongs where comes first for certain."""
    up(bench)
    bench.probe_tick()
    for first_vnets in (True, False):
        again = Bench(store)
        take_up(again._life)
        if first_vnets:
            again.on_vnets(VnetsChanged(VNETS))
            assert again.stitch().state is State.UP
        see(again, HOST_A, HOST_B)
        assert again.stitch().state is State.UP


def test_it_is_stored_and_read_with_its_kind(bench: Bench) -> None:
    stitch = replace(up(bench), probe_ms=None, probe_loss=None)
    assert load(Stitch, dump(stitch)) == stitch


def test_deleting_it_leaves_nothing(bench: Bench) -> None:
    up(bench)
    bench._desk.delete(1)
    bench.confirm()
    assert bench.stitch().state is State.TERMINATED
    assert bench._planner.admission.resources.owners((1, 2, 2, 1)) == ()


def test_other_terms_are_had_without_a_gap_or_leave_it_as_it_was(bench: Bench) -> None:
    up(bench)
    before = bench.stitch()
    more = bench._changer.change(1, replace(SEGMENT, bandwidth_mbps=9.0, priority=6))
    assert (more.path, more.request.bandwidth_mbps, more.request.priority) == (before.path, 9.0, 6)
    assert bench._planner.admission.resources.reserved((1, 2, 2, 1)) == 9.0
    with pytest.raises(NotPossible, match="bandwidth"):
        bench._changer.change(1, replace(SEGMENT, bandwidth_mbps=11.0))
    assert bench.stitch().request == more.request


def test_other_hosts_of_its_networks_join_it(bench: Bench) -> None:
    up(bench, replace(SEGMENT, source=Side("red", (A,))))
    see(bench, HOST_A, HOST_B, HOST_C)
    assert members(bench.stitch()) == {A, B}
    bench._changer.change(1, SEGMENT)
    assert members(prove(bench)) == {A, B, C} and bench.stitch().state is State.UP
    with pytest.raises(NotPossible, match="same packets"):
        bench._changer.change(1, replace(SEGMENT, target=Side("green")))
