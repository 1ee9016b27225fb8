"""The app of the stitches: hears what happens and what is asked, and passes it on to their life.

One thread owns all stitches and all reservations. What is done with them stands in ryu_apps/stitches/.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from ryu_apps.app import App, Event, Tick, handles
from ryu_apps.events import (
    ApplyStages,
    ChangeStitch,
    CheckStitch,
    CreateStitch,
    CreateStitches,
    DeleteStitch,
    GuaranteesJudged,
    NetworkChanged,
    OutlookReady,
    OvsdbChanged,
    PolicyChanged,
    ProbeArrived,
    RatesMeasured,
    ReservationsRequest,
    RulesMissing,
    StagesApplied,
    StitchesChanged,
    StitchesRequest,
    StitchMoved,
    SwitchReady,
    SwitchTaken,
    UnsavedRequest,
    VnetsChanged,
    WantRules,
)
from ryu_apps.stitches.asking import Desk
from ryu_apps.stitches.blaming import Blamer
from ryu_apps.stitches.book import StitchBook, StitchStore
from ryu_apps.stitches.changes import Changes
from ryu_apps.stitches.deciding import Decider
from ryu_apps.stitches.displacing import Displacer
from ryu_apps.stitches.judging import Judge
from ryu_apps.stitches.life import Life
from ryu_apps.stitches.mending import Mender
from ryu_apps.stitches.moving import Mover
from ryu_apps.stitches.parting import Parter
from ryu_apps.stitches.proving import Prover
from ryu_apps.stitches.replacing import Replacer
from ryu_apps.stitches.resuming import take_up
from ryu_apps.stitches.retrying import Retrier
from ryu_apps.stitches.sizing import Sizer
from ryu_apps.stitches.terms import Changer
from ryu_apps.stitches.times import Times
from stitching.decisions import TriggerPolicy
from stitching.expecting import Expecting
from stitching.planner import Planner
from stitching.promises import promises
from stitching.stitch import State, Stitch
from stitching.trigger import Trigger

REMEMBER_S = 3600.0
"""How long a stitch that ended is still shown."""

AT_ONCE = 2000
"""So many stitches are told between two ticks, all of them each time, as states change; the rest at the tick."""

PAUSE_S = 2e-4
"""How long nothing is told for each stitch that was: what others do with it takes a fraction of that."""

STORE_WITHIN_S = 0.5
"""So long what has happened may wait to be stored while stitches are on their way."""


@dataclass
class _Deletions(Event):
    """All that was in the queue when the first stitch was to go has been handled: take away what came together."""


class Stitcher(App):
    """Owns the stitches."""

    _EVENTS: ClassVar[list[type]] = [ApplyStages, StitchesChanged, StitchMoved, WantRules]

    def __init__(
        self,
        *args: Any,
        store: StitchStore,
        key: bytes,
        policy: TriggerPolicy | None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._clock = clock
        self._untold = False
        self._to_delete: list[DeleteStitch] = []
        self._told_at_once = 0
        self._tell_again_s = self._stored_s = float("-inf")
        self._planner = Planner()
        self._prover = Prover(key, monotonic)
        self._book = StitchBook(store, self.log, self._moved, monotonic)
        self._expecting = Expecting()
        changes = Changes(self.publish, self._prover.all_ready)
        self._life = life = Life(self._book, self._planner, changes, self._prover, clock, monotonic)
        self._mover = mover = Mover(life)
        self._replacer = replacer = Replacer(life)
        self._times = times = Times(life, self._expecting)
        self._blamer = blamer = Blamer(life)
        self._mender = mender = Mender(life, mover, blamer, self.log)
        displacer = Displacer(life, mover, replacer)
        self._desk = Desk(life, replacer, displacer, times)
        self._parter = Parter(life, mender)
        self._judge = Judge(life, mover, mender, replacer)
        self._retrier = Retrier(life, replacer, displacer, times, self.log)
        self._changer = Changer(life, mover, displacer, self._retrier)
        self._sizer = Sizer(life, mover, self.log)
        trigger = Trigger(policy) if policy is not None else None
        self._decider = Decider(life, mover, trigger, self.log)

    def start(self) -> None:
        """Take up the stitches that were stored, then start the event loop and the probe timer."""
        take_up(self._life)
        super().start()
        self._announce()
        self.every(0.05, "probe")
        self.every(1.0, "retry")

    # -- what others tell -----------------------------------------------------------------------------------

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """Follow the fabric: capacities, paths that broke, hosts that moved."""
        self._mender.follow(event.network)
        self._parter.part()
        self._life.idle.hurry()
        self._retrier.retry()

    @handles(VnetsChanged)
    def on_vnets(self, event: VnetsChanged) -> None:
        """Take away what no longer joins hosts of one virtual network."""
        self._parter.vnets_are(event.vnets)
        if self._planner.informed:
            self._retrier.retry()

    @handles(PolicyChanged)
    def on_policy(self, event: PolicyChanged) -> None:
        """Take away what the policy forbids now."""
        self._parter.policy_is(event.policy, event.time_s)

    @handles(RatesMeasured)
    def on_rates(self, event: RatesMeasured) -> None:
        """Remember loads, for plans made before there is a forecast; let caps follow who sends."""
        self._planner.measured(event.rates.port_tx_mbps, event.rates.demand_mbps)
        self._sizer.measured(event.rates)

    @handles(OutlookReady)
    def on_outlook(self, event: OutlookReady) -> None:
        """Stitch before the traffic arrives, and let go when it has passed."""
        outlook, active = event.outlook, self._book.active
        self._expecting.hear(outlook.pairs, outlook.demands)
        self._sizer.expect(outlook, active)
        self._decider.expect(outlook, active)

    @handles(GuaranteesJudged)
    def on_guarantees(self, event: GuaranteesJudged) -> None:
        """Remember what enforces the promises."""
        self._sizer.guarantees_are(event.verdicts)

    @handles(OvsdbChanged)
    def on_servers(self, event: OvsdbChanged) -> None:
        """Remember whether there is anybody to set queues."""
        self._sizer.servers_are(event.servers)

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def on_state(self, event: Any) -> None:
        """Keep the connections at hand, for probes."""
        self._prover.follow(event)
        self._planner.switches_are(self._prover.ready_switches)

    @handles(SwitchReady)
    def on_ready(self, event: SwitchReady) -> None:
        """A switch may be part of paths again, unless it has gone again since."""
        self._prover.ready(event.dpid)
        self._planner.switches_are(self._prover.ready_switches)
        self._life.idle.hurry()

    @handles(SwitchTaken)
    def on_taken(self, event: SwitchTaken) -> None:
        """What crosses a switch that another controller has now, it does not cross as we wanted."""
        self._mender.taken(event.dpid)

    @handles(RulesMissing)
    def on_missing(self, event: RulesMissing) -> None:
        """A probe does not show it where packets do not get as far as their stitch."""
        self._life.upkeep.missing = event.entries

    @handles(StagesApplied)
    def on_applied(self, event: StagesApplied) -> None:
        """Rules are in place, or gone, or a switch refused them."""
        self._judge.applied(event)
        self._retrier.retry_at_once()

    @handles(ProbeArrived)
    def on_probe(self, event: ProbeArrived) -> None:
        """A probe has come out at the far end of a stitch."""
        self._judge.heard(event)

    @handles(Tick)
    def on_tick(self, tick: Tick) -> None:
        """Send the probes that are due, or see to what has waited."""
        if tick.name == "probe":
            self._judge.send_probes(tick.late_s, tick.waited_s)
            self._life.changes.tidy(self._life.monotonic())
            self._tell()
        else:
            self._tell()
            self._times.keep()
            self._retrier.retry()
            self._mender.follow_routes()
            self._blamer.weigh()
            self._mender.improve()
            self._retrier.end_overdue()
            self._tell()
            self._book.forget_ended(self._clock() - REMEMBER_S)

    # -- what others ask ------------------------------------------------------------------------------------

    @handles(StitchesRequest)
    def on_list(self, request: StitchesRequest) -> None:
        """Answer stitches, oldest first."""
        self.serve(request, lambda: self._listed(request))

    def _listed(self, request: StitchesRequest) -> tuple[Stitch, ...]:
        some = self._book.some(request.numbers)
        return tuple(self._as_known(stitch) for stitch in some if stitch.state not in request.but)

    def _as_known(self, stitch: Stitch) -> Stitch:
        """A stitch with what probes measure, and what enforces it."""
        if (watch := self._prover.watches.get(stitch.id)) is not None:
            stitch = replace(stitch, probe_ms=watch.latency_ms, probe_loss=watch.loss)
        return self._sizer.as_judged(stitch)

    @handles(ReservationsRequest)
    def on_reservations(self, request: ReservationsRequest) -> None:
        """Answer what is promised on every link."""
        self.serve(request, lambda: promises(self._planner.admission, self._planner.network))

    @handles(UnsavedRequest)
    def on_unsaved(self, request: UnsavedRequest) -> None:
        """Answer how many stitches the store does not have as they are."""
        self.serve(request, lambda: self._book.unsaved)

    @handles(CheckStitch)
    def on_check(self, request: CheckStitch) -> None:
        """Answer which path a stitch would get."""
        self.serve(request, lambda: self._desk.check(request.request))

    @handles(CreateStitch)
    def on_create(self, request: CreateStitch) -> None:
        """Admit a stitch, store it, and start on it."""
        self.serve(request, lambda: self._desk.create(request.request))

    @handles(CreateStitches)
    def on_create_all(self, request: CreateStitches) -> None:
        """Admit stitches, store them together, and start on them."""
        self.serve(request, lambda: self._desk.create_all(request.requests))

    @handles(ChangeStitch)
    def on_change(self, request: ChangeStitch) -> None:
        """Give a stitch other terms."""
        self.serve(
            request,
            lambda: self._as_known(self._changer.change(request.stitch_id, request.request, request.before)),
        )

    @handles(DeleteStitch)
    def on_delete(self, request: DeleteStitch) -> None:
        """Take a stitch away, together with the others that are asked for meanwhile."""
        self._to_delete.append(request)
        if self.events.qsize() == 0:
            self.on_deletions(None)
        elif len(self._to_delete) == 1:
            self.post(_Deletions())

    @handles(_Deletions)
    def on_deletions(self, _event: _Deletions | None) -> None:
        """Take away what is to go: each by itself would wait for the disk, and those behind it for all of them."""
        requests, self._to_delete = self._to_delete, []
        gone: Sequence[Stitch | Exception]
        try:
            gone = self._desk.delete_all([request.stitch_id for request in requests])
        except Exception as error:  # noqa: BLE001  # it is raised again where the question was asked
            gone = [error] * len(requests)
        for request, one in zip(requests, gone, strict=True):
            if isinstance(one, Exception):
                request.future.set_exception(one)
            else:
                request.future.set_result(one)

    # -- what others are told -------------------------------------------------------------------------------

    def _moved(self, stitch: Stitch, was: State | None) -> None:
        if was is not stitch.state:
            self.publish(StitchMoved(stitch, was))
            if self._told_at_once < AT_ONCE:
                # Whoever is answered that it is up may ask another app about it, or a host may ask for an address.
                self._told_at_once += len(self._announce())
        self._untold = True

    def _tell(self) -> None:
        """Tell the store and the other apps how things stand now: once for all that happened since."""
        now_s = self._life.monotonic()
        if not self._life.changes.on_their_way or now_s >= self._stored_s + STORE_WITHIN_S:
            self._book.flush()
            self._stored_s = now_s
        self._told_at_once = 0
        if self._untold and now_s >= self._tell_again_s:
            self._untold = False
            self._tell_again_s = now_s + PAUSE_S * len(self._announce())

    def _announce(self) -> tuple[Stitch, ...]:
        active = self._book.active
        self._planner.stitches_are(active)
        self.publish(StitchesChanged(active))
        return active
