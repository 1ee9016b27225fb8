"""The calendar knows days and weeks of any length, holidays, and events as columns to fit a line to."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.calendar import Calendar, Event, event_from_row, events_from_rows, harmonics
from forecasting.errors import SettingError
from forecasting.settings import Settings

HOUR, DAY = 3600.0, 86400.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def one(text: str) -> np.ndarray:
    return np.array([at(text)])


def test_of_a_real_week_monday_is_the_first_day() -> None:
    calendar = Calendar()
    assert calendar.weekday(one("2026-03-02 12:00")) == 0
    assert calendar.weekday(one("2026-03-08 23:59")) == 6
    assert calendar.week_phase(one("2026-03-02 00:00")) == pytest.approx(0.0)
    assert calendar.week_phase(one("2026-03-05 12:00")) == pytest.approx(0.5)
    assert calendar.day_phase(one("2026-03-05 06:00")) == pytest.approx(0.25)
    assert calendar.week_s == 7 * DAY


def test_local_days_begin_at_local_midnight() -> None:
    calendar = Calendar(utc_offset_s=2 * HOUR)
    assert calendar.day_phase(one("2026-03-01 22:00")) == pytest.approx(0.0)
    assert calendar.weekday(one("2026-03-01 22:00")) == 0


def test_a_day_may_last_five_minutes() -> None:
    calendar = Calendar(day_s=288.0, days_a_week=5)
    times = 288.0 * np.arange(10.0) + 72.0
    assert calendar.day_phase(times) == pytest.approx(np.full(10, 0.25))
    assert list(calendar.weekday(times)) == [0, 1, 2, 3, 4] * 2
    assert not calendar.is_day_off(times).any()


def test_without_days_there_is_no_season() -> None:
    calendar = Calendar(day_s=None)
    times = np.arange(0.0, 20 * DAY, HOUR)
    assert not calendar.day_phase(times).any()
    assert not calendar.is_day_off(times).any()
    assert calendar.week_s is None
    assert Calendar(days_a_week=1).week_s is None


def test_a_holiday_is_the_whole_local_day_and_weekends_are_off_too() -> None:
    calendar = Calendar(utc_offset_s=HOUR, holidays=(at("2026-12-25 12:00"),))
    assert calendar.is_holiday(one("2026-12-24 23:00"))
    assert not calendar.is_holiday(one("2026-12-25 23:00"))
    assert list(calendar.is_day_off(np.array([at("2026-12-25 08:00"), at("2026-12-26 08:00")]))) == [True, True]
    assert not calendar.is_day_off(one("2026-12-28 08:00"))


def test_harmonics_come_pair_by_pair() -> None:
    assert harmonics(np.array([0.25]), 2) == pytest.approx(np.array([[1.0, 0.0, 0.0, -1.0]]), abs=1e-12)


@pytest.mark.parametrize(
    ("start", "end", "kind", "says"),
    [
        (10.0, 5.0, "backup", "ends before it starts"),
        (float("nan"), 5.0, "backup", "'backup'"),
        (0.0, float("inf"), "backup", "'backup'"),
        (0.0, 5.0, "  ", "kind"),
        (0.0, 5.0, "a\nb", "kind"),
        (0.0, 5.0, 7, "kind"),
        ("0", 5.0, "backup", "seconds"),
        (10**400, 10**400, "backup", "seconds"),
        (-1e308, 1e308, "backup", "seconds"),
        (True, 5.0, "backup", "seconds"),
    ],
)
def test_a_broken_event_is_named(start: float, end: float, kind: str, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        Event(start, end, kind)


@pytest.mark.parametrize(
    "broken",
    [
        {"day_s": 0.0},
        {"day_s": float("nan")},
        {"day_s": 1e300},
        {"day_s": 1e-300},
        {"day_s": 86400.0, "days_a_week": 10**9},
        {"days_a_week": True},
        {"utc_offset_s": 1e300},
        {"holidays": (1e300,)},
        {"days_a_week": 0},
        {"days_a_week": 6.5},
        {"utc_offset_s": float("inf")},
        {"holidays": (float("nan"),)},
        {"holidays": ("2026-12-25",)},
        {"events": ((0.0, 1.0, "backup"),)},
    ],
)
def test_a_broken_calendar_is_an_error(broken: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        Calendar(**broken)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers() -> None:
    made = Calendar(np.int64(86400), np.int64(7), np.int32(0), (np.int64(5),))  # type: ignore[arg-type]
    assert made == Calendar(holidays=(5.0,))
    assert type(made.days_a_week) is int and type(made.day_s) is type(made.holidays[0]) is float


def test_the_longest_event_there_may_be_has_columns() -> None:
    columns = Calendar(events=(Event(-1e12, 1e12, "age"),)).event_columns(np.arange(3.0), 1e-9)
    assert columns.sum(axis=1) == pytest.approx(np.ones(3))


@pytest.mark.parametrize("settings", [(0, 1.0), (1, 0.0), (1, float("nan")), (1.0, 1.0), (1, "1")])
def test_settings_that_no_forecast_can_be_made_with(settings: tuple[int, float]) -> None:
    with pytest.raises(SettingError):
        Settings(*settings)


def test_events_are_hats_that_add_up_to_one_around_them_and_to_nothing_far_away() -> None:
    calendar = Calendar(events=(Event(10 * HOUR, 12 * HOUR, "match"),))
    times = np.arange(0.0, DAY, 300.0)
    total = calendar.event_columns(times, 300.0).sum(axis=1)
    near = (times >= 9 * HOUR) & (times <= 14 * HOUR)
    assert total[near] == pytest.approx(np.ones(near.sum()))
    assert not total[(times <= 8 * HOUR) | (times >= 16 * HOUR)].any()


def test_every_event_of_a_kind_has_the_same_columns_and_other_kinds_have_others() -> None:
    calendar = Calendar(
        events=(Event(DAY, DAY + HOUR, "a"), Event(5 * DAY, 5 * DAY + HOUR, "a"), Event(9 * DAY, 10 * DAY, "b"))
    )
    times = np.arange(0.0, 12 * DAY, 300.0)
    columns = calendar.event_columns(times, 300.0)
    day = int(DAY / 300.0)
    assert columns[day // 2 : 2 * day] == pytest.approx(columns[day // 2 + 4 * day : 6 * day])
    half = columns.shape[1] // 2
    assert not columns[: 6 * day, half:].any()
    assert columns[8 * day :, half:].any()
    assert not columns[8 * day :, :half].any()


def test_a_line_through_the_columns_learns_the_shape_of_an_event() -> None:
    events = tuple(Event(day * DAY + 12 * HOUR, day * DAY + 14 * HOUR, "match") for day in range(4))
    times = np.arange(0.0, 4 * DAY, 300.0)
    hours = np.mod(times, DAY) / HOUR - 12.0
    shape = np.interp(hours, [-0.5, 0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 0.4, 1.5, 0.0])
    columns = Calendar(events=events).event_columns(times, 300.0)
    weights = np.linalg.lstsq(columns, shape, rcond=None)[0]
    assert np.abs(columns @ weights - shape).max() < 0.15


def test_columns_of_some_times_are_those_of_all_times() -> None:
    calendar = Calendar(
        events=(Event(1000.0, 1600.0, "a"), Event(1300.0, 1300.0, "a"), Event(1500.0, 9000.0, "a"))
    )
    times = np.arange(0.0, 20000.0, 100.0)
    columns = calendar.event_columns(times, 100.0)
    assert columns.max() > 1.0, "events of one kind add up"
    for index in range(0, times.size, 7):
        assert calendar.event_columns(times[index : index + 3], 100.0) == pytest.approx(columns[index : index + 3])


@pytest.mark.parametrize("length_s", [0.0, 1.0, 3.0])
def test_events_shorter_than_a_few_steps_have_columns_too(length_s: float) -> None:
    calendar = Calendar(day_s=288.0, events=(Event(50.0, 50.0 + length_s, "flash"),))
    columns = calendar.event_columns(np.arange(0.0, 100.0, 1.0), 1.0)
    assert np.isfinite(columns).all()
    assert columns[50].sum() == pytest.approx(1.0)
    assert not columns[:40].any()


def test_no_events_and_no_times_are_no_columns_and_no_rows() -> None:
    assert Calendar().event_columns(np.arange(3.0), 1.0).shape == (3, 0)
    assert Calendar(events=(Event(0.0, 1.0, "a"),)).event_columns(np.zeros(0), 1.0).shape[0] == 0


def test_rows_become_events() -> None:
    rows = [
        {"start_utc": "1998-06-10 15:30:00", "end_utc": "1998-06-10T17:25:00Z", "kind": " match "},
        {"start_utc": "1998-06-10T17:30:00+02:00", "end_utc": "1998-06-10 17:25", "kind": "match"},
    ]
    first, second = events_from_rows(rows)
    assert first == second == Event(at("1998-06-10 15:30"), at("1998-06-10 17:25"), "match")


@pytest.mark.parametrize("start", ["897492600", "897492600.0", "897492600000", "897492600000000", "8.974926e8"])
def test_times_of_events_may_be_counted_since_1970(start: str) -> None:
    event = event_from_row({"start_utc": start, "end_utc": "19980611", "kind": "match"})
    assert event == Event(at("1998-06-10 15:30"), at("1998-06-11"), "match")


def test_an_event_is_said_in_utc() -> None:
    event = Event(at("1998-06-10 15:30"), at("1998-06-10 17:25"), "match")
    assert str(event) == "'match' from 1998-06-10 15:30:00 UTC to 1998-06-10 17:25:00 UTC"
    with pytest.raises(SettingError, match=r"from 1970-01-01 00:01:00 UTC to 1970-01-01 00:00:00 UTC ends before"):
        Event(60.0, 0.0, "backup")
    with pytest.raises(SettingError, match=r"'a' from nan to 1e\+300: give its start"):
        Event(math.nan, 1e300, "a")


GOOD = {"start_utc": "2026-01-01", "end_utc": "2026-01-02", "kind": "a"}


@pytest.mark.parametrize(
    "row",
    [
        {},
        {**GOOD, "kind": ""},
        {**GOOD, "start_utc": "soon"},
        {**GOOD, "end_utc": "2025-12-31"},
        {**GOOD, "end_utc": None},
    ],
)
def test_a_broken_row_is_named(row: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="row 2"):
        events_from_rows([GOOD, row])


TEXTS = st.one_of(
    st.text(max_size=8), st.datetimes().map(str), st.sampled_from(["", "NaT", "1e9", "2026-02-30", "24:00"])
)
ROWS = st.fixed_dictionaries({}, optional={"start_utc": TEXTS, "end_utc": TEXTS, "kind": TEXTS})


@given(st.lists(ROWS, max_size=3))
def test_any_rows_are_events_or_an_error_that_names_one(rows: list[dict[str, str]]) -> None:
    good = Calendar().events
    try:
        good = events_from_rows(rows)
    except SettingError:
        with pytest.raises(SettingError, match=r"row \d"):
            events_from_rows(rows)
    columns = Calendar(events=good).event_columns(np.arange(0.0, 3600.0, 300.0), 300.0)
    assert np.isfinite(columns).all()


def test_a_name_for_each_event_is_no_kind() -> None:
    with pytest.raises(SettingError, match="65 kinds, 64 at most"):
        Calendar(events=tuple(Event(float(at), at + 1.0, f"backup {at}") for at in range(65)))
    assert len(Calendar(events=tuple(Event(float(at), at + 1.0, "backup") for at in range(65))).kinds) == 1
