"""The player's arithmetic: departures from a demand, and figures from logs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mininet_topos.demand import Demand
from mininet_topos.play_result import Logs, summarise
from mininet_topos.schedule import HEADER_BYTES, Schedule, schedule


def demand(*rates_mbps: float) -> Demand:
    matrices = np.zeros((len(rates_mbps), 2, 2))
    matrices[:, 0, 1] = rates_mbps
    return Demand("test", matrices, ("a", "b"))


def bits(plan: Schedule, begin_s: float, end_s: float) -> float:
    inside = (plan.time_s >= begin_s) & (plan.time_s < end_s)
    return float((plan.payload[inside] + HEADER_BYTES).sum() * 8)


@given(rate_mbps=st.floats(0.005, 20), seed=st.integers(0, 100))
def test_a_flow_sends_at_its_rate_headers_counted(rate_mbps: float, seed: int) -> None:
    plan = schedule(demand(rate_mbps), 20.0, seed)
    packet = float(plan.payload.max() + HEADER_BYTES) * 8
    assert bits(plan, 0, 20) == pytest.approx(rate_mbps * 20e6, abs=packet)
    gaps = np.diff(plan.time_s)
    assert gaps.max(initial=0) - gaps.min(initial=1e9) < 1e-6 or len(gaps) < 1
    assert len(plan.time_s) >= 20 * 4 - 1


def test_the_rate_changes_with_the_step_and_nothing_is_sent_at_zero() -> None:
    plan = schedule(demand(2.0, 0.0, 4.0), 5.0)
    assert bits(plan, 0, 5) == pytest.approx(10e6, rel=0.01)
    assert bits(plan, 5, 10) <= 2 * 1242 * 8
    assert bits(plan, 10, 15) == pytest.approx(20e6, rel=0.01)


def test_interpolation_runs_from_one_matrix_to_the_next() -> None:
    plan = schedule(demand(1.0, 3.0), 10.0, interpolate=True)
    assert bits(plan, 0, 10) == pytest.approx(19e6, rel=0.02)
    assert bits(plan, 9, 10) == pytest.approx(2.8e6, rel=0.05)


def test_flows_have_phases_of_their_own_and_the_seed_repeats_them() -> None:
    full = Demand("test", np.full((1, 5, 5), 1.0), tuple("abcde"))
    plan = schedule(full, 2.0, seed=3)
    assert len(plan.flows) == 20 and (np.diff(plan.time_s) >= 0).all()
    assert np.array_equal(plan.time_s, schedule(full, 2.0, seed=3).time_s)
    assert len(np.unique(plan.time_s[:20])) == 20


def logs(plan: Schedule, arrivals: list[tuple[int, int, int]], late_ns: int = 0) -> Logs:
    start = 1_000_000_000
    columns = np.array(arrivals, dtype=np.int64).reshape(-1, 3).T
    left = start + (plan.time_s * 1e9).astype(np.int64) + late_ns
    return Logs(start, left, columns[0], columns[1], columns[2], 0, 0.0)


def departures(plan: Schedule, delay_ns: int) -> list[tuple[int, int, int]]:
    number = dict.fromkeys(range(len(plan.flows)), -1)
    out = []
    for time_s, flow in zip(plan.time_s, plan.flow.tolist(), strict=True):
        number[flow] += 1
        out.append((flow, number[flow], 1_000_000_000 + int(time_s * 1e9) + delay_ns))
    return out


def test_when_all_arrive_nothing_is_lost_and_the_delay_is_the_delay() -> None:
    plan = schedule(demand(5.0), 2.0)
    result = summarise(plan, ("ha", "hb"), logs(plan, departures(plan, 7_000_000)))
    assert (result.lost, result.lost_share, result.late_share) == (0, 0.0, 0.0)
    assert result.delay_ms.p50 == result.delay_ms.p99 == pytest.approx(7.0)
    assert (result.flows[0].source, result.flows[0].destination) == ("ha", "hb")
    assert sum(second.sent for second in result.seconds) == result.sent


def test_lost_doubled_and_disordered_packets_are_told_apart() -> None:
    plan = schedule(demand(5.0), 2.0)
    arrivals = departures(plan, 1_000_000)
    del arrivals[10:20]
    arrivals[3], arrivals[4] = arrivals[4], arrivals[3]
    arrivals.append(arrivals[-1])
    arrivals += [(0, 10**6, 0), (9, 0, 0)]  # of another play
    result = summarise(plan, ("a", "b"), logs(plan, arrivals))
    assert (result.lost, result.duplicates, result.out_of_order) == (10, 1, 1)
    assert result.flows[0].lost == 10 and sum(second.lost for second in result.seconds) == 10
    assert result.lost_share == pytest.approx(10 / result.sent)


def test_when_none_arrive_there_is_no_delay_to_tell() -> None:
    plan = schedule(demand(5.0), 1.0)
    result = summarise(plan, ("a", "b"), logs(plan, []))
    assert (result.lost_share, result.lost_bytes_share, result.delay_ms.p50) == (1.0, 1.0, None)


def test_a_sender_that_fell_behind_says_so() -> None:
    plan = schedule(demand(5.0), 1.0)
    late = summarise(plan, ("a", "b"), logs(plan, [], late_ns=6_000_000))
    assert (late.late_share, late.held_up_ms) == (1.0, 6.0)


def test_half_a_log_is_refused() -> None:
    plan = schedule(demand(5.0), 1.0)
    good = logs(plan, [])
    with pytest.raises(ValueError, match="did not finish"):
        summarise(
            plan, ("a", "b"), Logs(good.start_ns, good.left_ns[:-1], good.flow, good.number, good.arrived_ns, 0, 0)
        )
