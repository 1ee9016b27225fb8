"""What each site shall have: who is told of a change, and that nothing goes round while sites take plans up."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stitching.overlay import compiling
from stitching.overlay.compiling import Compiled, Given, Orders, compile_plans
from stitching.overlay.site_plan import PlannedClass, SitePlan, affected
from stitching.overlay.sites import Pair, Prefix, Site, pair_of
from stitching.overlay.tunnels import Line, LineState, Phase, Tunnel, TunnelBook, TunnelSpec
from tests.unit.overlay_world import a_site, world

VOICE = PlannedClass("voice", 1, ())


def book_of(pairs: Iterable[Pair], *, version: int = 1, transport: str = "wireguard") -> TunnelBook:
    lines = {}
    for a, b in sorted(pairs):
        slot = version * 100_000 + a * 10_000 + b
        line = Line(a, "wan0", b, "wan0", transport)
        tunnel = Tunnel(line, version, TunnelSpec(), slot, 0.0, Phase.ACTIVE, 0.0, 1)
        lines[line] = LineState(version, (tunnel,))
    return TunnelBook(MappingProxyType(lines))


def tunnel_name(book: TunnelBook, a: int, b: int) -> str:
    return next(one.name for one in book.tunnels() if one.line.pair == pair_of(a, b))


def star(sites: Mapping[int, Site], hubs: Sequence[int]) -> set[Pair]:
    return {pair_of(hub, serial) for hub in hubs for serial in sites if serial != hub}


def fresh(given: Given) -> Compiled:
    return compile_plans(given, {})


def peers_to(plan: SitePlan, dst: Site, class_name: str | None = None) -> list[int]:
    peers = {end.name: end.peer for end in plan.tunnels}
    for group in plan.routes:
        if group.class_name == class_name and any(prefix in dst.prefixes for prefix in group.behind):
            return [peers[name] for name in group.tunnels]
    return []


def test_in_a_star_sites_go_by_hubs_and_hubs_straight() -> None:
    sites = world(3)
    plans = fresh(Given(sites, book_of(star(sites, [1, 2])), (1, 2))).plans
    assert peers_to(plans[3], sites[4]) == [1, 2]
    assert peers_to(plans[1], sites[4]) == [4]
    # The other hub has the first one as its last resort, never both each other.
    assert peers_to(plans[2], sites[4]) == [4, 1]


def test_a_hub_that_lost_a_site_sends_its_packets_across_the_other_one() -> None:
    sites = world(3)
    book = book_of(star(sites, [1, 2]))
    plans = fresh(Given(sites, book, (1, 2), down={tunnel_name(book, 1, 4)})).plans
    assert peers_to(plans[1], sites[4]) == [4, 2]
    assert peers_to(plans[2], sites[4]) == [4]


def test_the_hubs_do_not_turn_round_before_the_old_plan_is_gone() -> None:
    sites = world(3)
    book = book_of(star(sites, [1, 2]))
    given = Given(sites, book, (1, 2))
    old = fresh(given)
    lost = replace(given, down={tunnel_name(book, 1, 4)})
    in_force = {serial: [plan] for serial, plan in old.plans.items()}
    new = compile_plans(lost, in_force, old)
    assert peers_to(new.plans[1], sites[4]) == [4]
    assert peers_to(new.plans[2], sites[4]) == [4]
    assert affected(old.plans, new.plans) == {2}
    later = compile_plans(lost, {serial: [plan] for serial, plan in new.plans.items()}, new)
    assert peers_to(later.plans[1], sites[4]) == [4, 2]


def test_a_class_goes_the_way_that_was_chosen_for_it() -> None:
    sites = world(3)
    book = book_of({*star(sites, [1, 2]), (3, 4)})
    by_hub = ((tunnel_name(book, 2, 3), tunnel_name(book, 2, 4)), (tunnel_name(book, 3, 4),))
    given = Given(sites, book, (1, 2), (VOICE,), {3: {4: {"voice": by_hub}}})
    plan = fresh(given).plans[3]
    assert peers_to(plan, sites[4]) == [4, 1, 2]
    assert peers_to(plan, sites[4], "voice") == [2, 4, 1]
    assert peers_to(plan, sites[5], "voice") == []


def test_a_newer_version_stands_where_the_one_before_it_stood() -> None:
    sites = world(3)
    book = book_of({*star(sites, [1, 2]), (3, 4)})
    chosen: Orders = {3: {4: {None: ((tunnel_name(book, 2, 3), tunnel_name(book, 2, 4)),)}}}
    line = next(line for line in book.lines if line.pair == (2, 3))
    old = book.lines[line].tunnels[0]
    state = LineState(2, (replace(old, phase=Phase.LEAVING), replace(old, number=2, slot=99)))
    newer = replace(book, lines={**book.lines, line: state})
    plan = fresh(Given(sites, newer, (1, 2), orders=chosen)).plans[3]
    tunnels = next(group.tunnels for group in plan.routes if sites[4].prefixes[0] in group.behind)
    assert tunnels[0].endswith("-v2") and tunnels[-1] == old.name


def test_both_ends_are_told_the_same() -> None:
    sites = world(2, n_uplinks=2)
    sites[3] = replace(sites[3], uplinks=tuple(replace(one, callable=False) for one in sites[3].uplinks))
    plans = fresh(Given(sites, book_of(star(sites, [1, 2])), (1, 2))).plans
    [here] = [end for end in plans[3].tunnels if end.peer == 1]
    [there] = [end for end in plans[1].tunnels if end.peer == 3]
    assert (here.name, here.address, here.peer_address) == (there.name, there.peer_address, there.address)
    assert here.remote == sites[1].uplinks[0].address
    assert there.remote is None  # behind its NAT it has to call


def test_only_the_ends_are_told_of_another_tunnel_among_a_thousand() -> None:
    sites = world(1000)
    given = Given(sites, book_of(star(sites, [1, 2])), (1, 2))
    old = fresh(given)
    line = next(line for line in given.book.lines if line.pair == (2, 77))
    state = given.book.lines[line]
    coming = replace(state.tunnels[0], number=2, slot=9999, phase=Phase.COMING)
    lines = {**given.book.lines, line: LineState(2, (*state.tunnels, coming))}
    in_force = {serial: [plan] for serial, plan in old.plans.items()}
    new = compile_plans(replace(given, book=replace(given.book, lines=lines)), in_force, old)
    assert affected(old.plans, new.plans) == {2, 77}
    assert sum(new.plans[serial] is not old.plans[serial] for serial in sites) == 2


POOL: tuple[Prefix, ...] = tuple(map(IPv4Network, ("10.1.0.0/16", "10.1.1.0/24", "10.2.0.0/16", "10.3.0.0/16")))
ADDRESSES = tuple(map(IPv4Address, ("10.1.0.1", "10.1.1.1", "10.2.0.1", "10.3.0.1")))
SERIALS = (1, 2, 3, 4, 5, 6)
ALL_PAIRS = [(a, b) for a in SERIALS for b in SERIALS if a < b]


def next_of(plan: SitePlan, address: IPv4Address) -> frozenset[int] | None:
    """Where a plan may have a packet go, whatever is alive; None: it is at home here."""
    if any(address in prefix for prefix in plan.owned):
        return None
    return frozenset().union(*(hops for prefix, hops in plan.next_hops.items() if address in prefix))


def goes_round(in_force: Mapping[int, Sequence[SitePlan]], address: IPv4Address) -> bool:
    """Whether any mix of the plans, each site taking any of its own at any time, can lead a packet in a circle."""
    steps = {
        serial: set().union(*(next_of(plan, address) or () for plan in plans))
        for serial, plans in in_force.items()
    }
    while True:
        ends = {serial for serial, hops in steps.items() if not hops & steps.keys()}
        if not ends:
            return bool(steps)
        for serial in ends:
            del steps[serial]


class Changing(RuleBasedStateMachine):
    """Prefixes, hubs, tunnels and what is down change at will; sites take plans up when they like, or never."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: Mapping[int, Site] = {}
        self.given = Given({}, TunnelBook())
        self.compiled: Compiled | None = None
        self.in_force: dict[int, list[SitePlan]] = {serial: [] for serial in SERIALS}

    @rule(
        owners=st.lists(st.sampled_from((0, *SERIALS)), min_size=4, max_size=4),
        there=st.sets(st.sampled_from(SERIALS), min_size=3),
    )
    def move_prefixes(self, owners: list[int], there: set[int]) -> None:
        if owners[0]:
            owners[1] = 0  # they overlap: one of them at a time
        mine = {
            serial: tuple(p for p, owner in zip(POOL, owners, strict=True) if owner == serial)
            for serial in SERIALS
        }
        self.given = replace(self.given, sites={s: a_site(s, prefixes=mine[s]) for s in sorted(there)})

    @rule(hubs=st.lists(st.sampled_from(SERIALS), unique=True, max_size=4))
    def choose_hubs(self, hubs: list[int]) -> None:
        self.given = replace(self.given, transit=tuple(hubs))

    @rule(pairs=st.sets(st.sampled_from(ALL_PAIRS), min_size=5), version=st.integers(1, 2))
    def change_tunnels(self, pairs: set[Pair], version: int) -> None:
        self.given = replace(self.given, book=book_of(pairs, version=version))

    @rule(data=st.data())
    def change_states(self, data: st.DataObject) -> None:
        names = sorted(one.name for one in self.given.book.tunnels())
        if names:
            down = data.draw(st.sets(st.sampled_from(names)))
            way = data.draw(st.sampled_from(names))
            src, dst = data.draw(st.sampled_from(ALL_PAIRS))
            self.given = replace(self.given, down=frozenset(down), orders={src: {dst: {None: ((way,),)}}})

    @rule()
    def compile(self) -> None:
        before = self.compiled
        self.compiled = compile_plans(self.given, self.in_force, before)
        if before is not None:
            # From what was made before, or all anew: the same, and those who are not told keep the very same plan.
            anew = replace(before, given=replace(before.given, sites=dict(before.given.sites)))
            assert compile_plans(self.given, self.in_force, anew).plans == self.compiled.plans
            told = affected(before.plans, self.compiled.plans)
            for serial, plan in self.compiled.plans.items():
                assert (plan is before.plans.get(serial)) == (serial not in told)
        for serial, plan in self.compiled.plans.items():
            plans = self.in_force[serial]
            if not any(plan is one for one in plans):
                plans.append(plan)

    @rule(serial=st.sampled_from(SERIALS), back=st.integers(0, 3))
    def take_up(self, serial: int, back: int) -> None:
        """A site confirms a plan: those before it are gone."""
        plans = self.in_force[serial]
        if plans:
            del plans[: max(0, len(plans) - 1 - back)]

    @rule()
    def all_take_up_what_there_is(self) -> None:
        for _ in range(2):
            self.compile()
            for serial in SERIALS:
                self.take_up(serial, 0)
        self.compile()
        assert self.compiled is not None and not self.compiled.withheld

    @invariant()
    def nothing_goes_round(self) -> None:
        for address in ADDRESSES:
            assert not goes_round(self.in_force, address)

    @invariant()
    def a_way_has_two_relays_at_most(self) -> None:
        if self.compiled is not None:
            transit = set(self.compiled.given.transit)
            for plan in self.compiled.plans.values():
                for prefix, hops in plan.next_hops.items():
                    assert hops <= transit | {self.compiled.owners[prefix]}


Changing.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestChanging = Changing.TestCase


def walk(seed: int) -> Changing:
    """Changes at random, of the kinds that the machine above makes."""
    draw, world_of = random.Random(seed), Changing()
    for _ in range(25):
        match draw.randrange(6):
            case 0:
                world_of.move_prefixes([draw.choice((0, *SERIALS)) for _ in POOL], set(SERIALS))
            case 1:
                world_of.choose_hubs(draw.sample(SERIALS, draw.randint(1, 4)))
            case 2:
                world_of.change_tunnels(set(draw.sample(ALL_PAIRS, draw.randint(8, 15))), 1)
            case 3:
                names = sorted(one.name for one in world_of.given.book.tunnels())
                down = frozenset(draw.sample(names, len(names) // 3))
                world_of.given = replace(world_of.given, down=down)
            case 4:
                world_of.compile()
            case _:
                world_of.take_up(draw.choice(SERIALS), draw.randint(0, 2))
    return world_of


def rounds(world_of: Changing) -> bool:
    return any(goes_round(world_of.in_force, address) for address in ADDRESSES)


def test_random_walks_never_make_a_loop_and_many_would_if_nothing_were_withheld(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not any(rounds(walk(seed)) for seed in range(60))
    monkeypatch.setattr(compiling, "withheld", lambda *_: {})
    assert sum(rounds(walk(seed)) for seed in range(60)) > 10
