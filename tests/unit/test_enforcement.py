"""What can hold a promise is named with its reason, and what is unknown holds nothing."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitching.enforcement import Choice, Enforced, Facts, MeterFacts, Promise, QueueFacts, burst_kbit, choose

METERS = MeterFacts(most=100, kbps=True, drop=True, burst=True)
OBEYED = QueueFacts(obeyed=True, settable=True)
FILTERED = QueueFacts(obeyed=False, settable=True, filterable=True)

MAYBE = st.sampled_from((None, False, True))
FACTS = st.builds(
    Facts,
    meters=st.none() | st.builds(MeterFacts, st.integers(0, 3), st.booleans(), st.booleans(), st.booleans()),
    meters_used=st.integers(0, 3),
    queues=st.builds(QueueFacts, MAYBE, MAYBE, MAYBE, st.just("")),
    counted=MAYBE,
)


@pytest.mark.parametrize("promise", Promise)
def test_what_is_unknown_enforces_nothing(promise: Promise) -> None:
    choice = choose(promise, Facts())
    assert choice.by is Enforced.NONE and choice.reason


def test_a_cap_is_a_meters_work_and_a_guarantee_a_queues() -> None:
    facts = Facts(METERS, queues=OBEYED)
    assert choose(Promise.CAP, facts).by is Enforced.METER
    assert choose(Promise.GUARANTEE, facts).by is Enforced.QUEUE


def test_a_cap_falls_back_on_a_queue_when_the_meters_are_taken() -> None:
    choice = choose(Promise.CAP, Facts(METERS, meters_used=100, queues=OBEYED))
    assert choice.by is Enforced.QUEUE and "taken" in choice.reason


def test_a_datapath_that_ignores_set_queue_needs_a_filter() -> None:
    ignored = QueueFacts(obeyed=False, settable=True, filterable=False, reason="its ports are on another host")
    assert choose(Promise.GUARANTEE, Facts(queues=ignored)) == Choice(
        Enforced.NONE, "the userspace datapath ignores set_queue, and its ports are on another host"
    )
    assert choose(Promise.GUARANTEE, Facts(queues=FILTERED)).by is Enforced.QUEUE


def test_counters_that_stand_still_disprove_a_queue() -> None:
    assert choose(Promise.GUARANTEE, Facts(queues=FILTERED, counted=False)).by is Enforced.NONE
    assert "grow" in choose(Promise.GUARANTEE, Facts(queues=FILTERED, counted=True)).reason


@given(FACTS, st.sampled_from(Promise))
def test_nothing_is_claimed_that_the_facts_do_not_carry(facts: Facts, promise: Promise) -> None:
    choice = choose(promise, facts)
    assert choice.reason
    if choice.by is Enforced.METER:
        assert promise is Promise.CAP and facts.meters is not None
        assert facts.meters.kbps and facts.meters.drop and facts.meters_used < facts.meters.most
    if choice.by is Enforced.QUEUE:
        assert facts.queues.settable and (facts.queues.obeyed or facts.queues.filterable)
        assert facts.counted is not False


def test_a_burst_is_300_ms_of_the_rate_and_never_less_than_a_window() -> None:
    assert burst_kbit(10) == 3000
    assert burst_kbit(0.01) == 120
    bursts = [burst_kbit(rate) for rate in (0.1, 1, 10, 100)]
    assert all(small <= large for small, large in itertools.pairwise(bursts))


@pytest.mark.parametrize("rate_mbps", [0, -1, float("nan"), float("inf")])
def test_a_burst_is_of_a_rate(rate_mbps: float) -> None:
    with pytest.raises(ValueError, match="rate_mbps"):
        burst_kbit(rate_mbps)
