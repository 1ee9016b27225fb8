"""Whom is no member any more is cut at once, whatever the hands are busy with."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator

import pytest

from tests.system.waiting import wait_until
from vte_agent.cutting import Cutting
from vte_agent.tunnels.contract import TunnelFailed


class Bench:
    def __init__(self) -> None:
        self.cut: list[str] = []
        self.refuses: list[Exception] = []
        self.cutting = Cutting(self._take_down)
        self.cutting.start()

    def _take_down(self, device: str) -> None:
        if self.refuses:
            raise self.refuses.pop()
        self.cut.append(device)

    def until(self, *devices: str) -> None:
        wait_until(lambda: self.cut == list(devices), 5, lambda: f"{self.cut}")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.cutting.stop()
    assert not any(thread.name == "cutting" for thread in threading.enumerate())


def test_a_device_is_cut_once_when_who_is_behind_it_is_no_member_any_more(bench: Bench) -> None:
    bench.cutting.watch({"a": 2, "b": 3})
    bench.cutting.judge({2, 3})
    bench.cutting.judge({3})
    bench.until("a")
    bench.cutting.judge({3})
    bench.cutting.watch({"a": 2, "b": 3, "c": 2})
    bench.until("a", "c")
    assert bench.cutting.take() == {"a", "c"} and not bench.cutting.take()


def test_nothing_is_cut_before_it_is_known_who_is_a_member(bench: Bench) -> None:
    bench.cutting.watch({"a": 2, "b": 3})
    bench.cutting.judge({2})
    bench.until("b")


def test_what_came_back_and_is_out_again_is_cut_again(bench: Bench) -> None:
    bench.cutting.watch({"a": 2})
    bench.cutting.judge(())
    bench.until("a")
    bench.cutting.judge({2})
    bench.cutting.judge(())
    bench.until("a", "a")


def test_what_the_kernel_refuses_is_tried_again(bench: Bench) -> None:
    bench.refuses = [TunnelFailed("the kernel says no"), OSError(errno.EMFILE, "too many files are open")]
    bench.cutting.judge(())
    bench.cutting.watch({"a": 2})
    bench.until("a")
