"""Caps and guarantees go through the life of a stitch, follow the traffic, and say what enforces them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from forecasting import Forecast
from ryu_apps.app import Tick
from ryu_apps.events import ApplyStages, NetworkChanged, OutlookReady, Rates, RatesMeasured, VnetsChanged
from ryu_apps.store.codec import dump, load
from stitching.bandwidth import BandwidthRequest, BandwidthShares
from stitching.following import GROW, HOLD_S, PAUSE_S, SHRINK, STEPS
from stitching.network import Host, Network
from stitching.plan import NotPossible
from stitching.planner import Duplicate
from stitching.rules import LEAST_METER, FlowRule, PushLabel, Table
from stitching.stitch import State, Stitch
from stitching.vnet import Member, VNet
from tests.unit.stitcher_bench import A, B, Bench, C, MemoryStore, confirm, triangle

REQUEST = BandwidthRequest("red", "red", guarantee_mbps=2.0, cap_mbps=6.0, bandwidth_mbps=2.0)
VNETS = (VNet("red", (Member(A, "a"), Member(B, "b"), Member(C, "c"))),)
HOSTS = (Host(A, 1, 10), Host(B, 2, 10))


def fabric(*hosts: Host, broken: bool = False) -> Network:
    return replace(triangle(broken=broken), hosts={host.mac: host for host in hosts})


def see(bench: Bench, *hosts: Host, broken: bool = False) -> None:
    bench.on_network(NetworkChanged(fabric(*hosts, broken=broken)))


@pytest.fixture
def bench() -> Bench:
    bench = Bench(MemoryStore())
    bench.on_vnets(VnetsChanged(VNETS))
    see(bench, *HOSTS)
    bench.connect()
    return bench


def up(bench: Bench, request: BandwidthRequest = REQUEST) -> Stitch:
    bench._desk.create(request)
    bench.confirm()
    assert bench.stitch().state is State.UP, bench.stitch().reason
    return bench.stitch()


def shares(bench: Bench) -> dict[int, float]:
    placed = bench.stitch().path
    assert isinstance(placed, BandwidthShares)
    return {share.dpid: round(share.mbps, 3) for share in placed.shares}


def measured(bench: Bench, a: float, b: float, packets: dict[tuple[int, int], int] | None = None) -> None:
    demand = {(A, B): a, (B, A): b}
    bench.on_rates(RatesMeasured(Rates(bench.now_s, 1.0, demand_mbps=demand, meter_packets=packets or {})))


def test_a_guarantee_is_kept_on_the_links_that_traffic_takes_and_no_path_is_touched(bench: Bench) -> None:
    up(bench, replace(REQUEST, cap_mbps=None))
    resources = bench._planner.admission.resources
    assert (resources.reserved((1, 2, 2, 1)), resources.reserved((1, 3, 3, 1))) == (2.0, 0.0)
    rules = [rule for rules in bench.batch().rules.values() for rule in rules.values()]
    assert {(rule.table, rule.goto) for rule in rules if isinstance(rule, FlowRule)} == {
        (Table.STITCH, Table.FORWARD)
    }
    assert {rule.actions for rule in rules if isinstance(rule, FlowRule)} == {(PushLabel(0x1FFE, 1),)}


def test_it_follows_when_traffic_takes_other_links(bench: Bench) -> None:
    up(bench)
    see(bench, *HOSTS, broken=True)
    bench.confirm()
    assert bench.stitch().state is State.UP
    assert bench._planner.admission.resources.reserved((1, 3, 3, 1)) == 2.0


def test_more_than_is_free_is_not_promised(bench: Bench) -> None:
    with pytest.raises(NotPossible, match="guarantee_mbps"):
        bench._desk.create(replace(REQUEST, guarantee_mbps=11.0, cap_mbps=None, bandwidth_mbps=11.0))


def test_a_cap_is_split_by_who_sends_and_split_again_when_that_changes(bench: Bench) -> None:
    up(bench)
    assert shares(bench) == {1: 3.0, 2: 3.0}
    for _ in range(4):
        measured(bench, 10.0, 0.5)
    assert bench.stitch().state is State.ADJUSTING
    bench.confirm()
    assert bench.stitch().state is State.UP
    assert shares(bench)[1] > 5.0 and sum(shares(bench).values()) == pytest.approx(6.0)
    measured(bench, 0.0, 10.0)
    assert bench.stitch().state is State.UP, "not again at once"
    for _ in range(2):
        bench.now_s += PAUSE_S
        for _ in range(4):
            measured(bench, 0.0, 10.0)
        bench.confirm()
    assert shares(bench)[2] > 5.0


def test_shares_stay_where_nobody_is_short(bench: Bench) -> None:
    up(bench)
    for _ in range(4):
        measured(bench, 2.0, 0.1)
    assert shares(bench) == {1: 3.0, 2: 3.0}


def test_it_says_none_when_a_meter_counts_nothing_while_its_hosts_send(bench: Bench) -> None:
    up(bench)
    assert (bench.stitch().enforced_cap, bench.stitch().enforced) == ("meter", "none"), (
        "no queue for its guarantee"
    )
    assert "no packet has met" in (bench.stitch().enforced_why or "")
    for count in range(1, 5):
        measured(bench, 1.0, 1.0, {(1, LEAST_METER): 100 * count, (2, LEAST_METER): 0})
    assert bench.stitch().enforced_cap == "none"
    assert "0000000000000002 counts nothing" in (bench.stitch().enforced_why or "")
    measured(bench, 1.0, 1.0, {(1, LEAST_METER): 900, (2, LEAST_METER): 50})
    assert bench.stitch().enforced_cap == "meter"


def test_a_guarantee_alone_is_enforced_by_none(bench: Bench) -> None:
    assert up(bench, replace(REQUEST, cap_mbps=None)).enforced == "none"


def test_it_waits_for_hosts_that_may_send_to_each_other(bench: Bench) -> None:
    made = bench._desk.create(replace(REQUEST, target_vnet="blue"))
    assert made.state is State.REQUESTED and "blue" in (made.reason or "")


def test_hosts_join_by_themselves(bench: Bench) -> None:
    up(bench)
    see(bench, *HOSTS, Host(C, 3, 10))
    bench.confirm()
    assert set(shares(bench)) == {1, 2, 3} and bench.stitch().state is State.UP


def test_a_switch_that_refuses_the_meter_makes_it_fail_with_its_words(bench: Bench) -> None:
    bench._desk.create(REQUEST)
    bench.confirm("switch 1 said: meters are not supported")
    stitch = bench.stitch()
    assert stitch.state is State.FAILED and "not supported" in (stitch.reason or "")
    assert bench._planner.admission.resources.reserved((1, 2, 2, 1)) == 0.0


def test_two_for_the_same_networks_are_one_too_many(bench: Bench) -> None:
    up(bench)
    with pytest.raises(Duplicate):
        bench._desk.create(replace(REQUEST, cap_mbps=1.0))


def test_it_is_stored_and_read_with_its_kind(bench: Bench) -> None:
    stitch = replace(up(bench), enforced_why=None)
    assert load(Stitch, dump(stitch)) == stitch


def test_deleting_it_leaves_nothing(bench: Bench) -> None:
    up(bench)
    bench._desk.delete(1)
    bench.confirm()
    bench.on_tick(Tick("retry"))
    assert bench.stitch().state is State.TERMINATED
    assert bench._planner.admission.resources.owners((1, 2, 2, 1)) == ()


def test_another_cap_is_metered_and_another_guarantee_booked(bench: Bench) -> None:
    up(bench)
    bench._changer.change(1, replace(REQUEST, cap_mbps=8.0))
    assert bench.stitch().state is State.ADJUSTING
    bench.confirm()
    assert (bench.stitch().state, shares(bench)) == (State.UP, {1: 4.0, 2: 4.0})
    bench._changer.change(1, replace(REQUEST, cap_mbps=8.0, guarantee_mbps=5.0))
    resources = bench._planner.admission.resources
    assert (bench.stitch().state, resources.reserved((1, 2, 2, 1))) == (State.UP, 5.0)
    with pytest.raises(NotPossible, match="guarantee_mbps"):
        bench._changer.change(1, replace(REQUEST, cap_mbps=None, guarantee_mbps=50.0, bandwidth_mbps=50.0))
    assert resources.reserved((1, 2, 2, 1)) == 5.0


def test_a_cap_that_is_taken_out_leaves_the_guarantee_and_one_that_is_added_is_metered(bench: Bench) -> None:
    up(bench)
    bench._changer.change(1, replace(REQUEST, cap_mbps=None))
    bench.confirm()
    assert (bench.stitch().state, shares(bench), bench.stitch().enforced) == (State.UP, {}, "none")
    bench._changer.change(1, replace(REQUEST, guarantee_mbps=None))
    bench.confirm()
    assert (bench.stitch().state, shares(bench)) == (State.UP, {1: 3.0, 2: 3.0})
    assert bench._planner.admission.resources.reserved((1, 2, 2, 1)) == 0.0


def test_what_the_forecast_has_made_of_a_guarantee_stays_within_its_new_bounds(bench: Bench) -> None:
    follows = replace(REQUEST, follow_forecast=True)
    up(bench, follows)
    bench._mover.resize(bench.stitch(), 5.0)
    assert bench._changer.change(1, replace(follows, priority=5)).request.bandwidth_mbps == 5.0
    bench._changer.change(1, replace(follows, cap_mbps=4.0))
    bench.confirm()
    assert bench.stitch().request.bandwidth_mbps == 4.0
    assert bench._changer.change(1, replace(REQUEST, cap_mbps=4.0)).request.bandwidth_mbps == 2.0


FOLLOWING = replace(REQUEST, follow_forecast=True)


def expect(bench: Bench, *mbps: float) -> None:
    """It is forecast that a sends so much to b in the next steps, with a quantile of 0.9 twice as high."""
    middle = np.array([mbps])
    demands = Forecast(
        ("ab",), 1.0, (0.5, 0.9), middle, np.stack([middle, 2 * middle], axis=-1), np.array([False])
    )
    outlook = SimpleNamespace(pairs=((A, B),), demands=demands, stitches=frozenset())
    bench.on_outlook(cast("OutlookReady", SimpleNamespace(outlook=outlook)))


def promised(bench: Bench) -> float:
    assert bench.stitch().request.bandwidth_mbps == bench._planner.admission.resources.reserved((1, 2, 2, 1))
    return bench.stitch().request.bandwidth_mbps


def test_a_guarantee_grows_at_once_to_what_is_expected_and_no_rule_changes(bench: Bench) -> None:
    up(bench, FOLLOWING)
    told = [event for event in bench.told if isinstance(event, ApplyStages)]
    expect(bench, 1.0, 1.0, 2.0, 1.0)
    assert promised(bench) == 4.0, "the quantile of the highest of the next steps"
    assert [event for event in bench.told if isinstance(event, ApplyStages)] == told
    assert bench.stitch().state is State.UP


def test_it_looks_no_further_ahead_than_a_few_steps(bench: Bench) -> None:
    up(bench, FOLLOWING)
    expect(bench, *[0.5] * STEPS, 3.0)
    assert promised(bench) == 2.0


def test_it_shrinks_only_where_less_is_expected_for_long_and_never_below_what_was_asked_for(bench: Bench) -> None:
    up(bench, FOLLOWING)
    expect(bench, 2.5)
    assert promised(bench) == 5.0
    expect(bench, 1.5)
    bench.now_s += HOLD_S - 1
    expect(bench, 1.5)
    assert promised(bench) == 5.0, "not before it has been less for long"
    bench.now_s += 1
    expect(bench, 1.5)
    assert promised(bench) == 3.0
    expect(bench, 0.0)
    bench.now_s += HOLD_S
    expect(bench, 0.0)
    assert promised(bench) == 2.0, "what was asked for is the least"


def test_more_in_between_begins_the_wait_anew(bench: Bench) -> None:
    up(bench, FOLLOWING)
    expect(bench, 2.5)
    expect(bench, 1.5)
    bench.now_s += HOLD_S - 1
    expect(bench, 2.4)
    bench.now_s += 1
    expect(bench, 1.5)
    assert promised(bench) == 5.0
    bench.now_s += HOLD_S
    expect(bench, 1.5)
    assert promised(bench) == 3.0


def test_it_stays_where_little_more_or_less_is_expected(bench: Bench) -> None:
    up(bench, FOLLOWING)
    expect(bench, 2.0)
    for mbps in (2.0 * GROW, 2.0 * SHRINK):
        expect(bench, mbps)
        bench.now_s += 2 * HOLD_S
        expect(bench, mbps)
        assert promised(bench) == 4.0
    expect(bench, 2.0 * GROW + 0.01)
    assert promised(bench) == pytest.approx(4.0 * GROW + 0.02)


def test_it_grows_to_its_cap_at_most_and_to_what_links_have(bench: Bench) -> None:
    up(bench, FOLLOWING)
    expect(bench, 50.0)
    assert promised(bench) == 6.0
    bench._desk.delete(1)
    bench.confirm()
    bench._desk.create(replace(FOLLOWING, cap_mbps=None))
    confirm(bench, 2)
    expect(bench, 50.0)
    assert bench.stitch(2).request.bandwidth_mbps == 2.0, "what cannot be promised is not"
    expect(bench, 4.0)
    assert bench.stitch(2).request.bandwidth_mbps == 8.0


def test_one_that_does_not_follow_stays_as_it_was_asked_for(bench: Bench) -> None:
    up(bench)
    expect(bench, 2.5)
    assert promised(bench) == 2.0
