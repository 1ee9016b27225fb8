"""One round of the overlay's decisions: from what is known of the sites to what each of them shall have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from types import MappingProxyType

from stitching.overlay.candidates import Graph, TunnelView
from stitching.overlay.choosing import Choice, Steadiness, choose
from stitching.overlay.compiling import ChoiceKey, Compiled, Given, compile_plans
from stitching.overlay.links import Joined, LinkBook, anchor_prefixes, link_ends, next_links
from stitching.overlay.measures import UNMEASURED, Measured
from stitching.overlay.mesh import Mesh, MeshPolicy, Situation, next_mesh
from stitching.overlay.mesh_rules import forbidden_pairs
from stitching.overlay.relieving import Demand, Room, Uplinks, relieve_choices, with_all
from stitching.overlay.replacing import UP, Replacing, SiteReport, step
from stitching.overlay.scoring import AppClass, ScoredWay, score
from stitching.overlay.site_plan import PlannedClass, SitePlan, affected
from stitching.overlay.sites import NodeLoad, Pair, Site, pair_of
from stitching.overlay.tunnels import Line, Tunnel, TunnelBook

NO_CLASS = AppClass("")
"""What packets of no class want: a bit of everything."""

MOST_CHOOSING = 32
"""Up to so many sites every pair has its way chosen; above, pairs with a forecast do; the others take the star."""


@dataclass(frozen=True)
class Facts:
    """What is known now. `sites` is the same object for as long as nothing of it has changed.

    `measured` is by tunnel, as its end a sees it; `demand_mbps` by pair, a high quantile of the forecast;
    `expected` the same by class; `silent_since_s` has who does not speak; `departed` who is no member any more;
    `away` who cannot be told anything now, and the last generation that each of them can have been told.
    """

    sites: Mapping[int, Site]
    reports: Mapping[int, SiteReport] = field(default_factory=lambda: MappingProxyType({}))
    measured: Mapping[str, Measured] = field(default_factory=lambda: MappingProxyType({}))
    loads: Mapping[int, NodeLoad] = field(default_factory=lambda: MappingProxyType({}))
    silent_since_s: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    demand_mbps: Mapping[Pair, float] = field(default_factory=lambda: MappingProxyType({}))
    expected: Mapping[ChoiceKey, Demand] = field(default_factory=lambda: MappingProxyType({}))
    departed: Collection[int] = frozenset()
    away: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class OverlayPolicy:
    """How decisions are made. `classes`: which packets are of which, and what they want."""

    mesh: MeshPolicy = field(default_factory=MeshPolicy)
    replacing: Replacing = field(default_factory=Replacing)
    steadiness: Steadiness = field(default_factory=Steadiness)
    classes: tuple[tuple[PlannedClass, AppClass], ...] = ()


Sent = tuple[int, SitePlan]
"""A plan, and the generation with which it was sent first."""


@dataclass(frozen=True)
class Overlay:
    """All that the next round is made from; to be stored before anybody is told.

    `in_force`: by site, the plan it has confirmed last and all that it can have been told since, or may be next.
    """

    generation: int = 0
    mesh: Mesh = field(default_factory=Mesh)
    book: TunnelBook = field(default_factory=TunnelBook)
    choices: Mapping[ChoiceKey, Choice] = field(default_factory=lambda: MappingProxyType({}))
    links: LinkBook = field(default_factory=LinkBook)
    link_problems: tuple[str, ...] = ()
    compiled: Compiled | None = None
    in_force: Mapping[int, tuple[Sent, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def plans(self) -> Mapping[int, SitePlan]:
        """What each site shall have."""
        return self.compiled.plans if self.compiled is not None else {}


@dataclass(frozen=True)
class Round:
    """The overlay from now on, whose plans are other ones, and what an operator would want to read of it."""

    overlay: Overlay
    changed: frozenset[int]
    events: tuple[str, ...]


def next_round(before: Overlay, facts: Facts, policy: OverlayPolicy, now_s: float) -> Round:
    """Decide. Without anything new the plans are the same objects as before."""
    generation = before.generation + 1
    up = frozenset(_up_lines(before.book, facts.reports))
    situation = Situation(
        sites=facts.sites,
        demand_mbps=facts.demand_mbps,
        poor=_poor(before.choices, before.mesh.direct.pairs),
        loads=facts.loads,
        silent_since_s=facts.silent_since_s,
        up=up,
    )
    mesh = next_mesh(before.mesh, situation, now_s, policy.mesh)
    unwanted = {line.pair for line in before.book.lines if line not in mesh.lines}
    stepped = step(
        before.book,
        mesh.lines,
        facts.reports,
        now_s,
        generation,
        policy=policy.replacing,
        departed=facts.departed,
        forbidden=forbidden_pairs(policy.mesh.rules, facts.sites, unwanted),
    )
    tunnels = stepped.book.tunnels()
    down = frozenset(one.name for one in tunnels if not is_up(one, facts.reports))
    choices = _choices(before.choices, facts, tunnels, mesh.hubs.transit, down, policy, now_s)
    linked = next_links(before.links, facts.sites, facts.reports, stepped.book, _joined(before))
    orders: dict[int, dict[int, dict[str | None, Sequence[tuple[str, ...]]]]] = {}
    for (src, dst, name), choice in choices.items():
        orders.setdefault(src, {}).setdefault(dst, {})[name] = choice.order
    if before.compiled is not None and orders == before.compiled.given.orders:
        orders = before.compiled.given.orders  # type: ignore[assignment]
    in_force = _still_in_force(before.in_force, facts, stepped.book)
    given = Given(
        *(facts.sites, stepped.book, mesh.hubs.transit, tuple(one for one, _ in policy.classes), orders, down),
        anchors=anchor_prefixes(linked.book, stepped.book),
        links=link_ends(linked.book, stepped.book),
    )
    compiled = compile_plans(
        given, {serial: [plan for _, plan in sent] for serial, sent in in_force.items()}, before.compiled
    )
    changed = frozenset(
        serial for serial in affected(before.plans, compiled.plans) if not _is_told(serial, in_force, compiled)
    )
    for serial in changed & compiled.plans.keys():
        in_force[serial] = (
            *_sent(in_force.get(serial, ()), facts.away.get(serial)),
            (generation, compiled.plans[serial]),
        )
    after = Overlay(
        generation if changed else before.generation,
        mesh,
        stepped.book,
        choices,
        linked.book,
        linked.problems,
        compiled,
        MappingProxyType(in_force),
    )
    return Round(after, changed, (*stepped.events, *linked.events))


def _joined(before: Overlay) -> Joined:
    """Whether packets between two anchors have a way, each way, by the plans there are."""
    plans, prefixes = before.plans, anchor_prefixes(before.links, before.book)

    def leads(a: int, b: int) -> bool:
        return a in plans and b in prefixes and bool(plans[a].next_hops.get(prefixes[b]))

    return lambda a, b: leads(a, b) and leads(b, a)


def _sent(made: tuple[Sent, ...], up_to: int | None) -> tuple[Sent, ...]:
    """Without those that were made since a site is away: it is told the last one when it is back, and no other."""
    return made if up_to is None else tuple(one for one in made if one[0] <= up_to)


def _is_told(serial: int, in_force: Mapping[int, tuple[Sent, ...]], compiled: Compiled) -> bool:
    """Whether a site's plan is the one that it was sent last: after a restart they are made anew."""
    sent = in_force.get(serial)
    return sent is not None and sent[-1][1] == compiled.plans.get(serial)


def is_up(tunnel: Tunnel, reports: Mapping[int, SiteReport]) -> bool:
    """Whether both ends call it up."""
    return all(
        serial in reports and (end := reports[serial].tunnels.get(tunnel.name)) is not None and end.state == UP
        for serial in tunnel.line.pair
    )


def _up_lines(book: TunnelBook, reports: Mapping[int, SiteReport]) -> list[Line]:
    return [tunnel.line for tunnel in book.tunnels() if is_up(tunnel, reports)]


def _poor(choices: Mapping[ChoiceKey, Choice], own: Collection[Pair]) -> Mapping[Pair, str]:
    """Pairs that have a class which no way of the star serves well; `own` are those with tunnels of their own.

    Whether these would do without is asked of what else there is: or they would lose their tunnels for being good.
    """
    poor = {}
    for (src, dst, _), choice in choices.items():
        pair = pair_of(src, dst)
        ways = [way for way in choice.ranked if len(way.tunnels) > 1 or pair not in own] or [choice.taken]
        if all(way.trouble for way in ways):
            poor[pair] = ways[0].trouble
    return poor


def _choices(
    before: Mapping[ChoiceKey, Choice],
    facts: Facts,
    tunnels: Sequence[Tunnel],
    transit: Collection[int],
    down: Collection[str],
    policy: OverlayPolicy,
    now_s: float,
) -> Mapping[ChoiceKey, Choice]:
    pairs = _pairs(facts)
    if not pairs:
        return MappingProxyType({})
    graph = Graph((_view(tunnel, facts, down) for tunnel in tunnels), transit)
    busy = {serial: load.worst for serial, load in facts.loads.items()}
    wishes = [(None, NO_CLASS), *((planned.name, app) for planned, app in policy.classes)]
    choices: dict[ChoiceKey, Choice] = {}
    uplinks = Uplinks.known(facts.sites, tunnels) if facts.expected else Uplinks({})
    room = Room(uplinks, facts.expected)
    for key, one in before.items():
        room.put(key, one.taken)
    for src, dst in pairs:
        ways = graph.ways(src, dst)
        for name, app in wishes:
            key = src, dst, name
            demand, choice = facts.expected.get(key), before.get(key)
            expected_mbps = demand.high_mbps if demand is not None else 0.0
            taken = choice.taken if choice is not None else None
            scored = [score(way, app, busy, expected_mbps, room.free_mbps(key, way, taken)) for way in ways]
            chosen = _chosen(key, choice, scored, room, now_s, policy.steadiness)
            if chosen is not None:
                choices[key] = chosen
    return MappingProxyType(dict(relieve_choices(choices, facts.expected, uplinks, now_s, policy.steadiness)))


def _chosen(
    key: ChoiceKey,
    before: Choice | None,
    scored: Sequence[ScoredWay],
    room: Room,
    now_s: float,
    steadiness: Steadiness,
) -> Choice | None:
    """What is chosen, among the ways that have room for more as long as one of these is up."""
    if before is None:
        return choose(before, scored, now_s, steadiness)
    taken = before.taken.tunnels
    roomy = [way for way in scored if way.tunnels == taken or room.may_come(key, way)]
    choice = choose(before, roomy if any(way.up for way in roomy) else scored, now_s, steadiness)
    if choice is None:
        return None
    if choice.taken.tunnels != taken:
        room.put(key, before.taken, -1.0)
        room.put(key, choice.taken)
    return with_all(choice, scored)


def _pairs(facts: Facts) -> list[tuple[int, int]]:
    """Who sends to whom: those with something behind them."""
    ends = [serial for serial, site in facts.sites.items() if site.prefixes or site.bridge is not None]
    if len(ends) <= MOST_CHOOSING:
        return list(permutations(ends, 2))
    known = set(ends)
    return [way for a, b in facts.demand_mbps if {a, b} <= known for way in ((a, b), (b, a))]


def _view(tunnel: Tunnel, facts: Facts, down: Collection[str]) -> TunnelView:
    line = tunnel.line
    ends = [facts.sites[serial].uplink(line.uplink_at(serial)) for serial in line.pair if serial in facts.sites]
    capacities = [end.capacity_mbps for end in ends if end is not None and end.capacity_mbps is not None]
    return TunnelView(
        tunnel.name,
        line.a,
        line.b,
        facts.measured.get(tunnel.name, UNMEASURED),
        sum(end.price for end in ends if end is not None),
        min(capacities, default=None),
        tunnel.name not in down,
    )


def _still_in_force(
    before: Mapping[int, tuple[Sent, ...]], facts: Facts, book: TunnelBook
) -> dict[int, tuple[Sent, ...]]:
    """Without those that a site has left behind, or who is no member any more and can have no tunnel."""
    joined = {serial for line, state in book.lines.items() if state.tunnels for serial in line.pair}
    kept: dict[int, tuple[Sent, ...]] = {}
    for serial, sent in before.items():
        if serial in facts.departed and serial not in joined:
            continue
        report = facts.reports.get(serial)
        done = [
            place for place, (number, _) in enumerate(sent) if report is not None and number <= report.generation
        ]
        kept[serial] = sent[done[-1] :] if done else sent
    return kept
