"""Carries changes out stage by stage, each confirmed before the next; takes them back when a switch refuses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from logging import Logger

from ryu_apps.events import ApplyStages, StagesApplied
from ryu_apps.installing.batches import Batch
from ryu_apps.installing.held import Held
from ryu_apps.installing.keeper import Keeper
from ryu_apps.installing.outbox import Fence, Step
from ryu_apps.installing.rereading import name
from stitching.difference import Change, Stage
from stitching.rules import EntryKey

CONFIRM_S = 5.0
"""How long a switch may take to confirm a stage."""


class Stager:
    """Keeps changes going. `done` hears how each ended; `pause` is to call go_on when packets have arrived."""

    def __init__(
        self,
        keeper: Keeper,
        done: Callable[[StagesApplied], None],
        pause: Callable[[Batch], None],
        log: Logger,
        clock: Callable[[], float],
    ) -> None:
        self.errors = 0
        """Steps that were refused since the start."""
        self._keeper = keeper
        self._batches = keeper.batches
        self._done = done
        self._pause = pause
        self._log = log
        self._clock = clock

    # -- forward --------------------------------------------------------------------------------------------

    def begin(self, request: ApplyStages) -> None:
        """Start on a list of stages."""
        before = self._batches.of(request.owner)
        if before is not None:
            self._fail(before, "overtaken by a newer change")
        batch = Batch.of(request)
        self._batches.begin(batch)
        away = {dpid for dpid in batch.touches if not self._is_ready(dpid)}
        if away:
            self._fail(batch, f"switch {min(away):016x} is not connected")
        else:
            self._advance(batch)

    def go_on(self, batch: Batch) -> None:
        """Its pause is over: go on, unless it has ended in the meantime."""
        if self._batches.runs(batch):
            self._advance(batch)

    def confirmed(self, dpid: int, batch: Batch) -> None:
        """A switch has carried out its part of a stage."""
        if not self._batches.runs(batch):
            return
        batch.waiting.discard(dpid)
        if batch.waiting or batch.is_done or not batch.request.pause_s:
            self._advance(batch)
        else:
            self._pause(batch)

    def _is_ready(self, dpid: int) -> bool:
        switch = self._keeper.switches.get(dpid)
        return switch is not None and switch.ready

    def _advance(self, batch: Batch) -> None:
        stages = batch.request.stages
        while not batch.waiting and not batch.is_done:
            stage = stages[batch.next_stage]
            batch.next_stage += 1
            batch.deadline_s = self._clock() + CONFIRM_S
            self._put_stage(batch, stage)
        if not batch.waiting and self._batches.runs(batch):
            self._batches.end(batch)
            touched = self._keeper.wants.speak(batch.owner, batch.request.rules)
            self._bring_all(batch, touched)
            self._done(StagesApplied(batch.owner, batch.request.ticket, None, batch.written))

    def _bring_all(self, batch: Batch, touched: dict[int, set[EntryKey]]) -> None:
        """What a change that is over has touched, and what is wanted otherwise now, is looked at once more."""
        for dpid in {**batch.touches, **touched}:
            self._keeper.bring(dpid, {*batch.touches.get(dpid, ()), *touched.get(dpid, ())})

    def _put_stage(self, batch: Batch, stage: Stage) -> None:
        per_switch: dict[int, list[Change]] = defaultdict(list)
        for change in stage:
            per_switch[change.dpid].append(change)
        for dpid, changes in per_switch.items():
            switch = self._keeper.switches[dpid]
            undo = self._keeper.put(switch, changes, batch)
            batch.undo += undo
            batch.written += len(undo)
            batch.waiting.add(dpid)
            switch.outbox.wait(batch)
            self._keeper.unsent[switch] = None

    # -- back -----------------------------------------------------------------------------------------------

    def gone(self, dpid: int) -> None:
        """A switch disconnected: what touches it fails."""
        for batch in self._batches.on(dpid):
            if self._batches.runs(batch):
                self._fail(batch, f"switch {dpid:016x} disconnected")

    def fail_late(self, now_s: float) -> None:
        """Give up on what a switch does not confirm."""
        for batch in self._batches:
            if batch.waiting and now_s > batch.deadline_s and self._batches.runs(batch):
                late = min(batch.waiting)
                self._fail(batch, f"switch {late:016x} did not confirm within {CONFIRM_S:g} s")

    def refused(self, switch: Held, steps: Iterable[Step]) -> None:
        """A switch does not take these steps: every change that counts on one of them fails."""
        for step in steps:
            self.errors += 1
            if not (step.bundle is not None and step.bundle.failed):
                self._keeper.take_back(switch, step)
            switch.refused_s = self._clock()
            switch.owed.add(step.key)
            switch.why[step.key] = step.refused or ""
            reason = f"switch {switch.dpid:016x} refused {name(step.entry)}: {step.refused}"
            self._log.warning("%s entry=%s", reason, step.entry)
            for batch in list(self._batches.busy(switch.dpid).get(step.key, ())):
                batch.undo = [
                    undo for undo in batch.undo if (undo.dpid, undo.entry.key) != (switch.dpid, step.key)
                ]
                self._fail(batch, reason)

    def bundle_failed(self, switch: Held, fence: Fence) -> None:
        """Nothing of a bundle was carried out: what no refused step belongs to is sent again, step by step."""
        steps = fence.steps
        busy = self._batches.busy(switch.dpid)
        refused = [step for step in steps if step.refused is not None]
        failing = {
            batch for step in refused for batch in (*busy.get(step.key, ()), step.batch) if batch is not None
        }
        kept: list[Step] = []
        taken_back: list[Step] = []
        for step in steps:
            (taken_back if step.refused is not None or step.batch in failing else kept).append(step)
        for step in reversed(taken_back):
            self._keeper.take_back(switch, step)
        switch.outbox.again(kept, fence.waiting)
        self.refused(switch, refused)

    def _fail(self, batch: Batch, reason: str) -> None:
        """Undo what was done, newest first, and say why."""
        self._batches.end(batch)
        self._log.warning("owner=%s taken_back=%d reason=%s", batch.owner, len(batch.undo), reason)
        undo: dict[int, list[Change]] = defaultdict(list)
        for change in reversed(batch.undo):
            undo[change.dpid].append(change)
        for dpid, keys in batch.touches.items():
            switch = self._keeper.switches.get(dpid)
            if switch is not None and switch.ready:
                self._keeper.put(switch, undo[dpid])
                # Another change that failed too may have counted on entries of this one: what is wanted decides.
                self._keeper.bring(dpid, keys)
        self._done(StagesApplied(batch.owner, batch.request.ticket, reason, 0))
