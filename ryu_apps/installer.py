"""Puts entries on switches: the difference only, in order, confirmed, and taken back when a switch refuses.

It alone writes rules, groups and meters. For every switch it knows the entries that are there (read when it
connects, then kept in step) and those that are wanted, by owner. One that several owners want stays until the last
of them wants it no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from ryu_apps import wire
from ryu_apps.app import App, Event, Tick, handles
from ryu_apps.events import (
    ApplyStages,
    InstallerStatus,
    InstallerStatusRequest,
    Reconcile,
    RulesMissing,
    StagesApplied,
    SwitchReady,
    WantRules,
)
from ryu_apps.installing.batches import Batch
from ryu_apps.installing.held import Asked, Held
from ryu_apps.installing.keeper import Keeper
from ryu_apps.installing.outbox import Outbox
from ryu_apps.installing.pauses import Pauses
from ryu_apps.installing.reading import Reading
from ryu_apps.installing.rereading import Rereader
from ryu_apps.installing.staging import Stager
from ryu_apps.transactions import Asker, Transactions
from stitching.rules import Entry

READ_S = 10.0
"""How long a switch may take to say what it holds, before its connection is closed to start over."""

STUCK_S = 60.0
"""A switch that has not answered a barrier for so long has its connection closed."""

OFFER_AGAIN_S = 10.0
"""When an entry that a switch refused is tried again: its table may have room by then."""


@dataclass
class _PauseOver(Event):
    """The pause between two stages of a change is over."""

    batch: Batch


@dataclass
class _Flush(Event):
    """All that was in the queue when the first step was put has been handled: write what came together."""


class Installer(App):
    """Brings every switch to what is wanted of it."""

    _EVENTS: ClassVar[list[type]] = [RulesMissing, StagesApplied, SwitchReady]

    def __init__(
        self, *args: Any, clock: Callable[[], float] = time.monotonic, gone: Sequence[int] = (), **kwargs: Any
    ) -> None:
        """`gone`: the owners, in cookies, of hosted apps that do not run."""
        super().__init__(*args, **kwargs)
        self._clock = clock
        self._xids = Transactions(Asker.INSTALLER)
        self._keeper = Keeper(self.log)
        self._switches = self._keeper.switches
        self._pauses: Pauses[Batch] = Pauses(lambda batch: self.post(_PauseOver(batch)), f"{self.name}-pauses")
        self._stager = Stager(self._keeper, self.publish, self._pause, self.log, clock)
        self._rereader = Rereader(self._keeper, self._xids, clock, gone)
        self._flush_posted = False
        self._missing: dict[int, tuple[Entry, ...]] = {}

    def start(self) -> None:
        """Start the event loop and the timer that watches deadlines."""
        super().start()
        self.every(0.5, "deadlines")

    def stop(self) -> None:
        """End the timers and the event loop."""
        self._pauses.stop()
        super().stop()

    @handles(InstallerStatusRequest)
    def on_status(self, request: InstallerStatusRequest) -> None:
        """Answer how things stand."""
        self.serve(request, self.status)

    def status(self) -> InstallerStatus:
        """Counts so far and what is still different, per switch."""
        differences = {
            dpid: self._keeper.difference(switch, switch.owed) for dpid, switch in self._switches.items()
        }
        return InstallerStatus(
            rules_added=self._keeper.added,
            rules_removed=self._keeper.removed,
            rules_kept=self._keeper.kept,
            errors=self._stager.errors,
            ready=frozenset(dpid for dpid, switch in self._switches.items() if switch.ready),
            differences={dpid: difference for dpid, difference in differences.items() if difference},
            abandoned={dpid: dict(one.abandoned) for dpid, one in self._switches.items() if one.abandoned},
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
            switch = Held(datapath.id, datapath, Outbox(datapath, self._xids), None)
            self._switches[datapath.id] = switch
            self._rereader.begin(switch)
        elif known is not None and known.datapath is datapath:
            self._forget(known)
        self._settle()

    def _forget(self, switch: Held) -> None:
        del self._switches[switch.dpid]
        self._keeper.unsent.pop(switch, None)
        switch.fail_all("it disconnected")
        self._stager.gone(switch.dpid)

    def _of(self, message: Any) -> Held | None:
        """The switch a message came from, None where that connection is over."""
        switch = self._switches.get(message.datapath.id)
        return switch if switch is not None and switch.datapath is message.datapath else None

    @handles(
        ofp_event.EventOFPFlowStatsReply,
        ofp_event.EventOFPGroupDescStatsReply,
        ofp_event.EventOFPMeterConfigStatsReply,
        ofp_event.EventOFPAggregateStatsReply,
        states=(MAIN_DISPATCHER,),
    )
    def on_holds(self, event: Any) -> None:
        """Take in what a switch has; once complete, send what it lacks."""
        switch = self._of(event.msg)
        if switch is not None and switch.reading is not None and switch.reading.take(event.msg):
            self._on_answered(switch, switch.reading)
            self._settle()

    def _on_answered(self, switch: Held, reading: Reading) -> None:
        """All that was asked so far is answered."""
        if more := reading.more():
            switch.datapath.send(more)
        else:
            self._on_read(switch, reading)

    def _on_read(self, switch: Held, reading: Reading) -> None:
        first = not switch.read
        if reading.abandoned != switch.abandoned:
            self._keeper.log_abandoned(switch.dpid, reading.abandoned)
        switch.take(reading)
        if first:
            self._keeper.reconcile(switch)
        else:
            self._rereader.on_read(switch, reading)

    def _start_over(self, switch: Held, why: str) -> None:
        """Close a connection that is of no use any more; the switch comes back by itself."""
        self.log.warning("switch=%016x %s, closing its channel", switch.dpid, why)
        switch.datapath.close()

    # -- what is wanted -------------------------------------------------------------------------------------

    @handles(Reconcile)
    def on_reconcile(self, request: Reconcile) -> None:
        """Somebody wants a switch read and put right."""
        self._rereader.ask(request)

    @handles(WantRules)
    def on_want(self, event: WantRules) -> None:
        """An owner wants these rules from now on: send the difference."""
        for dpid, keys in self._keeper.wants.speak(event.owner, event.rules).items():
            self._keeper.bring(dpid, keys)
        for dpid in event.rules:
            # An owner that speaks again has what was refused tried again.
            if dpid in self._switches and self._switches[dpid].owed:
                self._keeper.bring(dpid, self._switches[dpid].owed)
        self._settle()

    # -- stages ---------------------------------------------------------------------------------------------

    @handles(ApplyStages)
    def on_apply(self, request: ApplyStages) -> None:
        """Start on a list of stages."""
        self._stager.begin(request)
        self._settle()

    @handles(_PauseOver)
    def on_pause_over(self, event: _PauseOver) -> None:
        """Go on with a change, unless it has ended in the meantime."""
        self._stager.go_on(event.batch)
        self._settle()

    def _pause(self, batch: Batch) -> None:
        """Leave packets on the links the time to arrive before the next stage."""
        self._pauses.add(batch, batch.request.pause_s)

    @handles(Tick)
    def on_deadline(self, _tick: Tick) -> None:
        """Give up on what a switch does not answer; offer again what one refused a while ago."""
        now_s = self._clock()
        self._tell_missing()
        for switch in list(self._switches.values()):
            if switch.refused_s is not None and now_s - switch.refused_s > OFFER_AGAIN_S:
                self._keeper.reconcile(switch)
            self._watch(switch, now_s)
        self._rereader.read_in_turn(now_s)
        self._stager.fail_late(now_s)
        self._settle()

    def _tell_missing(self) -> None:
        """Tell what switches have not taken, when it is not what it was."""
        missing = {}
        for dpid, switch in self._switches.items():
            # While something is on its way, nobody knows whether it is taken now.
            lacks = self._lacks(switch) if switch.outbox.is_quiet else self._missing.get(dpid, ())
            if lacks:
                missing[dpid] = lacks
        if missing != self._missing:
            self._missing = missing
            self.publish(RulesMissing(missing))

    def _lacks(self, switch: Held) -> tuple[Entry, ...]:
        if not switch.owed:
            return ()
        difference = self._keeper.difference(switch, switch.owed)
        return (*difference.missing, *difference.wrong)

    def _watch(self, switch: Held, now_s: float) -> None:
        switch.fail_late(now_s)
        if switch.asked:
            self._rereader.read(switch)
        if switch.reading is not None and now_s - switch.reading.asked_s > READ_S:
            if switch.read:
                self.log.warning("switch=%016x has not said again what it holds within %g s", switch.dpid, READ_S)
                switch.reading = None
            else:
                self._start_over(switch, f"has not said what it holds within {READ_S:g} s")
                switch.reading.asked_s = now_s
        oldest = switch.outbox.oldest
        if oldest is None or oldest != switch.stuck[0]:
            switch.stuck = oldest, now_s
        elif now_s - switch.stuck[1] > STUCK_S:
            self._start_over(switch, f"has not answered a barrier within {STUCK_S:g} s")
            switch.stuck = oldest, now_s

    # -- steps ----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Write what came together: when the queue holds more to come, after that."""
        if not self._keeper.unsent:
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
        while self._keeper.unsent:
            unsent, self._keeper.unsent = self._keeper.unsent, {}
            for switch in unsent:
                self._stager.refused(switch, switch.outbox.flush())

    @handles(ofp_event.EventOFPBarrierReply, states=(MAIN_DISPATCHER,))
    def on_barrier(self, event: Any) -> None:
        """A switch has carried out all that was sent before this barrier."""
        switch = self._of(event.msg)
        if switch is None:
            return
        fence = switch.outbox.confirmed(event.msg.xid)
        # What waited for a bundle to be committed can be written now.
        self._keeper.unsent[switch] = None
        if fence is not None and fence.bundle is not None and fence.bundle.failed:
            self._stager.bundle_failed(switch, fence)
        elif fence is not None:
            self._confirmed(switch, fence.waiting)
        self._settle()
        if switch.asked:
            self._rereader.read(switch)

    def _confirmed(self, switch: Held, waiting: list[Any]) -> None:
        if not switch.ready:
            switch.ready = True
            self.publish(SwitchReady(switch.dpid))
        for waits in waiting:
            if isinstance(waits, Asked):
                self._rereader.answer(switch, waits)
            elif isinstance(waits, Batch):
                self._stager.confirmed(switch.dpid, waits)

    @handles(ofp_event.EventOFPErrorMsg, states=(MAIN_DISPATCHER,))
    def on_error(self, event: Any) -> None:
        """A switch refused a message: what it belonged to is taken back."""
        message = event.msg
        switch = self._of(message)
        if switch is None:
            return
        if switch.reading is not None and message.xid in switch.reading.open:
            self._on_unread(switch, switch.reading, message.xid)
        step = switch.outbox.refused(message.xid, wire.error_words(message))
        if step is not None:
            self._stager.refused(switch, [step])
        self._settle()

    def _on_unread(self, switch: Held, reading: Reading, xid: int) -> None:
        """A switch would not say what groups or meters it has: it has none. It has to say its rules."""
        if reading.is_asked_for_flows(xid) and switch.read:
            switch.reading = None
            for asked in switch.answering:
                asked.fail("it will not say what rules it has")
            switch.answering.clear()
        elif reading.is_asked_for_flows(xid):
            self._start_over(switch, "will not say what rules it has")
        elif reading.refuse(xid):
            self._on_answered(switch, reading)
