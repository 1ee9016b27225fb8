"""The steps that every stitch takes, whoever asks for them: admitted, begun, brought down, taken away, ended.

What is wanted is stored before it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pathing import Oversubscribed
from ryu_apps.stitches.book import StitchBook
from ryu_apps.stitches.changes import Changes
from ryu_apps.stitches.idle import Idle
from ryu_apps.stitches.proving import Prover
from ryu_apps.stitches.upkeep import Upkeep
from ryu_apps.store import StoreError
from stitching.decisions import ORIGIN
from stitching.kinds import labelled
from stitching.plan import NotPossible
from stitching.planner import Planner
from stitching.stages import drain_s
from stitching.stitch import Placement, State, Stitch, StitchRequest

MAKING = frozenset({State.ESTABLISHING, State.ADJUSTING})
"""States in which the path of a stitch has its rules on the way, or is to be proven."""

CARRYING_ON = frozenset({State.UP, State.DEGRADED})
"""States in which the path of a stitch is proven."""

REFUSALS = (NotPossible, Oversubscribed, StoreError)
"""Why a stitch cannot have what it is to have: nothing was done."""


def most_important_first(stitch: Stitch) -> tuple[int, int]:
    """By this, stitches are sorted where one may take what another needs."""
    return -stitch.request.priority, stitch.id


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What becomes of a stitch when its rules are gone; again: one that fails is tried again at once.

    So is one for which something has changed since hurried, the count of that.
    """

    then: State
    reason: str | None
    again: bool = False
    hurried: int = 0


@dataclass
class Life:
    """All stitches, and the elementary steps between their states.

    moving: stitches as they were before the path they are being put on; waiting: the paths that are booked for
    stitches whose rivals have yet to go; making_room: whom each of these displaces.
    """

    book: StitchBook
    planner: Planner
    changes: Changes
    prover: Prover
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    upkeep: Upkeep = field(default_factory=Upkeep)
    idle: Idle = field(default_factory=Idle)
    moving: dict[int, Stitch] = field(default_factory=dict)
    waiting: dict[int, Placement] = field(default_factory=dict)
    making_room: dict[int, frozenset[int]] = field(default_factory=dict)
    _outcomes: dict[int, _Outcome] = field(default_factory=dict)

    # -- begin ----------------------------------------------------------------------------------------------

    def admit(self, stitch: Stitch, path: Placement) -> Stitch:
        """Promise a stitch its bandwidth; what it is to be. Raises Oversubscribed or NotPossible."""
        self.planner.admission.book(stitch, path)
        try:
            return self.on(stitch, path)
        except NotPossible:
            self.planner.admission.free(stitch.id)
            raise

    def begin(self, stitches: Sequence[Stitch]) -> list[Stitch | Exception]:
        """Store what was admitted, then start on it; those that cannot be stored are not begun."""
        if not stitches:
            return []
        try:
            self.book.put_certain(stitches)
        except StoreError as error:
            for stitch in stitches:
                self.planner.admission.free(stitch.id)
            return [error] * len(stitches)
        for stitch in stitches:
            self.idle.wake(stitch.id)
            self.changes.put(stitch)
        return list(stitches)

    def on(self, stitch: Stitch, path: Placement) -> Stitch:
        """A stitch that is being put on a path."""
        return self.labelled(stitch, path).to(State.ESTABLISHING, self.clock())

    def labelled(self, stitch: Stitch, path: Placement, beside: Sequence[Stitch] = ()) -> Stitch:
        """The stitch in its next epoch on a new path, by labels that tell its packets from all others.

        beside are stitches as they will be, that nobody else knows of yet.
        """
        after = replace(stitch, epoch=(stitch.epoch + 1) & 0xFFFF)
        others = [*self._sharing(stitch.request), *beside]
        return replace(after, path=labelled(after, path, others, settled=self.changes.settled(stitch.id)))

    def _sharing(self, request: StitchRequest) -> list[Stitch]:
        """All that may have packets between these hosts on the way, on the path before as on the one after."""
        there = self.book.between(request)
        return [*there, *(self.moving[stitch.id] for stitch in there if stitch.id in self.moving)]

    # -- fall short -----------------------------------------------------------------------------------------

    def degrade(self, stitch: Stitch, reason: str) -> None:
        """It carries, and not as it was asked for."""
        if stitch.state is State.UP:
            self.book.put(stitch.to(State.DEGRADED, self.clock(), reason=reason))
        elif stitch.reason != reason:
            self.book.put(replace(stitch, reason=reason))

    def bring_down(self, stitch: Stitch, reason: str, *, again: bool = False) -> None:
        """The path does not carry any more: take the rules out, so that the shortest way does; then try again.

        again: as soon as they are gone, as it may displace others then; else after a while.
        """
        if stitch.state is State.REQUESTED:
            self.end(stitch, State.FAILED, reason)  # it has no rules yet
            return
        if stitch.state in CARRYING_ON:
            stitch = self.book.put(stitch.to(State.DOWN, self.clock(), reason=reason))
        self.remove(stitch, State.FAILED, reason, again=again)

    def rest(self, stitch: Stitch, reason: str) -> None:
        """Take its rules out for a while."""
        down = self.book.put(stitch.to(State.DOWN, self.clock(), reason=reason))
        self.remove(down, State.REQUESTED, reason)

    # -- take away ------------------------------------------------------------------------------------------

    def terminate(self, stitch: Stitch, reason: str) -> None:
        """Nobody wants it any more."""
        self.book.put(self._unwanted(stitch, reason))
        self._take_away(stitch, reason)

    def terminate_all(self, stitches: Sequence[Stitch], reason: str) -> None:
        """Nobody wants them any more, which has to be certain. Raises StoreError, and nothing is done."""
        if not stitches:
            return
        self.book.put_certain([self._unwanted(stitch, reason) for stitch in stitches])
        for stitch in stitches:
            self._take_away(stitch, reason)

    def _unwanted(self, stitch: Stitch, reason: str) -> Stitch:
        return stitch.to(State.TERMINATING, self.clock(), reason=reason)

    def _take_away(self, before: Stitch, reason: str) -> None:
        """Take out what a stitch has on switches, if anything; before is as it was when it was wanted."""
        stitch = self.book[before.id]
        if before.path is not None and before.state is not State.FAILED:
            self.remove(stitch, State.TERMINATED, reason)
        else:
            self.end(stitch, State.TERMINATED, reason)

    def remove(self, stitch: Stitch, then: State, reason: str | None, *, again: bool = False) -> None:
        """Take the rules out, the entrance first; the stitch moves on when they are gone."""
        self.prover.forget(stitch.id)
        before = self.moving.pop(stitch.id, None)
        self.prover.count_last(stitch)
        self.prover.count_last(before)
        self._outcomes[stitch.id] = _Outcome(then, reason, again, self.idle.hurried)
        self.changes.take_away(stitch.id, max(self.drain_s(stitch), self.drain_s(before)))

    def removed(self, stitch: Stitch) -> None:
        """The rules that `remove` takes out are gone, or nobody wants them any more."""
        outcome = self._outcomes.pop(stitch.id)
        self.end(stitch, outcome.then, outcome.reason)
        if outcome.again or outcome.hurried != self.idle.hurried:
            self.idle.hurry_one(stitch.id)

    def end(self, stitch: Stitch, state: State, reason: str | None) -> None:
        """The rules of a stitch are gone: free what it held; one of the trigger's own is not tried again."""
        self.planner.admission.free(stitch.id)
        self.prover.forget(stitch.id)
        self.upkeep.forget(stitch.id)
        for attempt in (self.waiting, self.making_room, self.moving, self._outcomes):
            attempt.pop(stitch.id, None)
        self.idle.wake(stitch.id)
        stitch = self.book.put(replace(stitch, path=None).to(state, self.clock(), reason=reason))
        if state is State.FAILED:
            self.idle.tried(stitch.id, self.monotonic())
        if state is State.REQUESTED:
            self.idle.rest(stitch.id)
        if state is State.FAILED and stitch.request.origin == ORIGIN:
            self.terminate(stitch, reason or "failed")

    def makes_way(self, stitch_id: int) -> bool:
        """Whether a stitch is still on its way off a path."""
        return stitch_id in self.moving or self.changes.removing(stitch_id)

    def drain_s(self, stitch: Stitch | None) -> float:
        """How long packets may still be on the way over the path of a stitch."""
        if stitch is None or stitch.path is None:
            return 0.0
        return drain_s(stitch.path.all_links, self.planner.network)
