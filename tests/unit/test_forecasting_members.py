"""The classical members: each learns what it is for, starts from a day of samples and never forecasts NaN."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from statsmodels.tsa.statespace.sarimax import SARIMAX

from forecasting.calendar import Calendar, Event
from forecasting.members import ets, ridge, sarimax, seasonal
from forecasting.members.logs import find_scale
from forecasting.members.member import Member, Sample
from forecasting.members.past import Past, same_time_before, season_steps
from forecasting.members.ridge_columns import History, Now, Seasons
from forecasting.panel import FloatArray, Panel
from forecasting.settings import Settings

# A day of 96 steps, as a lab may play it.
DAY_S, STEP_S, DAY = 192.0, 2.0, 96
SETTINGS = Settings(6, STEP_S, Calendar(day_s=DAY_S))
MODULES = {"ridge": ridge, "ets": ets, "sarimax": sarimax}


def start(name: str, fitted: dict[str, Any], settings: Settings = SETTINGS) -> Member:
    if name in MODULES:
        return MODULES[name].start(fitted, settings)  # type: ignore[no-any-return]
    return (seasonal.start_day if name == "day" else seasonal.start_week)(fitted, settings)


def fit(name: str, panel: Panel, settings: Settings = SETTINGS) -> dict[str, Any]:
    found = MODULES.get(name, seasonal).fit(panel, settings)
    return pickle.loads(pickle.dumps(found))  # type: ignore[no-any-return]  # noqa: S301 - our own


def make_panel(values: FloatArray, columns: dict[str, FloatArray] | None = None) -> Panel:
    rows = np.atleast_2d(values)
    names = tuple(map(str, range(len(rows))))
    return Panel(STEP_S * np.arange(rows.shape[1], dtype=np.float64), rows, names, STEP_S, columns or {})


def play(member: Member, panel: Panel, horizon: int = 6, settled: int = 0) -> FloatArray:
    """Feed a panel and give the forecasts after each sample from `settled` on: (samples, n, H)."""
    beside = np.zeros((len(panel.columns), *panel.values.shape))
    for which, column in enumerate(panel.columns.values()):
        beside[which] = column
    answers = []
    for index, time_s in enumerate(panel.times):
        member.step(Sample(float(time_s), panel.values[:, index], beside[:, :, index].T))
        if index >= settled:
            answers.append(member.forecast(float(time_s) + STEP_S * np.arange(1, horizon + 1, dtype=np.float64)))
    return np.array(answers)


def error(forecasts: FloatArray, values: FloatArray, settled: int, ahead: int) -> float:
    """The mean absolute error `ahead` steps ahead, over that of last value."""
    rows = np.atleast_2d(values)
    truth = rows[:, settled + ahead :].T
    last = rows[:, settled : rows.shape[1] - ahead].T
    missed = np.abs(forecasts[: truth.shape[0], :, ahead - 1] - truth)
    return float(np.nanmean(missed) / np.nanmean(np.abs(last - truth)))


def daily(days: int, seed: int = 1, noise: float = 0.05) -> FloatArray:
    rng = np.random.default_rng(seed)
    phase = np.arange(days * DAY) / DAY
    return np.exp(3.0 + 0.8 * np.sin(2 * np.pi * phase) + noise * rng.standard_normal(phase.size))


@pytest.mark.parametrize(("name", "most"), [("ridge", 0.5), ("sarimax", 0.6), ("day", 0.6), ("ets", 1.0)])
def test_members_that_know_the_day_beat_last_value_on_a_daily_cycle(name: str, most: float) -> None:
    values = daily(9)
    member = start(name, fit(name, make_panel(values[: 6 * DAY])))
    forecasts = play(member, make_panel(values), settled=6 * DAY)
    assert error(forecasts, values, 6 * DAY, 6) < most


def test_a_week_is_seven_days_of_the_calendar() -> None:
    weekly = np.tile(np.repeat([5.0, 5.0, 5.0, 5.0, 5.0, 1.0, 1.0], DAY), 2)
    forecasts = play(start("week", fit("week", make_panel(weekly))), make_panel(weekly), settled=7 * DAY)
    assert error(forecasts, weekly, 7 * DAY, 6) == 0.0


@pytest.mark.parametrize("name", ["day", "week", "ridge", "sarimax", "ets"])
def test_without_days_members_do_without_seasons(name: str) -> None:
    settings = Settings(6, STEP_S, Calendar(day_s=None))
    panel = make_panel(daily(3))
    assert np.isfinite(play(start(name, fit(name, panel, settings), settings), panel)).all()


def test_ets_follows_a_trend_and_averages_noise() -> None:
    rng = np.random.default_rng(2)
    noisy = 100.0 + 10.0 * rng.standard_normal(600)
    forecasts = play(start("ets", fit("ets", make_panel(noisy[:400]))), make_panel(noisy), settled=400)
    assert error(forecasts, noisy, 400, 1) < 0.8
    rising = np.cumsum(np.repeat([1.0, -1.0, 1.0, -1.0], 150)) + 500.0
    forecasts = play(start("ets", fit("ets", make_panel(rising[:400]))), make_panel(rising), settled=400)
    assert error(forecasts, rising, 400, 3) < 0.5


@pytest.mark.parametrize("name", ["ridge", "sarimax"])
def test_a_scheduled_event_is_forecast_before_it_begins(name: str) -> None:
    rng = np.random.default_rng(3)
    steps = np.arange(12 * DAY)
    # Not at the same time of the day, so that no season tells of it.
    begins = np.array([day * DAY + 30 + 7 * (day % 5) for day in range(12)])
    since = steps - begins[steps // DAY]
    values = np.exp(4.0 + 1.0 * ((since >= 0) & (since <= 16)) + 0.05 * rng.standard_normal(steps.size))
    events = tuple(Event(STEP_S * begin, STEP_S * (begin + 16), "match") for begin in begins)
    settings = Settings(6, STEP_S, Calendar(day_s=DAY_S, events=events))
    train = make_panel(values[: 9 * DAY])
    told = play(start(name, fit(name, train, settings), settings), make_panel(values), settled=9 * DAY)
    untold = play(start(name, fit(name, train)), make_panel(values), settled=9 * DAY)
    assert error(told, values, 9 * DAY, 6) < 0.6 * error(untold, values, 9 * DAY, 6)


def test_ridge_learns_from_a_column_beside_the_series() -> None:
    rng = np.random.default_rng(4)
    # The column says now what the series does two steps later.
    early = 10.0 * rng.standard_normal(1200)
    values = np.roll(early, 2) + 100.0
    told = make_panel(values, {"response_s": early})
    short = make_panel(values[:800], {"response_s": early[:800]})
    told_error = error(play(start("ridge", fit("ridge", short)), told, settled=800), values, 800, 2)
    assert told_error < 0.8
    untold = play(start("ridge", fit("ridge", make_panel(values[:800]))), make_panel(values), settled=800)
    assert told_error < 0.8 * error(untold, values, 800, 2)


def test_the_stream_of_ridge_sees_the_columns_that_the_fit_saw() -> None:
    z = np.log(np.stack([daily(3, seed=5), daily(3, seed=6)]))
    seasons = Seasons.of(SETTINGS)
    now, points = Now(seasons, STEP_S), z.shape[1]
    for index in range(points):
        now.push(STEP_S * index, z[:, index])
    near, ahead = now.near(z[:, -1], np.zeros((2, 0))), now.ahead(6)
    for row in range(2):
        history = History(z[row], np.zeros((points, 0)), seasons)
        assert near[row] == pytest.approx(history.near[-1], abs=1e-5)
        for steps in range(1, 7):
            assert ahead[:, row, steps - 1] == pytest.approx(history.ahead(steps, points)[-1], abs=1e-5)


def test_a_long_horizon_has_knots_and_is_smooth_between_them() -> None:
    settings = Settings(DAY, STEP_S, Calendar(day_s=DAY_S))
    values = daily(9)
    assert ridge.knots(DAY).size <= 16
    assert list(ridge.knots(5)) == [1, 2, 3, 4, 5]
    member = start("ridge", fit("ridge", make_panel(values[: 6 * DAY]), settings), settings)
    forecasts = play(member, make_panel(values), DAY, settled=6 * DAY)
    for ahead in (20, 48, 75):
        assert error(forecasts, values, 6 * DAY, ahead) < 0.5


@pytest.mark.parametrize("missing", [False, True])
def test_the_recursion_of_sarimax_over_all_series_forecasts_what_statsmodels_does(missing: bool) -> None:
    ar, ma = np.array([[0.5, -0.1], [-0.3, 0.2], [0.8, 0.05]]), np.array([-0.8, 0.4, -0.9])
    rng = np.random.default_rng(4)
    rows = 100.0 + np.cumsum(rng.standard_normal((3, 600)), axis=1) + rng.standard_normal((3, 600))
    if missing:
        # A gap long ago: statsmodels smooths over it, the recursion fills it in; afterwards both agree.
        rows[:, 50] = np.nan
    columns = fit("sarimax", make_panel(rows))["calendar"].shape[1]
    fitted = {"ar": ar, "ma": ma, "calendar": np.zeros((3, columns)), "limit": np.full(3, 1e9)}
    fitted |= {"unit": np.ones(3), "offset": np.zeros(3)}
    ours = play(start("sarimax", fitted), make_panel(rows), 12)[-1]
    for index in range(3):
        result = SARIMAX(rows[index], order=(2, 1, 1)).smooth([*ar[index], ma[index], 1.0])
        assert ours[index] == pytest.approx(result.forecast(12), rel=1e-6)


def test_generalised_least_squares_finds_a_season_under_a_random_walk() -> None:
    rng = np.random.default_rng(7)
    columns = np.stack([np.sin(np.arange(960) * 2 * np.pi / DAY), np.ones(960)], axis=1)
    values = 5.0 * columns[:, 0] + np.cumsum(0.1 * rng.standard_normal(960)) + rng.standard_normal(960)
    found = sarimax.gls(values, columns, np.array([10.0, 0.0]), sarimax.USUAL_AR, sarimax.USUAL_MA)
    assert found == pytest.approx([5.0, 0.0], abs=0.5)


@pytest.mark.parametrize("name", ["ridge", "sarimax", "ets"])
def test_too_little_is_last_value(name: str) -> None:
    rng = np.random.default_rng(8)
    values = np.abs(rng.standard_normal((2, 14))) + 1.0
    panel = make_panel(values)
    forecasts = play(start(name, fit(name, panel)), panel)
    assert forecasts == pytest.approx(np.repeat(values.T[:, :, None], 6, axis=2), rel=1e-6)


@pytest.mark.parametrize("name", ["ridge", "sarimax", "ets"])
def test_the_fit_of_a_series_does_not_depend_on_the_others(name: str) -> None:
    rows = np.stack([daily(4, seed=seed) for seed in range(3)])
    together = fit(name, make_panel(rows))
    for index in range(3):
        alone = fit(name, make_panel(rows[index]))
        for key, found in together.items():
            assert found[index] == pytest.approx(alone[key][0], rel=1e-9, abs=1e-12), key


ODD = {
    "constant": np.full(400, 7.0),
    "zero": np.zeros(400),
    "missing": np.full(400, np.nan),
    "one": np.where(np.arange(400) == 390, 3.0, np.nan),
    "late": np.where(np.arange(400) > 300, daily(5)[:400], np.nan),
    "gap": np.where((np.arange(400) > 100) & (np.arange(400) < 300), np.nan, daily(5)[:400]),
    "negative": daily(5)[:400] - 30.0,
    "huge": daily(5)[:400] * 1e147,
    "tiny": daily(5)[:400] * 1e-300,
    "bursts": np.where(np.arange(400) % 50 == 0, 1e9, 0.0),
    "step": np.where(np.arange(400) < 200, 1.0, 1e6),
    "sparse": np.where(np.random.default_rng(9).random(400) < 0.5, np.nan, daily(5)[:400]),
}


@pytest.mark.parametrize("name", ["day", "week", "ridge", "sarimax", "ets"])
def test_no_odd_series_makes_a_forecast_nan(name: str) -> None:
    panel = make_panel(np.array(list(ODD.values())))
    with np.errstate(all="ignore"):
        forecasts = play(start(name, fit(name, panel)), panel)
    seen = np.maximum.accumulate(np.isfinite(panel.values), axis=1).T
    for index, label in enumerate(ODD):
        assert np.isfinite(forecasts[seen[:, index], index]).all(), label
        assert np.isnan(forecasts[~seen[:, index], index]).all(), label
    assert forecasts[-1, 0] == pytest.approx(np.full(6, 7.0))


@given(
    values=arrays.arrays(
        np.float64, (2, 60), elements=st.one_of(st.just(np.nan), st.floats(-1e12, 1e12), st.floats(0, 10))
    ),
    name=st.sampled_from(["day", "ridge", "sarimax", "ets"]),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_no_samples_make_a_forecast_nan(values: FloatArray, name: str) -> None:
    panel = make_panel(values)
    forecasts = play(start(name, fit(name, panel)), panel)
    seen = np.maximum.accumulate(np.isfinite(values), axis=1).T
    assert np.isfinite(forecasts[seen]).all()


@pytest.mark.parametrize("name", ["ridge", "sarimax", "ets", "day"])
def test_a_panel_without_series_is_fitted_and_forecast(name: str) -> None:
    panel = Panel(STEP_S * np.arange(50.0), np.zeros((0, 50)), (), STEP_S, {})
    assert play(start(name, fit(name, panel)), panel).shape == (50, 0, 6)


@pytest.mark.parametrize("name", ["ridge", "sarimax", "ets"])
def test_gaps_hardly_hurt(name: str) -> None:
    values = daily(9, noise=0.02)
    whole = play(start(name, fit(name, make_panel(values[: 6 * DAY]))), make_panel(values), settled=6 * DAY)
    holes = np.where(np.random.default_rng(10).random(values.size) < 0.1, np.nan, values)
    broken = play(start(name, fit(name, make_panel(holes[: 6 * DAY]))), make_panel(holes), settled=6 * DAY)
    truth = values[6 * DAY + 6 :]
    missed = [np.abs(found[:-6, 0, 5] - truth).mean() for found in (whole, broken)]
    assert missed[1] < 1.5 * missed[0]


def test_the_past_counts_ticks_that_were_left_out() -> None:
    past = Past(5, 2.0)
    for time_s, value in [(0.0, 1.0), (2.0, 2.0), (6.0, 4.0), (8.0, 5.0)]:
        past.push(time_s, np.array([value]))
    assert past.ago(np.arange(6)) == pytest.approx(np.array([[5.0, 4.0, np.nan, 2.0, 1.0, np.nan]]), nan_ok=True)
    past.push(1000.0, np.array([9.0]))
    assert past.ago(np.arange(5)) == pytest.approx(np.array([[9.0, *[np.nan] * 4]]), nan_ok=True)


def test_the_same_time_a_season_ago_is_never_in_the_future() -> None:
    assert list(same_time_before(np.array([1, 11, 12, 13, 24, 25]), 12)) == [11, 1, 0, 11, 0, 11]
    assert season_steps(86400.0, 300.0) == 288
    assert season_steps(None, 300.0) == season_steps(400.0, 300.0) == 0


def test_a_scale_leads_there_and_back() -> None:
    rows = np.array([[0.0, 1.0, 5.0], [-1.0, 1.0, 5.0], [0.0, 0.0, 0.0], [1e300, 1.5e308, 1e307]])
    scale = find_scale(rows)
    assert list(scale.offset > 0) == [True, False, False, True]
    assert scale.backward(scale.forward(rows)) == pytest.approx(rows, rel=1e-6)
