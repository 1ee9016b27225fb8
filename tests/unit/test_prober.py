"""The process that probes hangs or dies: it is started again, and no answer is taken for that of another."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.system.waiting import wait_until
from vte_agent.probing import prober as prober_module
from vte_agent.probing.prober import Prober
from vte_agent.probing.sockets import ProbeFailed


@pytest.fixture
def prober() -> Iterator[Prober]:
    made = Prober(lambda _: None)
    made.start()
    assert made.health() == {}
    yield made
    made.stop()


def pid(prober: Prober) -> int:
    assert prober._process
    return prober._process.pid


def answers(prober: Prober) -> bool:
    try:
        return prober.health() == {} and isinstance(prober.take_worst_late_s(), float)
    except ProbeFailed:
        return False


def test_a_process_that_hangs_is_started_again(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = pid(prober)
    os.kill(hanging, signal.SIGSTOP)
    with monkeypatch.context() as impatient:
        impatient.setattr(prober_module, "_ANSWER_WITHIN_S", 0.2)
        with pytest.raises(ProbeFailed, match="does not answer"):
            prober.health()
    wait_until(lambda: pid(prober) != hanging and answers(prober), 20, "it is not started again")


def test_an_answer_that_comes_too_late_is_none_to_another_question(
    prober: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prober._process
    monkeypatch.setattr(prober._process, "kill", lambda: None)
    os.kill(pid(prober), signal.SIGSTOP)
    with monkeypatch.context() as impatient:
        impatient.setattr(prober_module, "_ANSWER_WITHIN_S", 0.2)
        with pytest.raises(ProbeFailed):
            prober.take_worst_late_s()
    os.kill(pid(prober), signal.SIGCONT)
    assert prober.health() == {}


def test_one_that_dies_is_started_again(prober: Prober) -> None:
    died = pid(prober)
    os.kill(died, signal.SIGKILL)
    wait_until(lambda: pid(prober) != died and answers(prober), 20, "it is not started again")
