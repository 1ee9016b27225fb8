"""Mends what the fabric does to stitches: moves those whose path is hurt, and back when there is a better one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from logging import Logger

from ryu_apps.stitches.blaming import Blamer
from ryu_apps.stitches.life import CARRYING_ON, REFUSALS, Life
from ryu_apps.stitches.moving import Move, Mover
from ryu_apps.stitches.together import Together
from stitching.bandwidth import BandwidthShares
from stitching.decisions import ORIGIN
from stitching.kinds import damage, near, same_place
from stitching.network import Network, node_name
from stitching.plan import NotPossible
from stitching.routes import CARRYING, Pair, Route
from stitching.stitch import State, Stitch


class Mender:
    """Looks after stitches when the fabric has changed, and by and by."""

    def __init__(self, life: Life, mover: Mover, blamer: Blamer, log: Logger) -> None:
        self._life = life
        self._mover = mover
        self._blamer = blamer
        self._log = log
        self._routes: Mapping[Pair, Route] | None = None

    def follow(self, network: Network) -> None:
        """The fabric is this now: some paths broke, some links carry less than was promised on them."""
        life = self._life
        if network.links.keys() != life.planner.network.links.keys():
            life.upkeep.fabric_changed(life.monotonic())
        life.planner.follow(network)
        self.look_after_all(life.book.active)
        staying = [s for s in life.book.active if not life.changes.removing(s.id)]
        shrunk = "a link of its path carries less now than was promised on it"
        for stitch in life.planner.admission.too_much(staying, first=ORIGIN):
            self._give_way(stitch, shrunk)

    def taken(self, dpid: int) -> None:
        """Another controller has taken a switch: nothing of ours crosses it."""
        for stitch in self._life.book.active:
            leaving = stitch.state is State.TERMINATING or self._life.changes.removing(stitch.id)
            if not leaving and stitch.path is not None and dpid in stitch.path.dpids:
                self._life.bring_down(stitch, f"another controller has taken switch {node_name(dpid)}")

    def look_after_all(self, stitches: Iterable[Stitch]) -> None:
        """Mend what the fabric did to these; those that move are stored together."""
        moves: list[Move] = []
        together = Together()
        for stitch in stitches:
            if together.shares(stitch.request):
                self._mover.carry_over(moves)
                moves = []
                together.take()
            for move in self._look_after(self._life.book[stitch.id]):
                moves.append(move)
                together.add(move.after)
        self._mover.carry_over(moves)

    def look_after_one(self, stitch: Stitch) -> None:
        """Mend what the fabric did to this one."""
        self._mover.carry_over(self._look_after(stitch))

    def _look_after(self, stitch: Stitch) -> tuple[Move, ...]:
        """What mends what the fabric did to a path: another one if there is one, before the old one is left."""
        life = self._life
        if stitch.request.KIND != "vm" and not life.planner.informed:
            return ()
        hurt = damage(stitch, life.planner.whole) if stitch.state in CARRYING else None
        # What is known already is tried again by and by (see improve): a link that flaps moves nobody twice.
        # What happens to a stitch on its way is news when it has arrived.
        known = stitch.state in CARRYING_ON and life.upkeep.damaged(
            stitch.id, hurt.reason if hurt is not None else None
        )
        if hurt is None or life.changes.removing(stitch.id):
            return ()
        why = hurt.reason
        if stitch.state in CARRYING_ON and not known:
            try:
                path = life.planner.whole_path(stitch, hurt)
                nowhere_else = stitch.path is not None and same_place(path, stitch.path)
                if not nowhere_else and life.planner.all_ready(path.dpids):
                    life.upkeep.displaced(stitch.id)
                    return (self._mover.book(stitch, stitch.request, path, why),)
                if not nowhere_else:
                    why = f"{why}; a switch of the path it would take is away"
            except REFUSALS as error:
                why = f"{why}; {error}"
        if hurt.lost:
            life.bring_down(stitch, why, again=True)
        elif stitch.state in CARRYING_ON and not (known and (stitch.reason or "").startswith(f"{why}; ")):
            # Why it could not be mended is said as long as it is hurt.
            life.degrade(stitch, why)
        return ()

    def follow_routes(self) -> None:
        """A stitch on the links that traffic takes anyway has to know when it takes others."""
        life = self._life
        if not any(isinstance(stitch.path, BandwidthShares) for stitch in life.book.active):
            return
        before, self._routes = self._routes, life.planner.routes_now()
        if self._routes is before:
            return
        self.look_after_all(s for s in life.book.active if isinstance(s.path, BandwidthShares))

    def _give_way(self, stitch: Stitch, reason: str) -> None:
        """Leave a link that is wanted for others: for another path where there is one, else altogether."""
        life = self._life
        if stitch.state in CARRYING_ON:
            try:
                path = life.planner.path(stitch.request, (stitch,), stitch.path)
                if life.planner.all_ready(path.dpids):
                    self._mover.move(stitch, stitch.request, path, reason)
                    life.upkeep.displaced(stitch.id)
                    return
            except REFUSALS as error:
                reason = f"{reason}; {error}"
        life.bring_down(stitch, reason, again=True)

    def improve(self) -> None:
        """Try again to mend what falls short; go back to shorter paths when the fabric has been quiet a while."""
        life = self._life
        for number in life.upkeep.due(life.monotonic(), life.book.active):
            stitch = life.book[number]
            hurt = damage(stitch, life.planner.whole)
            try:
                path = (
                    life.planner.path(stitch.request, (stitch,), near(stitch))
                    if hurt is None
                    else life.planner.whole_path(stitch, hurt)
                )
            except NotPossible:
                continue
            if hurt is None and not self._blamer.is_cleaner(stitch, life.prover.watches.get(number), path):
                continue
            if life.upkeep.is_better(stitch, path) and life.planner.all_ready(path.dpids):
                try:
                    self._mover.move(stitch, stitch.request, path, stitch.reason or "a better path is free again")
                except REFUSALS as error:
                    self._log.warning("stitch=%d not_improved error=%s", number, error)
