"""Forecasts of real traffic: the Abilene matrices, where they lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forecasting import MEMBERS, Calendar, Forecaster, Panel
from forecasting.panel import FloatArray

ABILENE = Path(__file__).parents[3] / "shared" / "data" / "abilene" / "abilene_tm_5min_20040301_14d.npz"
pytestmark = pytest.mark.skipif(not ABILENE.exists(), reason=f"no traffic matrices at {ABILENE}")

STEP_S, DAY_S, WEEK = 300.0, 86400.0, 2016


def busiest_flows(n: int) -> FloatArray:
    matrices = np.load(ABILENE, allow_pickle=False)["tm_mbps"].astype(np.float64)
    flows = matrices[:, ~np.eye(matrices.shape[1], dtype=bool)].T
    answer: FloatArray = flows[np.argsort(-flows[:, :WEEK].mean(axis=1))[:n]]
    return answer


def test_a_week_of_training_gives_honest_intervals_in_the_next() -> None:
    flows = busiest_flows(12)
    times = STEP_S * np.arange(flows.shape[1], dtype=np.float64)
    forecaster = Forecaster(12, calendar=Calendar(day_s=DAY_S))
    names = tuple(map(str, range(len(flows))))
    forecaster.fit(Panel(times[:WEEK], flows[:, :WEEK], names, STEP_S))
    inside: dict[float, list[FloatArray]] = {0.8: [], 0.95: []}
    errors: list[FloatArray] = []
    last: list[FloatArray] = []
    for now in range(WEEK, WEEK + 3 * 288):
        forecast, outcome = forecaster.predict(), flows[:, now : now + 12]
        for level, hits in inside.items():
            low, high = forecast.interval(level)
            hits.append(((outcome >= low) & (outcome <= high)).astype(np.float64))
        errors.append(np.abs(outcome - forecast.mean))
        last.append(np.abs(outcome - flows[:, now - 1 : now]))
        forecaster.update(times[now : now + 1], flows[:, now : now + 1])
    for step in (0, 11):
        assert 0.75 < np.mean(inside[0.8], axis=0)[:, step].mean() < 0.85
        assert 0.92 < np.mean(inside[0.95], axis=0)[:, step].mean() < 0.97
        worse = np.mean(errors, axis=0)[:, step] / np.mean(last, axis=0)[:, step]
        assert np.median(worse) < 1.0 and worse.mean() < 1.02


def test_probabilities_hold_with_a_minute_of_samples() -> None:
    flows = busiest_flows(60)
    names = tuple(map(str, range(len(flows))))
    rng = np.random.default_rng(0)
    said, came = [], []
    for start in range(100, 3900, 400):
        forecaster = Forecaster(8, members=MEMBERS[:2])
        forecaster.load(Panel(np.arange(20.0), flows[:, start : start + 20], names, 1.0))
        for length in (20, 40, 60, 90):
            new = np.arange(forecaster.history().times.size, length)
            forecaster.update(new.astype(np.float64), flows[:, start + new])
            threshold = flows[:, start + length - 1] * rng.uniform(0.8, 1.25, len(flows))
            said.append(forecaster.predict().prob_above(threshold))
            came.append(flows[:, start + length : start + length + 8] > threshold[:, None])
    sure, true = np.concatenate(said), np.concatenate(came)
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
        in_bin = (sure >= low) & (sure < high)
        assert true[in_bin].mean() == pytest.approx(sure[in_bin].mean(), abs=0.08)
