"""Who gives way where there is not room for all: those of the trigger, and of others only as many as must."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ryu_apps.events import NetworkChanged
from stitching.decisions import ORIGIN
from stitching.network import Host
from stitching.planner import Duplicate
from stitching.stitch import State, VmRequest
from tests.unit.stitcher_bench import (
    OURS,
    A,
    B,
    Bench,
    C,
    D,
    MemoryStore,
    bench,
    confirm,
    create,
    plan_round,
    store,
    triangle,
    up,
    way,
)

__all__ = ["bench", "store"]


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
