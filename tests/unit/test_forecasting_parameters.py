"""A fit may run anywhere: its result is small, travels by pickle, and is the same."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from multiprocessing import get_context

import numpy as np
import pytest

from forecasting import MEMBERS, FitStatus, Forecaster, Panel, Parameters, SettingError, fit_parameters


def panel(n: int = 3, points: int = 120) -> Panel:
    rng = np.random.default_rng(7)
    values = 50.0 + np.cumsum(rng.standard_normal((n, points)), axis=1) + rng.standard_normal((n, points))
    return Panel(np.arange(float(points)), values, tuple(f"s{index}" for index in range(n)), 1.0)


def same(one: Parameters, other: Parameters) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))


def test_parameters_survive_a_pickle_and_are_small() -> None:
    fitted = fit_parameters(panel(), None, 4, MEMBERS)
    packed = pickle.dumps(fitted)
    assert same(pickle.loads(packed), fitted)  # noqa: S301 - our own bytes
    assert len(packed) < 2500


def test_a_fit_in_spawned_processes_gives_the_same_forecast_as_one_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two threads of linear algebra in every worker are slower than one, by much where cores are few.
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    many = panel(n=17, points=60)
    here, there = Forecaster(4), Forecaster(4)
    here.fit(many)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there.fit(many, pool)
    assert same(here.parameters, there.parameters)
    assert np.array_equal(here.predict().quantiles, there.predict().quantiles)


def test_a_fit_elsewhere_and_adopt_here_is_a_fit() -> None:
    one, other = Forecaster(4), Forecaster(4)
    one.fit(panel())
    other.load(panel())
    other.adopt(fit_parameters(panel(), None, 4, MEMBERS))
    assert np.array_equal(one.predict().mean, other.predict().mean)


def test_what_was_adopted_is_told_by_name() -> None:
    forecaster = Forecaster(4)
    forecaster.load(panel().select(["s2", "s0"]))
    forecaster.set_parameters(fit_parameters(panel().select(["s0", "s1"]), None, 4, MEMBERS))
    used = forecaster.parameters
    assert used.names == ("s2", "s0")
    assert used.status == (FitStatus.NOT_ASKED, FitStatus.FITTED)
    assert not used.ar[0].any() and used.ar[1].any()


def test_fits_are_counted() -> None:
    values = np.stack([panel().values[0], np.full(120, 3.0), 1.2 ** np.arange(120.0)])
    fitted = fit_parameters(Panel(np.arange(120.0), values, ("a", "b", "c"), 1.0), None, 4, MEMBERS)
    assert fitted.status == (FitStatus.FITTED, FitStatus.CONSTANT, FitStatus.FAILED)
    assert (fitted.fitted, fitted.failed) == (1, 1)


def test_without_sarimax_nothing_is_fitted_by_statsmodels() -> None:
    assert set(fit_parameters(panel(), None, 4, ("last", "ewma")).status) == {FitStatus.NOT_ASKED}


@pytest.mark.parametrize(
    ("horizon", "season_s", "members", "says"),
    [
        (0, None, MEMBERS, "1 or more"),
        (3, -1.0, MEMBERS, "None for none"),
        (3, None, ("prophet",), "last, ewma, sarimax"),
        (3, None, (), "last, ewma, sarimax"),
    ],
)
def test_settings_that_make_no_forecast_are_refused(
    horizon: int, season_s: float | None, members: tuple[str, ...], says: str
) -> None:
    with pytest.raises(SettingError, match=says):
        fit_parameters(panel(), season_s, horizon, members)
    with pytest.raises(SettingError, match=says):
        Forecaster(horizon, season_s=season_s, members=members)
