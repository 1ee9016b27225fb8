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
from stitching.overlay.links import LinkEnd
from stitching.overlay.site_plan import PlannedClass, SitePlan, affected
from stitching.overlay.sites import Pair, Prefix, Site, pair_of
from stitching.overlay.tunnels import Line, LineState, Phase, Tunnel, TunnelBook, TunnelSpec
from tests.unit.overlay_world import a_site, world

VOICE, VIDEO = PlannedClass("voice", 1, ()), PlannedClass("video", 2, ())


def a_version(line: Line, number: int, phase: Phase = Phase.ACTIVE) -> Tunnel:
    """Of a line, always the same but for its phase."""
    slot = number * 50_000 + line.a * 7_000 + line.b * 2 + (line.uplink_a == "wan1")
    return Tunnel(line, number, TunnelSpec(epoch=number), slot, 0.0, phase, 0.0, 1)


def book_of(pairs: Iterable[Pair], *, version: int = 1, transport: str = "wireguard") -> TunnelBook:
    lines = {}
    for a, b in sorted(pairs):
        line = Line(a, "wan0", b, "wan0", transport)
        lines[line] = LineState(version, (a_version(line, version),))
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


def test_a_hub_learns_that_another_one_has_no_tunnel_to_a_site_any_more() -> None:
    sites = world(3)
    given = Given(sites, book_of(star(sites, [1, 2])), (1, 2))
    old = fresh(given)
    assert peers_to(old.plans[2], sites[4]) == [4, 1]
    in_force = {serial: [plan] for serial, plan in old.plans.items()}
    lines = {line: state for line, state in given.book.lines.items() if line.pair != (1, 4)}
    without = replace(given, book=replace(given.book, lines=lines))
    new = compile_plans(without, in_force, old)
    assert peers_to(new.plans[2], sites[4]) == [4]
    assert new.plans == compile_plans(without, in_force).plans


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
SERIALS = (1, 2, 3, 4, 5, 6)
ANCHORS = {serial: IPv4Network((0x646F0000 + serial, 32)) for serial in SERIALS}
ADDRESSES = (
    *map(IPv4Address, ("10.1.0.1", "10.1.1.1", "10.2.0.1", "10.3.0.1")),
    *(anchor.network_address for anchor in ANCHORS.values()),
)
LIVES = (
    (),
    (Phase.COMING,),
    (Phase.ACTIVE,),
    (Phase.ACTIVE, Phase.COMING),
    (Phase.LEAVING, Phase.ACTIVE),
    (Phase.GONE, Phase.ACTIVE),
)
"""Phases of the versions of a line, oldest first."""
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
        sites = {serial: a_site(serial, n_uplinks=2) for serial in SERIALS}
        self.given = Given(sites, book_of(star(sites, (1, 2))), (1, 2))
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
        sites = {s: a_site(s, n_uplinks=2, prefixes=mine[s]) for s in sorted(there)}
        self.given = replace(self.given, sites=sites)

    @rule(
        serial=st.sampled_from(SERIALS), place=st.integers(0, 1), host=st.integers(1, 3), is_callable=st.booleans()
    )
    def change_uplink(self, serial: int, place: int, host: int, is_callable: bool) -> None:
        if serial in self.given.sites:
            site = self.given.sites[serial]
            uplinks = list(site.uplinks)
            address = IPv4Address(0xC6130000 + 256 * serial + 16 * place + host)
            uplinks[place] = replace(uplinks[place], address=address, callable=is_callable)
            changed = replace(site, uplinks=tuple(uplinks))
            self.given = replace(self.given, sites={**self.given.sites, serial: changed})

    @rule(hubs=st.lists(st.sampled_from(SERIALS), unique=True, max_size=4))
    def choose_hubs(self, hubs: list[int]) -> None:
        self.given = replace(self.given, transit=tuple(hubs))

    @rule(pairs=st.sets(st.sampled_from(ALL_PAIRS), min_size=5), version=st.integers(1, 2))
    def change_tunnels(self, pairs: set[Pair], version: int) -> None:
        self.given = replace(self.given, book=book_of(pairs, version=version))

    @rule(
        pair=st.sampled_from(ALL_PAIRS),
        uplink=st.sampled_from(("wan0", "wan1")),
        phases=st.sampled_from(LIVES),
        number=st.integers(1, 3),
    )
    def change_line(self, pair: Pair, uplink: str, phases: tuple[Phase, ...], number: int) -> None:
        """One goes on with its life, or comes, or goes; the others stay the same objects."""
        line = Line(pair[0], uplink, pair[1], "wan0", "wireguard")
        lines = {one: state for one, state in self.given.book.lines.items() if one != line}
        if phases:
            versions = tuple(a_version(line, number + place, phase) for place, phase in enumerate(phases))
            lines[line] = LineState(versions[-1].number, versions)
        self.given = replace(self.given, book=replace(self.given.book, lines=lines))

    @rule(classes=st.lists(st.sampled_from((VOICE, VIDEO)), unique=True))
    def change_classes(self, classes: list[PlannedClass]) -> None:
        self.given = replace(self.given, classes=tuple(classes))

    @rule(serials=st.sets(st.sampled_from(SERIALS)))
    def change_anchors(self, serials: set[int]) -> None:
        self.given = replace(self.given, anchors={serial: ANCHORS[serial] for serial in sorted(serials)})

    @rule(pair=st.sampled_from(ALL_PAIRS), vni=st.integers(0, 2))
    def change_link(self, pair: Pair, vni: int) -> None:
        """A site has one link at most here; with VNI 0 it has none."""
        links = dict(self.given.links)
        for near, far in (pair, pair[::-1]):
            ends = ANCHORS[near].network_address, ANCHORS[far].network_address
            links[near] = (LinkEnd(f"l{pair[0]}-{pair[1]}-{vni}", far, vni, *ends),) if vni else ()
        self.given = replace(self.given, links=links)

    @rule(data=st.data())
    def change_states(self, data: st.DataObject) -> None:
        names = sorted(one.name for one in self.given.book.tunnels())
        if names:
            self.given = replace(self.given, down=data.draw(st.frozensets(st.sampled_from(names))))

    @rule(data=st.data(), pair=st.sampled_from(ALL_PAIRS), name=st.sampled_from((None, "voice", "video")))
    def choose_a_way(self, data: st.DataObject, pair: Pair, name: str | None) -> None:
        """Orders of one site are others; those of the others stay the same objects."""
        src, dst = data.draw(st.permutations(pair))
        names = sorted(one.name for one in self.given.book.tunnels() if src in one.line.pair)
        if names:
            ways = tuple((way,) for way in data.draw(st.lists(st.sampled_from(names), unique=True, max_size=3)))
            of_src = self.given.orders.get(src, {})
            orders = {**self.given.orders, src: {**of_src, dst: {**of_src.get(dst, {}), name: ways}}}
            self.given = replace(self.given, orders=orders)

    @rule()
    def compile(self) -> None:
        self.compiled = compile_plans(self.given, self.in_force, self.compiled)
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
    def plans_from_those_before_are_as_plans_from_nothing(self) -> None:
        before = self.compiled
        made, anew = compile_plans(self.given, self.in_force, before), compile_plans(self.given, self.in_force)
        assert made.plans == anew.plans
        assert (made.withheld, made.partial) == (anew.withheld, anew.partial)
        if before is not None:
            # Who is not told of a change keeps the very same plan.
            told = affected(before.plans, made.plans)
            for serial, plan in made.plans.items():
                assert (plan is before.plans.get(serial)) == (serial not in told)

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
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
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
