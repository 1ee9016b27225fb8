"""Starts again on stitches that failed or had to wait, and gives up those that are on their way for too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from logging import Logger

from ryu_apps.stitches.displacing import Displacer
from ryu_apps.stitches.life import REFUSALS, Life, most_important_first
from ryu_apps.stitches.replacing import Replacer
from ryu_apps.stitches.times import Times
from ryu_apps.stitches.together import Together
from stitching.displacing import DISPLACED, Room
from stitching.kinds import rivals
from stitching.plan import NotPossible
from stitching.stitch import DEADLINES_S, State, Stitch

ROUND_S = 0.1
"""So long a round may look in vain for paths: the app has others to look after."""


class Retrier:
    """Looks through the stitches that nothing is being done for."""

    def __init__(self, life: Life, replacer: Replacer, displacer: Displacer, times: Times, log: Logger) -> None:
        self._life = life
        self._displacer = displacer
        self._replacer = replacer
        self._times = times
        self._log = log
        self._last_tried: tuple[int, int] | None = None

    def retry(self) -> None:
        """Start again on what failed a while ago, and on what has waited long enough; the most important first.

        Looking in vain takes ROUND_S at most: who is left has their turn in the next round, before others.
        """
        life, now_s = self._life, self._life.monotonic()
        due = sorted((s for s in life.book.active if life.idle.is_due(s, now_s)), key=most_important_first)
        last = self._last_tried
        if last is not None:
            due.sort(key=lambda stitch: most_important_first(stitch) <= last)
        self._last_tried = self._try_all(due)

    def retry_at_once(self) -> None:
        """Start again on those that have just failed and need not wait."""
        life, now_s = self._life, self._life.monotonic()
        if numbers := life.idle.take_at_once():
            stitches = [stitch for stitch in life.book.some(numbers) if life.idle.is_due(stitch, now_s)]
            self._try_all(sorted(stitches, key=most_important_first))

    def _try_all(self, due: Sequence[Stitch]) -> tuple[int, int] | None:
        """Start again on these, as far as there is time; answers the last one tried, None where none is left."""
        life = self._life
        together = Together()
        in_vain_s, now_s = 0.0, life.monotonic()
        last = None
        for stitch in due:
            if in_vain_s > ROUND_S:
                life.begin(together.take())
                return last
            last, began_s = most_important_first(stitch), life.monotonic()
            if together.shares(stitch.request):
                life.begin(together.take())
            try:
                again = self._try_again(stitch, now_s)
                if isinstance(again, Room):
                    life.begin(together.take())
                    self._displacer.displace(self._asked(stitch), again)
                elif again is not None:
                    together.add(again)
            except REFUSALS as error:
                if stitch.state is State.REQUESTED:
                    # What it waited for has come, and it cannot be had all the same.
                    life.end(stitch, State.FAILED, str(error))
                elif stitch.reason != str(error) and not (stitch.reason or "").startswith(DISPLACED):
                    life.book.put(replace(stitch, reason=str(error)))
                in_vain_s += life.monotonic() - began_s
        life.begin(together.take())
        return None

    def _asked(self, stitch: Stitch) -> Stitch:
        return stitch if stitch.state is State.REQUESTED else stitch.to(State.REQUESTED, self._life.clock())

    def _try_again(self, stitch: Stitch, now_s: float) -> Stitch | Room | None:
        """What an idle stitch is to be, or the room that others have to make for it; None where it stays idle."""
        life = self._life
        if (waits := self._times.waits_for(stitch.request)) is not None:
            self._wait(stitch, waits)
            return None
        life.idle.tried(stitch.id, now_s)
        there = life.book.between(stitch.request)
        others = [other for other in rivals(stitch.request, there) if other.id != stitch.id]
        try:
            path = life.planner.path(stitch.request, others)
        except NotPossible:
            room = self._displacer.room(stitch.request) if not others else None
            if room is None or not room.victims:
                raise
            return room
        if not life.prover.all_ready(path.dpids):
            return None
        asked = self._asked(stitch)
        if others:
            self._replacer.replace(asked, path, others)
            return None
        return life.admit(asked, path)

    def _wait(self, stitch: Stitch, reason: str) -> None:
        """Nothing can be done for it until something happens; no deadline runs meanwhile."""
        if stitch.state is State.FAILED:
            self._life.book.put(stitch.to(State.REQUESTED, self._life.clock(), reason=reason))
        elif stitch.reason != reason:
            self._life.book.put(replace(stitch, reason=reason))
        self._life.idle.rest(stitch.id)

    def end_overdue(self) -> None:
        """Whatever it waits for, a stitch is not on its way for ever."""
        for stitch in self._life.book.overdue(DEADLINES_S):
            if self._life.idle.rests(stitch.id):
                continue
            after_s = DEADLINES_S[stitch.state]
            self._log.warning("stitch=%d state=%s overdue_after_s=%g", stitch.id, stitch.state, after_s)
            self._life.changes.forget(stitch.id)
            if stitch.state is State.DOWN:
                self._life.removed(stitch)
                continue
            ended = State.TERMINATED if stitch.state is State.TERMINATING else State.FAILED
            self._life.end(stitch, ended, stitch.reason or f"it was {stitch.state} for too long")
        self._replacer.go_on()
