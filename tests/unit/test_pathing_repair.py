"""Detours around each link and node of a path against all detours there are, and the walk of packets over them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathing.errors import TopologyError, UnknownNode, WeightError
from pathing.path import Path
from pathing.repair import Detour, Repair, local_repair
from pathing.shortest import shortest_path
from pathing.topology import Topology


@dataclass(frozen=True)
class Network:
    """A multigraph as a value, links are (src, dst, weight, up), and a path over ids of its links."""

    names: tuple[str, ...]
    links: tuple[tuple[str, str, float, bool], ...]
    path: tuple[int, ...]

    def topology(self) -> Topology:
        topology = Topology()
        for name in self.names:
            topology.add_node(name)
        for src, dst, weight, up in self.links:
            topology.add_link(src, dst, capacity_mbps=1, weight=weight, up=up)
        return topology

    def nodes(self) -> tuple[str, ...]:
        return (self.links[self.path[0]][0], *(self.links[link][1] for link in self.path))

    def weigh(self, links: tuple[int, ...]) -> float:
        return math.fsum(self.links[link][2] for link in links)

    def ways(self, at: str, goal: str, dead: set[int], seen: tuple[str, ...] = ()) -> Iterator[tuple[int, ...]]:
        """All simple ways over links that are up and not dead."""
        if at == goal:
            yield ()
            return
        for link, (src, dst, _, up) in enumerate(self.links):
            if src == at and up and link not in dead and dst not in (*seen, at):
                for rest in self.ways(dst, goal, dead, (*seen, at)):
                    yield (link, *rest)

    def least(self, near: int, far: int, dead: set[int]) -> float | None:
        """The least weight from end to end by a detour from position `near` of the path to `far` or later."""
        nodes = self.nodes()
        return min(
            (
                self.weigh((*self.path[:near], *detour, *self.path[merge:]))
                for merge in range(far, len(nodes))
                for detour in self.ways(nodes[near], nodes[merge], dead)
            ),
            default=None,
        )


# Few small whole numbers, zero among them: sums are exact and ties are common.
WEIGHTS = st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 9.0])


@st.composite
def networks(draw: st.DrawFn, weights: st.SearchStrategy[float] = WEIGHTS) -> Network:
    """The path need not be a shortest one."""
    names = tuple(f"n{number}" for number in range(draw(st.integers(2, 7))))
    nodes = draw(st.lists(st.sampled_from(names), min_size=2, max_size=5, unique=True))
    ends = st.tuples(st.sampled_from(names), st.sampled_from(names)).filter(lambda pair: pair[0] != pair[1])
    link = st.tuples(ends, weights, st.sampled_from([True, True, True, False]))
    others = [(src, dst, weight, up) for (src, dst), weight, up in draw(st.lists(link, max_size=14))]
    path = [(src, dst, draw(weights), True) for src, dst in pairwise(nodes)]
    return Network(names, (*others, *path), tuple(range(len(others), len(others) + len(path))))


def repaired(network: Network) -> Repair:
    # Its own weight is in another unit: a repair does not look at it.
    return local_repair(network.topology(), Path(network.nodes(), network.path, -1.0), "weight")


def failures(network: Network, repair: Repair) -> Iterator[tuple[Detour | None, int, int, set[int]]]:
    """Each failure: the detour for it, the positions of the nodes on its two sides, the links that are dead."""
    nodes = network.nodes()
    for position, (link, detour) in enumerate(zip(network.path, repair.links, strict=True)):
        src, dst = nodes[position], nodes[position + 1]
        # A cut cable: which of the links the other way is in it nobody knows, so none of them may be needed.
        back = {number for number, other in enumerate(network.links) if other[:2] == (dst, src)}
        yield detour, position, position + 1, {link} | back
    for position, (node, detour) in enumerate(zip(nodes[1:-1], repair.nodes, strict=True)):
        dead = {number for number, other in enumerate(network.links) if node in other[:2]}
        yield detour, position, position + 2, dead


@given(networks() | networks(st.floats(0, 100)))
@settings(deadline=None, max_examples=400)
def test_each_failure_has_the_detour_of_least_weight_from_end_to_end_or_there_is_none(network: Network) -> None:
    nodes = network.nodes()
    repair = repaired(network)
    for detour, near, far, dead in failures(network, repair):
        least = network.least(near, far, dead)
        if least is None:
            assert detour is None
            continue
        assert detour is not None
        assert detour.weight == pytest.approx(least, rel=1e-12)
        assert (detour.at, detour.merge) == (nodes[near], detour.path.nodes[-1])
        assert nodes.index(detour.merge) >= far
        assert dead.isdisjoint(detour.path.links)
        assert detour.path.weight == network.weigh(detour.path.links)
        # It is a path over links that are up.
        assert detour.path.links in set(network.ways(detour.at, detour.merge, dead))
        assert detour.turns_back == (near > 0 and detour.path.nodes[1] == nodes[near - 1])


@given(networks())
@settings(deadline=None, max_examples=200)
def test_links_and_nodes_without_a_detour_are_those_that_cut_the_rest_off(network: Network) -> None:
    nodes = network.nodes()
    repair = repaired(network)
    every = failures(network, repair)
    cut = [next(network.ways(nodes[near], nodes[-1], dead), None) is None for _, near, _, dead in every]
    n_links = len(network.path)
    assert repair.unprotected_links == tuple(link for n, link in enumerate(network.path) if cut[n])
    assert repair.unprotected_nodes == tuple(node for n, node in enumerate(nodes[1:-1]) if cut[n_links + n])


@given(networks())
@settings(deadline=None, max_examples=300)
def test_packets_that_follow_the_rules_as_they_are_assumed_arrive_and_do_not_loop(network: Network) -> None:
    """A rule matches a node and whether there is a mark; a dead port puts the mark on, the merge point off."""
    nodes = network.nodes()
    for detour, _, _, dead in failures(network, repaired(network)):
        if detour is None:
            continue
        rules = {(node, False): link for node, link in zip(nodes[:-1], network.path, strict=True)}
        rules |= {(node, True): link for node, link in zip(detour.path.nodes[:-1], detour.path.links, strict=True)}
        node, marked = nodes[0], False
        seen, walked = set(), []
        while node != nodes[-1]:
            assert (node, marked) not in seen
            seen.add((node, marked))
            link = rules[node, marked]
            if link in dead:
                assert (node, marked) == (detour.at, False)
                marked = True
                link = rules[node, marked]
            assert link not in dead
            walked.append(link)
            node = network.links[link][1]
            marked = marked and node != detour.merge
        assert network.weigh(tuple(walked)) == detour.weight
        beyond = nodes[nodes.index(detour.merge) :]
        assert set(beyond) & set(detour.path.nodes) == {detour.merge}


def square() -> Topology:
    """a - b - c - d and the ways a - e - c and b - f - d beside it, both directions of each."""
    topology = Topology()
    for name in "abcdef":
        topology.add_node(name)
    for src, dst in ("ab", "bc", "cd", "ae", "ec", "bf", "fd"):
        topology.add_link(src, dst, capacity_mbps=1, weight=1.0)
        topology.add_link(dst, src, capacity_mbps=1, weight=1.0)
    return topology


def test_detours_merge_as_early_as_the_weight_allows() -> None:
    topology = square()
    repair = local_repair(topology, shortest_path(topology, "a", "d", "weight"), "weight")
    assert repair.path.nodes == ("a", "b", "c", "d")
    around_links = [detour and (detour.path.nodes, detour.weight, detour.turns_back) for detour in repair.links]
    assert around_links == [
        (("a", "e", "c"), 3, False),
        (("b", "f", "d"), 3, False),
        # Back to where it came from: every way on from c to d leads over b.
        (("c", "b", "f", "d"), 5, True),
    ]
    around_nodes = [detour and (detour.path.nodes, detour.weight) for detour in repair.nodes]
    assert around_nodes == [(("a", "e", "c"), 3), (("b", "f", "d"), 3)]
    assert [detour and (detour.link, detour.node) for detour in repair.nodes] == [(None, "b"), (None, "c")]
    assert not repair.unprotected_links and not repair.unprotected_nodes


def test_a_group_takes_the_detour_around_the_node_behind_the_link_where_there_is_one() -> None:
    topology = square()
    repair = local_repair(topology, shortest_path(topology, "a", "d", "weight"), "weight")
    assert repair.backups == (repair.nodes[0], repair.nodes[1], repair.links[2])
    # Without f, c is a cut node: what is left is a way around the link to it.
    for src, dst in ("bf", "fd"):
        for link in (*topology.links_between(src, dst), *topology.links_between(dst, src)):
            topology.set_link(link.id, up=False)
    repair = local_repair(topology, shortest_path(topology, "a", "d", "weight"), "weight")
    assert repair.unprotected_nodes == ("c",)
    assert repair.unprotected_links == (topology.links_between("c", "d")[0].id,)
    assert repair.backups == (repair.nodes[0], repair.links[1], None)
    assert repair.links[1] is not None and repair.links[1].path.nodes == ("b", "a", "e", "c")


def test_a_parallel_link_is_a_detour_around_a_link_but_not_around_a_node() -> None:
    network = Network(
        ("a", "b", "c"),
        (("a", "b", 1.0, True), ("a", "b", 2.0, True), ("b", "c", 1.0, True), ("a", "c", 9.0, True)),
        (0, 2),
    )
    repair = repaired(network)
    assert repair.links[0] is not None and repair.links[0].path == Path(("a", "b"), (1,), 2.0)
    assert repair.nodes[0] is not None and repair.nodes[0].path == Path(("a", "c"), (3,), 9.0)
    assert repair.unprotected_links == (2,)


def test_a_path_without_links_has_nothing_to_repair() -> None:
    repair = local_repair(square(), Path(("a",), (), 0.0))
    assert repair.links == repair.nodes == repair.backups == ()


def test_what_is_no_path_of_the_topology_is_named() -> None:
    topology = square()
    for nodes, links, message in (
        (("a", "c"), (0,), r"link 0 \('a' -> 'b'\) of the path does not join 'a' and 'c'"),
        (("a", "b"), (), "2 nodes and 0 links"),
        (("a", "b", "a"), (0, 1), "node 'a' twice"),
        (("a", "b"), (99,), "no link with id 99"),
    ):
        with pytest.raises(TopologyError, match=message):
            local_repair(topology, Path(nodes, links, 0.0), "weight")
    with pytest.raises(UnknownNode, match="'nowhere'"):
        local_repair(topology, Path(("a", "nowhere"), (0,), 0.0), "weight")
    with pytest.raises(WeightError, match="no weight 'wait'"):
        local_repair(topology, Path(("a", "b"), (0,), 0.0), "wait")
    topology.set_link(0, up=False)
    with pytest.raises(TopologyError, match=r"link 0 \('a' -> 'b'\) of the path is out of use"):
        local_repair(topology, Path(("a", "b"), (0,), 0.0), "weight")


def test_a_detour_is_found_however_long_it_is() -> None:
    for far in (1.0, 2.0, 10.0, 1e9):
        topology = Topology()
        for name in "abc":
            topology.add_node(name)
        topology.add_link("a", "b", capacity_mbps=1, latency_ms=1.0)
        topology.add_link("a", "c", capacity_mbps=1, latency_ms=far)
        topology.add_link("c", "b", capacity_mbps=1, latency_ms=far)
        (detour,) = local_repair(topology, shortest_path(topology, "a", "b")).links
        assert detour is not None and detour.weight == 2 * far
