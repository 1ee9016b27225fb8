"""The outlook over a day is made of means, begins with what was stored, and makes no stitch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from forecasting import Calendar
from ryu_apps.day_predictor import DayPredictor, Recalled
from ryu_apps.events import Outlook, OutlookReady, OutlookRequest, Rates, RatesMeasured
from ryu_apps.predicting.fits import FIRST_FIT
from ryu_apps.predicting.scope import day_ahead
from ryu_apps.predictor import Fitted, Foreseen, Predictor
from ryu_apps.store import HistoryStore
from tests.unit.predictor_bench import FABRIC, A, B, OwnThread
from tests.unit.test_predictor import kill, status_of

START_S = 1_700_000_100.0
"""On a whole minute."""

# A day of twelve steps, each of two periods: little work for the process.
PERIOD_S, DAY_S = 30.0, 720.0
_SCOPE = day_ahead(PERIOD_S, DAY_S)
assert _SCOPE is not None
SCOPE = _SCOPE


class Bench(OwnThread, DayPredictor):
    def __init__(self, stored: str | None = None, wait_s: float = 0.0) -> None:
        calendar, members = Calendar(day_s=DAY_S), ("last", "ewma")
        super().__init__(scope=SCOPE, calendar=calendar, members=members, stored=stored, wait_s=wait_s)

    def measure(self, beat: int, mbps: float) -> None:
        time_s = START_S + PERIOD_S * beat
        self.on_rates(RatesMeasured(Rates(time_s, PERIOD_S, demand_mbps={(A, B): mbps}, beat=beat)))

    def outlook(self) -> Outlook | None:
        request = OutlookRequest()
        self.on_request(request)
        return request.future.result(0)


def made(stored: str | None = None, wait_s: float = 0.0) -> Bench:
    bench = Bench(stored, wait_s)
    bench.on_network(FABRIC)
    return bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = made()
    yield bench
    bench._worker.end()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with 21 minutes of a demand of 5 Mbit/s up to START_S."""
    url = f"sqlite:///{tmp_path_factory.mktemp('stored') / 'lockstitch.db'}"
    store = HistoryStore(url, waiting=1000)
    for minute in range(-20, 1):
        store.record(Rates(START_S + 60.0 * minute, 60.0, demand_mbps={(A, B): 5.0}))
    assert store.flush()
    store.close()
    return url


def test_it_looks_a_day_ahead_from_the_means_of_steps_and_tells_nobody_unasked(bench: Bench) -> None:
    assert bench.outlook() is None
    bench.measure(1, 2.0)
    assert bench._worker._pool is None, "nothing is done in the middle of a step"
    bench.measure(2, 4.0)
    bench.answered(Foreseen)
    outlook = bench.outlook()
    assert outlook is not None
    assert (outlook.time_s, outlook.demands.step_s) == (START_S + 60.0, 60.0)
    assert outlook.demands.mean.tolist() == [[3.0] * SCOPE.horizon]
    assert bench.told == [], "the trigger of stitches looks at the other outlook"


def test_no_app_can_subscribe_to_it() -> None:
    assert OutlookReady in Predictor._EVENTS and OutlookReady not in DayPredictor._EVENTS


def test_one_process_forecasts_and_fits(bench: Bench) -> None:
    for beat in range(1, 2 * FIRST_FIT + 1):
        bench.measure(beat, 5.0)
        if beat % SCOPE.periods == 0:
            bench.answered(Foreseen)
    bench.answered(Fitted)
    assert bench._feeding.demands.parameters is not None
    assert bench._fitter is bench._worker
    status = status_of(bench)
    assert (status.workers_lost, status.alarms) == (0, ())


def test_a_process_that_dies_takes_its_fit_along_and_both_are_made_again(bench: Bench) -> None:
    bench.measure(1, 5.0)
    bench.measure(2, 5.0)
    bench.answered(Foreseen)
    bench._fits.running = Future()
    kill(bench._worker)
    bench.measure(3, 5.0)
    bench.measure(4, 5.0)
    while (outlook := bench.outlook()) is None or outlook.time_s != START_S + 120.0:
        bench.answered(Foreseen)
    assert bench._record.workers_lost == 1
    assert bench._fits.running is None and bench._fits.due_at == bench._history.samples + FIRST_FIT


def test_after_a_restart_there_is_an_outlook_at_once_from_what_was_stored(stored: str) -> None:
    bench = made(stored)
    try:
        bench.measure(1, 5.0)
        bench.answered(Recalled)
        assert bench._history.length == 21 and np.nanmin(bench._history.matrix()[1]) == 5.0
        bench.answered(Foreseen)
        outlook = bench.outlook()
        assert outlook is not None and outlook.time_s == START_S and outlook.samples == 21
        assert outlook.demands.mean == pytest.approx(np.full((1, SCOPE.horizon), 5.0))
        bench.measure(2, 5.0)
        assert bench._history.length == 22
    finally:
        bench._worker.end()


def test_steps_that_end_while_the_past_is_read_are_not_lost(stored: str) -> None:
    bench = made(stored)
    try:
        for beat in (1, 2):
            bench.measure(beat, 9.0)
        assert bench._history.length == 0
        bench.answered(Recalled)
        assert (bench._history.length, bench._history.newest().tolist()) == (22, [[9.0]])
    finally:
        bench._worker.end()


def test_it_does_not_read_while_the_controller_starts_and_loses_no_step_over_that(stored: str) -> None:
    bench = made(stored, wait_s=0.5 * PERIOD_S)
    try:
        bench.measure(1, 9.0)
        assert not bench._worker.pids and bench._history.length == 0
        bench.measure(2, 9.0)
        bench.answered(Recalled)
        assert bench._history.length > 21 and bench._history.newest().tolist() == [[9.0]]
    finally:
        bench._worker.end()


def test_a_past_that_cannot_be_read_is_done_without(tmp_path: Path) -> None:
    bench = made(f"sqlite:///{tmp_path / 'nowhere' / 'lockstitch.db'}")
    try:
        for beat in (1, 2):
            bench.measure(beat, 9.0)
        bench.answered(Recalled)
        bench.answered(Foreseen)
        outlook = bench.outlook()
        assert outlook is not None and outlook.samples == 1
    finally:
        bench._worker.end()


def test_a_past_that_takes_too_long_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = made("sqlite:///slow.db")
    monkeypatch.setattr(bench._worker, "recall", lambda *_: Future())
    monkeypatch.setattr(bench, "_look_ahead", lambda _: None)
    for beat in range(1, 5):
        bench.measure(beat, 9.0)
    assert bench._history.length == 2
