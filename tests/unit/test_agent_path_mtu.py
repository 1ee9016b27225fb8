"""The longest packet that gets through is found, whatever the path takes, loses or forgets."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vte_agent.probing.path_mtu import CONFIRM_S, CONFIRM_TRIES, GRAIN, RAISE_S, TRIES, PathMtu

LEAST, MOST = 1200, 8900


class Path:
    """Takes packets up to a limit, loses some, answers after rtt_s."""

    def __init__(self, limit: int, loss: float = 0.0, rtt_s: float = 0.02, seed: int = 0) -> None:
        self.limit, self.loss, self.rtt_s = limit, loss, rtt_s
        self.mtu = PathMtu(LEAST, MOST)
        self.now_s = 0.0
        self.sent: list[int] = []
        self._random = random.Random(seed)
        self._coming: list[tuple[float, int]] = []

    def run(self, duration_s: float) -> None:
        end_s = self.now_s + duration_s
        while self.now_s < end_s:
            while self._coming and self._coming[0][0] <= self.now_s:
                self.mtu.answered(self._coming.pop(0)[1], self.now_s)
            size = self.mtu.due(self.now_s, self.rtt_s)
            if size is not None:
                self.sent.append(size)
                if size <= self.limit and self._random.random() >= self.loss:
                    self._coming.append((self.now_s + self.rtt_s, size))
            self.now_s += 0.02

    @property
    def proven(self) -> int:
        return self.mtu.proven or 0


@given(limit=st.integers(LEAST, MOST + 100))
def test_the_limit_is_found_within_seconds(limit: int) -> None:
    path = Path(limit)
    path.run(10.0)
    assert min(limit, MOST) - GRAIN < path.proven <= limit
    assert not path.mtu.is_searching


def test_a_path_that_takes_all_is_proven_with_one_packet() -> None:
    path = Path(9000)
    path.run(1.0)
    assert path.sent == [MOST]
    assert path.proven == MOST


@settings(max_examples=25)
@given(limit=st.integers(LEAST, MOST), after=st.integers(LEAST, MOST))
def test_a_limit_that_becomes_another_is_found_again(limit: int, after: int) -> None:
    path = Path(limit)
    path.run(10.0)
    before = path.proven
    path.limit = after
    path.run(CONFIRM_S + 12.0)
    if after < before:
        assert after - GRAIN < path.proven <= after
    else:
        assert path.proven >= before
        path.run(RAISE_S + 10.0)
        assert after - GRAIN < path.proven <= after


@given(limit=st.integers(LEAST, MOST), seed=st.integers(0, 1000))
def test_loss_makes_it_smaller_at_worst(limit: int, seed: int) -> None:
    path = Path(limit, loss=0.1, seed=seed)
    path.run(30.0)
    assert path.proven <= limit


def test_where_nothing_passes_nothing_is_proven_and_it_is_tried_on() -> None:
    path = Path(0)
    path.run(10.0)
    assert path.mtu.proven is None
    path.limit = 1500
    path.run(10.0)
    assert 1500 - GRAIN < path.proven <= 1500


def test_what_was_proven_is_given_up_once_more_are_lost_than_chance_loses() -> None:
    path = Path(MOST)
    path.run(1.0)
    path.sent.clear()
    path.limit = 0
    path.run(CONFIRM_S + 5.0)
    assert path.sent[: CONFIRM_TRIES + 1] == [MOST] * CONFIRM_TRIES + [LEAST]
    assert path.mtu.is_blocked
    path.limit = MOST
    path.run(3.0)
    assert not path.mtu.is_blocked and path.proven == MOST


def test_what_is_lost_while_the_path_is_dead_makes_nothing_smaller() -> None:
    path = Path(1500)
    path.run(10.0)
    before, path.limit = path.proven, 0
    path.sent.clear()
    while len(path.sent) < CONFIRM_TRIES:
        path.run(0.02)
    path.mtu.resume(path.now_s)
    path.limit = 1500
    path.sent.clear()
    path.run(1.0)
    assert path.sent[0] == before and path.proven == before


def test_a_path_that_comes_back_may_be_a_shorter_or_a_longer_one_and_that_is_found_at_once() -> None:
    path = Path(1500)
    path.run(10.0)
    for limit in (MOST, 1400, 3000):
        path.limit = limit
        path.mtu.resume(path.now_s)
        path.run(8.0)
        assert limit - GRAIN < path.proven <= limit


def test_a_long_round_trip_is_waited_for() -> None:
    path = Path(9000, rtt_s=0.9)
    path.run(2.5)
    assert path.sent == [MOST]


def test_each_size_is_tried_a_few_times_only() -> None:
    path = Path(1500)
    path.run(10.0)
    assert max(path.sent.count(size) for size in path.sent if size > 1500) == TRIES


def test_what_was_never_sent_proves_nothing() -> None:
    mtu = PathMtu(LEAST, MOST)
    for size in (-1, 0, LEAST - 1, MOST + 1, 1 << 40):
        mtu.answered(size, 0.0)
    assert mtu.proven is None
    with pytest.raises(ValueError, match="no size"):
        PathMtu(10, 9)
