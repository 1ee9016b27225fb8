"""Keeps the times of stitches: what has to come before one is made, and when it is not wanted for a while."""

from __future__ import annotations

from ryu_apps.stitches.life import CARRYING_ON, Life
from stitching.expecting import Expecting
from stitching.kinds import waits_for
from stitching.plan import NotPossible
from stitching.stitch import State, Stitch, StitchRequest, VmRequest
from stitching.validity import words


class Times:
    """When stitches are wanted: by the clock, by the traffic that is expected, by the hosts that are there."""

    def __init__(self, life: Life, expecting: Expecting) -> None:
        self._life = life
        self._expecting = expecting

    def waits_for(self, request: StitchRequest) -> str | None:
        """What has to happen before it can be made: its time, its traffic, its hosts. Raises NotPossible."""
        begins_s = request.valid.begins_s(now_s := self._life.clock())
        if begins_s is None:
            raise NotPossible("valid_until", "its time is over", "give times that are still to come")
        if begins_s > now_s:
            return f"waits until {words(begins_s)}"
        expected = self._expecting.waits_for(request) if isinstance(request, VmRequest) else None
        return expected or waits_for(request, self._life.planner.whole)

    def keep(self) -> None:
        """End what is over, and let rest what is not wanted now."""
        life, now_s = self._life, self._life.clock()
        for stitch in life.book.active:
            begins_s = stitch.request.valid.begins_s(now_s)
            if stitch.state is State.TERMINATING or life.changes.removing(stitch.id):
                continue
            if begins_s is None:
                life.terminate(stitch, "its time is over")
            elif stitch.state in CARRYING_ON and begins_s > now_s:
                life.rest(stitch, f"waits until {words(begins_s)}")
            elif stitch.state in CARRYING_ON and self._unexpected(stitch):
                life.rest(stitch, "waits until its traffic is expected again")

    def _unexpected(self, stitch: Stitch) -> bool:
        request, monotonic = stitch.request, self._life.monotonic
        return isinstance(request, VmRequest) and self._expecting.let_go(stitch.id, request, monotonic())
