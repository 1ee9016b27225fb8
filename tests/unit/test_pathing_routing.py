"""Plans for a whole demand matrix against the same programme written out over all simple paths."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from highspy import Highs, HighsModelStatus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog

from pathing import Path, Topology, UnknownNode
from pathing.routing import OverScenarios, RoutingError, RoutingPlan, route_demands, route_greedily

Pair = tuple[str, str]
Matrix = dict[Pair, float]
Floats = NDArray[np.float64]

EXACT = 1e-9  # a gap that leaves nothing to chance


@dataclass(frozen=True)
class Network:
    """A multigraph as a value: links are (src, dst, capacity, up)."""

    names: tuple[str, ...]
    links: tuple[tuple[str, str, float, bool], ...]

    def topology(self) -> Topology:
        topology = Topology()
        for name in self.names:
            topology.add_node(name)
        for src, dst, capacity, up in self.links:
            topology.add_link(src, dst, capacity_mbps=capacity, up=up)
        return topology

    def simple_paths(self, src: str, dst: str) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = []

        def walk(node: str, seen: frozenset[str], links: tuple[int, ...]) -> None:
            if node == dst:
                found.append(links)
                return
            for number, (tail, head, _, up) in enumerate(self.links):
                if up and tail == node and head not in seen:
                    walk(head, seen | {head}, (*links, number))

        walk(src, frozenset({src}), ())
        return found


class Programme:
    """The textbook programme: one variable for the share of each demand on each of all its simple paths."""

    def __init__(self, network: Network, matrices: Sequence[Matrix]) -> None:
        self.network, self.matrices = network, matrices
        pairs = dict.fromkeys(pair for matrix in matrices for pair in matrix)
        self.ways = {pair: ways for pair in pairs if (ways := network.simple_paths(*pair))}
        self.variables = [(pair, way) for pair, ways in self.ways.items() for way in ways]
        self.capacity = np.array([capacity for _, _, capacity, _ in network.links])
        self.up = np.array([up for *_, up in network.links])

    def utilisation(self) -> Floats:
        """What each variable adds to each link in each matrix: (K * n_links, n_variables)."""
        matrix = np.zeros((len(self.matrices), len(self.capacity), len(self.variables)))
        for column, (pair, way) in enumerate(self.variables):
            for number, demands in enumerate(self.matrices):
                matrix[number, list(way), column] = demands.get(pair, 0.0) / self.capacity[list(way)]
        return matrix.reshape(-1, len(self.variables))

    def belongs(self) -> Floats:
        """1 where a variable is one of the demand's: (n_demands, n_variables)."""
        return np.array([[float(pair == mine) for mine, _ in self.variables] for pair in self.ways])

    def least(
        self, mean_weight: float, moved: tuple[RoutingPlan, float] | None = None, over: OverScenarios = "worst"
    ) -> float:
        """The least maximum + mean_weight * mean utilisation; the maximum is the worst, or mean, over matrices."""
        use, belongs, n = self.utilisation(), self.belongs(), len(self.variables)
        # A variable for each maximum.
        groups = 1 if over == "worst" else len(self.matrices)
        below = np.hstack([use, -np.repeat(np.eye(groups), len(use) // groups, axis=0)])
        costs = use.sum(axis=0) * mean_weight / (self.up.sum() * len(self.matrices))
        costs = np.append(costs, np.full(groups, 1 / groups))
        limits = np.zeros(len(use))
        if moved is not None:
            # One more variable each for what leaves a path of before.
            previous, share = moved
            before = np.array(
                [sum(f for path, f in previous.paths[pair] if path.links == way) for pair, way in self.variables]
            )
            volumes = np.array([self.matrices[0].get(pair, 0.0) for pair, _ in self.variables])
            costs = np.append(costs, np.zeros(n))
            leaving = np.hstack([-np.eye(n), np.zeros((n, groups)), -np.eye(n)])
            total = np.hstack([np.zeros(n + groups), volumes])
            below = np.vstack([np.hstack([below, np.zeros((len(below), n))]), leaving, total])
            allowed = share * sum(self.matrices[0].get(pair, 0.0) for pair in self.ways)
            limits = np.concatenate([limits, -before, [allowed]])
        equal = np.hstack([belongs, np.zeros((len(belongs), len(costs) - n))])
        return self._solve(costs, below, limits, A_eq=equal, b_eq=np.ones(len(belongs)))

    def least_cut(self) -> float:
        """The least total that has to be cut, each demand counted by its largest volume."""
        peaks = {pair: max(matrix.get(pair, 0.0) for matrix in self.matrices) for pair in self.ways}
        costs = np.array([-peaks[pair] for pair, _ in self.variables])
        use, belongs = self.utilisation(), self.belongs()
        limits = np.ones(len(use) + len(belongs))
        return sum(peaks.values()) + self._solve(costs, np.vstack([use, belongs]), limits)

    @staticmethod
    def _solve(costs: Floats, below: Floats, limits: Floats, **more: Any) -> float:
        answer = linprog(costs, A_ub=below, b_ub=limits, bounds=(0, None), **more)
        assert answer.status == 0
        return float(answer.fun)


CAPACITIES = st.sampled_from([1.0, 2.0, 5.0, 10.0])
VOLUMES = st.sampled_from([0.0, 0.3, 1.0, 2.5, 4.0])


@st.composite
def networks(draw: st.DrawFn) -> Network:
    names = tuple("abcde"[: draw(st.integers(2, 5))])
    ends = st.tuples(st.sampled_from(names), st.sampled_from(names)).filter(lambda pair: pair[0] != pair[1])
    link = st.tuples(ends, CAPACITIES, st.sampled_from([True, True, True, True, False]))
    drawn = draw(st.lists(link, min_size=1, max_size=12))
    # A ring makes most demands routable; without it most examples would be empty.
    ring = zip(names, names[1:] + names[:1], strict=True) if draw(st.booleans()) else ()
    links = [(src, dst, draw(CAPACITIES), True) for src, dst in ring if src != dst]
    links += [(src, dst, capacity, up) for (src, dst), capacity, up in drawn]
    return Network(names, tuple(links))


@st.composite
def matrices(draw: st.DrawFn, network: Network, count: int = 1) -> list[Matrix]:
    pairs = list(itertools.permutations(network.names, 2))
    return [draw(st.dictionaries(st.sampled_from(pairs), VOLUMES, max_size=6)) for _ in range(count)]


def check(
    plan: RoutingPlan,
    network: Network,
    given_matrices: Sequence[Matrix],
    max_paths: int = 3,
    over: OverScenarios = "worst",
) -> None:
    """What must hold for every plan whatever its quality."""
    topology = network.topology()
    capacity = topology.array("capacity_mbps")
    loads = np.zeros((len(given_matrices), topology.n_links))
    pairs = set(itertools.chain.from_iterable(given_matrices))
    assert set(plan.paths) | set(plan.unroutable) == pairs
    assert all(not network.simple_paths(*pair) for pair in plan.unroutable)
    for pair, shares in plan.paths.items():
        assert 1 <= len(shares) <= max_paths
        assert math.isclose(sum(fraction for _, fraction in shares), 1.0, abs_tol=1e-12)
        assert all(fraction > 0 for _, fraction in shares)
        assert len({path.links for path, _ in shares}) == len(shares)
        for path, fraction in shares:
            check_path(path, pair, network)
            for number, matrix in enumerate(given_matrices):
                loads[number, list(path.links)] += matrix.get(pair, 0.0) * fraction
    use = loads / capacity
    assert np.allclose(plan.link_mbps, loads[0], rtol=0, atol=1e-9)
    maxima = use.max(axis=1, initial=0.0)
    assert math.isclose(plan.mlu, maxima.max() if over == "worst" else maxima.mean(), abs_tol=1e-9)
    assert plan.lower_bound <= plan.mlu
    if (up := topology.array("up") > 0).any():
        assert math.isclose(plan.mean_utilisation, use[:, up].mean(), abs_tol=1e-9)


def check_path(path: Path, pair: Pair, network: Network) -> None:
    ends = [network.links[link] for link in path.links]
    assert (path.src, path.dst) == pair
    assert path.nodes == (ends[0][0], *(dst for _, dst, _, _ in ends))
    assert all(before[1] == after[0] for before, after in itertools.pairwise(ends))
    assert all(up for *_, up in ends)


def objective(plan: RoutingPlan, mean_weight: float) -> float:
    return plan.mlu + mean_weight * plan.mean_utilisation


@given(st.data(), st.sampled_from([0.1, 1e-3, 1e-5]))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_plan_is_the_optimum_over_all_simple_paths(data: st.DataObject, mean_weight: float) -> None:
    network = data.draw(networks())
    demands = data.draw(matrices(network))
    # So many paths that the limit on them never matters.
    plan = route_demands(network.topology(), demands[0], gap=EXACT, mean_weight=mean_weight, max_paths=99)
    check(plan, network, demands, max_paths=99)
    programme = Programme(network, demands)
    if not programme.variables:
        return
    best = programme.least(mean_weight)
    assert math.isclose(objective(plan, mean_weight), best, rel_tol=1e-6, abs_tol=1e-9)
    assert plan.lower_bound <= programme.least(0.0) + 1e-9


@pytest.mark.parametrize("over", ["worst", "mean"])
@given(data=st.data(), count=st.integers(2, 4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_several_matrices_share_the_routing_that_is_best_over_all_of_them(
    data: st.DataObject, count: int, over: OverScenarios
) -> None:
    network = data.draw(networks())
    demands = data.draw(matrices(network, count))
    options: dict[str, Any] = {"over_scenarios": over, "gap": EXACT, "mean_weight": 0.01, "max_paths": 99}
    plan = route_demands(network.topology(), demands[0], scenarios=demands[1:], **options)
    check(plan, network, demands, max_paths=99, over=over)
    programme = Programme(network, demands)
    if not programme.variables:
        return
    assert math.isclose(objective(plan, 0.01), programme.least(0.01, over=over), rel_tol=1e-6, abs_tol=1e-9)
    assert plan.lower_bound <= programme.least(0.0, over=over) + 1e-9


@pytest.mark.parametrize("over", ["worst", "mean"])
@given(data=st.data(), max_moved=st.sampled_from([0.0, 0.05, 0.3, 1.0]), count=st.integers(1, 3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_more_moves_than_allowed_and_the_rest_is_optimal(
    data: st.DataObject, max_moved: float, count: int, over: OverScenarios
) -> None:
    network = data.draw(networks())
    before = data.draw(matrices(network))[0]
    demands, *scenarios = data.draw(matrices(network, count))
    # The same demands, so that none is new.
    before = {pair: before.get(pair, 1.0) for pair in itertools.chain(demands, *scenarios)}
    topology = network.topology()
    previous = route_demands(topology, before, gap=EXACT, max_paths=99)
    options: dict[str, Any] = {"scenarios": scenarios, "over_scenarios": over, "gap": EXACT, "mean_weight": 0.01}
    plan = route_demands(topology, demands, previous=previous, max_moved=max_moved, max_paths=99, **options)
    check(plan, network, [demands, *scenarios], max_paths=99, over=over)
    assert plan.moved <= max_moved + 1e-6
    programme = Programme(network, [demands, *scenarios])
    if not programme.variables:
        return
    best = programme.least(0.01, moved=(previous, max_moved), over=over)
    assert math.isclose(objective(plan, 0.01), best, rel_tol=1e-5, abs_tol=1e-8)


@given(st.data(), st.integers(1, 3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_cut_is_the_least_that_makes_the_rest_fit(data: st.DataObject, count: int) -> None:
    network = data.draw(networks())
    # Ten times the usual volume: little of it fits.
    demands = [{pair: 10 * mbps for pair, mbps in one.items()} for one in data.draw(matrices(network, count))]
    topology = network.topology()
    plan = route_demands(topology, demands[0], scenarios=demands[1:], gap=EXACT, max_paths=99)
    if plan.mlu <= 1:
        assert plan.excess_mbps == {}
        return
    best = Programme(network, demands).least_cut()
    assert math.isclose(sum(plan.excess_mbps.values()), best, rel_tol=2e-4, abs_tol=1e-6)
    peaks = {pair: max(matrix.get(pair, 0.0) for matrix in demands) for pair in plan.paths}
    left = {pair: 1 - plan.excess_mbps.get(pair, 0.0) / peak for pair, peak in peaks.items() if peak > 0}
    assert all(share >= -1e-12 for share in left.values())
    less = [{pair: mbps * max(0.0, left.get(pair, 1.0)) for pair, mbps in matrix.items()} for matrix in demands]
    fitting = route_demands(topology, less[0], scenarios=less[1:], gap=EXACT, max_paths=99)
    assert fitting.mlu <= 1 + 1e-5


@given(st.data(), st.sampled_from([1, 2, 3]), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_demand_has_more_paths_than_allowed(data: st.DataObject, max_paths: int, unsplittable: bool) -> None:
    network = data.draw(networks())
    demands = data.draw(matrices(network, 2))
    options: dict[str, Any] = {"scenarios": demands[1:], "max_paths": max_paths, "unsplittable": unsplittable}
    most = 1 if unsplittable else max_paths
    plan = route_demands(network.topology(), demands[0], **options)
    check(plan, network, demands, max_paths=most)
    assert plan.status in {"optimal", "gap open"}
    check(route_greedily(network.topology(), demands[0], **options), network, demands, max_paths=most)


def lanes(*capacities: float) -> Topology:
    """Two nodes with a link of each capacity from a to b."""
    topology = Topology()
    for name in "ab":
        topology.add_node(name)
    for capacity in capacities:
        topology.add_link("a", "b", capacity_mbps=capacity)
    return topology


def square(capacity: float = 10.0) -> Topology:
    """A square a-b-d and a-c-d, links 0 to 3, and the diagonal a-d as link 4; all one way."""
    topology = Topology()
    for name in "abcd":
        topology.add_node(name)
    for src, dst in ("ab", "bd", "ac", "cd", "ad"):
        topology.add_link(src, dst, capacity_mbps=capacity)
    return topology


def test_a_demand_is_spread_over_parallel_links_by_their_capacity() -> None:
    plan = route_demands(lanes(1, 2, 3), {("a", "b"): 3.0}, gap=EXACT)
    assert plan.mlu == pytest.approx(0.5, abs=1e-6)
    assert {path.links[0]: fraction for path, fraction in plan.paths["a", "b"]} == pytest.approx(
        {0: 1 / 6, 1: 2 / 6, 2: 3 / 6}, abs=1e-6
    )
    assert plan.status == "optimal"


def test_with_fewer_paths_the_largest_links_are_used_and_that_is_proven_to_be_the_best() -> None:
    plan = route_demands(lanes(1, 2, 3), {("a", "b"): 3.0}, max_paths=2)
    assert plan.mlu == pytest.approx(0.6, abs=1e-6)
    assert plan.lower_bound == pytest.approx(0.6)
    assert plan.status == "optimal"


def test_a_mean_over_matrices_is_not_ruled_by_the_one_that_is_fullest_anyway() -> None:
    topology = lanes(10.0, 10.0)
    # Nothing can be done about the second matrix: c -> d has one way. The first decides how a -> b is spread.
    topology.add_node("c")
    topology.add_node("d")
    topology.add_link("c", "d", capacity_mbps=10.0)
    demands, full = {("a", "b"): 8.0}, {("c", "d"): 9.0}
    worst = route_demands(topology, demands, scenarios=[full], gap=EXACT)
    mean = route_demands(topology, demands, scenarios=[full], gap=EXACT, over_scenarios="mean")
    assert math.isclose(worst.mlu, 0.9, abs_tol=1e-6)
    assert math.isclose(mean.mlu, (0.4 + 0.9) / 2, abs_tol=1e-6)
    assert np.allclose(mean.link_mbps, [4.0, 4.0, 0.0], atol=1e-4)


def test_a_programme_that_the_solver_gives_up_is_begun_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    # After many warm starts rounding errors make HiGHS end with an unknown status, once in thousands of plans.
    run, statuses = Highs.run, []

    def unsure(solver: Highs) -> Any:
        answer = run(solver)
        statuses.append(solver.getModelStatus())
        if len(statuses) == 2:
            monkeypatch.setattr(Highs, "getModelStatus", lambda _: HighsModelStatus.kUnknown)
        else:
            monkeypatch.undo()
            monkeypatch.setattr(Highs, "run", unsure)
        return answer

    expected = route_demands(square(), {("a", "d"): 12.0}, gap=EXACT)
    monkeypatch.setattr(Highs, "run", unsure)
    plan = route_demands(square(), {("a", "d"): 12.0}, gap=EXACT)
    assert len(statuses) > 2
    assert math.isclose(plan.mlu, expected.mlu, rel_tol=1e-6)
    assert plan.status == "optimal"


def test_unsplittable_demands_share_two_links_evenly() -> None:
    topology = lanes(10, 10)
    topology.add_node("s")
    topology.add_node("t")
    for node in "st":
        topology.add_link(node, "a", capacity_mbps=100)
    demands = {("s", "b"): 6.0, ("t", "b"): 6.0}
    plan = route_demands(topology, demands, unsplittable=True)
    assert plan.mlu == pytest.approx(0.6)
    assert [len(shares) for shares in plan.paths.values()] == [1, 1]


def test_traffic_that_does_not_matter_for_the_maximum_takes_the_short_way() -> None:
    topology = square()
    topology.add_node("e")
    topology.add_link("d", "e", capacity_mbps=1.0)
    plan = route_demands(topology, {("a", "d"): 1.0, ("d", "e"): 1.0})
    assert [path.nodes for path, _ in plan.paths["a", "d"]] == [("a", "d")]


def test_unroutable_demands_are_listed_and_the_others_planned() -> None:
    topology = square()
    plan = route_demands(topology, {("d", "a"): 5.0, ("a", "d"): 3.0, ("b", "c"): 0.0}, gap=EXACT)
    assert plan.unroutable == (("d", "a"), ("b", "c"))
    assert plan.mlu == pytest.approx(0.1, abs=1e-6)
    assert list(plan.paths) == [("a", "d")]


@pytest.mark.parametrize("demands", [{}, {("a", "d"): 0.0}, {("d", "a"): 1.0}])
def test_nothing_to_route_is_a_plan_too(demands: Matrix) -> None:
    plan = route_demands(square(), demands)
    assert (plan.mlu, plan.lower_bound, plan.mean_utilisation, plan.moved) == (0, 0, 0, 0)
    assert plan.status == "optimal" and not plan.link_mbps.any()
    assert route_greedily(square(), demands).mlu == 0


def test_a_topology_without_links_has_only_unroutable_demands() -> None:
    topology = Topology()
    topology.add_node("a")
    topology.add_node("b")
    assert route_demands(topology, {("a", "b"): 1.0}).unroutable == (("a", "b"),)


def test_the_excess_falls_on_the_demand_that_blocks_most() -> None:
    topology = Topology()
    for name in "abc":
        topology.add_node(name)
    topology.add_link("a", "b", capacity_mbps=10)
    topology.add_link("b", "c", capacity_mbps=10)
    plan = route_demands(topology, {("a", "b"): 10.0, ("b", "c"): 10.0, ("a", "c"): 5.0})
    assert plan.excess_mbps == pytest.approx({("a", "c"): 5.0}, rel=1e-4)
    assert plan.mlu == pytest.approx(1.5)


def test_nothing_is_cut_while_all_fits() -> None:
    assert route_demands(square(), {("a", "d"): 30.0}).excess_mbps == {}


def test_moving_is_counted_by_volume_against_the_plan_before() -> None:
    topology = square()
    previous = route_demands(topology, {("a", "d"): 1.0, ("a", "b"): 1.0})
    topology.set_link(4, capacity_mbps=0.001)
    plan = route_demands(topology, {("a", "d"): 1.0, ("a", "b"): 3.0}, previous=previous, unsplittable=True)
    assert plan.moved == pytest.approx(0.25)
    held = route_demands(topology, {("a", "d"): 1.0, ("a", "b"): 3.0}, previous=previous, max_moved=0.1, gap=EXACT)
    assert held.moved == pytest.approx(0.1, abs=1e-6)
    path, fraction = held.paths["a", "d"][0]
    assert path == previous.paths["a", "d"][0][0] and fraction == pytest.approx(0.6, abs=1e-6)


def test_what_cannot_stay_moves_whatever_the_limit() -> None:
    topology = square()
    previous = route_demands(topology, {("a", "d"): 1.0}, mean_weight=10.0)
    assert [path.links for path, _ in previous.paths["a", "d"]] == [(4,)]
    topology.set_link(4, up=False)
    plan = route_demands(topology, {("a", "d"): 1.0, ("a", "b"): 1.0}, previous=previous, max_moved=0.0)
    assert plan.moved == 0
    assert all(4 not in path.links for path, _ in plan.paths["a", "d"])


def test_a_plan_of_another_topology_is_refused() -> None:
    previous = route_demands(lanes(1, 1), {("a", "b"): 1.0})
    other = square()
    with pytest.raises(RoutingError, match="'a' -> 'd'"):
        route_demands(other, {("a", "d"): 1.0}, previous=_renamed(previous, ("a", "b"), ("a", "d")))


def _renamed(plan: RoutingPlan, old: Pair, new: Pair) -> RoutingPlan:
    paths: Mapping[Pair, tuple[tuple[Path, float], ...]] = {new: plan.paths[old]}
    return RoutingPlan(
        paths=paths,
        mlu=plan.mlu,
        lower_bound=plan.lower_bound,
        mean_utilisation=plan.mean_utilisation,
        moved=plan.moved,
        link_mbps=plan.link_mbps,
        excess_mbps={},
        unroutable=(),
        status=plan.status,
    )


class Ticks:
    """A clock that goes on by a second each time it is read."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


@pytest.mark.parametrize("limit_s", [0, 3, 10, 20, 30, 40, 60])
def test_when_time_runs_out_there_is_a_plan_with_a_bound_all_the_same(limit_s: float) -> None:
    generator = np.random.default_rng(5)
    names = tuple("abcdefgh")
    pairs = list(itertools.permutations(names, 2))
    chosen = [pairs[number] for number in generator.permutation(len(pairs))[:24]]
    network = Network(names, tuple((src, dst, 10.0, True) for src, dst in chosen))
    demands = [{pair: float(generator.uniform(0.1, 3.0)) for pair in pairs}]
    best = route_demands(network.topology(), demands[0], gap=EXACT)
    plan = route_demands(network.topology(), demands[0], gap=EXACT, time_limit_s=limit_s, clock=Ticks())
    check(plan, network, demands)
    assert plan.lower_bound <= best.mlu + 1e-9 <= plan.mlu + 2e-9
    assert plan.status in {"greedy", "time limit", "optimal"}
    assert limit_s > 0 or plan.status == "greedy"


def test_what_is_told_on_the_way_only_gets_better_and_ends_at_the_plan() -> None:
    generator = np.random.default_rng(2)
    names = tuple("abcdefgh")
    pairs = list(itertools.permutations(names, 2))
    links = tuple((src, dst, float(generator.integers(5, 20)), True) for src, dst in pairs[::2])
    demands = {pair: float(generator.uniform(0.1, 3.0)) for pair in pairs}
    told: list[tuple[float, float]] = []
    plan = route_demands(
        Network(names, links).topology(),
        demands,
        max_paths=99,
        progress=lambda best, bound: told.append((best, bound)),
    )
    assert len(told) > 3
    assert all(0 <= bound <= best for best, bound in told)
    assert all(now[0] <= before[0] and now[1] >= before[1] for before, now in itertools.pairwise(told))
    assert told[0][0] > told[-1][0] == pytest.approx(plan.mlu, rel=1e-3)
    assert told[-1][1] == pytest.approx(plan.lower_bound, rel=1e-3)


def test_demands_that_the_time_is_too_short_for_keep_to_their_first_paths() -> None:
    names = tuple(f"n{number}" for number in range(24))
    ring = [(names[i], names[(i + step) % 24], 10.0, True) for i in range(24) for step in (1, 5, 23)]
    topology = Network(names, tuple(ring)).topology()
    demands = {pair: 0.01 + 0.001 * number for number, pair in enumerate(itertools.permutations(names, 2))}
    assert len(demands) > 500  # fewer would get a greedy plan whatever the time
    told: list[tuple[float, float]] = []
    for limit_s in (0, 5, 15, 40):
        plan = route_demands(
            topology,
            demands,
            time_limit_s=limit_s,
            clock=Ticks(),
            progress=lambda best, bound: told.append((best, bound)),
        )
        assert set(plan.paths) == set(demands)
        loads = np.zeros(len(ring))
        for pair, shares in plan.paths.items():
            for path, fraction in shares:
                loads[list(path.links)] += demands[pair] * fraction
        assert np.allclose(plan.link_mbps, loads) and plan.mlu == pytest.approx(loads.max() / 10.0)
        assert plan.lower_bound <= told[-1][0] + 1e-9
        assert plan.status != "optimal"


def test_the_same_question_has_the_same_answer() -> None:
    topology, demands = square(), {("a", "d"): 25.0, ("a", "b"): 3.0, ("c", "d"): 4.0}
    first, second = (route_demands(topology, demands) for _ in range(2))
    assert dict(first.paths) == dict(second.paths)


BAD = float("nan"), float("inf"), -1.0, "7", None, True


@pytest.mark.parametrize("volume", BAD)
def test_a_demand_that_is_no_volume_is_named(volume: Any) -> None:
    with pytest.raises(RoutingError, match="'a' -> 'd'"):
        route_demands(square(), {("a", "d"): volume})
    with pytest.raises(RoutingError, match="'a' -> 'd'"):
        route_demands(square(), {}, scenarios=[{("a", "d"): volume}])


def test_a_demand_from_a_node_to_itself_is_named() -> None:
    with pytest.raises(RoutingError, match="'a' -> 'a' goes from a node to itself"):
        route_demands(square(), {("a", "a"): 1.0})


def test_an_unknown_node_is_named() -> None:
    with pytest.raises(UnknownNode, match="'nowhere'"):
        route_demands(square(), {("a", "nowhere"): 1.0})


@pytest.mark.parametrize("pair", ["ad!", ("a",), 7, ("a", "b", "c")])
def test_a_key_that_is_no_pair_is_named(pair: Any) -> None:
    with pytest.raises((RoutingError, UnknownNode)):
        route_demands(square(), {pair: 1.0})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("gap", 0.0),
        ("gap", math.nan),
        ("max_paths", 0),
        ("max_paths", 1.5),
        ("mean_weight", -1.0),
        ("mean_weight", math.inf),
        ("over_scenarios", "best"),
        ("max_moved", 0.1),
        ("time_limit_s", -1.0),
        ("time_limit_s", 1.0),
    ],
)
def test_an_option_that_cannot_be_is_named(option: str, value: Any) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(RoutingError, match=option):
        route_demands(square(), {("a", "d"): 1.0}, **options)
