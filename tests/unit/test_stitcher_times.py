"""A stitch waits for its time or its traffic, rests when that is over, and says so."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ryu_apps.app import Tick
from ryu_apps.events import NetworkChanged
from ryu_apps.stitches.resuming import take_up
from stitching.expecting import HOLD_S, Expecting
from stitching.plan import NotPossible
from stitching.segment import SegmentRequest, Side
from stitching.stitch import State, Stitch
from stitching.terms import Expectation
from stitching.validity import Validity, Weekly
from tests.unit.stitcher_bench import REQUEST, A, B, Bench, MemoryStore, bench, restarted, store, triangle

__all__ = ["bench", "store"]


def tick(bench: Bench, seconds: float = 0.0) -> Stitch:
    bench.now_s += seconds
    bench.on_tick(Tick("retry"))
    return bench.stitch()


def come_up(bench: Bench) -> None:
    bench.confirm()
    bench.all_probes_cross()
    assert bench.stitch().state is State.UP


def test_it_waits_for_its_time_without_a_deadline_and_ends_with_it(bench: Bench) -> None:
    now_s = bench.now_s
    made = bench._desk.create(replace(REQUEST, valid=Validity(now_s + 3600.0, now_s + 7200.0)))
    assert made.state is State.REQUESTED and "waits until 1970-01-01 01:16:40 UTC" in (made.reason or "")
    assert bench._planner.admission.resources.reserved((1, 2, 2, 1)) == 0.0
    assert tick(bench, 3599.0).state is State.REQUESTED
    assert tick(bench, 1.0).state is State.ESTABLISHING
    come_up(bench)
    assert tick(bench, 3600.0).state is State.TERMINATING
    bench.confirm()
    assert (bench.stitch().state, bench.stitch().reason) == (State.TERMINATED, "its time is over")


def test_a_recurring_one_waits_again(bench: Bench) -> None:
    bench.now_s = 3 * 3600.0
    every_day = Weekly(tuple(range(7)), 3 * 60, 4 * 60)
    bench._desk.create(replace(REQUEST, valid=Validity(weekly=every_day)))
    come_up(bench)
    assert tick(bench, 3600.0).state is State.DOWN
    bench.confirm()
    assert bench.stitch().state is State.REQUESTED
    assert tick(bench, 22 * 3600.0).state is State.REQUESTED
    assert tick(bench, 3600.0).state is State.ESTABLISHING


def test_what_is_over_already_is_refused(bench: Bench) -> None:
    with pytest.raises(NotPossible, match="valid_until"):
        bench._desk.create(replace(REQUEST, valid=Validity(until_s=bench.now_s)))


def test_it_waits_for_its_time_after_a_restart_too(bench: Bench, store: MemoryStore) -> None:
    bench._desk.create(replace(REQUEST, valid=Validity(from_s=bench.now_s + 3600.0)))
    again = restarted(store)
    assert tick(again).state is State.REQUESTED
    assert tick(again, 3600.0).state is State.ESTABLISHING


def test_after_a_restart_the_most_important_comes_first(store: MemoryStore) -> None:
    for number, priority in ((1, 1), (2, 7), (3, 4)):
        request = replace(REQUEST, priority=priority)
        store.kept[number] = Stitch(number, request, State.FAILED, 0.0, 0.0)
    started: list[int] = []
    again = Bench(store)
    again._retrier._try_again = lambda stitch, now_s: started.append(stitch.id)  # type: ignore[method-assign]  # noqa: ARG005
    take_up(again._life)
    again.on_network(NetworkChanged(triangle()))
    assert started == [2, 3, 1]


def test_the_less_important_gives_way_when_capacity_shrinks(bench: Bench) -> None:
    bench._desk.create(replace(REQUEST, both_ways=False, priority=5))
    come_up(bench)
    bench._desk.create(
        replace(REQUEST, source_mac=B, target_mac=A, both_ways=False, priority=1, bandwidth_mbps=4.0)
    )
    bench.confirm()
    bench.all_probes_cross()
    first, second = bench._book[1], bench._book[2]
    assert bench._planner.admission.too_much([first, second], first="trigger") == []
    other = replace(first, id=3, request=replace(first.request, priority=0))
    bench._planner.admission.resources.set_capacity((1, 2, 2, 1), 3.0)
    assert bench._planner.admission.too_much([first, second, other], first="trigger") == [first]


def forecast(probability: float, *, cold: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        prob_above=lambda _: np.array([[probability] * 4]), mean=np.array([[1.0] * 4]), cold=np.array([cold])
    )


PREDICTIVE = replace(REQUEST, expects=Expectation(threshold_mbps=5.0, probability=0.6))


def test_a_predictive_one_is_made_when_its_traffic_is_likely_and_let_go_when_it_is_not(bench: Bench) -> None:
    made = bench._desk.create(PREDICTIVE)
    assert (made.state, made.reason) == (State.REQUESTED, "waits for a forecast of the traffic between its hosts")
    bench._expecting.hear(((A, B),), forecast(0.5))  # type: ignore[arg-type]
    assert "60% likely" in (tick(bench).reason or "")
    bench._expecting.hear(((A, B),), forecast(0.7))  # type: ignore[arg-type]
    assert tick(bench).state is State.ESTABLISHING
    come_up(bench)
    bench._expecting.hear(((A, B),), forecast(0.4))  # type: ignore[arg-type]
    assert tick(bench, 1.0).state is State.UP, "hysteresis"
    bench._expecting.hear(((A, B),), forecast(0.1))  # type: ignore[arg-type]
    assert tick(bench, 1.0).state is State.UP
    assert tick(bench, HOLD_S).state is State.DOWN
    bench.confirm()
    assert bench.stitch().state is State.REQUESTED


def test_a_guessed_spread_makes_nothing() -> None:
    expecting = Expecting()
    expecting.hear(((A, B),), forecast(0.9, cold=True))  # type: ignore[arg-type]
    assert expecting.waits_for(PREDICTIVE) is not None


def test_encryption_that_nobody_has_is_refused(bench: Bench) -> None:
    with pytest.raises(NotPossible, match="encrypted"):
        bench._desk.create(replace(REQUEST, encrypted=True))


def test_other_kinds_are_not_made_on_the_forecast(bench: Bench) -> None:
    with pytest.raises(NotPossible, match="mode"):
        bench._desk.create(SegmentRequest(Side("red"), Side("blue"), 1.0, expects=Expectation(1.0, 0.5)))
