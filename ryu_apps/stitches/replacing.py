"""Lets stitches that the trigger made make room for those that people ask for between the same hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ryu_apps.stitches.life import REFUSALS, Life
from stitching.decisions import ORIGIN
from stitching.kinds import rivals
from stitching.planner import Duplicate
from stitching.stitch import Placement, State, Stitch, StitchRequest


class Replacer:
    """Puts one stitch in the place of others, when those have gone."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def replaced(self, request: StitchRequest) -> list[Stitch]:
        """The stitches of the trigger that a new one replaces. Raises Duplicate where it may not."""
        others = rivals(request, self._life.book.between(request))
        for stitch in others:
            if stitch.request.origin != ORIGIN or request.origin == ORIGIN:
                raise Duplicate(
                    "destination",
                    f"stitch {stitch.id} joins these hosts already",
                    f"delete stitch {stitch.id} first, or use it",
                )
        return others

    def replace(self, stitch: Stitch, path: Placement, others: Sequence[Stitch]) -> Stitch:
        """Book the path for a stitch, and take away those that are in its place.

        Raises Oversubscribed or StoreError, and nothing is done.
        """
        life, admission = self._life, self._life.planner.admission
        reason = f"waits until it has replaced stitch {others[0].id}"
        with admission.all_or_nothing([stitch.id, *(rival.id for rival in others)]):
            admission.book(stitch, path, replaces=others)
            life.book.put_certain([replace(stitch, reason=reason)])
        life.idle.wake(stitch.id)
        life.waiting[stitch.id] = path
        for rival in others:
            if rival.state is not State.TERMINATING:
                life.terminate(rival, f"replaced by stitch {stitch.id}")
        self.go_on()
        return life.book[stitch.id]

    def go_on(self) -> None:
        """Start on those whose rivals have gone, and for whom all have made room."""
        life = self._life
        for number, path in list(life.waiting.items()):
            stitch = life.book[number]
            if len(rivals(stitch.request, life.book.between(stitch.request))) > 1:
                continue
            if any(map(life.makes_way, life.making_room.get(number, ()))):
                continue
            del life.waiting[number]
            life.making_room.pop(number, None)
            if all(key in life.planner.network.links for key in path.all_links):
                try:
                    begun = life.on(replace(stitch, reason=None), path)
                    life.book.put_certain([begun])
                    life.changes.put(begun)
                except REFUSALS as error:
                    life.end(stitch, State.FAILED, str(error))
            else:
                life.end(stitch, State.FAILED, "a link of its path went while it waited")
