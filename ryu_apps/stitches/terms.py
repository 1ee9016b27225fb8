"""Gives stitches other terms: where they lie if they may stay, else in a new place before the old one is left."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from pathing import Oversubscribed
from ryu_apps.events import StitchChanged
from ryu_apps.stitches.asking import MOST_REASONS
from ryu_apps.stitches.displacing import Displacer
from ryu_apps.stitches.life import CARRYING_ON, Life
from ryu_apps.stitches.moving import Mover
from ryu_apps.stitches.retrying import Retrier
from stitching.changing import as_asked, carried_on, may_stay, refuse_change
from stitching.kinds import refuse, rivals, shortcomings
from stitching.plan import NotPossible
from stitching.planner import Duplicate
from stitching.stitch import ENDED, BadTransition, Placement, State, Stitch, StitchRequest


class Changer:
    """Where other terms are asked for. What is refused raises one of REFUSALS, and nothing is done."""

    def __init__(self, life: Life, mover: Mover, displacer: Displacer, retrier: Retrier) -> None:
        self._life = life
        self._displacer = displacer
        self._mover = mover
        self._retrier = retrier

    def change(self, stitch_id: int, asked: StitchRequest, before: StitchRequest | None = None) -> Stitch:
        """Other terms for the same packets; `before` is what the caller takes it to have been asked for.

        Raises LookupError, StitchChanged or BadTransition as well.
        """
        stitch = self._changeable(stitch_id, before)
        refuse(asked)
        refuse_change(stitch.request, asked)
        if asked.valid.begins_s(self._life.clock()) is None:
            raise NotPossible("valid_until", "its time is over", "give times that are still to come")
        if others := [one for one in rivals(asked, self._life.book.between(asked)) if one.id != stitch_id]:
            raise Duplicate("source", f"stitch {others[0].id} has some of these hosts", "name others")
        request = carried_on(stitch.request, asked)
        if stitch.state not in CARRYING_ON:
            self._try_on(stitch, request)
        elif not may_stay(stitch, request) or not self._stays(stitch, request):
            self._mover.move(stitch, request, self._place(stitch, request), "its terms were changed")
        return self._life.book[stitch_id]

    def _changeable(self, stitch_id: int, before: StitchRequest | None) -> Stitch:
        """A stitch that carries, or that nothing is being done for."""
        life = self._life
        stitch = life.book.get(stitch_id)
        if stitch is None or stitch.state in ENDED:
            raise LookupError(f"there is no stitch {stitch_id}")
        if before is not None and as_asked(stitch.request) != before:
            raise StitchChanged(f"stitch {stitch_id} was changed by somebody else")
        carries = stitch.state in CARRYING_ON and not life.changes.removing(stitch_id)
        if not carries and stitch.state is not State.FAILED and not life.idle.rests(stitch_id):
            raise BadTransition(f"stitch {stitch_id} is {stitch.state}; it can be changed when it is up")
        return stitch

    def _stays(self, stitch: Stitch, request: StitchRequest) -> bool:
        """Promise it other terms where it lies, if its links have the bandwidth; no rule changes."""
        with contextlib.suppress(Oversubscribed):
            self._mover.change_in_place(stitch, request)
            return True
        return False

    def _place(self, stitch: Stitch, request: StitchRequest) -> Placement:
        """Where a stitch that is up could lie on other terms. Raises NotPossible where it would lack more."""
        try:
            place = self._life.planner.path(request, (stitch,), stitch.path)
        except NotPossible as error:
            raise self._with_remedy(error, stitch, request) from error
        has = shortcomings(stitch.path) if stitch.path is not None else ()
        if lacks := [words for words in shortcomings(place) if words not in has]:
            raise NotPossible("bandwidth_mbps", "; ".join(lacks[:MOST_REASONS]), "ask for less, or free capacity")
        if not self._life.planner.all_ready(place.dpids):
            reason = "the only place for it on these terms has a switch that is away"
            raise NotPossible("destination", reason, "try again when GET /v1/topology shows the switch")
        return place

    def _with_remedy(self, error: NotPossible, stitch: Stitch, request: StitchRequest) -> NotPossible:
        """The same, where it would have room if less important ones gave way, with what would make them."""
        others = [other for other in self._displacer.below(request) if other.id != stitch.id]
        try:
            if others:
                self._life.planner.path(request, (stitch, *others), stitch.path)
        except NotPossible:
            return error
        if not others:
            return error
        anew = "a change displaces nobody: take it away and make it anew, and less important stitches give way"
        return type(error)(error.field, error.reason, f"{error.remedy}; {anew}")

    def _try_on(self, stitch: Stitch, request: StitchRequest) -> None:
        """One that waits or failed is tried on its new terms at once. Raises StoreError."""
        self._life.book.put_certain([replace(stitch, request=request)])
        self._life.idle.hurry_one(stitch.id)
        self._retrier.retry_at_once()
