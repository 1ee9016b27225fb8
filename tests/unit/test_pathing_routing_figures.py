"""What a plan says about itself is true where limits, extremes and large numbers make that hard."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from highspy import Highs, HighsModelStatus
from hypothesis import given, settings
from hypothesis import strategies as st

from pathing import Path, PathingError, Topology
from pathing.routing import route_demands, route_greedily


def lanes(*capacities: float) -> Topology:
    """Parallel links from a to b."""
    topology = Topology()
    topology.add_node("a")
    topology.add_node("b")
    for capacity in capacities:
        topology.add_link("a", "b", capacity_mbps=capacity)
    return topology


@pytest.mark.parametrize("max_paths", [60, 500, 1100, 10**30])
def test_any_number_of_paths_may_be_allowed(max_paths: int) -> None:
    topology = lanes(10.0, 10.0, 10.0)
    assert route_demands(topology, {("a", "b"): 15.0}, max_paths=max_paths).mlu == pytest.approx(0.5, rel=1e-3)
    plan = route_greedily(topology, {("a", "b"): 15.0}, max_paths=max_paths)
    assert math.fsum(share for _, share in plan.paths["a", "b"]) == pytest.approx(1.0)
    assert 0.5 <= plan.mlu < 0.76  # parts of a half, a quarter and so on: one link has half of it


def test_the_bound_reaches_a_plan_that_is_the_best_there_is() -> None:
    topology = Topology()
    for name in "abc":
        topology.add_node(name)
    for link in (
        ("c", "b", 18.170030823482445),
        ("b", "c", 1437.5255709338292),
        ("b", "a", 3132703.4224960236),
        ("a", "b", 2947.318002884998),
        ("b", "a", 0.1343123393706721),
        ("a", "b", 54165.40599823449),
        ("b", "a", 0.12165603097012624),
        ("b", "a", 1255.2150294605742),
        ("a", "c", 0.002359168913712357),
        ("c", "a", 9002683.3731439),
        ("a", "b", 861.9710495822344),
        ("c", "a", 59.96815634588075),
    ):
        topology.add_link(link[0], link[1], capacity_mbps=link[2])
    demands = {
        ("b", "a"): 0.01880757124621526,
        ("c", "b"): 5348241.427617879,
        ("b", "c"): 0.1032108089980471,
        ("a", "c"): 22192.064393018278,
        ("a", "b"): 9853194.234154318,
    }
    plan = route_demands(topology, demands, max_paths=64)
    assert plan.status == "optimal"
    assert plan.mlu * (1 - 2e-3) < plan.lower_bound <= plan.mlu


def test_paths_that_may_stay_count_in_the_bound() -> None:
    topology = lanes(10.0, 10.0, 10.0)
    demands = {("a", "b"): 15.0}
    links = [Path(("a", "b"), (link,), 1.0) for link in range(3)]
    before = replace(
        route_demands(topology, demands), paths={("a", "b"): tuple(zip(links, (0.8, 0.1, 0.1), strict=True))}
    )
    seconds = itertools.count()
    plans = (
        route_demands(topology, demands, max_paths=1, previous=before, max_moved=1.0),
        route_demands(
            topology,
            demands,
            max_paths=1,
            previous=before,
            max_moved=1.0,
            time_limit_s=0,
            clock=lambda: float(next(seconds)),
        ),
    )
    for plan in plans:
        assert plan.lower_bound <= 0.5 * (1 + 1e-9)  # as three paths it had before allow
    assert plans[0].mlu == pytest.approx(0.5, rel=1e-3)
    # Without a limit on what moves it may not keep more paths than are asked for.
    assert route_demands(topology, demands, max_paths=1, previous=before).lower_bound == pytest.approx(1.5)


def test_where_a_limit_on_paths_is_in_the_way_nothing_is_cut_and_the_plan_says_so() -> None:
    topology = lanes(10.0, 10.0)
    alone = route_demands(topology, {("a", "b"): 15.0}, unsplittable=True)
    assert (alone.mlu, dict(alone.excess_mbps), alone.overflows, alone.fits_otherwise) == (1.5, {}, True, True)
    split = route_demands(topology, {("a", "b"): 15.0})
    assert (split.overflows, split.fits_otherwise) == (False, False)
    too_much = route_demands(topology, {("a", "b"): 25.0}, unsplittable=True)
    assert sum(too_much.excess_mbps.values()) == pytest.approx(5.0, rel=1e-3)
    assert (too_much.overflows, too_much.fits_otherwise) == (True, False)


def test_a_mean_below_one_may_hide_a_matrix_that_overflows() -> None:
    plan = route_demands(lanes(10.0), {("a", "b"): 12.0}, scenarios=[{("a", "b"): 1.0}], over_scenarios="mean")
    assert plan.mlu < 1 and plan.overflows and not plan.fits_otherwise
    assert plan.excess_mbps["a", "b"] == pytest.approx(2.0, rel=1e-3)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.floats(-1, 6), min_size=4, max_size=4), st.lists(st.floats(0, 12), min_size=4, max_size=4))
def test_a_cut_is_found_whatever_the_sizes_and_the_rest_fits(capacities: list[float], sizes: list[float]) -> None:
    topology = Topology()
    for name in "abc":
        topology.add_node(name)
    for ends, size in zip(("ab", "bc", "ac", "ca"), capacities, strict=True):
        topology.add_link(*ends, capacity_mbps=10**size)
    pairs = (("a", "b"), ("b", "c"), ("a", "c"), ("c", "b"))
    demands = {pair: 10**size for pair, size in zip(pairs, sizes, strict=True)}
    plan = route_demands(topology, demands)
    rest = {pair: max(0.0, mbps - plan.excess_mbps.get(pair, 0.0)) for pair, mbps in demands.items()}
    assert route_demands(topology, rest, max_paths=9).mlu <= 1 + 1e-4 + 1e-12 * max(demands.values())


def test_few_demands_are_placed_as_well_as_the_programme_places_them() -> None:
    random = np.random.default_rng(3)
    topology = Topology()
    for row, column in itertools.product(range(7), repeat=2):
        topology.add_node(f"{row}.{column}")
    for row, column in itertools.product(range(7), repeat=2):
        for other in ((row + 1, column), (row, column + 1)):
            if max(other) < 7:
                for ends in (((row, column), other), (other, (row, column))):
                    names = [f"{one}.{two}" for one, two in ends]
                    topology.add_link(names[0], names[1], capacity_mbps=float(random.integers(5, 20)))
    names = list(topology.node_names)
    demands = {(names[i], names[-1 - i]): float(random.integers(1, 9)) for i in range(0, 20, 2)}
    best, greedy = route_demands(topology, demands), route_greedily(topology, demands)
    assert best.lower_bound <= greedy.mlu <= 1.25 * best.mlu
    assert greedy.lower_bound <= best.mlu
    assert greedy.lower_bound > 0.6 * best.mlu


def test_large_networks_are_searched_as_small_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = lanes(10.0, 20.0)
    for number, (tail, head) in enumerate((("b", "c"), ("c", "d"), ("a", "d"), ("d", "b"), ("c", "a"))):
        for name in (tail, head):
            if name not in topology.node_names:
                topology.add_node(name)
        topology.add_link(tail, head, capacity_mbps=5.0 + number, up=number != 3)
    demands = {pair: 4.0 for pair in itertools.permutations("abcd", 2) if pair != ("d", "c")}
    small = route_demands(topology, demands)
    monkeypatch.setattr("pathing.routing.trees._TABLE_NODES", 0)
    large = route_demands(topology, demands)
    assert (large.mlu, large.lower_bound, large.unroutable) == (small.mlu, small.lower_bound, small.unroutable)
    assert dict(large.paths) == dict(small.paths)


def test_demands_a_million_billion_times_too_large_are_cut_and_the_small_one_is_not() -> None:
    topology = Topology()
    for name in "abc":
        topology.add_node(name)
    for ends, capacity in (("ab", 0.6412147567706918), ("bc", 1.8709432508726438), ("ac", 8.720232178748882)):
        topology.add_link(ends[0], ends[1], capacity_mbps=capacity)
    demands = {("a", "b"): 0.5, ("b", "c"): 1676271639670.961, ("a", "c"): 4.015363384407405e17}
    plan = route_demands(topology, demands)
    assert set(plan.excess_mbps) >= {("b", "c"), ("a", "c")}
    assert plan.excess_mbps["b", "c"] == pytest.approx(demands["b", "c"])


def test_where_the_solver_gives_up_the_error_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Highs, "getModelStatus", lambda _: HighsModelStatus.kUnknown)
    with pytest.raises(PathingError, match=r"Unknown.*scale or leave out demands"):
        route_demands(lanes(10.0, 10.0), {("a", "b"): 5.0})
