"""Rounds come soon after news, and rest as long as they took."""

from __future__ import annotations

import time

import pytest

from ryu_apps.overlay.pacing import LOOK_S, Pace, steady_clock


class Paced:
    """A pace whose time is the test's."""

    def __init__(self) -> None:
        self.now_s, self.due = 100.0, 0
        self.pace = Pace(self._due, lambda: self.now_s)

    def _due(self) -> None:
        self.due += 1

    def round(self, took_s: float) -> None:
        with self.pace.round():
            self.now_s += took_s


def test_all_news_of_one_moment_are_one_round() -> None:
    paced = Paced()
    for _ in range(1000):
        paced.pace.news()
    assert paced.due == 1 and paced.pace.take_due()
    paced.round(0.0)
    paced.pace.news()
    assert paced.due == 2


def test_a_round_that_was_made_meanwhile_is_not_made_again() -> None:
    paced = Paced()
    paced.pace.news()
    paced.round(0.0)
    assert not paced.pace.take_due() and not paced.pace.is_time()


def test_after_a_long_round_news_wait_as_long_as_it_took() -> None:
    paced = Paced()
    paced.round(5.0)
    paced.pace.news()
    assert paced.due == 0 and paced.pace.is_time()
    paced.now_s += 4.9
    paced.pace.news()
    assert paced.due == 0
    paced.now_s += 0.2
    paced.pace.news()
    assert paced.due == 1


def test_what_people_asked_for_does_not_wait() -> None:
    paced = Paced()
    paced.round(5.0)
    paced.pace.news()
    assert paced.due == 0
    paced.pace.news(waits=False)
    paced.pace.news(waits=False)
    assert paced.due == 1


def test_without_news_a_round_is_made_now_and_then() -> None:
    paced = Paced()
    assert paced.pace.is_time()
    paced.round(0.1)
    assert not paced.pace.is_time()
    paced.now_s += LOOK_S
    assert paced.pace.is_time()


def test_news_of_a_round_that_failed_are_not_lost_for_ever() -> None:
    paced = Paced()
    paced.pace.news()
    try:
        with paced.pace.round():
            raise ValueError
    except ValueError:
        pass
    paced.now_s += LOOK_S
    assert paced.pace.is_time()


def test_where_the_machines_clock_is_set_no_deadline_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = steady_clock()
    before_s = clock()
    assert abs(before_s - time.time()) < 1
    monkeypatch.setattr(time, "time", lambda: before_s + 31 * 86_400)
    assert abs(clock() - before_s) < 5
