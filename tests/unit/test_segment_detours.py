"""Detours of a segment: what has no way round is named, no link is promised too much, labels are told apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stitching.kinds import labelled, links_to_reserve, place
from stitching.labels import SEGMENT_LABELS
from stitching.plan import NotPossible, Situation
from stitching.segment import SegmentRequest, SegmentTree, Side
from stitching.stitch import Protection, State, Stitch
from tests.model.fabric import CAPACITY_MBPS, Fabric, Lab
from tests.model.test_segment_protection import PROTECTIONS, rings

RED_AND_BLUE = SegmentRequest(Side("red"), Side("blue"), 1.0)


def ring(size: int = 4, *, hosts: tuple[int, ...] = (1, 2, 3)) -> Fabric:
    """Switches in a ring, hosts of both networks in turn."""
    fabric = Fabric()
    for dpid in range(1, size + 1):
        fabric.join(dpid, dpid % size + 1)
    for number, dpid in enumerate(hosts):
        fabric.host(dpid, vnet=("red", "blue")[number % 2])
    return fabric


def plan(
    fabric: Fabric | Lab, protection: Protection, mbps: float = 1.0, before: SegmentTree | None = None
) -> SegmentTree:
    lab = Lab(fabric.network, fabric.directory)
    request = replace(RED_AND_BLUE, protection=protection, bandwidth_mbps=mbps)
    tree = place(request, Situation(lab.network, lab.directory, lab.resources(), {}), before)
    assert isinstance(tree, SegmentTree)
    return tree


def stitch(number: int, tree: SegmentTree | None = None) -> Stitch:
    request = replace(RED_AND_BLUE, protection=Protection.LINK)
    return Stitch(number, request, State.ESTABLISHING, 0.0, 0.0, epoch=1, path=tree)


def test_a_link_that_alone_joins_its_sides_is_named() -> None:
    fabric = ring()
    fabric.join(1, 9)
    fabric.host(9, vnet="blue")
    with pytest.raises(NotPossible) as refused:
        plan(fabric, Protection.LINK)
    assert refused.value.field == "protection"
    assert "link 0000000000000001:4 to 0000000000000009:1 is all that joins its two sides" in refused.value.reason
    assert "'none'" in refused.value.remedy
    assert plan(fabric, Protection.NONE).detours == ()


def test_a_switch_that_alone_joins_others_is_named_and_links_alone_can_be_had() -> None:
    fabric = ring(3, hosts=(2,))
    for one, other in ((1, 4), (4, 5), (5, 1)):
        fabric.join(one, other)
    fabric.host(4, vnet="blue")
    assert plan(fabric, Protection.LINK).detours
    with pytest.raises(NotPossible, match="switch 0000000000000001 is all that joins switches") as refused:
        plan(fabric, Protection.NODE)
    assert "'link'" in refused.value.remedy


def test_wires_beside_each_other_go_round_each_other() -> None:
    fabric = Fabric()
    fabric.join(1, 2)
    fabric.join(1, 2)
    for dpid, vnet in ((1, "red"), (2, "blue")):
        fabric.host(dpid, vnet=vnet)
    assert [len(detour.links) for detour in plan(fabric, Protection.NODE).detours] == [1, 1]


def test_what_has_no_room_round_it_is_refused_with_what_would_help() -> None:
    """Round a ring what goes one way comes back the other way, over links that carry it already."""
    with pytest.raises(NotPossible, match=r"has 6 Mbit/s free beside what is promised") as refused:
        plan(ring(), Protection.LINK, mbps=6.0)
    assert "less bandwidth" in refused.value.remedy
    assert plan(ring(), Protection.LINK, mbps=5.0).detours


@settings(deadline=None, max_examples=60)
@given(rings(), PROTECTIONS, st.sampled_from([0.5, 1.0, 2.0, 3.0, 5.0]))
def test_no_link_is_promised_more_than_it_has(lab: Lab, protection: Protection, mbps: float) -> None:
    try:
        tree = plan(lab, protection, mbps)
    except NotPossible:
        assume(False)
        raise
    assume(tree.links)
    keys = links_to_reserve(replace(RED_AND_BLUE, bandwidth_mbps=mbps), tree)
    assert max((keys.count(key) for key in keys), default=0) * mbps <= CAPACITY_MBPS
    lab.resources().reserve("it", keys, mbps)


@settings(deadline=None, max_examples=60)
@given(rings(), PROTECTIONS)
def test_planned_again_where_it_is_it_stays_as_it_is(lab: Lab, protection: Protection) -> None:
    try:
        tree = plan(lab, protection, 0.01)
    except NotPossible:
        assume(False)
        raise
    assert plan(lab, protection, 0.01, tree) == tree


def test_a_host_that_joins_where_another_is_changes_no_label() -> None:
    fabric = ring()
    before = labelled(stitch(1), plan(fabric, Protection.NODE), (), settled=True)
    assert isinstance(before, SegmentTree)
    fabric.host(2, vnet="blue")
    after = plan(fabric, Protection.NODE, before=before)
    again = labelled(replace(stitch(1, before), epoch=2), after, (), settled=True)
    assert isinstance(again, SegmentTree)
    assert (again.labels, again.since, len(again.members)) == (before.labels, 1, 4)


def test_no_two_segments_have_a_label_in_common_and_when_they_run_out_that_is_said() -> None:
    made: list[Stitch] = []
    tree = plan(ring(), Protection.LINK)
    colours = max(detour.colour for detour in tree.detours) + 1
    for number in range(SEGMENT_LABELS // (1 + colours)):
        path = labelled(stitch(number), tree, made, settled=True)
        made.append(stitch(number, path if isinstance(path, SegmentTree) else None))
    labels = [label for one in made if isinstance(one.path, SegmentTree) for label in one.path.labels]
    assert len(set(labels)) == len(labels) == (1 + colours) * len(made)
    assert all(3072 <= label < 4094 for label in labels)
    with pytest.raises(NotPossible, match=f"{colours} of the {SEGMENT_LABELS} labels") as refused:
        labelled(stitch(1000), tree, made, settled=True)
    assert refused.value.field == "protection"


def test_a_tree_that_is_left_gives_its_labels_to_the_next_ones_last() -> None:
    tree = plan(ring(), Protection.LINK)
    first = labelled(stitch(1), tree, (), settled=True)
    assert isinstance(first, SegmentTree)
    now = stitch(1, first)
    after = labelled(replace(now, epoch=2), tree, (now,), settled=False)
    assert isinstance(after, SegmentTree)
    assert min(after.labels) > max(first.labels)
