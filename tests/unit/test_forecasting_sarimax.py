"""The SARIMAX member forecasts what statsmodels forecasts, and a bad fit is last value."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.tsa.statespace.sarimax import SARIMAX

from forecasting.harmonics import PAIRS, harmonic_pairs, harmonics
from forecasting.members import Sarimax
from forecasting.panel import FloatArray
from forecasting.parameters import Parameters, unfitted
from forecasting.sarimax import FitStatus, fit_sarimax

SEASON_S, STEP_S = 96.0, 2.0


def series(points: int, seed: int, noise: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """A random walk with moving-average noise around a season, far from zero."""
    rng = np.random.default_rng(seed)
    times = STEP_S * np.arange(points, dtype=np.float64)
    wave = 20.0 * np.sin(2 * np.pi * times / SEASON_S) + 5.0 * np.cos(4 * np.pi * times / SEASON_S)
    walk = np.cumsum(0.3 * rng.standard_normal(points))
    return times, 100.0 + wave + walk + noise * rng.standard_normal(points)


def run(parameters: Parameters, times: FloatArray, rows: FloatArray) -> Sarimax:
    member = Sarimax(parameters)
    for index, time_s in enumerate(times):
        member.step(float(time_s), rows[:, index])
    return member


def parameters(ar: list[list[float]], ma: list[float], harmonic: FloatArray) -> Parameters:
    n = len(ma)
    bare = unfitted(tuple(map(str, range(n))), SEASON_S, ("sarimax",))
    return Parameters(
        bare.names, SEASON_S, bare.members, bare.ewma_weight, np.array(ar), np.array(ma), harmonic, bare.optimism,
        (FitStatus.FITTED,) * n,
    )  # fmt: skip


@pytest.mark.parametrize("missing", [False, True])
def test_the_recursion_over_all_series_forecasts_what_statsmodels_does(missing: bool) -> None:
    ar, ma = [[0.5, -0.1], [-0.3, 0.2], [0.8, 0.05]], [-0.8, 0.4, -0.9]
    rng = np.random.default_rng(4)
    harmonic = rng.normal(0.0, 5.0, (3, 2 * PAIRS))
    times, _ = series(600, 0)
    rows = np.stack([series(600, seed)[1] for seed in range(3)])
    ahead = times[-1] + STEP_S * np.arange(1, 13, dtype=np.float64)
    if missing:
        # A gap long ago: statsmodels smooths over it, the recursion fills it in; afterwards both agree.
        rows[:, 50] = np.nan
    ours = run(parameters(ar, ma, harmonic), times, rows).forecast(ahead)
    for index in range(3):
        model = SARIMAX(rows[index], exog=harmonics(times, SEASON_S), order=(2, 1, 1))
        result = model.smooth([*harmonic[index], *ar[index], ma[index], 1.0])
        assert ours[index] == pytest.approx(result.forecast(12, exog=harmonics(ahead, SEASON_S)), rel=1e-6)


def test_a_missing_sample_is_filled_with_its_own_forecast() -> None:
    times, row = series(200, 1)
    some = parameters([[0.5, 0.1]], [-0.7], np.ones((1, 2 * PAIRS)))
    member = run(some, times, row[None, :])
    next_s = float(times[-1]) + STEP_S
    filled = run(some, times, row[None, :])
    filled.step(next_s, np.array([np.nan]))
    expected = member.forecast(np.array([next_s]))
    member.step(next_s, expected[:, 0])
    ahead = next_s + STEP_S * np.arange(1, 5, dtype=np.float64)
    assert filled.forecast(ahead) == pytest.approx(member.forecast(ahead))


def test_a_fit_finds_the_season_and_the_noise() -> None:
    times, row = series(960, 2)
    fit = fit_sarimax(times, row, STEP_S, SEASON_S)
    assert fit.status is FitStatus.FITTED
    # Pairs are sine and cosine: 20 sin of the first wave, 5 cos of the second.
    assert fit.harmonic == pytest.approx([20.0, 0.0, 0.0, 5.0, 0.0, 0.0], abs=0.5)
    assert -1.0 < fit.ma < -0.4


def test_a_fit_scales_with_the_unit_of_the_series() -> None:
    times, row = series(480, 3)
    small, large = (fit_sarimax(times, unit * row, STEP_S, SEASON_S) for unit in (1.0, 1e9))
    assert large.ar == pytest.approx(small.ar, abs=1e-3) and large.ma == pytest.approx(small.ma, abs=1e-3)
    assert large.harmonic == pytest.approx(1e9 * small.harmonic, rel=1e-2, abs=1e6)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (np.full(31, 1.0), FitStatus.TOO_SHORT),
        (np.full(100, np.nan), FitStatus.TOO_SHORT),
        (np.where(np.arange(100) % 3, np.nan, np.arange(100.0)), FitStatus.TOO_SHORT),
        (np.full(100, 7.0), FitStatus.CONSTANT),
        # A parabola and growth without end have no stationary first difference.
        (np.arange(100.0) ** 2, FitStatus.FAILED),
        (1.2 ** np.arange(100.0), FitStatus.FAILED),
    ],
)
def test_what_cannot_be_fitted_is_a_random_walk(values: FloatArray, status: FitStatus) -> None:
    fit = fit_sarimax(np.arange(float(values.size)), values, 1.0, None)
    assert fit.status is status
    assert not fit.ar.any() and fit.ma == 0.0 and not fit.harmonic.any()


def test_a_series_with_holes_is_fitted() -> None:
    times, row = series(480, 5)
    row[np.random.default_rng(0).choice(480, 40, replace=False)] = np.nan
    row[:60] = np.nan
    assert fit_sarimax(times, row, STEP_S, SEASON_S).status is FitStatus.FITTED


@pytest.mark.parametrize(
    ("span_s", "step_s", "pairs"), [(191.0, 2.0, 0), (192.0, 2.0, 3), (1e4, 12.0, 2), (1e4, 96.0, 0)]
)
def test_a_season_needs_two_of_it_and_samples_in_each_wave(span_s: float, step_s: float, pairs: int) -> None:
    assert harmonic_pairs(span_s, step_s, SEASON_S) == pairs
    assert harmonic_pairs(span_s, step_s, None) == 0
