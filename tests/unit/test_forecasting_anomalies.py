"""Anomalies: the surprising is found, the ordinary is left alone, and a new level is told from a spike."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.anomalies import Anomalies, signed_bits
from forecasting.calendar import Calendar
from forecasting.calibration import Calibration
from forecasting.panel import FloatArray

LEVELS = (0.01, 0.025, 0.1, 0.5, 0.9, 0.975, 0.99)
STEP_S, HORIZON = 300.0, 6


def watched(values: FloatArray, cool_down_s: float = 6 * 3600.0) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scores, alarms and changes, each (T, n), of `values` (n, T) forecast by their mean of late."""
    n, points = values.shape
    calibration = Calibration(n, HORIZON, LEVELS, STEP_S, Calendar(day_s=None))
    anomalies = Anomalies(n, calibration.steps, STEP_S, Calendar(day_s=None), cool_down_s)
    said = np.zeros((3, points, n))
    level = values[:, 0]
    for now in range(points):
        verdict = anomalies.record(calibration.record(STEP_S * now, values[:, now]))
        said[:, now] = verdict.score, verdict.alarm, verdict.changed
        if verdict.changed.any():
            calibration.forget(verdict.changed)
        weight = np.where(verdict.changed, 1.0, 0.3)
        level = np.where(np.isnan(values[:, now]), level, level + weight * (values[:, now] - level))
        centre = np.repeat(level[:, None], HORIZON, axis=1)
        calibration.issue(centre, np.full_like(centre, np.nan), np.zeros_like(centre))
    return said[0], said[1], said[2]


def noise(n: int, points: int, seed: int = 0) -> FloatArray:
    return 100.0 + np.random.default_rng(seed).standard_normal((n, points))


def test_noise_raises_hardly_an_alarm() -> None:
    _, alarms, changed = watched(noise(10, 4032))
    assert alarms.sum() <= 20, "ten series for two weeks: at most one a week each"
    assert changed.sum() == 0


def test_a_spike_is_found_at_once_and_called_once() -> None:
    values = noise(3, 1500)
    values[1, 1000:1003] += 60.0
    scores, alarms, _ = watched(values)
    assert alarms[1000:1003, 1].any() and alarms[1000:1070, 1].sum() == 1
    assert scores[1000, 1] > 3 * scores[999, 1]
    assert not alarms[1000:1010, [0, 2]].any()


def test_after_the_cool_down_it_calls_again() -> None:
    values = noise(1, 1500)
    values[0, [900, 905, 1000]] += 80.0
    _, alarms, _ = watched(values, cool_down_s=50 * STEP_S)
    assert alarms[898:1010, 0].sum() == 2


def test_a_new_level_is_a_change_and_a_spike_is_none() -> None:
    values = noise(2, 1200)
    values[0, 1000:] += 40.0
    values[1, 1000] += 40.0
    _, _, changed = watched(values)
    assert changed[1000:1006, 0].sum() == 1 and changed[:, 1].sum() == 0
    assert changed[:, 0].sum() == 1


def test_an_alarm_says_how_rare_what_raised_it_is() -> None:
    values = noise(2, 1200)
    values[0, 1000:] += 40.0
    values[1, 1000] += 60.0
    scores, alarms, _ = watched(values)
    assert (scores[alarms.astype(bool)] > 12.0).all(), "one in 4,032 is two weeks of samples"
    assert alarms[1000:1006].any(axis=0).all()


def test_a_series_that_stands_still_is_not_called_about_for_next_to_nothing() -> None:
    values = np.full((2, 1000), 100.0)
    values[0, 600:] = 100.1
    values[1, 600:] = 120.0
    _, alarms, changed = watched(values)
    assert not alarms[:, 0].any() and not changed[:, 0].any()
    assert alarms[600:606, 1].any()


def test_gaps_score_nothing() -> None:
    values = noise(1, 800)
    values[0, 400:600] = np.nan
    scores, alarms, changed = watched(values)
    assert np.isfinite(scores).all() and not alarms[400:601].any() and not changed.any()


def test_bits_count_halvings_and_go_on_beyond_the_quantiles() -> None:
    levels = np.array([0.01, 0.25, 0.5, 0.75, 0.99])
    quantiles = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
    at = np.array([0.0, 1.0, -1.0, 3.0, 10.0, 1e12, np.nan])
    bits = signed_bits(levels, np.broadcast_to(quantiles, (7, 5)), at)
    assert bits[:3] == pytest.approx([0.0, 1.0, -1.0])
    assert bits[3] == pytest.approx(-np.log2(0.02)) and bits[3] < bits[4] < bits[5]
    assert np.isnan(bits[6])
