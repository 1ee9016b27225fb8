"""What the agent does to its node: tunnels, probes, routes, marks and filters, from one thread of its own.

The thread makes it so by difference, looks again each second, and needs nobody for it: what is wanted is given to
it once, and holds until something else is.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from vte_agent.believing import Believed
from vte_agent.believing import Standing as RollStanding
from vte_agent.bridging.keeper import Bridging
from vte_agent.class_marks import class_marks
from vte_agent.cleaning import clear_tables, take_down
from vte_agent.cutting import Cutting
from vte_agent.filtering import Filtering
from vte_agent.fitting import Fitting
from vte_agent.goals import SecretOf, goals_of
from vte_agent.marks import UPLINKS, outer_mark
from vte_agent.probing.prober import Prober
from vte_agent.probing.session import Direction
from vte_agent.probing.sockets import ProbeFailed
from vte_agent.probing.tunnel_probes import ProbedTunnel, TunnelHealth
from vte_agent.protocol.base import Prefix
from vte_agent.protocol.filters import RuleCount
from vte_agent.protocol.has import BridgeReport, LinkReport
from vte_agent.protocol.members import Member
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Address, Liveness, Wanted
from vte_agent.route_tables import UplinkWay
from vte_agent.steering import Steered, Steering
from vte_agent.tunnels.contract import LocalEnd, Reading, TunnelFailed, Tunnels
from vte_agent.tunnels.devices import device_name
from vte_agent.upkeep import Connect, Create, Delete, Failure, Standing, Step, Upkeep, Use
from vte_agent.uplinks import UplinkNow, Uplinks

LOOK_EVERY_S, LOOK_SOON_S = 1.0, 0.25
"""How often everything is looked at, and how often while a tunnel has had no handshake yet."""

LAST_WORD_S = 10.0
"""Where the prober does not answer, tunnels do for so long as it said last: it is started again meanwhile."""

_LED_OUT_WITHIN_S = 2.0

_log = logging.getLogger("vte_agent.hands")


@dataclass(frozen=True)
class Snapshot:
    """All there is on the node, at one moment."""

    generation: int = 0
    standing: Mapping[str, Standing] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)
    healths: Mapping[str, TunnelHealth] = field(default_factory=dict)
    uplinks: tuple[UplinkNow, ...] = ()
    timer_late_s: float = 0.0
    problems: tuple[str, ...] = ()
    filters: tuple[RuleCount, ...] = ()
    mtus: Mapping[str, int] = field(default_factory=dict)
    bridge: BridgeReport | None = None
    links: tuple[LinkReport, ...] = ()
    is_looked: bool = True
    """Whether there was a round; before the first one nothing is known of the node."""


class Hands:
    """Started once; `want` may be called from any thread. on_news is called from the thread of this."""

    def __init__(
        self,
        own: Member,
        uplinks: Uplinks,
        transports: Mapping[Transport, Tunnels],
        secret_of: SecretOf,
        prober: Prober,
        steering: Steering,
        bridging: Bridging,
        cut: Callable[[str], object],
        on_news: Callable[[], None] = lambda: None,
    ) -> None:
        self._own = own
        self._uplinks = uplinks
        self._transports = transports
        self._secret_of = secret_of
        self._prober = prober
        self._steering = steering
        self._on_news = on_news
        self._marks = class_marks()
        self._upkeep = Upkeep()
        self._cutting = Cutting(cut)
        self._fitting = Fitting(prober, transports)
        self._probed: dict[str, ProbedTunnel] = {}
        self._healths: Mapping[str, TunnelHealth] = {}
        self._asked_s = float("-inf")
        self._steered: Steered | None = None
        self._has_taken_over = False
        """Whether all that an earlier run left was wanted again: until then its routes stay, guards are added."""
        self._filtering = Filtering()
        self._bridging = bridging
        self._trouble: dict[str, str] = {}
        self._lock = threading.Condition()
        self._believed: Believed | None = None
        self._latest: Believed | None = None
        self._stopping = False
        self._snapshot = Snapshot(is_looked=False)
        self._thread = threading.Thread(target=self._run, name="hands", daemon=True)

    def start(self) -> None:
        """Begin, with the prober started."""
        self._cutting.start()
        self._thread.start()

    def want(self, believed: Believed) -> None:
        """From now on this is what is wanted."""
        with self._lock:
            if believed != self._latest:
                self._believed = self._latest = believed
                self._lock.notify()
        if believed.names_all:
            self._cutting.judge(believed.peers)

    def poke(self) -> None:
        """Something has changed that may let a step be done."""
        with self._lock:
            self._lock.notify()

    @property
    def snapshot(self) -> Snapshot:
        """What there was at the end of the last round."""
        with self._lock:
            return self._snapshot

    def stop(self, *, keep: bool) -> None:
        """End the thread. Without `keep` nothing of ours is left on the node."""
        with self._lock:
            self._stopping = True
            self._lock.notify()
        if self._thread.ident is not None:
            self._thread.join()
        self._cutting.stop()
        if keep:
            return
        problems = list(self._bridging.clear())
        for name in list(self._probed):
            self._stop_probing(name)
        problems += take_down(self._transports)[1]
        # With them what comes by tunnels would leave in the clear: routes go when there are no tunnels any more.
        self._steering.stop()
        for problem in (*problems, *clear_tables()):
            _log.warning("left_behind=%r", problem)

    def _run(self) -> None:
        try:
            self._go_on()
        finally:
            # By the thread that has asked the kernel.
            for one in (self._marks, self._filtering, self._fitting, self._bridging):
                one.close()

    def _go_on(self) -> None:
        believed: Believed | None = None
        look_s = 0.0
        while True:
            with self._lock:
                if self._believed is None and not self._stopping:
                    self._lock.wait(max(0.0, look_s - time.monotonic()))
                if self._stopping:
                    return
                believed, self._believed = self._believed or believed, None
            look_s = time.monotonic() + (LOOK_SOON_S if self._is_calling() else LOOK_EVERY_S)
            if believed is None:
                continue
            try:
                self._round(believed)
            except Exception as error:  # noqa: BLE001  # the node goes on as it is, the next round begins there
                _log.exception("a round failed")
                self._say_failed(believed, error)

    def _say_failed(self, believed: Believed, error: Exception) -> None:
        why = f"not all that is wanted is looked after ({type(error).__name__}); the agent's log says more"
        with self._lock:
            self._snapshot = replace(self._snapshot, problems=(*believed.problems, *self._trouble.values(), why))
        self._on_news()

    def _has_news(self) -> bool:
        with self._lock:
            return self._stopping or self._believed is not None

    def _is_calling(self) -> bool:
        """Whether a tunnel is connected and has had no handshake: ends call again when they are read."""
        readings = self._snapshot.readings
        return any(
            there.peer is not None
            and (reading := readings.get(there.goal.spec.device)) is not None
            and reading.handshake_age_s is None
            for there in self._upkeep.standing.values()
        )

    def _round(self, believed: Believed) -> None:
        """Look at what there is, do what can be done, and say how things are."""
        uplinks, problems = self._uplinks.read()
        usable = {transport for transport, tunnels in self._transports.items() if not tunnels.missing()}
        wished = goals_of(believed, self._own, uplinks, usable, self._secret_of)
        self._upkeep.want(wished.goals, set(believed.peers), time.monotonic())
        # Who is out is out, before anything is asked: it may be seconds until that is known not to answer.
        self._remove_forbidden(believed)
        readings = self._read()
        self._remove_strangers(believed)
        healths, late_s = self._ask_prober()
        wanted = believed.wanted if believed.is_known else None
        if wanted is not None:
            self._filtering.want(wanted.filters, time.monotonic())
        # Before tunnels: what keeps inside them what came by one has to be there, and what keeps from other ways.
        self._join(believed)
        self._lead_out(believed, uplinks)
        all_tried = True
        for _ in range(3 if self._filtering.holds else 0):
            # What is done lets other things be done: a tunnel that was made is connected in the same round.
            steps = self._steps(healths)
            all_tried = self._do(steps, believed)
            if not steps or not all_tried:
                break
        self._has_taken_over |= all_tried and believed.is_known
        self._fitting.follow(
            self._upkeep.standing,
            healths,
            {one.name for one in believed.tunnels if one.mtu is not None},
            time.monotonic(),
        )
        self._steer(believed, uplinks)
        if wanted is not None:
            self._marks.want(wanted.classes or None, time.monotonic())
        said = (
            *believed.problems,
            *problems,
            *wished.problems,
            *self._steering.report()[1],
            *self._trouble.values(),
            *self._filtering.problems,
            *self._marks.problems,
            *self._fitting.problems,
            *self._bridging.problems,
        )
        with self._lock:
            self._snapshot = Snapshot(
                believed.generation,
                dict(self._upkeep.standing),
                dict(self._upkeep.failures),
                readings,
                healths,
                uplinks,
                late_s,
                said,
                self._filtering.counts(time.monotonic()),
                dict(self._fitting.known),
                self._bridging.bridge,
                self._bridging.links,
            )
        self._on_news()

    def _ask_prober(self) -> tuple[Mapping[str, TunnelHealth], float]:
        try:
            answer = self._prober.health(), self._prober.take_worst_late_s()
        except ProbeFailed as error:
            self._trouble["prober"] = str(error)
            return self._healths if time.monotonic() - self._asked_s < LAST_WORD_S else {}, 0.0
        self._trouble.pop("prober", None)
        self._healths, self._asked_s = answer[0], time.monotonic()
        self._probe_again(self._probed.keys() - self._healths.keys())
        return answer

    def _probe_again(self, names: Set[str]) -> None:
        """What the prober has, when it was started again, not been able to take up."""
        why = {}
        for name in sorted(names):
            try:
                self._prober.add(self._probed[name])
            except ProbeFailed as error:
                why[name] = str(error)
        self._trouble.pop("probes", None)
        if why:
            first = next(iter(why))
            self._trouble["probes"] = f"not probed: {len(why)} tunnels, of which {first}: {why[first]}"

    def _read(self) -> dict[str, Reading]:
        """What transports say of their tunnels; what has gone is made anew."""
        readings: dict[str, Reading] = {}
        for transport, tunnels in self._transports.items():
            found: Mapping[str, Reading] | None = None
            with self._named(f"{transport.value} tunnels"):
                found = tunnels.read()
            if found is None:
                continue
            readings.update(found)
            for name, there in list(self._upkeep.standing.items()):
                if there.goal.transport is transport and there.goal.spec.device not in found:
                    _log.warning("tunnel=%s device=%s is gone", name, there.goal.spec.device)
                    self._stop_probing(name)
                    self._upkeep.lost(name)
        return readings

    @contextlib.contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """What goes wrong with one thing is a problem of its own, and keeps nothing else from its turn."""
        try:
            yield
        except (TunnelFailed, OSError) as error:
            self._trouble[what] = f"{what}: {error}"
        else:
            self._trouble.pop(what, None)

    def _remove_forbidden(self, believed: Believed) -> None:
        """Delete what leads to whom is no member any more; it may have been cut already."""
        there = {one.goal.spec.device: one.goal for one in self._upkeep.standing.values()}
        goals = {goal.spec.device: goal for goal in self._upkeep.goals.values()}
        cut = self._cutting.take()
        self._upkeep.cut({goal.spec.name for device, goal in there.items() if device in cut})
        self._cutting.watch({device: goal.serial for device, goal in (goals | there).items()})
        self._do(self._upkeep.forbidden(time.monotonic()), believed)

    def _remove_strangers(self, believed: Believed) -> None:
        """Delete devices of ours that an earlier run left and nobody wants, as far as that is known."""
        kept = {there.goal.spec.device for there in self._upkeep.standing.values()}
        kept |= {goal.spec.device for goal in self._upkeep.goals.values()}
        banned = {device_name(name, f"{self._own.serial}") for name in believed.banned}
        for transport, tunnels in self._transports.items():
            if believed.names_all:
                # Also of those that cannot be made now, as their uplink is gone.
                tunnels.keep_only(
                    kept | {device_name(one.name, f"{self._own.serial}") for one in believed.tunnels}
                )
            found: set[str] = set()
            with self._named(f"left {transport.value} tunnels"):
                found = set(tunnels.found())
            for device in (found if believed.names_all else found & banned) - kept:
                try:
                    tunnels.delete(device)
                except TunnelFailed as error:
                    _log.warning("left_behind=%r", f"{device}: {error}")

    def _steps(self, healths: Mapping[str, TunnelHealth]) -> list[Step]:
        ours = {route.tunnel for route in self._steering.report()[0] if route.tunnel is not None}
        theirs = {name for name in self._probed if _may_be_used(healths.get(name))}
        return self._upkeep.steps(Use(frozenset(ours), frozenset(theirs)), time.monotonic())

    def _do(self, steps: Sequence[Step], believed: Believed) -> bool:
        """Whether all were tried: where news wait, what is left is done by what is believed then."""
        liveness = {tunnel.name: tunnel.liveness for tunnel in believed.tunnels}
        for step in steps:
            try:
                self._upkeep.done(step, self._carry_out(step, liveness))
            except (TunnelFailed, ProbeFailed) as error:
                _log.warning("step=%s failed: %s", type(step).__name__, error)
                self._upkeep.failed(step, str(error), time.monotonic())
            if self._has_news():
                return False
        return True

    def _carry_out(self, step: Step, liveness: Mapping[str, Liveness]) -> LocalEnd | None:
        match step:
            case Create(goal):
                return self._transports[goal.transport].create(goal.spec)
            case Connect(goal, peer):
                self._transports[goal.transport].connect(goal.spec, peer)
                spec = goal.spec
                probed = ProbedTunnel(
                    spec.name,
                    spec.device,
                    spec.address,
                    spec.peer_address,
                    goal.serial,
                    liveness[spec.name],
                    far_link=self._transports[goal.transport].far_link(spec),
                )
                if self._probed.get(spec.name) != probed:
                    self._prober.add(probed)
                    self._probed[spec.name] = probed
            case Delete(device, name, transport):
                # First of all: the prober may not answer.
                self._transports[transport].delete(device)
                self._stop_probing(name)
                _log.info("tunnel=%s device=%s deleted", name, device)
        return None

    def _stop_probing(self, name: str) -> None:
        self._fitting.forget(name)
        if self._probed.pop(name, None) is not None:
            with contextlib.suppress(ProbeFailed):
                self._prober.remove(name)

    def _lead_out(self, believed: Believed, uplinks: tuple[UplinkNow, ...]) -> None:
        """The ways out by the uplinks come before what leaves by them; the routes follow the tunnels."""
        ways = self._ways_out(uplinks)
        if self._steered is None or not self._has_taken_over:
            self._steer(believed, uplinks)
        elif self._steered.uplinks != ways:
            self._steered = replace(self._steered, uplinks=ways)
            self._steering.want(self._steered)
        if not self._steering.leads_out(ways, _LED_OUT_WITHIN_S):
            _log.warning("uplinks=%d the kernel was not told of them in time", len(ways))

    def _ways_out(self, uplinks: tuple[UplinkNow, ...]) -> tuple[UplinkWay, ...]:
        """What a tunnel would send by an uplink that has gone leaves by no other, while the tunnel is there."""
        now = ways_by(uplinks)
        numbers = {one.number for one in now}
        marks = {there.goal.spec.mark for there in self._upkeep.standing.values()}
        before = self._steered.uplinks if self._steered is not None else ()
        gone = (one for one in before if one.number not in numbers and outer_mark(one.number) in marks)
        return (*now, *(replace(one, device=None, gateway=None, on_link=()) for one in gone))

    def _steer(self, believed: Believed, uplinks: tuple[UplinkNow, ...]) -> None:
        wanted = believed.wanted if believed.is_known and self._has_taken_over else None
        devices = {name: there.goal.spec.device for name, there in self._upkeep.standing.items() if there.peer}
        sources = self._uplinks.inside(self._own.prefixes)
        steered = steered_of(wanted, devices, self._own, sources, self._ways_out(uplinks), believed.guarded)
        if steered != self._steered:
            self._steered = steered
            self._steering.want(steered)

    def _join(self, believed: Believed) -> None:
        """Links to the bridges of others, but none for one who is no member."""
        wanted = believed.wanted.links if believed.wanted is not None and believed.is_known else None
        if believed.standing is RollStanding.OUT:
            wanted = ()
        self._bridging.want(wanted, time.monotonic())


def steered_of(
    wanted: Wanted | None,
    devices: Mapping[str, str],
    own: Member,
    sources: tuple[Address, ...],
    uplinks: tuple[UplinkWay, ...],
    guarded: frozenset[Prefix],
) -> Steered:
    """What routes are to follow; wanted None: it is not known which there are to be."""
    return Steered(
        routes=wanted.routes if wanted is not None else (),
        classes={one.name: one.number for one in wanted.classes} if wanted is not None else {},
        devices=devices,
        local=own.prefixes,
        sources=sources,
        uplinks=uplinks,
        guarded=guarded,
        is_known=wanted is not None,
    )


def _may_be_used(health: TunnelHealth | None) -> bool:
    """Whether the other end says that its routes go over a tunnel, or may have no way to say so yet."""
    return health is None or health.alive.peer_uses or health.alive.hears is Direction.UNKNOWN


def ways_by(uplinks: Sequence[UplinkNow]) -> tuple[UplinkWay, ...]:
    """The ways out by uplinks that can be used; what is beyond the most that marks have room for has none."""
    return tuple(
        UplinkWay(one.number, one.device, one.address, one.gateway, one.on_link)
        for one in uplinks
        if one.number <= UPLINKS
    )
