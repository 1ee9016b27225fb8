"""Keeps the routes of a node on living tunnels, with no controller.

The prober says what changed, failover says what moves, and the kernel is told, all from one thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vte_agent.failover import Failover, Move, RouteKey, keys_of
from vte_agent.probing.priority import run_ahead
from vte_agent.probing.prober import Prober
from vte_agent.probing.sockets import ProbeFailed
from vte_agent.probing.tunnel_probes import TunnelHealth
from vte_agent.protocol.base import Prefix
from vte_agent.protocol.has import RouteReport
from vte_agent.protocol.wanted import WantedRoute
from vte_agent.route_tables import TABLE, Address, UplinkWay, Ways
from vte_agent.routing import Router, loosen

LOOK_EVERY_S = 1.0
"""How often what no probe tells is looked at: hold-downs that are over, routes that left with their device."""

_log = logging.getLogger(__name__)

OnMove = Callable[[Sequence[Move]], None]


@dataclass(frozen=True)
class Steered:
    """What is wanted: routes, numbers of classes by name, the device of each tunnel by name, what `Ways` has.

    guarded: prefixes that go nowhere where they are not wanted over tunnels any more. is_known False: it is not
    known which routes are wanted; those that there are stay, and guards and ways out by uplinks are added to them.
    """

    routes: tuple[WantedRoute, ...] = ()
    classes: Mapping[str, int] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
    local: tuple[Prefix, ...] = ()
    sources: tuple[Address, ...] = ()
    uplinks: tuple[UplinkWay, ...] = ()
    guarded: frozenset[Prefix] = frozenset()
    is_known: bool = True


class Steering:
    """Routes follow tunnels. `start` after what an earlier run left was wanted again, so that it is taken over.

    on_move is called in this thread after the kernel was told. The prober's on_change has to be `changed`.
    """

    def __init__(self, on_move: OnMove | None = None) -> None:
        self._on_move = on_move
        self._lock = threading.Condition()
        self._fresh: dict[str, TunnelHealth] = {}
        self._steered: Steered | None = None
        self._stopping = False
        self._prober: Prober | None = None
        self._problems: tuple[str, ...] = ()
        self._reports: tuple[RouteReport, ...] = ()
        self._led_out: tuple[UplinkWay, ...] | None = None
        # From here on only its own thread.
        self._guarded: set[Prefix] = set()
        self._now = Steered()
        self._failover: Failover | None = None
        self._healths: dict[str, TunnelHealth] = {}
        self._look_s = 0.0
        self._troubles: tuple[str, ...] = ()
        self._thread = threading.Thread(target=self._run, name="steering", daemon=True)

    def start(self, prober: Prober) -> None:
        """Begin; to be called once, with the prober started."""
        self._prober = prober
        self._thread.start()

    def stop(self) -> None:
        """End the thread and take all routes and rules of ours away."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def want(self, steered: Steered) -> None:
        """These routes and no others, from now on."""
        with self._lock:
            self._steered = steered
            self._lock.notify_all()

    def leads_out(self, uplinks: tuple[UplinkWay, ...], within_s: float) -> bool:
        """Wait until the kernel was told of the ways out by these uplinks, once they are wanted; whether it was.

        What a tunnel sends before that leaves by any uplink, and its other end answers to where it came from.
        """
        with self._lock:
            return self._lock.wait_for(lambda: self._led_out == uplinks or self._stopping, within_s)

    def changed(self, healths: Mapping[str, TunnelHealth]) -> None:
        """Tunnels do otherwise than they did; returns at once."""
        with self._lock:
            self._fresh.update(healths)
            self._lock.notify_all()

    def report(self) -> tuple[tuple[RouteReport, ...], tuple[str, ...]]:
        """The routes as they are, and what could not be told to the kernel."""
        with self._lock:
            return self._reports, self._problems

    def _run(self) -> None:
        run_ahead()
        with Router() as router:
            self._follow(router)
            for problem in router.clear():
                _log.warning("left_behind=%r", problem)

    def _follow(self, router: Router) -> None:
        while True:
            with self._lock:
                wait_s = self._look_s - time.monotonic()
                if not (self._stopping or self._steered or self._fresh) and wait_s > 0:
                    self._lock.wait(wait_s)
                if self._stopping:
                    return
                wanted, self._steered = self._steered, None
                fresh, self._fresh = self._fresh, {}
            try:
                self._turn(router, wanted, fresh)
            except Exception:  # noqa: BLE001  # routes are as they are, and the next turn begins from there
                _log.exception("a turn failed")

    def _turn(self, router: Router, wanted: Steered | None, fresh: Mapping[str, TunnelHealth]) -> None:
        if wanted is not None:
            self._now = wanted
        if wanted is not None and wanted.is_known:
            self._failover = self._failover or Failover(found_ways(router.devices(), wanted))
            self._failover.want(wanted.routes)
        if self._led_out != self._now.uplinks:
            self._lead_out(router, self._now)
        self._healths.update(fresh)
        if (looks := time.monotonic() >= self._look_s) or wanted is not None:
            self._look_s = time.monotonic() + LOOK_EVERY_S
            self._look()
        if looks:
            router.refresh()
        if self._failover is not None:
            self._move(router, self._failover)
        elif looks or wanted is not None:
            self._keep(router)

    def _lead_out(self, router: Router, wanted: Steered) -> None:
        """Before anything is asked or looked at; what cannot be done is said when all of it is looked at."""
        router.add(known_ways((), wanted))
        with self._lock:
            self._led_out = wanted.uplinks
            self._lock.notify_all()

    def _look(self) -> None:
        """What nobody tells; where the prober does not answer tunnels do as they did when last heard of."""
        assert self._prober is not None
        troubles = list(loosen(self._now.devices.values()))
        try:
            self._healths = dict(self._prober.health())
        except ProbeFailed as error:
            troubles.append(str(error))
        self._troubles = tuple(troubles)

    def _keep(self, router: Router) -> None:
        """What an earlier run left stays, as nobody knows better; what it guarded is guarded, kept or not."""
        problems = (*self._troubles, *router.add(known_ways(self._no_longer_wanted((), self._now), self._now)))
        with self._lock:
            self._problems = problems

    def _move(self, router: Router, failover: Failover) -> None:
        steered, healths = self._now, self._healths
        moves = failover.step(time.monotonic(), healths)
        taken = failover.taken()
        ways = ways_of(taken, self._no_longer_wanted(taken, steered), steered)
        problems = (*self._troubles, *router.apply(ways))
        with self._lock:
            self._reports, self._problems = failover.report(), problems
        for move in moves:
            prefix, class_name = move.key
            _log.info("route=%s class=%s tunnel=%s why=%r", prefix, class_name, move.to, move.why)
        for problem in problems:
            _log.warning("problem=%r", problem)
        if moves and self._on_move:
            self._on_move(moves)
        assert self._prober is not None
        with contextlib.suppress(ProbeFailed):
            self._prober.need(failover.needs(healths))

    def _no_longer_wanted(self, wanted: Iterable[RouteKey], steered: Steered) -> set[Prefix]:
        """Prefixes that went over tunnels and do not any more, as when their site is revoked.

        From then on they go nowhere: who still sends there is not to send unencrypted.
        """
        now = {prefix for prefix, _ in wanted}
        self._guarded |= now | steered.guarded
        return self._guarded - now - set(steered.local)


def ways_of(taken: Mapping[RouteKey, str | None], unwanted: Iterable[Prefix], steered: Steered) -> Ways:
    """Where packets go, by the tunnel that each route takes; what is wanted over tunnels no more goes nowhere."""
    devices = {key: steered.devices.get(name or "") for key, name in taken.items()}
    devices |= {(prefix, None): None for prefix in unwanted}
    return Ways(devices, steered.classes, steered.local, steered.sources, steered.uplinks)


def known_ways(prefixes: Iterable[Prefix], steered: Steered) -> Ways:
    """Where it is not known which routes are wanted: what goes nowhere, and the ways out by the uplinks."""
    return Ways({(prefix, None): None for prefix in prefixes}, {}, steered.local, uplinks=steered.uplinks)


def found_ways(found: Mapping[tuple[int, Prefix], str], steered: Steered) -> Mapping[RouteKey, str]:
    """Which tunnel each route took when an earlier run ended: `found` are devices by table and prefix."""
    tunnels = {device: name for name, device in steered.devices.items()}
    taken = {}
    for route in steered.routes:
        number = 0 if route.class_name is None else steered.classes.get(route.class_name, 0)
        for key in keys_of(route):
            if name := tunnels.get(found.get((TABLE + number, key[0]), "")):
                taken[key] = name
    return taken
