"""Means over steps are of what was measured, whatever periods are missing and whatever the wall clock does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.events import Rates
from ryu_apps.predicting.step_means import Step, StepMeans

A, B = ("a", "b"), ("b", "a")
Measured = dict[int, dict[tuple[str, str], float]]
"""What was measured, by period."""

MBPS = st.floats(0.0, 1e5)
PERIODS = st.dictionaries(st.integers(1, 60), st.dictionaries(st.sampled_from((A, B)), MBPS), max_size=40)


def means(measured: Measured, periods: int, clock_s: float = 0.0) -> list[Step]:
    adding = StepMeans(periods)
    return [
        step
        for beat in sorted(measured)
        for step in adding.add(Rates(clock_s + 2.0 * beat, 2.0, demand_mbps=measured[beat], beat=beat))
    ]


@given(PERIODS, st.integers(1, 9))
def test_a_step_is_the_mean_of_what_was_measured_in_it(measured: Measured, periods: int) -> None:
    # A step is known to be over with its last period, or with the first one after it.
    last = max(measured, default=0)
    steps = {step.beat: step for step in means(measured, periods)}
    for number in range(1, last // periods + 1):
        within = [
            measured[beat] for beat in range((number - 1) * periods + 1, number * periods + 1) if beat in measured
        ]
        if not within:
            assert number not in steps
            continue
        assert steps[number].time_s == 2.0 * periods * number
        for pair in (A, B):
            known = [demands[pair] for demands in within if pair in demands]
            assert (pair in steps[number].demand_mbps) == bool(known)
            if known:
                assert steps[number].demand_mbps[pair] == pytest.approx(np.mean(known))
    assert all(number * periods <= last for number in steps)


@given(PERIODS, st.integers(1, 9))
def test_steps_come_in_their_order_and_once(measured: Measured, periods: int) -> None:
    beats = [step.beat for step in means(measured, periods)]
    assert beats == sorted(set(beats))


def test_a_step_of_the_wall_clock_moves_times_and_leaves_no_gap() -> None:
    adding = StepMeans(2)
    told = [
        adding.add(Rates(beat * 1.0 + (3600.0 if beat > 3 else 0.0), 1.0, demand_mbps={A: float(beat)}, beat=beat))
        for beat in range(1, 7)
    ]
    assert [[(step.time_s, step.beat, step.demand_mbps[A]) for step in steps] for steps in told] == [
        [], [(2.0, 1, 1.5)], [], [(3604.0, 2, 3.5)], [], [(3606.0, 3, 5.5)],
    ]  # fmt: skip
