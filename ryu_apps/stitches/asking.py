"""Does what people ask of stitches: may I have one, make one, take it away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ryu_apps.stitches.displacing import Displacer
from ryu_apps.stitches.life import REFUSALS, Life
from ryu_apps.stitches.replacing import Replacer
from ryu_apps.stitches.times import Times
from ryu_apps.stitches.together import Together
from ryu_apps.store import StoreError
from stitching.displacing import Room
from stitching.kinds import refuse, shortcomings
from stitching.plan import NotPossible
from stitching.stitch import ENDED, Placement, State, Stitch, StitchRequest

MOST_REASONS = 4
"""How many of the hosts that stand in the way are named."""


class Desk:
    """Where stitches are asked for. What is refused raises one of REFUSALS, and nothing is done."""

    def __init__(self, life: Life, replacer: Replacer, displacer: Displacer, times: Times) -> None:
        self._life = life
        self._displacer = displacer
        self._replacer = replacer
        self._times = times

    def check(self, request: StitchRequest) -> Room:
        """The path that a stitch would get, and who would make room for it.

        Those of the trigger that it would replace hold nothing on it.
        """
        refuse(request)
        return self._room(request, self._replacer.replaced(request))

    def create(self, request: StitchRequest) -> Stitch:
        """Admit a stitch and start on it."""
        (made,) = self.create_all([request])
        if isinstance(made, Exception):
            raise made
        return made

    def create_all(self, requests: Sequence[StitchRequest]) -> list[Stitch | Exception]:
        """Admit stitches and start on them, or say of each why not; all are stored in one go."""
        life = self._life
        made: list[Stitch | Exception] = []
        together = Together()
        numbered: list[Stitch] = []
        for place, request in enumerate(requests):
            if together.shares(request):
                made += life.begin(together.take())
            try:
                refuse(request)
                others = self._replacer.replaced(request)
                waits = self._times.waits_for(request)
                room = self._room(request, others) if waits is None else None
                # What is refused needs no number.
                numbered = numbered or life.book.new(requests[place:], life.clock())
                stitch = numbered[place - len(requests)]
                if room is not None and not others and not room.victims:
                    together.add(life.admit(stitch, room.placement))
                    continue
                made += life.begin(together.take())
                if room is None:
                    made.append(self._put_off(replace(stitch, reason=waits)))
                elif room.victims:
                    made.append(self._displacer.displace(stitch, room))
                else:
                    made.append(self._replacer.replace(stitch, room.placement, others))
            except REFUSALS as error:
                made += life.begin(together.take())
                made.append(error)
        return made + life.begin(together.take())

    def delete(self, stitch_id: int) -> Stitch:
        """Take a stitch away. Raises LookupError or StoreError."""
        (gone,) = self.delete_all([stitch_id])
        if isinstance(gone, Exception):
            raise gone
        return gone

    def delete_all(self, numbers: Sequence[int]) -> list[Stitch | Exception]:
        """Take stitches away, or say of each why not; all are stored in one go."""
        book = self._life.book
        there = {one.id: one for one in book.some(frozenset(numbers)) if one.state not in ENDED}
        wanted = {number: one for number, one in there.items() if one.state is not State.TERMINATING}
        failed: StoreError | None = None
        try:
            self._life.terminate_all(tuple(wanted.values()), "deleted")
        except StoreError as error:
            failed = error
        gone: list[Stitch | Exception] = []
        for number in numbers:
            if number not in there:
                gone.append(LookupError(f"there is no stitch {number}"))
            else:
                gone.append(failed if failed is not None and number in wanted else book[number])
        return gone

    def _room(self, request: StitchRequest, others: Sequence[Stitch]) -> Room:
        """Where it can lie: in free room if there is, else where less important ones give way."""
        try:
            return Room(self._place(request, others), ())
        except NotPossible:
            found = self._displacer.room(request) if not others else None
            if found is None:
                raise
            return found

    def _place(self, request: StitchRequest, others: Sequence[Stitch]) -> Placement:
        placement = self._life.planner.path(request, others)
        if lacks := shortcomings(placement):
            remedy = "put that right, or name the hosts of each side that are to be in it"
            raise NotPossible("destination", "; ".join(lacks[:MOST_REASONS]), remedy)
        return placement

    def _put_off(self, stitch: Stitch) -> Stitch:
        """Store a stitch that has to wait."""
        self._life.book.put_certain([stitch])
        self._life.idle.rest(stitch.id)
        return stitch
