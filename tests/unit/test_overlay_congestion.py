"""Classes move off an uplink before it is full, and never fill another."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stitching.overlay.congestion import CongestionPolicy, Expected, UplinkKey, WayUse, relieve

ONE: UplinkKey = (1, "one", "out")
TWO: UplinkKey = (1, "two", "out")
THREE: UplinkKey = (1, "three", "out")
KEYS = (ONE, TWO, THREE)
WAYS = tuple(WayUse((key[1],), (key,)) for key in KEYS)


def sends(name: str, mean: float, high: float | None = None, takes: int = 0) -> Expected:
    return Expected(1, 2, name, mean, mean if high is None else high, WAYS[:2], takes)


def test_what_fits_stays() -> None:
    answer = relieve([sends("voice", 70)], {ONE: 100, TWO: 100}, {})
    assert answer.shifts == () and answer.still_hot == {}


def test_a_high_quantile_is_enough_to_move() -> None:
    both = [sends("voice", 20), sends("bulk", 50, 85)]
    [shift] = relieve(both, {ONE: 100, TWO: 200}, {}).shifts
    assert (shift.class_name, shift.before, shift.after) == ("bulk", ("one",), ("two",))
    assert shift.why == "uplink one of 1 would be 105% full"


def test_where_there_is_no_room_it_stays_and_is_told() -> None:
    answer = relieve([sends("bulk", 95)], {ONE: 100, TWO: 50}, {})
    assert answer.shifts == ()
    assert answer.still_hot == {ONE: pytest.approx(95)}


def test_what_is_too_much_for_both_goes_where_it_fills_less() -> None:
    """As a high quantile may be while something grows: to stay would be to fill the narrower one for certain."""
    answer = relieve([sends("bulk", 10, 15)], {ONE: 12, TWO: 18}, {})
    [shift] = answer.shifts
    assert shift.after == ("two",) and answer.still_hot == {TWO: pytest.approx(15)}
    back = relieve([sends("bulk", 10, 15, takes=1)], {ONE: 12, TWO: 18}, {})
    assert back.shifts == ()


def test_what_others_carry_counts() -> None:
    answer = relieve([sends("bulk", 30)], {ONE: 100, TWO: 100}, {ONE: 60.0, TWO: 60.0})
    assert answer.shifts == () and list(answer.still_hot) == [ONE]


@given(
    demands=st.lists(st.tuples(st.floats(0, 60), st.floats(0, 30), st.integers(0, 2)), max_size=12),
    capacity=st.tuples(*[st.floats(20, 200)] * 3),
    other=st.tuples(*[st.floats(0, 100)] * 3),
)
@settings(max_examples=150, deadline=None)
def test_no_move_makes_another_uplink_hot_but_one_less_full_than_what_it_leaves(
    demands: list[tuple[float, float, int]], capacity: tuple[float, ...], other: tuple[float, ...]
) -> None:
    policy = CongestionPolicy()
    asked = [
        Expected(1, 2, str(place), mean, mean + spread, WAYS, takes)
        for place, (mean, spread, takes) in enumerate(demands)
    ]
    capacities, carried = dict(zip(KEYS, capacity, strict=True)), dict(zip(KEYS, other, strict=True))
    answer = relieve(asked, capacities, carried, policy)
    places = {one.class_name: one.takes for one in asked}
    before = dict(places)
    for shift in answer.shifts:
        assert before[shift.class_name] == places[shift.class_name]  # each moves once
        places[shift.class_name] = [way.tunnels for way in WAYS].index(shift.after)

    def load(key: UplinkKey, at: dict[str | None, int]) -> float:
        mine = [one for one in asked if KEYS[at[one.class_name]] == key]
        spread = math.sqrt(sum((one.high_mbps - one.mean_mbps) ** 2 for one in mine))
        return carried[key] + sum(one.mean_mbps for one in mine) + spread

    fullest = max(load(key, before) / capacities[key] for key in KEYS)
    for key in KEYS:
        then, now, limit = load(key, before), load(key, places), policy.share * capacities[key]
        assert now <= max(then, limit, fullest * capacities[key]) + 1e-6
        assert (now > limit + 1e-6) <= (key in answer.still_hot)
    assert max(load(key, places) / capacities[key] for key in KEYS) <= max(fullest, policy.share) + 1e-6
