"""What was fitted elsewhere is used where it fits, and refused where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting import Calendar, Forecaster, Panel, Parameters, SettingError, Settings, fit_parameters
from forecasting.panel import FloatArray


def measured(columns: dict[str, FloatArray], rows: int = 2, points: int = 150) -> Panel:
    rng = np.random.default_rng(15)
    values = 50.0 + rng.standard_normal((rows, points)).cumsum(axis=1)
    names = tuple(f"s{row}" for row in range(rows))
    return Panel(np.arange(float(points)), values, names, 1.0, {name: c[:points] for name, c in columns.items()})


COLUMNS = {"loss": np.random.default_rng(16).random(200), "latency": np.linspace(3.0, 9.0, 200)}
POOL = ("last", "ewma", "ridge")


def test_columns_belong_to_their_names_in_whatever_order() -> None:
    one, other = Forecaster(3, members=POOL), Forecaster(3, members=POOL)
    one.fit(measured(COLUMNS))
    swapped = {name: COLUMNS[name] for name in ("latency", "loss")}
    other.load(measured(swapped), one.parameters)
    for tick in (150, 151, 152):
        for made in (one, other):
            made.update([float(tick)], [[50.0], [50.0]], {name: c[tick : tick + 1] for name, c in COLUMNS.items()})
        assert np.array_equal(one.predict().quantiles, other.predict().quantiles)
    assert tuple(other.history().columns) == ("latency", "loss")
    other.adopt(one.parameters)
    assert np.allclose(one.predict().quantiles, other.predict().quantiles)


def test_a_series_that_was_not_fitted_may_come_with_columns() -> None:
    made = Forecaster(3, members=POOL)
    made.fit(measured(COLUMNS))
    made.load(measured(COLUMNS, rows=3))
    assert np.isfinite(made.predict().quantiles).all()
    assert made.parameters.names == ("s0", "s1", "s2") and made.parameters.columns == ("loss", "latency")
    fresh = Forecaster(3, members=POOL)
    fresh.load(measured(COLUMNS))
    assert fresh.parameters.columns == ("loss", "latency")


ODD_COLUMNS = [
    ({}, "latency, loss"),
    ({"loss": COLUMNS["loss"]}, "latency"),
    (COLUMNS | {"jitter": np.ones(200)}, "jitter"),
]


@pytest.mark.parametrize(("columns", "odd"), ODD_COLUMNS)
def test_other_columns_than_were_fitted_are_named_and_the_forecaster_stays_as_it_was(
    columns: dict[str, FloatArray], odd: str
) -> None:
    made = Forecaster(3, members=POOL)
    made.fit(measured(COLUMNS))
    before, parameters = made.predict(), made.parameters
    with pytest.raises(SettingError, match=rf"columns.*: {odd}; fit again"):
        made.load(measured(columns))
    assert np.array_equal(made.predict().quantiles, before.quantiles) and made.parameters is parameters
    made.update([150.0], [[50.0], [50.0]], {"loss": [0.5], "latency": [8.0]})
    assert made.history().times[-1] == 150.0


def test_a_fit_that_fails_at_the_end_leaves_the_forecaster_as_it_was() -> None:
    made = Forecaster(3, members=("last",))
    made.fit(measured({}))
    before = made.predict()

    def progress(done: int, parts: int) -> None:
        if done > parts // 2:
            raise KeyError(done)

    with pytest.raises(KeyError):
        made.fit(measured({}, rows=3), progress=progress)
    assert np.array_equal(made.predict().quantiles, before.quantiles)
    made.update([150.0], [[50.0], [50.0]])
    assert made.parameters.names == made.predict().names == ("s0", "s1")


CALENDAR = Calendar(day_s=None)
OTHERS: list[tuple[Settings, tuple[str, ...], str]] = [
    (Settings(12, 1.0, CALENDAR), POOL, r"another horizon \(12 there, 3 here\); fit again"),
    (Settings(3, 60.0, CALENDAR), POOL, "another step_s .60.0 there, 1.0 here"),
    (Settings(3, 1.0), POOL, "another calendar; fit again"),
    (Settings(3, 1.0, CALENDAR, seed=2), POOL, "another seed"),
    (Settings(3, 1.0, CALENDAR), ("last", "ewma"), "no parameters for the members: ridge; fit again"),
    (Settings(3, 1.0, CALENDAR), (*POOL, "ets"), "members that this forecaster has not: ets"),
]


@pytest.mark.parametrize(("settings", "members", "says"), OTHERS)
def test_parameters_fitted_for_something_else_are_refused_by_load_and_adopt(
    settings: Settings, members: tuple[str, ...], says: str
) -> None:
    fitted = fit_parameters(measured({}), settings, members)
    made = Forecaster(3, members=POOL, calendar=CALENDAR)
    made.load(measured({}))
    before = made.parameters
    with pytest.raises(SettingError, match=says):
        made.adopt(fitted)
    with pytest.raises(SettingError, match=says):
        made.load(measured({}), fitted)
    assert made.parameters is before
    with pytest.raises(SettingError, match="last"):
        made.adopt(Parameters(before.names, before.settings, {}))


def test_a_history_of_another_step_has_no_use_for_the_parameters_there_were() -> None:
    made = Forecaster(3, members=POOL, calendar=CALENDAR)
    made.fit(measured({}))
    held = made.history()
    made.load(Panel(60.0 * held.times, held.values, held.names, 60.0))
    assert made.parameters.settings.step_s == made.predict().step_s == 60.0
    assert not made.parameters.arrays["ridge"]["near"].any()
