"""Single bad days of the real stitcher and installer over model switches, each to its named end."""

from __future__ import annotations

import pytest

from ryu_apps.events import CreateStitch, StitchesRequest
from stitching.bandwidth import BandwidthRequest
from stitching.rules import Entry, Failover, FlowRule, Meter
from stitching.segment import SegmentRequest, Side
from stitching.stitch import Protection, State, Stitch, StitchRequest, VmRequest
from tests.unit.test_bad_days import DPIDS, A, B, BadDays

CAP = BandwidthRequest("default", "default", cap_mbps=8.0, bandwidth_mbps=0.0)
PROTECTED = VmRequest(A.mac, B.mac, 2.0, protection=Protection.LINK)
SEGMENT = SegmentRequest(Side("red"), Side("blue"), 2.0)


@pytest.fixture
def day() -> BadDays:
    return BadDays()


def make(day: BadDays, request: StitchRequest) -> None:
    day.world.ask(CreateStitch(request))


def stitch(day: BadDays) -> Stitch:
    (only,) = day.world.ask(StitchesRequest())
    assert isinstance(only, Stitch)
    return only


@pytest.mark.parametrize(("request_", "kind"), [(CAP, Meter), (PROTECTED, Failover), (SEGMENT, FlowRule)])
def test_what_a_full_switch_does_not_take_fails_by_name_leaves_nothing_and_is_tried_again(
    day: BadDays, request_: StitchRequest, kind: type[Entry]
) -> None:
    for room in day.world.room.values():
        room.fill(kind, 0)
    make(day, request_)
    day.world.flow()
    assert stitch(day).state is State.FAILED and "refused" in (stitch(day).reason or "")
    assert day.world.tables == day.at_first
    for room in day.world.room.values():
        room.most.clear()
    day.settle()
    assert stitch(day).state is State.UP
    day.check()
    day.teardown()


@pytest.mark.parametrize("request_", [CAP, PROTECTED, SEGMENT])
@pytest.mark.parametrize("done", [0, 1, 2, 3, 5])
def test_switches_that_reboot_in_the_middle_of_a_stage_end_with_all_of_it(
    day: BadDays, request_: StitchRequest, done: int
) -> None:
    make(day, request_)
    for dpid in DPIDS:
        day.world.connections[dpid].work(done)
    for dpid in (1, 3):
        day.a_switch_reboots(dpid, noticed=dpid == 1)
    day.settle()
    assert stitch(day).state is State.UP
    day.check()
    day.teardown()
