"""Samples come when they come: each finds its tick, the clock follows, and one that was wrong is told of."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting import Forecaster, Panel, PanelError
from forecasting.panel import FloatArray


def panel(values: object) -> Panel:
    rows: FloatArray = np.asarray(values, dtype=np.float64)
    return Panel(np.arange(float(rows.shape[1])), rows, tuple(f"s{index}" for index in range(rows.shape[0])), 1.0)


def fed(values: FloatArray) -> Forecaster:
    """A forecaster that was never fitted and got `values` (n, T), one a second from 0 on."""
    forecaster = Forecaster(3, members=("last", "ewma", "ets"))
    forecaster.load(panel(values))
    return forecaster


def test_samples_half_a_step_off_the_clock_are_all_taken_and_one_by_one_or_together_is_the_same() -> None:
    rng = np.random.default_rng(12)
    times = np.arange(40.0, 80.0) + 0.5 + 0.01 * rng.standard_normal(40)
    values = 10.0 + rng.standard_normal((1, 120))
    one, other = fed(values[:, :40]), fed(values[:, :40])
    for index, time_s in enumerate(times):
        one.update([time_s], values[:, 40 + index : 41 + index])
    told = other.update(times, values[:, 40:80])
    taken = one.history().values[0, 40:]
    assert np.isfinite(taken).sum() == 40 and taken.size <= 41
    assert told.score.shape == (1, taken.size)
    assert np.array_equal(one.predict().quantiles, other.predict().quantiles)
    assert np.array_equal(one.history().times, other.history().times)


def test_a_verdict_has_a_column_for_every_tick_and_after_a_leap_for_those_scored_with_a_sample() -> None:
    values = 10.0 + np.sin(np.arange(700.0))[None, :].repeat(2, axis=0)
    made = Forecaster(4, members=("last",), replayed=50)
    made.fit(panel(values[:, :200]))
    assert made.update([], np.zeros((2, 0))).alarm.shape == (2, 0)
    assert made.update([3.0], values[:, :1]).score.shape == (2, 0), "a tick that was taken already"
    assert made.update([200.0, 203.0], values[:, 200:202]).score.shape == (2, 4)
    assert made.update(np.arange(204.0, 504.0), values[:, 204:504]).changed.shape == (2, 50)
    leap = made.update([505.0, 506.0, 600.0, 608.0], np.array([[10.0, 10.0, 10.0, 5000.0]] * 2))
    assert leap.score.shape == (2, 2), "the first two samples were too long ago to be scored"
    assert leap.score[0].argmax() == 1


def test_a_long_horizon_is_played_back_for_eight_times_as_long() -> None:
    made = Forecaster(40, members=("last",), replayed=10)
    made.fit(panel(np.ones((1, 300))))
    assert made.update(np.arange(300.0, 500.0), np.ones((1, 200))).score.shape == (1, 200)


def test_a_clock_that_was_wrong_once_is_an_error_that_says_what_to_do() -> None:
    forecaster = fed(10.0 + np.sin(np.arange(40.0))[None, :])
    history = forecaster.history()
    forecaster.update([1e9], [[10.0]])
    for tick in range(40, 52):
        forecaster.update([float(tick)], [[10.0]])
        forecaster.update([], np.zeros((1, 0)))
    for tick in (52, 53):
        with pytest.raises(PanelError, match=rf"1000000000\.000 s.*{tick}\.000 s.*load\(\)"):
            forecaster.update([float(tick)], [[10.0]])
    forecaster.load(history)
    forecaster.update([54.0], [[10.0]])
    assert forecaster.history().times[-1] == 54.0


def test_a_clock_set_back_by_twelve_steps_catches_up() -> None:
    forecaster = fed(np.ones((1, 40)))
    for tick in range(28, 45):
        forecaster.update([float(tick)], [[1.0]])
    assert forecaster.history().times[-1] == 44.0


def test_a_tick_given_twice_now_and_then_is_no_error() -> None:
    forecaster = fed(np.ones((1, 10)))
    for tick in range(10, 40):
        for _ in range(3):
            forecaster.update([float(tick)], [[1.0]])
    assert np.isfinite(forecaster.history().values).all() and forecaster.history().times[-1] == 39.0


@pytest.mark.parametrize("time_s", [2e12, -2e12, 1e300, np.inf])
def test_a_time_that_cannot_be_is_refused(time_s: float) -> None:
    with pytest.raises(PanelError, match="seconds"):
        fed(np.ones((1, 3))).update([time_s], [[1.0]])


@pytest.mark.parametrize(
    "values",
    [[["x"]], [[1j]], None, [[1.0], [1.0, 2.0]], [[10**400]], [[1e151]], np.array([["2026-01-01"]], "M8")],
)
def test_samples_that_are_no_numbers_are_refused_and_change_nothing(values: object) -> None:
    forecaster = fed(np.ones((1, 3)))
    with pytest.raises(PanelError):
        forecaster.update([3.0], values)  # type: ignore[arg-type]
    with pytest.raises(PanelError):
        forecaster.update(["soon"], [[1.0]])
    assert forecaster.history().times[-1] == 2.0
