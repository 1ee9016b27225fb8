"""Apps ask each other, and every answer arrives where the question was asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from os_ken.base.app_manager import AppManager

from ryu_apps.app import App, Event, Request, ask, handles


@dataclass
class Double(Request[int]):
    """What is twice this number?"""

    number: int


@dataclass
class Stumble(Event):
    """Makes the handler raise."""


class Oracle(App):
    """Answers, and refuses negative numbers."""

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
