"""Which sites have tunnels with which: a star, more and fewer as need be, never too few."""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stitching.overlay.direct import HOUR_S, DirectPolicy
from stitching.overlay.hubs import HubPolicy
from stitching.overlay.mesh import Mesh, MeshPolicy, Situation, next_mesh
from stitching.overlay.mesh_rules import PairRule, Say, Selector
from stitching.overlay.sites import NodeLoad, Pair, Site
from stitching.overlay.ways import Reach, ways_apart
from tests.unit.overlay_world import a_site, world

POLICY = MeshPolicy(
    hubs=HubPolicy(dead_s=30, hold_s=600),
    direct=DirectPolicy(add_after_s=10, remove_after_s=60, hold_s=120, changes_per_hour=6),
)


def pairs_of(mesh: Mesh) -> set[Pair]:
    return {line.pair for line in mesh.lines}


def settled(situation: Situation, policy: MeshPolicy = POLICY) -> Mesh:
    return next_mesh(Mesh(), situation, 0.0, policy)


def test_at_first_it_is_a_star_of_two_relays() -> None:
    mesh = settled(Situation(world(5, 3)))
    assert mesh.hubs.now == (1, 2)
    assert pairs_of(mesh) == {(1, 2)} | {(hub, site) for hub in (1, 2) for site in (3, 4, 5, 6, 7, 8)}
    assert mesh.why[1, 5] == "r1 is a hub"


def test_without_relays_the_best_sites_are_hubs() -> None:
    loads = {serial: NodeLoad(cpu=0.9) for serial in (1, 2, 3)}
    assert settled(Situation(world(5, 0), loads=loads)).hubs.now == (4, 5)


def test_two_sites_that_will_send_each_other_much_get_their_own_tunnel_and_lose_it_again() -> None:
    calm = Situation(world(5))
    mesh = settled(calm)
    busy = replace(calm, demand_mbps={(4, 5): 50.0})
    mesh = next_mesh(mesh, busy, 100.0, POLICY)
    assert (4, 5) not in pairs_of(mesh)  # it has not lasted yet
    mesh = next_mesh(mesh, replace(busy, up=tuple(mesh.lines)), 111.0, POLICY)
    assert mesh.why[4, 5] == "50.0 Mbit/s are expected"
    for now_s in (112.0, 173.0, 230.0):
        mesh = next_mesh(mesh, replace(calm, up=tuple(mesh.lines)), now_s, POLICY)
        assert (4, 5) in pairs_of(mesh)
    assert (4, 5) not in pairs_of(next_mesh(mesh, replace(calm, up=tuple(mesh.lines)), 232.0, POLICY))


def test_a_tunnel_stays_while_the_two_have_no_other_way() -> None:
    calm = Situation(world(3))
    busy = replace(calm, demand_mbps={(4, 5): 50.0})
    mesh = next_mesh(next_mesh(settled(calm), busy, 1.0, POLICY), busy, 20.0, POLICY)
    alone = replace(calm, up=[line for line in mesh.lines if line.pair == (4, 5)])
    for now_s in (200.0, 400.0, 9000.0):
        mesh = next_mesh(mesh, alone, now_s, POLICY)
        assert (4, 5) in pairs_of(mesh)


def test_rules_demand_and_forbid_tunnels_and_say_of_what_kind() -> None:
    sites = world(4)
    sites[4] = replace(sites[4], labels={"zone": "lab"}, transports=("wireguard", "ipsec"))
    sites[5] = replace(sites[5], transports=("ipsec", "wireguard"))
    rules = (
        PairRule(Selector(name="s4"), Selector(name="s5"), Say.MUST, ("ipsec",)),
        PairRule(Selector(label=("zone", "lab")), Selector(), Say.MUST_NOT),
        PairRule(Selector(name="s5"), Selector(name="s6"), Say.MUST, ("plain",)),
        PairRule(Selector(name="s5"), Selector(name="s55"), Say.MUST),
    )
    mesh = settled(Situation(sites), replace(POLICY, rules=rules))
    assert {line.pair for line in mesh.lines if 4 in line.pair} == {(4, 5)}
    assert [line.transport for line in mesh.lines if line.pair == (4, 5)] == ["ipsec"]
    assert "s5 and s6 must have a tunnel" in mesh.problems[-2]
    assert mesh.problems[-1] == "a rule demands tunnels with s55, and no site is called so"


def test_a_relay_that_joins_after_sites_takes_the_place_of_one_at_once() -> None:
    everybody = world(3, 1)
    first = {serial: everybody[serial] for serial in (2, 3)}
    mesh = next_mesh(Mesh(), Situation({2: first[2]}), 0.0, POLICY)
    mesh = next_mesh(mesh, Situation(first), 1.0, POLICY)
    assert mesh.hubs.now == (2, 3)
    mesh = next_mesh(mesh, Situation(everybody), 2.0, POLICY)
    assert 1 in mesh.hubs.now and "a relay before a site" in mesh.hubs.why


def test_a_hub_that_is_silent_is_replaced_and_its_tunnels_go_when_all_are_up_elsewhere() -> None:
    sites = world(3, 3)
    mesh = settled(Situation(sites))
    up = tuple(mesh.lines)
    dead = Situation(sites, silent_since_s={1: 0.0}, up=[line for line in up if line.a != 1])
    mesh = next_mesh(mesh, dead, 40.0, POLICY)
    assert (mesh.hubs.now, mesh.hubs.retiring) == ((2, 3), ())
    # A busy one that still carries is kept until everybody is up with the new one.
    loads = {2: NodeLoad(cpu=0.9)}
    busy = Situation(sites, loads=loads, up=[line for line in mesh.lines if {*line.pair} & {2, 3}])
    mesh = next_mesh(mesh, busy, 700.0, POLICY)
    assert (mesh.hubs.now, mesh.hubs.retiring) == ((3, 1), (2,))
    assert (2, 5) in pairs_of(mesh)
    mesh = next_mesh(mesh, replace(busy, up=tuple(mesh.lines)), 701.0, POLICY)
    assert mesh.hubs.retiring == ()


def test_where_there_are_to_be_fewer_hubs_those_too_many_go_one_by_one_when_all_are_up_elsewhere() -> None:
    sites = world(3, 3)
    mesh = settled(Situation(sites), replace(POLICY, hubs=HubPolicy(count=3)))
    assert mesh.hubs.now == (1, 2, 3)
    fewer, up = replace(POLICY, hubs=HubPolicy(count=1)), tuple(mesh.lines)
    mesh = next_mesh(mesh, Situation(sites, up=[line for line in up if 3 in line.pair]), 40.0, fewer)
    assert (mesh.hubs.now, mesh.hubs.retiring) == ((1, 2), (3,))
    assert "one more than there are to be" in mesh.hubs.why
    assert (3, 5) in pairs_of(mesh)
    for now_s in (41.0, 42.0):
        mesh = next_mesh(mesh, Situation(sites, up=up), now_s, fewer)
    assert (mesh.hubs.now, mesh.hubs.retiring) == ((1,), ())
    assert next_mesh(mesh, Situation(sites, up=up), 43.0, fewer).hubs is mesh.hubs


def test_a_second_hub_that_dies_is_replaced_as_soon_as_the_first_was() -> None:
    sites = world(3, 4)
    mesh = settled(Situation(sites))
    mesh = next_mesh(mesh, Situation(sites, silent_since_s={1: 0.0}), 31.0, POLICY)
    assert mesh.hubs.now == (2, 3)
    both = Situation(sites, silent_since_s={1: 0.0, 2: 10.0})
    assert next_mesh(mesh, both, 39.0, POLICY).hubs.now == (2, 3)
    assert next_mesh(mesh, both, 41.0, POLICY).hubs.now == (3, 4)


def test_who_is_critical_and_has_one_way_only_is_named() -> None:
    one_uplink = settled(Situation(world(3, critical={4})))
    said = "s4 is critical and has one way only (wan0 to r1, wan0 to r2): it needs two uplinks, and two hubs"
    assert len(one_uplink.problems) == 1 and said in one_uplink.problems[0]
    sites = world(3, n_uplinks=2, critical={4})
    mesh = settled(Situation(sites))
    assert mesh.problems == ()
    mesh = next_mesh(mesh, Situation(sites, up=tuple(mesh.lines)), 1.0, POLICY)
    assert mesh.problems == ()
    one_hub = [line for line in mesh.lines if 2 not in line.pair]
    mesh = next_mesh(mesh, Situation(sites, up=one_hub), 2.0, POLICY)
    assert "s4 is critical and has one way only" in mesh.problems[0]
    elsewhere = [line for line in mesh.lines if 4 not in line.pair]
    mesh = next_mesh(mesh, Situation(sites, up=elsewhere), 3.0, POLICY)
    assert "s4 is critical and has no way:" in mesh.problems[0]


def test_a_site_that_was_a_hub_keeps_its_tunnels_until_it_is_up_with_the_new_hubs() -> None:
    sites = world(5, 0)
    mesh = settled(Situation(sites))
    busy = Situation(sites, loads={2: NodeLoad(cpu=0.9)}, up=[line for line in mesh.lines if line.pair != (1, 2)])
    mesh = next_mesh(next_mesh(mesh, busy, 700.0, POLICY), replace(busy, up=tuple(mesh.lines)), 701.0, POLICY)
    assert mesh.hubs.now == (1, 3)
    apart = [line for line in mesh.lines if line.pair not in {(1, 2), (2, 3)}]
    mesh = next_mesh(mesh, replace(busy, up=apart), 702.0, POLICY)
    assert mesh.hubs.retiring == (2,) and (2, 5) in pairs_of(mesh)


def test_two_sites_are_joined_over_as_many_uplinks_as_they_have() -> None:
    mesh = settled(Situation({site.serial: site for site in (a_site(1, n_uplinks=2), a_site(2, n_uplinks=2))}))
    assert {(line.uplink_a, line.uplink_b) for line in mesh.lines} == {("wan0", "wan0"), ("wan1", "wan1")}


def test_a_budget_is_kept() -> None:
    busy = Situation(world(9), demand_mbps={(3, other): 10.0 * other for other in range(4, 12)})
    policy = replace(POLICY, budget=4)
    mesh = next_mesh(next_mesh(Mesh(), busy, 0.0, policy), busy, 20.0, policy)
    assert {pair for pair in pairs_of(mesh) if 3 in pair} == {(1, 3), (2, 3), (3, 11), (3, 10)}


a_round = st.tuples(
    st.floats(1.0, 400.0),
    st.dictionaries(st.sampled_from([(4, 5), (4, 6), (5, 6), (3, 7)]), st.floats(0.0, 60.0)),
    st.sets(st.sampled_from([(3, 4), (6, 7)])),
    st.sets(st.integers(1, 7), max_size=3),
    st.dictionaries(st.integers(1, 7), st.floats(0.0, 1.0)),
)


@given(
    rounds=st.lists(a_round, min_size=5, max_size=20),
    n_relays=st.integers(0, 3),
    n_uplinks=st.integers(1, 2),
    critical=st.sets(st.integers(4, 7), max_size=2),
    lost=st.sets(st.integers(0, 40), max_size=5),
)
@settings(max_examples=25, deadline=None)
def test_whatever_comes_changes_are_few_and_nobody_is_cut_off(
    rounds: list[tuple[float, Mapping[Pair, float], Collection[Pair], Collection[int], Mapping[int, float]]],
    n_relays: int,
    n_uplinks: int,
    critical: set[int],
    lost: set[int],
) -> None:
    sites = world(7 - n_relays, n_relays, n_uplinks=n_uplinks, critical=critical)
    mesh, now_s = settled(Situation(sites)), 0.0
    silent: dict[int, float] = {}
    changes: list[float] = []
    replaced: list[float] = []
    for seconds, demand, poor, quiet, loads in rounds:
        now_s += seconds
        silent = {serial: silent.get(serial, now_s) for serial in quiet}
        # Some lines are down, but the silent have none that is up.
        up = [
            line for place, line in enumerate(mesh.lines) if not {*line.pair} & silent.keys() and place not in lost
        ]
        situation = Situation(
            sites,
            demand,
            dict.fromkeys(poor, "its ways lose too much"),
            {serial: NodeLoad(cpu=cpu) for serial, cpu in loads.items()},
            silent,
            up,
        )
        before, mesh = mesh, next_mesh(mesh, situation, now_s, POLICY)
        changes += [now_s] * len(before.direct.pairs.keys() ^ mesh.direct.pairs.keys())
        died = mesh.hubs.why.endswith("which is silent")
        replaced += [now_s] * (before.hubs.now != mesh.hubs.now and not died)
        assert sum(now_s - at < HOUR_S for at in changes) <= POLICY.direct.changes_per_hour
        assert all(later - sooner >= POLICY.hubs.hold_s for sooner, later in itertools.pairwise(replaced))
        # Who talked over what is up still does over what stays of it.
        kept = [line.pair for line in up if line in mesh.lines]
        then, now = Reach((line.pair for line in up), before.hubs.transit), Reach(kept, mesh.hubs.transit)
        ends = {serial for serial, site in sites.items() if site.prefixes}
        for one in ends:
            assert then.all_from(one) & ends <= now.all_from(one)
        if mesh.lines is not before.lines or before.hubs != mesh.hubs:
            for one in critical:
                two_ways_to(one, mesh, sites)


def two_ways_to(critical: int, mesh: Mesh, sites: Mapping[int, Site]) -> None:
    """Any hub may die, and any uplink of those that have two."""
    for other in sites.keys() - {critical}:
        uplinks = min(len(sites[critical].uplinks), len(sites[other].uplinks))
        assert ways_apart(mesh.lines, mesh.hubs.now, critical, other) >= min(2, uplinks)
        for hub in mesh.hubs.now:
            left = Reach((pair for pair in pairs_of(mesh) if hub not in pair), mesh.hubs.now)
            assert hub in (critical, other) or left.talk(critical, other)
