"""The history gives back what was measured, tells zero from missing, and never holds up who measures."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from ryu_apps.events import Rates
from ryu_apps.store import HistoryStore, Resolution, Retention, SeriesKind, StoreError, rollup
from ryu_apps.store.engine import Database
from ryu_apps.store.samples import SeriesKey, key_of, key_text, minute_of

T0 = 1_790_000_040.0
"""The start of a minute."""

KEEP = Retention()
PORT = (1, 2)
PAIR = ("02:00:00:00:00:0a", "02:00:00:00:00:0b")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lockstitch.db"


@pytest.fixture
def history(file: Path) -> Iterator[HistoryStore]:
    opened = open_history(file)
    yield opened
    opened.close()


def open_history(file: Path, retention: Retention = KEEP, waiting: int = 10_000) -> HistoryStore:
    return HistoryStore(f"sqlite:///{file}", retention=retention, batch_s=0.0, waiting=waiting)


def record(history: HistoryStore, first: int, *values: float | None) -> None:
    """A second each, for one port; None is a second in which it was not measured."""
    for second, mbps in enumerate(values, first):
        history.record(Rates(T0 + second, 1.0, {} if mbps is None else {PORT: mbps}))
        # A transaction each second, as in life: what is over is rolled up between them.
        if second % 60 == 0:
            assert history.flush()
    assert history.flush()


def read(
    history: HistoryStore, after: int, until: int, resolution: Resolution = Resolution.RAW, key: SeriesKey = PORT
) -> dict[float, float]:
    kind = SeriesKind.PORT if key == PORT else SeriesKind.DEMAND if key == PAIR else SeriesKind.STITCH
    times, values = history.read(kind, key, T0 + after, T0 + until, resolution)
    return dict(zip((times - T0).tolist(), values.tolist(), strict=True))


class DiesAfter:
    """A database whose process dies after so many transactions that write."""

    def __init__(self, database: Database, writes: int) -> None:
        self.reading, self._database, self._left = database.reading, database, writes

    def writing(self, doing: str) -> AbstractContextManager[Connection]:
        if self._left == 0:
            raise StoreError("killed")
        self._left -= 1
        return self._database.writing(doing)


# one series ----------------------------------------------------------------------------------------------


def test_what_was_recorded_is_read_back(history: HistoryStore) -> None:
    record(history, 1, 1.0, 2.5, 4.0)
    assert read(history, 0, 100) == {1: 1.0, 2: 2.5, 3: 4.0}
    assert read(history, 1, 2) == {2: 2.5}


def test_zero_is_zero_and_missing_is_missing_before_and_after_the_roll_up(history: HistoryStore) -> None:
    record(history, 1, 0.0, None, 0.0, 0.0, 5.0, None)
    expected = {1: 0.0, 3: 0.0, 4: 0.0, 5: 5.0}
    assert read(history, 0, 60) == expected
    record(history, 61, *([0.0] * 60), 1.0)
    assert read(history, 0, 60) == expected
    assert read(history, 60, 122) == dict.fromkeys(range(61, 121), 0.0) | {121: 1.0}


def test_all_kinds_of_series_are_kept(history: HistoryStore) -> None:
    history.record(Rates(T0 + 1, 1.0, {PORT: 1.0}, {PORT: 9.0}, {PORT: 9.0}, {PAIR: 2.0}, {7: 3.0}))
    assert history.flush()
    assert [read(history, 0, 1, key=key) for key in (PORT, PAIR, 7)] == [{1: 1.0}, {1: 2.0}, {1: 3.0}]


def test_a_series_nobody_knows_is_empty(history: HistoryStore) -> None:
    record(history, 1, 1.0)
    assert read(history, 0, 10, key=99) == {}


def test_minutes_have_the_mean_and_the_highest_of_what_was_measured(history: HistoryStore) -> None:
    record(history, 1, *([2.0, 4.0, None] * 20), 7.0, 9.0)
    assert read(history, 0, 120, Resolution.MINUTE_MEAN) == {60: 3.0, 120: 8.0}
    assert read(history, 0, 120, Resolution.MINUTE_MAX) == {60: 4.0, 120: 9.0}


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_roll_up_that_is_killed_half_way_loses_nothing_and_is_done_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, again: bool, writes: int
) -> None:
    monkeypatch.setattr(rollup, "BATCH", 5)
    history = open_history(file)
    expected = {}
    for moment, mbps in ((1.0, 1.0), (2.0, 2.0)) if not again else ((1.0, 1.0), (70.0, 3.0), (2.0, 2.0)):
        others = {(9, number): 1.0 for number in range(6)}
        history.record(Rates(T0 + moment, 1.0, others | {PORT: mbps}))
        assert history.flush()
        expected[moment] = mbps
    database = Database(f"sqlite:///{file}", durable=False)
    with contextlib.suppress(StoreError):
        rollup.roll_up(cast("Database", DiesAfter(database, writes)), minute_of(T0 + 1.0))
    assert read(history, 0, 100) == expected
    rollup.roll_up(database, minute_of(T0 + 1.0))
    assert read(history, 0, 100) == expected
    database.close()
    history.close()


def test_a_sample_out_of_order_finds_its_minute_though_that_is_rolled_up(history: HistoryStore) -> None:
    record(history, 1, *([1.0] * 130))
    history.record(Rates(T0 + 30.5, 1.0, {PORT: 11.0}))
    record(history, 131, *([1.0] * 60))
    assert len(read(history, 0, 60)) == 61
    assert read(history, 30, 31)[30.5] == 11.0
    assert read(history, 0, 60, Resolution.MINUTE_MAX) == {60: 11.0}


@pytest.mark.parametrize(("time_s", "start_s"), [(0.5, 0), (60.0, 0), (60.001, 60), (120.0, 60)])
def test_a_sample_belongs_to_the_minute_its_period_ended_in(time_s: float, start_s: int) -> None:
    assert minute_of(time_s) == start_s


@pytest.mark.parametrize(
    ("kind", "key"),
    [(SeriesKind.PORT, ((1 << 64) - 1, 5)), (SeriesKind.DEMAND, PAIR), (SeriesKind.STITCH, 4_000_000_000)],
)
def test_keys_come_back_as_they_were(kind: SeriesKind, key: SeriesKey) -> None:
    assert key_of(kind, key_text(key)) == key


# panels --------------------------------------------------------------------------------------------------


def test_a_panel_is_an_even_grid_with_nan_where_nothing_was_measured(history: HistoryStore) -> None:
    history.record(Rates(T0 + 1, 1.0, demand_mbps={PAIR: 1.0}))
    history.record(Rates(T0 + 2, 1.0, demand_mbps={PAIR: 3.0, ("x", "y"): 0.0}))
    history.record(Rates(T0 + 4, 1.0, demand_mbps={("x", "y"): 6.0}))
    assert history.flush()
    times, keys, values = history.read_panel(SeriesKind.DEMAND, T0, 1.0)
    assert (times - T0).tolist() == [1, 2, 3, 4]
    assert keys == (PAIR, ("x", "y"))
    np.testing.assert_array_equal(values, [[1, 3, np.nan, np.nan], [np.nan, 0, np.nan, 6]])
    _, _, coarse = history.read_panel(SeriesKind.DEMAND, T0, 2.0)
    np.testing.assert_array_equal(coarse, [[2, np.nan], [0, 6]])


def test_a_panel_goes_on_from_the_rolled_up_into_the_fresh(history: HistoryStore) -> None:
    record(history, 1, *(float(second) for second in range(1, 151)))
    times, _, values = history.read_panel(SeriesKind.PORT, T0 + 100, 1.0)
    np.testing.assert_array_equal(times, T0 + np.arange(101, 151))
    np.testing.assert_array_equal(values, [np.arange(101, 151)])
    times, _, values = history.read_panel(SeriesKind.PORT, T0, 60.0)
    np.testing.assert_array_equal(times, T0 + np.array([60, 120, 180]))
    np.testing.assert_allclose(values, [[30.5, 90.5, 135.5]])


def test_a_panel_of_nothing_is_empty(history: HistoryStore) -> None:
    times, keys, values = history.read_panel(SeriesKind.PORT, T0, 1.0)
    assert (times.shape, keys, values.shape) == ((0,), (), (0, 0))


def test_a_step_must_be_above_zero(history: HistoryStore) -> None:
    with pytest.raises(ValueError, match="step_s is 0"):
        history.read_panel(SeriesKind.PORT, T0, 0)


@given(
    samples=st.lists(st.none() | st.floats(0, 1e5, width=32), min_size=1, max_size=150),
    start=st.integers(0, 59),
)
@settings(max_examples=15, deadline=None)
def test_any_series_comes_back_whole(
    tmp_path_factory: pytest.TempPathFactory, samples: list[float | None], start: int
) -> None:
    history = open_history(tmp_path_factory.mktemp("history") / "lockstitch.db")
    record(history, start + 1, *samples)
    expected = {second: mbps for second, mbps in enumerate(samples, start + 1) if mbps is not None}
    assert read(history, start, start + len(samples)) == expected
    _, keys, values = history.read_panel(SeriesKind.PORT, T0 + start, 1.0, T0 + start + len(samples))
    if expected:
        assert keys == (PORT,)
        np.testing.assert_array_equal(values[0], [np.nan if mbps is None else mbps for mbps in samples])
    history.close()


# restarts and retention ----------------------------------------------------------------------------------


def test_close_writes_what_waits_and_a_restart_goes_on_in_the_same_minute(file: Path) -> None:
    first = HistoryStore(f"sqlite:///{file}", batch_s=3600.0)
    first.record(Rates(T0 + 1, 1.0, {PORT: 1.0}))
    first.record(Rates(T0 + 2, 1.0, {PORT: 3.0}))
    first.close()
    second = open_history(file)
    record(second, 3, *([2.0] * 60))
    assert read(second, 0, 3) == {1: 1.0, 2: 3.0, 3: 2.0}
    assert read(second, 0, 60, Resolution.MINUTE_MAX) == {60: 3.0}
    second.close()


def test_raw_samples_go_first_then_their_minutes_then_their_series(file: Path) -> None:
    history = open_history(file, Retention(raw_s=600.0, minutes_s=1800.0))
    other = (9, 9)
    for minute in range(1, 150):
        mbps = {PORT: 1.0, other: 2.0} if minute <= 2 else {other: 2.0}
        history.record(Rates(T0 + minute * 60, 1.0, mbps))
        # The last two hours prove the turns: every series has had its own.
        assert history.flush()
        if minute == 20:
            kept = read(history, 0, 2000, Resolution.MINUTE_MEAN)
    assert kept == {60: 1.0, 120: 1.0}
    assert read(history, 0, 10_000) == read(history, 0, 10_000, Resolution.MINUTE_MEAN) == {}
    times, values = history.read(SeriesKind.PORT, other, T0, T0 + 10_000)
    assert times[0] - T0 >= 149 * 60 - 600 - 60
    assert set(values.tolist()) == {2.0}
    history.close()
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT key FROM series").fetchall() == [(key_text(other),)]
    (oldest,) = connection.execute("SELECT min(minute_s) FROM minutes").fetchone()
    assert oldest - T0 >= 149 * 60 - 1800 - 3660
    connection.close()


# a disk that does not take it ---------------------------------------------------------------------------


def test_a_disk_that_refuses_costs_samples_and_nothing_else(
    history: HistoryStore, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(history, 1, 1.0)
    blocker = sqlite3.connect(file)
    blocker.execute(
        "CREATE TRIGGER full BEFORE INSERT ON frames BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    history.record(Rates(T0 + 2, 1.0, {PORT: 2.0, (5, 5): 1.0}))
    assert history.flush()
    assert history.dropped == 1
    assert "history=dropping error=cannot write history in" in caplog.text
    assert "free some space" in caplog.text
    blocker.execute("DROP TRIGGER full")
    blocker.close()
    history.record(Rates(T0 + 3, 1.0, {PORT: 3.0, (5, 5): 1.0}))
    assert history.flush()
    assert read(history, 0, 10) == {1: 1.0, 3: 3.0}
    assert "writing again" in caplog.text


def test_a_locked_file_never_holds_up_who_measures_and_the_oldest_is_dropped(file: Path) -> None:
    history = open_history(file, waiting=5)
    record(history, 1, 1.0)
    blocker = sqlite3.connect(file, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    began_s = time.perf_counter()
    for second in range(2, 52):
        history.record(Rates(T0 + second, 1.0, {PORT: float(second)}))
    assert time.perf_counter() - began_s < 1.0
    assert read(history, 0, 100) == {1: 1.0}
    blocker.execute("ROLLBACK")
    blocker.close()
    assert history.flush(30.0)
    kept = read(history, 0, 100)
    assert history.dropped == 51 - len(kept)
    assert [kept[second] for second in range(47, 52)] == [47.0, 48.0, 49.0, 50.0, 51.0]
    history.close()


def test_a_file_that_is_no_database_is_refused(file: Path) -> None:
    file.write_bytes(b"dear diary " * 1000)
    with pytest.raises(StoreError, match="not a database"):
        open_history(file)
