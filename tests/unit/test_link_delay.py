"""The delay of a link: right, robust, never negative, and still where nothing changed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.discovering.link_delay import DelayEstimate

RTT_S = 0.002


def feed(estimate: DelayEstimate, *latencies_ms: float) -> int:
    """Probes over a link of these latencies; how often the held value moved."""
    return sum(estimate.add(latency_ms / 1e3 + RTT_S, RTT_S, RTT_S) for latency_ms in latencies_ms)


def test_nothing_is_known_before_anything_was_measured() -> None:
    estimate = DelayEstimate()
    assert (estimate.smoothed_ms, estimate.spread_ms, estimate.held_ms) == (None, None, None)


def test_a_probe_without_control_round_trips_measures_nothing() -> None:
    estimate = DelayEstimate()
    assert not estimate.add(0.01, None, RTT_S) and not estimate.add(0.01, RTT_S, None)
    assert estimate.smoothed_ms is None


def test_half_of_both_round_trips_is_taken_off() -> None:
    estimate = DelayEstimate()
    for _ in range(3):
        estimate.add(0.025, 0.010, 0.020)
    assert estimate.smoothed_ms == pytest.approx(10.0) and estimate.held_ms == pytest.approx(10.0)
    assert estimate.spread_ms == pytest.approx(0.0)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10), st.floats(0, 10)), max_size=40))
def test_it_is_never_negative(probes: list[tuple[float, float, float]]) -> None:
    estimate = DelayEstimate()
    for probe in probes:
        estimate.add(*probe)
        for value in (estimate.smoothed_ms, estimate.spread_ms, estimate.held_ms):
            assert value is None or value >= 0


def test_wild_samples_do_not_move_it() -> None:
    estimate = DelayEstimate()
    assert feed(estimate, 10, 10, 10, 300, 10, 250, 400, 10, 10, 400, 10) == 1
    assert estimate.smoothed_ms == pytest.approx(10) and estimate.held_ms == pytest.approx(10)


def test_noise_never_moves_the_held_value() -> None:
    for seed in range(20):
        noise = random.Random(seed)
        estimate = DelayEstimate()
        # Queueing: an exponential tail of 5 % on top, and one sample in ten delayed by a lot.
        samples = [10 + noise.expovariate(2) + (noise.random() < 0.1) * 50 for _ in range(2000)]
        feed(estimate, *samples[:20])
        assert feed(estimate, *samples[20:]) == 0
        assert estimate.spread_ms is not None and 0 < estimate.spread_ms < 5


def test_a_fall_moves_it_once_and_within_ten_probes() -> None:
    estimate = DelayEstimate()
    feed(estimate, *[30] * 10)
    assert feed(estimate, *[10] * 10) == 1
    assert estimate.held_ms == pytest.approx(10)


def test_a_queue_of_half_a_minute_does_not_move_it() -> None:
    estimate = DelayEstimate()
    feed(estimate, *[10] * 10)
    assert feed(estimate, *[60] * 30, *[10] * 10) == 0


def test_a_rise_for_good_moves_it_once_and_within_a_minute_of_probes() -> None:
    estimate = DelayEstimate()
    feed(estimate, *[10] * 10)
    assert feed(estimate, *[30] * 55) == 1
    assert estimate.held_ms == pytest.approx(30) and estimate.smoothed_ms == pytest.approx(30)
    assert feed(estimate, *[30] * 20) == 0


def test_small_changes_of_a_short_link_are_within_half_a_millisecond() -> None:
    estimate = DelayEstimate()
    feed(estimate, *[0.1] * 5)
    assert feed(estimate, *[0.55] * 50) == 0 and estimate.held_ms == pytest.approx(0.1)
    assert estimate.smoothed_ms == pytest.approx(0.55)


def test_probes_late_by_fractions_of_a_millisecond_do_not_move_a_short_link() -> None:
    estimate = DelayEstimate()
    feed(estimate, *[0.2] * 20)
    for seed in range(20):
        noise = random.Random(seed)
        assert feed(estimate, *[0.2 + noise.expovariate(1 / 0.3) for _ in range(60)]) == 0


def test_a_remembered_value_is_held_until_the_link_says_otherwise() -> None:
    estimate = DelayEstimate(held_ms=10.0)
    assert feed(estimate, *[10.5] * 20) == 0 and estimate.held_ms == 10.0
    assert feed(estimate, *[5] * 10) == 1 and estimate.held_ms == pytest.approx(5)
