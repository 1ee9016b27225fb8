"""What switches have been told for each stitch, and the changes that are on their way."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from ryu_apps.app import Event
from ryu_apps.events import ApplyStages, StagesApplied, WantRules
from stitching.difference import Stage
from stitching.kinds import rules
from stitching.stages import NOTHING, Fleet, after, stages, transition, union
from stitching.stitch import Stitch

LATER_S = 1.0
"""So long what nobody needs any more may stay, while other stitches are on their way."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change on its way: its ticket, whose it is, whether it takes all away, and what was there before it.

    settling is when what was left there of an earlier path was to go, and what was to stay.
    """

    ticket: int
    stitch_id: int
    removes: bool
    held: Fleet
    settling: tuple[float, Fleet] | None = None


class Changes:
    """Tells the installer (by `publish`) what each stitch needs; a newer change of a stitch overtakes an older.

    A path that is left keeps its rules behind the entrance until `settle`: packets may be on it, and the stitch
    may have to go back to it.
    """

    def __init__(self, publish: Callable[[Event], None], is_ready: Callable[[tuple[int]], bool]) -> None:
        self._publish = publish
        self._is_ready = is_ready
        self._tickets = itertools.count(1)
        self._held: dict[int, Fleet] = {}
        self._open: dict[int, Change] = {}
        self._settling: dict[int, tuple[float, Fleet]] = {}
        # What is to stay, of each that has more than that on switches.
        self._left_over: dict[int, Fleet] = {}

    def want(self, stitch: Stitch) -> None:
        """Its rules are there already, or should be: whatever is missing is put right."""
        self._held[stitch.id] = wants = rules(stitch)
        self._publish(WantRules(_owner(stitch.id), wants))

    def put(self, stitch: Stitch) -> None:
        """Put a stitch on the path it has now, from wherever it is."""
        has, wants = self._before(stitch.id), rules(stitch)
        steps, left_over = transition(has, wants)
        held = after(has, steps)
        steps = self._reachable(steps)
        change = self._next(stitch.id, held, removes=False)
        if left_over:
            self._left_over[stitch.id] = wants
        self._publish(ApplyStages(_owner(stitch.id), steps, held, ticket=change.ticket))

    def take_away(self, stitch_id: int, drain_s: float) -> None:
        """Take all rules of a stitch out, those behind the entrance when packets had drain_s to leave them."""
        has = union(self._before(stitch_id), self._held.get(stitch_id, NOTHING))
        steps = self._reachable(stages(has, NOTHING))
        change = self._next(stitch_id, NOTHING, removes=True)
        self._publish(ApplyStages(_owner(stitch_id), steps, {}, ticket=change.ticket, pause_s=drain_s))

    def settle(self, stitch: Stitch, at_s: float) -> None:
        """It carries on the path it has now: what is left of others goes at this time (see `tidy`)."""
        if (wants := self._left_over.get(stitch.id)) is not None:
            self._settling[stitch.id] = (at_s, wants)

    def tidy(self, now_s: float) -> None:
        """Take out what was left of paths whose time is up; those that are on their way are seen to first."""
        if self._open:
            now_s -= LATER_S
        for stitch_id, (at_s, wants) in list(self._settling.items()):
            if now_s >= at_s:
                del self._settling[stitch_id]
                self._left_over.pop(stitch_id, None)
                self._held[stitch_id] = wants
                self._publish(WantRules(_owner(stitch_id), wants))

    @property
    def on_their_way(self) -> int:
        """How many changes have not ended."""
        return len(self._open)

    def settled(self, stitch_id: int) -> bool:
        """Whether it has the rules of one path alone."""
        return stitch_id not in self._settling and stitch_id not in self._open

    def holds(self, stitch_id: int) -> bool:
        """Whether switches hold anything for it."""
        return any(self._held.get(stitch_id, NOTHING).values())

    def removing(self, stitch_id: int) -> bool:
        """Whether it is on its way out."""
        change = self._open.get(stitch_id)
        return change is not None and change.removes

    def applied(self, event: StagesApplied) -> Change | None:
        """The change that ended, None where a newer one has overtaken it. One that failed has left all as it was.

        A removal that failed at a switch that is away is as good as done: the switch gives the rules up when it is
        back, as nobody wants them any more.
        """
        change = self._open.get(_number(event.owner))
        if change is None or change.ticket != event.ticket:
            return None
        del self._open[change.stitch_id]
        if change.removes:
            self._held.pop(change.stitch_id, None)
            if event.error is not None:
                self._publish(WantRules(event.owner, {}))
        elif event.error is not None:
            self._held[change.stitch_id] = change.held
            if change.settling is not None:
                self._settling[change.stitch_id] = change.settling
                self._left_over[change.stitch_id] = change.settling[1]
        return change

    def forget(self, stitch_id: int) -> None:
        """Nobody wants anything for it any more."""
        self._settling.pop(stitch_id, None)
        self._left_over.pop(stitch_id, None)
        change = self._open.pop(stitch_id, None)
        if self._held.pop(stitch_id, None) or (change is not None and change.removes):
            self._publish(WantRules(_owner(stitch_id), {}))

    def _before(self, stitch_id: int) -> Fleet:
        """What switches hold for it, but for a change on its way: that is undone when it is overtaken."""
        change = self._open.get(stitch_id)
        return self._held.get(stitch_id, NOTHING) if change is None else change.held

    def _reachable(self, steps: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """Leave out what switches that are away should remove: when they are back, they are put right."""
        away = {c.dpid for stage in steps for c in stage if c.remove and not self._is_ready((c.dpid,))}
        if not away:
            return steps
        kept = (tuple(c for c in stage if not (c.remove and c.dpid in away)) for stage in steps)
        return tuple(stage for stage in kept if stage)

    def _next(self, stitch_id: int, held: Fleet, *, removes: bool) -> Change:
        before = self._open.get(stitch_id)
        settling = self._settling.pop(stitch_id, before.settling if before is not None else None)
        self._left_over.pop(stitch_id, None)
        change = Change(next(self._tickets), stitch_id, removes, self._before(stitch_id), settling)
        self._open[stitch_id] = change
        self._held[stitch_id] = held
        return change


def _owner(stitch_id: int) -> str:
    return f"stitch:{stitch_id}"


def _number(owner: str) -> int:
    kind, _, number = owner.partition(":")
    return int(number) if kind == "stitch" else 0
