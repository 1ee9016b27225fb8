"""The k shortest paths without loops between two nodes.

Yen's algorithm (Management Science 17(11), 1971) with Lawler's rule (Management Science 18(7), 1972): a path that
is found is left at each of its nodes, from where it left its own predecessor on, and the best of all these
deviations is the next path. What makes it fast is one tree of shortest paths to the destination. It tells how far
from there any node is at the least, so the search for a deviation runs straight at the destination (A*: Hart,
Nilsson, Raphael, 1968); and it *is* the rest of the path as soon as a node is reached whose way through the tree
stays clear of what is kept of the path that was left. A search is carried on only while it can still give the
next path; most never make a step.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import count, islice

from pathing.checks import whole_number
from pathing.errors import PathingError
from pathing.path import Path
from pathing.shortest import PathTree, search
from pathing.topology import Topology
from pathing.weights import WeighedGraph, Weight, weigh

_NEVER = 1 << 62
"""A position after every position on a path."""


def k_shortest_paths(
    topology: Topology, src: str, dst: str, k: int, weight: Weight = "latency_ms"
) -> tuple[Path, ...]:
    """Find the `k` shortest paths from `src` to `dst` that visit no node twice; fewer where there are no more.

    Shortest first, and the first is that of `shortest_path`. Paths over different parallel links are different
    paths. Which of equally long ones are given depends on weights, node names and link ids only. Raises
    `UnknownNode`, `WeightError`, `NoPath` where there is none, and `PathingError` for a k that is no whole number
    of 1 or more.
    """
    most = whole_number(k)
    if most is None or most < 1:
        raise PathingError(f"k is {k!r}; ask for a whole number of paths, 1 or more")
    topology.node_index(src)
    graph = weigh(topology, weight)
    tree = search(topology, graph, dst, to_root=True)
    ways = _Ways(topology, graph, tree, topology.node_index(src))
    first = ways.route(tree.path(src).links)
    names = topology.node_names
    paths = [
        Path(tuple(names[node] for node in route.nodes), tuple(route.links), ways.weight(route.links))
        for route in islice(_ranked(first), min(most, sys.maxsize))
    ]
    # Searches add weights up from the front, trees from the back: a rounding error can part the two.
    return tuple(sorted(paths, key=lambda path: path.weight))


def _ranked(first: _Route) -> Iterator[_Route]:
    """Give all routes, shortest first."""
    yield first
    order = count()
    waiting: list[tuple[float, int, _Deviation]] = []
    new = first.deviations(0, frozenset())
    while True:
        for deviation in new:
            if deviation.frontier:
                heappush(waiting, (deviation.frontier[0][0], next(order), deviation))
        if not waiting:
            return
        deviation = heappop(waiting)[2]
        route = deviation.advance(waiting[0][0] if waiting else math.inf)
        if route is None:
            new = [deviation]
        else:
            yield route
            new = route.deviations(deviation.spur, deviation.banned)


class _Ways:
    """The links as the searches use them, by node index, and the tree to the destination.

    Both are turned into Python's own numbers node by node, as the searches come by: that is a small part.
    """

    def __init__(self, topology: Topology, graph: WeighedGraph, tree: PathTree, start: int) -> None:
        self.start, self.end = start, topology.node_index(tree.root)
        self.order = count(0, -1)
        self._topology, self._graph, self._tree = topology, graph, tree
        self._arcs: dict[int, list[tuple[float, float, int, int]]] = {}
        self._hops: dict[int, tuple[int, int]] = {}

    def arcs(self, node: int) -> list[tuple[float, float, int, int]]:
        """Usable links out of a node: least distance to the end by it, weight, neighbour, link id.

        The one to prefer in a tie comes last, as in Csr; `order` falls, so that it is the first to be tried.
        """
        if node not in self._arcs:
            side = self._graph.outward
            row = slice(*side.csr.pattern.indptr[node : node + 2])
            neighbours, weights = side.csr.neighbours[row], side.weights[row]
            onward = weights + self._tree.distance[neighbours]
            columns = (column.tolist() for column in (onward, weights, neighbours, side.csr.links[row]))
            self._arcs[node] = [arc for arc in zip(*columns, strict=True) if arc[0] < math.inf]
        return self._arcs[node]

    def hop(self, node: int) -> tuple[int, int]:
        """The link that a node uses in the tree, and the node it leads to."""
        if node not in self._hops:
            link = int(self._tree.link[node])
            self._hops[node] = link, self._topology.end_indexes(link)[1]
        return self._hops[node]

    def route(self, links: Sequence[int]) -> _Route:
        """The route from the start over these links."""
        nodes, lengths = [self.start], [0.0]
        for link in links:
            nodes.append(self._topology.end_indexes(link)[1])
            lengths.append(lengths[-1] + float(self._graph.by_link[link]))
        return _Route(self, nodes, lengths, list(links))

    def weight(self, links: Sequence[int]) -> float:
        """The weight of a path, added up from its end as the distances of the tree are."""
        total = 0.0
        for link in reversed(links):
            total += float(self._graph.by_link[link])
        return total


class _Route:
    """A path from the source: its nodes, how far each is from the first, the links between them."""

    def __init__(self, ways: _Ways, nodes: list[int], lengths: list[float], links: list[int]) -> None:
        self.ways, self.nodes, self.lengths, self.links = ways, nodes, lengths, links
        self.position = {node: position for position, node in enumerate(nodes)}
        self._met = {ways.end: _NEVER}

    def deviations(self, start: int, banned: frozenset[int]) -> list[_Deviation]:
        """Every way to leave this route from position `start` on, but there not by the links `banned`."""
        return [
            _Deviation(self, spur, (banned if spur == start else frozenset()) | {self.links[spur]})
            for spur in range(start, len(self.links))
        ]

    def first_met(self, node: int) -> int:
        """The first position on this route that the way of `node` through the tree comes by, before the end."""
        trail = []
        while node not in self._met:
            trail.append(node)
            node = self.ways.hop(node)[1]
        met = self._met[node]
        for passed in reversed(trail):
            self._met[passed] = met = min(met, self.position.get(passed, _NEVER))
        return met


class _Deviation:
    """The search for the shortest path that follows a route up to position `spur` and leaves it there.

    `banned` are the links it must not leave by. The `frontier` is a heap of (least length of a path that comes
    this way, order, length so far, node, link to it, node before it).
    """

    def __init__(self, route: _Route, spur: int, banned: frozenset[int]) -> None:
        self.route, self.spur, self.banned = route, spur, banned
        self.frontier: list[tuple[float, int, float, int, int, int]] = []
        self._came_by: dict[int, tuple[int, int]] = {}
        self._reach(route.nodes[spur], route.lengths[spur], banned)

    def advance(self, limit: float) -> _Route | None:
        """Give the route if it is no longer than `limit`; else search on as far as that and give None."""
        while self.frontier and self.frontier[0][0] <= limit:
            _, _, length, node, link, before = heappop(self.frontier)
            if node in self._came_by:
                continue
            self._came_by[node] = link, before
            # None of the nodes this search came by can be on a way that stays clear: it would have ended there.
            if self.route.first_met(node) > self.spur:
                return self._route_by(node)
            self._reach(node, length, frozenset())
        return None

    def _reach(self, node: int, length: float, banned: frozenset[int]) -> None:
        ways, position = self.route.ways, self.route.position
        for onward, weight, neighbour, link in ways.arcs(node):
            kept = position.get(neighbour, _NEVER) <= self.spur
            if not kept and neighbour not in self._came_by and link not in banned:
                entry = length + onward, next(ways.order), length + weight, neighbour, link, node
                heappush(self.frontier, entry)

    def _route_by(self, node: int) -> _Route:
        route, ways = self.route, self.route.ways
        found, at = [], node
        while at != route.nodes[self.spur]:
            link, at = self._came_by[at]
            found.append(link)
        links = [*route.links[: self.spur], *reversed(found)]
        while node != ways.end:
            link, node = ways.hop(node)
            links.append(link)
        return ways.route(links)
