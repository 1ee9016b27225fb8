"""Token buckets: never more than burst plus rate times time, never less than that to one who waits as told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.rest.access.limits import Buckets


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@given(
    rate=st.floats(0.01, 1000.0),
    burst=st.floats(1.0, 100.0),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 50.0)), max_size=200),
)
def test_nobody_gets_more_than_the_burst_and_what_has_flowed_in(
    rate: float, burst: float, steps: list[tuple[str, float]]
) -> None:
    clock = Clock()
    buckets = Buckets(rate, burst, clock)
    given_to = dict.fromkeys("abc", 0)
    for key, apart_s in steps:
        clock.now_s += apart_s
        wait_s = buckets.take(key)
        given_to[key] += wait_s is None
        assert given_to[key] <= burst + rate * clock.now_s + 1e-6
        if wait_s is not None:
            assert wait_s >= 1 and buckets.wait_s(key) == wait_s
            clock.now_s += wait_s
            assert buckets.take(key) is None, "who waits as told is let in"
            given_to[key] += 1


def test_a_full_bucket_gives_its_burst_at_once_and_keys_do_not_share() -> None:
    buckets = Buckets(1.0, 3.0, Clock())
    assert [buckets.take("a") for _ in range(4)] == [None, None, None, 1]
    assert buckets.take("b") is None


def test_much_is_there_when_it_is_said_to_be_and_more_than_a_bucket_holds_is_all_of_it() -> None:
    clock = Clock()
    buckets = Buckets(2.0, 10.0, clock)
    assert [buckets.take("a", 8.0), buckets.take("a", 8.0)] == [None, 3]
    clock.now_s += 3
    assert buckets.take("a", 8.0) is None
    assert buckets.take("a", 99.0) == 5
    clock.now_s += 5
    assert buckets.take("a", 99.0) is None and buckets.take("a") == 1


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    clock = Clock()
    buckets = Buckets(1.0, 2.0, clock)
    clock.now_s = 100.0
    assert buckets.take("a") is None
    clock.now_s = 0.0
    assert buckets.take("a") is None
    assert buckets.take("a") == 1


def test_only_so_many_keys_are_remembered() -> None:
    buckets = Buckets(1.0, 1.0, Clock(), most=10)
    for number in range(1000):
        assert buckets.take(str(number)) is None
    assert len(buckets._levels) == 10
    assert buckets.take("999") == 1


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.5), (float("nan"), 1.0)])
def test_a_bucket_that_gives_nothing_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="a bucket needs"):
        Buckets(rate, burst, Clock())
