"""The emulated link as arithmetic: rate by virtual clock, delay, finite queue, loss, cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mininet_topos.shaping import Pipe

FRAME = bytes(1250)  # 10,000 bits: 1 ms at 10 Mbit/s


def pipe(rate_mbps: float | None = 10.0, delay_ms: float = 5.0, loss: float = 0.0, queue_ms: float = 50.0) -> Pipe:
    return Pipe(rate_mbps, delay_ms, loss, queue_ms, seed=1)


def test_a_lone_frame_takes_its_own_length_and_the_delay() -> None:
    assert pipe().offer(FRAME, 100.0) == pytest.approx(100.0 + 0.001 + 0.005)


def test_frames_that_come_at_once_leave_one_after_the_other() -> None:
    line = pipe()
    out = [line.offer(FRAME, 0.0) for _ in range(5)]
    assert out == pytest.approx([0.006, 0.007, 0.008, 0.009, 0.010])


def test_idle_time_is_not_saved_up() -> None:
    line = pipe()
    line.offer(FRAME, 0.0)
    assert line.offer(FRAME, 10.0) == pytest.approx(10.006)


def test_the_queue_holds_queue_ms_and_drops_what_comes_on_top() -> None:
    line = pipe(queue_ms=49.5)
    accepted = [line.offer(FRAME, 0.0) is not None for _ in range(80)]
    # One on the wire, 49 waiting: the last of them for 49 ms.
    assert accepted == [True] * 50 + [False] * 30
    assert line.dropped_queue == 30
    assert line.offer(FRAME, 0.010) is not None


def test_without_a_rate_there_is_no_queue() -> None:
    line = pipe(rate_mbps=None)
    assert {line.offer(FRAME, 1.0) for _ in range(1000)} == {1.005}


def test_loss_is_near_its_share_and_the_same_for_the_same_seed() -> None:
    def lost() -> list[bool]:
        line = pipe(rate_mbps=None, loss=0.1)
        return [line.offer(FRAME, 0.0) is None for _ in range(10_000)]

    first = lost()
    assert first == lost()
    assert 0.08 < sum(first) / len(first) < 0.12


def test_a_cut_loses_what_is_on_the_line_and_what_comes_after() -> None:
    line = pipe()
    line.offer(FRAME, 0.0)
    line.drop_line()
    assert line.offer(FRAME, 0.1) is None
    assert line.dropped_cut == 2 and not line.line
    line.cut = False
    assert line.offer(FRAME, 0.2) == pytest.approx(0.206)


def test_a_shorter_delay_does_not_let_a_frame_overtake() -> None:
    line = pipe(delay_ms=100.0)
    first = line.offer(FRAME, 0.0)
    line.set(rate_mbps=10.0, delay_ms=1.0, loss=0.0)
    assert first is not None and line.offer(FRAME, 0.001) == first


def test_busy_time_is_the_bits_over_the_rate() -> None:
    line = pipe()
    for i in range(7):
        line.offer(FRAME, i * 0.5)
    statistics = line.statistics()
    assert statistics["busy_s"] == pytest.approx(0.007)
    assert statistics["bytes"] == 7 * 1250 and statistics["frames"] == 7


@pytest.mark.parametrize(
    ("rate_mbps", "delay_ms", "loss"), [(0, 1, 0), (-1, 1, 0), (1, -1, 0), (1, 1, 1.5), (1, float("nan"), 0)]
)
def test_figures_that_are_no_link_are_refused(rate_mbps: float, delay_ms: float, loss: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        pipe(rate_mbps, delay_ms, loss)


@given(
    gaps=st.lists(st.floats(0, 0.02), min_size=1, max_size=200),
    size=st.integers(60, 1514),
    queue_ms=st.floats(1, 100),
)
def test_order_rate_and_queue_hold_for_any_arrivals(gaps: list[float], size: int, queue_ms: float) -> None:
    line = pipe(rate_mbps=10.0, delay_ms=3.0, queue_ms=queue_ms)
    now, out = 0.0, []
    for gap in gaps:
        now += gap
        due = line.offer(bytes(size), now)
        if due is not None:
            lasts = size * 8 / 10e6
            assert now + lasts + 0.003 - 1e-9 <= due <= now + queue_ms * 1e-3 + lasts + 0.003 + 1e-9
            out.append(due)
    spacing = [b - a for a, b in pairwise(out)]
    assert all(gap >= size * 8 / 10e6 - 1e-9 for gap in spacing)
    assert line.frames + line.dropped_queue == len(gaps)
