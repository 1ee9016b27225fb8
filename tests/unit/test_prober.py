"""The process that probes hangs or dies: it is started again, and nobody waits for that."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.probers import prober
from tests.system.waiting import wait_until
from vte_agent.probing import prober as prober_module
from vte_agent.probing.prober import Prober
from vte_agent.probing.session import Need
from vte_agent.probing.sockets import ProbeFailed

__all__ = ["prober"]


def answers(prober: Prober) -> bool:
    try:
        return prober.health() == {} and isinstance(prober.take_worst_late_s(), float)
    except ProbeFailed:
        return False


def stop(prober: Prober) -> int:
    """Have its process hang."""
    assert prober.pid
    os.kill(prober.pid, signal.SIGSTOP)
    return prober.pid


def follower(prober: Prober, before: int | None) -> int:
    """The process that follows another."""
    return wait_until(lambda: None if prober.pid == before else prober.pid, 20, "it is not started again")


def within(most_s: float, act: Callable[[], object]) -> None:
    """It ends in time, with what it has to say or with ProbeFailed."""

    def run() -> None:
        with suppress(ProbeFailed):
            act()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(most_s)
    assert not thread.is_alive(), f"after {most_s:g} s it has not ended"


def test_a_process_that_hangs_is_started_again(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = stop(prober)
    with monkeypatch.context() as impatient:
        impatient.setattr(prober_module, "_ANSWER_WITHIN_S", 0.2)
        with pytest.raises(ProbeFailed, match="does not answer"):
            prober.health()
    wait_until(lambda: prober.pid != hanging and answers(prober), 20, "it is not started again")


def test_one_that_dies_is_started_again(prober: Prober) -> None:
    died = prober.pid
    os.kill(died or 0, signal.SIGKILL)
    wait_until(lambda: prober.pid != died and answers(prober), 20, "it is not started again")


def test_nobody_waits_for_one_that_hangs_while_it_is_started(
    prober: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as impatient:
        impatient.setattr(prober_module, "_START_WITHIN_S", 2.0)
        died = prober.pid
        os.kill(died or 0, signal.SIGKILL)
        follower(prober, died)
        hanging = stop(prober)
        for ask in (
            prober.health,
            lambda: prober.remove("t"),
            lambda: prober.need({}),
            lambda: prober.search_mtu({}),
        ):
            within(1.0, ask)
        follower(prober, hanging)
    wait_until(lambda: answers(prober), 20, "it does not answer again")


def test_one_that_hangs_is_ended_by_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober_module, "_ANSWER_WITHIN_S", 0.3)
    for hangs_at_start in (False, True):
        prober = Prober(lambda _: None)
        prober.start()
        if not hangs_at_start:
            wait_until(lambda made=prober: answers(made), 20, "it does not answer")  # type: ignore[misc]
        hanging = stop(prober)
        within(5.0, prober.stop)
        assert not Path(f"/proc/{hanging}").exists()


def test_one_that_does_not_read_is_started_again(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is told does not fit into the connection, so that it is not even said."""
    monkeypatch.setattr(prober_module, "_ANSWER_WITHIN_S", 0.3)
    first = prober.pid
    os.kill(first or 0, signal.SIGKILL)
    follower(prober, first)
    wait_until(lambda: answers(prober), 20, "it does not answer again")
    hanging = stop(prober)
    within(3.0, lambda: prober.need({f"t{number}": Need.USED for number in range(100_000)}))
    follower(prober, hanging)
