"""Carries stitches through their life: admit, store, install, prove, watch, take away.

What is wanted is stored before it is done. One thread owns all stitches and all reservations.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from pathing import Oversubscribed
from ryu_apps.app import App, Tick, handles
from ryu_apps.events import (
    ApplyStages,
    CheckStitch,
    CreateStitch,
    DeleteStitch,
    NetworkChanged,
    OutlookReady,
    PolicyChanged,
    RatesMeasured,
    StagesApplied,
    StitchesChanged,
    StitchesRequest,
    SwitchReady,
    UnsavedRequest,
    VnetsChanged,
    WantRules,
)
from ryu_apps.proving import Prover
from ryu_apps.stitch_book import StitchBook, StitchStore
from ryu_apps.store import StoreError
from ryu_apps.watch import PROVE_WITHIN_S, Watch
from stitching.admission import Admission
from stitching.labels import free_label, paths_of
from stitching.network import LinkKey, Network
from stitching.path_rules import stitch_rules
from stitching.plan import NotPossible, Situation, links_to_reserve, plan_path
from stitching.policy.changes import forbidden
from stitching.policy.document import NO_POLICY, Policy
from stitching.policy.ruling import Ruling
from stitching.routes import CARRYING, default_routes
from stitching.stages import NOTHING, Fleet, drain_s, stages, union
from stitching.stitch import ENDED, State, Stitch, StitchPath, StitchRequest
from stitching.trigger import ORIGIN, Decision, Establish, Release, Reroute, Resize, Trigger, TriggerPolicy
from stitching.vnet import Directory

RETRY_S = 5.0
"""How long a stitch that failed waits before it is tried again, unless the fabric changes first."""

AWAY_S = 30.0
"""How long a stitch on its way waits for a switch that went away before it was proven."""

REMEMBER_S = 3600.0
"""How long a stitch that ended is still shown."""

_ON_THE_MOVE = frozenset({State.REQUESTED, State.ESTABLISHING, State.ADJUSTING, State.TERMINATING})


class Duplicate(NotPossible):
    """The two hosts are stitched already."""


@dataclass(frozen=True, slots=True)
class _Removal:
    """What becomes of a stitch when its rules are gone."""

    stitch_id: int
    then: State
    reason: str | None


class Stitcher(App):
    """Owns the stitches."""

    _EVENTS: ClassVar[list[type]] = [ApplyStages, StitchesChanged, WantRules]

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
        self._network = Network()
        self._directory = Directory.of(())
        self._policy: tuple[Policy, float] = (NO_POLICY, 0.0)
        self._ruling = Ruling()
        self._admission = Admission()
        self._stitches = StitchBook(store, self.log, self._announce)
        self._removals: dict[int, _Removal] = {}
        self._tickets = itertools.count(1)
        self._waiting: dict[int, StitchPath] = {}
        self._establishing: dict[int, int] = {}
        self._adjusting: dict[int, Stitch] = {}
        self._retry_at_s: dict[int, float] = {}
        self._port_mbps: dict[tuple[int, int], float] = {}

    # -- start ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take up the stitches that were stored, then start the event loop and the probe timer."""
        self._take_up()
        super().start()
        self._announce()
        self.every(0.05, "probe")
        self.every(1.0, "retry")

    def _take_up(self) -> None:
        stitches = self._stitches.load()
        asked = {
            p
            for s in stitches
            if s.request.origin != ORIGIN and s.state not in ENDED
            for p in s.request.directions
        }
        for stitch in stitches:
            up = stitch.state in (State.UP, State.DEGRADED)
            of_trigger = stitch.request.origin == ORIGIN and stitch.state not in ENDED
            if of_trigger and (not up or asked & set(stitch.request.directions)):
                # It makes another where one is still needed.
                reason = "the controller was restarted"
                self._stitches.put(replace(stitch, state=State.TERMINATED, path=None, reason=reason))
            else:
                self._resume(stitch)

    def _resume(self, stitch: Stitch) -> None:
        """Go on where the controller stopped: what was in the data plane stays, what was half done is redone."""
        if stitch.state in (State.UP, State.DEGRADED) and stitch.path is not None:
            self._admission.book_again(stitch, stitch.path)
            self.publish(WantRules(_owner(stitch.id), stitch_rules(stitch)))
            self._prover.watch(stitch)
        elif stitch.state is State.TERMINATING:
            # Nobody wants its rules any more, so the installer finds them in excess.
            self._stitches.put(stitch.to(State.TERMINATED, self._clock(), reason=stitch.reason))
        elif stitch.state not in ENDED and stitch.state is not State.FAILED:
            self._stitches.put(
                replace(stitch, state=State.FAILED, path=None, reason="the controller was restarted")
            )

    # -- what others tell -----------------------------------------------------------------------------------

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """Follow the fabric: capacities, paths that broke, hosts that moved."""
        self._network = event.network
        self._admission.follow(event.network)
        for stitch in self._stitches:
            broken = self._broken(stitch)
            if broken is not None:
                self._bring_down(stitch, broken)
        leaving = {removal.stitch_id for removal in self._removals.values()}
        staying = [s for s in self._stitches if s.id not in leaving and s.state not in ENDED]
        for stitch in self._admission.too_much(staying, first=ORIGIN):
            self._bring_down(stitch, "a link of its path carries less now than was promised on it")
        self._part()
        self._retry_at_s.clear()
        self._retry()

    def _broken(self, stitch: Stitch) -> str | None:
        """Why the path of a stitch no longer stands, or None."""
        path = stitch.path
        if path is None or stitch.state not in CARRYING:
            return None
        for key in links_to_reserve(stitch.request, path):
            if key not in self._network.links:
                return f"link {key[0]:016x}:{key[1]} to {key[2]:016x}:{key[3]} is gone"
        first, last = path.hops[0], path.hops[-1]
        ends = (
            (stitch.request.source_mac, (first.dpid, first.in_port)),
            (stitch.request.target_mac, (last.dpid, last.out_port)),
        )
        for mac, port in ends:
            host = self._network.hosts.get(mac)
            if host is not None and host.port != port:
                return f"host {mac} moved to {host.dpid:016x}:{host.port_no}"
        return None

    @handles(VnetsChanged)
    def on_vnets(self, event: VnetsChanged) -> None:
        """Take away what no longer joins hosts of one virtual network."""
        self._directory = Directory.of(event.vnets)
        self._rule_anew()

    @handles(PolicyChanged)
    def on_policy(self, event: PolicyChanged) -> None:
        """Take away what the policy forbids now."""
        self._policy = event.policy, event.time_s
        self._rule_anew()

    def _rule_anew(self) -> None:
        policy, time_s = self._policy
        self._ruling = Ruling(policy, self._directory, time_s)
        self._part()

    def _part(self) -> None:
        """A host may also have gone to another virtual network by its address."""
        for number, reason in list(forbidden(self._ruling, self._network, self._stitches)):
            self._terminate(self._stitches[number], reason)

    @handles(RatesMeasured)
    def on_rates(self, event: RatesMeasured) -> None:
        """Remember the load of every port, for plans made before there is a forecast."""
        self._port_mbps.update(event.rates.port_tx_mbps)

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def on_state(self, event: Any) -> None:
        """Keep the connections at hand, for probes."""
        if event.state == MAIN_DISPATCHER:
            self._prover.connected(event.datapath)
        else:
            self._prover.disconnected(event.datapath)

    @handles(SwitchReady)
    def on_ready(self, event: SwitchReady) -> None:
        """A switch may be part of paths again, unless it has gone again since."""
        self._prover.ready(event.dpid)
        self._retry_at_s.clear()

    # -- what others ask ------------------------------------------------------------------------------------

    @handles(StitchesRequest)
    def on_list(self, request: StitchesRequest) -> None:
        """Answer all stitches, oldest first."""
        self.serve(request, self._all)

    def _all(self) -> tuple[Stitch, ...]:
        probe_ms = {number: watch.latency_ms for number, watch in self._prover.watches.items()}
        return tuple(replace(stitch, probe_ms=probe_ms.get(stitch.id)) for stitch in self._stitches)

    @handles(UnsavedRequest)
    def on_unsaved(self, request: UnsavedRequest) -> None:
        """Answer how many stitches the store does not have as they are."""
        self.serve(request, lambda: self._stitches.unsaved)

    @handles(CheckStitch)
    def on_check(self, request: CheckStitch) -> None:
        """Answer which path a stitch would get."""
        self.serve(request, lambda: self._plan(request.request))

    @handles(CreateStitch)
    def on_create(self, request: CreateStitch) -> None:
        """Admit a stitch, store it, and start on it."""
        self.serve(request, lambda: self._create(request.request))

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

    def _plan(self, request: StitchRequest) -> StitchPath:
        """A path for a new stitch, on which those of the trigger that it replaces hold nothing."""
        rivals = self._rivals(request)
        for stitch in rivals:
            if stitch.request.origin != ORIGIN or request.origin == ORIGIN:
                raise Duplicate(
                    "destination",
                    f"stitch {stitch.id} joins these hosts already",
                    f"delete stitch {stitch.id} first, or use it",
                )
        return self._plan_path(request, rivals)

    def _rivals(self, request: StitchRequest) -> list[Stitch]:
        """The stitches that carry what this one is to carry."""
        pairs = set(request.directions)
        return [stitch for stitch in self._stitches.active if pairs & set(stitch.request.directions)]

    def _plan_path(self, request: StitchRequest, without: Sequence[Stitch] = ()) -> StitchPath:
        """A path over switches that can take rules now; where there is none, one that has to wait for them."""
        now = self._situation()
        if without:
            now = replace(now, resources=self._admission.without(without))
        try:
            return plan_path(request, now)
        except NotPossible:
            if now.network is self._network:
                raise
        return plan_path(request, replace(now, network=self._network))

    def _situation(self) -> Situation:
        """What plans are made on: the part of the fabric whose switches can take rules now."""
        ready = self._prover.all_ready
        links = {key: link for key, link in self._network.links.items() if ready((key[0], key[2]))}
        network = self._network if len(links) == len(self._network.links) else replace(self._network, links=links)
        loads = {key: self._port_mbps.get(link.source, 0.0) for key, link in links.items()}
        return Situation(network, self._directory, self._admission.resources, loads, self._ruling)

    # -- establish ------------------------------------------------------------------------------------------

    def _create(self, request: StitchRequest) -> Stitch:
        """Admit a stitch and start on it; what the trigger made for the same hosts makes room first."""
        path = self._plan(request)
        rivals = self._rivals(request)
        stitch = self._stitches.new(request, self._clock())
        if rivals:
            reason = f"waits until it has replaced stitch {rivals[0].id}"
            self._stitches.put(replace(stitch, reason=reason), certain=True)
            self._admission.book(stitch, path, replaces=rivals)
            self._waiting[stitch.id] = path
            for rival in rivals:
                if rival.state is not State.TERMINATING:
                    self._terminate(rival, f"replaced by stitch {stitch.id}")
            self._go_on()
        else:
            self._start(stitch, path)
        return self._stitches[stitch.id]

    def _start(self, stitch: Stitch, path: StitchPath) -> None:
        self._admission.book(stitch, path)
        try:
            self._stitches.put(stitch, certain=True)
        except StoreError:
            self._admission.free(stitch.id)
            raise
        self._establish(stitch, path)

    def _go_on(self) -> None:
        """Start on those whose rivals have gone."""
        for number, path in list(self._waiting.items()):
            stitch = self._stitches[number]
            if len(self._rivals(stitch.request)) > 1:
                continue
            del self._waiting[number]
            if all(key in self._network.links for key in path.links):
                self._establish(replace(stitch, reason=None), path)
            else:
                self._end(stitch, State.FAILED, "a link of its path went while it waited")

    def _establish(self, stitch: Stitch, path: StitchPath) -> None:
        stitch = self._labelled(stitch, path).to(State.ESTABLISHING, self._clock())
        self._stitches.put(stitch)
        self._install(stitch, NOTHING, 0.0)

    def _labelled(self, stitch: Stitch, path: StitchPath) -> Stitch:
        """The stitch on a new path, whose label no other path between its hosts has."""
        epoch = (stitch.epoch + 1) & 0xFFFF
        label = free_label(stitch.request, epoch, paths_of((*self._stitches.active, *self._adjusting.values())))
        return replace(stitch, path=replace(path, label=label), epoch=epoch)

    def _install(self, stitch: Stitch, has: Fleet, pause_s: float) -> None:
        self._establishing[stitch.id] = ticket = next(self._tickets)
        wants = stitch_rules(stitch)
        self.publish(ApplyStages(_owner(stitch.id), stages(has, wants), wants, ticket=ticket, pause_s=pause_s))

    @handles(StagesApplied)
    def on_applied(self, event: StagesApplied) -> None:
        """Rules are in place, or gone, or a switch refused them."""
        removal = self._removals.pop(event.ticket, None)
        if removal is not None:
            if event.error is not None:
                # A switch is away: it gives the rules up when it comes back, as nobody wants them any more.
                self.publish(WantRules(event.owner, {}))
            self._end(self._stitches[removal.stitch_id], removal.then, removal.reason)
            self._go_on()
            return
        stitch = self._stitches.get(_number(event.owner))
        if stitch is None or self._establishing.get(stitch.id) != event.ticket:
            return
        del self._establishing[stitch.id]
        before = self._adjusting.pop(stitch.id, None)
        if event.error is None:
            self._prover.watch(stitch)
            self._send_probes()
        elif before is not None:
            self._keep_path(stitch, before, event.error)
        else:
            self._end(stitch, State.FAILED, event.error)

    # -- probes ---------------------------------------------------------------------------------------------

    @handles(Tick)
    def on_tick(self, tick: Tick) -> None:
        """Send the probes that are due, or try again what failed."""
        if tick.name == "probe":
            self._send_probes()
        else:
            self._stitches.save_again()
            self._retry()
            self._stitches.forget_ended(self._clock() - REMEMBER_S)

    def _send_probes(self) -> None:
        now_s = self._monotonic()
        for number, watch in list(self._prover.watches.items()):
            stitch = self._stitches[number]
            if self._prover.send(stitch, watch):
                self._judge(stitch, watch, now_s)
            elif stitch.state in _ON_THE_MOVE and watch.away_for_s(now_s) > AWAY_S:
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
        making = stitch.state in (State.ESTABLISHING, State.ADJUSTING)
        if making and watch.proven:
            self._admission.settle(stitch.id)
            self._stitches.put(stitch.to(State.UP, self._clock()))
        elif making and watch.unproven_for_s(now_s) > PROVE_WITHIN_S:
            self._remove(stitch, State.FAILED, f"no probe came through within {PROVE_WITHIN_S:g} s")
        elif stitch.state in (State.UP, State.DEGRADED) and (
            watch.lost or watch.unproven_for_s(now_s) > PROVE_WITHIN_S
        ):
            self._bring_down(stitch, "probes no longer come through")
        elif stitch.state is State.UP and watch.slow:
            reason = f"latency {watch.latency_ms:.3g} ms is above {stitch.request.max_latency_ms:g} ms"
            self._stitches.put(stitch.to(State.DEGRADED, self._clock(), reason=reason))
        elif stitch.state is State.DEGRADED and not watch.slow:
            self._stitches.put(stitch.to(State.UP, self._clock()))

    # -- adjust and take away -------------------------------------------------------------------------------

    def _reroute(self, stitch: Stitch, path: StitchPath, bandwidth_mbps: float, relieves: LinkKey | None) -> None:
        """Move a stitch to another path without a gap: the old rules go when the new ones carry."""
        if stitch.state not in (State.UP, State.DEGRADED):
            return
        request = replace(stitch.request, bandwidth_mbps=bandwidth_mbps, relieves=relieves)
        after = self._labelled(replace(stitch, request=request), path)
        self._admission.move(stitch, after)
        try:
            after = self._stitches.put(after.to(State.ADJUSTING, self._clock()), certain=True)
        except StoreError:
            self._admission.move_back(stitch)
            raise
        self._prover.forget(stitch.id)
        self._adjusting[stitch.id] = stitch
        self._install(after, stitch_rules(stitch), drain_s(_links(stitch), self._network))

    def _keep_path(self, stitch: Stitch, before: Stitch, reason: str) -> None:
        """The new path was refused and its rules are taken back: the stitch is where it was, if that still is."""
        broken = self._broken(before)
        try:
            self._admission.move_back(before)
        except Oversubscribed as error:
            broken = broken or str(error)
        stitch = replace(before, state=stitch.state)
        if broken is not None:
            self._remove(self._stitches.put(stitch), State.FAILED, f"{reason}; {broken}")
            return
        stitch = self._stitches.put(stitch.to(before.state, self._clock(), reason=reason))
        self._prover.watch(stitch)

    def _resize(self, stitch: Stitch, bandwidth_mbps: float) -> None:
        """Promise another bandwidth on the path there is; no rule changes."""
        self._admission.resize(stitch, bandwidth_mbps)
        self._stitches.put(replace(stitch, request=replace(stitch.request, bandwidth_mbps=bandwidth_mbps)))

    def _bring_down(self, stitch: Stitch, reason: str) -> None:
        """The path does not carry any more: take the rules out, so that the shortest way does; then try again."""
        if stitch.state is State.REQUESTED:
            self._end(stitch, State.FAILED, reason)  # it has no rules yet
            return
        if stitch.state in (State.UP, State.DEGRADED):
            stitch = self._stitches.put(stitch.to(State.DOWN, self._clock(), reason=reason))
        self._remove(stitch, State.FAILED, reason)

    def _terminate(self, stitch: Stitch, reason: str, *, certain: bool = False) -> None:
        held = stitch.path is not None and stitch.state is not State.FAILED
        stitch = self._stitches.put(stitch.to(State.TERMINATING, self._clock(), reason=reason), certain=certain)
        if held:
            self._remove(stitch, State.TERMINATED, reason)
        else:
            self._end(stitch, State.TERMINATED, reason)

    def _remove(self, stitch: Stitch, then: State, reason: str | None) -> None:
        """Take the rules out, near end first; the stitch moves on when they are gone."""
        self._prover.forget(stitch.id)
        self._establishing.pop(stitch.id, None)
        before = self._adjusting.pop(stitch.id, None)
        # Halfway from one path to another: both may have rules.
        has = stitch_rules(stitch) if before is None else union(stitch_rules(before), stitch_rules(stitch))
        self._removals = {t: r for t, r in self._removals.items() if r.stitch_id != stitch.id}
        ticket = next(self._tickets)
        self._removals[ticket] = _Removal(stitch.id, then, reason)
        pause_s = drain_s(_links(stitch), self._network)
        self.publish(ApplyStages(_owner(stitch.id), stages(has, NOTHING), {}, ticket=ticket, pause_s=pause_s))

    def _end(self, stitch: Stitch, state: State, reason: str | None) -> None:
        """The rules of a stitch are gone: free what it held; one of the trigger's own is not tried again."""
        self._admission.free(stitch.id)
        self._prover.forget(stitch.id)
        for attempt in (self._waiting, self._establishing, self._adjusting):
            attempt.pop(stitch.id, None)
        stitch = self._stitches.put(replace(stitch, path=None).to(state, self._clock(), reason=reason))
        if state is State.FAILED:
            self._retry_at_s[stitch.id] = self._monotonic() + RETRY_S
            if stitch.request.origin == ORIGIN:
                self._terminate(stitch, reason or "failed")

    def _retry(self) -> None:
        """Start again on what failed a while ago."""
        now_s = self._monotonic()
        for stitch in self._stitches:
            if stitch.state is not State.FAILED or now_s < self._retry_at_s.get(stitch.id, 0.0):
                continue
            self._retry_at_s[stitch.id] = now_s + RETRY_S
            try:
                path = self._plan_path(stitch.request)
                if self._prover.all_ready(path.dpids):
                    self._start(stitch.to(State.REQUESTED, self._clock()), path)
            except (NotPossible, StoreError) as error:
                if stitch.reason != str(error):
                    self._stitches.put(replace(stitch, reason=str(error)))

    # -- the trigger ----------------------------------------------------------------------------------------

    @handles(OutlookReady)
    def on_outlook(self, event: OutlookReady) -> None:
        """Stitch before the traffic arrives, and let go when it has passed."""
        outlook = event.outlook
        active = self._stitches.active
        carrying = frozenset((s.id, s.epoch) for s in active if s.state in CARRYING)
        # A forecast made before its own last change took effect would have it made twice.
        settled = not any(s.state in _ON_THE_MOVE for s in active if s.request.origin == ORIGIN)
        if self._trigger is None or not settled or outlook.stitches != carrying:
            return
        decisions = self._trigger.decide(
            self._monotonic(),
            links=outlook.link_keys,
            link_forecast=outlook.links,
            pairs=outlook.pairs,
            demand_forecast=outlook.demands,
            routes=default_routes(self._network, self._directory, self._ruling),
            stitches=active,
            situation=self._situation(),
        )
        for decision in decisions:
            self.log.info("decision=%s", decision)
            try:
                self._carry_out(decision)
            except (Oversubscribed, StoreError) as error:
                self.log.warning("not_carried_out=%s error=%s", decision, error)

    def _carry_out(self, decision: Decision) -> None:
        match decision:
            case Establish(request, path):
                self._start(self._stitches.new(request, self._clock()), path)
            case Reroute(stitch_id, bandwidth_mbps, path, relieves):
                self._reroute(self._stitches[stitch_id], path, bandwidth_mbps, relieves)
            case Resize(stitch_id, bandwidth_mbps):
                self._resize(self._stitches[stitch_id], bandwidth_mbps)
            case Release(stitch_id):
                self._terminate(self._stitches[stitch_id], "no longer needed")

    def _announce(self) -> None:
        self.publish(StitchesChanged(self._stitches.active))


def _links(stitch: Stitch) -> tuple[LinkKey, ...]:
    return stitch.path.all_links if stitch.path is not None else ()


def _owner(stitch_id: int) -> str:
    return f"stitch:{stitch_id}"


def _number(owner: str) -> int:
    kind, _, number = owner.partition(":")
    return int(number) if kind == "stitch" else 0
