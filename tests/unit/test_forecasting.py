"""The forecaster on series whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting import MEMBERS, Calendar, Event, Forecast, Forecaster, NoHistory, Panel, SettingError
from forecasting.panel import FloatArray


def panel(values: object) -> Panel:
    rows: FloatArray = np.asarray(values, dtype=np.float64)
    return Panel(np.arange(float(rows.shape[1])), rows, tuple(f"s{index}" for index in range(rows.shape[0])), 1.0)


def fed(values: FloatArray, horizon: int = 4, first: int = 1) -> Forecaster:
    """A forecaster that was never fitted and got `values` (n, T) one sample after the other."""
    forecaster = Forecaster(horizon)
    forecaster.load(panel(values[:, :first]))
    for index in range(first, values.shape[1]):
        forecaster.update([float(index)], values[:, index : index + 1])
    return forecaster


def check(forecast: Forecast) -> None:
    assert np.isfinite(forecast.mean).all() and np.isfinite(forecast.quantiles).all()
    assert (np.diff(forecast.quantiles, axis=-1) >= 0).all()


def test_one_point_is_enough_and_the_interval_is_wide_and_says_so() -> None:
    forecaster = Forecaster(6)
    forecaster.fit(panel([[10.0]]))
    forecast = forecaster.predict()
    check(forecast)
    assert forecast.mean.tolist() == [[10.0] * 6] and forecast.cold.tolist() == [True]
    low, high = forecast.interval(0.8)
    assert high[0, 0] - low[0, 0] > 5.0
    assert (np.diff(high - low, axis=1) >= 0).all()
    assert 0.0 < forecast.prob_above(20.0)[0, 0] < 0.5


def test_an_interval_narrows_as_samples_come_in_and_is_cold_no_more() -> None:
    rng = np.random.default_rng(0)
    values = 10.0 + 0.1 * rng.standard_normal((1, 200))
    widths = []
    for points in (1, 5, 12, 40, 200):
        forecast = fed(values[:, :points]).predict()
        check(forecast)
        low, high = forecast.interval(0.95)
        widths.append(high[0, 0] - low[0, 0])
        assert forecast.cold[0] == (points <= 8)
    assert widths[0] > widths[1] > widths[2] > max(widths[3:])
    # Noise of 0.1 around its average: 95 % of it lies within 0.39.
    assert widths[-1] == pytest.approx(0.45, abs=0.15)


def test_a_constant_series_is_forecast_as_itself() -> None:
    forecaster = Forecaster(4)
    forecaster.fit(panel(np.full((1, 200), 5.0)))
    forecast = forecaster.predict()
    check(forecast)
    assert forecast.mean == pytest.approx(np.full((1, 4), 5.0))
    low, high = forecast.interval(0.95)
    assert (high - low < 0.15).all()


def test_an_idle_series_has_no_spread_and_certain_probabilities() -> None:
    forecast = fed(np.zeros((1, 30))).predict()
    assert not forecast.quantiles.any()
    assert not forecast.prob_above(0.1).any() and (forecast.prob_above(-0.1) == 1.0).all()


def test_a_series_without_samples_is_cold_and_disturbs_no_other() -> None:
    values = np.stack([np.full(50, np.nan), 5.0 + np.sin(np.arange(50.0))])
    forecaster = Forecaster(4)
    forecaster.fit(panel(values))
    forecast = forecaster.predict()
    check(forecast)
    assert forecast.cold.tolist() == [True, False] and not forecast.quantiles[0].any()


def test_a_series_that_began_later_is_forecast_from_its_own_samples() -> None:
    rng = np.random.default_rng(1)
    late = 10.0 + rng.standard_normal((1, 60))
    padded = np.concatenate([np.full((1, 140), np.nan), late], axis=1)
    alone, later = fed(late).predict(), fed(padded).predict()
    assert later.mean == pytest.approx(alone.mean)
    assert later.quantiles == pytest.approx(alone.quantiles)


def test_missing_samples_are_lived_through() -> None:
    rng = np.random.default_rng(2)
    values = 10.0 + rng.standard_normal((2, 300))
    values[0, rng.choice(300, 100, replace=False)] = np.nan
    values[1, 200:260] = np.nan
    forecaster = Forecaster(4)
    forecaster.fit(panel(values[:, :250]))
    forecaster.update(np.arange(250.0, 300.0), values[:, 250:])
    forecast = forecaster.predict()
    check(forecast)
    assert np.abs(forecast.mean - 10.0).max() < 2.0


SAMPLES = st.one_of(st.just(np.nan), st.just(0.0), st.floats(-1e12, 1e12), st.floats(0.0, 1e-9))


@settings(max_examples=20, deadline=None)
@given(st.lists(SAMPLES, min_size=40, max_size=40), st.booleans())
def test_whatever_comes_in_a_forecast_comes_out(samples: list[float], refit: bool) -> None:
    values = np.array([samples, samples[::-1]])
    forecaster = fed(values)
    if refit:
        forecaster.fit(panel(values))
    forecast = forecaster.predict()
    check(forecast)
    chance = forecast.prob_above(1.0)
    assert ((chance >= 0.0) & (chance <= 1.0)).all()


def test_quantiles_are_negative_only_for_series_that_are() -> None:
    rng = np.random.default_rng(3)
    values = np.stack([np.abs(rng.standard_normal(100)), rng.standard_normal(100)])
    forecast = fed(values).predict()
    assert (forecast.quantiles[0] >= 0).all() and (forecast.quantiles[1, :, 0] < 0).all()


def test_after_a_level_shift_the_forecast_is_at_the_new_level_and_the_interval_recovers() -> None:
    rng = np.random.default_rng(4)
    values = 10.0 + 0.5 * rng.standard_normal((20, 260))
    values[:, 130:] += 30.0
    before = fed(values[:, :130]).predict()
    at_once = fed(values[:, :136]).predict()
    later = fed(values).predict()
    assert np.median(at_once.mean[:, 0]) == pytest.approx(40.0, abs=1.0)
    narrow, wide, again = (
        float(np.median(forecast.interval(0.8)[1] - forecast.interval(0.8)[0]))
        for forecast in (before, at_once, later)
    )
    assert wide > 2 * narrow and again < 2 * narrow


def test_an_idle_link_that_starts_to_carry_traffic_is_not_thought_endless() -> None:
    rng = np.random.default_rng(5)
    values = np.zeros((10, 60))
    values[:, 12:] = 10.0 + 0.5 * rng.standard_normal((10, 48))
    forecast = fed(values, horizon=8).predict()
    assert (forecast.quantile(0.975) < 30.0).all()
    assert (forecast.prob_above(13.0) < 0.2).all()


def test_coverage_holds_on_a_seasonal_series() -> None:
    season, points, start, n = 96, 1000, 700, 12
    rng = np.random.default_rng(6)
    wave = 100.0 + 30.0 * np.sin(2 * np.pi * np.arange(points) / season)
    values = wave + np.cumsum(0.5 * rng.standard_normal((n, points)), axis=1) + rng.standard_normal((n, points))
    forecaster = Forecaster(8, calendar=Calendar(day_s=float(season)))
    forecaster.fit(panel(values[:, :start]))
    inside = {level: np.zeros(8) for level in (0.8, 0.95)}
    errors = np.zeros((2, 8))
    origins = points - start - 8
    for now in range(start, start + origins):
        forecast, outcome = forecaster.predict(), values[:, now : now + 8]
        for level, count in inside.items():
            low, high = forecast.interval(level)
            count += ((outcome >= low) & (outcome <= high)).sum(axis=0)
        errors += np.abs(outcome - np.stack([forecast.mean, np.repeat(values[:, now - 1 : now], 8, 1)])).sum(
            axis=1
        )
        forecaster.update([float(now)], values[:, now : now + 1])
    # Errors h steps ahead overlap: about every h-th is a new one.
    independent = n * origins / np.arange(1, 9)
    for level, count in inside.items():
        tolerance = 3.5 * np.sqrt(level * (1 - level) / independent)
        assert (np.abs(count / (n * origins) - level) < tolerance).all()
    assert (errors[0] < errors[1]).all(), "knowing the season must beat last value"
    assert errors[0, 7] < 0.5 * errors[1, 7]


def test_the_blend_is_never_much_worse_than_last_value_on_a_random_walk() -> None:
    rng = np.random.default_rng(8)
    values = 1000.0 + np.cumsum(rng.standard_normal((8, 500)), axis=1)
    forecaster = Forecaster(4)
    forecaster.fit(panel(values[:, :300]))
    ours = last = 0.0
    for now in range(300, 496):
        outcome = values[:, now : now + 4]
        ours += float(np.abs(outcome - forecaster.predict().mean).sum())
        last += float(np.abs(outcome - values[:, now - 1 : now]).sum())
        forecaster.update([float(now)], values[:, now : now + 1])
    assert ours < 1.02 * last


def test_samples_one_by_one_or_together_give_the_same_forecast() -> None:
    rng = np.random.default_rng(9)
    values = 10.0 + rng.standard_normal((3, 90))
    one, other = Forecaster(4), Forecaster(4)
    one.fit(panel(values[:, :60]))
    other.fit(panel(values[:, :60]))
    for now in range(60, 90):
        one.update([float(now)], values[:, now : now + 1])
    other.update(np.arange(60.0, 90.0), values[:, 60:])
    assert np.array_equal(one.predict().quantiles, other.predict().quantiles)
    # Parameters adopted again change nothing: the state follows from the history held.
    other.adopt(one.parameters)
    assert np.allclose(one.predict().quantiles, other.predict().quantiles)


def test_samples_of_the_past_are_dropped_and_jumped_ticks_are_missing() -> None:
    values = 10.0 + np.sin(np.arange(40.0))[None, :]
    forecaster = fed(values)
    before = forecaster.predict()
    forecaster.update([5.0, 39.0], [[99.0, 99.0]])
    assert np.array_equal(forecaster.predict().quantiles, before.quantiles)
    forecaster.update([45.2], [[11.0]])
    assert forecaster.history().times[-1] == pytest.approx(45.01)
    assert np.isnan(forecaster.history().values[0, 40:45]).all()
    check(forecaster.predict())


def test_a_leap_of_the_clock_starts_afresh() -> None:
    forecaster = fed(10.0 + np.sin(np.arange(40.0))[None, :])
    forecaster.update([1e9], [[3.0]])
    forecast = forecaster.predict()
    check(forecast)
    assert forecast.cold[0] and forecast.mean[0, 0] == pytest.approx(3.0)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_the_largest_values_and_the_longest_events_are_forecast_too() -> None:
    rng = np.random.default_rng(17)
    events = (Event(-1e12, 1e12, "age"), Event(0.0, 0.0, "moment"))
    for scale in (1e150, 1e-150):
        made = Forecaster(2, members=MEMBERS, events=events)
        made.fit(panel(rng.random((1, 200)) * scale))
        check(made.predict())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"horizon": 2.5}, "horizon is 2.5"),
        ({"horizon": "3"}, "horizon is '3'"),
        ({"horizon": True}, "horizon is True"),
        ({"horizon": float("nan")}, "horizon is nan"),
        ({"levels": ("a",)}, "ascending"),
        ({"levels": ("a", "b")}, "ascending"),
        ({"levels": 0.5}, "ascending"),
        ({"levels": (0.1, float("nan"), 0.9)}, "ascending"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"seed": -1}, "0 or more"),
        ({"seed": 1.5}, "whole number"),
        ({"replayed": 2.5}, "replayed is 2.5"),
    ],
)
def test_a_forecaster_that_cannot_be_made_says_why(given: dict[str, object], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        Forecaster(**{"horizon": 3, **given})  # type: ignore[arg-type]


def test_without_a_history_there_is_nothing_to_say() -> None:
    forecaster = Forecaster(3)
    for ask in (forecaster.predict, forecaster.history, lambda: forecaster.update([0.0], [[1.0]])):
        with pytest.raises(NoHistory, match=r"give a panel to fit\(\) or load\(\)"):
            ask()
    with pytest.raises(SettingError, match="ascending"):
        Forecaster(3, levels=(0.5, 0.5))


def test_nobody_is_called_again_after_a_refit_about_what_he_was_called_about() -> None:
    noise: FloatArray = np.random.default_rng(5).normal(100.0, 1.0, (2, 700))
    noise[0, [600, 612, 690]] += 40.0
    one = Forecaster(3, members=("last", "ewma"))
    one.fit(Panel(np.arange(0.0, 150_000.0, 300.0), noise[:, :500], ("a", "b"), 300.0))
    alarms = []
    for index in range(500, 700):
        verdict = one.update([300.0 * index], noise[:, index : index + 1])
        alarms += [(index, int(row)) for row in np.flatnonzero(verdict.alarm)]
        if index == 605:
            # The series are in another order now, and one is new.
            held = one.history()
            noise = np.concatenate([noise[::-1], noise[1:] * 2.0]).astype(np.float64)
            one.fit(Panel(held.times, noise[:, :606], ("b", "a", "c"), 300.0))
    assert [where for where in alarms if where[0] in (600, 612)] == [(600, 0)]
    assert (690, 1) in alarms, "six hours later it calls again"


@pytest.mark.parametrize("factor", [4.0, 0.25])
def test_forecasts_far_ahead_are_at_a_new_level_too(factor: float) -> None:
    noise = np.random.default_rng(3).standard_normal((20, 660))
    values: FloatArray = 100.0 * np.exp(0.03 * noise)
    values[:, 600:] *= factor
    one = Forecaster(12, calendar=Calendar(day_s=150 * 300.0))
    one.fit(Panel(np.arange(0.0, 500 * 300.0, 300.0), values[:, :500], tuple(map(str, range(20))), 300.0))
    one.update(np.arange(500, 606) * 300.0, values[:, 500:606])
    forecast = one.predict()
    low, high = forecast.interval(0.95)
    assert np.median(forecast.mean[:, -1]) == pytest.approx(100.0 * factor, rel=0.05)
    assert ((low[:, -1] < 100 * factor) & (100 * factor < high[:, -1])).all()


def test_one_step_ahead_a_spike_is_no_new_level() -> None:
    values: FloatArray = np.random.default_rng(4).normal(100.0, 1.0, (1, 400))
    values[0, 350] = 200.0
    one = Forecaster(1, members=("last", "ewma"))
    one.load(Panel(np.arange(0.0, 350 * 60.0, 60.0), values[:, :350], ("a",), 60.0))
    verdict = one.update(np.arange(350, 400) * 60.0, values[:, 350:])
    assert verdict.alarm[0].sum() == 1 and not verdict.changed.any()


def test_far_intervals_neither_collapse_nor_burst_while_their_first_outcomes_come() -> None:
    # What is learnt of step 40 arrives 40 steps late: put right again and again meanwhile, it would be overdone.
    rng = np.random.default_rng(1)
    values: FloatArray = 100.0 + np.cumsum(rng.standard_normal((40, 460)), axis=1)
    one = Forecaster(40, members=("last", "ewma"), calendar=Calendar(day_s=None))
    one.load(Panel(np.zeros(1), values[:, :1], tuple(map(str, range(40))), 300.0))
    widths, held = [], []
    for index in range(1, 420):
        one.update([index * 300.0], values[:, index : index + 1])
        low, high = one.predict().interval(0.95)
        widths.append(float(np.median(high[:, -1] - low[:, -1])) / (2 * 1.96 * np.sqrt(40.0)))
        held.append(float(((low[:, -1] <= values[:, index + 40]) & (values[:, index + 40] <= high[:, -1])).mean()))
    assert min(widths[150:]) > 0.5 and max(widths[150:]) < 3.0
    assert np.convolve(held, np.ones(40) / 40, "valid").min() > 0.75
