"""How long fits, training and a period's work take."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from benchmarks.foreseeing.data import WEEK, abilene_flows, abilene_links, all_flows
from benchmarks.foreseeing.judge import AREA
from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from forecasting import ALL_MEMBERS, MEMBERS, NEURAL, Forecaster, ForecastingError, Panel, fit_parameters
from forecasting.backtest import cut

_HORIZON = 12
_PERIODS = 100


def refit() -> Iterator[Figure]:
    """CPU time of `Forecaster.fit` with the default members: 50 series of 2,016 points, the replay included."""
    panel = fifty_series()
    forecaster = Forecaster(_HORIZON)
    # What a first fit imports is not the fit's.
    forecaster.fit(panel.rows(slice(0, 1)))
    before_s = time.process_time()
    fit_parameters(panel, forecaster.settings(panel.step_s), MEMBERS)
    fitted_s = time.process_time()
    forecaster.fit(panel)
    n = len(panel.names)
    each_s = (time.process_time() - fitted_s) / n
    note(f"refit: members {(fitted_s - before_s) / n:.4f} s a series, the rest is the replay of the history")
    yield Figure("refit_cpu_a_series", AREA, each_s, "s", Better.LESS, 0.12)


def neural_training() -> Iterator[Figure]:
    """Time that passes while LSTM and GRU learn from 50 series of 2,016 points: each alone, and on a core each."""
    panel = fifty_series()
    settings = Forecaster(_HORIZON).settings(panel.step_s)
    _train(panel.rows(slice(0, 2)).tail(300), NEURAL[:1])
    for name in NEURAL:
        before_s = time.perf_counter()
        _train(panel, (name,))
        yield Figure(f"train_{name}", AREA, time.perf_counter() - before_s, "s", Better.LESS, 15.0)
    with ProcessPoolExecutor(len(NEURAL), multiprocessing.get_context("spawn")) as executor:
        before_s = time.perf_counter()
        fit_parameters(panel, settings, NEURAL, executor)
        yield Figure("train_both", AREA, time.perf_counter() - before_s, "s", Better.LESS, None)


def period() -> Iterator[Figure]:
    """Time for `update` and `predict` of the 132 flows of Abilene: the median of a hundred periods."""
    yield _period("period_132_flows", MEMBERS)


def period_neural() -> Iterator[Figure]:
    """The same with LSTM and GRU."""
    yield _period("period_132_flows_neural", ALL_MEMBERS)


def fifty_series() -> Panel:
    """The first week of Abilene's 20 busiest flows and 30 link loads."""
    flows, links = abilene_flows().panel, abilene_links().panel
    values = np.concatenate([flows.values, links.values])
    return cut(Panel(flows.times, values, flows.names + links.names, flows.step_s), 0, WEEK)


def _train(panel: Panel, members: Sequence[str]) -> None:
    try:
        fit_parameters(panel, Forecaster(_HORIZON).settings(panel.step_s), members)
    except ForecastingError as error:
        raise MeasurementFailed(str(error)) from error


def _period(name: str, members: Sequence[str]) -> Figure:
    panel = all_flows()
    forecaster = Forecaster(_HORIZON, members=members)
    try:
        forecaster.fit(cut(panel, 0, WEEK))
    except ForecastingError as error:
        raise MeasurementFailed(str(error)) from error
    took_s = np.zeros(_PERIODS)
    for index in range(_PERIODS):
        new = cut(panel, WEEK + index, WEEK + index + 1)
        before_s = time.perf_counter()
        forecaster.update(new.times, new.values)
        forecaster.predict()
        took_s[index] = time.perf_counter() - before_s
    note(f"{name}: median {1e3 * np.median(took_s):.1f} ms, 99 % {1e3 * np.quantile(took_s, 0.99):.1f} ms")
    return Figure(name, AREA, 1e3 * float(np.median(took_s)), "ms", Better.LESS, 50.0)
