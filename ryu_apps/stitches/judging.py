"""Lets switches and probes say what a stitch has come to: its rules are in place, it carries, it does not."""

from __future__ import annotations

import math
from contextlib import closing

from ryu_apps.events import ProbeArrived, StagesApplied
from ryu_apps.stitches.life import CARRYING_ON, MAKING, Life
from ryu_apps.stitches.mending import Mender
from ryu_apps.stitches.moving import Mover
from ryu_apps.stitches.replacing import Replacer
from ryu_apps.stitches.watch import PROVE_WITHIN_S, Watch
from stitching.stitch import State, Stitch

HELD_UP_S = 0.25
"""A timer that is late by so much says that this process was held up."""

MOST_AT_ONCE = 100
"""So many stitches are probed before others have their say again: 10 ms of work or so."""

AWAY_S = 30.0
"""How long a stitch on its way waits for a switch that went away before it was proven."""


class Judge:
    """Sends probes, and moves stitches on by what comes back."""

    def __init__(self, life: Life, mover: Mover, mender: Mender, replacer: Replacer) -> None:
        self._life = life
        self._mover = mover
        self._mender = mender
        self._replacer = replacer
        self._heard_s = -math.inf

    def applied(self, event: StagesApplied) -> None:
        """Rules are in place, or gone, or a switch refused them."""
        life = self._life
        change = life.changes.applied(event)
        stitch = life.book.get(change.stitch_id) if change is not None else None
        if change is None or stitch is None:
            return
        if change.removes:
            life.removed(stitch)
            self._replacer.go_on()
        elif event.error is None:
            life.prover.watch(stitch)
            self._send_probe(stitch, life.prover.watches[stitch.id])
        else:
            self._mover.go_back(stitch, event.error, undone=True)

    def send_probes(self, late_s: float = 0.0, waited_s: float = 0.0) -> None:
        """Send the probes that are due.

        late_s is how much later than it should the timer for it ran out, waited_s how long that waited in the
        app's queue. Neither is held against a stitch: its probes may have come out, and wait to be looked at.
        """
        life, prover = self._life, self._life.prover
        now_s = life.monotonic()
        self._heard_s = max(self._heard_s, now_s - waited_s)
        if late_s > HELD_UP_S:
            prover.pardon()
        prover.pace()
        sent = 0
        with closing(prover.due(now_s)) as due:
            for number in due:
                watch = prover.watches.get(number)
                if watch is None:
                    continue
                tries = watch.tries
                self._send_probe(life.book[number], watch)
                # Who waits longest is first: where there is more to send than time for it, all have their turn.
                sent += watch.tries != tries
                if sent == MOST_AT_ONCE:
                    break

    def heard(self, arrived: ProbeArrived) -> None:
        """A probe came out at the far end of a stitch."""
        life = self._life
        self._heard_s = max(self._heard_s, arrived.received_s)
        probe = life.prover.read(arrived)
        stitch = life.book.get(probe.stitch_id) if probe is not None else None
        if probe is None or stitch is None:
            return
        watch = life.prover.take(probe, arrived, stitch)
        if watch is not None:
            self._judge(stitch, watch, life.monotonic())

    def _send_probe(self, stitch: Stitch, watch: Watch) -> None:
        now_s = self._life.monotonic()
        if self._life.prover.send(stitch, watch, self._heard_s):
            self._judge(stitch, watch, now_s)
        elif stitch.state in MAKING and watch.away_for_s(now_s) > AWAY_S:
            self._life.remove(stitch, State.FAILED, "a switch at its end is away")

    def _judge(self, stitch: Stitch, watch: Watch, now_s: float) -> None:
        """Let the probes decide the state."""
        life = self._life
        if stitch.state in MAKING:
            if watch.proven:
                self._carries(stitch, now_s)
            elif watch.is_unproven(self._heard_s):
                unproven = f"no probe came through within {PROVE_WITHIN_S:g} s"
                self._mover.go_back(stitch, unproven, undone=False)
        elif stitch.state in CARRYING_ON:
            if watch.is_dead(self._heard_s):
                life.bring_down(stitch, "probes no longer come through")
            elif (reason := life.upkeep.shortcoming(stitch, watch, self._heard_s)) is not None:
                if stitch.state is State.UP:
                    life.degrade(stitch, reason)
            elif stitch.state is State.DEGRADED:
                life.book.put(stitch.to(State.UP, life.clock()))

    def _carries(self, stitch: Stitch, now_s: float) -> None:
        """Probes have crossed the path: what is left of others goes when no packet is on them any more."""
        life = self._life
        before = life.moving.pop(stitch.id, None)
        life.planner.admission.settle(stitch.id)
        life.changes.settle(stitch, now_s + max(life.drain_s(before), life.drain_s(stitch)))
        life.book.put(stitch.to(State.UP, life.clock()))
        if life.making_room:
            self._replacer.go_on()
        self._mender.look_after_one(life.book[stitch.id])
