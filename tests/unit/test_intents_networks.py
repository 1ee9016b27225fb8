"""Intents about whole virtual networks: one segment of two, and what one may send to the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stitching.intents.compiling import compile_document
from stitching.intents.faults import Conflict
from stitching.intents.planning import Action, Actual, plan
from stitching.intents.wanted import Wanted
from stitching.segment import SegmentRequest, Side
from stitching.stitch import BandwidthRequest, State, Stitch, StitchRequest
from tests.unit.intents_world import MACS, NOW_S, apart, document, latency, rate, share, transfer, world

R1, R2, R3, B1, B2 = MACS.values()


def compiled(*items: dict[str, Any], **others: Any) -> Wanted:
    return compile_document(document(*items), world(**others))


def conflict(*items: dict[str, Any], **others: Any) -> Conflict:
    (found,) = compiled(*items, **others).conflicts
    return found


def only(*items: dict[str, Any], **others: Any) -> StitchRequest:
    wanted = compiled(*items, **others)
    assert not wanted.faults and not wanted.conflicts, (wanted.faults, wanted.conflicts)
    (request,) = wanted.stitches.values()
    return request


def actions(wanted: Wanted, *stitches: Stitch) -> list[Action]:
    return [step.action for step in plan(wanted, Actual(stitches)).steps]


def up(request: StitchRequest) -> Stitch:
    return Stitch(1, request, State.UP, NOW_S, NOW_S)


# -- segments -----------------------------------------------------------------------------------------------


def test_two_networks_that_share_are_one_segment_whichever_is_named_first() -> None:
    terms = {"bandwidth": "2 Mbit/s", "max_latency": 20}
    request = only(share("lab", "red", "blue", **terms))
    assert isinstance(request, SegmentRequest)
    assert (request.source, request.target) == (Side("blue"), Side("red"))
    assert (request.bandwidth_mbps, request.max_latency_ms) == (2.0, 20.0)
    assert request == only(share("lab", "blue", "red", **terms))


@pytest.mark.parametrize(
    ("part", "side"),
    [
        ({"host": "r1"}, Side("red", (R1,))),
        ({"vnet": "red", "hosts": ["r2", "r1"]}, Side("red", (R1, R2))),
        ({"vnet": "red", "hosts": [], "subnets": ["10.1.0.0/16"]}, Side("red", (), ("10.1.0.0/16",))),
        ({"group": "few"}, Side("red", (R2, R3))),
    ],
)
def test_a_side_may_be_a_part_of_a_network(part: Any, side: Side) -> None:
    request = only(share("lab", part, "blue"), groups={"few": frozenset({R3, R2})})
    assert isinstance(request, SegmentRequest) and request.target == side


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("red", "both are in 'red'"),
        ({"vnet": "green", "hosts": ["r1"]}, "there is no vnet 'green'"),
        ({"vnet": "blue", "hosts": ["r1"]}, "vnet blue has no host 'r1'"),
        ({"group": "mixed"}, "hosts of 'blue' and 'red'"),
        ({"group": "nobody"}, "has no hosts"),
    ],
)
def test_a_side_is_of_one_network_and_has_its_hosts(part: Any, said: str) -> None:
    groups = {"mixed": frozenset({R1, B1}), "nobody": frozenset[str]()}
    wanted = compiled(share("lab", "red", part), groups=groups)
    assert said in str(wanted.faults[0]) and not wanted.stitches and wanted.unresolved == {"lab"}


def test_who_is_kept_apart_does_not_share() -> None:
    assert conflict(apart("keep", "red", "blue"), share("lab", "red", "blue")).intents == ("keep", "lab")
    found = conflict(apart("keep", "r1", "b1"), share("lab", {"vnet": "red", "hosts": ["r1"]}, "blue"))
    assert "one segment" in found.reason
    assert not compiled(apart("keep", "r1", "b1"), share("lab", {"host": "r2"}, "blue")).conflicts


def test_a_host_is_in_one_segment() -> None:
    found = conflict(share("a", "red", "blue"), share("b", {"host": "r1"}, "blue"))
    assert found.intents == ("a", "b") and "'blue'" in found.reason
    found = conflict(share("a", "red", "blue", bandwidth=2), share("b", "blue", "red", bandwidth=3))
    assert "bandwidth 3 Mbit/s against 2 Mbit/s" in found.reason or "2 Mbit/s against 3" in found.reason


def test_the_same_segment_twice_is_one() -> None:
    wanted = compiled(share("a", "red", "blue"), share("b", "blue", "red"))
    assert not wanted.conflicts and list(wanted.stitches) == [("a", "segment")]
    assert wanted.shared == {("b", "segment"): ("a", "segment")}


def test_a_segment_counts_once_across_each_cut() -> None:
    # Two links of 10 Mbit/s leave switch 2, which has one host of the segment.
    assert not compiled(share("lab", "red", "blue", bandwidth=10)).conflicts
    fat = latency("fat", "r2", "r3", bandwidth=12)
    found = conflict(share("lab", "red", "blue", bandwidth=9), fat)
    assert found.intents == ("fat", "lab") and "21 Mbit/s" in found.reason


def test_a_transfer_leaves_room_for_a_segment_that_is_to_come() -> None:
    # 1.1 times 8 Gbit in 6400 s: with 9.5 Mbit/s of each link promised to the segment, half a Mbit/s is left.
    wanted = compiled(share("lab", "red", "blue", bandwidth=9.5), transfer("move", "r1", "r2", "1 GB"))
    notes = [note.words for note in wanted.notes]
    assert any("needs 1.25 Mbit/s" in words for words in notes) or wanted.progress["move"].rate_mbps is not None


# -- rates --------------------------------------------------------------------------------------------------


def test_a_rate_is_kept_between_networks() -> None:
    request = only(rate("floor", "red", "blue", guarantee=5, cap="10 Mbit/s", follow_forecast=True))
    assert isinstance(request, BandwidthRequest)
    assert (request.vnets, request.guarantee_mbps, request.cap_mbps) == (("red", "blue"), 5.0, 10.0)
    assert request.follow_forecast and request.bandwidth_mbps == 5.0
    assert isinstance(only(rate("inside", "red", "red", cap=10)), BandwidthRequest)


def test_a_network_that_is_not_there_is_named() -> None:
    assert "there is no vnet 'green'" in str(compiled(rate("x", "red", "green", cap=1)).faults[0])


def test_one_rate_from_one_network_to_another() -> None:
    found = conflict(rate("a", "red", "blue", cap=5), rate("b", "red", "blue", cap=7))
    assert found.intents == ("a", "b") and "cap 5 Mbit/s against 7 Mbit/s" in found.reason
    assert not compiled(rate("a", "red", "blue", cap=5), rate("b", "blue", "red", cap=7)).conflicts
    assert compiled(rate("a", "red", "blue", cap=5), rate("b", "red", "blue", cap=5)).shared


def test_a_rate_between_networks_that_are_apart_is_never_had() -> None:
    assert "wants a rate" in conflict(apart("keep", "red", "blue"), rate("x", "red", "blue", cap=5)).reason
    assert not compiled(apart("keep", "r1", "r2"), rate("x", "red", "red", cap=5)).conflicts


def test_a_guarantee_that_no_cut_carries_is_a_conflict() -> None:
    found = conflict(rate("x", "red", "blue", guarantee=15), latency("y", "r1", "r3", bandwidth=6))
    assert found.intents == ("x", "y") and "21 Mbit/s" in found.reason


def test_a_guarantee_that_has_grown_with_the_forecast_is_as_wanted() -> None:
    wanted = compiled(rate("floor", "red", "blue", guarantee=2, cap=9, follow_forecast=True))
    (request,) = wanted.stitches.values()
    assert actions(wanted, up(replace(request, bandwidth_mbps=7.0))) == [Action.KEEP]


def test_other_terms_change_what_is_there_and_other_networks_take_its_place() -> None:
    first = compiled(rate("floor", "red", "blue", cap=5))
    (request,) = first.stitches.values()
    assert actions(compiled(rate("floor", "red", "blue", cap=6)), up(request)) == [Action.CHANGE]
    assert actions(compiled(rate("floor", "blue", "red", cap=5)), up(request)) == [Action.DELETE, Action.CREATE]
    assert actions(compiled(rate("floor", "red", "blue", cap=5)), up(request)) == [Action.KEEP]


def test_a_plan_says_what_each_is_in_a_line() -> None:
    items = (
        share("lab", {"vnet": "red", "hosts": ["r1"], "subnets": ["10.9.0.0/16"]}, "blue", bandwidth=2),
        rate("floor", "red", "blue", guarantee=5, cap=10, follow_forecast=True),
    )
    names = {mac: name for name, mac in MACS.items()}
    words = [step.words for step in plan(compiled(*items), Actual(names=names)).steps]
    assert words == [
        "red -> blue, 5 Mbit/s guaranteed and more as forecast, capped at 10 Mbit/s",
        "blue + red (r1, 10.9.0.0/16), 2 Mbit/s",
    ]
