"""Starts again on stitches that failed or had to wait, and gives up those that are on their way for too long."""

from __future__ import annotations

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


class Retrier:
    """Looks through the stitches that nothing is being done for."""

    def __init__(self, life: Life, replacer: Replacer, displacer: Displacer, times: Times, log: Logger) -> None:
        self._life = life
        self._displacer = displacer
        self._replacer = replacer
        self._times = times
        self._log = log

    def retry(self) -> None:
        """Start again on what failed a while ago, and on what has waited long enough."""
        life, now_s = self._life, self._life.monotonic()
        together = Together()
        for stitch in sorted(life.book.active, key=most_important_first):
            if not life.idle.is_due(stitch, now_s):
                continue
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
        life.begin(together.take())

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
            ended = State.TERMINATED if stitch.state is State.TERMINATING else State.FAILED
            self._life.end(stitch, ended, stitch.reason or f"it was {stitch.state} for too long")
        self._replacer.go_on()
