"""The blend: it finds the member that is right, and is never much worse than last value."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.blend import QuantileBlend
from forecasting.knots import Knots
from forecasting.panel import FloatArray


def played(values: FloatArray, others: list[FloatArray], horizon: int) -> tuple[QuantileBlend, FloatArray]:
    """Blend last value with `others` (n, T, H); gives what was used, (n, T, H)."""
    n, points = values.shape
    blend = QuantileBlend(1 + len(others), n, horizon)
    used = np.empty((n, points, horizon))
    # Half-widths of a walk with steps of this size, as the calibration would give them.
    spread = 1.5 * float(np.median(np.abs(np.diff(values)))) * np.sqrt(Knots(horizon).steps)
    for now in range(points):
        blend.record(values[:, now])
        last = np.repeat(values[:, now, None], horizon, axis=1)
        used[:, now], _, _ = blend.combine(np.stack([last, *(other[:, now] for other in others)]))
        blend.issue(np.repeat(spread[None], n, axis=0))
    return blend, used


def ratio(values: FloatArray, used: FloatArray, start: int, step: int) -> float:
    truth = values[:, start + step :]
    points = truth.shape[1]
    ours = np.abs(used[:, start : start + points, step - 1] - truth).mean()
    return float(ours / np.abs(values[:, start : start + points] - truth).mean())


def ahead(series: FloatArray, horizon: int) -> FloatArray:
    """The true future (n, T, H) of `series` (n, T + H)."""
    points = series.shape[1] - horizon
    return np.stack([series[:, 1 + step : 1 + step + points] for step in range(horizon)], axis=2)


def test_a_member_that_knows_the_season_takes_over() -> None:
    rng = np.random.default_rng(0)
    wave = 10.0 + 5.0 * np.sin(np.arange(808) / 8.0)[None].repeat(3, axis=0)
    values = wave[:, :800] + 0.1 * rng.standard_normal((3, 800))
    _, used = played(values, [ahead(wave, 8)], 8)
    assert ratio(values, used, 200, 1) < 0.4 and ratio(values, used, 200, 8) < 0.1


@pytest.mark.parametrize("step", [1, 12, 100])
def test_poor_members_cost_next_to_nothing(step: int) -> None:
    rng = np.random.default_rng(1)
    values = 100.0 + np.cumsum(rng.standard_normal((6, 1500)), axis=1)
    wild = values[:, :, None] + 20.0 * rng.standard_normal((6, 1500, 100))
    stale = np.repeat(values.mean(axis=1)[:, None, None], 1500, axis=1).repeat(100, axis=2)
    _, used = played(values, [wild, stale], 100)
    assert ratio(values, used, 900, step) < 1.02


def test_one_absurd_forecast_does_not_set_the_weights_for_days() -> None:
    values = 10.0 + np.random.default_rng(4).standard_normal((1, 500))
    knows = np.full((1, 500, 1), 10.0)
    knows[:, 300] = 1e6
    blend, _ = played(values, [knows], 1)
    assert blend.weights()[1, 0, 0] > 0.8


def test_a_member_that_foresaw_one_spike_is_not_followed_for_days() -> None:
    values = 100.0 + np.cumsum(np.random.default_rng(5).standard_normal((1, 700)), axis=1)
    knows = np.roll(values, -1, axis=1)[:, :, None] + 5.0
    values[:, 300], knows[:, 299] = 1e6, 1e6
    _, used = played(values, [knows], 1)
    assert ratio(values, used, 450, 1) < 1.02


def test_what_one_member_alone_says_far_from_all_others_counts_within_bounds() -> None:
    blend = QuantileBlend(4, 1, 1)
    medians = np.array([10.0, 10.5, 9.5, 10.0])[:, None, None]
    for _ in range(3):
        blend.record(np.array([10.0]))
        blend.combine(medians)
        blend.issue(np.ones((1, 1)))
    echo = medians.copy()
    echo[3] = 1e6
    used, _, _ = blend.combine(echo)
    assert 10.0 < used[0, 0] < 15.0


def test_it_turns_when_a_member_turns_bad() -> None:
    rng = np.random.default_rng(2)
    wave = 10.0 + 5.0 * np.sin(np.arange(2004) / 8.0)[None]
    values = wave[:, :2000] + 0.1 * rng.standard_normal((1, 2000))
    future = ahead(wave, 4)
    future[:, 800:] += 30.0
    _, used = played(values, [future], 4)
    assert ratio(values, used, 500, 4) > 0.0
    assert ratio(values, used, 1400, 4) < 1.05


def test_members_that_agree_share_and_a_constant_series_is_no_trouble() -> None:
    values = np.full((2, 50), 5.0)
    blend, used = played(values, [np.full((2, 50, 3), 5.0)], 3)
    assert used == pytest.approx(np.full((2, 50, 3), 5.0)) and np.isfinite(blend.weights()).all()


def test_gaps_teach_nothing() -> None:
    blend = QuantileBlend(2, 1, 2)
    for value in (1.0, np.nan, 2.0, np.nan, 3.0):
        blend.record(np.array([value]))
        used, spread, disagreement = blend.combine(np.ones((2, 1, 2)) * [[[1.0]], [[2.0]]])
        blend.issue(np.ones((1, 2)))
        assert np.isfinite(used).all() and np.isnan(spread).all() and (disagreement > 0).all()


def test_own_spreads_are_averaged_over_those_who_know() -> None:
    blend = QuantileBlend(3, 1, 2, own=(1, 2))
    spreads = np.array([[[1.0, 1.0]], [[3.0, np.nan]]])
    blend.record(np.array([1.0]))
    _, spread, _ = blend.combine(np.ones((3, 1, 2)), spreads)
    blend.issue(np.ones((1, 2)))
    assert spread[0] == pytest.approx([2.0, 1.0])
    blend.record(np.array([1.1]))
    assert np.isfinite(blend.weights()).all()
