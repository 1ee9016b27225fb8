"""The processes of the forecast end when they are told to, whatever they do, and errors come through whole."""

from __future__ import annotations

import os
import pickle
import signal
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest

from forecasting import Calendar, Forecast, Forecaster, Panel
from forecasting.errors import UnknownSeries
from forecasting.training import NeuralMissing
from ryu_apps.forecasts.errors import BadSeries
from ryu_apps.predicting import forecast_worker
from ryu_apps.predicting.forecast_worker import News, Pool, Worker
from ryu_apps.predicting.outcomes import Outcomes
from tests.system.waiting import wait_until

POOL = Pool(2, ("last",), Calendar(day_s=None))
HISTORY = News(history=Panel(np.arange(5.0), np.ones((1, 5)), ("a",), 1.0))


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_process_that_hangs_ends_when_it_is_ended() -> None:
    worker = Worker()
    worker.look_ahead(POOL, {"demands": HISTORY}).result(timeout=60)
    (pid,) = worker.pids
    os.kill(pid, signal.SIGSTOP)
    worker.end()
    wait_until(lambda: gone(pid), 10.0, "it still hangs")


def test_control_c_in_the_terminal_is_not_for_it() -> None:
    worker = Worker()
    try:
        worker.look_ahead(POOL, {"demands": HISTORY}).result(timeout=60)
        os.kill(worker.pids[0], signal.SIGINT)
        assert worker.look_ahead(POOL, {"demands": News()}).result(timeout=60)["demands"].forecast.horizon == 2
    finally:
        worker.end()


def test_it_is_told_how_a_process_ended() -> None:
    worker = Worker()
    worker.look_ahead(POOL, {"demands": HISTORY}).result(timeout=60)
    os.kill(worker.pids[0], signal.SIGKILL)
    with pytest.raises(BrokenProcessPool) as broken:
        worker.look_ahead(POOL, {"demands": News()}).result(timeout=60)
    assert worker.why(broken.value) == "its process was killed (SIGKILL): out of memory?"
    assert worker.why(ValueError("a day of 1e300 s")) == "ValueError('a day of 1e300 s')"
    worker.end()


def test_a_process_gives_way_as_far_as_it_was_told_to() -> None:
    worker = Worker(nice=5)
    try:
        worker.look_ahead(POOL, {"demands": HISTORY}).result(timeout=60)
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, worker.pids[0]) == min(own + 5, 19)
    finally:
        worker.end()


def noisy(samples: int) -> Panel:
    """A level with noise: its mean is a better forecast than its last value."""
    values = 100.0 + np.random.default_rng(0).standard_normal((1, samples))
    return Panel(np.arange(float(samples)), values, ("a",), 1.0)


def test_a_process_forecasts_with_what_another_one_fitted() -> None:
    pool, panel = Pool(2, ("last", "ridge"), Calendar(day_s=None)), noisy(300)
    worker, fitter = Worker(), Worker()
    try:
        before = worker.look_ahead(pool, {"a": News(history=panel)}).result(timeout=60)["a"].forecast.mean
        (fitted,) = fitter.fit(pool, [panel]).result(timeout=60)
        after = worker.look_ahead(pool, {"a": News(parameters=fitted)}).result(timeout=60)["a"].forecast.mean
    finally:
        worker.end()
        fitter.end()
    alone = Forecaster(2, members=pool.members, calendar=pool.calendar, replayed=forecast_worker._REPLAYED)
    alone.load(panel, fitted)
    assert after == pytest.approx(alone.predict().mean) and after != pytest.approx(before)


def test_a_surprise_is_of_the_sample_that_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_worker, "_forecasters", {})
    look_ahead = forecast_worker._look_ahead
    assert look_ahead(POOL, {"loads": News(history=noisy(300))})["loads"].surprises == ()
    times, values = (300.0, 301.0, 303.0, 304.0), np.array([[100.0, 101.0, 500.0, 100.0]])
    (surprise,) = look_ahead(POOL, {"loads": News(times=times, values=values)})["loads"].surprises
    assert (surprise.time_s, surprise.name) == (303.0, "a") and surprise.bits > 20


@pytest.mark.parametrize(
    "error", [NeuralMissing(), UnknownSeries("a", ["aa", "b"]), BadSeries(Path("f"), "is empty", "give another")]
)
def test_an_error_comes_from_a_process_as_it_was_raised(error: Exception) -> None:
    came = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert (type(came), str(came)) == (type(error), str(error))


def test_while_nothing_is_counted_what_came_true_stays_as_it_was() -> None:
    outcomes = Outcomes()
    levels = (0.01, 0.5, 0.99)
    quantiles = np.tile([9.0, 10.0, 11.0], (2, 1, 1))
    forecast = Forecast(("a", "b"), 1.0, levels, quantiles[:, :, 1], quantiles, np.zeros(2, dtype=np.bool_))
    outcomes.count(forecast, 1, np.array([10.0, 20.0]))
    before = outcomes.shares()
    for _ in range(10_000):
        outcomes.count(forecast, 1, np.array([np.nan, np.nan]))
    outcomes.count(forecast, 1, np.array([20.0, np.nan]))
    assert before[0.95] == 0.5 and outcomes.shares()[0.95] == pytest.approx(1 / 3, rel=0.01)


def sure(*series: tuple[float, float, float]) -> Forecast:
    """Quantiles 0.01, 0.5 and 0.99 of each series, at two steps; those of the second are 100 higher."""
    quantiles = np.stack([np.array(series), np.array(series) + 100.0], axis=1)
    names = tuple(str(row) for row in range(len(series)))
    return Forecast(names, 1.0, (0.01, 0.5, 0.99), quantiles[:, :, 1], quantiles, np.zeros(len(series), np.bool_))


def test_an_outcome_is_held_against_what_was_said_of_its_step() -> None:
    outcomes = Outcomes()
    outcomes.count(sure((9.0, 10.0, 11.0)), 2, np.array([110.0]))
    assert outcomes.shares()[0.95] == 1.0
    outcomes.count(sure((9.0, 10.0, 11.0)), 2, np.array([10.0]))
    assert outcomes.shares()[0.95] < 1.0


def test_what_came_true_long_ago_counts_less() -> None:
    outcomes = Outcomes()
    for value in [20.0] * 2000 + [10.0] * 2000:
        outcomes.count(sure((9.0, 10.0, 11.0)), 1, np.array([value]))
    assert 0.85 < outcomes.shares()[0.95] < 0.9, "half of the count is of the last 700"
