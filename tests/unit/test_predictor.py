"""The predictor goes on forecasting whatever becomes of its workers and its clock."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from forecasting import Calendar
from ryu_apps.events import (
    Alarm,
    ForecastStatus,
    ForecastStatusRequest,
    NetworkChanged,
    Outlook,
    OutlookReady,
    Rates,
    RatesMeasured,
    RecentLoadsRequest,
)
from ryu_apps.mode import Mode
from ryu_apps.predicting.demand_history import DemandHistory
from ryu_apps.predicting.fits import FIRST_FIT
from ryu_apps.predicting.forecast_worker import Surprise, Worker
from ryu_apps.predicting.scope import HORIZON, periods_ahead
from ryu_apps.predicting.track_record import DEMANDS, LOADS
from ryu_apps.predictor import PATIENT_NICE, Fitted, Foreseen, Predictor
from tests.unit.predictor_bench import ANSWER_S, FABRIC, A, B, OwnThread

SCOPE = periods_ahead(1.0)
LATE_PERIODS = SCOPE.late_steps


class Bench(OwnThread):
    def __init__(self, mode: Mode = Mode.PREDICTIVE) -> None:
        history = DemandHistory(1.0, SCOPE.kept, SCOPE.most_pairs)
        super().__init__(mode=mode, scope=SCOPE, calendar=Calendar(), history=history)

    def measure(self, beat: int, mbps: float | None = 5.0, clock_s: float = 0.0) -> None:
        """A period is over; None is a switch that answers late."""
        demands = {} if mbps is None else {(A, B): mbps}
        self.on_rates(RatesMeasured(Rates(1000.0 + beat + clock_s, 1.0, demand_mbps=demands, beat=beat)))

    def outlook(self) -> Outlook:
        told = self.told[-1]
        assert isinstance(told, OutlookReady)
        return told.outlook


def made(mode: Mode = Mode.PREDICTIVE) -> Bench:
    bench = Bench(mode)
    bench.on_network(FABRIC)
    return bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = made()
    yield bench
    bench._worker.end()
    bench._fitter.end()


def status_of(predictor: Predictor) -> ForecastStatus:
    """How its forecasts are doing, as the API asks."""
    request = ForecastStatusRequest()
    predictor.on_status_request(request)
    return request.future.result(0)


def failed(error: Exception) -> Future[Any]:
    """What a process answers that fails."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def kill(worker: Worker) -> None:
    """End a process as the kernel does that is short of memory."""
    assert worker._pool is not None
    (process,) = worker._pool._processes.values()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(ANSWER_S)


def test_it_forecasts_with_the_members_it_was_given_and_fits_at_leisure() -> None:
    history = DemandHistory(1.0, SCOPE.kept, SCOPE.most_pairs)
    predictor = Predictor(
        mode=Mode.PREDICTIVE, scope=SCOPE, calendar=Calendar(), history=history, members=("ewma",)
    )
    assert predictor._pool.members == ("last", "ewma")
    assert (predictor._worker._nice, predictor._fitter._nice) == (0, PATIENT_NICE)


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


def test_an_answer_that_is_late_does_not_empty_a_link() -> None:
    bench = made(Mode.REACTIVE)
    bench.measure(1, 9.9)
    bench.measure(2, None)
    outlook = bench.outlook()
    assert outlook.demands.mean.tolist() == [[9.9] * HORIZON]
    assert outlook.links.mean[:, 0].tolist() == [9.9, 0.0]


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
    monkeypatch.setattr(bench._worker, "look_ahead", lambda *_: failed(MemoryError("no room")))
    bench.measure(1, 5.0)
    bench.answered()
    bench.answered()
    outlook = bench.outlook()
    assert outlook.demands.mean.tolist() == [[5.0] * HORIZON] and outlook.demands.cold.all()
    monkeypatch.undo()
    bench.measure(2, 5.0)
    bench.answered()
    assert bench.outlook().time_s == 1002.0


def test_what_fails_for_ever_is_tried_ever_more_rarely_and_told_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    def broken(*_: object) -> Future[Any]:
        tries.append(bench._history.samples)
        return failed(MemoryError("no room"))

    with monkeypatch.context() as patched:
        patched.setattr(bench._worker, "look_ahead", broken)
        for beat in range(1, 200):
            bench.measure(beat, 5.0)
            while not bench.posted.empty():
                bench.answered()
            assert bench.outlook().time_s == 1000.0 + beat and bench.outlook().links.cold.all()
    assert tries == [1, 1, 2, 4, 8, 16, 32, 64, 124, 184]
    assert (status_of(bench).failures, status_of(bench).waited, status_of(bench).workers_lost) == (10, 198, 10)
    said = [record.getMessage() for record in caplog.records if "forecast=failed" in record.getMessage()]
    assert len(said) == 2 and all("no room" in line for line in said)
    for beat in range(200, 245):
        bench.measure(beat, 5.0)
    bench.answered()
    assert (status_of(bench).failures, status_of(bench).waited) == (0, 0) and not bench.outlook().links.cold.any()


def test_while_a_process_that_hangs_is_replaced_the_forecast_stays_late_and_its_answer_does_not_count(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Future[Any]] = []

    def hangs(*_: object) -> Future[Any]:
        asked.append(Future())
        return asked[-1]

    monkeypatch.setattr(bench._worker, "look_ahead", hangs)
    for beat in range(1, LATE_PERIODS + 4):
        bench.measure(beat)
    assert len(asked) == 2 and status_of(bench).waited == LATE_PERIODS + 2
    asked[0].set_result({})
    bench.answered()
    assert bench.told == [] and bench._asking is asked[1]


def test_a_process_that_never_answers_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench._worker, "look_ahead", lambda *_: Future())
    for beat in range(1, LATE_PERIODS + 2):
        bench.measure(beat)
    assert bench._record.workers_lost == 0 and status_of(bench).waited == LATE_PERIODS
    monkeypatch.undo()
    bench.measure(LATE_PERIODS + 2)
    bench.answered()
    assert bench._record.workers_lost == 1 and bench.outlook().samples == LATE_PERIODS + 2


def test_forecasts_are_compared_with_what_came(bench: Bench) -> None:
    rng = np.random.default_rng(0)
    for beat, mbps in enumerate(10 + rng.standard_normal(150), 1):
        bench.measure(beat, mbps)
        bench.answered()
    status = status_of(bench)
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
    monkeypatch.setattr(bench, "_look_ahead", lambda _: None)
    stored = np.full((1, SCOPE.kept), np.nan)
    stored[0, -30:] = 5.0
    bench._history.remember(1000.0, ((A, B),), stored)
    for beat in range(1, 1200):
        bench.measure(beat)
        bench._fits.running = None
    assert submitted == [40, 60, 90, 135, 203, 305, 458, 687, 1031]


def test_a_process_that_dies_over_a_fit_is_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_look_ahead", lambda _: None)
    for beat in range(1, FIRST_FIT + 1):
        bench.measure(beat)
    bench.answered(Fitted)
    assert bench._feeding.demands.parameters is not None
    kill(bench._fitter)
    bench._feeding.demands.parameters = None
    for beat in range(FIRST_FIT + 1, 4 * FIRST_FIT):
        bench.measure(beat)
        if bench._fits.running is not None:
            bench.answered(Fitted)
    assert bench._feeding.demands.parameters is not None


def test_a_fit_that_hangs_is_ended_told_and_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[int] = []

    def hangs(*_: object) -> Future[Any]:
        submitted.append(bench._history.samples)
        return Future()

    monkeypatch.setattr(bench, "_look_ahead", lambda _: None)
    monkeypatch.setattr(bench._fitter, "fit", hangs)
    ended: list[bool] = []
    monkeypatch.setattr(bench._fitter, "end", lambda: ended.append(True))
    late = FIRST_FIT + SCOPE.late_fit_steps
    for beat in range(1, late + 1):
        bench.measure(beat)
    assert (status_of(bench).fit_failures, ended) == (0, [])
    for beat in range(late + 1, late + 2 + FIRST_FIT):
        bench.measure(beat)
    assert (status_of(bench).fit_failures, ended) == (1, [True]) and submitted == [FIRST_FIT, late + 1 + FIRST_FIT]


def test_what_a_link_carried_lately_ends_where_its_forecast_begins(bench: Bench) -> None:
    for beat in range(1, 6):
        bench.measure(beat, float(beat))
        if beat == 3:
            while bench._asking is not None:
                bench.answered()
    made_s = bench.outlook().time_s
    assert made_s == 1003.0
    request = RecentLoadsRequest(((1, 2, 2, 1),), 2, made_s)
    bench.on_recent_request(request)
    assert request.future.result(0).tolist() == [[2.0, 3.0]]


def test_a_surprise_is_an_alarm_of_the_moment_it_came(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.measure(1)
    asked = bench.posted.get(timeout=ANSWER_S)
    assert isinstance(asked, Foreseen)
    seen = asked.result.result()
    surprised = replace(seen[LOADS], surprises=(Surprise(997.0, "a>b", 33.0),))
    monkeypatch.setattr(asked.result, "result", lambda: {**seen, LOADS: surprised})
    bench.on_foreseen(asked)
    assert status_of(bench).alarms == (Alarm(997.0, LOADS, "a>b", 33.0),)
    assert "anomaly=loads series=a>b surprise_bits=33" in caplog.text


def test_outcomes_are_counted_at_their_step_and_only_of_the_demands_and_links_they_were_forecast_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.measure(1)
    bench.answered()
    counted: list[tuple[str, int]] = []
    monkeypatch.setattr(bench._record, "count", lambda kind, step, _: counted.append((kind, step)))
    monkeypatch.setattr(bench._worker, "look_ahead", lambda *_: Future())
    for beat in (2, 3):
        bench.measure(beat)
    assert counted == [(DEMANDS, 1), (LOADS, 1), (DEMANDS, 2), (LOADS, 2)]
    counted.clear()
    bench.on_network(NetworkChanged(bench._routes._network))
    bench.measure(4)
    assert counted == [(DEMANDS, 3)], "the links may carry others now"
    counted.clear()
    bench.on_rates(RatesMeasured(Rates(1005.0, 1.0, demand_mbps={(A, B): 5.0, (B, A): 5.0}, beat=5)))
    assert counted == []
