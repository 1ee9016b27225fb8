"""Apps ask each other, and every answer arrives where the question was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from os_ken.base.app_manager import AppManager

from ryu_apps.app import App, Event, Request, Tick, ask, handles
from tests.system.waiting import wait_until


@dataclass
class Double(Request[int]):
    """What is twice this number?"""

    number: int


@dataclass
class Stumble(Event):
    """Makes the handler raise."""


@dataclass
class Hold(Event):
    """Keeps the app busy until it is let go."""

    let_go: threading.Event


class Oracle(App):
    """Answers, and refuses negative numbers."""

    ticks = 0

    @handles(Hold)
    def on_hold(self, event: Hold) -> None:
        event.let_go.wait(10.0)

    @handles(Tick)
    def on_tick(self, _tick: Tick) -> None:
        self.ticks += 1

    @handles(Stumble)
    def on_stumble(self, _event: Stumble) -> None:
        raise ValueError("stumbled")

    @handles(Double)
    def on_double(self, request: Double) -> None:
        self.serve(request, lambda: self._double(request.number))

    def _double(self, number: int) -> int:
        if number < 0:
            raise ValueError("below zero")
        return 2 * number


@pytest.fixture
def oracle() -> Iterator[Oracle]:
    manager = AppManager.get_instance()
    app: Oracle = manager.instantiate(Oracle)
    app.start()
    try:
        yield app
    finally:
        manager.uninstantiate(app.name)


@pytest.mark.usefixtures("oracle")
def test_every_answer_arrives_however_fast_it_comes() -> None:
    assert [ask("Oracle", Double(number), timeout_s=5.0) for number in range(3000)] == list(range(0, 6000, 2))


@pytest.mark.usefixtures("oracle")
def test_what_the_app_raised_is_raised_where_it_was_asked() -> None:
    with pytest.raises(ValueError, match="below zero"):
        ask("Oracle", Double(-1), timeout_s=5.0)


def test_an_app_that_does_not_run_is_named() -> None:
    with pytest.raises(LookupError, match="Nobody"):
        ask("Nobody", Double(1))


def test_an_app_goes_on_after_a_fault_in_a_handler(oracle: Oracle) -> None:
    oracle.post(Stumble())
    assert ask("Oracle", Double(4), timeout_s=5.0) == 8


def test_one_tick_of_each_timer_waits_however_long_the_app_is_busy(oracle: Oracle) -> None:
    hold = Hold(threading.Event())
    oracle.post(hold)
    wait_until(lambda: oracle.events.qsize() == 0, 5.0, "the app was not held")
    for name in ("fast", "faster"):
        oracle.every(0.001, name)
    wait_until(lambda: oracle.events.qsize() == 2, 5.0, "no ticks came")
    late = threading.Timer(0.05, hold.let_go.set)
    late.start()
    late.join()
    assert oracle.events.qsize() <= 2
    wait_until(lambda: oracle.ticks > 20, 5.0, "ticks did not go on")
