"""Counters become rates; whatever happens to them on the way, no rate is higher than the traffic was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ryu_apps.polling.counters import MOST_PER_S, NOT_COUNTED, WRAP, CounterTable, Reading, Tally, duration

MIN_INTERVAL_S = 0.25
RTT_S = 0.01


class Poller:
    """A table that is asked with one counter at a time."""

    def __init__(self, *, starts_at_zero: bool = False) -> None:
        self.tally = Tally()
        self.table: CounterTable[str] = CounterTable(
            self.tally, min_interval_s=MIN_INTERVAL_S, starts_at_zero=starts_at_zero
        )

    def read(
        self, received_s: float, value: int, duration_s: float | None, late_s: float = RTT_S, **limits: float
    ) -> float | None:
        rates = self.table.take(
            [Reading("c", value, duration_s)], asked_s=received_s - late_s, received_s=received_s, limits=limits
        )
        return rates.get("c")

    def read_nothing(self, received_s: float) -> None:
        assert not self.table.take([], asked_s=received_s - RTT_S, received_s=received_s)


def test_the_first_reading_makes_no_rate() -> None:
    assert Poller().read(1.0, 5000, 100.0) is None


def test_the_interval_is_that_of_the_switch() -> None:
    poller = Poller()
    poller.read(1.0, 0, 100.0)
    assert poller.read(2.3, 1000, 101.0) == pytest.approx(1000.0)


def test_without_a_clock_the_time_of_receipt_stands_in() -> None:
    poller = Poller()
    poller.read(1.0, 0, None)
    assert poller.read(3.0, 1000, None) == pytest.approx(500.0)


def test_without_a_clock_a_late_answer_makes_no_rate_and_no_spike_after_it() -> None:
    poller = Poller()
    poller.read(1.0, 0, None)
    assert poller.read(2.9, 1000, None, late_s=0.9) is None
    assert poller.read(4.0, 3000, None) is None
    assert poller.read(5.0, 4000, None) == pytest.approx(1000.0)


def test_after_missing_answers_the_rate_is_over_the_whole_time() -> None:
    poller = Poller()
    poller.read(1.0, 0, 100.0)
    assert poller.read(5.0, 4000, 104.0) == pytest.approx(1000.0)


def test_a_counter_that_falls_starts_over() -> None:
    poller = Poller()
    poller.read(1.0, 10_000, 100.0)
    assert poller.read(2.0, 300, 101.0) is None
    assert poller.tally.resets == 1
    assert poller.read(3.0, 800, 102.0) == pytest.approx(500.0)


def test_a_wrap_gives_the_right_rate() -> None:
    poller = Poller()
    poller.read(1.0, WRAP - 400, 100.0)
    assert poller.read(2.0, 600, 101.0) == pytest.approx(1000.0)
    assert poller.tally.resets == 0


def test_a_fall_that_would_be_too_fast_a_wrap_is_a_reset() -> None:
    poller = Poller()
    poller.read(1.0, WRAP - 400, 100.0)
    assert poller.read(2.0, 600, 101.0, c=999.0) is None
    assert poller.tally.resets == 1


def test_the_same_answer_twice_is_no_news() -> None:
    poller = Poller()
    poller.read(1.0, 0, 100.0)
    assert poller.read(1.9, 0, 100.0) is None
    assert poller.read(2.0, 1000, 101.0) == pytest.approx(1000.0)


def test_an_older_answer_after_a_newer_one_makes_no_rate_and_spoils_none() -> None:
    poller = Poller()
    poller.read(1.0, 1000, 101.0)
    assert poller.read(1.1, 0, 100.0) is None
    assert poller.read(2.0, 2000, 102.0) == pytest.approx(1000.0)


def test_two_answers_too_close_together_are_measured_as_one() -> None:
    poller = Poller()
    poller.read(1.0, 0, 100.0)
    assert poller.read(2.0, 1000, 101.0) == pytest.approx(1000.0)
    assert poller.read(2.1, 1500, 101.1) is None
    assert poller.read(3.0, 2000, 102.0) == pytest.approx(1000.0)


def test_a_port_that_was_made_again_starts_over_though_its_device_counts_on() -> None:
    poller = Poller()
    poller.read(1.0, 1000, 100.0)
    assert poller.read(2.0, 900_000, 0.5) is None
    assert poller.read(3.0, 900_500, 1.5) == pytest.approx(500.0)
    assert poller.tally.resets == 1


def test_an_entry_made_again_is_measured_from_its_start() -> None:
    poller = Poller(starts_at_zero=True)
    poller.read(1.0, 10_000, 100.0)
    assert poller.read(2.0, 400, 0.5) == pytest.approx(800.0)


def test_an_entry_that_was_not_there_is_measured_from_its_start() -> None:
    poller = Poller(starts_at_zero=True)
    poller.read_nothing(1.0)
    assert poller.read(2.0, 400, 0.5) == pytest.approx(800.0)


def test_an_entry_older_than_our_watch_is_not_measured_from_its_start() -> None:
    poller = Poller(starts_at_zero=True)
    assert poller.read(1.0, 400, 0.5) is None
    poller.read_nothing(2.0)
    assert poller.read(3.0, 10_000, 50.0) is None


def test_an_entry_added_over_itself_keeps_its_count_and_makes_no_spike() -> None:
    poller = Poller(starts_at_zero=True)
    poller.read(1.0, 1_000_000, 100.0)
    assert poller.read(2.0, 1_000_900, 0.5) is None
    assert poller.read(3.0, 1_001_900, 1.5) == pytest.approx(1000.0)


def test_an_entry_that_has_hardly_begun_is_not_measured_yet() -> None:
    poller = Poller(starts_at_zero=True)
    poller.read_nothing(1.0)
    assert poller.read(2.0, 1500, 0.001) is None


def test_an_entry_made_again_long_ago_is_not_taken_for_the_old_one() -> None:
    poller = Poller(starts_at_zero=True)
    poller.read(1.0, 0, 2.0)
    # Five seconds old now: it is not the one that was two seconds old ten seconds ago.
    assert poller.read(11.0, 5000, 5.0) is None
    assert poller.tally.resets == 1


def test_an_absurd_rate_is_dropped_and_tallied() -> None:
    poller = Poller()
    poller.read(1.0, 0, 100.0)
    assert poller.read(2.0, 10**15, 101.0) is None
    assert poller.tally.absurd == 1
    assert poller.read(3.0, 5000, 102.0) is None
    assert poller.read(4.0, 6000, 103.0) == pytest.approx(1000.0)


def test_a_limit_is_the_counter_s_own() -> None:
    poller = Poller()
    poller.read(1.0, 0, 100.0)
    assert poller.read(2.0, 1001, 101.0, c=1000.0) is None
    assert poller.read(3.0, 2001, 102.0, c=1000.0) == pytest.approx(1000.0)


def test_a_counter_that_the_switch_does_not_have_makes_no_rate() -> None:
    poller = Poller()
    poller.read(1.0, NOT_COUNTED, 100.0)
    assert poller.read(2.0, NOT_COUNTED, 101.0) is None
    assert (poller.tally.resets, poller.tally.absurd) == (0, 0)


@pytest.mark.parametrize(
    ("seconds", "nanoseconds", "expected_s"),
    [(3, 500_000_000, 3.5), (3, 0, None), (0, 0, None), (0xFFFFFFFF, 0xFFFFFFFF, None), (3, 0xFFFFFFFF, None)],
)
def test_a_duration_that_is_not_filled_is_none(seconds: int, nanoseconds: int, expected_s: float | None) -> None:
    assert duration(seconds, nanoseconds) == expected_s


# properties ----------------------------------------------------------------------------------------------

MOST_S = 1e6
"""The most that the process below counts in a second."""


@dataclass
class Process:
    """A counter as it truly is, on a switch whose clock is ours."""

    value: int
    now_s: float = 1000.0
    started_s: float = 0.0

    def run(self, elapsed_s: float, share: float) -> None:
        self.now_s += elapsed_s
        self.value = (self.value + int(share * MOST_S * elapsed_s)) % WRAP

    def restart(self, *, keep: bool) -> None:
        self.started_s = self.now_s
        self.value = self.value if keep else 0


steps = st.lists(
    st.tuples(
        st.sampled_from(["answer", "answer", "answer", "missing", "gone", "again", "cleared", "restart", "keep"]),
        st.floats(0.01, 3.0),
        st.floats(0.0, 1.0),
        st.floats(0.0, 2.0),
    ),
    max_size=25,
)


@pytest.mark.parametrize("starts_at_zero", [False, True])
@given(steps=steps, value=st.one_of(st.just(0), st.integers(0, 1 << 40), st.integers(WRAP - 10**7, WRAP - 2)))
@settings(max_examples=300, deadline=None)
def test_no_rate_is_higher_than_the_traffic_was(starts_at_zero: bool, steps: list[Any], value: int) -> None:
    process = Process(value)
    # Entries start at zero by themselves; only the device of a port comes with a past.
    table: CounterTable[str] = CounterTable(Tally(), min_interval_s=MIN_INTERVAL_S, starts_at_zero=starts_at_zero)
    received_s, sent = 0.0, None
    fresh = False
    for what, elapsed_s, share, late_s in steps:
        process.run(elapsed_s, share)
        if what == "missing":
            continue
        if what in ("restart", "gone"):
            process.restart(keep=False)
            fresh = True
        elif what == "keep":
            # Not together with a restart unseen in between (see CounterTable), nor with a wrap, which comes once
            # in centuries: a counter that both wrapped and went on cannot be told from one that began at zero.
            if not fresh and value < 1 << 63:
                process.restart(keep=True)
        elif what == "cleared":
            # Close to the wrap a clearing cannot be told from one.
            process.value = 0 if process.value < 1 << 63 else process.value
            fresh = True
        if what in ("answer", "again", "gone"):
            asked_s = process.now_s
            read_s = asked_s + late_s / 2
            process.run(late_s / 2, share)
            if what == "gone":
                # An answer that did not list the entry cannot be told again with it.
                sent = None
            elif what != "again" or sent is None:
                sent = Reading("c", process.value, read_s - process.started_s)
            process.run(late_s / 2, share)
            received_s = max(received_s, process.now_s)
            readings = [] if sent is None else [sent]
            rates = table.take(readings, asked_s=asked_s, received_s=received_s)
            fresh = what == "gone" or (fresh and what == "again")
            for rate in rates.values():
                assert 0 <= rate <= MOST_S * (1 + 1e-6) + 2 / MIN_INTERVAL_S


@given(
    steps=st.lists(st.tuples(st.floats(0.1, 3.0), st.floats(0.0, 1.0), st.floats(0.0, 2.0), st.booleans())),
    value=st.integers(0, WRAP - 2),
)
@settings(max_examples=300, deadline=None)
def test_nor_where_the_switch_has_no_clock(steps: list[Any], value: int) -> None:
    process = Process(value)
    table: CounterTable[str] = CounterTable(Tally(), min_interval_s=MIN_INTERVAL_S)
    for elapsed_s, share, late_s, restart in steps:
        process.run(elapsed_s, share)
        if restart and process.value < 1 << 63:
            process.restart(keep=False)
        asked_s = process.now_s
        process.run(late_s / 2, share)
        reading = Reading("c", process.value, None)
        process.run(late_s / 2, share)
        rates = table.take([reading], asked_s=asked_s, received_s=process.now_s)
        for rate in rates.values():
            assert 0 <= rate <= MOST_S / 0.9 * (1 + 2e-6) + 2 / MIN_INTERVAL_S


@given(
    late_s=st.lists(st.floats(0.0, 0.9), min_size=2, max_size=30),
    share=st.floats(0.0, 1.0),
    value=st.integers(0, WRAP - 2),
)
def test_steady_traffic_has_a_steady_rate_however_late_the_answers(
    late_s: list[float], share: float, value: int
) -> None:
    poller = Poller()
    rate = int(share * MOST_S)
    for second, late in enumerate(late_s):
        now = poller.read(second + late, (value + second * rate) % WRAP, 100.0 + second, late_s=late)
        assert now is None if second == 0 else now == pytest.approx(rate, abs=1e-3)


def test_the_bound_on_belief_is_above_any_port() -> None:
    assert pytest.approx(1e6) == MOST_PER_S * 8e-6
