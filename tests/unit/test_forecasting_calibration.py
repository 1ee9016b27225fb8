"""Calibration on errors whose distribution is known: quantiles hold, from the first sample on, after changes."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.calendar import Calendar
from forecasting.calibration import Calibration
from forecasting.knots import MOST_KNOTS, Knots, Pending
from forecasting.panel import FloatArray

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
NO_DAY = Calendar(day_s=None)


def fed(values: FloatArray, horizon: int = 4, calendar: Calendar = NO_DAY) -> tuple[Calibration, FloatArray]:
    """Last value calibrated on `values` (n, T); also gives the quantiles at each time, (T, n, H, levels)."""
    n, points = values.shape
    calibration = Calibration(n, horizon, LEVELS, 1.0, calendar)
    said = np.empty((points, n, horizon, len(LEVELS)))
    last = np.full(n, np.nan)
    for now in range(points):
        calibration.record(float(now), values[:, now])
        last = np.where(np.isnan(values[:, now]), last, values[:, now])
        centre = np.repeat(last[:, None], horizon, axis=1)
        calibration.issue(centre, np.full_like(centre, np.nan), np.zeros_like(centre))
        said[now] = calibration.quantiles()
    assert np.isfinite(said).all() and (np.diff(said, axis=-1) >= 0).all()
    return calibration, said


def coverage(values: FloatArray, said: FloatArray, start: int, step: int, low: int, high: int) -> float:
    truth = values[:, start + step :].T
    quantiles = said[start : values.shape[1] - step, :, step - 1]
    return float(((truth >= quantiles[..., low]) & (truth <= quantiles[..., high])).mean())


@pytest.mark.parametrize("step", [1, 2, 4])
def test_intervals_hold_on_a_random_walk_at_every_step(step: int) -> None:
    walk = 1000.0 + np.cumsum(np.random.default_rng(0).standard_normal((8, 1500)), axis=1)
    _, said = fed(walk)
    assert coverage(walk, said, 300, step, 1, 3) == pytest.approx(0.8, abs=0.03)
    assert coverage(walk, said, 300, step, 0, 4) == pytest.approx(0.95, abs=0.02)


def test_a_biased_forecast_gets_an_interval_to_one_side() -> None:
    rng = np.random.default_rng(1)
    climb = 100.0 + np.arange(1000.0) + 0.1 * rng.standard_normal((4, 1000))
    _, said = fed(climb)
    assert (said[-1, :, 0, 0] > climb[:, -1]).all(), "what always rises is not forecast to fall"
    assert coverage(climb, said, 500, 4, 0, 4) > 0.9


def test_one_sample_gives_a_wide_interval_and_says_so() -> None:
    calibration, said = fed(np.full((1, 1), 10.0))
    assert calibration.cold.all()
    assert said[0, 0, 0, 4] - said[0, 0, 0, 0] > 5.0
    assert (np.diff(said[0, 0, :, 4] - said[0, 0, :, 0]) >= 0).all()


def test_a_constant_series_is_held_tightly_and_never_missed() -> None:
    flat = np.full((1, 400), 5.0)
    _, said = fed(flat)
    assert said[-1, 0, 0, 4] - said[-1, 0, 0, 0] < 0.5
    assert coverage(flat, said, 0, 1, 0, 4) == 1.0


def test_a_series_that_is_mostly_idle_keeps_its_idleness_inside() -> None:
    rng = np.random.default_rng(2)
    bursts = np.where(rng.random((6, 1500)) < 0.1, rng.exponential(10.0, (6, 1500)), 0.0)
    _, said = fed(bursts)
    assert coverage(bursts, np.maximum(said, 0.0), 300, 1, 0, 4) > 0.9


def test_gaps_leave_what_is_known_as_it_is() -> None:
    values = 50.0 + np.random.default_rng(3).standard_normal((2, 600))
    values[0, 200:400] = np.nan
    _, said = fed(values)
    width = said[..., 4] - said[..., 0]
    assert width[399, 0, 0] == pytest.approx(width[200, 0, 0], rel=0.5)


def test_after_a_forgotten_level_old_forecasts_are_not_learnt_from() -> None:
    rng = np.random.default_rng(4)
    calibration, said = fed(50.0 + rng.standard_normal((1, 400)))
    before = said[-1, 0, -1, 4] - said[-1, 0, -1, 0]
    calibration.forget(np.array([True]))
    for now in range(400, 440):
        value = np.array([90.0 + rng.standard_normal()])
        calibration.record(float(now), value)
        calibration.issue(np.full((1, 4), value[0]), np.full((1, 4), np.nan), np.zeros((1, 4)))
    after = calibration.quantiles()
    assert after[0, -1, 4] - after[0, -1, 0] < 3.0 * before


def test_the_restless_hour_gets_the_wider_interval() -> None:
    rng = np.random.default_rng(5)
    points = 48 * 40
    busy = np.arange(points) % 48 >= 24
    values = 100.0 + np.where(busy, 5.0, 0.5) * rng.standard_normal((6, points))
    _, said = fed(values, horizon=2, calendar=Calendar(day_s=48.0))
    width = np.median(said[..., 0, 4] - said[..., 0, 0], axis=1)[-480:].reshape(-1, 48).mean(axis=0)
    assert width[34:44].mean() > 1.5 * width[10:20].mean()


def test_surprises_of_a_calibrated_forecast_are_as_rare_as_they_say() -> None:
    values = np.cumsum(np.random.default_rng(6).standard_normal((10, 1500)), axis=1) + 500.0
    calibration = Calibration(10, 2, LEVELS, 1.0, NO_DAY)
    bits = []
    for now in range(1500):
        bits.append(calibration.record(float(now), values[:, now])[:, 0])
        centre = np.repeat(values[:, now, None], 2, axis=1)
        calibration.issue(centre, np.full_like(centre, np.nan), np.zeros_like(centre))
    for rare in (1.0, 3.0, 5.0):
        assert (np.abs(np.array(bits[300:])) > rare).mean() == pytest.approx(2.0**-rare, rel=0.25)


def test_between_the_knots_of_a_long_forecast_there_are_quantiles_too() -> None:
    values = 50.0 + np.random.default_rng(7).standard_normal((6, 1000))
    _, said = fed(values, horizon=60, calendar=Calendar(day_s=60.0))
    assert said.shape == (1000, 6, 60, 5)
    for step in (1, 37, 60):
        assert coverage(values, said, 500, step, 0, 4) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("horizon", [1, 2, 12, 16, 17, 24, 96, 288, 2016])
def test_knots_start_at_one_end_at_the_horizon_and_are_few(horizon: int) -> None:
    knots = Knots(horizon)
    assert knots.steps[0] == 1 and knots.steps[-1] == horizon and knots.count <= MOST_KNOTS
    line = np.log(np.arange(1.0, horizon + 1))
    assert knots.between(knots.at(line)) == pytest.approx(line)


def test_what_is_pending_comes_back_when_it_is_due() -> None:
    knots = Knots(40)
    pending = Pending(knots, 1, 1)
    for now in range(100):
        due = pending.due()[0, 0]
        made = now - knots.steps
        assert np.array_equal(due, np.where(made >= 0, made, np.nan), equal_nan=True)
        pending.put(np.full((1, 1, knots.count), float(now)))
