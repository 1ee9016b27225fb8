"""Panels refuse what is no panel, and the history behind a forecaster keeps its clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forecasting import Panel, PanelError, UnknownSeries
from forecasting.history import KEPT_POINTS, History
from forecasting.panel import FloatArray


def panel(values: object, step_s: float = 1.0) -> Panel:
    rows: FloatArray = np.asarray(values, dtype=np.float64)
    names = tuple(f"s{index}" for index in range(rows.shape[0]))
    return Panel(step_s * np.arange(rows.shape[1], dtype=np.float64), rows, names, step_s)


def test_a_panel_keeps_what_it_was_given_and_its_tail() -> None:
    whole = panel([[1, 2, 3], [np.nan, 5, 6]])
    end = whole.tail(2)
    assert end.times.tolist() == [1.0, 2.0] and end.values.tolist() == [[2, 3], [5, 6]]
    assert whole.tail(99).values.shape == (2, 3)
    assert whole.select(["s1"]).names == ("s1",)


@pytest.mark.parametrize(
    ("times", "values", "names", "step_s", "says"),
    [
        ([0.0, 1.0], [[1.0, 2.0, 3.0]], ("a",), 1.0, "fill missing samples with NaN"),
        ([0.0, 1.0], [[1.0, 2.0]], ("a", "b"), 1.0, "2 names"),
        ([0.0, 1.0, 3.0], [[1.0, 2.0, 3.0]], ("a",), 1.0, "mark missing ones with NaN"),
        ([1.0, 0.0], [[1.0, 2.0]], ("a",), 1.0, "even clock"),
        ([0.0, 1.0], [[1.0, np.inf]], ("a",), 1.0, "infinities"),
        ([0.0, 1.0], [[1.0, 2.0], [1.0, 2.0]], ("a", "a"), 1.0, "same name"),
        ([0.0, 1.0], [[1.0, 2.0]], ("a",), 0.0, "above 0"),
        ([], np.empty((1, 0)), ("a",), 1.0, "at least one time"),
        ([np.nan], [[1.0]], ("a",), 1.0, "give seconds"),
        ([np.inf], [[1.0]], ("a",), 1.0, "give seconds"),
        ([1.8e12], [[1.0]], ("a",), 1.0, "give seconds"),
        ([0.0, 1.0], [[1.0, 1e151]], ("a",), 1.0, "larger unit"),
        ([0.0, 1.0], [[1.0, -1e308]], ("a",), 1.0, "larger unit"),
        ([0.0, 1.0], [["x", "y"]], ("a",), 1.0, "values: not all"),
        ([0.0, 1.0], [[1.0, 1j]], ("a",), 1.0, "real numbers"),
        ([0.0, 1.0], [[1.0, {}]], ("a",), 1.0, "real numbers"),
        (["a", "b"], [[1.0, 2.0]], ("a",), 1.0, "times: not all"),
        ([0.0, 1.0], [[1.0, 2.0]], ("a",), "1", "step_s is '1'"),
    ],
)
def test_what_is_no_panel_is_refused_with_the_remedy(
    times: list[float], values: list[list[float]], names: tuple[str, ...], step_s: float, says: str
) -> None:
    with pytest.raises(PanelError, match=says):
        Panel(np.asarray(times), np.asarray(values), names, step_s)


def test_every_sample_lies_near_its_place_on_the_clock_and_not_only_near_the_one_before() -> None:
    times = 300.0 * np.arange(2000.0)
    values = np.ones((1, times.size))
    jitter = np.random.default_rng(0).uniform(-3.0, 3.0, times.size)
    assert Panel(times + jitter, values, ("a",), 300.0).times.size == 2000
    with pytest.raises(PanelError, match=r"gaps from 302\.97 to 302\.97 s"):
        Panel(1.0099 * times, values, ("a",), 300.0)


def test_numbers_of_other_types_are_floats_inside() -> None:
    whole: Any = (np.arange(2), np.array([[1, None]]), ("a",), np.int64(1))
    made = Panel(*whole)
    assert type(made.step_s) is float and made.values.dtype == made.times.dtype == np.float64
    assert np.isnan(made.values[0, 1])


def test_an_unknown_series_is_named_with_those_like_it() -> None:
    with pytest.raises(UnknownSeries, match="did you mean 's0'"):
        panel([[1.0]]).select(["s00"])
    with pytest.raises(UnknownSeries, match="unknown series 3"):
        Panel(np.zeros(1), np.ones((2, 1)), (1, 2), 1.0).select([3])  # type: ignore[arg-type, list-item]


def test_a_tail_of_nothing_is_refused() -> None:
    with pytest.raises(PanelError, match="ask for 1 or more"):
        panel([[1.0]]).tail(0)


def test_history_fills_jumped_ticks_with_nan_and_drops_ticks_it_has() -> None:
    history = History(panel([[1.0, 2.0]]))
    assert history.append(np.array([1.02, 3.9]), np.array([[9.0, 5.0]])).new == 3
    assert np.array_equal(history.tail(9).values, [[1.0, 2.0, np.nan, np.nan, 5.0]], equal_nan=True)
    assert history.tail(9).times == pytest.approx([0.0, 1.0, 2.0, 3.0, 4.0], abs=0.01)


def test_a_sample_belongs_to_the_nearest_tick_and_the_clock_follows_it_slowly() -> None:
    history = History(panel([[1.0, 2.0]]))
    assert history.append(np.array([1.45]), np.array([[9.0]])).new == 0
    assert history.append(np.array([1.6]), np.array([[3.0]])).new == 1
    assert history.tail(1).times[0] == pytest.approx(2.0 - 0.4 / 20)
    # A source that is 1 % slow stays with its ticks: none is lost, and the clock goes as it does.
    times = 2.0 + 1.01 * np.arange(1.0, 500.0)
    taken = history.append(times, np.ones((1, 499)))
    assert taken.ticks.tolist() == list(range(1, 500))
    assert np.abs(taken.times_s - times).max() < 0.4


def test_of_two_samples_for_a_tick_the_first_stays_and_their_order_does_not_matter() -> None:
    history = History(panel([[1.0]]))
    history.append(np.array([3.0, 1.0, 1.1, 2.0]), np.array([[4.0, 2.0, 99.0, 3.0]]))
    assert history.tail(4).values.tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_history_is_bounded_and_keeps_the_newest() -> None:
    history = History(panel([[0.0]]))
    total = 3 * KEPT_POINTS
    for start in range(1, total, 1000):
        ticks = np.arange(start, min(start + 1000, total), dtype=np.float64)
        history.append(ticks, ticks[None, :])
    kept = history.tail(total)
    assert kept.values.shape == (1, KEPT_POINTS)
    assert np.array_equal(kept.values[0], kept.times) and kept.times[-1] == total - 1


def test_a_gap_longer_than_the_history_leaves_only_what_is_new() -> None:
    history = History(panel([[1.0, 2.0]]))
    history.append(np.array([1e6]), np.array([[7.0]]))
    kept = history.tail(KEPT_POINTS)
    assert kept.times[-1] == 1e6 and kept.values[0, -1] == 7.0
    assert np.isfinite(kept.values).sum() == 1


@pytest.mark.parametrize(
    ("times", "values", "says"),
    [
        ([2.0], [[1.0], [2.0]], "a row for each series"),
        ([2.0, 3.0], [[1.0]], "a row for each series"),
        ([np.nan], [[1.0]], "give seconds"),
        ([2.0], [[np.inf]], "infinities"),
    ],
)
def test_samples_that_do_not_fit_the_history_are_refused(
    times: list[float], values: list[list[float]], says: str
) -> None:
    with pytest.raises(PanelError, match=says):
        History(panel([[1.0, 2.0]])).append(np.asarray(times), np.asarray(values))


def test_columns_go_where_their_series_go() -> None:
    columns = {"loss": np.arange(4.0), "latency": np.arange(8.0).reshape(2, 4)}
    panel = Panel(np.arange(4.0), np.ones((2, 4)), ("a", "b"), 1.0, columns)
    cut = panel.select(["b"]).tail(2)
    assert cut.columns["loss"].tolist() == [2.0, 3.0] and cut.columns["latency"].tolist() == [[6.0, 7.0]]
    assert panel.stacked_columns()[1].tolist() == [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]


@pytest.mark.parametrize("name", ["x\0y", 7])
def test_a_column_has_a_name_that_can_be_stored(name: str) -> None:
    with pytest.raises(PanelError, match="text without NUL"):
        Panel(np.arange(4.0), np.ones((2, 4)), ("a", "b"), 1.0, {name: np.zeros(4)})


@pytest.mark.parametrize("column", [np.zeros(3), np.zeros((4, 2)), np.array([0.0, 1.0, np.inf, 0.0])], ids=str)
def test_a_column_that_does_not_fit_is_named(column: object) -> None:
    with pytest.raises(PanelError, match="loss"):
        Panel(np.arange(4.0), np.ones((2, 4)), ("a", "b"), 1.0, {"loss": np.asarray(column)})
