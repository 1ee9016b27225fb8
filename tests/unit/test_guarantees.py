"""Every promise has a queue on each of its links; queues add up to the port; what is claimed is what is there."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stitching.bandwidth import BandwidthRequest, BandwidthShares, Place
from stitching.decisions import ORIGIN
from stitching.enforcement import Choice, Enforced
from stitching.guarantees import OWN_QUEUES, SHARED, plan, verdict
from stitching.network import LinkKey, Network
from stitching.pipeline import CLASS_LABEL
from stitching.queues import MOST_MBPS, Labelled
from stitching.segment import Member, SegmentRequest, SegmentTree, Side
from stitching.stitch import Hop, State, Stitch, StitchPath
from stitching.vm import VmRequest
from tests.model.fabric import Fabric

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
RATE_MBPS = 10.0
QUEUE = Choice(Enforced.QUEUE, "an HTB queue by a filter on the port, its counters grow")


def wire(capacity_mbps: float | None = RATE_MBPS) -> tuple[Network, LinkKey]:
    """Two switches and a link between them."""
    fabric = Fabric()
    key = fabric.join(1, 2, capacity_mbps=capacity_mbps)
    return fabric.network, key


def on(key: LinkKey, number: int, mbps: float, *, priority: int = 3, both_ways: bool = False) -> Stitch:
    """A stitch between two hosts over one link."""
    path = StitchPath((Hop(key[0], 9, key[1]), Hop(key[2], key[3], 9)), (key,), 1.0, label=2048 + number)
    request = VmRequest(A, B, mbps, both_ways=both_ways, priority=priority)
    return Stitch(number, request, State.UP, 0.0, 0.0, path=path)


def between(key: LinkKey, number: int, mark: int = 1) -> Stitch:
    """A guarantee from one network to another over one link."""
    request = BandwidthRequest("red", "blue", guarantee_mbps=2.0, bandwidth_mbps=2.0)
    placed = BandwidthShares((key,), (Place(A, 1),), (Place(B, 2),), mark=mark)
    return Stitch(number, request, State.UP, 0.0, 0.0, path=placed)


@given(st.lists(st.tuples(st.floats(0.1, 5.0), st.integers(0, 7)), max_size=12))
def test_queues_hold_all_that_is_promised_and_never_more_than_the_port_has(
    wanted: list[tuple[float, int]],
) -> None:
    network, key = wire()
    stitches = [on(key, number, mbps, priority=p) for number, (mbps, p) in enumerate(wanted, 1)]
    planned = plan(stitches, network)
    queues = {queue.number: queue for queue in planned.ports[key[:2]].queues}
    total = sum(mbps for mbps, _ in wanted)
    assert abs(sum(queue.min_mbps for queue in queues.values()) - min(total, RATE_MBPS)) < 1e-6
    assert len(queues) <= OWN_QUEUES + 1
    own = [s for s in stitches if planned.queues[s.id] == ((key[:2], s.id),)]
    shared = [s for s in stitches if planned.queues[s.id] == ((key[:2], SHARED),)]
    assert len(own) == min(len(stitches), OWN_QUEUES) and len(own) + len(shared) == len(stitches)
    assert all(one.request.priority >= other.request.priority for one in own for other in shared)
    flows = [flow for queue in queues.values() for flow in queue.flows]
    assert sorted(flow.vlan_id for flow in flows) == [2048 + s.id for s in stitches]


@given(st.lists(st.integers(1, 50), min_size=2, max_size=7, unique=True), st.data())
def test_a_stitch_keeps_its_queue_when_others_come_and_go(numbers: list[int], data: st.DataObject) -> None:
    network, key = wire()
    before = plan([on(key, number, 0.5) for number in numbers], network)
    staying = data.draw(st.sets(st.sampled_from(numbers), min_size=1))
    after = plan([on(key, number, 0.5) for number in staying], network)
    assert all(after.queues[number] == before.queues[number] for number in staying)


def test_each_direction_has_the_packets_that_come_by_it() -> None:
    network, key = wire()
    planned = plan([on(key, 1, 1.0, both_ways=True)], network)
    there, back = planned.ports[key[:2]].queues, planned.ports[key[2:]].queues
    assert there[0].flows == (Labelled(2049, None, A, B),) and back[0].flows == (Labelled(2049, None, B, A),)
    assert (there[0].stitch_ids, back[0].stitch_ids) == ((1,), ()), "only what is measured can be missed"


def test_a_link_without_promises_has_a_queue_for_what_keeps_it_alive_unless_it_is_too_fast_for_that() -> None:
    slow, key = wire()
    assert plan((), slow).ports[key[:2]].queues == ()
    assert plan((), wire(40_000.0)[0]).ports == {} and plan((), wire(None)[0]).ports == {}


def test_a_guarantee_has_what_is_marked_and_what_travels_on_stitches_without_a_promise() -> None:
    network, key = wire()
    tree = SegmentTree((key,), (Member(A, 1, 9),), (Member(B, 2, 9),), 1.0, label=3072)
    segment = Stitch(8, SegmentRequest(Side("red"), Side("blue"), 0.0), State.UP, 0.0, 0.0, path=tree)
    planned = plan([between(key, 5), on(key, 7, 0.0), segment], network)
    (queue,) = planned.ports[key[:2]].queues
    assert queue.flows == (Labelled(CLASS_LABEL, 1), Labelled(2055, None, A, B), Labelled(3072))
    promised = plan([between(key, 5), on(key, 7, 1.0)], network).ports[key[:2]].queues
    assert [queue.flows for queue in promised] == [(Labelled(CLASS_LABEL, 1),), (Labelled(2055, None, A, B),)]


def test_packets_that_two_promises_claim_are_those_of_the_first() -> None:
    network, key = wire()
    # A host has just changed its network: where the other promise lies is still as it was before.
    other = replace(between(key, 6, mark=2), request=BandwidthRequest("green", "blue", 1.0, bandwidth_mbps=1.0))
    planned = plan([other, between(key, 5), on(key, 7, 0.0)], network)
    assert [queue.flows for queue in planned.ports[key[:2]].queues] == [
        (Labelled(CLASS_LABEL, 1), Labelled(2055, None, A, B)),
        (Labelled(CLASS_LABEL, 2),),
    ]


def test_a_port_that_is_faster_than_queues_can_be_has_none_and_the_promise_says_so() -> None:
    network, key = wire(40_000.0)
    stitch = on(key, 1, 5_000.0)
    planned = plan([stitch], network)
    assert planned.ports == {}
    by, why = verdict(stitch, planned, {})
    assert by == "none" and "40000 Mbit/s" in why
    assert plan([stitch], wire(MOST_MBPS)[0]).ports


def test_what_the_trigger_moves_is_best_effort_and_says_so() -> None:
    network, key = wire()
    asked, moved = on(key, 1, 1.0), on(key, 2, 3.0)
    moved = replace(moved, request=replace(moved.request, origin=ORIGIN))
    planned = plan([asked, moved], network)
    assert planned.ports == plan([asked], network).ports and 2 not in planned.queues
    by, why = verdict(moved, planned, {})
    assert by == "none" and "admission alone" in why and "best effort" in why
    (guaranteed,) = plan([between(key, 5), moved], network).ports[key[:2]].queues
    assert Labelled(2050, None, A, B) in guaranteed.flows, "what was guaranteed stays so where it is moved to"


def test_a_segment_is_told_by_its_labels_both_ways() -> None:
    network, key = wire()
    tree = SegmentTree((key,), (Member(A, 1, 9),), (Member(B, 2, 9),), 1.0, label=3072)
    segment = Stitch(8, SegmentRequest(Side("red"), Side("blue"), 1.0), State.UP, 0.0, 0.0, path=tree)
    planned = plan([segment], network)
    assert {planned.ports[port].queues[0].flows for port in (key[:2], key[2:])} == {
        (Labelled(3072), Labelled(3073))
    }


def test_a_queue_is_claimed_when_every_port_has_it_and_no_sooner() -> None:
    network, key = wire()
    stitch = on(key, 1, 1.0, both_ways=True)
    planned = plan([stitch], network)
    both = {(key[:2], 1): QUEUE, (key[2:], 1): QUEUE}
    assert verdict(stitch, planned, both) == (
        "queue",
        "an HTB queue at each of 2 ports on its way; counters have grown at 2 of them so far",
    )
    for missing in both:
        by, why = verdict(stitch, planned, {queue: QUEUE for queue in both if queue != missing})
        assert (by, "is being set" in why) == ("none", True)
    refused = {**both, (key[2:], 1): Choice(Enforced.NONE, "somebody else's QoS is on the port")}
    by, why = verdict(stitch, planned, refused)
    assert by == "none" and "somebody else's" in why and "0000000000000002:1" in why


def test_nothing_is_claimed_where_nothing_can_be_had() -> None:
    unknown, key = wire(None)
    stitch = on(key, 1, 1.0)
    by, why = verdict(stitch, plan([stitch], unknown), {})
    assert by == "none" and "not known what port 0000000000000001:1 carries" in why
    network, key = wire()
    unmarked = between(key, 5, mark=0)
    by, why = verdict(unmarked, plan([unmarked], network), {})
    assert by == "none" and "all marks are taken" in why
    failed = replace(on(key, 1, 1.0), state=State.FAILED, path=None)
    assert verdict(failed, plan([failed], network), {})[0] == "none" and not plan([failed], network).queues
