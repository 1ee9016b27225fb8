"""Puts stitches on other paths, and on other terms, without a gap; back where that comes to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pathing import Oversubscribed
from ryu_apps.stitches.life import Life
from ryu_apps.store import StoreError
from stitching.kinds import damage
from stitching.stitch import Placement, State, Stitch, StitchRequest


@dataclass(frozen=True, slots=True)
class Move:
    """A stitch as it is, and as it will be on another path."""

    before: Stitch
    after: Stitch


class Mover:
    """Moves stitches."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def move(self, stitch: Stitch, request: StitchRequest, path: Placement, reason: str | None) -> None:
        """Put a stitch on another path without a gap; where that is refused (REFUSALS) nothing is done."""
        move = self.book(stitch, request, path, reason)
        if (error := self.carry_over([move])) is not None:
            raise error

    def book(
        self,
        stitch: Stitch,
        request: StitchRequest,
        path: Placement,
        reason: str | None,
        beside: Sequence[Stitch] = (),
    ) -> Move:
        """Promise a stitch its bandwidth on another path as well. Raises Oversubscribed or NotPossible.

        beside are others as they will be, of moves that are booked and not stored yet.
        """
        after = self._life.labelled(replace(stitch, request=request), path, beside)
        self._life.planner.admission.move(stitch, after)
        return Move(stitch, after.to(State.ADJUSTING, self._life.clock(), reason=reason))

    def carry_over(self, moves: Sequence[Move]) -> StoreError | None:
        """Store that these stitches move, all at once, then let them; where they cannot be stored they stay."""
        if not moves:
            return None
        try:
            self._life.book.put_certain([move.after for move in moves])
        except StoreError as error:
            for move in moves:
                self._stay(move.before, error)
            return error
        self.set_out(moves)
        return None

    def set_out(self, moves: Sequence[Move]) -> None:
        """Let those move whose moves are booked and stored."""
        for move in moves:
            self._life.prover.forget(move.after.id)
            self._life.moving[move.after.id] = move.before
            self._life.changes.put(move.after)

    def _stay(self, stitch: Stitch, error: StoreError) -> None:
        """A move came to nothing before it began."""
        self._life.planner.admission.move_back(stitch)
        hurt = damage(stitch, self._life.planner.whole)
        if hurt is not None and hurt.lost:
            self._life.bring_down(stitch, f"{hurt.reason}; {error}")

    def go_back(self, stitch: Stitch, reason: str, *, undone: bool) -> None:
        """The path was refused (undone), or carries nothing: back to the one before, if that still stands."""
        life = self._life
        before = life.moving.pop(stitch.id, None)
        if before is None:
            # What was undone was perhaps the way back: then its rules are still there.
            give_up = life.end if undone and not life.changes.holds(stitch.id) else life.remove
            give_up(stitch, State.FAILED, reason)
            return
        hurt = damage(before, life.planner.whole)
        broken = hurt.reason if hurt is not None and hurt.lost else None
        try:
            life.planner.admission.move_back(before)
        except Oversubscribed as error:
            broken = broken or str(error)
        if broken is not None:
            stitch = life.book.put(replace(before, state=stitch.state))
            life.remove(stitch, State.FAILED, f"{reason}; {broken}")
            return
        life.upkeep.attempted(stitch.id, life.monotonic())
        if undone:
            back = replace(before, state=stitch.state).to(before.state, life.clock(), reason=reason)
            life.prover.watch(life.book.put(back))
        else:
            life.prover.forget(stitch.id)
            life.changes.put(life.book.put(replace(before, state=stitch.state, reason=reason)))

    def change_in_place(self, stitch: Stitch, request: StitchRequest) -> Stitch:
        """Promise another bandwidth on its path. Raises Oversubscribed or StoreError, and nothing is done."""
        admission = self._life.planner.admission
        admission.resize(stitch, request.bandwidth_mbps)
        try:
            self._life.book.put_certain([replace(stitch, request=request)])
        except StoreError:
            admission.resize(stitch, stitch.request.bandwidth_mbps)
            raise
        self._life.prover.judge_by(stitch.id, request)
        return self._life.book[stitch.id]

    def resize(self, stitch: Stitch, bandwidth_mbps: float) -> None:
        """Promise another bandwidth on the path there is; no rule changes. Raises Oversubscribed."""
        self._life.planner.admission.resize(stitch, bandwidth_mbps)
        self._life.book.put(replace(stitch, request=replace(stitch.request, bandwidth_mbps=bandwidth_mbps)))
