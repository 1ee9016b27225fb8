"""The k shortest paths against brute force on random multigraphs and against networkx on larger graphs."""

import itertools
import math
import random

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathing import NoPath, Path, PathingError, Topology, UnknownNode
from pathing.k_shortest import k_shortest_paths
from pathing.shortest import shortest_path
from tests.unit.multigraph import Multigraph


class Graph(Multigraph):
    """A multigraph that knows all its paths."""

    def paths(self, at: str, dst: str, seen: tuple[str, ...] = ()) -> list[tuple[int, ...]]:
        """Every path without loops, as link ids."""
        if at == dst:
            return [()]
        return [
            (number, *rest)
            for number, (src, via, _, up) in enumerate(self.links)
            if src == at and up and via not in seen
            for rest in self.paths(via, dst, (*seen, at))
        ]

    def weight(self, links: tuple[int, ...]) -> float:
        return math.fsum(self.links[link][2] for link in links)


# Few small whole numbers, zero among them: sums are exact and ties are common.
WHOLE = st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.0, 3.0])


@st.composite
def graphs(draw: st.DrawFn, weights: st.SearchStrategy[float] = WHOLE) -> Graph:
    names = tuple(f"n{number}" for number in range(draw(st.integers(2, 6))))
    pairs = st.sampled_from([(a, b) for a in names for b in names if a != b])
    link = st.tuples(pairs, weights, st.sampled_from([True, True, True, True, False]))
    drawn = draw(st.lists(link, max_size=18))
    return Graph(names, tuple((src, dst, weight, up) for (src, dst), weight, up in drawn))


def assert_same_lengths(graph: Graph, k: int, rel: float) -> None:
    topology = graph.topology()
    for src, dst in itertools.permutations(graph.names[:3], 2):
        every = graph.paths(src, dst)
        if not every:
            with pytest.raises(NoPath):
                k_shortest_paths(topology, src, dst, k)
            continue
        paths = k_shortest_paths(topology, src, dst, k)
        assert len({path.links for path in paths}) == len(paths)
        assert {path.links for path in paths} <= set(every)
        assert all(path.weight == pytest.approx(graph.weight(path.links), rel=rel) for path in paths)
        lengths = sorted(graph.weight(links) for links in every)[:k]
        assert [path.weight for path in paths] == pytest.approx(lengths, rel=rel)
        assert list(paths) == sorted(paths, key=lambda path: path.weight)
        assert paths[0] == shortest_path(topology, src, dst)
        for path in paths:
            assert path.nodes == (src, *(topology.link(link).dst for link in path.links))


@given(graphs(), st.sampled_from([1, 2, 5, 1000]))
@settings(deadline=None, max_examples=200)
def test_whole_numbers_ties_and_zeros_are_as_brute_force_says(graph: Graph, k: int) -> None:
    assert_same_lengths(graph, k, rel=0)


@given(graphs(st.floats(0, 1e6)), st.sampled_from([2, 4, 1000]))
@settings(deadline=None, max_examples=150)
def test_any_weights_are_as_brute_force_says(graph: Graph, k: int) -> None:
    assert_same_lengths(graph, k, rel=1e-12)


@given(graphs(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=100)
def test_ties_do_not_depend_on_the_order_of_adding(graph: Graph, shuffler: random.Random) -> None:
    shuffled = list(graph.names)
    shuffler.shuffle(shuffled)
    src, dst = graph.names[:2]
    if graph.paths(src, dst):
        one, other = graph.topology(), graph.topology(tuple(shuffled))
        assert k_shortest_paths(one, src, dst, 3) == k_shortest_paths(other, src, dst, 3)


@pytest.mark.parametrize("seed", range(4))
def test_lengths_are_those_of_networkx(seed: int) -> None:
    random_ = np.random.default_rng(seed)
    places = random_.random((120, 2))
    graph = networkx.DiGraph()
    for a, b in itertools.permutations(range(120), 2):
        length = float(np.hypot(*(places[a] - places[b])))
        if length < 0.15 or random_.random() < 0.002:
            graph.add_edge(f"n{a}", f"n{b}", length=length)
    topology = Topology()
    for name in graph.nodes:
        topology.add_node(name)
    for src, dst, length in graph.edges(data="length"):
        topology.add_link(src, dst, capacity_mbps=1, latency_ms=length)
    for src, dst in (("n0", "n1"), ("n2", "n3"), ("n4", "n5")):
        peers = itertools.islice(networkx.shortest_simple_paths(graph, src, dst, "length"), 12)
        lengths = [networkx.path_weight(graph, path, "length") for path in peers]
        ours = [path.weight for path in k_shortest_paths(topology, src, dst, 12)]
        assert ours == pytest.approx(lengths, rel=1e-9)


def test_a_way_that_leads_back_into_the_path_is_searched_around() -> None:
    # From x the tree leads back through b; the second path must go the long way round.
    links = [("a", "b", 1), ("b", "d", 1), ("b", "x", 1), ("x", "b", 1), ("x", "y", 5), ("y", "d", 5)]
    topology = Graph(("a", "b", "d", "x", "y"), tuple((*link, True) for link in links)).topology()
    assert k_shortest_paths(topology, "a", "d", 4) == (
        Path(("a", "b", "d"), (0, 1), 2.0),
        Path(("a", "b", "x", "y", "d"), (0, 2, 4, 5), 12.0),
    )


def test_parallel_links_make_different_paths() -> None:
    links = (("a", "b", 1.0, True), ("a", "b", 1.0, True), ("b", "c", 0.0, True), ("b", "c", 2.0, True))
    topology = Graph(("a", "b", "c"), links).topology()
    paths = k_shortest_paths(topology, "a", "c", 9)
    assert [(path.links, path.weight) for path in paths] == [
        ((0, 2), 1.0),
        ((1, 2), 1.0),
        ((0, 3), 3.0),
        ((1, 3), 3.0),
    ]


def test_weights_may_be_a_name_an_array_or_a_function() -> None:
    links = (("a", "c", 1.0, True), ("a", "b", 1.0, True), ("b", "c", 1.0, True))
    topology = Graph(("a", "b", "c"), links).topology()
    assert [path.weight for path in k_shortest_paths(topology, "a", "c", 2, "hops")] == [1.0, 2.0]
    array = np.array([9.0, 1.0, 1.0])
    assert [path.links for path in k_shortest_paths(topology, "a", "c", 2, array)] == [(1, 2), (0,)]
    assert k_shortest_paths(topology, "a", "c", 2, lambda _: array)[1].weight == 9.0
    assert len(k_shortest_paths(topology, "a", "c", 2, np.array([1.0, 1.0, np.inf]))) == 1


def test_from_a_node_to_itself_there_is_one_path() -> None:
    topology = Graph(("a", "b"), (("a", "b", 1.0, True), ("b", "a", 1.0, True))).topology()
    assert k_shortest_paths(topology, "a", "a", 3) == (Path(("a",), (), 0.0),)


def test_what_cannot_be_asked_is_refused() -> None:
    topology = Graph(("a", "b"), (("a", "b", 1.0, False),)).topology()
    with pytest.raises(NoPath, match="every link that leaves 'a' is down"):
        k_shortest_paths(topology, "a", "b", 2)
    with pytest.raises(PathingError, match="k is 0"):
        k_shortest_paths(topology, "a", "b", 0)
    for pair in (("a", "c"), ("c", "b")):
        with pytest.raises(UnknownNode, match="'c'"):
            k_shortest_paths(topology, *pair, 1)
