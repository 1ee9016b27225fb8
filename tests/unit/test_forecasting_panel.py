"""Panels refuse what is no panel, and the history behind a forecaster keeps its clock."""

from __future__ import annotations

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
    ],
)
def test_what_is_no_panel_is_refused_with_the_remedy(
    times: list[float], values: list[list[float]], names: tuple[str, ...], step_s: float, says: str
) -> None:
    with pytest.raises(PanelError, match=says):
        Panel(np.asarray(times), np.asarray(values), names, step_s)


def test_an_unknown_series_is_named_with_those_like_it() -> None:
    with pytest.raises(UnknownSeries, match="did you mean 's0'"):
        panel([[1.0]]).select(["s00"])


def test_a_tail_of_nothing_is_refused() -> None:
    with pytest.raises(PanelError, match="ask for 1 or more"):
        panel([[1.0]]).tail(0)


def test_history_fills_jumped_ticks_with_nan_and_drops_ticks_it_has() -> None:
    history = History(panel([[1.0, 2.0]]))
    assert history.append(np.array([1.02, 3.9]), np.array([[9.0, 5.0]])) == 3
    assert np.array_equal(history.tail(9).values, [[1.0, 2.0, np.nan, np.nan, 5.0]], equal_nan=True)
    assert history.tail(9).times.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


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


@pytest.mark.parametrize("column", [np.zeros(3), np.zeros((4, 2)), np.array([0.0, 1.0, np.inf, 0.0])], ids=str)
def test_a_column_that_does_not_fit_is_named(column: object) -> None:
    with pytest.raises(PanelError, match="loss"):
        Panel(np.arange(4.0), np.ones((2, 4)), ("a", "b"), 1.0, {"loss": np.asarray(column)})
