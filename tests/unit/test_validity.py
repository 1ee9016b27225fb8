"""When a stitch is valid: between two moments, and at hours of the week by the clock of a zone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from stitching.validity import ALWAYS, Validity, Weekly


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


OFFICE = Weekly((0, 1, 2, 3, 4), 8 * 60, 18 * 60, "Europe/Vienna")
NIGHT = Weekly((5,), 22 * 60, 6 * 60)


def test_without_limits_it_is_always_valid() -> None:
    assert ALWAYS.begins_s(5.0) == 5.0


def test_a_one_off_begins_and_is_over() -> None:
    once = Validity(from_s=10.0, until_s=20.0)
    assert [once.begins_s(now_s) for now_s in (5.0, 10.0, 19.9, 20.0)] == [10.0, 10.0, 19.9, None]


def test_it_waits_over_the_weekend() -> None:
    office = Validity(weekly=OFFICE)
    friday, monday = at("2026-03-06T17:59", "Europe/Vienna"), at("2026-03-09T08:00", "Europe/Vienna")
    assert office.begins_s(friday) == friday
    assert office.begins_s(friday + 60) == monday


def test_hours_stay_those_of_the_wall_clock_when_clocks_are_set() -> None:
    """On 29 March 2026 Vienna goes from UTC+1 to UTC+2."""
    office = Validity(weekly=OFFICE)
    begin = office.begins_s(at("2026-03-28T12:00"))
    assert begin is not None and datetime.fromtimestamp(begin, UTC).hour == 6
    before = office.begins_s(at("2026-03-21T12:00"))
    assert before is not None and datetime.fromtimestamp(before, UTC).hour == 7


def test_a_window_over_midnight_goes_on_into_the_next_day() -> None:
    night = Validity(weekly=NIGHT)
    sunday = at("2026-03-08T05:59")
    assert night.begins_s(sunday) == sunday
    assert night.begins_s(sunday + 60) == at("2026-03-14T22:00")


def test_a_recurring_one_is_over_when_no_window_is_left() -> None:
    last = Validity(until_s=at("2026-03-09T07:00", "Europe/Vienna"), weekly=OFFICE)
    assert last.begins_s(at("2026-03-06T18:00", "Europe/Vienna")) is None


@given(
    st.integers(0, 2_000_000_000),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_a_window_comes_within_eight_days_and_is_valid_when_it_has_come(
    now_s: int, days: set[int], start: int, end: int, zone: str
) -> None:
    validity = Validity(weekly=Weekly(tuple(sorted(days)), start, end, zone))
    begins_s = validity.begins_s(float(now_s))
    assert begins_s is not None and now_s <= begins_s <= now_s + 9 * 86_400
    assert validity.begins_s(begins_s) == begins_s
