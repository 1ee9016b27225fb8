"""A stitch is stored before it is done, and goes on after a restart where it was."""

from __future__ import annotations

import pytest

from ryu_apps.app import Tick
from ryu_apps.events import ApplyStages, NetworkChanged, WantRules
from ryu_apps.stitcher import REMEMBER_S
from ryu_apps.stitches.book import AGAIN_S
from ryu_apps.stitches.idle import RETRY_S
from ryu_apps.stitches.resuming import take_up
from ryu_apps.store import StoreError
from stitching.kinds import rules as stitch_rules
from stitching.stitch import ENDED, State
from tests.unit.stitcher_bench import (
    OURS,
    REQUEST,
    Bench,
    MemoryStore,
    bench,
    create,
    restarted,
    store,
    triangle,
    up,
)

__all__ = ["bench", "store"]


def test_it_is_stored_before_any_rule_is_asked_for(bench: Bench, store: MemoryStore) -> None:
    stored: list[State] = []
    bench.on_publish = lambda event: stored.append(store.kept[1].state) if isinstance(event, ApplyStages) else None
    create(bench)
    assert stored == [State.ESTABLISHING]
    assert store.log == [(1, State.ESTABLISHING)]


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


def test_a_stitch_that_no_probe_proves_after_a_restart_does_not_stay_up(bench: Bench, store: MemoryStore) -> None:
    up(bench)
    again = Bench(store)
    take_up(again._life)
    again.on_network(NetworkChanged(triangle()))
    again.connect()
    for _ in range(30):
        again.probe_tick(0.1)
    assert again.stitch().state is State.DOWN


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
