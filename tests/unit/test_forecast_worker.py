"""The processes of the forecast end when they are told to, whatever they do, and errors come through whole."""

from __future__ import annotations

import os
import pickle
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from forecasting import Calendar, Forecast, Panel
from forecasting.errors import UnknownSeries
from forecasting.training import NeuralMissing
from ryu_apps.forecast_worker import News, Pool, Worker
from ryu_apps.forecasts.errors import BadSeries
from ryu_apps.outcomes import Outcomes

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
    deadline = time.monotonic() + 10
    while not gone(pid):
        assert time.monotonic() < deadline, "it still hangs"
        time.sleep(0.01)


def test_control_c_in_the_terminal_is_not_for_it() -> None:
    worker = Worker()
    try:
        worker.look_ahead(POOL, {"demands": HISTORY}).result(timeout=60)
        os.kill(worker.pids[0], signal.SIGINT)
        assert worker.look_ahead(POOL, {"demands": News()}).result(timeout=60)["demands"].forecast.horizon == 2
    finally:
        worker.end()


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
