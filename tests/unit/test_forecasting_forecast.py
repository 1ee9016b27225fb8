"""A forecast's quantiles and probabilities are two views of one distribution."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from forecasting import DEFAULT_LEVELS, Forecast, SettingError, UnknownSeries
from forecasting.panel import FloatArray

LEVELS = np.array(DEFAULT_LEVELS)


def forecast(quantiles: FloatArray) -> Forecast:
    n = quantiles.shape[0]
    names = tuple(f"s{index}" for index in range(n))
    return Forecast(names, 1.0, DEFAULT_LEVELS, quantiles.mean(axis=-1), quantiles, np.zeros(n, dtype=np.bool_))


def rising(steps: list[float], start: float = 0.0) -> Forecast:
    return forecast((start + np.cumsum(steps)).reshape(1, 1, -1))


GAPS = st.lists(st.floats(1e-3, 1e3), min_size=LEVELS.size, max_size=LEVELS.size)
MAYBE_GAPS = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e3)), min_size=LEVELS.size, max_size=LEVELS.size)


@settings(max_examples=150, deadline=None)
@given(GAPS, st.floats(-1e3, 1e3), st.floats(1e-6, 1.0 - 1e-6))
def test_prob_above_is_the_inverse_of_quantile(gaps: list[float], start: float, level: float) -> None:
    one = rising(gaps, start)
    at = one.quantile(level)[:, 0]
    # What never is negative may be 0 more often than a level says.
    expected = min(1.0 - level, float(one.prob_above(0.0)[0, 0])) if at == 0.0 else 1.0 - level
    assert one.prob_above(at)[0, 0] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(MAYBE_GAPS, st.floats(-1e3, 1e3), st.lists(st.floats(1e-6, 1 - 1e-6), min_size=2, max_size=20))
def test_quantiles_rise_with_the_level_to_the_last_bit(gaps: list[float], start: float, at: list[float]) -> None:
    one = rising(gaps, start)
    found = [one.quantile(level)[0, 0] for level in sorted([*at, *DEFAULT_LEVELS])]
    assert all(low <= high for low, high in pairwise(found))
    for index, level in enumerate(DEFAULT_LEVELS):
        assert one.quantile(level)[0, 0] == one.quantiles[0, 0, index]


def test_a_constant_series_has_the_same_quantile_at_every_level() -> None:
    one = Forecast(
        ("a",), 1.0, (0.3, 0.7), np.array([[0.1]]), np.full((1, 1, 2), 0.1), np.zeros(1, dtype=np.bool_)
    )
    assert {float(one.quantile(level)[0, 0]) for level in np.linspace(0.01, 0.99, 99)} == {0.1}


@settings(max_examples=150, deadline=None)
@given(MAYBE_GAPS, st.lists(st.floats(-1e5, 1e5), min_size=2, max_size=2))
def test_prob_above_falls_with_the_threshold_and_is_certain_only_without_spread(
    gaps: list[float], thresholds: list[float]
) -> None:
    one = rising(gaps)
    low, high = (float(one.prob_above(at)[0, 0]) for at in sorted(thresholds))
    assert low >= high
    if one.quantiles[0, 0, -1] > one.quantiles[0, 0, 0]:
        assert high > 0.0 and (low < 1.0 or min(thresholds) < 0.0)
    else:
        assert {low, high} <= {0.0, 1.0}


def test_the_tails_go_on_smoothly() -> None:
    one = forecast(norm.ppf(LEVELS).reshape(1, 1, -1))
    for edge in (norm.ppf(0.01), norm.ppf(0.99)):
        before, after = one.prob_above(edge - 1e-6), one.prob_above(edge + 1e-6)
        assert before[0, 0] == pytest.approx(after[0, 0], abs=1e-5)
    assert one.prob_above(3.0)[0, 0] == pytest.approx(norm.sf(3.0), abs=2e-3)
    assert one.prob_above(-3.0)[0, 0] == pytest.approx(norm.sf(-3.0), abs=2e-3)
    assert 0.0 < one.prob_above(1e9)[0, 0] < 1e-8


def test_one_threshold_for_all_or_one_for_each() -> None:
    two = forecast(np.stack([norm.ppf(LEVELS), 10.0 + norm.ppf(LEVELS)]).reshape(2, 1, -1))
    assert two.prob_above(5.0)[:, 0].round(3).tolist() == [0.0, 1.0]
    assert two.prob_above([0.0, 10.0])[:, 0] == pytest.approx([0.5, 0.5])
    with pytest.raises(SettingError, match="give one number or 2"):
        two.prob_above([1.0, 2.0, 3.0])
    with pytest.raises(SettingError, match="NaN"):
        two.prob_above(np.nan)


def test_quantiles_between_levels_are_linear_and_beyond_them_have_the_tails_that_probabilities_have() -> None:
    one = rising([1.0] * LEVELS.size)
    assert one.quantile(0.55)[0, 0] == pytest.approx((one.quantile(0.5) + one.quantile(0.6))[0, 0] / 2)
    usual = forecast(norm.ppf(LEVELS).reshape(1, 1, -1))
    assert usual.quantile(0.999)[0, 0] == pytest.approx(norm.ppf(0.999), abs=0.25)
    assert usual.prob_above(usual.quantile(0.999)[0, 0])[0, 0] == pytest.approx(0.001)
    low, high = one.interval(0.8)
    assert (low[0, 0], high[0, 0]) == (
        pytest.approx(one.quantiles[0, 0, 3]),
        pytest.approx(one.quantiles[0, 0, 11]),
    )


def test_an_interval_beyond_the_levels_holds_as_much_as_it_says() -> None:
    levels = (0.25, 0.5, 0.75)
    quantiles: FloatArray = np.asarray(norm.ppf(levels)).reshape(1, 1, -1)
    few = Forecast(("a",), 1.0, levels, np.zeros((1, 1)), quantiles, np.zeros(1, dtype=np.bool_))
    for one, share in ((few, 0.95), (forecast(norm.ppf(LEVELS).reshape(1, 1, -1)), 0.999)):
        low, high = one.interval(share)
        drawn = one.sample(50_000)
        assert ((drawn >= low) & (drawn <= high)).mean() == pytest.approx(share, abs=0.005)
        assert (one.prob_above(low[0, 0]) - one.prob_above(high[0, 0]))[0, 0] == pytest.approx(share)


def test_a_series_that_never_is_negative_is_certainly_above_anything_that_is() -> None:
    for start in (-1.0, 4.0):
        one = rising([1.0] * LEVELS.size, start)
        assert (one.prob_above(-1e-9)[0, 0], one.quantile(1e-6)[0, 0]) == (1.0, 0.0)
    assert rising([1.0] * LEVELS.size, -1.1).prob_above(-1.5)[0, 0] < 1.0


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, np.nan, "0.5", None])
def test_levels_that_are_none_are_refused(level: float) -> None:
    one = rising([1.0] * LEVELS.size)
    with pytest.raises(SettingError, match="between 0 and 1"):
        one.quantile(level)
    with pytest.raises(SettingError, match="between 0 and 1"):
        one.interval(level)


def test_select_keeps_the_order_asked_for() -> None:
    two = forecast(np.arange(2.0 * LEVELS.size).reshape(2, 1, -1))
    assert two.select(["s1", "s0"]).quantiles[:, 0, 0].tolist() == [float(LEVELS.size), 0.0]
    with pytest.raises(UnknownSeries):
        two.select(["s2"])


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SettingError, match=r"\(n, H, levels\)"):
        Forecast(("a",), 1.0, DEFAULT_LEVELS, np.zeros((1, 2)), np.zeros((1, 2, 3)), np.zeros(1, dtype=np.bool_))
    with pytest.raises(SettingError, match="ascending"):
        Forecast(("a",), 1.0, (0.9, 0.1), np.zeros((1, 1)), np.zeros((1, 1, 2)), np.zeros(1, dtype=np.bool_))


def test_futures_are_distributed_as_forecast_at_every_step() -> None:
    quantiles = np.stack([norm.ppf(LEVELS, 10.0, step) for step in (1.0, 2.0, 3.0)])[None]
    one = forecast(quantiles)
    drawn = one.sample(20_000, seed=1)
    assert drawn.shape == (20_000, 1, 3)
    for level in (0.05, 0.3, 0.5, 0.9, 0.99):
        below = (drawn[:, 0] < one.quantile(level)[0]).mean(axis=0)
        assert below == pytest.approx(np.full(3, level), abs=0.01)
    # Farther out than the outermost quantile as often as the tail says.
    assert (drawn[:, 0, 0] > 13.5).mean() == pytest.approx(one.prob_above(13.5)[0, 0], abs=0.001)


def test_the_steps_of_a_future_belong_together_and_series_do_not() -> None:
    quantiles = np.broadcast_to(norm.ppf(LEVELS), (2, 4, LEVELS.size))
    drawn = forecast(quantiles.copy()).sample(20_000)
    assert np.corrcoef(drawn[:, 0, 0], drawn[:, 0, 3])[0, 1] == pytest.approx(0.5, abs=0.03)
    assert np.corrcoef(drawn[:, 0, 2], drawn[:, 0, 3])[0, 1] == pytest.approx(np.sqrt(3 / 4), abs=0.03)
    assert abs(np.corrcoef(drawn[:, 0, 3], drawn[:, 1, 3])[0, 1]) < 0.03


def test_the_same_seed_draws_the_same_futures_and_another_others() -> None:
    one = rising([1.0] * LEVELS.size)
    assert np.array_equal(one.sample(5, seed=3), one.sample(5, seed=3))
    assert not np.array_equal(one.sample(5, seed=3), one.sample(5, seed=4))
    for count in (0, 2.5):
        with pytest.raises(SettingError, match="1 or more"):
            one.sample(count)  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(MAYBE_GAPS, st.floats(0.0, 1e3))
def test_a_series_that_never_is_negative_has_no_negative_future(gaps: list[float], start: float) -> None:
    drawn = rising(gaps, start).sample(50)
    assert np.isfinite(drawn).all() and (drawn >= 0).all()
    if not any(gaps[1:]):
        assert (drawn == start + gaps[0]).all()
