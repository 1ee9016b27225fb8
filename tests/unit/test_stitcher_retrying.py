"""What carries nothing comes down within a deadline, is soon tried again, and costs little meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ryu_apps.app import Tick
from ryu_apps.events import ApplyStages, NetworkChanged, StagesApplied, WantRules
from ryu_apps.stitches import displacing
from stitching.network import Host, Network
from stitching.plan import NotPossible
from stitching.stitch import DEADLINES_S, ENDED, State, VmRequest
from stitching.validity import Validity
from tests.unit.stitcher_bench import REQUEST, A, B, Bench, bench, store, triangle, up
from tests.unit.test_stitcher_displacing import AT, PAIRS, fabric, hops, make, promised, settle, states

__all__ = ["bench", "store"]

NOWHERE = replace(triangle(), links={})


def tick(bench: Bench, seconds: float) -> None:
    bench.now_s += seconds
    bench.on_tick(Tick("retry"))


def test_every_state_but_those_a_stitch_may_rest_in_has_a_deadline() -> None:
    assert set(DEADLINES_S) == set(State) - ENDED - {State.UP, State.DEGRADED, State.FAILED}


def test_one_that_is_down_fails_by_its_deadline_though_no_switch_confirms_that_its_rules_are_gone(
    bench: Bench,
) -> None:
    up(bench)
    bench.on_network(NetworkChanged(NOWHERE))
    tick(bench, DEADLINES_S[State.DOWN] - 1.0)
    assert bench.stitch().state is State.DOWN
    tick(bench, 2.0)
    assert bench.stitch().state is State.FAILED and "is gone" in (bench.stitch().reason or "")
    assert bench._planner.admission.resources.reservation(1) is None
    assert WantRules("stitch:1", {}) in bench.told, "who has its rules still gives them up"


def test_one_that_is_not_wanted_for_a_while_waits_again_by_the_same_deadline(bench: Bench) -> None:
    up(bench)
    bench._changer.change(1, replace(REQUEST, valid=Validity(from_s=bench.now_s + 3600.0)))
    tick(bench, 0.0)
    assert bench.stitch().state is State.DOWN
    tick(bench, DEADLINES_S[State.DOWN] + 1.0)
    assert bench.stitch().state is State.REQUESTED and "waits until" in (bench.stitch().reason or "")


def test_a_path_that_comes_while_one_is_down_is_taken_as_soon_as_its_rules_are_gone(bench: Bench) -> None:
    up(bench)
    bench.on_network(NetworkChanged(NOWHERE))
    bench.on_network(NetworkChanged(triangle()))
    assert bench.stitch().state is State.DOWN
    bench.confirm()
    assert bench.stitch().state is State.ESTABLISHING
    bench.confirm()
    bench.probes_cross()
    assert bench.stitch().state is State.UP


def test_one_whose_probes_no_longer_come_through_is_left_alone_for_a_while(bench: Bench) -> None:
    up(bench)
    for _ in range(6):
        bench.probe_tick(1.0)
    assert bench.stitch().state is State.DOWN
    bench.confirm()
    assert bench.stitch().state is State.FAILED, "it would lead its packets onto a path that carries nothing"
    tick(bench, 6.0)
    assert bench.stitch().state is State.ESTABLISHING


def test_one_whose_path_broke_takes_the_place_of_a_less_important_one_at_once(bench: Bench) -> None:
    bench.on_network(NetworkChanged(fabric()))
    make(bench, 0, 9.0, 6)
    make(bench, 1, 9.0, 3)
    settle(bench)
    assert [hops(bench.stitch(number)) for number in (1, 2)] == [[1, 2], [1, 3, 2]]
    bench.on_network(NetworkChanged(fabric(broken=True)))
    promised(bench)
    settle(bench)  # in less time than RETRY_S
    promised(bench)
    assert states(bench) == {1: State.UP, 2: State.FAILED} and hops(bench.stitch(1)) == [1, 3, 2]
    assert bench.stitch(2).reason == "displaced by stitch 1 (priority 6 over 3)"


def test_other_terms_displace_nobody_and_the_refusal_says_what_would(bench: Bench) -> None:
    bench.on_network(NetworkChanged(fabric()))
    make(bench, 0, 4.0, 6)
    make(bench, 1, 6.0, 3)
    settle(bench)
    bench.on_network(NetworkChanged(fabric(broken=True)))
    settle(bench)
    with pytest.raises(NotPossible, match="9 Mbit/s") as refused:
        bench._changer.change(1, VmRequest(*PAIRS[0], 9.0, priority=6))
    assert "a change displaces nobody: take it away and make it anew" in refused.value.remedy
    assert states(bench) == {1: State.UP, 2: State.UP} and bench.stitch(1).request.bandwidth_mbps == 4.0


def many(count: int) -> Network:
    """The triangle with so many hosts on switch 1 and as many on 2."""
    hosts = {
        mac: Host(mac, dpid, 10 + place)
        for dpid in (1, 2)
        for place in range(count)
        for mac in (f"02:00:00:00:{dpid:02x}:{place:02x}",)
    }
    return replace(triangle(), hosts=hosts | {mac: Host(mac, AT[mac], 200) for mac in (A, B)})


def test_looking_in_vain_is_bounded_and_everybody_has_their_turn(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 40
    bench.on_network(NetworkChanged(many(count)))
    for place in range(count):
        bench._desk.create(VmRequest(f"02:00:00:00:01:{place:02x}", f"02:00:00:00:02:{place:02x}", 0.1))
    settle(bench)
    bench.on_network(NetworkChanged(replace(many(count), links={})))
    for batch in [one for one in bench.told if isinstance(one, ApplyStages)]:
        bench.on_applied(StagesApplied(batch.owner, batch.ticket, None, 0))
    assert set(states(bench).values()) == {State.FAILED}
    looked: list[Any] = []
    find = bench._planner.path

    def slow(request: VmRequest, *args: Any) -> Any:
        looked.append(request)
        bench.now_s += 0.01
        return find(request, *args)

    monkeypatch.setattr(bench._planner, "path", slow)
    monkeypatch.setattr(displacing, "make_room", lambda *_: pytest.fail("nobody is less important"))
    rounds: list[int] = []
    for _ in range(4):
        before = len(looked)
        tick(bench, 6.0 if not rounds else 0.5)
        rounds.append(len(looked) - before)
    assert max(rounds) <= 12 and len(set(looked)) == count
    looked.clear()
    tick(bench, 1.0)
    assert len(looked) == len(set(looked)) <= 12
