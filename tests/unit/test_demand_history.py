"""The demand history keeps an even clock whatever the clocks do, and never grows past its bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.events import Rates
from ryu_apps.predicting.demand_history import CHOOSE_EVERY, DemandHistory, pairs_of
from ryu_apps.store import HistoryStore, SeriesKind
from ryu_apps.store.engine import Database
from ryu_apps.store.readback import newest_s
from ryu_apps.store.rollup import roll_up
from ryu_apps.store.samples import minute_of

A, B, C = ("a", "b"), ("b", "a"), ("a", "c")
CAPACITY, MOST_PAIRS = 2048, 2000


def filled(*samples: dict[tuple[str, str], float], step_s: float = 1.0) -> DemandHistory:
    history = DemandHistory(step_s, CAPACITY, MOST_PAIRS)
    for beat, sample in enumerate(samples, 1):
        assert not history.append(100.0 + beat * step_s, beat, sample)
    return history


def test_a_new_demand_was_silent_before_and_one_that_is_not_measured_is_unknown() -> None:
    history = filled({A: 1.0}, {A: 2.0, B: 3.0}, {B: 4.0})
    times, values = history.matrix()
    assert times.tolist() == [101.0, 102.0, 103.0]
    assert history.pairs == (A, B)
    np.testing.assert_array_equal(values, [[1.0, 2.0, np.nan], [0.0, 3.0, 4.0]])
    np.testing.assert_array_equal(history.newest(), [[np.nan], [4.0]])


def test_periods_that_were_left_out_are_unknown() -> None:
    history = filled({A: 1.0})
    history.append(104.0, 4, {A: 2.0})
    np.testing.assert_array_equal(history.matrix()[1], [[1.0, np.nan, np.nan, 2.0]])


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_step_of_the_wall_clock_leaves_no_gap_and_is_told(step_s: float) -> None:
    history = filled({A: 1.0}, {A: 2.0})
    assert history.append(103.0 + step_s, 3, {A: 3.0})
    assert not history.append(104.0 + step_s, 4, {A: 4.0})
    times, values = history.matrix()
    np.testing.assert_array_equal(values, [[1.0, 2.0, 3.0, 4.0]])
    assert times[-1] == 104.0 + step_s and np.all(np.diff(times) == 1.0)


@given(st.lists(st.integers(1, 3 * CAPACITY), min_size=1, max_size=12))
def test_it_holds_the_newest_ticks_and_no_more(gaps: list[int]) -> None:
    history = DemandHistory(1.0, CAPACITY, MOST_PAIRS)
    expected: list[float] = []
    beat = 0
    for number, gap in enumerate(gaps, 1):
        beat += gap
        history.append(float(beat), beat, {A: float(number)})
        expected += [np.nan] * (min(gap, CAPACITY) - 1 if expected else 0) + [float(number)]
    np.testing.assert_array_equal(history.matrix()[1][0], expected[-CAPACITY:])
    assert history.length == min(len(expected), CAPACITY)


def test_of_too_many_demands_the_largest_are_kept() -> None:
    history = DemandHistory(1.0, CAPACITY, most_pairs=2)
    history.append(1.0, 1, {A: 1.0, B: 5.0})
    for beat in range(2, CHOOSE_EVERY + 3):
        history.append(float(beat), beat, {A: 1.0, B: 5.0, C: 3.0})
        assert len(history.pairs) <= 2
    assert set(history.pairs) == {B, C}
    assert history.left_out == 1
    assert history.matrix()[1][history.pairs.index(B), 0] == 5.0, "a demand that stays keeps its samples"


def test_after_a_restart_it_goes_on_with_what_was_stored(tmp_path: Path) -> None:
    store = HistoryStore(f"sqlite:///{tmp_path / 'lockstitch.db'}", batch_s=0.0, waiting=1000)
    for second in range(1, 131):
        demands = {A: float(second)} if second < 100 else {A: float(second), B: 7.0}
        if second != 50:
            store.record(Rates(6000.0 + second, 1.0, demand_mbps=demands))
    assert store.flush()
    last_s = store.newest_s()
    assert last_s == 6130.0
    _, keys, values = store.read_panel(SeriesKind.DEMAND, last_s - CAPACITY, 1.0, last_s, 2)
    _, only, _ = store.read_panel(SeriesKind.DEMAND, last_s - CAPACITY, 1.0, last_s, 1)
    store.close()
    assert only == (A,), "the largest"
    history = DemandHistory(1.0, CAPACITY, MOST_PAIRS)
    history.remember(last_s, pairs_of(keys), values)
    assert (history.length, history.samples) == (130, 129), "nothing is remembered of the time before the first"
    assert not history.append(6133.0, 1, {A: 9.0})
    times, values = history.matrix()
    a, b = values[history.pairs.index(A)], values[history.pairs.index(B)]
    at = {second: int(np.flatnonzero(times == 6000.0 + second)[0]) for second in (49, 50, 99, 100, 130, 132, 133)}
    assert [a[at[n]] for n in (49, 99, 130, 133)] == [49.0, 99.0, 130.0, 9.0]
    assert np.isnan(a[[at[50], at[132]]]).all() and np.isnan(b[at[50]])
    assert [b[at[n]] for n in (99, 100)] == [0.0, 7.0]


def test_one_sample_of_a_clock_that_was_ahead_does_not_hide_the_others(tmp_path: Path) -> None:
    store = HistoryStore(f"sqlite:///{tmp_path / 'lockstitch.db'}", batch_s=0.0, waiting=1000)
    for time_s in (6001.0, 6002.0, 9999999.0):
        store.record(Rates(time_s, 1.0, demand_mbps={A: 1.0}))
    assert store.flush()
    assert (store.newest_s(), store.newest_s(6003.0)) == (9999999.0, 6002.0)
    store.close()


def test_the_newest_sample_is_found_also_where_its_minute_was_rolled_up_a_moment_ago(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'lockstitch.db'}"
    store = HistoryStore(url, batch_s=0.0, waiting=1000)
    for time_s in (6010.0, 6059.0, 6059.8):
        store.record(Rates(time_s, 1.0, demand_mbps={A: 1.0}))
    assert store.flush()
    store.close()
    database = Database(url, durable=False)
    roll_up(database, minute_of(6059.0))
    with database.reading("look") as connection:
        found = [newest_s(connection, until_s) for until_s in (6005.0, 6010.0, 6059.5, 6060.5)]
    database.close()
    assert found == [None, 6010.0, 6059.0, 6059.8]


def test_a_demand_that_is_gone_is_kept_as_long_as_a_sample_of_it_is() -> None:
    history = DemandHistory(1.0, capacity=100, most_pairs=10)
    history.append(1.0, 1, {A: 1.0, B: 2.0})
    for beat in range(2, 101):
        history.append(float(beat), beat, {A: 1.0})
    assert list(history.pairs) == [A, B]
    for beat in range(101, 102 + CHOOSE_EVERY):
        history.append(float(beat), beat, {A: 1.0})
    assert list(history.pairs) == [A] and np.isfinite(history.matrix()[1]).all()


def test_where_all_demands_are_gone_the_last_ones_stay() -> None:
    history = DemandHistory(1.0, capacity=100, most_pairs=10)
    history.append(1.0, 1, {A: 1.0})
    for beat in range(2, 300):
        history.append(float(beat), beat, {})
    assert history.pairs == (A,) and history.last_known().tolist() == [[0.0]]


def test_what_was_known_last_is_the_newest_sample_that_there_is() -> None:
    assert filled({A: 1.0, B: 4.0}, {A: 2.0, B: 3.0}, {B: 5.0}).last_known().tolist() == [[2.0], [5.0]]
