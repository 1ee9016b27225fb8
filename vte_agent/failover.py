"""Which tunnel each route takes, and why. Pure: how tunnels do and what time it is come in as arguments.

Three kinds of moves:

- away from a dead way: at once, always;
- from a way that does badly to one that does well, or back to a better one: at most one of these a minute and
  route, back only after the better one has done well for a while, and twice as long each time it died again;
- what the controller has asked for (another order of tunnels, or a new tunnel that has come up): at once. Another
  order that takes it from or to a tunnel that has done badly counts as a move of the second kind, though: the
  controller sees the same swinging link as the agent, and both together must not swing with it.

Whatever happens a route goes over one of its own tunnels or nowhere. Where all die at once it stays for a moment;
where it must not stay, as the controller wants others, it goes to one that died only just now: an agent that
starts again leaves its tunnels as they are, and what comes through them meanwhile arrives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vte_agent.probing.session import Direction, Need
from vte_agent.probing.tunnel_probes import TunnelHealth
from vte_agent.protocol.base import Prefix
from vte_agent.protocol.has import RouteReport
from vte_agent.protocol.wanted import WantedRoute

QUALITY_MOVES_APART_S = 60.0
RETURN_AFTER_S = 30.0
LONGEST_RETURN_S = 600.0
SETTLED_S = 1.0
"""How long a tunnel that is new has to do well before a route leaves a living one for it."""

GRACE_S = 10.0
"""How long a tunnel that died is better than nothing."""

_FORGET_DEATHS_S = 600.0
_NOTHING_KNOWN = TunnelHealth()

RouteKey = tuple[Prefix, str | None]
"""Prefix and class: what tells two routes apart."""


@dataclass(frozen=True)
class Move:
    """A route takes another tunnel from now on. to None: none is alive, its packets go nowhere."""

    key: RouteKey
    to: str | None
    why: str


def keys_of(route: WantedRoute) -> Iterator[RouteKey]:
    """What the routes that are wanted in one are told from others by."""
    return ((prefix, route.class_name) for prefix in route.prefixes)


@dataclass
class _Way:
    """A tunnel as a way for one route. well_since_s None: it is not well now.

    carried_s: when it was alive last, or in use as it was found and too early to say.
    """

    well_since_s: float | None = None
    carried_s: float = float("-inf")
    came_s: float | None = None
    is_usable: bool = False
    is_bad: bool = False
    trouble: str = ""
    deaths_s: deque[float] = field(default_factory=deque)
    was_bad: bool = False

    @property
    def is_new(self) -> bool:
        """It has done nothing wrong yet."""
        return not self.deaths_s and not self.was_bad

    def see(self, usable: bool, bad: bool, trouble: str, now_s: float) -> None:
        if self.is_usable and not usable:
            self.deaths_s.append(now_s)
        while self.deaths_s and self.deaths_s[0] < now_s - _FORGET_DEATHS_S:
            self.deaths_s.popleft()
        self.was_bad |= bad
        if usable or self.is_usable:
            self.carried_s = now_s
        self.is_usable, self.is_bad, self.trouble = usable, bad, trouble
        if usable and self.came_s is None:
            self.came_s = now_s
        if not usable or bad:
            self.well_since_s = None
        elif self.well_since_s is None:
            self.well_since_s = now_s

    def has_settled(self, now_s: float) -> bool:
        """Whether it has been well for as long as it takes to be preferred to a living one."""
        if self.well_since_s is None:
            return False
        wait_s = min(LONGEST_RETURN_S, RETURN_AFTER_S * 2 ** max(0, min(10, len(self.deaths_s) - 1)))
        return now_s - self.well_since_s >= (SETTLED_S if self.is_new else wait_s)


_Grade = Callable[[_Way, TunnelHealth], bool]


class _Route:
    """One route: its ways, best first, and the one it takes."""

    def __init__(self, wanted: WantedRoute, taken: str | None) -> None:
        self.wanted = wanted
        self.taken = taken
        self.why = "as it was found" if taken else "no tunnel has answered yet"
        self.moves = 0
        self.ways: dict[str, _Way] = {name: _Way() for name in wanted.tunnels}
        self._was_ordered = False
        self._moved_s = float("-inf")
        self._chosen_s = float("-inf")

    def reorder(self, wanted: WantedRoute) -> None:
        """The controller wants it otherwise: what was learned of its tunnels is kept."""
        self._was_ordered |= wanted.tunnels != self.wanted.tunnels
        self.wanted = wanted
        self.ways = {name: self.ways.get(name) or _Way() for name in wanted.tunnels}

    def see(self, healths: Mapping[str, TunnelHealth], now_s: float) -> None:
        """Take in how the tunnels do."""
        for name, way in self.ways.items():
            health = healths.get(name, _NOTHING_KNOWN)
            alive = health.alive.heard is Direction.ALIVE
            way.see(alive, bool(health.bad), health.bad if alive else _trouble(health), now_s)

    def step(self, healths: Mapping[str, TunnelHealth], now_s: float) -> str | None:
        """Choose; returns why it moved, or None where it did not."""
        ways, taken = self.ways, self.taken
        now = ways.get(taken) if taken is not None else None
        if now is not None and not now.is_usable and not now.deaths_s and _is_early(healths, taken or ""):
            now.carried_s = now_s
            return None
        if taken is None or now is None or not now.is_usable:
            self._was_ordered = False
            return self._leave(healths, now_s)
        if self._was_ordered:
            target = self._first(lambda way: not way.is_bad and (way.is_new or way.has_settled(now_s)))
            swings = now.was_bad or (target is not None and self.ways[target].was_bad)
            if target in (None, taken):
                # What is wanted before it has not been well for long enough: the order holds until it has.
                self._was_ordered = taken != next(iter(ways))
            elif not swings or now_s - self._chosen_s >= QUALITY_MOVES_APART_S:
                self._was_ordered = False
                move = self._choose if swings else self._go
                return move(target, "the controller wants it so", now_s)
        return self._improve(taken, now, now_s)

    def _leave(self, healths: Mapping[str, TunnelHealth], now_s: float) -> str | None:
        """The way it takes is dead, or it has none."""
        left = "the first that answers"
        if self.taken is not None:
            left = f"{self.taken}: {self._trouble_of(self.taken)}"
        target = self._best_other(healths, (_is_fresh_and_well, _is_well, _is_usable))
        if target is None:
            if self.taken in self.ways and _is_held(None, healths.get(self.taken or "", _NOTHING_KNOWN)):
                # It may go again at once, but there is nothing better.
                return None
            target = self._best_other(healths, (_is_held,))
        if target is not None:
            return self._go(target, left, now_s)
        nothing = "; ".join(f"{name}: {way.trouble}" for name, way in self.ways.items())
        lately = self._carried_lately(healths, now_s)
        if lately is not None and lately != self.taken:
            return self._go(lately, f"{left}; none is alive, and {lately} was just now", now_s)
        if lately is not None:
            self.why = f"no tunnel is alive, it stays for {GRACE_S:g} s: {nothing}"
            return None
        if self.taken is not None:
            return self._go(None, f"no tunnel is alive: {nothing}", now_s)
        self.why = f"no tunnel is alive: {nothing}"
        return None

    def _carried_lately(self, healths: Mapping[str, TunnelHealth], now_s: float) -> str | None:
        """A tunnel that is still there and died only just now: the one it takes before others."""
        names = sorted(self.ways, key=lambda name: name != self.taken)
        lately = (name for name in names if now_s - self.ways[name].carried_s < GRACE_S)
        return next((name for name in lately if name in healths), None)

    def _best_other(self, healths: Mapping[str, TunnelHealth], grades: Iterable[_Grade]) -> str | None:
        """The first tunnel, but the one it takes, of the best grade that there is one of."""
        others = [(name, way, healths.get(name, _NOTHING_KNOWN)) for name, way in self.ways.items()]
        for is_good in grades:
            for name, way, health in others:
                if name != self.taken and is_good(way, health):
                    return name
        return None

    def _trouble_of(self, name: str) -> str:
        return self.ways[name].trouble if name in self.ways else "not wanted any more"

    def _improve(self, taken: str, now: _Way, now_s: float) -> str | None:
        """The way it takes is alive: is there a better one that it may go to?"""
        better = tuple(self.ways)[: tuple(self.ways).index(taken)]
        arrived = self._first(
            lambda way: way.is_new and way.has_settled(now_s) and (way.came_s or 0.0) >= self._moved_s, better
        )
        if arrived is not None:
            return self._go(arrived, "better, and it has come up", now_s)
        if now_s - self._chosen_s < QUALITY_MOVES_APART_S:
            return None
        if now.is_bad:
            target = self._first(
                lambda way: way.well_since_s is not None and now_s - way.well_since_s >= SETTLED_S
            )
            return self._choose(target, f"{taken} {now.trouble}", now_s)
        if now_s - self._moved_s < QUALITY_MOVES_APART_S:
            return None
        target = self._first(lambda way: way.has_settled(now_s), better)
        return self._choose(target, "better, and well again for long enough", now_s)

    def _first(self, fits: Callable[[_Way], bool], names: Iterable[str] | None = None) -> str | None:
        chosen = self.ways if names is None else names
        return next((name for name in chosen if self.ways[name].is_usable and fits(self.ways[name])), None)

    def _choose(self, target: str | None, why: str, now_s: float) -> str | None:
        said = self._go(target, why, now_s)
        if said is not None:
            self._chosen_s = now_s
        return said

    def _go(self, target: str | None, why: str, now_s: float) -> str | None:
        if target == self.taken or (
            target is None and self.taken in self.ways and self.ways[self.taken].is_usable
        ):
            return None
        self.moves += self.taken is not None
        self.taken, self.why, self._moved_s = target, why, now_s
        return why


class Failover:
    """All routes of a node. taken: which tunnels they were found to take when the agent started."""

    def __init__(self, taken: Mapping[RouteKey, str] | None = None) -> None:
        self._found = dict(taken or {})
        self._routes: dict[RouteKey, _Route] = {}

    def want(self, routes: Sequence[WantedRoute]) -> None:
        """These routes and no others; of two for one prefix and class the first counts."""
        wanted: dict[RouteKey, WantedRoute] = {}
        for route in routes:
            for key in keys_of(route):
                wanted.setdefault(key, route)
        self._routes = {key: self._kept(key, route) for key, route in wanted.items()}
        self._found.clear()

    def step(self, now_s: float, healths: Mapping[str, TunnelHealth]) -> tuple[Move, ...]:
        """What moves now. To be called whenever a tunnel changes, and every second, with all tunnels."""
        moves = []
        for key, route in self._routes.items():
            route.see(healths, now_s)
            if (why := route.step(healths, now_s)) is not None:
                moves.append(Move(key, route.taken, why))
        return tuple(moves)

    def taken(self) -> Mapping[RouteKey, str | None]:
        """Which tunnel each route takes; None: it goes nowhere."""
        return {key: route.taken for key, route in self._routes.items()}

    def needs(self, tunnels: Iterable[str]) -> Mapping[str, Need]:
        """What each of these tunnels is needed for."""
        used = {route.taken for route in self._routes.values()}
        named = {name for route in self._routes.values() for name in route.wanted.tunnels}
        return {n: Need.USED if n in used else Need.NEXT if n in named else Need.IDLE for n in tunnels}

    def report(self) -> tuple[RouteReport, ...]:
        """All routes, as they are told to the controller."""
        same: dict[tuple[str | None, str | None, str, int], list[Prefix]] = {}
        for (prefix, name), route in self._routes.items():
            same.setdefault((name, route.taken, route.why[:300], route.moves), []).append(prefix)
        return tuple(
            RouteReport(prefixes=tuple(prefixes), class_name=name, tunnel=taken, why=why, moves=moves)
            for (name, taken, why, moves), prefixes in same.items()
        )

    def _kept(self, key: RouteKey, wanted: WantedRoute) -> _Route:
        if (route := self._routes.get(key)) is None:
            found = self._found.get(key)
            return _Route(wanted, found if found in wanted.tunnels else None)
        route.reorder(wanted)
        return route


def _is_early(healths: Mapping[str, TunnelHealth], name: str) -> bool:
    """Nothing can be said yet of a tunnel that was found in use: it is left alone until something can."""
    return name in healths and healths[name].alive.heard is Direction.UNKNOWN


def _is_fresh_and_well(way: _Way, health: TunnelHealth) -> bool:
    return way.is_usable and not way.is_bad and health.alive.fresh


def _is_well(way: _Way, _: TunnelHealth) -> bool:
    return way.is_usable and not way.is_bad


def _is_usable(way: _Way, _: TunnelHealth) -> bool:
    return way.is_usable


def _is_held(_: _Way | None, health: TunnelHealth) -> bool:
    return health.alive.heard is Direction.HELD


def _trouble(health: TunnelHealth) -> str:
    match health.alive.heard:
        case Direction.UNKNOWN:
            return "has not answered yet"
        case Direction.HELD:
            return "was dead and has just come back"
        case _ if health.alive.hears is Direction.ALIVE:
            return "the other end does not hear us"
        case _:
            return "the other end is silent"
