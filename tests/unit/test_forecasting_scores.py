"""Scores: each against the sum it stands for, on numbers that can be added up by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forecasting import SettingError, scores
from forecasting.panel import FloatArray

NAN = np.nan


def cube(*rows: list[float]) -> FloatArray:
    """Outcomes of one step ahead: a row for each series, a column for each origin."""
    return np.array(rows, dtype=np.float64)[:, :, None]


def test_mase_is_scaled_by_the_mean_change_in_training() -> None:
    scale = scores.mase_scale(np.array([[1.0, 3.0, 3.0, NAN, 9.0, 8.0], [5.0] * 6, [NAN] * 6]))
    np.testing.assert_allclose(scale, [1.0, NAN, NAN])
    actual, point = cube([10.0, 12.0, NAN]), cube([11.0, 9.0, 1.0])
    np.testing.assert_allclose(scores.mase(actual, point, np.array([4.0])), [[0.5]])


def test_errors_are_over_the_mean_of_what_came_true() -> None:
    actual, point = cube([10.0, 30.0, NAN], [0.0, 0.0, 0.0]), cube([13.0, 26.0, 5.0], [1.0, 1.0, 1.0])
    np.testing.assert_allclose(scores.nmae(actual, point), [[3.5 / 20], [NAN]])
    np.testing.assert_allclose(scores.nrmse(actual, point), [[np.sqrt(12.5) / 20], [NAN]])


def test_coverage_counts_the_ends_and_leaves_out_what_is_missing() -> None:
    actual = cube([1.0, 2.0, 3.0, NAN])
    low, high = cube([1.0, 0.0, 4.0, 0.0]), cube([2.0, 2.0, 5.0, 9.0])
    np.testing.assert_allclose(scores.coverage(actual, low, high), [[2 / 3]])


def test_winkler_is_width_and_what_misses_cost() -> None:
    actual, low, high = cube([5.0, 0.0, 12.0]), cube([4.0, 4.0, 4.0]), cube([10.0, 10.0, 10.0])
    # Misses of 4 below and of 2 above, each times 2 / 0.05.
    np.testing.assert_allclose(scores.winkler(actual, low, high, 0.95), [[6.0 + (4 + 2) * 40 / 3]])
    with pytest.raises(SettingError, match="between 0 and 1"):
        scores.winkler(actual, low, high, 95)


def test_pinball_of_the_median_is_half_the_error() -> None:
    actual, quantiles = cube([5.0, 1.0]), np.array([3.0, 3.0]).reshape(1, 2, 1, 1)
    np.testing.assert_allclose(scores.pinball(actual, quantiles, [0.5]), [[1.0]])
    np.testing.assert_allclose(scores.pinball(actual, quantiles, [0.9]), [[(0.9 * 2 + 0.1 * 2) / 2]])


def test_true_quantiles_score_best() -> None:
    rng = np.random.default_rng(1)
    actual = rng.normal(size=(1, 20_000, 1))
    ends = (1.5, 1.96, 2.5)
    by_width = [float(scores.winkler(actual, 0 * actual - end, 0 * actual + end, 0.95)[0, 0]) for end in ends]
    assert by_width[1] == min(by_width)
    losses = [
        float(scores.pinball(actual, np.full((1, 20_000, 1, 1), at), [0.9])[0, 0]) for at in (0.9, 1.2816, 1.7)
    ]
    assert losses[1] == min(losses)


def test_the_worst_window_is_found_in_one_series_and_in_all() -> None:
    actual = cube([1, 1, 1, 0, 1, 1, NAN, NAN], [1, 1, 0, 0, 1, 1, NAN, NAN])
    low, high = np.full_like(actual, 0.5), np.full_like(actual, 2.0)
    np.testing.assert_allclose(scores.worst_window_coverage(actual, low, high, 2), [[0.5], [0.0]])
    np.testing.assert_allclose(scores.worst_window_coverage(actual, low, high, 2, pooled=True), [[0.25]])
    # The last window of four is half full and counts; of three it would be less than half.
    np.testing.assert_allclose(scores.worst_window_coverage(actual, low, high, 4), [[0.75], [0.5]])
    np.testing.assert_allclose(
        scores.worst_window_coverage(actual[:, :4], low[:, :4], high[:, :4], 3), [[1.0], [2 / 3]]
    )
    with pytest.raises(SettingError, match="window 0"):
        scores.worst_window_coverage(actual, low, high, 0)


def test_how_often_outcomes_are_below_quantiles() -> None:
    actual = cube([1.0, 2.0, 3.0, 4.0, NAN])
    quantiles = np.tile([0.5, 2.0, 9.0], (1, 5, 1, 1))
    np.testing.assert_allclose(scores.share_below(actual, quantiles), [[[0.0, 0.5, 1.0]]])


@settings(max_examples=100, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(0, 5), st.just(3)), elements=st.floats(-9, 9) | st.just(float("nan")))
)
def test_medians_are_numpys_without_its_warnings(score: FloatArray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = scores.median_over_series(score)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = np.nanmedian(score, axis=0) if score.size else np.full(3, NAN)
    np.testing.assert_allclose(ours, theirs)


def test_nothing_known_is_no_score_and_no_warning() -> None:
    nothing = np.full((2, 3, 1), NAN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(scores.nmae(nothing, nothing)).all()
        assert np.isnan(scores.coverage(nothing, nothing, nothing)).all()
        assert np.isnan(scores.worst_window_coverage(nothing, nothing, nothing, 2)).all()
        assert np.isnan(scores.mase_scale(np.zeros((2, 1)))).all()
