import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting import training
from forecasting.calendar import Calendar, Event
from forecasting.errors import ForecastingError
from forecasting.members import recurrent, recurrent_inputs
from forecasting.members.member import Sample
from forecasting.members.recurrent import GRU, LSTM, Kind, Recurrent, plan_for
from forecasting.members.recurrent_inputs import Inputs
from forecasting.panel import FloatArray, Panel
from forecasting.settings import Settings

STEP_S = 300.0
DAY = 288
HERE = Settings(horizon=6, step_s=STEP_S)
KINDS = pytest.mark.parametrize("kind", [LSTM, GRU], ids=["lstm", "gru"])

# Samples after which the state no longer depends on how it began, apart from the profile of the day.
SETTLED = 96


def panel_of(values: FloatArray) -> Panel:
    times = STEP_S * np.arange(values.shape[1], dtype=np.float64)
    return Panel(times, values, tuple(str(row) for row in range(len(values))), STEP_S)


def noise(n: int, points: int, seed: int = 0) -> FloatArray:
    """Series without memory: the mean is the best forecast, and the last value a bad one."""
    return 100.0 + 10.0 * np.random.default_rng(seed).standard_normal((n, points))


def sample(time_s: float, values: FloatArray, columns: FloatArray | None = None) -> Sample:
    return Sample(time_s, values, np.zeros((values.size, 0)) if columns is None else columns)


def play(member: Recurrent, values: FloatArray, first: int = 0) -> None:
    for index in range(values.shape[1]):
        member.step(sample((first + index) * STEP_S, values[:, index]))


def ahead(of: Settings = HERE, now_s: float = 0.0) -> FloatArray:
    return now_s + of.step_s * np.arange(1, of.horizon + 1, dtype=np.float64)


def untrained(kind: str, of: Settings = HERE, points: int = 3 * DAY, units: int = 8, seed: int = 0) -> Any:
    """Two networks with weights by chance, as large as trained ones: what they say is wild, but defined."""
    random = np.random.default_rng(seed)
    plan = plan_for(points, 0, of)
    inputs = Inputs(1, plan, of).step(0.0, np.ones(1), np.zeros((1, 0))).shape[1]
    gates, answers = units * (3 if kind == "gru" else 4), plan.knots.size * len(recurrent.LEVELS)
    shapes = {
        "input_weight": (2, inputs, gates),
        "input_bias": (2, gates),
        "state_weight": (2, units, gates),
        "state_bias": (2, gates),
        "head_state": (2, units, answers),
        "head_input": (2, inputs, answers),
        "head_bias": (2, answers),
    }
    weights = {name: 0.3 * random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return {"kind": np.array(kind), **plan.as_arrays(), **weights}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(training, "UPDATES", 120)
    monkeypatch.setattr(training, "NETWORKS", 1)
    monkeypatch.setattr(training, "UNITS", 8)
    monkeypatch.setattr(training, "BATCH", 16)


@KINDS
def test_numpy_says_what_torch_says(kind: Kind) -> None:
    torch = pytest.importorskip("torch")
    arrays = untrained(kind.NAME)
    values = noise(5, 150)
    values[2, 40:60] = np.nan
    member = kind.start(arrays, HERE)
    play(member, values)

    inputs = Inputs(5, plan_for(3 * DAY, 0, HERE), HERE)
    seen = np.stack([inputs.step(i * STEP_S, values[:, i], np.zeros((5, 0))) for i in range(150)], axis=1)
    answers = []
    for net in range(2):
        weights = {name: torch.from_numpy(arrays[name][net]) for name in recurrent.WEIGHTS}
        cells = (torch.nn.GRU if kind.NAME == "gru" else torch.nn.LSTM)(seen.shape[2], 8, batch_first=True)
        with torch.no_grad():
            cells.weight_ih_l0.copy_(weights["input_weight"].T)
            cells.weight_hh_l0.copy_(weights["state_weight"].T)
            cells.bias_ih_l0.copy_(weights["input_bias"])
            cells.bias_hh_l0.copy_(weights["state_bias"])
            x = torch.from_numpy(seen.astype(np.float32))
            hidden = cells(x)[0][:, -1]
            raw = hidden @ weights["head_state"] + x[:, -1] @ weights["head_input"] + weights["head_bias"]
            raw = raw.reshape(5, 6, 7)
            gaps = torch.nn.functional.softplus(raw)
            median = raw[..., 3]
            answers.append(np.stack([median - gaps[..., 1:3].sum(-1), median, median + gaps[..., 4:6].sum(-1)], 0))
    low, middle, high = np.mean(answers, axis=0)
    unit = inputs.scale[:, None] * np.sqrt(np.arange(1, 7))
    medians, spread = member.forecast(ahead()), member.spread(ahead())
    np.testing.assert_allclose((medians - inputs.base[:, None]) / unit, middle, atol=1e-5)
    np.testing.assert_allclose(spread / unit, 0.5 * (high - low), atol=1e-5)


@KINDS
@pytest.mark.usefixtures("quick")
def test_it_learns_that_noise_comes_back_to_its_mean(kind: Kind) -> None:
    arrays = kind.fit(panel_of(noise(8, 500)), HERE)
    values = noise(20, 300, seed=1)
    member = kind.start(arrays, HERE)
    errors, naive, inside = [], [], []
    for index in range(290):
        member.step(sample(index * STEP_S, values[:, index]))
        if index >= SETTLED:
            median, spread = member.forecast(ahead()), member.spread(ahead())
            error = values[:, index + 1 : index + 7] - median
            errors.append(np.abs(error))
            naive.append(np.abs(values[:, index + 1 : index + 7] - values[:, index, None]))
            inside.append(np.abs(error) <= spread)
    # A perfect forecast has 0.71 of the error of the last value, and 80 % inside.
    assert np.mean(errors) < 0.8 * np.mean(naive)
    assert 0.65 < np.mean(inside) < 0.95


@KINDS
@pytest.mark.usefixtures("quick")
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(kind: Kind) -> None:
    panel = panel_of(noise(3, 200))
    first, again = (kind.fit(panel, HERE) for _ in range(2))
    other = kind.fit(panel, Settings(6, STEP_S, seed=1))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["state_weight"], other["state_weight"])


@pytest.mark.usefixtures("quick")
def test_training_leaves_the_threads_and_random_numbers_of_the_process_alone() -> None:
    import torch

    torch.manual_seed(7)
    expected = (torch.get_num_threads(), float(torch.rand(1)))
    torch.manual_seed(7)
    GRU.fit(panel_of(noise(2, 120)), HERE)
    assert (torch.get_num_threads(), float(torch.rand(1))) == expected


def test_without_torch_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ForecastingError, match=r"pip install 'lockstitch\[neural\]'"):
        LSTM.fit(panel_of(noise(2, 200)), HERE)


@KINDS
def test_reading_a_network_needs_no_torch(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    member = kind.start(untrained(kind.NAME), HERE)
    play(member, noise(2, 5))
    assert np.isfinite(member.forecast(ahead())).all()


def test_what_is_learnt_from_is_what_came_after_and_nothing_for_missing_samples() -> None:
    values = noise(2, 60)
    values[0, 20:25] = np.nan
    values[1, :30] = np.nan
    plan = plan_for(60, 0, HERE)
    lessons = training.lessons_of(STEP_S * np.arange(60.0), values, np.zeros((2, 60, 0)), plan, HERE)
    inputs = Inputs(2, plan, HERE)
    for index in range(54):
        inputs.step(index * STEP_S, values[:, index], np.zeros((2, 0)))
        expected = (values[:, index + 1 : index + 7] - inputs.base[:, None]) / inputs.scale[:, None]
        limit = training.LARGEST_CHANGE
        expected = np.clip(expected / np.sqrt(np.arange(1, 7)), -limit, limit)
        np.testing.assert_allclose(lessons.changes[:, index], expected, rtol=1e-5)
    assert np.isnan(lessons.changes[:, 59]).all()
    assert np.isfinite(lessons.inputs).all()


def test_inputs_know_nothing_of_what_comes_later() -> None:
    values = noise(3, 3 * DAY)
    changed = values.copy()
    changed[:, 700:] *= 5.0
    plan = plan_for(3 * DAY, 0, HERE)
    assert plan.daily
    times = STEP_S * np.arange(3.0 * DAY)
    first, second = (
        training.lessons_of(times, each, np.zeros((3, 3 * DAY, 0)), plan, HERE) for each in (values, changed)
    )
    assert np.array_equal(first.inputs[:, :700], second.inputs[:, :700])
    assert not np.array_equal(first.inputs[:, 700:], second.inputs[:, 700:])


@pytest.mark.usefixtures("quick")
def test_what_is_held_out_is_not_taught() -> None:
    values = noise(4, 400)
    changed = values.copy()
    changed[:, 360:] = 100.0 + 50.0 * np.sin(np.arange(40.0))
    plan = plan_for(400, 0, HERE)
    times = STEP_S * np.arange(400.0)
    taught = []
    for each in (values, changed):
        import torch

        lessons = training.lessons_of(times, each, np.zeros((4, 400, 0)), plan, HERE)
        pupil = training._Pupil(torch, "gru", lessons, 0)
        taught.append(pupil._taught[:, : pupil._cut].numpy())
    np.testing.assert_array_equal(*taught)
    assert np.isfinite(taught[0][:, :350]).all()


@KINDS
@given(factor=st.sampled_from([1e-9, 1e-3, 7.0, 1e6, 1e12]), shift=st.integers(0, 3))
@settings(max_examples=10, deadline=None)
def test_the_unit_of_a_series_does_not_matter(kind: Kind, factor: float, shift: int) -> None:
    values = noise(2, 100, seed=shift)
    forecasts = []
    for each in (values, factor * values):
        member = kind.start(untrained(kind.NAME), HERE)
        play(member, each)
        forecasts.append((member.forecast(ahead()), member.spread(ahead())))
    np.testing.assert_allclose(factor * forecasts[0][0], forecasts[1][0], rtol=1e-4)
    np.testing.assert_allclose(factor * forecasts[0][1], forecasts[1][1], rtol=1e-3)


def odd_series() -> FloatArray:
    random = np.random.default_rng(3)
    rows = np.zeros((9, 700))
    rows[1] = 5.0
    rows[2] = np.nan
    rows[3] = np.where(np.arange(700) == 10, 4.0, np.nan)
    rows[4] = 1e12 * random.random(700)
    rows[5] = 1e-9 * random.random(700)
    rows[6] = np.where(np.arange(700) == 650, 1e150, 0.0)
    rows[7] = np.where(random.random(700) < 0.5, np.nan, -random.random(700))
    rows[8] = np.where(np.arange(700) < 690, np.nan, 1.0)
    return rows


@KINDS
def test_odd_series_never_give_nan(kind: Kind) -> None:
    rows = odd_series()
    member = kind.start(untrained(kind.NAME), HERE)
    seen = np.zeros(len(rows), dtype=np.bool_)
    for index in range(rows.shape[1]):
        member.step(sample(index * STEP_S, rows[:, index]))
        seen |= np.isfinite(rows[:, index])
        median, spread = member.forecast(ahead()), member.spread(ahead())
        assert np.isfinite(median[seen]).all()
        assert np.isnan(median[~seen]).all()
        assert np.isfinite(spread).all() and (spread > 0).all()
    # What never moved stays where it is.
    assert (member.forecast(ahead())[0] == 0.0).all()


@KINDS
@pytest.mark.usefixtures("quick")
def test_odd_series_do_not_spoil_what_the_others_learn(kind: Kind) -> None:
    arrays = kind.fit(panel_of(np.concatenate([odd_series(), noise(3, 700)])), HERE)
    assert arrays["state_weight"].size
    assert all(np.isfinite(arrays[name]).all() for name in recurrent.WEIGHTS)


@pytest.mark.parametrize(
    "values",
    [np.ones((2, 1)), np.full((2, 400), np.nan), np.ones((2, 400)), np.zeros((0, 400)), noise(2, 20)],
    ids=["one point", "all missing", "constant", "no series", "short"],
)
def test_with_nothing_to_learn_from_the_forecast_is_the_last_value(values: FloatArray) -> None:
    member = LSTM.start(LSTM.fit(panel_of(values), HERE), HERE)
    play(member, np.array([[1.0, 3.0], [2.0, 2.0]]))
    assert np.array_equal(member.forecast(ahead()), [[3.0] * 6, [2.0] * 6])
    assert (member.spread(ahead()) > 0).all()


@KINDS
def test_arrays_survive_a_file_without_pickle_and_a_pickle(kind: Kind, tmp_path: Path) -> None:
    calendar = Calendar(events=(Event(0.0, 7200.0, "match"),))
    of = Settings(6, STEP_S, calendar)
    arrays = untrained(kind.NAME, of)
    np.savez(tmp_path / "weights.npz", **arrays)
    with np.load(tmp_path / "weights.npz", allow_pickle=False) as file:
        stored = {name: file[name] for name in file.files}
    forecasts = []
    sent = pickle.loads(pickle.dumps(arrays))  # noqa: S301 - from here to here
    for each in (arrays, stored, sent):
        member = kind.start(each, of)
        play(member, noise(2, 30))
        forecasts.append(member.forecast(ahead()))
    assert np.array_equal(forecasts[0], forecasts[1]) and np.array_equal(forecasts[0], forecasts[2])


def test_an_event_is_known_before_it_begins_and_may_leave_the_calendar() -> None:
    event = Event(50 * STEP_S, 70 * STEP_S, "match")
    of = Settings(6, STEP_S, Calendar(events=(event,)))
    plan = plan_for(100, 0, of)
    with_event = Inputs(1, plan, of)
    without = Inputs(1, plan, HERE)
    seen = [
        [each.step(index * STEP_S, np.ones(1), np.zeros((1, 0))) for each in (with_event, without)]
        for index in range(49)
    ]
    assert not np.array_equal(seen[48][0], seen[48][1])
    assert seen[48][0].shape == seen[48][1].shape
    assert np.array_equal(seen[0][0], seen[0][1])


def test_columns_beside_the_series_are_seen_and_may_be_missing() -> None:
    random = np.random.default_rng(0)
    plan = plan_for(100, 2, HERE)
    first, second = Inputs(3, plan, HERE), Inputs(3, plan, HERE)
    for index in range(50):
        columns = random.standard_normal((3, 2))
        columns[0] = np.nan
        columns[1] = 5.0
        moved = columns + (index == 49) * np.array([[0.0], [0.0], [3.0]])
        one = first.step(index * STEP_S, np.ones(3), columns)
        two = second.step(index * STEP_S, np.ones(3), moved)
    assert np.array_equal(one[:2], two[:2])
    assert not np.array_equal(one[2], two[2])
    # A stream that no longer has a column goes on without it.
    assert np.isfinite(first.step(50 * STEP_S, np.ones(3), np.zeros((3, 0)))).all()


def test_columns_of_a_panel_are_of_all_series_or_of_each() -> None:
    class WithColumns:
        values = noise(3, 10)
        columns = {"loss": np.arange(10.0), "delay": np.arange(30.0).reshape(3, 10)}

    panel: Any = WithColumns()
    found = recurrent.columns_of(panel, np.array([0, 2]), slice(4, 10))
    assert np.array_equal(found[..., 0], np.tile(np.arange(4.0, 10.0), (2, 1)))
    assert np.array_equal(found[..., 1], np.arange(30.0).reshape(3, 10)[[0, 2], 4:])


@pytest.mark.parametrize("horizon", [1, 12, 13, 288])
def test_any_horizon_is_answered_through_a_few_knots(horizon: int) -> None:
    knots = recurrent_inputs.knots_of(horizon)
    assert knots[0] == 1 and knots[-1] == horizon and knots.size <= 12
    matrix = recurrent.between_knots(knots, horizon)
    np.testing.assert_allclose(matrix @ np.ones(knots.size), 1.0)
    np.testing.assert_allclose(matrix @ knots, np.arange(1, horizon + 1))
    of = Settings(horizon, STEP_S)
    member = GRU.start(untrained("gru", of), of)
    play(member, noise(2, 20))
    assert member.forecast(ahead(of)).shape == member.spread(ahead(of)).shape == (2, horizon)


@pytest.mark.parametrize("calendar", [Calendar(day_s=288.0), Calendar(day_s=None), Calendar(day_s=1.5)])
def test_a_day_may_have_any_length_or_there_may_be_none(calendar: Calendar) -> None:
    of = Settings(4, 1.0, calendar)
    member = GRU.start(untrained("gru", of, points=1000), of)
    for index in range(700):
        member.step(sample(float(index), noise(2, 1, seed=index)[:, 0]))
    assert np.isfinite(member.forecast(ahead(of))).all()


def test_the_profile_says_how_yesterday_went_on() -> None:
    plan = plan_for(3 * DAY, 0, HERE)
    inputs = Inputs(1, plan, HERE)
    wave = 100.0 + 50.0 * np.sin(2 * np.pi * np.arange(2 * DAY + 1) / DAY)
    for index, value in enumerate(wave):
        seen = inputs.step(index * STEP_S, np.array([value]), np.zeros((1, 0)))
    known, distance, *rises = seen[0, 7:12]
    assert known == 1.0 and abs(distance) < 0.5
    # At the start of a day the wave rises, and further the longer one looks ahead.
    assert 0.0 < rises[0] < rises[1] < rises[2]


def test_before_the_first_sample_there_are_no_series_to_forecast() -> None:
    member = GRU.start(untrained("gru"), HERE)
    assert member.forecast(ahead()).shape == member.spread(ahead()).shape == (0, 6)


@KINDS
@pytest.mark.usefixtures("quick")
def test_a_panel_that_ends_in_a_long_gap_is_learnt_from(kind: Kind) -> None:
    values = noise(6, 500)
    values[:, 400:] = np.nan
    member = kind.start(kind.fit(panel_of(values), HERE), HERE)
    new = noise(1, 200, seed=9)
    play(member, new)
    # The mean is 100: a high sample is followed by lower ones, a low one by higher ones.
    toward = (member.forecast(ahead())[0] - new[0, -1]) * (100.0 - new[0, -1])
    assert (toward > 0).all()


@pytest.mark.usefixtures("quick")
def test_a_horizon_longer_than_the_panel_is_answered_from_its_last_knot() -> None:
    of = Settings(288, STEP_S)
    arrays = LSTM.fit(panel_of(noise(4, 200)), of)
    assert arrays["knots"][-1] == 66
    member = LSTM.start(arrays, of)
    play(member, noise(2, 100, seed=2))
    assert member.forecast(ahead(of)).shape == (2, 288)
    assert np.isfinite(member.forecast(ahead(of))).all()
