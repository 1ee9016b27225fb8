"""Disjoint paths against all sets of paths on small multigraphs, and against networkx's flows on larger ones."""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pathing.constrained import constrained_path
from pathing.constraints import Constraints
from pathing.disjoint import DisjointPaths, disjoint_paths
from pathing.disjoint_program import Undecided
from pathing.disjoint_search import Apart
from pathing.errors import ConstraintError, NoPath, PathingError, UnknownNode, WeightError
from pathing.label_setting.nearest import least_limit
from pathing.label_setting.question import log_loss
from pathing.link import Link
from pathing.topology import Topology

KINDS: tuple[Apart, ...] = ("link", "node", "srlg")
Way = tuple[Link, ...]


@dataclass(frozen=True)
class Cable:
    src: str
    dst: str
    weight: float = 1.0
    latency_ms: float | None = 1.0
    loss: float = 0.0
    srlg: tuple[str, ...] = ()
    encrypted: bool = True
    up: bool = True


def build(cables: Sequence[Cable]) -> Topology:
    topology = Topology()
    for name in sorted({"n0", "n1", "n2", "n3", *(end for cable in cables for end in (cable.src, cable.dst))}):
        topology.add_node(name)
    for cable in cables:
        topology.add_link(capacity_mbps=1, **dataclasses.asdict(cable))
    return topology


# Few small whole numbers, zero among them: sums are exact and ties are common.
WHOLE = st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 7.0])


@st.composite
def networks(draw: st.DrawFn, weights: st.SearchStrategy[float] = WHOLE) -> list[Cable]:
    """From n0 to n1; the links between them are many for the nodes, so that there often are several ways."""
    names = [f"n{number}" for number in range(draw(st.integers(4, 8)))]
    pairs = [(a, b) for a in names for b in names if a != b and a != "n1" and b != "n0"]
    cable = st.builds(
        lambda pair, **fields: Cable(*pair, **fields),
        st.sampled_from(pairs),
        weight=weights,
        latency_ms=st.sampled_from([1.0, 1.0, 2.0, 3.0, 5.0, None]),
        loss=st.sampled_from([0.0, 0.01, 0.1]),
        srlg=st.lists(st.sampled_from("abcd"), max_size=2, unique=True).map(tuple),
        encrypted=st.sampled_from([True, True, True, False]),
        up=st.sampled_from([True, True, True, True, False]),
    )
    ends = [Cable("n0", "n2"), Cable("n2", "n1")]
    return ends + draw(st.lists(cable, min_size=len(names), max_size=20))


CONSTRAINTS = st.builds(
    Constraints,
    max_latency_ms=st.sampled_from([None, None, 3.0, 4.0, 6.0]),
    max_loss=st.sampled_from([None, None, 0.0, 0.011, 0.1, 0.19]),
    max_hops=st.sampled_from([None, None, 2, 3, 4]),
    avoid_nodes=st.sampled_from([(), (), ("n3",)]),
    require_nodes=st.sampled_from([(), (), (), ("n2",)]),
    require_links=st.sampled_from([(), (), (), (0,), (1,)]),
    encrypted=st.sampled_from([False, False, True]),
)


def ways(topology: Topology, limits: Constraints | None) -> Iterator[Way]:
    """All simple paths from n0 to n1 that satisfy the constraints, one by one."""

    def onward(at: str, way: Way) -> Iterator[Way]:
        if at == "n1":
            if limits is None or satisfies(way, limits):
                yield way
            return
        seen = {"n0", *(link.dst for link in way)}
        for link in topology.out_links(at):
            if link.up and link.dst not in seen:
                yield from onward(link.dst, (*way, link))

    return onward("n0", ())


def satisfies(way: Way, limits: Constraints) -> bool:
    latencies = [math.inf if link.latency_ms is None else link.latency_ms for link in way]
    nodes = {way[0].src, *(link.dst for link in way)}
    return (
        (limits.max_latency_ms is None or sum(latencies) <= limits.max_latency_ms * (1 + 1e-9))
        and (limits.max_loss is None or 1 - math.prod(1 - link.loss for link in way) <= limits.max_loss + 1e-12)
        and (limits.max_hops is None or len(way) <= limits.max_hops)
        and nodes.isdisjoint(limits.avoid_nodes)
        and nodes.issuperset(limits.require_nodes)
        and {link.id for link in way}.issuperset(limits.require_links)
        and (not limits.encrypted or all(link.encrypted for link in way))
    )


def n_shared(several: Sequence[Way], by: Apart) -> tuple[int, ...]:
    """How often things are used by one way more than the first, what counts first coming first."""
    kinds: list[Apart] = ["node", "link"] if by == "node" else [by]
    return tuple(sum(count - 1 for count in uses(several, kind).values()) for kind in kinds)


def uses(several: Sequence[Way], by: Apart) -> Counter[object]:
    """How many ways use each link, node or group; a link without a group is a risk of its own."""
    things: dict[Apart, list[list[object]]] = {
        "link": [[link.id for link in way] for way in several],
        "node": [[link.dst for link in way[:-1]] for way in several],
        "srlg": [[group for link in way for group in link.srlg or (link.id,)] for way in several],
    }
    return Counter(thing for used in things[by] for thing in set(used))


def total(several: Sequence[Way]) -> float:
    return math.fsum(link.weight or 0.0 for way in several for link in way)


def least(
    topology: Topology, k: int, by: Apart, *, maximally: bool = False, limits: Constraints | None = None
) -> tuple[tuple[int, ...], float] | None:
    """What the best k ways share and weigh, by looking at all of them; None where there are none."""
    all_ways = list(ways(topology, limits))
    assume(len(all_ways) ** k < 6000)
    sets = combinations_with_replacement(all_ways, k)
    rated = ((n_shared(several, by), total(several)) for several in sets)
    return min((rating for rating in rated if maximally or not any(rating[0])), default=None)


def assert_good(
    topology: Topology, answer: DisjointPaths, k: int, by: Apart, limits: Constraints | None = None
) -> list[Way]:
    """That what the answer says of itself is so; gives its paths as ways."""
    assert len(answer.paths) == k
    several = [tuple(topology.link(link) for link in path.links) for path in answer.paths]
    for path, way in zip(answer.paths, several, strict=True):
        assert path.nodes == ("n0", *(link.dst for link in way)) and path.dst == "n1"
        assert all(a.dst == b.src for a, b in pairwise(way)) and all(link.up for link in way)
        assert len(set(path.nodes)) == len(path.nodes)
        assert limits is None or satisfies(way, limits)
        assert path.weight == pytest.approx(total([way]), rel=1e-12)
    assert [path.weight for path in answer.paths] == sorted(path.weight for path in answer.paths)
    assert answer.weight == pytest.approx(total(several), rel=1e-12)
    assert answer.lower_bound <= answer.weight
    shared = answer.shared
    assert bool(shared) == any(n_shared(several, by))
    twice = {kind: {thing for thing, count in uses(several, kind).items() if count > 1} for kind in KINDS}
    assert set(shared.links) == twice["link"]
    assert set(shared.nodes) == (twice["node"] if by == "node" else set())
    assert set(shared.groups) == (
        {group for group in twice["srlg"] if isinstance(group, str)} if by == "srlg" else set()
    )
    return several


def assert_least(network: list[Cable], k: int, by: Apart, *, maximally: bool, limits: Constraints | None) -> None:
    topology = build(network)
    wanted = least(topology, k, by, maximally=maximally, limits=limits)
    if wanted is None:
        with pytest.raises(NoPath):
            disjoint_paths(topology, "n0", "n1", k, by, "weight", maximally=maximally, constraints=limits)
        return
    answer = disjoint_paths(topology, "n0", "n1", k, by, "weight", maximally=maximally, constraints=limits)
    assert n_shared(assert_good(topology, answer, k, by, limits), by) == wanted[0]
    assert answer.weight == pytest.approx(wanted[1], rel=1e-9, abs=1e-12)
    # Nothing was left open.
    assert answer.gap <= 1e-8 and answer.fewest


@given(networks(), st.integers(1, 3), st.sampled_from(["link", "node"]))
@settings(deadline=None, max_examples=200)
def test_the_total_weight_is_the_least_of_all_disjoint_sets(network: list[Cable], k: int, by: Apart) -> None:
    assert_least(network, k, by, maximally=False, limits=None)


@given(networks(st.just(0.0) | st.floats(0.01, 100)), st.integers(2, 3), st.sampled_from(KINDS))
@settings(deadline=None, max_examples=100)
def test_so_it_is_with_weights_that_are_not_whole(network: list[Cable], k: int, by: Apart) -> None:
    assert_least(network, k, by, maximally=False, limits=None)


@given(networks(st.sampled_from([0.0, 1e-300, 1e-9, 1.0, 1e9, 1e100])), st.integers(2, 3), st.sampled_from(KINDS))
@settings(deadline=None, max_examples=100)
def test_weights_of_very_different_sizes_do_not_make_it_claim_too_much(
    network: list[Cable], k: int, by: Apart
) -> None:
    topology = build(network)
    wanted = least(topology, k, by)
    if wanted is None:
        with pytest.raises(NoPath):
            disjoint_paths(topology, "n0", "n1", k, by, "weight")
        return
    answer = disjoint_paths(topology, "n0", "n1", k, by, "weight")
    several = assert_good(topology, answer, k, by)
    assert not any(n_shared(several, by))
    assert answer.lower_bound <= wanted[1] * (1 + 1e-12)
    # As far as the answer is told to reach with such weights.
    heaviest = max(cable.weight for cable in network)
    assert wanted[1] - answer.lower_bound <= max(1e-8 * wanted[1], 1e-14 * heaviest)
    assert by == "srlg" or answer.weight == pytest.approx(wanted[1], rel=1e-12, abs=0)


@given(networks(), st.integers(2, 3))
@settings(deadline=None, max_examples=150)
def test_paths_without_a_common_risk_weigh_the_least_there_is(network: list[Cable], k: int) -> None:
    assert_least(network, k, "srlg", maximally=False, limits=None)


@given(networks(), st.integers(2, 4), st.sampled_from(KINDS))
@settings(deadline=None, max_examples=250)
def test_maximally_disjoint_paths_share_as_little_as_can_be_then_weigh_the_least(
    network: list[Cable], k: int, by: Apart
) -> None:
    assert_least(network, k, by, maximally=True, limits=None)


@given(networks(), st.integers(1, 3), st.sampled_from(KINDS), st.booleans(), CONSTRAINTS)
@settings(deadline=None, max_examples=250)
def test_each_path_satisfies_the_constraints_and_all_weigh_the_least(
    network: list[Cable], k: int, by: Apart, maximally: bool, limits: Constraints
) -> None:
    assert_least(network, k, by, maximally=maximally, limits=limits)


@given(networks(st.floats(0.01, 100)), st.sampled_from(KINDS), CONSTRAINTS)
@settings(deadline=None, max_examples=100)
def test_one_path_alone_is_the_best_under_constraints(
    network: list[Cable], by: Apart, limits: Constraints
) -> None:
    topology = build(network)
    if next(ways(topology, limits), None) is None:
        with pytest.raises(NoPath) as alone:
            constrained_path(topology, "n0", "n1", limits, "weight")
        with pytest.raises(NoPath) as caught:
            disjoint_paths(topology, "n0", "n1", 1, by, "weight", constraints=limits)
        assert str(caught.value) == str(alone.value)
        return
    path = constrained_path(topology, "n0", "n1", limits, "weight")
    answer = disjoint_paths(topology, "n0", "n1", 1, by, "weight", constraints=limits)
    assert answer.weight == answer.lower_bound == pytest.approx(path.weight, rel=1e-12)


@given(networks(), st.integers(2, 3), st.sampled_from(KINDS), CONSTRAINTS)
@settings(deadline=None, max_examples=150)
def test_the_nearest_value_works_and_nothing_nearer_does(
    network: list[Cable], k: int, by: Apart, limits: Constraints
) -> None:
    topology = build(network)
    assume(least(topology, k, by, limits=limits) is None)
    with pytest.raises(NoPath) as caught:
        disjoint_paths(topology, "n0", "n1", k, by, "weight", constraints=limits)
    refused = caught.value
    assume(refused.constraint is not None and refused.nearest is not None)
    if refused.constraint == "k":
        fewer = refused.nearest or 0
        assert isinstance(fewer, int)
        disjoint_paths(topology, "n0", "n1", fewer, by, "weight", constraints=limits)
        assert fewer < k and least(topology, fewer + 1, by, limits=limits) is None
    elif "there are no" in refused.reason:  # not said of one path alone
        value = refused.nearest or 0
        for asked_again in (value, said(refused)):
            again = limited(limits, refused, asked_again)
            disjoint_paths(topology, "n0", "n1", k, by, "weight", constraints=again)
        step = 1 if refused.constraint == "max_hops" else 1e-6
        nearer = limited(limits, refused, max(0, value - step))
        assert not value or least(topology, k, by, limits=nearer) is None


def limited(limits: Constraints, refused: NoPath, value: float) -> Constraints:
    """The same constraints with another value for the one at fault."""
    return dataclasses.replace(limits, **{str(refused.constraint): value})  # type: ignore[arg-type]  # by name


def said(refused: NoPath) -> float:
    """The value that the text says is the least."""
    text = refused.reason.split("; ")[-1].split(" is the least")[0].removesuffix(" ms")
    return int(text) if refused.constraint == "max_hops" else float(text)


@pytest.mark.parametrize(
    "limits", [{"max_latency_ms": 0.3}, {"max_hops": 1}, {"max_loss": 0.5}, {"max_loss": 1 - 1e-12}]
)
@pytest.mark.parametrize("loss", [0.7654321, 0.999, 0.9999997, 0.99999995, 1 - 2**-30])
def test_the_nearest_value_and_the_text_work_when_asked_again(limits: dict[str, float], loss: float) -> None:
    # Of the two ways one has two links; its latency has more digits than a message shows.
    topology = build(
        [
            Cable("n0", "n2", latency_ms=0.1, loss=loss),
            Cable("n2", "n1", latency_ms=1 / 3, loss=loss),
            Cable("n0", "n1", latency_ms=0.01),
        ]
    )
    asked = Constraints(**limits)  # type: ignore[arg-type]  # by name
    try:
        disjoint_paths(topology, "n0", "n1", constraints=asked)
    except NoPath as error:
        refused = error
    else:  # the way loses no more than it may
        return
    assert refused.nearest is not None
    for value in (refused.nearest, said(refused)):
        disjoint_paths(topology, "n0", "n1", constraints=limited(asked, refused, value))


@given(st.floats(1e-12, 80))
@settings(deadline=None)
def test_a_loss_as_said_is_enough_for_what_a_path_loses(total: float) -> None:
    loss, text = least_limit("max_loss", total)
    assert log_loss(loss) >= total
    assert float(text) <= 1 and log_loss(float(text)) >= total * (1 - 1e-12)


@given(networks(), st.integers(2, 4), st.sampled_from(["link", "node"]))
@settings(deadline=None, max_examples=150)
def test_what_is_named_as_in_the_way_is_on_every_way(network: list[Cable], k: int, by: Apart) -> None:
    topology = build(network)
    try:
        disjoint_paths(topology, "n0", "n1", k, by, "weight")
    except NoPath as error:
        refused = error
    else:
        return
    assume(refused.constraint == "k")
    named = refused.reason.split("every way uses ")[1].removeprefix("one of ").split(", ")
    assert len(named) == refused.nearest
    links = {int(name.split()[1]) for name in named if name.startswith("link")}
    nodes = {name.split("'")[1] for name in named if name.startswith("node")}
    assert (by == "node") or not nodes
    for way in ways(topology, None):
        assert links & {link.id for link in way} or nodes & {link.dst for link in way}


@pytest.mark.filterwarnings("error")  # what scipy gives for a negative length
@pytest.mark.parametrize("unit", [1.0, 1 / 7])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [2, 3])
def test_on_larger_multigraphs_it_weighs_what_the_network_simplex_of_networkx_finds(
    seed: int, k: int, unit: float
) -> None:
    random = np.random.default_rng(seed)
    names = [f"n{number}" for number in range(60)]
    cables = [
        Cable(names[a], names[b], int(random.integers(0, 20)) * unit)
        for a, b in random.integers(0, len(names), (300, 2))
        if a != b
    ]
    cables += [Cable(*ends, 19 * unit) for name in names[2:5] for ends in (("n0", name), (name, "n1"))]
    topology = build(cables)
    graph = nx.MultiDiGraph()
    graph.add_node("n0", demand=-k)
    graph.add_node("n1", demand=k)
    for cable in cables:
        graph.add_edge(cable.src, cable.dst, capacity=1, weight=round(cable.weight / unit))
    answer = disjoint_paths(topology, "n0", "n1", k, "link", "weight")
    assert not any(n_shared(assert_good(topology, answer, k, "link"), "link"))
    assert answer.weight == answer.lower_bound == pytest.approx(nx.network_simplex(graph)[0] * unit, rel=1e-12)


# The shortest path n0-a-b-n1 uses up what both of the two others need.
TRAP = (
    Cable("n0", "a", 1),
    Cable("a", "b", 1),
    Cable("b", "n1", 1),
    Cable("n0", "b", 4),
    Cable("a", "n1", 4),
)


@pytest.mark.parametrize("by", KINDS)
def test_a_trap_where_taking_the_shortest_path_first_leaves_no_second(by: Apart) -> None:
    answer = disjoint_paths(build(TRAP), "n0", "n1", 2, by, "weight")
    assert [path.nodes for path in answer.paths] == [("n0", "a", "n1"), ("n0", "b", "n1")]
    assert (answer.weight, answer.lower_bound, bool(answer.shared)) == (10, 10, False)


def test_a_trap_of_risks_that_only_looking_at_all_of_them_avoids() -> None:
    cables = (
        *(Cable("n0", "a", 1, srlg=("x",)), Cable("a", "n1", 1, srlg=("y",))),
        *(Cable("n0", "b", 3, srlg=("x",)), Cable("b", "n1", 3)),
        *(Cable("n0", "c", 4), Cable("c", "n1", 4, srlg=("y",))),
    )
    answer = disjoint_paths(build(cables), "n0", "n1", 2, "srlg", "weight")
    assert [path.nodes[1] for path in answer.paths] == ["b", "c"]
    assert answer.lower_bound == pytest.approx(answer.weight, rel=1e-8) == 14
    # The shortest with one far heavier than the two that share a risk.
    three = (Cable("n0", "n1", 2, srlg=("x",)), Cable("n0", "n1", 3, srlg=("x",)), Cable("n0", "n1", 12))
    assert disjoint_paths(build(three), "n0", "n1", 2, "srlg", "weight").weight == 14


def test_parallel_links_are_different_links_and_their_ends_the_same_nodes() -> None:
    topology = build([Cable("n0", "a", 2), Cable("n0", "a", 1), Cable("a", "n1", 1), Cable("a", "n1", 1)])
    answer = disjoint_paths(topology, "n0", "n1", 2, "link", "weight")
    assert answer.weight == 5 and not answer.shared
    with pytest.raises(NoPath, match="every way uses node 'a'") as caught:
        disjoint_paths(topology, "n0", "n1", 2, "node", "weight")
    assert (caught.value.constraint, caught.value.nearest) == ("k", 1)
    answer = disjoint_paths(topology, "n0", "n1", 2, "node", "weight", maximally=True)
    assert (answer.weight, answer.shared.nodes, answer.shared.links) == (5, ("a",), ())
    straight = build([Cable("n0", "n1"), Cable("n0", "n1", 2)])
    assert disjoint_paths(straight, "n0", "n1", 2, "node", "weight").weight == 3


def test_what_the_least_sharing_paths_share_is_named() -> None:
    cables = [Cable("n0", "a"), Cable("a", "b"), Cable("b", "n1"), Cable("a", "c", 5), Cable("c", "n1", 5)]
    answer = disjoint_paths(build(cables), "n0", "n1", 2, "link", "weight", maximally=True)
    assert (answer.shared.links, answer.shared.nodes, answer.weight) == ((0,), (), 14)
    answer = disjoint_paths(build(cables), "n0", "n1", 2, "node", "weight", maximally=True)
    assert (answer.shared.links, answer.shared.nodes) == ((0,), ("a",))
    risky = [dataclasses.replace(cable, srlg=("duct",)) if cable.dst in "ac" else cable for cable in cables]
    answer = disjoint_paths(build(risky), "n0", "n1", 2, "srlg", "weight", maximally=True)
    assert (answer.shared.links, answer.shared.groups) == ((0,), ("duct",))
    assert answer.fewest and answer.gap <= 1e-8
    with pytest.raises(NoPath, match="every way uses link 0"):
        disjoint_paths(build(risky), "n0", "n1", 2, "srlg", "weight")


@pytest.mark.parametrize("k", [3, 4])
@pytest.mark.parametrize("by", KINDS)
def test_of_several_paths_two_are_disjoint_where_only_two_can_be(by: Apart, k: int) -> None:
    # The short way of one link, taken by all, shares no more links than it has; it must not win for that.
    cables = [Cable("n0", "n1", 1), Cable("n0", "a", 5), Cable("a", "n1", 5)]
    several = assert_good(
        build(cables), disjoint_paths(build(cables), "n0", "n1", k, by, "weight", maximally=True), k, by
    )
    assert len(set(several)) == 2
    assert n_shared(several, "link") == (k - 2,)


def test_where_no_single_group_is_on_every_way_it_says_so() -> None:
    cables = [Cable("n0", "n1", srlg=srlg) for srlg in (("a", "b"), ("b", "c"), ("c", "a"))]
    with pytest.raises(NoPath, match="no shared-risk group is on every way, but any 2 ways share one"):
        disjoint_paths(build(cables), "n0", "n1", 2, "srlg")
    every = [Cable("n0", "n1", srlg=("a", "b")), Cable("n0", "n1", srlg=("b", "c"))]
    with pytest.raises(NoPath, match="every way uses shared-risk group 'b'") as caught:
        disjoint_paths(build(every), "n0", "n1", 2, "srlg")
    assert (caught.value.constraint, caught.value.nearest) == ("k", 1)


def test_links_of_no_weight_leave_no_cycles_and_no_link_with_its_reverse() -> None:
    names = ("n0", "a", "b", "c", "n1")
    cables = [Cable(a, b, 0) for a in names for b in names if a != b for _ in range(2)]
    for by in KINDS:
        answer = disjoint_paths(build(cables), "n0", "n1", 4, by, "weight")
        several = assert_good(build(cables), answer, 4, by)
        assert not any(n_shared(several, by))
        used = {(link.src, link.dst) for way in several for link in way}
        assert not used & {(dst, src) for src, dst in used}


def test_a_cycle_apart_from_the_path_does_not_count_as_visiting_a_required_node() -> None:
    cables = [
        *(Cable("n0", "n1", 1), Cable("n0", "n1", 1)),
        *(Cable("a", "b", 0), Cable("b", "a", 0), Cable("a", "b", 0), Cable("b", "a", 0)),
        *(Cable("n0", "a", 50), Cable("a", "n1", 50), Cable("n0", "b", 70), Cable("b", "n1", 90)),
        *(Cable("n0", "n3", up=False), Cable("n3", "n1")),
    ]
    limits = Constraints(require_nodes=("a",))
    answer = disjoint_paths(build(cables), "n0", "n1", 2, "link", "weight", constraints=limits)
    assert answer.weight == 50 + 50 + 70 + 90
    with pytest.raises(NoPath, match="no path goes through 'n3'"):
        disjoint_paths(build(cables), "n0", "n1", constraints=Constraints(require_nodes=("n3",)))
    limits = Constraints(require_links=(2,))
    with pytest.raises(NoPath, match=r"require_links|share one"):
        disjoint_paths(build(cables), "n0", "n1", 2, "link", "weight", constraints=limits)


def test_a_limit_missed_by_less_than_the_solver_sees_is_missed() -> None:
    # Each link is on a path that keeps the limit; the two light ones together miss it by a hundred-millionth.
    cables = [
        *(Cable("n0", "a", 10, latency_ms=1.0), Cable("n0", "a", 1, latency_ms=1.00000002)),
        *(Cable("a", "n1", 10, latency_ms=1.99999997), Cable("a", "n1", 1, latency_ms=2.0)),
    ]
    limits = Constraints(max_latency_ms=3.0)
    assert disjoint_paths(build(cables), "n0", "n1", 1, "link", "weight", constraints=limits).weight == 11
    answer = disjoint_paths(build(cables), "n0", "n1", 2, "link", "weight", constraints=limits)
    assert {path.links for path in answer.paths} == {(0, 3), (1, 2)}


def test_a_limit_that_one_path_can_keep_but_not_two_is_named_with_the_least_that_two_can() -> None:
    topology = build([Cable("n0", "n1", latency_ms=value) for value in (2.0, 7.0, 9.0)])
    with pytest.raises(NoPath, match=r"with max_latency_ms 5\.0; 7\.0 ms is the least") as caught:
        disjoint_paths(topology, "n0", "n1", constraints=Constraints(max_latency_ms=5.0))
    assert (caught.value.constraint, caught.value.nearest) == ("max_latency_ms", 7.0)
    with pytest.raises(NoPath, match=r"2\.0 ms is the least"):
        disjoint_paths(topology, "n0", "n1", constraints=Constraints(max_latency_ms=1.0))
    # The two of least total latency, 2 and 16 ms, are not the two that need the least limit.
    latencies = (("n0", "a", 1), ("a", "n1", 1), ("n0", "b", 8), ("b", "n1", 8), ("a", "b", 1), ("b", "a", 1))
    topology = build([Cable(src, dst, latency_ms=latency) for src, dst, latency in latencies])
    with pytest.raises(NoPath, match=r"10\.0 ms is the least") as caught:
        disjoint_paths(topology, "n0", "n1", constraints=Constraints(max_latency_ms=5.0))
    assert caught.value.nearest == 10


def test_the_least_limit_is_found_where_the_shortest_path_has_none_of_it() -> None:
    ways = (
        ("n0", "n2", 0),
        ("n2", "n1", 0),
        ("n0", "n1", 0),
        ("n0", "n2", 0.01),
        ("n2", "n3", 0.1),
        ("n3", "n1", 0.01),
    )
    topology = build([Cable(src, dst, loss=loss) for src, dst, loss in ways])
    with pytest.raises(NoPath) as caught:
        disjoint_paths(topology, "n0", "n1", constraints=Constraints(max_loss=0.0, require_nodes=("n2",)))
    # The worse way on beyond n2 goes with the better one to it.
    assert caught.value.nearest == pytest.approx(1 - 0.9 * 0.99)


def crossing(n_columns: int) -> Topology:
    """Columns of nodes, each joined to the next by links that share ducts with others far away."""
    random = np.random.default_rng(4)
    columns = [["n0"], *([f"c{column}r{row}" for row in range(5)] for column in range(n_columns)), ["n1"]]
    return build(
        [
            Cable(a, b, float(random.integers(1, 100)), srlg=(f"duct{random.integers(12)}", f"{a}{b}"))
            for near, far in pairwise(columns)
            for a in near
            for b in far
        ]
    )


def test_when_the_time_is_up_it_claims_no_more_than_it_knows() -> None:
    topology = crossing(6)
    optimum = disjoint_paths(topology, "n0", "n1", 2, "srlg", "weight", maximally=True)
    assert optimum.fewest and optimum.gap <= 1e-8
    hasty = disjoint_paths(topology, "n0", "n1", 2, "srlg", "weight", maximally=True, time_limit_s=1e-6)
    assert_good(topology, hasty, 2, "srlg")
    assert not hasty.fewest or hasty.gap > 0
    assert len(hasty.shared.groups) >= len(optimum.shared.groups)
    assert hasty.lower_bound <= optimum.weight or len(hasty.shared.groups) < len(optimum.shared.groups)
    with pytest.raises(Undecided, match="1e-06 s"):
        disjoint_paths(topology, "n0", "n1", 3, "srlg", "weight", time_limit_s=1e-6)


def test_on_a_clock_the_time_it_takes_to_build_the_programme_counts() -> None:
    topology = crossing(6)
    slow = itertools.count(step=100).__next__  # of the 60 s nothing is left when the programme is built

    def paths(k: int, clock: Callable[[], float], *, maximally: bool) -> DisjointPaths:
        return disjoint_paths(
            topology, "n0", "n1", k, "srlg", "weight", maximally=maximally, time_limit_s=60, clock=clock
        )

    optimum = disjoint_paths(topology, "n0", "n1", 2, "srlg", "weight", maximally=True)
    assert paths(2, lambda: 7.0, maximally=True) == optimum
    hasty = paths(2, slow, maximally=True)
    assert not hasty.fewest or hasty.gap > optimum.gap
    with pytest.raises(Undecided, match="in 60 s"):
        paths(3, slow, maximally=False)


def test_a_gap_allows_a_heavier_answer_and_bounds_it() -> None:
    topology = crossing(4)
    optimum = disjoint_paths(topology, "n0", "n1", 2, "srlg", "weight", maximally=True)
    for gap in (0.5, 0.05):
        answer = disjoint_paths(topology, "n0", "n1", 2, "srlg", "weight", maximally=True, gap=gap)
        assert len(answer.shared.groups) == len(optimum.shared.groups)
        assert answer.lower_bound <= optimum.weight * (1 + 1e-9) <= answer.weight * (1 + 1e-8)
        assert answer.gap <= gap + 1e-9


def test_changes_in_place_change_the_answer_at_once() -> None:
    topology = build([*TRAP, Cable("n0", "n1", 9)])
    assert disjoint_paths(topology, "n0", "n1", 2, "link", "weight").weight == 10
    topology.set_link(5, weight=5.0)
    assert disjoint_paths(topology, "n0", "n1", 2, "link", "weight").weight == 8
    topology.set_link(1, up=False)
    assert disjoint_paths(topology, "n0", "n1", 2, "link", "weight").weight == 10
    topology.set_link(0, srlg=("duct",))
    topology.set_link(5, srlg=("duct",))
    assert disjoint_paths(topology, "n0", "n1", 2, "srlg", "weight").weight == 10
    topology.add_link("n0", "n1", capacity_mbps=1, weight=1)
    assert disjoint_paths(topology, "n0", "n1", 2, "srlg", "weight").weight == 6


def test_no_way_at_all_says_why() -> None:
    topology = build([Cable("n0", "a"), Cable("a", "n1", up=False)])
    for maximally in (False, True):
        with pytest.raises(NoPath, match="every link that enters 'n1' is down"):
            disjoint_paths(topology, "n0", "n1", 2, "link", "weight", maximally=maximally)


def test_bad_arguments_are_named() -> None:
    topology = build(TRAP)
    for arguments, message in (
        ({"k": 0}, "k is 0"),
        ({"k": True}, "k is True"),
        ({"k": 2.5}, "k is 2.5"),
        ({"by": "fibre"}, "by is 'fibre'; it must be one of link, node, srlg"),
        ({"gap": -0.1}, "gap is -0.1"),
        ({"gap": math.nan}, "gap is nan"),
        ({"gap": "2"}, "gap is '2'"),
        ({"gap": None}, "gap is None"),
        ({"gap": True}, "gap is True"),
        ({"time_limit_s": 0}, "time_limit_s is 0"),
        ({"time_limit_s": "2"}, "time_limit_s is '2'"),
        ({"time_limit_s": [1]}, r"time_limit_s is \[1\]"),
        ({"dst": "n0"}, "src and dst are both 'n0'"),
    ):
        with pytest.raises(PathingError, match=message):
            disjoint_paths(topology, **{"src": "n0", "dst": "n1", **arguments})  # type: ignore[arg-type]  # as users do
    with pytest.raises(UnknownNode, match="'nowhere'"):
        disjoint_paths(topology, "n0", "nowhere")
    with pytest.raises(WeightError, match="is nan"):
        disjoint_paths(topology, "n0", "n1", weight=np.full(5, np.nan))
    limits = Constraints(bandwidth_mbps=1, free_mbps=np.ones(2))
    with pytest.raises(ConstraintError, match="free_mbps"):
        disjoint_paths(topology, "n0", "n1", constraints=limits)
