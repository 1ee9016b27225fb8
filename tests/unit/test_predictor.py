"""The predictor goes on forecasting whatever becomes of its workers and its clock."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from forecasting import Calendar
from ryu_apps.app import Event
from ryu_apps.demand_history import DemandHistory
from ryu_apps.events import NetworkChanged, Outlook, OutlookReady, Rates, RatesMeasured
from ryu_apps.forecast_worker import Worker
from ryu_apps.predictor import FIRST_FIT, Fitted, Foreseen, Mode, Predictor
from ryu_apps.scope import HORIZON, periods_ahead
from stitching.network import Host, Link, Network

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
SCOPE = periods_ahead(1.0)
LATE_PERIODS = SCOPE.late_steps
ANSWER_S = 60.0
"""A process needs a second or two to start; a busy machine more."""


class Bench(Predictor):
    """A predictor on the test's own thread: events to itself wait until the test hands them in."""

    def __init__(self, mode: Mode = Mode.PREDICTIVE) -> None:
        self.told: list[Event] = []
        self.posted: queue.Queue[Event] = queue.Queue()
        history = DemandHistory(1.0, SCOPE.kept, SCOPE.most_pairs)
        super().__init__(mode=mode, scope=SCOPE, calendar=Calendar(), history=history)

    def publish(self, occurred: Event) -> None:
        self.told.append(occurred)

    def post(self, occurred: Event) -> None:
        self.posted.put(occurred)

    def measure(self, beat: int, mbps: float = 5.0, clock_s: float = 0.0) -> None:
        self.on_rates(RatesMeasured(Rates(1000.0 + beat + clock_s, 1.0, demand_mbps={(A, B): mbps}, beat=beat)))

    def answered(self, kind: type[Event] = Foreseen) -> None:
        """Hand in what the processes say, up to the next event of this kind."""
        while True:
            event = self.posted.get(timeout=ANSWER_S)
            if isinstance(event, Foreseen):
                self.on_foreseen(event)
            elif isinstance(event, Fitted):
                self.on_fitted(event)
            if isinstance(event, kind):
                return

    def outlook(self) -> Outlook:
        told = self.told[-1]
        assert isinstance(told, OutlookReady)
        return told.outlook


def made(mode: Mode = Mode.PREDICTIVE) -> Bench:
    bench = Bench(mode)
    links = {key: Link(key, 10.0, 1.0) for key in ((1, 2, 2, 1), (2, 1, 1, 2))}
    bench.on_network(NetworkChanged(Network({1: {}, 2: {}}, links, {A: Host(A, 1, 10), B: Host(B, 2, 10)})))
    return bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = made()
    yield bench
    bench._worker.end()
    bench._fitter.end()


def kill(worker: Worker) -> None:
    """End a process as the kernel does that is short of memory."""
    assert worker._pool is not None
    (process,) = worker._pool._processes.values()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(ANSWER_S)


def test_a_demand_is_on_the_links_of_its_way(bench: Bench) -> None:
    bench.measure(1, 5.0)
    bench.answered()
    outlook = bench.outlook()
    load = dict(zip(outlook.link_keys, outlook.links.mean[:, 0].tolist(), strict=True))
    assert load == {(1, 2, 2, 1): 5.0, (2, 1, 1, 2): 0.0}


def test_in_reactive_mode_all_stays_as_it_is_and_no_process_is_needed() -> None:
    bench = made(Mode.REACTIVE)
    bench.measure(1, 5.0)
    assert bench.outlook().demands.mean.tolist() == [[5.0] * HORIZON]
    assert bench._worker._pool is None


@pytest.mark.parametrize("step_s", [-7200.0, 7200.0])
def test_a_step_of_the_clock_does_not_stop_the_forecast(bench: Bench, step_s: float) -> None:
    for beat in range(1, 6):
        bench.measure(beat, 1.0)
        bench.answered()
    for beat in range(6, 12):
        bench.measure(beat, 9.0, step_s)
        bench.answered()
    outlook = bench.outlook()
    assert outlook.time_s == 1011.0 + step_s
    assert outlook.demands.mean[0, 0] > 5.0, "the samples after the step count"


def test_samples_that_come_while_a_forecast_is_made_are_in_the_next_one(bench: Bench) -> None:
    bench.measure(1, 1.0)
    for beat in range(2, 6):
        bench.measure(beat, 9.0)
    bench.answered()
    assert (bench.outlook().time_s, bench.outlook().samples) == (1001.0, 1)
    bench.answered()
    assert (bench.outlook().time_s, bench.outlook().samples) == (1005.0, 5)
    assert bench.outlook().demands.mean[0, 0] > 5.0


def test_a_process_that_dies_over_a_forecast_is_replaced_and_the_period_is_not_lost(bench: Bench) -> None:
    for beat in range(1, 30):
        bench.measure(beat, 5.0)
        bench.answered()
    alone = bench.outlook()
    kill(bench._worker)
    bench.measure(30, 5.0)
    # It may be noticed as soon as it is asked, or when it does not answer.
    while bench.outlook().time_s != 1030.0:
        bench.answered()
    outlook = bench.outlook()
    assert outlook.time_s == 1030.0 and outlook.demands.mean == pytest.approx(alone.demands.mean)
    assert not outlook.demands.cold.any(), "the new process was given the history"
    assert bench._record.workers_lost == 1


def test_when_no_process_lives_long_enough_it_says_what_is_and_is_not_sure_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(MemoryError("no room"))
        return future

    monkeypatch.setattr(bench._worker, "look_ahead", broken)
    bench.measure(1, 5.0)
    bench.answered()
    bench.answered()
    outlook = bench.outlook()
    assert outlook.demands.mean.tolist() == [[5.0] * HORIZON] and outlook.demands.cold.all()
    monkeypatch.undo()
    bench.measure(2, 5.0)
    bench.answered()
    assert bench.outlook().time_s == 1002.0


def test_a_process_that_never_answers_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench._worker, "look_ahead", lambda *_: Future())
    for beat in range(1, LATE_PERIODS + 2):
        bench.measure(beat)
    assert bench._record.workers_lost == 0 and bench._record.status(bench._waited).waited == LATE_PERIODS
    monkeypatch.undo()
    bench.measure(LATE_PERIODS + 2)
    bench.answered()
    assert bench._record.workers_lost == 1 and bench.outlook().samples == LATE_PERIODS + 2


def test_forecasts_are_compared_with_what_came(bench: Bench) -> None:
    rng = np.random.default_rng(0)
    for beat, mbps in enumerate(10 + rng.standard_normal(150), 1):
        bench.measure(beat, mbps)
        bench.answered()
    status = bench._record.status(bench._waited)
    assert 130 < status.demand_outcomes < 150, "not while it is cold"
    assert status.demands[0.5] < status.demands[0.8] < status.demands[0.95]
    assert 0.65 < status.demands[0.8] < 0.95
    # What is on the one link is the same; the other is idle, and that is no merit.
    assert status.load_outcomes == status.demand_outcomes


def test_fits_grow_rare_as_samples_grow_many_also_after_a_restart(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[int] = []

    def fit(*_: object) -> Future[Any]:
        submitted.append(bench._history.samples)
        return Future()

    monkeypatch.setattr(bench._fitter, "fit", fit)
    monkeypatch.setattr(bench, "_look_ahead", lambda: None)
    stored = np.full((1, SCOPE.kept), np.nan)
    stored[0, -30:] = 5.0
    bench._history.remember(1000.0, ((A, B),), stored)
    for beat in range(1, 1200):
        bench.measure(beat)
        bench._fit = None
    assert submitted == [40, 60, 90, 135, 203, 305, 458, 687, 1031]


def test_a_process_that_dies_over_a_fit_is_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_look_ahead", lambda: None)
    for beat in range(1, FIRST_FIT + 1):
        bench.measure(beat)
    bench.answered(Fitted)
    assert bench._demands.parameters is not None
    kill(bench._fitter)
    bench._demands.parameters = None
    for beat in range(FIRST_FIT + 1, 4 * FIRST_FIT):
        bench.measure(beat)
        if bench._fit is not None:
            bench.answered(Fitted)
    assert bench._demands.parameters is not None
