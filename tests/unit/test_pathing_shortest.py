"""Shortest paths against brute force on random multigraphs, and ties that fall the same way every time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathing import (
    NoPath,
    Path,
    Topology,
    UnknownNode,
    WeightError,
    link_cost,
)
from pathing.shortest import all_pairs, shortest_path, shortest_paths_from, shortest_paths_to
from tests.unit.multigraph import Multigraph


class Graph(Multigraph):
    """A multigraph that knows its distances and paths."""

    def distances(self, root: str) -> dict[str, float]:
        """Bellman-Ford: as many rounds over all links as there are nodes."""
        distance = dict.fromkeys(self.names, math.inf) | {root: 0.0}
        for _ in self.names:
            for src, dst, weight, up in self.links:
                if up:
                    distance[dst] = min(distance[dst], distance[src] + weight)
        return distance


# Few small whole numbers, zero among them: sums are exact and ties are common.
WEIGHTS = st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.0, 3.0])


@st.composite
def graphs(draw: st.DrawFn, weights: st.SearchStrategy[float] = WEIGHTS) -> Graph:
    names = tuple(f"n{number}" for number in range(draw(st.integers(1, 7))))
    ends = st.tuples(st.sampled_from(names), st.sampled_from(names)).filter(lambda pair: pair[0] != pair[1])
    link = st.tuples(ends, weights, st.sampled_from([True, True, True, False]))
    drawn = draw(st.lists(link, max_size=20)) if len(names) > 1 else []
    return Graph(names, tuple((src, dst, weight, up) for (src, dst), weight, up in drawn))


def assert_is_path(topology: Topology, path: Path, weights: tuple[float, ...]) -> None:
    assert len(path.nodes) == len(path.links) + 1
    assert len(set(path.nodes)) == len(path.nodes)
    for link_id, src, dst in zip(path.links, path.nodes[:-1], path.nodes[1:], strict=True):
        link = topology.link(link_id)
        assert (link.src, link.dst, link.up) == (src, dst, True)
    assert path.weight == pytest.approx(sum(weights[link] for link in path.links), rel=1e-12)


@given(graphs())
@settings(deadline=None, max_examples=150)
def test_every_pair_has_the_least_weight(graph: Graph) -> None:
    topology = graph.topology()
    pairs = all_pairs(topology)
    weights = tuple(link[2] for link in graph.links)
    for src in graph.names:
        least = graph.distances(src)
        for dst in graph.names:
            assert pairs.distance[topology.node_index(src), topology.node_index(dst)] == least[dst]
            if math.isinf(least[dst]):
                for find in (pairs.path, lambda src, dst: shortest_path(topology, src, dst)):
                    with pytest.raises(NoPath):
                        find(src, dst)
                continue
            path = shortest_path(topology, src, dst)
            assert pairs.path(src, dst) == path
            assert (path.src, path.dst) == (src, dst)
            assert path.weight == least[dst]
            assert_is_path(topology, path, weights)


@given(graphs(st.floats(0, 100)))
@settings(deadline=None, max_examples=100)
def test_trees_reach_what_brute_force_reaches_at_the_same_distance(graph: Graph) -> None:
    topology = graph.topology()
    for root in graph.names:
        least = [graph.distances(root)[name] for name in graph.names]
        np.testing.assert_array_equal(shortest_paths_from(topology, root).distance, least)
        for search in (shortest_paths_from, shortest_paths_to):
            tree = search(topology, root)
            for name, link_id, distance in zip(graph.names, tree.link, tree.distance, strict=True):
                assert (link_id != -1) == (math.isfinite(distance) and name != root)
                if math.isinf(distance):
                    with pytest.raises(NoPath):
                        tree.path(name)
                    continue
                path = tree.path(name)
                ends = (root, name) if search is shortest_paths_from else (name, root)
                assert ((path.src, path.dst), path.weight) == (ends, distance)
                assert_is_path(topology, path, tuple(link[2] for link in graph.links))
                if path.links:
                    assert link_id == path.links[-1 if search is shortest_paths_from else 0]


@given(graphs())
@settings(deadline=None, max_examples=60)
def test_a_tree_to_a_node_has_the_path_of_each_pair(graph: Graph) -> None:
    topology = graph.topology()
    for dst in graph.names:
        tree = shortest_paths_to(topology, dst)
        for src in graph.names:
            if math.isfinite(tree.distance[topology.node_index(src)]):
                assert tree.path(src) == shortest_path(topology, src, dst)


@given(graphs(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=150)
def test_ties_do_not_depend_on_the_order_of_adding(graph: Graph, random: object) -> None:
    shuffled = list(graph.names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a Random without saying so
    one, other = graph.topology(), graph.topology(tuple(shuffled))
    for root in graph.names:
        for search in (shortest_paths_from, shortest_paths_to):
            a, b = search(one, root).link, search(other, root).link
            assert {n: a[one.node_index(n)] for n in shuffled} == {n: b[other.node_index(n)] for n in shuffled}


def all_paths(graph: Graph, at: str, dst: str, seen: tuple[str, ...] = ()) -> list[tuple[float, tuple[str, ...]]]:
    if at == dst:
        return [(0.0, (dst,))]
    return [
        (weight + rest, (at, *nodes))
        for src, via, weight, up in graph.links
        if src == at and up and via not in seen
        for rest, nodes in all_paths(graph, via, dst, (*seen, at))
    ]


@given(graphs(st.sampled_from([1.0, 2.0, 3.0])))
@settings(deadline=None, max_examples=60)
def test_of_equals_the_first_by_node_names_wins(graph: Graph) -> None:
    topology = graph.topology()
    src, dst = graph.names[0], graph.names[-1]
    paths = all_paths(graph, src, dst)
    if paths:
        path = shortest_path(topology, src, dst)
        assert (path.weight, path.nodes) == min(paths)


def test_as_many_tight_links_as_nodes_does_not_hide_a_tie_beside_a_node_out_of_reach() -> None:
    links = (("a", "b", 1.0, True), ("a", "b", 1.0, True), ("a", "c", 2.0, True))
    tree = shortest_paths_from(Graph(("a", "b", "c", "d"), links).topology(), "a")
    assert tree.link.tolist() == [-1, 0, 2, -1]
    assert tree.distance.tolist() == [0.0, 1.0, 2.0, math.inf]


def test_what_was_found_stays_as_it_was() -> None:
    topology = Graph(("a", "b"), (("a", "b", 1.0, True), ("a", "b", 2.0, True))).topology()
    before = all_pairs(topology)
    topology.set_link(0, up=False)
    assert before.path("a", "b") == Path(("a", "b"), (0,), 1.0)
    assert all_pairs(topology).path("a", "b") == Path(("a", "b"), (1,), 2.0)
    assert all_pairs(topology, np.array([5.0, 5.0])).distance.tolist() == [[0.0, 5.0], [math.inf, 0.0]]
    tree = shortest_paths_to(topology, "b")
    topology.add_node("later")
    topology.add_link("later", "b", capacity_mbps=1, latency_ms=1.0)
    for find in (tree.path, before.paths_to, lambda src: before.path(src, "b")):
        for name in ("nowhere", "later"):
            with pytest.raises(UnknownNode, match=name):
                find(name)
    assert tree.path("a") == Path(("a", "b"), (1,), 2.0)


def test_a_topology_without_nodes_has_no_pairs() -> None:
    assert all_pairs(Topology()).distance.shape == (0, 0)


def test_an_unrelated_zero_link_does_not_move_a_tie() -> None:
    links = (("a", "c", 1.0, True), ("c", "d", 1.0, True), ("a", "b", 1.0, True), ("b", "d", 1.0, True))
    names = ("d", "c", "b", "a", "x", "y")
    before = shortest_path(Graph(names, links).topology(), "a", "d")
    zero = (("x", "y", 0.0, True), ("y", "x", 0.0, True), ("d", "x", 0.0, True))
    after = shortest_path(Graph(names, (*links, *zero)).topology(), "a", "d")
    assert before.nodes == after.nodes == ("a", "b", "d")


def test_a_link_shorter_than_a_rounding_error_cannot_make_a_loop() -> None:
    tiny = 1e-30
    links = (("a", "b", 1.0, True), ("b", "c", tiny, True), ("c", "b", tiny, True), ("c", "d", 1.0, True))
    assert shortest_path(Graph(("d", "c", "b", "a"), links).topology(), "a", "d").links == (0, 1, 3)


def test_changes_in_place_change_the_answer_at_once() -> None:
    links = (("a", "b", 1.0, True), ("a", "b", 2.0, True), ("a", "c", 1.0, True), ("c", "b", 3.0, True))
    topology = Graph(("a", "b", "c"), links).topology()
    assert shortest_path(topology, "a", "b").links == (0,)
    topology.set_link(0, latency_ms=2.5)
    assert shortest_path(topology, "a", "b").links == (1,)
    topology.set_link(1, up=False)
    assert shortest_path(topology, "a", "b").links == (0,)
    topology.set_link(0, up=False)
    assert shortest_path(topology, "a", "b").nodes == ("a", "c", "b")
    topology.set_link(0, up=True)
    assert shortest_path(topology, "a", "b", weight="hops") == Path(("a", "b"), (0,), 1.0)
    topology.add_link("a", "b", capacity_mbps=1, latency_ms=0.5)
    assert shortest_path(topology, "a", "b").links == (4,)


def test_an_unknown_latency_is_charged_twice_the_largest_known_one() -> None:
    links = (("a", "b", 3.0, True), ("b", "c", 2.0, True), ("a", "c", 9.0, True))
    topology = Graph(("a", "b", "c"), links).topology()
    topology.set_link(2, latency_ms=None)
    path = shortest_path(topology, "a", "c")
    assert path == Path(("a", "b", "c"), (0, 1), 5.0)
    assert path.latency_ms(topology) == 5.0
    topology.set_link(1, up=False)
    path = shortest_path(topology, "a", "c")
    assert path == Path(("a", "c"), (2,), 6.0)
    assert path.latency_ms(topology) is None


def test_with_no_latency_known_each_link_counts_one() -> None:
    topology = Topology()
    for name in "abc":
        topology.add_node(name)
    for src, dst in ("ab", "bc", "ac"):
        topology.add_link(src, dst, capacity_mbps=1)
    assert shortest_path(topology, "a", "c") == Path(("a", "c"), (2,), 1.0)


def test_no_path_says_why() -> None:
    links = (("a", "b", 1.0, True), ("b", "c", 1.0, False), ("c", "d", 1.0, True), ("e", "a", 1.0, True))
    topology = Graph(("a", "b", "c", "d", "e", "f"), links).topology()
    for src, dst, reason in (
        ("f", "a", "no link leaves 'f'"),
        ("a", "e", "no link enters 'e'"),
        ("b", "d", "every link that leaves 'b' is down"),
        ("a", "c", "every link that enters 'c' is down"),
        ("a", "d", "every way crosses a link that is down"),
        ("c", "b", "no chain of links joins them"),
    ):
        with pytest.raises(NoPath, match=reason) as caught:
            shortest_path(topology, src, dst)
        assert (caught.value.src, caught.value.dst) == (src, dst)
    with pytest.raises(NoPath, match="infinite"):
        shortest_path(topology, "a", "b", np.full(4, np.inf))
    with pytest.raises(UnknownNode, match="'nowhere'"):
        shortest_path(topology, "nowhere", "a")


def test_weights_that_are_none_are_refused() -> None:
    topology = Graph(("a", "b"), (("a", "b", 1.0, True),)).topology()
    for weight, message in (
        (np.array([-1.0]), r"link 0 \('a' -> 'b'\) is -1.0"),
        (np.array([np.nan]), "is nan"),
        (np.array([1.0, 2.0]), "shape"),
    ):
        with pytest.raises(WeightError, match=message):
            shortest_path(topology, "a", "b", weight)
    with pytest.raises(WeightError, match="did you mean 'latency_ms'"):
        shortest_path(topology, "a", "b", "latency")


def test_a_function_of_the_topology_is_a_weight() -> None:
    links = (("a", "c", 1.0, True), ("a", "b", 1.0, True), ("b", "c", 1.0, True))
    topology = Graph(("a", "b", "c"), links).topology()
    assert shortest_path(topology, "a", "c", link_cost).links == (0,)
    topology.set_link(0, utilisation=0.95)
    assert shortest_path(topology, "a", "c", link_cost).links == (1, 2)


def test_what_a_path_says_of_itself() -> None:
    topology = Graph(("a", "b", "c"), (("a", "b", 1.0, True), ("b", "c", 2.0, True))).topology()
    topology.set_link(0, loss=0.5, capacity_mbps=7.0)
    topology.set_link(1, loss=0.5, capacity_mbps=9.0)
    path = shortest_path(topology, "a", "c")
    assert (path.hops, path.loss(topology), path.capacity_mbps(topology)) == (2, 0.75, 7.0)
    assert path.is_up(topology)
    topology.set_link(1, up=False)
    assert not path.is_up(topology)
    here = shortest_path(topology, "a", "a")
    assert here == Path(("a",), (), 0.0)
    assert here.latency_ms(topology) == 0.0
