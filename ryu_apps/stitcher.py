"""Carries stitches through their life: admit, store, install, prove, watch, mend, take away.

What is wanted is stored before it is done. One thread owns all stitches and all reservations.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from pathing import Oversubscribed
from ryu_apps.app import App, Tick, handles
from ryu_apps.changes import Changes
from ryu_apps.events import (
    ApplyStages,
    ChangeStitch,
    CheckStitch,
    CreateStitch,
    CreateStitches,
    DeleteStitch,
    NetworkChanged,
    Outlook,
    OutlookReady,
    PolicyChanged,
    RatesMeasured,
    StagesApplied,
    StitchesChanged,
    StitchesRequest,
    StitchMoved,
    SwitchReady,
    UnsavedRequest,
    VnetsChanged,
    WantRules,
)
from ryu_apps.proving import Prover
from ryu_apps.stitch_book import StitchBook, StitchStore
from ryu_apps.store import StoreError
from ryu_apps.upkeep import Upkeep
from ryu_apps.watch import PROVE_WITHIN_S, Watch
from stitching.bandwidth import BandwidthShares
from stitching.expecting import Expecting
from stitching.following import Following
from stitching.kinds import damage, fixed_pairs, labelled, refuse, rivals, same_place, shortcomings, waits_for
from stitching.network import LinkKey
from stitching.plan import NotPossible
from stitching.planner import Duplicate, Planner
from stitching.policy.changes import forbidden
from stitching.policy.document import Policy
from stitching.policy.ruling import Ruling
from stitching.routes import CARRYING, Pair, Route, default_routes
from stitching.stages import drain_s
from stitching.stitch import (
    DEADLINES_S,
    ENDED,
    BadTransition,
    Placement,
    State,
    Stitch,
    StitchPath,
    StitchRequest,
    VmRequest,
)
from stitching.trigger import ORIGIN, Decision, Establish, Release, Reroute, Resize, Trigger, TriggerPolicy
from stitching.validity import words
from stitching.vnet import Directory

RETRY_S = 5.0
"""How long a stitch that failed waits before it is tried again, unless the fabric changes first."""

AWAY_S = 30.0
"""How long a stitch on its way waits for a switch that went away before it was proven."""

REMEMBER_S = 3600.0
"""How long a stitch that ended is still shown."""

MOST_REASONS = 4
"""How many of the hosts that stand in the way are named."""

AT_ONCE = 20
"""How many changes of state other apps hear of as they happen; of the others they hear at the next tick."""

_MAKING = frozenset({State.ESTABLISHING, State.ADJUSTING})
_CARRYING_ON = frozenset({State.UP, State.DEGRADED})
_REFUSALS = (NotPossible, Oversubscribed, StoreError)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What becomes of a stitch when its rules are gone."""

    then: State
    reason: str | None


@dataclass(frozen=True, slots=True)
class _Move:
    """A stitch as it is, and as it will be on another path."""

    before: Stitch
    after: Stitch


class _Together:
    """Stitches that are stored together. Labels are told apart by what is stored: no two are of the same hosts."""

    def __init__(self) -> None:
        self._stitches: list[Stitch] = []
        self._pairs: set[tuple[str, str]] = set()

    def shares(self, request: StitchRequest) -> bool:
        """Whether one of them is between the same hosts."""
        pairs = fixed_pairs(request)
        return bool(self._stitches) and (pairs is None or not self._pairs.isdisjoint(pairs))

    def add(self, stitch: Stitch) -> None:
        """One more."""
        self._stitches.append(stitch)
        self._pairs.update(fixed_pairs(stitch.request) or ())

    def take(self) -> list[Stitch]:
        """All of them; none is left."""
        taken = self._stitches
        self._stitches, self._pairs = [], set()
        return taken


def _same_packets(one: VmRequest, other: VmRequest) -> bool:
    return (one.directions, one.application) == (other.directions, other.application)


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
        self._prover = Prover(key, monotonic)
        self._trigger = Trigger(policy) if policy is not None else None
        self._clock = clock
        self._monotonic = monotonic
        self._planner = Planner()
        self._stitches = StitchBook(store, self.log, self._moved, monotonic)
        self._changes = Changes(self.publish, self._prover.all_ready)
        self._upkeep = Upkeep()
        self._outcomes: dict[int, _Outcome] = {}
        self._waiting: dict[int, Placement] = {}
        self._adjusting: dict[int, Stitch] = {}
        self._retry_at_s: dict[int, float] = {}
        self._untold = False
        self._told_at_once = 0
        self._dormant: set[int] = set()
        self._following = Following()
        self._routes: Mapping[Pair, Route] | None = None
        self._expecting = Expecting()

    # -- start ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take up the stitches that were stored, then start the event loop and the probe timer."""
        self._take_up()
        super().start()
        self._announce()
        self.every(0.05, "probe")
        self.every(1.0, "retry")

    def _take_up(self) -> None:
        stitches = sorted(self._stitches.load(), key=_most_important_first)
        asked = [s.request for s in stitches if s.request.origin != ORIGIN and s.state not in ENDED]
        for stitch in stitches:
            of_trigger = stitch.request.origin == ORIGIN and stitch.state not in ENDED
            if of_trigger and (stitch.state not in _CARRYING_ON or any(rivals(r, (stitch,)) for r in asked)):
                # It makes another where one is still needed.
                reason = "the controller was restarted"
                self._stitches.put(replace(stitch, state=State.TERMINATED, path=None, reason=reason))
            else:
                self._resume(stitch)

    def _resume(self, stitch: Stitch) -> None:
        """Go on where the controller stopped: what is in the data plane stays, what is half made is made whole."""
        unlabelled = stitch.path is not None and stitch.path.links and not stitch.path.label
        if stitch.state in CARRYING and stitch.path is not None and not unlabelled:
            self._planner.admission.book_again(stitch, stitch.path)
            self._changes.want(stitch)
            self._prover.watch(stitch)
        elif stitch.state is State.TERMINATING:
            # Nobody wants its rules any more, so the installer finds them in excess.
            self._stitches.put(stitch.to(State.TERMINATED, self._clock(), reason=stitch.reason))
        elif stitch.state is State.REQUESTED:
            self._dormant.add(stitch.id)
        elif stitch.state not in ENDED and stitch.state is not State.FAILED:
            self._stitches.put(
                replace(stitch, state=State.FAILED, path=None, reason="the controller was restarted")
            )

    # -- what others tell -----------------------------------------------------------------------------------

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """Follow the fabric: capacities, paths that broke, hosts that moved."""
        if event.network.links.keys() != self._planner.network.links.keys():
            self._upkeep.fabric_changed(self._monotonic())
        self._planner.follow(event.network)
        self._look_after_all(self._stitches.active)
        staying = [s for s in self._stitches.active if not self._changes.removing(s.id)]
        shrunk = "a link of its path carries less now than was promised on it"
        for stitch in self._planner.admission.too_much(staying, first=ORIGIN):
            self._give_way(stitch, shrunk)
        self._part()
        self._retry_at_s.clear()
        self._retry()

    def _look_after_all(self, stitches: Iterable[Stitch]) -> None:
        """Mend what the fabric did to these; those that move are stored together."""
        moves: list[_Move] = []
        together = _Together()
        for stitch in stitches:
            if together.shares(stitch.request):
                self._carry_over(moves)
                moves = []
                together.take()
            for move in self._look_after(self._stitches[stitch.id]):
                moves.append(move)
                together.add(move.after)
        self._carry_over(moves)

    def _look_after(self, stitch: Stitch) -> tuple[_Move, ...]:
        """What mends what the fabric did to a path: another one if there is one, before the old one is left."""
        if stitch.request.KIND != "vm" and not self._planner.informed:
            return ()
        hurt = damage(stitch, self._planner.whole) if stitch.state in CARRYING else None
        # What is known already is tried again by and by (see _improve): a link that flaps moves nobody twice.
        known = self._upkeep.damaged(stitch.id, hurt.reason if hurt is not None else None)
        if hurt is None or self._changes.removing(stitch.id):
            return ()
        why = hurt.reason
        if stitch.state in _CARRYING_ON and not known:
            try:
                path = self._planner.whole_path(stitch, hurt)
                nowhere_else = stitch.path is not None and same_place(path, stitch.path)
                if not nowhere_else and self._planner.all_ready(path.dpids):
                    self._upkeep.displaced(stitch.id)
                    return (self._book_move(stitch, stitch.request, path, why),)
                if not nowhere_else:
                    why = f"{why}; a switch of the path it would take is away"
            except _REFUSALS as error:
                why = f"{why}; {error}"
        if hurt.lost:
            self._bring_down(stitch, why)
        elif stitch.state in _CARRYING_ON:
            self._degrade(stitch, why)
        return ()

    def _look_at_routes(self) -> None:
        """A stitch on the links that traffic takes anyway has to know when it takes others."""
        if not any(isinstance(stitch.path, BandwidthShares) for stitch in self._stitches.active):
            return
        before, self._routes = self._routes, self._planner.routes_now()
        if self._routes is before:
            return
        self._look_after_all(s for s in self._stitches.active if isinstance(s.path, BandwidthShares))

    def _give_way(self, stitch: Stitch, reason: str) -> None:
        """Leave a link that is wanted for others: for another path where there is one, else altogether."""
        if stitch.state in _CARRYING_ON:
            try:
                path = self._planner.path(stitch.request, (stitch,), stitch.path)
                if self._planner.all_ready(path.dpids):
                    self._move(stitch, stitch.request, path, reason)
                    self._upkeep.displaced(stitch.id)
                    return
            except _REFUSALS as error:
                reason = f"{reason}; {error}"
        self._bring_down(stitch, reason)

    def _degrade(self, stitch: Stitch, reason: str) -> None:
        if stitch.state is State.UP:
            self._stitches.put(stitch.to(State.DEGRADED, self._clock(), reason=reason))
        elif stitch.reason != reason:
            self._stitches.put(replace(stitch, reason=reason))

    @handles(VnetsChanged)
    def on_vnets(self, event: VnetsChanged) -> None:
        """Take away what no longer joins hosts of one virtual network."""
        self._planner.vnets_are(Directory.of(event.vnets))
        if self._planner.informed:
            self._rule_anew(self._planner.ruling.policy, self._planner.ruling.time_s)
            self._retry()

    @handles(PolicyChanged)
    def on_policy(self, event: PolicyChanged) -> None:
        """Take away what the policy forbids now."""
        self._rule_anew(event.policy, event.time_s)

    def _rule_anew(self, policy: Policy, time_s: float) -> None:
        self._planner.ruling = Ruling(policy, self._planner.directory, time_s)
        self._part()
        # Paths between two hosts are hurt by the fabric alone.
        self._look_after_all(s for s in self._stitches.active if fixed_pairs(s.request) is None)

    def _part(self) -> None:
        """A host may also have gone to another virtual network by its address."""
        active = self._stitches.active
        for number, reason in list(forbidden(self._planner.ruling, self._planner.network, active)):
            self._terminate(self._stitches[number], reason)

    @handles(RatesMeasured)
    def on_rates(self, event: RatesMeasured) -> None:
        """Remember loads, for plans made before there is a forecast; let caps follow who sends."""
        rates, active = event.rates, self._stitches.active
        self._planner.measured(rates.port_tx_mbps, rates.demand_mbps)
        self._following.measured(rates.demand_mbps, rates.meter_packets, active)
        for stitch, shares in self._following.shares(self._monotonic(), active):
            if not self._planner.all_ready(shares.dpids):
                continue
            try:
                self._move(stitch, stitch.request, shares, "its cap is split anew")
            except _REFUSALS as error:
                self.log.warning("stitch=%d not_split_anew error=%s", stitch.id, error)

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def on_state(self, event: Any) -> None:
        """Keep the connections at hand, for probes."""
        if event.state == MAIN_DISPATCHER:
            self._prover.connected(event.datapath)
        else:
            self._prover.disconnected(event.datapath)
        self._planner.switches_are(self._prover.ready_switches)

    @handles(SwitchReady)
    def on_ready(self, event: SwitchReady) -> None:
        """A switch may be part of paths again, unless it has gone again since."""
        self._prover.ready(event.dpid)
        self._planner.switches_are(self._prover.ready_switches)
        self._retry_at_s.clear()

    # -- what others ask ------------------------------------------------------------------------------------

    @handles(StitchesRequest)
    def on_list(self, request: StitchesRequest) -> None:
        """Answer all stitches, oldest first."""
        self.serve(request, self._all)

    def _all(self) -> tuple[Stitch, ...]:
        watches = self._prover.watches
        return tuple(
            self._as_judged(
                replace(stitch, probe_ms=watch.latency_ms, probe_loss=watch.loss)
                if (watch := watches.get(stitch.id)) is not None
                else stitch
            )
            for stitch in self._stitches
        )

    def _as_judged(self, stitch: Stitch) -> Stitch:
        if not isinstance(stitch.path, BandwidthShares):
            return stitch
        by, why = self._following.verdict(stitch)
        return replace(stitch, enforced=by, enforced_why=why)

    @handles(UnsavedRequest)
    def on_unsaved(self, request: UnsavedRequest) -> None:
        """Answer how many stitches the store does not have as they are."""
        self.serve(request, lambda: self._stitches.unsaved)

    @handles(CheckStitch)
    def on_check(self, request: CheckStitch) -> None:
        """Answer which path a stitch would get."""
        self.serve(request, lambda: self._check(request.request))

    @handles(CreateStitch)
    def on_create(self, request: CreateStitch) -> None:
        """Admit a stitch, store it, and start on it."""
        self.serve(request, lambda: self._create(request.request))

    @handles(CreateStitches)
    def on_create_all(self, request: CreateStitches) -> None:
        """Admit stitches, store them together, and start on them."""
        self.serve(request, lambda: self._create_all(request.requests))

    @handles(ChangeStitch)
    def on_change(self, request: ChangeStitch) -> None:
        """Give a stitch other terms."""
        self.serve(request, lambda: self._change(request.stitch_id, request.request))

    @handles(DeleteStitch)
    def on_delete(self, request: DeleteStitch) -> None:
        """Take a stitch away."""
        self.serve(request, lambda: self._delete(request.stitch_id))

    def _delete(self, stitch_id: int) -> Stitch:
        stitch = self._stitches.get(stitch_id)
        if stitch is None or stitch.state in ENDED:
            raise LookupError(f"there is no stitch {stitch_id}")
        if stitch.state is not State.TERMINATING:
            self._terminate(stitch, "deleted", certain=True)
        return self._stitches[stitch_id]

    def _check(self, request: StitchRequest) -> Placement:
        refuse(request)
        return self._plan(request)

    def _plan(self, request: StitchRequest) -> Placement:
        """A path for a new stitch, on which those of the trigger that it replaces hold nothing."""
        return self._place(request, self._replaced(request))

    def _place(self, request: StitchRequest, others: Sequence[Stitch]) -> Placement:
        placement = self._planner.path(request, others)
        if lacks := shortcomings(placement):
            remedy = "put that right, or name the hosts of each side that are to be in it"
            raise NotPossible("destination", "; ".join(lacks[:MOST_REASONS]), remedy)
        return placement

    def _replaced(self, request: StitchRequest) -> list[Stitch]:
        """The stitches of the trigger that a new one replaces. Raises Duplicate where it may not."""
        others = rivals(request, self._stitches.between(request))
        for stitch in others:
            if stitch.request.origin != ORIGIN or request.origin == ORIGIN:
                raise Duplicate(
                    "destination",
                    f"stitch {stitch.id} joins these hosts already",
                    f"delete stitch {stitch.id} first, or use it",
                )
        return others

    # -- establish ------------------------------------------------------------------------------------------

    def _create(self, request: StitchRequest) -> Stitch:
        (made,) = self._create_all([request])
        if isinstance(made, Exception):
            raise made
        return made

    def _create_all(self, requests: Sequence[StitchRequest]) -> list[Stitch | Exception]:
        """Admit stitches and start on them, or say of each why not; all are stored in one go."""
        made: list[Stitch | Exception] = []
        together = _Together()
        numbered: list[Stitch] = []
        for place, request in enumerate(requests):
            if together.shares(request):
                made += self._begin(together.take())
            try:
                refuse(request)
                others = self._replaced(request)
                waits = self._waits_for(request)
                path = self._place(request, others) if waits is None else None
                # What is refused needs no number.
                numbered = numbered or self._stitches.new(requests[place:], self._clock())
                stitch = numbered[place - len(requests)]
                if path is None:
                    made += self._begin(together.take())
                    made.append(self._put_off(replace(stitch, reason=waits)))
                elif others:
                    made += self._begin(together.take())
                    made.append(self._replace(stitch, path, others))
                else:
                    together.add(self._admit(stitch, path))
            except _REFUSALS as error:
                made += self._begin(together.take())
                made.append(error)
        return made + self._begin(together.take())

    def _waits_for(self, request: StitchRequest) -> str | None:
        """What has to happen before it can be made: its time, its traffic, its hosts."""
        begins_s = request.valid.begins_s(now_s := self._clock())
        if begins_s is None:
            raise NotPossible("valid_until", "its time is over", "give times that are still to come")
        if begins_s > now_s:
            return f"waits until {words(begins_s)}"
        expected = self._expecting.waits_for(request) if isinstance(request, VmRequest) else None
        return expected or waits_for(request, self._planner.whole)

    def _keep_times(self) -> None:
        """End what is over, and let rest what is not wanted now."""
        now_s = self._clock()
        for stitch in self._stitches.active:
            begins_s = stitch.request.valid.begins_s(now_s)
            if stitch.state is State.TERMINATING or self._changes.removing(stitch.id):
                continue
            if begins_s is None:
                self._terminate(stitch, "its time is over")
            elif stitch.state in _CARRYING_ON and begins_s > now_s:
                self._rest(stitch, f"waits until {words(begins_s)}")
            elif stitch.state in _CARRYING_ON and self._unexpected(stitch):
                self._rest(stitch, "waits until its traffic is expected again")

    def _unexpected(self, stitch: Stitch) -> bool:
        request = stitch.request
        return isinstance(request, VmRequest) and self._expecting.let_go(stitch.id, request, self._monotonic())

    def _rest(self, stitch: Stitch, reason: str) -> None:
        """Take its rules out for a while."""
        self._remove(
            self._stitches.put(stitch.to(State.DOWN, self._clock(), reason=reason)), State.REQUESTED, reason
        )

    def _put_off(self, stitch: Stitch) -> Stitch:
        """Store a stitch that has to wait."""
        self._stitches.put_certain([stitch])
        self._dormant.add(stitch.id)
        return stitch

    def _replace(self, stitch: Stitch, path: Placement, others: Sequence[Stitch]) -> Stitch:
        """What the trigger made for the same hosts makes room first."""
        reason = f"waits until it has replaced stitch {others[0].id}"
        self._stitches.put_certain([replace(stitch, reason=reason)])
        self._dormant.discard(stitch.id)
        self._planner.admission.book(stitch, path, replaces=others)
        self._waiting[stitch.id] = path
        for rival in others:
            if rival.state is not State.TERMINATING:
                self._terminate(rival, f"replaced by stitch {stitch.id}")
        self._go_on()
        return self._stitches[stitch.id]

    def _admit(self, stitch: Stitch, path: Placement) -> Stitch:
        """Promise a stitch its bandwidth; what it is to be. Raises Oversubscribed or NotPossible."""
        self._planner.admission.book(stitch, path)
        try:
            return self._on(stitch, path)
        except NotPossible:
            self._planner.admission.free(stitch.id)
            raise

    def _begin(self, stitches: Sequence[Stitch]) -> list[Stitch | Exception]:
        """Store what was admitted, then start on it; those that cannot be stored are not begun."""
        if not stitches:
            return []
        try:
            self._stitches.put_certain(stitches)
        except StoreError as error:
            for stitch in stitches:
                self._planner.admission.free(stitch.id)
            return [error] * len(stitches)
        for stitch in stitches:
            self._dormant.discard(stitch.id)
            self._changes.put(stitch)
        return list(stitches)

    def _go_on(self) -> None:
        """Start on those whose rivals have gone."""
        for number, path in list(self._waiting.items()):
            stitch = self._stitches[number]
            if len(rivals(stitch.request, self._stitches.between(stitch.request))) > 1:
                continue
            del self._waiting[number]
            if all(key in self._planner.network.links for key in path.all_links):
                try:
                    begun = self._on(replace(stitch, reason=None), path)
                    self._stitches.put_certain([begun])
                    self._changes.put(begun)
                except _REFUSALS as error:
                    self._end(stitch, State.FAILED, str(error))
            else:
                self._end(stitch, State.FAILED, "a link of its path went while it waited")

    def _on(self, stitch: Stitch, path: Placement) -> Stitch:
        """A stitch that is being put on a path."""
        return self._labelled(stitch, path).to(State.ESTABLISHING, self._clock())

    def _labelled(self, stitch: Stitch, path: Placement) -> Stitch:
        """The stitch in its next epoch on a new path, by labels that tell its packets from all others."""
        after = replace(stitch, epoch=(stitch.epoch + 1) & 0xFFFF)
        others = self._sharing(stitch.request)
        return replace(after, path=labelled(after, path, others, settled=self._changes.settled(stitch.id)))

    def _sharing(self, request: StitchRequest) -> list[Stitch]:
        """All that may have packets between these hosts on the way, on the path before as on the one after."""
        there = self._stitches.between(request)
        return [*there, *(self._adjusting[stitch.id] for stitch in there if stitch.id in self._adjusting)]

    @handles(StagesApplied)
    def on_applied(self, event: StagesApplied) -> None:
        """Rules are in place, or gone, or a switch refused them."""
        change = self._changes.applied(event)
        stitch = self._stitches.get(change.stitch_id) if change is not None else None
        if change is None or stitch is None:
            return
        if change.removes:
            outcome = self._outcomes.pop(stitch.id)
            self._end(stitch, outcome.then, outcome.reason)
            self._go_on()
        elif event.error is None:
            self._prover.watch(stitch)
            self._send_probe(stitch, self._prover.watches[stitch.id])
        else:
            self._go_back(stitch, event.error, undone=True)

    # -- probes ---------------------------------------------------------------------------------------------

    @handles(Tick)
    def on_tick(self, tick: Tick) -> None:
        """Send the probes that are due, or see to what has waited."""
        if tick.name == "probe":
            self._send_probes()
            self._changes.tidy(self._monotonic())
            self._tell()
        else:
            self._tell()
            self._keep_times()
            self._retry()
            self._look_at_routes()
            self._improve()
            self._end_overdue()
            self._tell()
            self._stitches.forget_ended(self._clock() - REMEMBER_S)

    def _send_probes(self) -> None:
        self._prover.pace()
        for number, watch in list(self._prover.watches.items()):
            self._send_probe(self._stitches[number], watch)

    def _send_probe(self, stitch: Stitch, watch: Watch) -> None:
        now_s = self._monotonic()
        if self._prover.send(stitch, watch):
            self._judge(stitch, watch, now_s)
        elif stitch.state in _MAKING and watch.away_for_s(now_s) > AWAY_S:
            self._remove(stitch, State.FAILED, "a switch at its end is away")

    @handles(ofp_event.EventOFPPacketIn, states=(MAIN_DISPATCHER,))
    def on_packet(self, event: Any) -> None:
        """A probe may have come out at the far end of a stitch."""
        probe = self._prover.read(event.msg)
        stitch = self._stitches.get(probe.stitch_id) if probe is not None else None
        if probe is None or stitch is None:
            return
        watch = self._prover.take(probe, event.msg, stitch)
        if watch is not None:
            self._judge(stitch, watch, self._monotonic())

    def _judge(self, stitch: Stitch, watch: Watch, now_s: float) -> None:
        """Let the probes decide the state."""
        if stitch.state in _MAKING:
            if watch.proven:
                self._carries(stitch, now_s)
            elif watch.is_unproven(now_s):
                self._go_back(stitch, f"no probe came through within {PROVE_WITHIN_S:g} s", undone=False)
        elif stitch.state in _CARRYING_ON:
            if watch.lost or watch.is_unproven(now_s):
                self._bring_down(stitch, "probes no longer come through")
            elif (reason := self._upkeep.shortcoming(stitch, watch)) is not None:
                if stitch.state is State.UP:
                    self._degrade(stitch, reason)
            elif stitch.state is State.DEGRADED:
                self._stitches.put(stitch.to(State.UP, self._clock()))

    def _carries(self, stitch: Stitch, now_s: float) -> None:
        """Probes have crossed the path: what is left of the one before goes when no packet is on it any more."""
        before = self._adjusting.pop(stitch.id, None)
        self._planner.admission.settle(stitch.id)
        if before is not None:
            self._changes.settle(stitch, now_s + self._drain_s(before))
        self._stitches.put(stitch.to(State.UP, self._clock()))
        self._carry_over(self._look_after(self._stitches[stitch.id]))

    # -- adjust ---------------------------------------------------------------------------------------------

    def _reroute(self, stitch: Stitch, path: Placement, bandwidth_mbps: float, relieves: LinkKey | None) -> None:
        """Move a stitch to another path for the trigger."""
        if stitch.state in _CARRYING_ON:
            request = replace(stitch.vm_request, bandwidth_mbps=bandwidth_mbps, relieves=relieves)
            self._move(stitch, request, path, None)

    def _move(self, stitch: Stitch, request: StitchRequest, path: Placement, reason: str | None) -> None:
        """Put a stitch on another path without a gap; where that is refused (_REFUSALS) nothing is done."""
        move = self._book_move(stitch, request, path, reason)
        if (error := self._carry_over([move])) is not None:
            raise error

    def _book_move(self, stitch: Stitch, request: StitchRequest, path: Placement, reason: str | None) -> _Move:
        after = self._labelled(replace(stitch, request=request), path)
        self._planner.admission.move(stitch, after)
        return _Move(stitch, after.to(State.ADJUSTING, self._clock(), reason=reason))

    def _carry_over(self, moves: Sequence[_Move]) -> StoreError | None:
        """Store that these stitches move, all at once, then let them; where they cannot be stored they stay."""
        if not moves:
            return None
        try:
            self._stitches.put_certain([move.after for move in moves])
        except StoreError as error:
            for move in moves:
                self._stay(move.before, error)
            return error
        for move in moves:
            self._prover.forget(move.after.id)
            self._adjusting[move.after.id] = move.before
            self._changes.put(move.after)
        return None

    def _stay(self, stitch: Stitch, error: StoreError) -> None:
        """A move came to nothing before it began."""
        self._planner.admission.move_back(stitch)
        hurt = damage(stitch, self._planner.whole)
        if hurt is not None and hurt.lost:
            self._bring_down(stitch, f"{hurt.reason}; {error}")

    def _go_back(self, stitch: Stitch, reason: str, *, undone: bool) -> None:
        """The path was refused (undone), or carries nothing: back to the one before, if that still stands."""
        before = self._adjusting.pop(stitch.id, None)
        if before is None:
            give_up = self._end if undone else self._remove
            give_up(stitch, State.FAILED, reason)
            return
        hurt = damage(before, self._planner.whole)
        broken = hurt.reason if hurt is not None and hurt.lost else None
        try:
            self._planner.admission.move_back(before)
        except Oversubscribed as error:
            broken = broken or str(error)
        if broken is not None:
            stitch = self._stitches.put(replace(before, state=stitch.state))
            self._remove(stitch, State.FAILED, f"{reason}; {broken}")
            return
        self._upkeep.attempted(stitch.id, self._monotonic())
        if undone:
            back = replace(before, state=stitch.state).to(before.state, self._clock(), reason=reason)
            self._prover.watch(self._stitches.put(back))
        else:
            self._prover.forget(stitch.id)
            self._changes.put(self._stitches.put(replace(before, state=stitch.state, reason=reason)))

    def _change(self, stitch_id: int, request: VmRequest) -> Stitch:
        """Other terms for the same packets, on the same path where only the bandwidth changes and it has that."""
        stitch = self._stitches.get(stitch_id)
        if stitch is None or stitch.state in ENDED:
            raise LookupError(f"there is no stitch {stitch_id}")
        if stitch.state not in _CARRYING_ON:
            raise BadTransition(f"stitch {stitch_id} is {stitch.state}; it can be changed when it is up")
        asked = stitch.request
        if not isinstance(asked, VmRequest) or not _same_packets(request, asked):
            raise NotPossible("destination", "a stitch carries the same packets all its life", "make another one")
        if request == replace(asked, bandwidth_mbps=request.bandwidth_mbps, labels=request.labels):
            with contextlib.suppress(Oversubscribed):
                return self._in_place(stitch, request)
        path = self._planner.path(request, without=(stitch,))
        self._move(stitch, request, path, "its terms were changed")
        return self._stitches[stitch_id]

    def _in_place(self, stitch: Stitch, request: StitchRequest) -> Stitch:
        """Promise another bandwidth on its path. Raises Oversubscribed or StoreError, and nothing is done."""
        self._planner.admission.resize(stitch, request.bandwidth_mbps)
        try:
            self._stitches.put_certain([replace(stitch, request=request)])
        except StoreError:
            self._planner.admission.resize(stitch, stitch.request.bandwidth_mbps)
            raise
        return self._stitches[stitch.id]

    def _resize(self, stitch: Stitch, bandwidth_mbps: float) -> None:
        """Promise another bandwidth on the path there is; no rule changes."""
        self._planner.admission.resize(stitch, bandwidth_mbps)
        self._stitches.put(replace(stitch, request=replace(stitch.request, bandwidth_mbps=bandwidth_mbps)))

    def _improve(self) -> None:
        """Try again to mend what falls short; go back to shorter paths when the fabric has been quiet a while."""
        now_s = self._monotonic()
        for number in self._upkeep.due(now_s, self._stitches.active):
            stitch = self._stitches[number]
            try:
                path = self._planner.path(stitch.request, (stitch,), stitch.path)
            except NotPossible:
                continue
            if self._upkeep.is_better(stitch, path) and self._planner.all_ready(path.dpids):
                try:
                    self._move(stitch, stitch.request, path, stitch.reason or "a better path is free again")
                except _REFUSALS as error:
                    self.log.warning("stitch=%d not_improved error=%s", number, error)

    # -- take away ------------------------------------------------------------------------------------------

    def _bring_down(self, stitch: Stitch, reason: str) -> None:
        """The path does not carry any more: take the rules out, so that the shortest way does; then try again."""
        if stitch.state is State.REQUESTED:
            self._end(stitch, State.FAILED, reason)  # it has no rules yet
            return
        if stitch.state in _CARRYING_ON:
            stitch = self._stitches.put(stitch.to(State.DOWN, self._clock(), reason=reason))
        self._remove(stitch, State.FAILED, reason)

    def _terminate(self, stitch: Stitch, reason: str, *, certain: bool = False) -> None:
        held = stitch.path is not None and stitch.state is not State.FAILED
        stitch = stitch.to(State.TERMINATING, self._clock(), reason=reason)
        if certain:
            self._stitches.put_certain([stitch])
        else:
            self._stitches.put(stitch)
        if held:
            self._remove(stitch, State.TERMINATED, reason)
        else:
            self._end(stitch, State.TERMINATED, reason)

    def _remove(self, stitch: Stitch, then: State, reason: str | None) -> None:
        """Take the rules out, the entrance first; the stitch moves on when they are gone."""
        self._prover.forget(stitch.id)
        before = self._adjusting.pop(stitch.id, None)
        self._outcomes[stitch.id] = _Outcome(then, reason)
        self._changes.take_away(stitch.id, max(self._drain_s(stitch), self._drain_s(before)))

    def _end(self, stitch: Stitch, state: State, reason: str | None) -> None:
        """The rules of a stitch are gone: free what it held; one of the trigger's own is not tried again."""
        self._planner.admission.free(stitch.id)
        self._prover.forget(stitch.id)
        self._upkeep.forget(stitch.id)
        for attempt in (self._waiting, self._adjusting, self._outcomes):
            attempt.pop(stitch.id, None)
        self._dormant.discard(stitch.id)
        stitch = self._stitches.put(replace(stitch, path=None).to(state, self._clock(), reason=reason))
        if state is State.FAILED:
            self._retry_at_s[stitch.id] = self._monotonic() + RETRY_S
        if state is State.REQUESTED:
            self._dormant.add(stitch.id)
        if state is State.FAILED and stitch.request.origin == ORIGIN:
            self._terminate(stitch, reason or "failed")

    def _end_overdue(self) -> None:
        """Whatever it waits for, a stitch is not on its way for ever."""
        for stitch in self._stitches.overdue(DEADLINES_S):
            if stitch.id in self._dormant:
                continue
            after_s = DEADLINES_S[stitch.state]
            self.log.warning("stitch=%d state=%s overdue_after_s=%g", stitch.id, stitch.state, after_s)
            self._changes.forget(stitch.id)
            ended = State.TERMINATED if stitch.state is State.TERMINATING else State.FAILED
            self._end(stitch, ended, stitch.reason or f"it was {stitch.state} for too long")
        self._go_on()

    def _retry(self) -> None:
        """Start again on what failed a while ago, and on what has waited long enough."""
        now_s = self._monotonic()
        together = _Together()
        for stitch in sorted(self._stitches.active, key=_most_important_first):
            idle = stitch.state is State.FAILED or stitch.id in self._dormant
            if not idle or now_s < self._retry_at_s.get(stitch.id, 0.0):
                continue
            if together.shares(stitch.request):
                self._begin(together.take())
            try:
                if (admitted := self._try_again(stitch, now_s)) is not None:
                    together.add(admitted)
            except _REFUSALS as error:
                if stitch.state is State.REQUESTED:
                    # What it waited for has come, and it cannot be had all the same.
                    self._end(stitch, State.FAILED, str(error))
                elif stitch.reason != str(error):
                    self._stitches.put(replace(stitch, reason=str(error)))
        self._begin(together.take())

    def _try_again(self, stitch: Stitch, now_s: float) -> Stitch | None:
        """What an idle stitch is to be; None where it stays idle, or something has to make room for it first."""
        if (waits := self._waits_for(stitch.request)) is not None:
            self._wait(stitch, waits)
            return None
        self._retry_at_s[stitch.id] = now_s + RETRY_S
        there = self._stitches.between(stitch.request)
        others = [other for other in rivals(stitch.request, there) if other.id != stitch.id]
        path = self._planner.path(stitch.request, others)
        if not self._prover.all_ready(path.dpids):
            return None
        asked = stitch if stitch.state is State.REQUESTED else stitch.to(State.REQUESTED, self._clock())
        if others:
            self._replace(asked, path, others)
            return None
        return self._admit(asked, path)

    def _wait(self, stitch: Stitch, reason: str) -> None:
        """Nothing can be done for it until something happens; no deadline runs meanwhile."""
        if stitch.state is State.FAILED:
            self._stitches.put(stitch.to(State.REQUESTED, self._clock(), reason=reason))
        elif stitch.reason != reason:
            self._stitches.put(replace(stitch, reason=reason))
        self._dormant.add(stitch.id)

    def _drain_s(self, stitch: Stitch | None) -> float:
        """How long packets may still be on the way over the path of a stitch."""
        if stitch is None or stitch.path is None:
            return 0.0
        return drain_s(stitch.path.all_links, self._planner.network)

    # -- the trigger ----------------------------------------------------------------------------------------

    @handles(OutlookReady)
    def on_outlook(self, event: OutlookReady) -> None:
        """Stitch before the traffic arrives, and let go when it has passed."""
        outlook = event.outlook
        active = self._stitches.active
        self._expecting.hear(outlook.pairs, outlook.demands)
        self._follow(outlook, active)
        carrying = frozenset((s.id, s.epoch) for s in active if s.state in CARRYING)
        # A forecast made before its own last change took effect would have it made twice.
        settled = not any(s.state in DEADLINES_S for s in active if s.request.origin == ORIGIN)
        if self._trigger is None or not settled or outlook.stitches != carrying:
            return
        decisions = self._trigger.decide(
            self._monotonic(),
            links=outlook.link_keys,
            link_forecast=outlook.links,
            pairs=outlook.pairs,
            demand_forecast=outlook.demands,
            routes=default_routes(self._planner.network, self._planner.directory, self._planner.ruling),
            stitches=active,
            situation=self._planner.situation,
        )
        for decision in decisions:
            self.log.info("decision=%s", decision)
            try:
                self._carry_out(decision)
            except _REFUSALS as error:
                self.log.warning("not_carried_out=%s error=%s", decision, error)

    def _follow(self, outlook: Outlook, active: tuple[Stitch, ...]) -> None:
        """Let guarantees follow what is expected; no rule changes."""
        sizes = self._following.promises(self._monotonic(), outlook.pairs, outlook.demands, active)
        for stitch, mbps in sizes:
            try:
                self._resize(stitch, mbps)
            except _REFUSALS as error:
                self.log.info("stitch=%d not_resized mbps=%g error=%s", stitch.id, mbps, error)

    def _carry_out(self, decision: Decision) -> None:
        match decision:
            case Establish(request, path):
                self._check_allowed(request, path)
                (stitch,) = self._stitches.new([request], self._clock())
                (begun,) = self._begin([self._admit(stitch, path)])
                if isinstance(begun, Exception):
                    raise begun
            case Reroute(stitch_id, bandwidth_mbps, path, relieves):
                self._check_allowed(self._stitches[stitch_id].vm_request, path)
                self._reroute(self._stitches[stitch_id], path, bandwidth_mbps, relieves)
            case Resize(stitch_id, bandwidth_mbps):
                self._resize(self._stitches[stitch_id], bandwidth_mbps)
            case Release(stitch_id):
                self._terminate(self._stitches[stitch_id], "no longer needed")

    def _check_allowed(self, request: VmRequest, path: StitchPath) -> None:
        """The trigger looks at loads alone."""
        reason = self._planner.ruling.forbids(request, path, self._planner.network)
        if reason is not None:
            raise NotPossible("destination", reason, "change what the policy demands")

    def _moved(self, stitch: Stitch, was: State | None) -> None:
        if was is not stitch.state:
            self.publish(StitchMoved(stitch, was))
            if self._told_at_once < AT_ONCE:
                # Whoever is answered that it is up may ask another app about it, or a host may ask for an address.
                self._told_at_once += 1
                self._announce()
        self._untold = True

    def _tell(self) -> None:
        """Tell the store and the other apps how things stand now: once for all that happened since."""
        self._stitches.flush()
        self._told_at_once = 0
        if self._untold:
            self._untold = False
            self._announce()

    def _announce(self) -> None:
        self._planner.stitches_are(self._stitches.active)
        self.publish(StitchesChanged(self._stitches.active))


def _most_important_first(stitch: Stitch) -> tuple[int, int]:
    return -stitch.request.priority, stitch.id
