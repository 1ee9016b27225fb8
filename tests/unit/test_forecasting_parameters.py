"""A fit may run anywhere: its result is small, travels by pickle, and is the same."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

from forecasting import MEMBERS, Calendar, Forecaster, Panel, Parameters, SettingError, Settings, fit_parameters

SETTINGS = Settings(4, 1.0, Calendar(day_s=None))


def panel(n: int = 3, points: int = 120) -> Panel:
    rng = np.random.default_rng(7)
    values = 50.0 + np.cumsum(rng.standard_normal((n, points)), axis=1) + rng.standard_normal((n, points))
    return Panel(np.arange(float(points)), values, tuple(f"s{index}" for index in range(n)), 1.0)


def forecaster() -> Forecaster:
    return Forecaster(4, calendar=SETTINGS.calendar)


def same(one: Parameters, other: Parameters) -> bool:
    return (one.names, one.settings, one.members) == (other.names, other.settings, other.members) and all(
        np.array_equal(array, other.arrays[member][field], equal_nan=True)
        for member, arrays in one.arrays.items()
        for field, array in arrays.items()
    )


def test_parameters_survive_a_pickle_and_are_small() -> None:
    fitted = fit_parameters(panel(), SETTINGS, MEMBERS)
    packed = pickle.dumps(fitted)
    assert same(pickle.loads(packed), fitted)  # noqa: S301 - our own bytes
    assert len(packed) < 20_000


def test_a_fit_in_spawned_processes_gives_the_same_forecast_as_one_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two threads of linear algebra in every worker are slower than one, by much where cores are few.
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    many = panel(n=17, points=60)
    here, there = forecaster(), forecaster()
    here.fit(many)
    told: list[tuple[int, int]] = []
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there.fit(many, pool, lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert same(here.parameters, there.parameters)
    assert np.array_equal(here.predict().quantiles, there.predict().quantiles)


def test_a_fit_elsewhere_and_adopt_here_is_a_fit() -> None:
    one, other = forecaster(), forecaster()
    one.fit(panel())
    other.load(panel())
    other.adopt(fit_parameters(panel(), SETTINGS, MEMBERS))
    assert np.array_equal(one.predict().mean, other.predict().mean)


def test_what_was_adopted_is_told_by_name_and_who_was_not_fitted_is_last_value() -> None:
    fitted = fit_parameters(panel().select(["s0", "s1"]), SETTINGS, MEMBERS)
    used = fitted.aligned(["s2", "s0"])
    assert used.names == ("s2", "s0") and used.members == fitted.members
    made = forecaster()
    made.load(panel().select(["s2", "s0"]), fitted)
    assert same(made.parameters, used)
    only = fit_parameters(Panel(np.zeros(1), np.full((1, 1), np.nan), ("s2",), 1.0), SETTINGS, MEMBERS)
    for member, arrays in used.arrays.items():
        for field, array in arrays.items():
            assert np.array_equal(array[:1], only.arrays[member][field], equal_nan=True), (member, field)
    assert used.arrays["sarimax"]["ma"][1] != 0


def test_a_panel_without_series_is_fitted_too() -> None:
    fitted = fit_parameters(Panel(np.zeros(1), np.zeros((0, 1)), (), 1.0), SETTINGS, MEMBERS)
    assert fitted.names == () and fitted.members == MEMBERS


@pytest.mark.parametrize("members", [("x",), ("last", "x"), ()])
def test_members_that_there_are_not_are_not_fitted(members: tuple[str, ...]) -> None:
    with pytest.raises(SettingError, match="choose from last, ewma"):
        fit_parameters(panel(), SETTINGS, members)


def test_last_value_is_always_fitted_and_first() -> None:
    assert fit_parameters(panel(), SETTINGS, ("ewma",)).members == ("last", "ewma")


class Queue(Executor):
    """Does only the first `done` of its tasks, and takes no more than `taken`."""

    def __init__(self, done: int, taken: int) -> None:
        self.futures: list[Future[Any]] = []
        self._done, self._taken = done, taken

    def submit(self, call: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        if len(self.futures) == self._taken:
            raise RuntimeError("no more")
        future: Future[Any] = Future()
        self.futures.append(future)
        if len(self.futures) <= self._done:
            future.set_result(call(*given, **named))
        return future


@pytest.mark.parametrize(("done", "taken"), [(1, 3), (0, 1)])
def test_when_a_fit_fails_no_task_is_left_in_the_queue(done: int, taken: int) -> None:
    def progress(_done: int, _parts: int) -> None:
        raise KeyError("progress")

    queue = Queue(done, taken)
    with pytest.raises((KeyError, RuntimeError)):
        fit_parameters(panel(n=40, points=30), SETTINGS, ("last",), queue, progress)
    assert len(queue.futures) == taken and all(future.cancelled() for future in queue.futures[done:])


@pytest.mark.parametrize(
    ("horizon", "members", "says"),
    [(0, MEMBERS, "1 or more"), (3, ("prophet",), "last, ewma"), (3, (), "last, ewma")],
)
def test_settings_that_make_no_forecast_are_refused(horizon: int, members: tuple[str, ...], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        Forecaster(horizon, members=members)
