"""What windows say of a tunnel, and when it is said to do badly."""

from __future__ import annotations

import random

import pytest

from vte_agent.probing.quality import DelayWatch, LossWatch, Window, Windows
from vte_agent.probing.stamp import Reply
from vte_agent.protocol.has import Quality


def test_a_window_says_delay_jitter_and_loss_each_way() -> None:
    windows = Windows()
    for number in range(20):
        windows.add(
            Reply(100 + number / 10, 0.010 if number % 2 else 0.014, sent=2 if number < 10 else 1, reflected=1)
        )
    window = windows.window(10.0, 102.0)
    assert window.replies == 20
    assert window.rtt_ms == pytest.approx(12) and window.p95_ms == pytest.approx(14)
    assert window.jitter_ms == pytest.approx(4)
    assert window.loss_out == pytest.approx(1 / 3) and window.loss_in == 0
    assert windows.window(1.0, 102.0).loss_out == 0
    assert window.quality() == Quality(
        rtt_ms=window.rtt_ms, jitter_ms=window.jitter_ms, loss_out=window.loss_out, loss_in=0.0
    )


def test_nothing_came_back_is_not_the_same_as_nothing_was_lost() -> None:
    assert Windows().window(1.0, 5.0) == Window(1.0)
    assert Window(1.0).quality() == Quality()


def test_memory_is_bounded_by_the_longest_window() -> None:
    windows = Windows()
    for number in range(10_000):
        windows.add(Reply(number / 10, 0.01, 1, 1))
    assert windows.window(60.0, 999.9).replies == 600


def packets_until_bad(watch: LossWatch, share: float, draw: random.Random, most: int) -> int | None:
    for number in range(most):
        watch.add(1, int(draw.random() < share))
        if watch.is_bad:
            return number + 1
    return None


def test_five_percent_is_found_within_three_seconds_of_probes() -> None:
    # 80 test packets and 20 liveness probes a second.
    draw = random.Random(1)
    found = [packets_until_bad(LossWatch(0.05), 0.05, draw, 300) for _ in range(500)]
    assert sum(f is None for f in found) <= 0.02 * len(found)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.002])
def test_a_usual_loss_is_no_news_in_ten_minutes(share: float) -> None:
    assert packets_until_bad(LossWatch(0.05), share, random.Random(2), 60_000) is None


def test_it_is_good_again_when_nothing_is_lost_any_more() -> None:
    watch = LossWatch(0.05)
    watch.add(100, 100)
    assert watch.is_bad
    watch.add(100, 0)
    assert watch.is_bad
    watch.add(400, 0)
    assert not watch.is_bad


def test_a_round_trip_that_rises_is_bad_after_a_second_and_good_when_it_falls() -> None:
    windows, watch = Windows(), DelayWatch(50.0)
    bad_since_s = None
    for number in range(1000):
        at_s = number / 50
        rtt_s = 0.08 if 5 <= at_s < 10 else 0.02
        windows.add(Reply(at_s, rtt_s, 1, 1))
        assert windows.ewma_ms is not None
        watch.add(at_s, rtt_s * 1e3, windows.ewma_ms)
        if watch.is_bad and bad_since_s is None:
            bad_since_s = at_s
    assert bad_since_s is not None and 6.0 <= bad_since_s <= 7.5
    assert not watch.is_bad


def test_a_single_slow_packet_is_no_rise() -> None:
    windows, watch = Windows(), DelayWatch(50.0)
    for number in range(500):
        windows.add(Reply(number / 50, 0.5 if number == 250 else 0.02, 1, 1))
        assert windows.ewma_ms is not None
        watch.add(number / 50, 500.0 if number == 250 else 20.0, windows.ewma_ms)
        assert not watch.is_bad
