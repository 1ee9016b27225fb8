"""Puts entries on switches: the difference only, in order, confirmed, and taken back when a switch refuses.

It alone writes rules, groups and meters. For every switch it knows the entries that are there (read when it
connects, then kept in step) and those that are wanted, by owner. One that several owners want stays until the last
of them wants it no more. What an owner changes costs by what it changes, however much there is on the switch: the
whole of it is compared when it is read only.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from ryu_apps import wire
from ryu_apps.app import App, Event, Tick, handles
from ryu_apps.batches import Batch, InProgress
from ryu_apps.events import (
    ApplyStages,
    InstallerStatus,
    InstallerStatusRequest,
    StagesApplied,
    SwitchReady,
    WantRules,
)
from ryu_apps.outbox import Fence, Outbox, Queued, Step
from ryu_apps.reading import Reading
from ryu_apps.wants import Wants, watches_alive
from stitching.difference import Change, Difference, Stage, diff
from stitching.rules import Entry, EntryKey, FlowRule, RuleSet

FORWARDING = "forwarding"
"""The owner of the default rules. Until it has spoken for a switch, nothing on that switch is touched."""

CONFIRM_S = 5.0
"""How long a switch may take to confirm a stage."""

READ_S = 10.0
"""How long a switch may take to say what it holds, before its connection is closed to start over."""

STUCK_S = 60.0
"""A switch that has not answered a barrier for so long has its connection closed."""

OFFER_AGAIN_S = 10.0
"""When an entry that a switch refused is tried again: its table may have room by then."""

_XIDS = 0x49000000


@dataclass(eq=False)
class _Switch:
    """What is known of one connected switch. owed are the entries it refused, which it should have."""

    dpid: int
    datapath: Any
    outbox: Outbox
    reading: Reading | None
    has: dict[EntryKey, Entry] = field(default_factory=dict)
    read: bool = False
    compared: bool = False
    ready: bool = False
    refused_s: float | None = None
    owed: set[EntryKey] = field(default_factory=set)
    stuck: tuple[int | None, float] = (None, 0.0)


@dataclass
class _PauseOver(Event):
    """The pause between two stages of a change is over."""

    batch: Batch


@dataclass
class _Flush(Event):
    """All that was in the queue when the first step was put has been handled: write what came together."""


class Installer(App):
    """Brings every switch to what is wanted of it."""

    _EVENTS: ClassVar[list[type]] = [StagesApplied, SwitchReady]

    def __init__(self, *args: Any, clock: Callable[[], float] = time.monotonic, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clock = clock
        self._xids = itertools.cycle(range(_XIDS, _XIDS + (1 << 24)))
        self._switches: dict[int, _Switch] = {}
        self._wants = Wants()
        self._batches = InProgress()
        self._unsent: dict[_Switch, None] = {}
        self._flush_posted = False
        self._added = self._removed = self._kept = self._errors = 0

    def start(self) -> None:
        """Start the event loop and the timer that watches deadlines."""
        super().start()
        self.every(0.5, "deadlines")

    @handles(InstallerStatusRequest)
    def on_status(self, request: InstallerStatusRequest) -> None:
        """Answer how things stand."""
        self.serve(request, self.status)

    def status(self) -> InstallerStatus:
        """Counts so far and what is still different, per switch."""
        differences = {dpid: self._difference(switch, switch.owed) for dpid, switch in self._switches.items()}
        return InstallerStatus(
            rules_added=self._added,
            rules_removed=self._removed,
            rules_kept=self._kept,
            errors=self._errors,
            ready=frozenset(dpid for dpid, switch in self._switches.items() if switch.ready),
            differences={dpid: difference for dpid, difference in differences.items() if difference},
        )

    # -- switches come and go -------------------------------------------------------------------------------

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def on_state(self, event: Any) -> None:
        """Read what a switch that came holds; fail what waits for one that went."""
        datapath = event.datapath
        if datapath.id is None:
            return
        known = self._switches.get(datapath.id)
        if event.state == MAIN_DISPATCHER:
            if known is not None:
                self._forget(known)
            reading = Reading.of(self._xids, self._clock())
            outbox = Outbox(datapath, self._xids)
            self._switches[datapath.id] = _Switch(datapath.id, datapath, outbox, reading)
            datapath.send(reading.requests())
        elif known is not None and known.datapath is datapath:
            self._forget(known)
        self._settle()

    def _forget(self, switch: _Switch) -> None:
        del self._switches[switch.dpid]
        self._unsent.pop(switch, None)
        for batch in self._batches.on(switch.dpid):
            if self._batches.runs(batch):
                self._fail(batch, f"switch {switch.dpid:016x} disconnected")

    def _of(self, message: Any) -> _Switch | None:
        """The switch a message came from, None where that connection is over."""
        switch = self._switches.get(message.datapath.id)
        return switch if switch is not None and switch.datapath is message.datapath else None

    @handles(
        ofp_event.EventOFPFlowStatsReply,
        ofp_event.EventOFPGroupDescStatsReply,
        ofp_event.EventOFPMeterConfigStatsReply,
        states=(MAIN_DISPATCHER,),
    )
    def on_holds(self, event: Any) -> None:
        """Take in what a switch has; once complete, send what it lacks."""
        switch = self._of(event.msg)
        if switch is not None and switch.reading is not None and switch.reading.take(event.msg):
            self._on_read(switch, switch.reading)
            self._settle()

    def _on_read(self, switch: _Switch, reading: Reading) -> None:
        switch.has, switch.reading, switch.read = reading.entries, None, True
        self._reconcile(switch)

    def _start_over(self, switch: _Switch, why: str) -> None:
        """Close a connection that is of no use any more; the switch comes back by itself."""
        self.log.warning("switch=%016x %s, closing its channel", switch.dpid, why)
        switch.datapath.close()

    # -- what is wanted -------------------------------------------------------------------------------------

    @handles(WantRules)
    def on_want(self, event: WantRules) -> None:
        """An owner wants these rules from now on: send the difference."""
        for dpid, keys in self._wants.speak(event.owner, event.rules).items():
            self._bring(dpid, keys)
        for dpid in event.rules:
            # An owner that speaks again has what was refused tried again.
            if dpid in self._switches and self._switches[dpid].owed:
                self._bring(dpid, self._switches[dpid].owed)
        self._settle()

    def _is_governed(self, switch: _Switch) -> bool:
        return switch.read and self._wants.has_spoken(FORWARDING, switch.dpid)

    def _bring(self, dpid: int, keys: Iterable[EntryKey]) -> None:
        """Bring these entries of a switch to what is wanted; all of them where it was never done."""
        switch = self._switches.get(dpid)
        if switch is None or not self._is_governed(switch):
            return
        if not switch.compared:
            self._reconcile(switch)
        else:
            self._put(switch, self._difference(switch, keys).changes(dpid))

    def _difference(self, switch: _Switch, keys: Iterable[EntryKey] | None = None) -> Difference:
        """What separates a switch from all that is wanted of it, leaving out entries that are being changed.

        keys are the only ones to look at; all, without.
        """
        if not self._is_governed(switch):
            return Difference()
        has, wants = switch.has, self._wants.on(switch.dpid)
        busy = self._batches.busy(switch.dpid)
        if keys is None:
            if not busy:
                # Nothing there: that need not be looked up for every entry.
                return diff(has, wants) if has else Difference(tuple(wants.values()))
            keys = {**has, **wants}
        here = [key for key in keys if key not in busy] if busy else keys
        return _difference(has, wants, here)

    def _reconcile(self, switch: _Switch) -> None:
        """Compare all of a switch with what is wanted, and send the difference."""
        if not self._is_governed(switch):
            return
        difference = self._difference(switch)
        switch.refused_s = None
        switch.owed.clear()
        if not switch.compared:
            kept = len(switch.has) - len(difference.wrong) - len(difference.excess)
            self._kept += kept
            self._log_difference(switch.dpid, kept, difference)
        if switch.has or self._batches.busy(switch.dpid):
            self._put(switch, difference.changes(switch.dpid))
        else:
            self._put_all(switch, self._wants.on(switch.dpid))
        if not switch.compared:
            switch.compared = True
            switch.outbox.wait(None)
            self._unsent[switch] = None

    def _log_difference(self, dpid: int, kept: int, difference: Difference) -> None:
        self.log.info(
            "switch=%016x reconciled kept=%d missing=%d wrong=%d excess=%d",
            dpid,
            kept,
            len(difference.missing),
            len(difference.wrong),
            len(difference.excess),
        )

    # -- stages ---------------------------------------------------------------------------------------------

    @handles(ApplyStages)
    def on_apply(self, request: ApplyStages) -> None:
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
        self._settle()

    def _is_ready(self, dpid: int) -> bool:
        return dpid in self._switches and self._switches[dpid].ready

    @handles(_PauseOver)
    def on_pause_over(self, event: _PauseOver) -> None:
        """Go on with a change, unless it has ended in the meantime."""
        if self._batches.runs(event.batch):
            self._advance(event.batch)
            self._settle()

    def _pause(self, batch: Batch) -> None:
        """Leave packets on the links the time to arrive before the next stage."""
        timer = threading.Timer(batch.request.pause_s, lambda: self.post(_PauseOver(batch)))
        timer.daemon = True
        timer.start()

    def _advance(self, batch: Batch) -> None:
        stages = batch.request.stages
        while not batch.waiting and not batch.is_done:
            stage = stages[batch.next_stage]
            batch.next_stage += 1
            batch.deadline_s = self._clock() + CONFIRM_S
            self._put_stage(batch, stage)
        if not batch.waiting and self._batches.runs(batch):
            self._batches.end(batch)
            touched = self._wants.speak(batch.owner, batch.request.rules)
            self._bring_all(batch, touched)
            self.publish(StagesApplied(batch.owner, batch.request.ticket, None, batch.written))

    def _bring_all(self, batch: Batch, touched: dict[int, set[EntryKey]]) -> None:
        """What a change that is over has touched, and what is wanted otherwise now, is looked at once more."""
        for dpid in {**batch.touches, **touched}:
            self._bring(dpid, {*batch.touches.get(dpid, ()), *touched.get(dpid, ())})

    def _put_stage(self, batch: Batch, stage: Stage) -> None:
        per_switch: dict[int, list[Change]] = defaultdict(list)
        for change in stage:
            per_switch[change.dpid].append(change)
        for dpid, changes in per_switch.items():
            switch = self._switches[dpid]
            undo = self._put(switch, changes, batch)
            batch.undo += undo
            batch.written += len(undo)
            batch.waiting.add(dpid)
            switch.outbox.wait(batch)
            self._unsent[switch] = None

    def _fail(self, batch: Batch, reason: str) -> None:
        """Undo what was done, newest first, and say why."""
        self._batches.end(batch)
        self.log.warning("owner=%s taken_back=%d reason=%s", batch.owner, len(batch.undo), reason)
        undo: dict[int, list[Change]] = defaultdict(list)
        for change in reversed(batch.undo):
            undo[change.dpid].append(change)
        for dpid, keys in batch.touches.items():
            switch = self._switches.get(dpid)
            if switch is not None and switch.ready:
                self._put(switch, undo[dpid])
                # Another change that failed too may have counted on entries of this one: what is wanted decides.
                self._bring(dpid, keys)
        self.publish(StagesApplied(batch.owner, batch.request.ticket, reason, 0))

    @handles(Tick)
    def on_deadline(self, _tick: Tick) -> None:
        """Give up on what a switch does not answer; offer again what one refused a while ago."""
        now_s = self._clock()
        for switch in list(self._switches.values()):
            if switch.refused_s is not None and now_s - switch.refused_s > OFFER_AGAIN_S:
                self._reconcile(switch)
            self._watch(switch, now_s)
        for batch in self._batches:
            if batch.waiting and now_s > batch.deadline_s and self._batches.runs(batch):
                late = min(batch.waiting)
                self._fail(batch, f"switch {late:016x} did not confirm within {CONFIRM_S:g} s")
        self._settle()

    def _watch(self, switch: _Switch, now_s: float) -> None:
        if switch.reading is not None and now_s - switch.reading.asked_s > READ_S:
            self._start_over(switch, f"has not said what it holds within {READ_S:g} s")
            switch.reading.asked_s = now_s
        oldest = switch.outbox.oldest
        if oldest is None or oldest != switch.stuck[0]:
            switch.stuck = oldest, now_s
        elif now_s - switch.stuck[1] > STUCK_S:
            self._start_over(switch, f"has not answered a barrier within {STUCK_S:g} s")
            switch.stuck = oldest, now_s

    # -- steps ----------------------------------------------------------------------------------------------

    def _put(self, switch: _Switch, changes: Sequence[Change], batch: Batch | None = None) -> list[Change]:
        """Queue the changes that change anything; returns what undoes those of a batch."""
        undo: list[Change] = []
        queue: list[Queued] = []
        has, dpid = switch.has, switch.dpid
        for change in changes:
            entry, remove = change.entry, change.remove
            key = entry.key
            before = has.get(key)
            if remove:
                if before is None or self._is_claimed(dpid, key, batch):
                    continue
                del has[key]
                self._removed += 1
            else:
                if before == entry:
                    continue
                if watches_alive(entry) and wire.ALIVE.key not in has:
                    queue.append((wire.ALIVE.key, wire.ALIVE, False, None, batch))
                    has[wire.ALIVE.key] = wire.ALIVE
                has[key] = entry
                self._added += 1
            queue.append((key, entry, remove, before, batch))
            if batch is not None:
                undo.append(Change(dpid, entry, remove=True) if before is None else Change(dpid, before))
        if queue:
            switch.outbox.put(queue)
            self._unsent[switch] = None
        return undo

    def _put_all(self, switch: _Switch, wants: RuleSet) -> None:
        """Queue all that is wanted of a switch that has nothing: without a look at each."""
        switch.has = dict(wants)
        rules = [item for item in wants.items() if isinstance(item[1], FlowRule)]
        others = [item for item in wants.items() if not isinstance(item[1], FlowRule)]
        others.sort(key=lambda item: item[1] != wire.ALIVE)
        switch.outbox.put((key, entry, False, None, None) for key, entry in (*others, *rules))
        self._added += len(wants)
        self._unsent[switch] = None

    def _is_claimed(self, dpid: int, key: EntryKey, batch: Batch | None) -> bool:
        """Whether anybody but the owner of this change wants an entry, or is putting it there."""
        owner = batch.owner if batch is not None else None
        return self._wants.by_another(owner, dpid, key) or self._batches.puts(dpid, key, batch)

    def _settle(self) -> None:
        """Write what came together: when the queue holds more to come, after that."""
        if not self._unsent:
            return
        if self.events.qsize() == 0:
            self.on_flush(None)
        elif not self._flush_posted:
            self._flush_posted = True
            self.post(_Flush())

    @handles(_Flush)
    def on_flush(self, _event: _Flush | None) -> None:
        """Write what is queued for every switch: one write and one barrier each."""
        self._flush_posted = False
        while self._unsent:
            unsent, self._unsent = self._unsent, {}
            for switch in unsent:
                self._refuse(switch, switch.outbox.flush())

    @handles(ofp_event.EventOFPBarrierReply, states=(MAIN_DISPATCHER,))
    def on_barrier(self, event: Any) -> None:
        """A switch has carried out all that was sent before this barrier."""
        switch = self._of(event.msg)
        if switch is None:
            return
        fence = switch.outbox.confirmed(event.msg.xid)
        # What waited for a bundle to be committed can be written now.
        self._unsent[switch] = None
        if fence is not None and fence.bundle is not None and fence.bundle.failed:
            self._bundle_failed(switch, fence)
        elif fence is not None:
            self._confirmed(switch, fence.waiting)
        self._settle()

    def _confirmed(self, switch: _Switch, waiting: list[Any]) -> None:
        if not switch.ready:
            switch.ready = True
            self.publish(SwitchReady(switch.dpid))
        for batch in waiting:
            if batch is None or not self._batches.runs(batch):
                continue
            batch.waiting.discard(switch.dpid)
            if batch.waiting or batch.is_done or not batch.request.pause_s:
                self._advance(batch)
            else:
                self._pause(batch)

    @handles(ofp_event.EventOFPErrorMsg, states=(MAIN_DISPATCHER,))
    def on_error(self, event: Any) -> None:
        """A switch refused a message: what it belonged to is taken back."""
        message = event.msg
        switch = self._of(message)
        if switch is None:
            return
        if switch.reading is not None and message.xid in switch.reading.open:
            self._on_unread(switch, switch.reading, message.xid)
        step = switch.outbox.refused(message.xid, _said(message))
        if step is not None:
            self._refuse(switch, [step])
        self._settle()

    def _on_unread(self, switch: _Switch, reading: Reading, xid: int) -> None:
        """A switch would not say what groups or meters it has: it has none. It has to say its rules."""
        if reading.is_asked_for_flows(xid):
            self._start_over(switch, "will not say what rules it has")
        elif reading.refuse(xid):
            self._on_read(switch, reading)

    def _bundle_failed(self, switch: _Switch, fence: Fence) -> None:
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
            self._take_back(switch, step)
        switch.outbox.again(kept, fence.waiting)
        self._refuse(switch, refused)

    def _take_back(self, switch: _Switch, step: Step) -> None:
        """A step was not carried out: what was there before it still is, or is what the next step meets."""
        if switch.outbox.hand_on(step):
            return
        if step.before is None:
            switch.has.pop(step.key, None)
        else:
            switch.has[step.key] = step.before

    def _refuse(self, switch: _Switch, steps: Collection[Step]) -> None:
        """A switch does not take these steps: every change that counts on one of them fails."""
        for step in steps:
            self._errors += 1
            if not (step.bundle is not None and step.bundle.failed):
                self._take_back(switch, step)
            switch.refused_s = self._clock()
            switch.owed.add(step.key)
            reason = f"switch {switch.dpid:016x} refused {_name(step.entry)}: {step.refused}"
            self.log.warning("%s entry=%s", reason, step.entry)
            for batch in list(self._batches.busy(switch.dpid).get(step.key, ())):
                batch.undo = [
                    undo for undo in batch.undo if (undo.dpid, undo.entry.key) != (switch.dpid, step.key)
                ]
                self._fail(batch, reason)


def _difference(has: RuleSet, wants: RuleSet, keys: Iterable[EntryKey]) -> Difference:
    missing, wrong, excess = [], [], []
    for key in keys:
        there, wanted = has.get(key), wants.get(key)
        if wanted is None:
            if there is not None:
                excess.append(there)
        elif there is None:
            missing.append(wanted)
        elif there != wanted:
            wrong.append(wanted)
    return Difference(tuple(missing), tuple(wrong), tuple(excess))


def _name(entry: Entry) -> str:
    if isinstance(entry, FlowRule):
        return f"a rule in table {entry.table}"
    return f"{entry.key[0]} {entry.key[1]}"


def _said(message: Any) -> str:
    """What an error message says, in the names of the specification."""
    if message.code is None:
        return f"error of type {message.type:#x}"
    return str(message.datapath.ofproto.ofp_error_code_to_str(message.type, message.code))
