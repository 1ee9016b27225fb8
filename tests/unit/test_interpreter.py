"""Cycles of dead objects are looked for when there is little to do, and in any case before they are too many."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

from ryu_apps import interpreter
from ryu_apps.interpreter import tuned
from tests.system.waiting import wait_until


class _Knot:
    def __init__(self) -> None:
        self.itself = self


def test_dead_cycles_go_while_the_process_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "LOOK_S", 0.01)
    monkeypatch.setattr(interpreter, "SOME", 100)
    with tuned():
        assert not gc.isenabled()
        dead = weakref.ref(_Knot())
        kept: list[list[int]] = [[] for _ in range(200)]
        wait_until(lambda: dead() is None, 10.0, "the cycle was not found")
    assert len(kept) == 200


def test_dead_cycles_go_while_the_process_is_busy_when_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "LOOK_S", 0.01)
    monkeypatch.setattr(interpreter, "_LITTLE", -1.0)
    monkeypatch.setattr(interpreter, "MANY", 1_000)
    with tuned():
        dead = weakref.ref(_Knot())
        few: list[list[int]] = [[] for _ in range(100)]
        assert dead() is not None
        many: list[list[int]] = [[] for _ in range(2_000)]
        wait_until(lambda: dead() is None, 10.0, "the cycle was not found")
    assert len(few) + len(many) == 2_100


def test_dead_cycles_that_were_old_already_go_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "LOOK_S", 0.01)
    monkeypatch.setattr(interpreter, "ALL_EVERY_S", 0.05)
    with tuned():
        knot = _Knot()
        dead = weakref.ref(knot)
        gc.collect()
        del knot
        wait_until(lambda: dead() is None, 10.0, "the old cycle was not found")


def test_all_is_set_back() -> None:
    before = sys.getswitchinterval(), gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()
    with tuned():
        assert sys.getswitchinterval() != before[0]
    assert (sys.getswitchinterval(), gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()) == before
    assert not any(thread.name == "collector" for thread in threading.enumerate())


def test_what_threads_wait_for_a_core_counts_as_work_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for thread, said in {"7": "5 2000000000 3", "8": "5 1000000000 3", "9": ""}.items():
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(said)
    (tmp_path / "10").mkdir()
    monkeypatch.setattr(interpreter, "_TASKS", tmp_path)
    used_s = time.process_time()
    assert used_s + 3.0 <= interpreter._had_to_do_s() <= time.process_time() + 3.0
