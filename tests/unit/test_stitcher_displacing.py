"""Where nothing is free, less important stitches make room: few of them, moved where there is another path."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ryu_apps.app import Tick
from ryu_apps.events import ApplyStages, NetworkChanged, ReservationsRequest, StagesApplied
from stitching.decisions import ORIGIN
from stitching.network import Host, Network
from stitching.plan import NotPossible
from stitching.stitch import Hop, State, Stitch, StitchPath, VmRequest
from tests.unit.stitcher_bench import A, B, Bench, C, D, MemoryStore, triangle

E, F = "02:00:00:00:00:0e", "02:00:00:00:00:0f"
AT = {A: 1, B: 2, C: 1, D: 2, E: 1, F: 2}
PAIRS = ((A, B), (C, D), (E, F))


def fabric(*, broken: bool = False, round_mbps: float = 10.0) -> Network:
    """The triangle of 10 Mbit/s, or less on the way round, with three hosts on switch 1 and three on 2."""
    hosts = {mac: Host(mac, dpid, 10 + place) for place, (mac, dpid) in enumerate(AT.items())}
    whole = triangle(broken=broken)
    links = {
        key: replace(link, capacity_mbps=round_mbps) if 3 in (key[0], key[2]) else link
        for key, link in whole.links.items()
    }
    return replace(whole, links=links, hosts=hosts)


@pytest.fixture
def bench() -> Bench:
    made = Bench(MemoryStore())
    made.on_network(NetworkChanged(fabric()))
    made.connect()
    return made


def settle(bench: Bench) -> None:
    """All switches confirm all changes, and all probes cross."""
    done = 0
    for _ in range(10):
        open_ = {one.owner: one for one in bench.told[done:] if isinstance(one, ApplyStages)}
        done = len(bench.told)
        for one in open_.values():
            bench.on_applied(StagesApplied(one.owner, one.ticket, None, 0))
        bench.probe_tick(0.1)
        bench.all_probes_cross()


def make(bench: Bench, pair: int, mbps: float, priority: int, origin: str = "api") -> Stitch:
    return bench._desk.create(VmRequest(*PAIRS[pair], mbps, priority=priority, origin=origin))


def hops(stitch: Stitch) -> list[int]:
    assert isinstance(stitch.path, StitchPath), stitch.reason
    path: tuple[Hop, ...] = stitch.path.hops
    return [hop.dpid for hop in path]


def states(bench: Bench) -> dict[int, State]:
    return {stitch.id: stitch.state for stitch in bench._book}


def promised(bench: Bench) -> None:
    """No link is promised more than it has, what is on its way out included."""
    asked = ReservationsRequest()
    bench.on_reservations(asked)
    for one in asked.future.result(0):
        assert one.capacity_mbps is None or one.promised_mbps <= one.capacity_mbps + 1e-6, one


def test_one_that_can_go_elsewhere_does_before_the_other_is_begun(bench: Bench) -> None:
    bench.on_network(NetworkChanged(fabric(round_mbps=7.0)))
    make(bench, 0, 6.0, 3)
    settle(bench)
    assert hops(bench.stitch(1)) == [1, 2]
    urgent = make(bench, 1, 8.0, 6)
    promised(bench)
    assert (urgent.state, urgent.reason) == (State.REQUESTED, "waits until it has displaced stitch 1")
    assert bench.stitch(1).state is State.ADJUSTING and hops(bench.stitch(1)) == [1, 3, 2]
    settle(bench)
    promised(bench)
    assert states(bench) == {1: State.UP, 2: State.UP} and hops(bench.stitch(2)) == [1, 2]


def test_one_that_has_nowhere_to_go_comes_down_with_who_it_was_and_is_tried_again(bench: Bench) -> None:
    make(bench, 0, 9.0, 3)
    make(bench, 1, 9.0, 4)
    settle(bench)
    make(bench, 2, 9.0, 6)
    promised(bench)
    settle(bench)
    promised(bench)
    assert states(bench) == {1: State.FAILED, 2: State.UP, 3: State.UP}
    words = "displaced by stitch 3 (priority 6 over 3)"
    assert bench.stitch(1).reason == words
    bench.now_s += 6.0
    bench.on_tick(Tick("retry"))
    assert (bench.stitch(1).state, bench.stitch(1).reason) == (State.FAILED, words), "it displaces nobody"
    bench._desk.delete(3)
    settle(bench)
    bench.now_s += 6.0
    bench.on_tick(Tick("retry"))
    settle(bench)
    assert bench.stitch(1).state is State.UP


def test_equals_displace_nobody_and_neither_does_the_trigger(bench: Bench) -> None:
    make(bench, 0, 9.0, 3)
    make(bench, 1, 9.0, 3)
    settle(bench)
    for priority, origin in ((3, "api"), (2, "api"), (7, ORIGIN)):
        with pytest.raises(NotPossible, match="9 Mbit/s"):
            make(bench, 2, 9.0, priority, origin)
    assert states(bench) == {1: State.UP, 2: State.UP}


def test_only_as_many_go_as_have_to_and_the_least_important(bench: Bench) -> None:
    bench.on_network(NetworkChanged(fabric(broken=True)))
    make(bench, 0, 4.0, 1)
    make(bench, 1, 4.0, 2)
    settle(bench)
    make(bench, 2, 5.0, 5)
    promised(bench)
    settle(bench)
    promised(bench)
    assert states(bench) == {1: State.FAILED, 2: State.UP, 3: State.UP}


def test_one_goes_rather_than_two_of_its_kind(bench: Bench) -> None:
    bench.on_network(NetworkChanged(fabric(broken=True)))
    make(bench, 0, 6.0, 3)
    make(bench, 1, 4.0, 3)
    settle(bench)
    make(bench, 2, 6.0, 5)
    settle(bench)
    assert states(bench) == {1: State.FAILED, 2: State.UP, 3: State.UP}


def test_what_one_holds_beyond_what_is_taken_of_it_is_nobodys_until_it_has_gone(bench: Bench) -> None:
    bench.on_network(NetworkChanged(fabric(broken=True)))
    make(bench, 0, 9.0, 3)
    settle(bench)
    make(bench, 1, 4.0, 6)
    promised(bench)
    with pytest.raises(NotPossible, match="4 Mbit/s"):
        make(bench, 2, 4.0, 3)
    settle(bench)
    assert make(bench, 2, 4.0, 3).state is State.ESTABLISHING


def test_a_check_says_what_would_be_had_and_who_would_make_room(bench: Bench) -> None:
    make(bench, 0, 9.0, 3)
    make(bench, 1, 9.0, 3)
    settle(bench)
    room = bench._desk.check(VmRequest(E, F, 9.0, priority=4))
    assert isinstance(room.placement, StitchPath) and [victim.id for victim in room.victims] == [2]
    assert states(bench) == {1: State.UP, 2: State.UP}


def test_one_whose_new_path_is_refused_does_not_come_back_to_what_it_gave(bench: Bench) -> None:
    bench.on_network(NetworkChanged(fabric(round_mbps=7.0)))
    make(bench, 0, 6.0, 3)
    settle(bench)
    make(bench, 1, 8.0, 6)
    batch = next(one for one in reversed(bench.told) if isinstance(one, ApplyStages) and one.owner == "stitch:1")
    bench.on_applied(StagesApplied(batch.owner, batch.ticket, "switch 3 refused a rule", 0))
    promised(bench)
    settle(bench)
    promised(bench)
    assert bench.stitch(2).state is State.UP and hops(bench.stitch(2)) == [1, 2]


def test_one_that_is_deleted_while_it_waits_leaves_nothing(bench: Bench) -> None:
    make(bench, 0, 9.0, 3)
    make(bench, 1, 9.0, 3)
    settle(bench)
    make(bench, 2, 9.0, 6)
    bench._desk.delete(3)
    settle(bench)
    bench.now_s += 6.0
    bench.on_tick(Tick("retry"))
    settle(bench)
    assert states(bench) == {1: State.UP, 2: State.UP, 3: State.TERMINATED}
    assert not bench._life.making_room and not bench._life.waiting


def test_one_that_failed_displaces_when_it_is_tried_again(bench: Bench) -> None:
    make(bench, 0, 9.0, 6)
    settle(bench)
    bench.on_network(NetworkChanged(replace(fabric(), links={})))
    settle(bench)
    assert bench.stitch(1).state is State.FAILED
    bench._changer.change(1, VmRequest(*PAIRS[0], 9.0, priority=6, max_latency_ms=0.1))
    bench.on_network(NetworkChanged(fabric()))
    make(bench, 1, 9.0, 3)
    make(bench, 2, 9.0, 3)
    settle(bench)
    assert states(bench) == {1: State.FAILED, 2: State.UP, 3: State.UP}
    bench._changer.change(1, VmRequest(*PAIRS[0], 9.0, priority=6))
    promised(bench)
    settle(bench)
    promised(bench)
    assert states(bench) == {1: State.UP, 2: State.UP, 3: State.FAILED}, "of equals the youngest"
