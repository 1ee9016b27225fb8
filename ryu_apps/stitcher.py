"""Carries stitches through their life: admit, store, install, prove, watch, take away.

What is wanted is stored before it is done. One thread owns all stitches and all reservations.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from pathing import Oversubscribed, Resources
from ryu_apps import wire
from ryu_apps.app import App, Tick, handles
from ryu_apps.events import (
    ApplyStages,
    CheckStitch,
    CreateStitch,
    DeleteStitch,
    NetworkChanged,
    Outlook,
    OutlookReady,
    RatesMeasured,
    StagesApplied,
    StitchesChanged,
    StitchesRequest,
    SwitchReady,
    VnetsChanged,
    WantRules,
)
from ryu_apps.stitch_probes import StitchProbe, StitchProber
from ryu_apps.watch import PROVE_WITHIN_S, Watch
from stitching.network import LinkKey, Network
from stitching.plan import NotPossible, Situation, links_to_reserve, plan_path
from stitching.routes import CARRYING, default_routes
from stitching.rules import PORT_CONTROLLER, Stage
from stitching.stages import (
    establish_pause_s,
    establish_stages,
    remove_pause_s,
    remove_stages,
    reroute_stages,
    stitch_rules,
)
from stitching.stitch import ENDED, State, Stitch, StitchPath, StitchRequest
from stitching.trigger import ORIGIN, Decision, Establish, Release, Reroute, Resize, Trigger, TriggerPolicy
from stitching.vnet import Directory

RETRY_S = 5.0
"""How long a stitch that failed waits before it is tried again, unless the fabric changes first."""

AWAY_S = 30.0
"""How long a stitch on its way waits for a switch that went away before it was proven."""

REMEMBER_S = 3600.0
"""How long a stitch that ended is still shown."""

_PORT_TABLE = 0xFFFFFFF9

_ON_THE_MOVE = frozenset({State.REQUESTED, State.ESTABLISHING, State.ADJUSTING, State.TERMINATING})


class StitchStore(Protocol):
    """Where stitches are kept (ryu_apps.store.StateStore)."""

    def stitches(self) -> Sequence[Stitch]:
        """All that were kept."""

    def save_stitch(self, stitch: Stitch) -> None:
        """Keep a stitch; returns when it is safe."""

    def next_stitch_id(self) -> int:
        """A number that was never given before."""

    def forget_stitches(self, ended_before_s: float) -> None:
        """Drop those that ended before this time."""


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
        self._store = store
        self._prober = StitchProber(key)
        self._trigger = Trigger(policy) if policy is not None else None
        self._clock = clock
        self._monotonic = monotonic
        self._network = Network()
        self._directory = Directory.of(())
        self._resources: Resources[LinkKey] = Resources()
        self._stitches: dict[int, Stitch] = {}
        self._watches: dict[int, Watch] = {}
        self._removals: dict[int, _Removal] = {}
        self._tickets = itertools.count(1)
        self._establishing: dict[int, int] = {}
        self._adjusting: dict[int, Stitch] = {}
        self._retry_at_s: dict[int, float] = {}
        self._datapaths: dict[int, Any] = {}
        self._ready: set[int] = set()
        self._port_mbps: dict[tuple[int, int], float] = {}
        self._outlook: Outlook | None = None

    # -- start ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take up the stitches that were stored, then start the event loop and the probe timer."""
        for stitch in self._store.stitches():
            self._stitches[stitch.id] = stitch
            self._resume(stitch)
        super().start()
        self._announce()
        self.every(0.05, "probe")
        self.every(1.0, "retry")

    def _resume(self, stitch: Stitch) -> None:
        """Go on where the controller stopped: what was in the data plane stays, what was half done is redone."""
        if stitch.state in (State.UP, State.DEGRADED) and stitch.path is not None:
            self._reserve(stitch, stitch.path)
            self.publish(WantRules(_owner(stitch.id), stitch_rules(stitch)))
            self._watch(stitch)
        elif stitch.state is State.TERMINATING:
            # Nobody wants its rules any more, so the installer finds them in excess.
            self._put(stitch.to(State.TERMINATED, self._clock(), reason=stitch.reason))
        elif stitch.state not in ENDED and stitch.state is not State.FAILED:
            self._put(replace(stitch, state=State.FAILED, path=None, reason="the controller was restarted"))

    # -- what others tell -----------------------------------------------------------------------------------

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """Follow the fabric: capacities, paths that broke, hosts that moved."""
        self._network = event.network
        for key, link in event.network.links.items():
            self._resources.set_capacity(key, link.capacity_mbps or 0.0)
        for stitch in list(self._stitches.values()):
            broken = self._broken(stitch)
            if broken is not None:
                self._bring_down(stitch, broken)
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
        for stitch in list(self._stitches.values()):
            hosts = [self._network.hosts.get(mac) for mac in stitch.request.directions[0]]
            vnets = {self._directory.vnet_of(host) for host in hosts if host is not None}
            if len(vnets) > 1 and stitch.state not in (*ENDED, State.TERMINATING):
                self._terminate(stitch, "its hosts are no longer in one virtual network")

    @handles(RatesMeasured)
    def on_rates(self, event: RatesMeasured) -> None:
        """Remember the load of every port, for plans made before there is a forecast."""
        self._port_mbps.update(event.rates.port_tx_mbps)

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def on_state(self, event: Any) -> None:
        """Keep the connections at hand, for probes."""
        datapath = event.datapath
        known = self._datapaths.get(datapath.id)
        if event.state == MAIN_DISPATCHER:
            self._datapaths[datapath.id] = datapath
            self._ready.discard(datapath.id)
        elif known is not None and known is datapath:
            del self._datapaths[datapath.id]
            self._ready.discard(datapath.id)

    @handles(SwitchReady)
    def on_ready(self, event: SwitchReady) -> None:
        """A switch may be part of paths again, unless it has gone again since."""
        if event.dpid in self._datapaths:
            self._ready.add(event.dpid)
        self._retry_at_s.clear()

    # -- what others ask ------------------------------------------------------------------------------------

    @handles(StitchesRequest)
    def on_list(self, request: StitchesRequest) -> None:
        """Answer all stitches, oldest first."""
        self.serve(request, self._all)

    def _all(self) -> tuple[Stitch, ...]:
        probe_ms = {number: watch.latency_ms for number, watch in self._watches.items()}
        stitches = (self._stitches[number] for number in sorted(self._stitches))
        return tuple(replace(stitch, probe_ms=probe_ms.get(stitch.id)) for stitch in stitches)

    @handles(CheckStitch)
    def on_check(self, request: CheckStitch) -> None:
        """Answer which path a stitch would get."""
        self.serve(request, lambda: self._plan(request.request))

    @handles(CreateStitch)
    def on_create(self, request: CreateStitch) -> None:
        """Admit a stitch, store it, and start on it."""
        self.serve(request, lambda: self._create(request.request, self._plan(request.request)))

    @handles(DeleteStitch)
    def on_delete(self, request: DeleteStitch) -> None:
        """Take a stitch away."""
        self.serve(request, lambda: self._delete(request.stitch_id))

    def _delete(self, stitch_id: int) -> Stitch:
        stitch = self._stitches.get(stitch_id)
        if stitch is None or stitch.state in ENDED:
            raise LookupError(f"there is no stitch {stitch_id}")
        if stitch.state is not State.TERMINATING:
            self._terminate(stitch, "deleted")
        return self._stitches[stitch_id]

    def _plan(self, request: StitchRequest) -> StitchPath:
        for stitch in self._stitches.values():
            if stitch.state not in ENDED and set(stitch.request.directions) & set(request.directions):
                raise Duplicate(
                    "destination",
                    f"stitch {stitch.id} joins these hosts already",
                    f"delete stitch {stitch.id} first, or use it",
                )
        return self._plan_path(request)

    def _plan_path(self, request: StitchRequest) -> StitchPath:
        """A path over switches that can take rules now; where there is none, one that has to wait for them."""
        now = self._situation()
        try:
            return plan_path(request, now)
        except NotPossible:
            if now.network is self._network:
                raise
        return plan_path(request, replace(now, network=self._network))

    def _situation(self) -> Situation:
        """What plans are made on: the part of the fabric whose switches can take rules now."""
        links = {k: v for k, v in self._network.links.items() if k[0] in self._ready and k[2] in self._ready}
        network = self._network if len(links) == len(self._network.links) else replace(self._network, links=links)
        loads = {key: self._port_mbps.get(link.source, 0.0) for key, link in links.items()}
        return Situation(network, self._directory, self._resources, loads)

    # -- establish ------------------------------------------------------------------------------------------

    def _create(self, request: StitchRequest, path: StitchPath) -> Stitch:
        now_s = self._clock()
        stitch = Stitch(self._store.next_stitch_id(), request, State.REQUESTED, now_s, now_s)
        self._reserve(stitch, path)
        try:
            self._put(stitch)
        except Exception:
            self._resources.release(stitch.id)
            raise
        self._establish(stitch, path)
        return self._stitches[stitch.id]

    def _reserve(self, stitch: Stitch, path: StitchPath) -> None:
        keys = links_to_reserve(stitch.request, path)
        if not keys:
            return  # both hosts are on one switch
        for key in keys:
            if key not in self._network.links:
                # Remembered from before a restart: the link will say what it carries when it is found again.
                promised = sum(
                    other.request.bandwidth_mbps
                    for other in self._stitches.values()
                    if other.path is not None and key in links_to_reserve(other.request, other.path)
                )
                self._resources.set_capacity(key, promised + stitch.request.bandwidth_mbps)
        self._resources.reserve(stitch.id, keys, stitch.request.bandwidth_mbps)

    def _establish(self, stitch: Stitch, path: StitchPath) -> None:
        epoch = (stitch.epoch + 1) & 0xFFFF
        stitch = replace(stitch, path=path, epoch=epoch).to(State.ESTABLISHING, self._clock())
        self._put(stitch)
        self._install(stitch, establish_stages(stitch), establish_pause_s(stitch, self._network))

    def _install(self, stitch: Stitch, stages: tuple[Stage, ...], pause_s: float) -> None:
        self._establishing[stitch.id] = ticket = next(self._tickets)
        self.publish(ApplyStages(_owner(stitch.id), stages, stitch_rules(stitch), ticket=ticket, pause_s=pause_s))

    @handles(StagesApplied)
    def on_applied(self, event: StagesApplied) -> None:
        """Rules are in place, or gone, or a switch refused them."""
        removal = self._removals.pop(event.ticket, None)
        if removal is not None:
            if event.error is not None:
                # A switch is away: it gives the rules up when it comes back, as nobody wants them any more.
                self.publish(WantRules(event.owner, {}))
            self._removed(self._stitches[removal.stitch_id], removal)
            return
        stitch = self._stitches.get(_number(event.owner))
        if stitch is None or self._establishing.get(stitch.id) != event.ticket:
            return
        del self._establishing[stitch.id]
        before = self._adjusting.pop(stitch.id, None)
        if event.error is None:
            self._watch(stitch)
            self._send_probes()
        elif before is not None:
            self._keep_path(stitch, before, event.error)
        else:
            self._end(stitch, State.FAILED, event.error)

    def _watch(self, stitch: Stitch) -> None:
        self._watches[stitch.id] = Watch.over(
            len(stitch.request.directions), self._monotonic(), stitch.request.max_latency_ms
        )

    # -- probes ---------------------------------------------------------------------------------------------

    @handles(Tick)
    def on_tick(self, tick: Tick) -> None:
        """Send the probes that are due, or try again what failed."""
        if tick.name == "probe":
            self._send_probes()
        else:
            self._retry()
            self._forget_ended()

    def _send_probes(self) -> None:
        now_s = self._monotonic()
        for number, watch in list(self._watches.items()):
            stitch = self._stitches[number]
            path = self._path(stitch)
            ends = (path.hops[0].dpid, path.hops[-1].dpid)
            if not self._ready.issuperset(ends):
                watch.skip(now_s)
                if stitch.state in _ON_THE_MOVE and self._clock() - stitch.changed_s > AWAY_S:
                    self._remove(stitch, State.FAILED, "a switch at its end is away")
                continue
            for direction in watch.due(now_s):
                probe = StitchProbe(stitch.id, stitch.epoch, direction, now_s)
                frame = self._prober.frame(probe, *stitch.request.directions[direction])
                out = wire.packet_out(frame, in_port=PORT_CONTROLLER, out_ports=(_PORT_TABLE,))
                self._datapaths[ends[direction]].send(out)
            self._judge(stitch, watch, now_s)

    @handles(ofp_event.EventOFPPacketIn, states=(MAIN_DISPATCHER,))
    def on_packet(self, event: Any) -> None:
        """A probe came out at the far end of a stitch."""
        message = event.msg
        probe = self._prober.read(bytes(message.data))
        if probe is None:
            return
        stitch, watch = self._stitches.get(probe.stitch_id), self._watches.get(probe.stitch_id)
        if stitch is None or watch is None or stitch.path is None or stitch.epoch != probe.epoch:
            return
        ends = (stitch.path.hops[0].dpid, stitch.path.hops[-1].dpid)
        if message.datapath.id != ends[1 - probe.direction]:
            return
        flight_s = message.received_s - probe.sent_s
        for end in ends:
            flight_s -= (self._datapaths[end].rtt_s or 0.0) / 2 if end in self._datapaths else 0.0
        watch.heard(probe.direction, max(0.0, flight_s) * 1e3)
        self._judge(stitch, watch, self._monotonic())

    def _judge(self, stitch: Stitch, watch: Watch, now_s: float) -> None:
        """Let the probes decide the state."""
        making = stitch.state in (State.ESTABLISHING, State.ADJUSTING)
        if making and watch.proven:
            self._put(stitch.to(State.UP, self._clock()))
        elif making and watch.unproven_for_s(now_s) > PROVE_WITHIN_S:
            self._remove(stitch, State.FAILED, f"no probe came through within {PROVE_WITHIN_S:g} s")
        elif stitch.state in (State.UP, State.DEGRADED) and (
            watch.lost or watch.unproven_for_s(now_s) > PROVE_WITHIN_S
        ):
            self._bring_down(stitch, "probes no longer come through")
        elif stitch.state is State.UP and watch.slow:
            reason = f"latency {watch.latency_ms:.3g} ms is above {stitch.request.max_latency_ms:g} ms"
            self._put(stitch.to(State.DEGRADED, self._clock(), reason=reason))
        elif stitch.state is State.DEGRADED and not watch.slow:
            self._put(stitch.to(State.UP, self._clock()))

    # -- adjust and take away -------------------------------------------------------------------------------

    def _reroute(self, stitch: Stitch, path: StitchPath, bandwidth_mbps: float) -> None:
        """Move a stitch to another path without a gap: the old rules go when the new ones carry."""
        if stitch.state not in (State.UP, State.DEGRADED):
            return
        request = replace(stitch.request, bandwidth_mbps=bandwidth_mbps)
        after = replace(stitch, request=request, path=path, epoch=(stitch.epoch + 1) & 0xFFFF)
        self._resources.release(stitch.id)
        try:
            self._resources.reserve(stitch.id, links_to_reserve(request, path), bandwidth_mbps)
        except Oversubscribed as error:
            self._reserve(stitch, self._path(stitch))
            self.log.info("stitch=%d not_rerouted=%s", stitch.id, error)
            return
        self._watches.pop(stitch.id, None)
        self._adjusting[stitch.id] = stitch
        after = self._put(after.to(State.ADJUSTING, self._clock()))
        self._install(after, reroute_stages(stitch, after), establish_pause_s(after, self._network))

    def _keep_path(self, stitch: Stitch, before: Stitch, reason: str) -> None:
        """The new path was refused and its rules are taken back: the stitch is where it was."""
        self._resources.release(stitch.id)
        try:
            self._reserve(before, self._path(before))
        except Oversubscribed as error:
            self._remove(self._put(replace(before, state=stitch.state)), State.FAILED, f"{reason}; {error}")
            return
        stitch = self._put(replace(before, state=stitch.state).to(before.state, self._clock(), reason=reason))
        self._watch(stitch)

    def _resize(self, stitch: Stitch, bandwidth_mbps: float) -> None:
        """Promise another bandwidth on the path there is; no rule changes."""
        try:
            if self._path(stitch).links:
                self._resources.resize(stitch.id, bandwidth_mbps)
        except Oversubscribed as error:
            self.log.info("stitch=%d not_resized=%s", stitch.id, error)
            return
        self._put(replace(stitch, request=replace(stitch.request, bandwidth_mbps=bandwidth_mbps)))

    @staticmethod
    def _path(stitch: Stitch) -> StitchPath:
        if stitch.path is None:
            raise ValueError(f"stitch {stitch.id} in state {stitch.state} has no path")
        return stitch.path

    def _bring_down(self, stitch: Stitch, reason: str) -> None:
        """The path does not carry any more: take the rules out, so that the shortest way does; then try again."""
        if stitch.state in (State.UP, State.DEGRADED):
            stitch = self._put(stitch.to(State.DOWN, self._clock(), reason=reason))
        self._remove(stitch, State.FAILED, reason)

    def _terminate(self, stitch: Stitch, reason: str) -> None:
        held = stitch.path is not None and stitch.state is not State.FAILED
        stitch = self._put(stitch.to(State.TERMINATING, self._clock(), reason=reason))
        if held:
            self._remove(stitch, State.TERMINATED, reason)
        else:
            self._end(stitch, State.TERMINATED, reason)

    def _remove(self, stitch: Stitch, then: State, reason: str | None) -> None:
        """Take the rules out, near end first; the stitch moves on when they are gone."""
        self._watches.pop(stitch.id, None)
        self._establishing.pop(stitch.id, None)
        before = self._adjusting.pop(stitch.id, None)
        stages = remove_stages(stitch)
        if before is not None:
            # Halfway from one path to another: both may have rules.
            stages += remove_stages(before)
        self._removals = {t: r for t, r in self._removals.items() if r.stitch_id != stitch.id}
        ticket = next(self._tickets)
        self._removals[ticket] = _Removal(stitch.id, then, reason)
        pause_s = remove_pause_s(stitch, self._network)
        self.publish(ApplyStages(_owner(stitch.id), stages, {}, ticket=ticket, pause_s=pause_s))

    def _removed(self, stitch: Stitch, removal: _Removal) -> None:
        self._end(stitch, removal.then, removal.reason)

    def _end(self, stitch: Stitch, state: State, reason: str | None) -> None:
        """The rules of a stitch are gone: free what it held; one of the trigger's own is not tried again."""
        self._resources.release(stitch.id)
        self._watches.pop(stitch.id, None)
        stitch = self._put(replace(stitch, path=None).to(state, self._clock(), reason=reason))
        if state is State.FAILED:
            self._retry_at_s[stitch.id] = self._monotonic() + RETRY_S
            if stitch.request.origin == ORIGIN:
                self._terminate(stitch, reason or "failed")

    def _retry(self) -> None:
        now_s = self._monotonic()
        for stitch in list(self._stitches.values()):
            if stitch.state is not State.FAILED or now_s < self._retry_at_s.get(stitch.id, 0.0):
                continue
            self._retry_at_s[stitch.id] = now_s + RETRY_S
            try:
                path = self._plan_path(stitch.request)
            except NotPossible as error:
                if stitch.reason != str(error):
                    self._put(replace(stitch, reason=str(error)))
                continue
            if not all(hop.dpid in self._ready for hop in path.hops):
                continue
            self._reserve(stitch, path)
            self._establish(self._put(stitch.to(State.REQUESTED, self._clock())), path)

    def _forget_ended(self) -> None:
        before_s = self._clock() - REMEMBER_S
        old = [s.id for s in self._stitches.values() if s.state in ENDED and s.changed_s < before_s]
        if old:
            self._store.forget_stitches(before_s)
            for number in old:
                del self._stitches[number]

    # -- the trigger ----------------------------------------------------------------------------------------

    @handles(OutlookReady)
    def on_outlook(self, event: OutlookReady) -> None:
        """Stitch before the traffic arrives, and let go when it has passed."""
        self._outlook = outlook = event.outlook
        active = tuple(s for s in self._stitches.values() if s.state not in ENDED)
        settled = not any(s.state in _ON_THE_MOVE for s in active)
        carrying = frozenset(s.id for s in active if s.state in CARRYING)
        # A forecast made before the last change took effect would have it made twice.
        if self._trigger is None or not settled or outlook.stitch_ids != carrying:
            return
        decisions = self._trigger.decide(
            outlook.time_s,
            links=outlook.link_keys,
            link_forecast=outlook.links,
            pairs=outlook.pairs,
            demand_forecast=outlook.demands,
            routes=default_routes(self._network, self._directory),
            stitches=active,
            situation=self._situation(),
        )
        for decision in decisions:
            self._carry_out(decision)

    def _carry_out(self, decision: Decision) -> None:
        self.log.info("decision=%s", decision)
        match decision:
            case Establish(request, path):
                try:
                    self._create(request, path)
                except Oversubscribed as error:
                    self.log.info("not_made=%s", error)
            case Reroute(stitch_id, bandwidth_mbps, path):
                self._reroute(self._stitches[stitch_id], path, bandwidth_mbps)
            case Resize(stitch_id, bandwidth_mbps):
                self._resize(self._stitches[stitch_id], bandwidth_mbps)
            case Release(stitch_id):
                self._terminate(self._stitches[stitch_id], "no longer needed")

    # -- store, then tell -----------------------------------------------------------------------------------

    def _put(self, stitch: Stitch) -> Stitch:
        """Store a stitch as it is now, then act on it and tell the others."""
        before = self._stitches.get(stitch.id)
        self._store.save_stitch(stitch)
        self._stitches[stitch.id] = stitch
        if before is None or before.state is not stitch.state:
            self.log.info(
                "stitch=%d state=%s was=%s reason=%s",
                stitch.id,
                stitch.state,
                before.state if before is not None else None,
                stitch.reason,
            )
        self._announce()
        return stitch

    def _announce(self) -> None:
        self.publish(StitchesChanged(tuple(s for s in self._stitches.values() if s.state not in ENDED)))


def _owner(stitch_id: int) -> str:
    return f"stitch:{stitch_id}"


def _number(owner: str) -> int:
    kind, _, number = owner.partition(":")
    return int(number) if kind == "stitch" else 0
