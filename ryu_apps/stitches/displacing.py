"""Lets less important stitches make room for one that finds none: to another path if there is one, else down."""

from __future__ import annotations

from dataclasses import replace

from ryu_apps.stitches.life import CARRYING_ON, REFUSALS, Life
from ryu_apps.stitches.moving import Move, Mover
from ryu_apps.stitches.replacing import Replacer
from stitching.decisions import ORIGIN
from stitching.displacing import Left, Room, make_room, why_displaced
from stitching.kinds import links_to_reserve, shortcomings
from stitching.stitch import State, Stitch, StitchRequest


class Displacer:
    """Finds out who has to give way, and sees to it that they do before the new one is begun."""

    def __init__(self, life: Life, mover: Mover, replacer: Replacer) -> None:
        self._life = life
        self._mover = mover
        self._replacer = replacer

    def room(self, request: StitchRequest) -> Room | None:
        """Where a stitch that finds no room can lie, and who goes for it; None where nobody may, or it is no help.

        What the trigger makes displaces nobody. Those that are on the way to another path are left alone.
        """
        held = self.below(request)
        return make_room(self._life.planner, request, held) if held else None

    def below(self, request: StitchRequest) -> list[Stitch]:
        """The less important ones that hold anything and could give it up."""
        life = self._life
        if request.origin == ORIGIN:
            return []
        return [
            stitch
            for stitch in life.book.below(request.priority)
            if (stitch.state in CARRYING_ON or stitch.state is State.ESTABLISHING)
            and not life.changes.removing(stitch.id)
            and links_to_reserve(stitch.request, stitch.path)
        ]

    def displace(self, stitch: Stitch, room: Room) -> Stitch:
        """Book its place for a stitch, and let others leave it; it is begun when they have.

        Raises Oversubscribed or StoreError, and nothing is done.
        """
        life, admission = self._life, self._life.planner.admission
        names = ", ".join(str(victim.id) for victim in room.victims)
        waits = f"waits until it has displaced stitch {names}"
        with admission.all_or_nothing([stitch.id, *(victim.id for victim in room.victims)]):
            moves = self._moves(stitch, room)
            moved = {move.before.id for move in moves}
            down = [victim for victim in room.victims if victim.id not in moved]
            leaving = [victim for victim in room.victims if victim.id in moved]
            admission.displace(stitch, room.placement, down, leaving)
            life.book.put_certain([replace(stitch, reason=waits), *(move.after for move in moves)])
        life.idle.wake(stitch.id)
        life.waiting[stitch.id] = room.placement
        life.making_room[stitch.id] = frozenset(victim.id for victim in room.victims)
        self._mover.set_out(moves)
        for number in moved:
            life.upkeep.displaced(number)
        for victim in down:
            life.bring_down(victim, why_displaced(victim, stitch))
        self._replacer.go_on()
        return life.book[stitch.id]

    def _moves(self, stitch: Stitch, room: Room) -> list[Move]:
        """Books another path for those that have one beside the new stitch, the most important first."""
        planner = self._life.planner
        left = Left(planner.admission.without(room.victims))
        left.take(stitch.request, room.placement)
        moves: list[Move] = []
        for victim in sorted(room.victims, key=lambda one: (-one.request.priority, one.id)):
            if victim.state not in CARRYING_ON or victim.path is None:
                continue
            try:
                place = planner.path_beside(victim.request, left, victim.path)
                if planner.all_ready(place.dpids) and set(shortcomings(place)) <= set(shortcomings(victim.path)):
                    beside = [move.after for move in moves]
                    why = why_displaced(victim, stitch)
                    moves.append(self._mover.book(victim, victim.request, place, why, beside))
                    left.take(victim.request, place)
            except REFUSALS:
                continue
        return moves
