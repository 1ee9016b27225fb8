"""Puts entries on switches: the difference only, in order, confirmed, and taken back when a switch refuses.

It alone writes rules, groups and meters. For every switch it knows the entries that are there (read when it
connects, then kept in step) and those that are wanted, by owner. One that several owners want stays until the last
of them wants it no more.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from ryu_apps import wire
from ryu_apps.app import App, Event, Tick, handles
from ryu_apps.events import (
    ApplyStages,
    InstallerStatus,
    InstallerStatusRequest,
    StagesApplied,
    SwitchReady,
    WantRules,
)
from ryu_apps.reading import Reading
from stitching.difference import Change, Difference, Stage, diff
from stitching.rules import PORT_IN_PORT, Entry, EntryKey, Failover, FlowRule, RuleSet

FORWARDING = "forwarding"
"""The owner of the default rules. Until it has spoken for a switch, nothing on that switch is touched."""

CONFIRM_S = 5.0
"""How long a switch may take to confirm a stage."""

READ_S = 10.0
"""How long a switch may take to say what it holds, before its connection is closed to start over."""

OFFER_AGAIN_S = 10.0
"""When a rule that a switch refused is tried again: its table may have room by then."""

_XIDS = 0x49000000


@dataclass
class _Switch:
    """What is known of one connected switch."""

    datapath: Any
    reading: Reading | None
    has: dict[EntryKey, Entry] = field(default_factory=dict)
    ready: bool = False
    refused_s: float | None = None

    @property
    def read(self) -> bool:
        """Whether it has said what it holds."""
        return self.reading is None


@dataclass
class _Batch:
    """Stages on their way: what the next one is, who must still confirm, and what undoing it takes."""

    request: ApplyStages
    next_stage: int = 0
    waiting: dict[int, int] = field(default_factory=dict)
    deadline_s: float = 0.0
    undo: list[Change] = field(default_factory=list)
    written: int = 0

    @property
    def entries(self) -> set[tuple[int, EntryKey]]:
        """What this change touches, by switch."""
        return {(change.dpid, change.entry.key) for stage in self.request.stages for change in stage}

    def puts(self, dpid: int, key: EntryKey) -> bool:
        """Whether it puts this entry there, or has."""
        changes = (change for stage in self.request.stages for change in stage if not change.remove)
        return any((change.dpid, change.entry.key) == (dpid, key) for change in changes)


class _Sent(NamedTuple):
    """A message that its switch has not confirmed: the step it was, for whom, and what was there before."""

    change: Change
    owner: str | None
    before: Entry | None


@dataclass
class _PauseOver(Event):
    """The pause between two stages of a change is over."""

    batch: _Batch


class Installer(App):
    """Brings every switch to what is wanted of it."""

    _EVENTS: ClassVar[list[type]] = [StagesApplied, SwitchReady]

    def __init__(self, *args: Any, clock: Callable[[], float] = time.monotonic, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clock = clock
        self._xids = itertools.cycle(range(_XIDS, _XIDS + (1 << 24)))
        self._switches: dict[int, _Switch] = {}
        self._wanted: dict[str, Mapping[int, RuleSet]] = {}
        self._batches: dict[str, _Batch] = {}
        # What each message still unconfirmed was: the errors of a switch name only the message.
        self._sent: dict[int, _Sent] = {}
        self._barriers: dict[int, tuple[int, list[int], str | None]] = {}
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
        differences = {dpid: self._difference(dpid) for dpid, switch in self._switches.items() if switch.read}
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
        """Read the rules of a switch that came; fail what waits for one that went."""
        datapath = event.datapath
        if datapath.id is None:
            return
        if event.state == MAIN_DISPATCHER:
            self._forget(datapath.id)
            reading = Reading.of(self._xids, self._clock())
            self._switches[datapath.id] = _Switch(datapath, reading)
            datapath.send(reading.requests())
        elif (known := self._switches.get(datapath.id)) is not None and known.datapath is datapath:
            del self._switches[datapath.id]
            self._forget(datapath.id)

    def _forget(self, dpid: int) -> None:
        self._sent = {xid: sent for xid, sent in self._sent.items() if sent.change.dpid != dpid}
        self._barriers = {xid: sent for xid, sent in self._barriers.items() if sent[0] != dpid}
        for batch in list(self._batches.values()):
            if any(change.dpid == dpid for stage in batch.request.stages for change in stage):
                self._fail(batch, f"switch {dpid:016x} disconnected")

    @handles(
        ofp_event.EventOFPFlowStatsReply,
        ofp_event.EventOFPGroupDescStatsReply,
        ofp_event.EventOFPMeterConfigStatsReply,
        states=(MAIN_DISPATCHER,),
    )
    def on_holds(self, event: Any) -> None:
        """Take in what a switch has; once complete, send what it lacks."""
        message = event.msg
        switch = self._switches.get(message.datapath.id)
        if switch is None or switch.datapath is not message.datapath or switch.reading is None:
            return
        if switch.reading.take(message):
            switch.has, switch.reading = switch.reading.entries, None
            self._reconcile(message.datapath.id)

    def _start_over(self, dpid: int, why: str) -> None:
        """Close the connection of a switch that does not say what it holds; it comes back by itself."""
        self.log.warning("switch=%016x %s, closing its channel", dpid, why)
        self._switches[dpid].datapath.close()

    # -- what is wanted -------------------------------------------------------------------------------------

    @handles(WantRules)
    def on_want(self, event: WantRules) -> None:
        """An owner wants these rules from now on: send the difference."""
        before = self._wanted.get(event.owner, {})
        self._set_wanted(event.owner, event.rules)
        for dpid in set(event.rules) | set(before):
            if event.rules.get(dpid) != before.get(dpid) or self._has_refused(dpid):
                self._reconcile(dpid)

    def _has_refused(self, dpid: int) -> bool:
        return dpid in self._switches and self._switches[dpid].refused_s is not None

    def _set_wanted(self, owner: str, rules: Mapping[int, RuleSet]) -> None:
        if rules:
            self._wanted[owner] = rules
        else:
            self._wanted.pop(owner, None)

    def _difference(self, dpid: int) -> Difference:
        """What separates a switch from all that is wanted of it, leaving out entries that are being changed."""
        if dpid not in self._wanted.get(FORWARDING, {}):
            return Difference()
        busy = {key for batch in self._batches.values() for owner_dpid, key in batch.entries if owner_dpid == dpid}
        if busy:
            busy.add(wire.ALIVE.key)
        wants: dict[EntryKey, Entry] = {}
        for rules in self._wanted.values():
            wants.update(rules.get(dpid, {}))
        if any(_watches_alive(entry) for entry in wants.values()):
            wants[wire.ALIVE.key] = wire.ALIVE
        has = self._switches[dpid].has
        if busy:
            wants = {key: rule for key, rule in wants.items() if key not in busy}
            has = {key: rule for key, rule in has.items() if key not in busy}
        return diff(has, wants)

    def _reconcile(self, dpid: int) -> None:
        switch = self._switches.get(dpid)
        if switch is None or not switch.read or dpid not in self._wanted.get(FORWARDING, {}):
            return
        difference = self._difference(dpid)
        switch.refused_s = None
        if not switch.ready:
            self._kept += len(switch.has) - len(difference.wrong) - len(difference.excess)
            self.log.info(
                "switch=%016x reconciled kept=%d missing=%d wrong=%d excess=%d",
                dpid,
                len(switch.has) - len(difference.wrong) - len(difference.excess),
                len(difference.missing),
                len(difference.wrong),
                len(difference.excess),
            )
        if difference or not switch.ready:
            self._send(dpid, difference.changes(dpid), None)

    # -- stages ---------------------------------------------------------------------------------------------

    @handles(ApplyStages)
    def on_apply(self, request: ApplyStages) -> None:
        """Start on a list of stages."""
        if request.owner in self._batches:
            self._fail(self._batches[request.owner], "overtaken by a newer change")
        batch = _Batch(request)
        self._batches[request.owner] = batch
        away = {change.dpid for stage in request.stages for change in stage if not self._is_ready(change.dpid)}
        if away:
            self._fail(batch, f"switch {min(away):016x} is not connected")
        else:
            self._advance(batch)

    def _is_ready(self, dpid: int) -> bool:
        return dpid in self._switches and self._switches[dpid].ready

    @handles(_PauseOver)
    def on_pause_over(self, event: _PauseOver) -> None:
        """Go on with a change, unless it has ended in the meantime."""
        if self._batches.get(event.batch.request.owner) is event.batch:
            self._advance(event.batch)

    def _pause(self, batch: _Batch) -> None:
        """Leave packets on the links the time to arrive before the next stage."""
        timer = threading.Timer(batch.request.pause_s, lambda: self.post(_PauseOver(batch)))
        timer.daemon = True
        timer.start()

    def _advance(self, batch: _Batch) -> None:
        stages = batch.request.stages
        while not batch.waiting and batch.next_stage < len(stages):
            stage = stages[batch.next_stage]
            batch.next_stage += 1
            batch.deadline_s = self._clock() + CONFIRM_S
            self._send_stage(batch, stage)
        if not batch.waiting and self._batches.get(batch.request.owner) is batch:
            del self._batches[batch.request.owner]
            touched = set(batch.request.rules) | set(self._wanted.get(batch.request.owner, {}))
            self._set_wanted(batch.request.owner, batch.request.rules)
            for dpid in touched:
                self._reconcile(dpid)
            self.publish(StagesApplied(batch.request.owner, batch.request.ticket, None, batch.written))

    def _send_stage(self, batch: _Batch, stage: Stage) -> None:
        per_switch: dict[int, list[Change]] = defaultdict(list)
        for change in stage:
            per_switch[change.dpid].append(change)
        for dpid, changes in per_switch.items():
            needed = [change for change in changes if self._is_needed(change, batch.request.owner)]
            for change in needed:
                before = self._switches[dpid].has.get(change.entry.key)
                undo = Change(dpid, before) if before is not None else Change(dpid, change.entry, remove=True)
                batch.undo.append(undo)
            batch.written += len(needed)
            batch.waiting[dpid] = self._send(dpid, needed, batch.request.owner)

    def _is_needed(self, change: Change, owner: str | None) -> bool:
        """Whether a step changes anything, and takes nothing away that another owner wants or is putting there."""
        dpid, key = change.dpid, change.entry.key
        if not change.remove:
            return self._switches[dpid].has.get(key) != change.entry
        wanted = (rules.get(dpid, {}) for other, rules in self._wanted.items() if other != owner)
        batches = (batch for other, batch in self._batches.items() if other != owner)
        return not any(key in rules for rules in wanted) and not any(batch.puts(dpid, key) for batch in batches)

    def _fail(self, batch: _Batch, reason: str) -> None:
        """Undo what was done, newest first, and say why."""
        self._batches.pop(batch.request.owner, None)
        self.log.warning("owner=%s taken_back=%d reason=%s", batch.request.owner, len(batch.undo), reason)
        undo: dict[int, list[Change]] = {dpid: [] for dpid, _ in batch.entries if self._is_ready(dpid)}
        for change in reversed(batch.undo):
            if change.dpid in undo and self._is_needed(change, None):
                undo[change.dpid].append(change)
        for dpid, changes in undo.items():
            if changes:
                self._send(dpid, changes, None)
            # Another change that failed too may have counted on entries of this one: what is wanted decides.
            self._reconcile(dpid)
        self.publish(StagesApplied(batch.request.owner, batch.request.ticket, reason, 0))

    @handles(Tick)
    def on_deadline(self, _tick: Tick) -> None:
        """Give up on stages that a switch does not confirm; offer again what one refused a while ago."""
        for dpid, switch in self._switches.items():
            if switch.reading is not None and self._clock() - switch.reading.asked_s > READ_S:
                self._start_over(dpid, f"has not said what it holds within {READ_S:g} s")
            if switch.refused_s is not None and self._clock() - switch.refused_s > OFFER_AGAIN_S:
                self._reconcile(dpid)
        for batch in list(self._batches.values()):
            if batch.waiting and self._clock() > batch.deadline_s:
                late = min(batch.waiting)
                self._fail(batch, f"switch {late:016x} did not confirm within {CONFIRM_S:g} s")

    # -- messages -------------------------------------------------------------------------------------------

    def _send(self, dpid: int, changes: Iterable[Change], owner: str | None) -> int:
        """Send changes and a barrier in one write; returns the barrier's xid."""
        switch = self._switches[dpid]
        parts, xids = [], []
        for change in _with_alive(changes, switch.has):
            key = change.entry.key
            before = switch.has.get(key)
            xid = next(self._xids)
            parts.append(wire.change(change.entry, xid, remove=change.remove, replace=before is not None))
            xids.append(xid)
            self._sent[xid] = _Sent(change, owner, before)
            _carry_out(switch.has, key, None if change.remove else change.entry)
            self._removed += change.remove
            self._added += not change.remove
        barrier_xid = next(self._xids)
        self._barriers[barrier_xid] = (dpid, xids, owner)
        parts.append(wire.barrier(barrier_xid))
        switch.datapath.send(b"".join(parts))
        return barrier_xid

    @handles(ofp_event.EventOFPBarrierReply, states=(MAIN_DISPATCHER,))
    def on_barrier(self, event: Any) -> None:
        """A switch has carried out all that was sent before this barrier."""
        dpid, xids, owner = self._barriers.pop(event.msg.xid, (None, [], None))
        for xid in xids:
            self._sent.pop(xid, None)
        switch = self._switches.get(event.msg.datapath.id)
        if dpid is None or switch is None:
            return
        if not switch.ready:
            switch.ready = True
            self.publish(SwitchReady(dpid))
        batch = self._batches.get(owner) if owner is not None else None
        if batch is not None and batch.waiting.get(dpid) == event.msg.xid:
            del batch.waiting[dpid]
            if batch.waiting or batch.next_stage == len(batch.request.stages) or not batch.request.pause_s:
                self._advance(batch)
            else:
                self._pause(batch)

    @handles(ofp_event.EventOFPErrorMsg, states=(MAIN_DISPATCHER,))
    def on_error(self, event: Any) -> None:
        """A switch refused a message: what it belonged to is taken back."""
        message = event.msg
        sent = self._sent.pop(message.xid, None)
        if sent is None:
            self._on_unread(message)
            return
        dpid, entry = sent.change.dpid, sent.change.entry
        self._errors += 1
        switch = self._switches.get(dpid)
        if switch is not None:
            _carry_out(switch.has, entry.key, sent.before)
            switch.refused_s = self._clock()
        what = message.datapath.ofproto.ofp_error_code_to_str(message.type, message.code)
        reason = f"switch {dpid:016x} refused {_name(entry)}: {what}"
        self.log.warning("%s entry=%s", reason, entry)
        for batch in [batch for batch in self._batches.values() if (dpid, entry.key) in batch.entries]:
            batch.undo = [undo for undo in batch.undo if (undo.dpid, undo.entry.key) != (dpid, entry.key)]
            self._fail(batch, reason)

    def _on_unread(self, message: Any) -> None:
        """A switch would not say what groups or meters it has: it has none. It has to say its rules."""
        switch = self._switches.get(message.datapath.id)
        if switch is None or switch.datapath is not message.datapath or switch.reading is None:
            return
        if switch.reading.is_asked_for_flows(message.xid):
            self._start_over(message.datapath.id, "will not say what rules it has")
        elif switch.reading.refuse(message.xid):
            switch.has, switch.reading = switch.reading.entries, None
            self._reconcile(message.datapath.id)


def _carry_out(has: dict[EntryKey, Entry], key: EntryKey, entry: Entry | None) -> None:
    if entry is None:
        has.pop(key, None)
    else:
        has[key] = entry


def _watches_alive(entry: Entry) -> bool:
    return isinstance(entry, Failover) and PORT_IN_PORT in entry.ports


def _with_alive(changes: Iterable[Change], has: RuleSet) -> Iterator[Change]:
    """The changes, with the group in front that a group among them watches, where the switch lacks it."""
    there = wire.ALIVE.key in has
    for change in changes:
        if not there and not change.remove and _watches_alive(change.entry):
            yield Change(change.dpid, wire.ALIVE)
            there = True
        if change.entry != wire.ALIVE or change.remove or not there:
            yield change


def _name(entry: Entry) -> str:
    if isinstance(entry, FlowRule):
        return f"a rule in table {entry.table}"
    return f"{entry.key[0]} {entry.key[1]}"
