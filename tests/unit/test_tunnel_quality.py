"""What the last replies say of a tunnel, and when it is said to do badly."""

from __future__ import annotations

import random
from dataclasses import asdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vte_agent.probing.quality import DelayWatch, LossWatch, Recent, Window
from vte_agent.probing.session import Need
from vte_agent.probing.stamp import Reply
from vte_agent.probing.tunnel_probes import STAMP_INTERVAL_S, SUSPECT_INTERVAL_S, WINDOW_S
from vte_agent.protocol.has import Quality


def test_a_window_says_delay_jitter_and_loss_each_way() -> None:
    recent = Recent(10.0)
    for number in range(20):
        out_s, back_s = 0.004 + 0.003 * (number % 2), 0.006 + 0.001 * (number % 2)
        reply = Reply(100 + number / 10, out_s + back_s, 2 if number < 10 else 1, 1, 777 + out_s, back_s - 777)
        recent.add(reply)
    window = recent.window(102.0)
    assert window.replies == 20 and window.rtt_ms == pytest.approx(12)
    assert window.jitter_ms == pytest.approx(4)
    assert window.jitter_out_ms == pytest.approx(3) and window.jitter_in_ms == pytest.approx(1)
    assert window.loss_out == pytest.approx(1 / 3) and window.loss_in == 0
    assert window.quality() == Quality(**{k: v for k, v in asdict(window).items() if k != "replies"})
    recent.length_s = 0.95
    assert recent.window(102.0).loss_out == 0


def test_a_clock_that_is_set_is_no_jitter_of_either_way() -> None:
    recent = Recent()
    for number in range(9):
        off_s = 3600.0 if number < 4 else -7.0
        recent.add(Reply(number / 10, 0.01, 1, 1, 0.005 + off_s, 0.005 - off_s))
    window = recent.window(0.8)
    assert window.jitter_out_ms == window.jitter_in_ms == window.jitter_ms == 0


REPLIES = st.lists(
    st.tuples(st.floats(0, 0.4), st.floats(0, 1), st.floats(0, 1), st.integers(0, 3), st.integers(0, 3)),
    max_size=60,
)


@given(REPLIES, st.floats(0.1, 2))
def test_sums_that_are_kept_say_what_counting_again_says(
    gaps: list[tuple[float, float, float, int, int]], length_s: float
) -> None:
    recent, at_s, all_of = Recent(length_s), 0.0, list[Reply]()
    for gap_s, out_s, back_s, sent, reflected in gaps:
        at_s += gap_s
        all_of.append(Reply(at_s, out_s + back_s, sent, reflected, out_s, back_s))
        recent.add(all_of[-1])
    counted, last = recent.window(at_s), [one for one in all_of if one.at_s > at_s - length_s]
    assert counted.replies == len(last)
    if last:
        assert counted.rtt_ms == pytest.approx(1e3 * sum(one.rtt_s for one in last) / len(last), abs=1e-4)
    for said, values in (
        (counted.jitter_ms, [one.rtt_s for one in last]),
        (counted.jitter_out_ms, [one.out_s for one in last]),
        (counted.jitter_in_ms, [one.back_s for one in last]),
    ):
        steps = [abs(late - soon) for soon, late in pairwise(values)]
        assert (said is None) is (not steps)
        assert said is None or said == pytest.approx(1e3 * sum(steps) / len(steps), abs=1e-4)


def test_nothing_came_back_is_not_the_same_as_nothing_was_lost() -> None:
    assert Recent().window(5.0) == Window()
    assert Window().quality() == Quality()


def test_memory_is_bounded_by_the_window() -> None:
    recent = Recent()
    for number in range(10_000):
        recent.add(Reply(number / 10, 0.01, 1, 1))
    assert recent.window(999.95).replies == 10


def test_a_tunnel_of_each_need_is_judged_by_ten_packets_at_least() -> None:
    assert all(WINDOW_S[need] >= 10 * STAMP_INTERVAL_S[need] for need in Need)


def packets_until_bad(watch: LossWatch, share: float, draw: random.Random, most: int) -> int | None:
    for number in range(most):
        watch.add(1, int(draw.random() < share))
        if watch.is_bad:
            return number + 1
    return None


def seconds_until_bad(watch: LossWatch, share: float, draw: random.Random, most_s: float) -> float:
    """As a tunnel that is used is probed: of liveness every 50 ms, of quality more often after a loss."""
    test_s, live_s = draw.uniform(0, STAMP_INTERVAL_S[Need.USED]), draw.uniform(0, 0.05)
    now_s = 0.0
    while now_s < most_s and not watch.is_bad:
        now_s = min(test_s, live_s)
        watch.add(1, int(draw.random() < share))
        apart_s = SUSPECT_INTERVAL_S if watch.suspects else STAMP_INTERVAL_S[Need.USED]
        test_s = min(test_s + apart_s if now_s == test_s else test_s, now_s + apart_s)
        live_s += 0.05 if now_s == live_s else 0.0
    return now_s


def test_five_percent_is_found_within_three_seconds_of_probes() -> None:
    draw = random.Random(1)
    found = [seconds_until_bad(LossWatch(0.05), 0.05, draw, 5.0) for _ in range(1000)]
    assert sum(one > 3.0 for one in found) <= 0.02 * len(found)


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
    recent, watch = Recent(), DelayWatch(50.0)
    bad_since_s = None
    for number in range(1000):
        at_s = number / 50
        rtt_s = 0.08 if 5 <= at_s < 10 else 0.02
        recent.add(Reply(at_s, rtt_s, 1, 1))
        assert recent.ewma_ms is not None
        watch.add(at_s, rtt_s * 1e3, recent.ewma_ms)
        if watch.is_bad and bad_since_s is None:
            bad_since_s = at_s
    assert bad_since_s is not None and 6.0 <= bad_since_s <= 7.5
    assert not watch.is_bad


def test_a_single_slow_packet_is_no_rise() -> None:
    recent, watch = Recent(), DelayWatch(50.0)
    for number in range(500):
        recent.add(Reply(number / 50, 0.5 if number == 250 else 0.02, 1, 1))
        assert recent.ewma_ms is not None
        watch.add(number / 50, 500.0 if number == 250 else 20.0, recent.ewma_ms)
        assert not watch.is_bad
