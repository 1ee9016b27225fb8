"""The links that a search between two nodes may use, as arrays, and the least sums to the end over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from pathing.csr import FloatArray, IndexArray

BoolArray = NDArray[np.bool_]

# Lower bounds know the best order of this many stops: there is one array for each set of them.
_ORDERED_STOPS = 6


@dataclass(frozen=True, slots=True)
class Stop:
    """A node, or a link from `entry` to `exit`, that the path must take; node indexes, a node is both of them."""

    entry: int
    exit: int
    link: int | None = None


@dataclass(frozen=True, eq=False)
class Arcs:
    """Links in use between two nodes, none of them into `start` or out of `end`; `stops` are neither of the two.

    `tails`, `heads` and link ids, (m,), in order of tails; `by_head` are their positions in order of heads.
    `sums` is (sums, m): what each arc adds to each of the sums along a path.
    """

    n_nodes: int
    start: int
    end: int
    stops: tuple[Stop, ...]
    tails: IndexArray
    heads: IndexArray
    links: IndexArray
    by_head: IndexArray
    sums: FloatArray
    _least: dict[int, Least] = field(default_factory=dict, init=False, repr=False)
    _through: dict[int, FloatArray] = field(default_factory=dict, init=False, repr=False)

    @property
    def size(self) -> int:
        """Number of arcs."""
        return self.links.size

    def only(self, kept: BoolArray) -> Arcs:
        """Give those that are kept, (m,)."""
        by_head = (kept.cumsum() - 1).take(self.by_head[kept.take(self.by_head)])
        tails, heads, links = self.tails[kept], self.heads[kept], self.links[kept]
        return replace(self, tails=tails, heads=heads, links=links, by_head=by_head, sums=self.sums[:, kept])

    def least(self, row: int) -> Least:
        """Give the least of one of the sums; worked out once."""
        if row not in self._least:
            self._least[row] = Least(self, self.sums[row])
        return self._least[row]

    def least_through(self, row: int) -> FloatArray:
        """Give the least of one of the sums over each arc, stops left out, (m,); worked out once."""
        if row not in self._through:
            self._through[row] = self.least(row).through()
        return self._through[row]

    def nodes(self, walk: Sequence[int]) -> list[int]:
        """Give the node indexes along a walk from the start, by positions of its arcs."""
        return [self.start, *(self.head_list[position] for position in walk)]

    def is_path(self, walk: Sequence[int]) -> bool:
        """Whether a walk from start to end is simple and takes all stops."""
        nodes = self.nodes(walk)
        known = set(nodes)
        if len(known) < len(nodes):
            return False
        links = set(self.links[list(walk)].tolist()) if self.stops else ()
        return all(stop.entry in known if stop.link is None else stop.link in links for stop in self.stops)

    @cached_property
    def first(self) -> list[int]:
        """Where each node's arcs begin, and the number of arcs at the end."""
        starts: list[int] = self._outward.indptr.tolist()
        return starts

    @cached_property
    def head_list(self) -> list[int]:
        """`heads` for loops."""
        heads: list[int] = self.heads.tolist()
        return heads

    @cached_property
    def _outward(self) -> csr_array[np.float64]:
        return self._pattern(self.tails, self.heads)

    @cached_property
    def _inward(self) -> csr_array[np.float64]:
        return self._pattern(self.heads.take(self.by_head), self.tails.take(self.by_head))

    def _pattern(self, rows: IndexArray, columns: IndexArray) -> csr_array[np.float64]:
        # Built from its parts parallel arcs stay apart, in int32 scipy takes it without a copy.
        starts = np.zeros(self.n_nodes + 1, dtype=np.int32)
        np.cumsum(np.bincount(rows, minlength=self.n_nodes), out=starts[1:])
        parts = (np.zeros(rows.size), columns.astype(np.int32), starts)
        return csr_array(parts, shape=(self.n_nodes, self.n_nodes))

    def distances_from_start(self, lengths: FloatArray) -> FloatArray:
        """Give every node's distance from the start, infinite where there is no way; `lengths` is (m,)."""
        matrix = self._outward
        matrix.data = lengths
        distances: FloatArray = dijkstra(matrix, indices=[self.start])[0]
        return distances

    def distances_to(self, roots: Sequence[int], lengths: FloatArray) -> tuple[FloatArray, NDArray[np.int32]]:
        """Give every node's distance to each root and the next node on the way, both (roots, nodes)."""
        matrix = self._inward
        matrix.data = lengths.take(self.by_head)
        distances, following = dijkstra(matrix, indices=roots, return_predecessors=True)
        return distances, following


class Least:
    """The least sum of `lengths`, (m,), over walks to the end: from every node, for every set of stops to take.

    `to_go[left]` is (n_nodes,), the bits of `left` being the first few stops; those beyond are left out, which
    makes the sums lower, never higher. Dijkstra to the end and to each stop, then the best order of the stops by
    dynamic programming over their sets (Held and Karp 1962).
    """

    def __init__(self, arcs: Arcs, lengths: FloatArray) -> None:
        self.lengths = lengths
        self._arcs = arcs
        self._stops = arcs.stops[:_ORDERED_STOPS]
        roots = [arcs.end, *(stop.entry for stop in self._stops)]
        self._distances, self._following = arcs.distances_to(roots, lengths)
        self._positions = [np.flatnonzero(arcs.links == stop.link) for stop in self._stops]
        self.all_left = (1 << len(self._stops)) - 1
        self.to_go = [self._distances[0]]
        for left in range(1, self.all_left + 1):
            self.to_go.append(np.minimum.reduce([self._by_way_of(stop, left) for stop in self._among(left)]))

    def total(self) -> float:
        """Give the least sum from start to end with all stops; infinite where there is no way."""
        return float(self.to_go[self.all_left][self._arcs.start])

    def through(self) -> FloatArray:
        """Give the least sum from start to end over each arc, stops left out: (m,)."""
        arcs = self._arcs
        before = arcs.distances_from_start(self.lengths).take(arcs.tails)
        through: FloatArray = before + self.lengths + self._distances[0].take(arcs.heads)
        return through

    def walk(self) -> list[int]:
        """Give the positions of the arcs of a walk with the least sum; there must be a way."""
        node, left, walked = self._arcs.start, self.all_left, list[int]()
        while left:
            costs = {stop: float(self._by_way_of(stop, left)[node]) for stop in self._among(left)}
            stop = min(costs, key=costs.__getitem__)
            walked += self._straight(node, stop + 1, self._stops[stop].entry)
            walked += self._positions[stop].tolist()
            node = self._stops[stop].exit
            left &= ~(1 << stop)
        return walked + self._straight(node, 0, self._arcs.end)

    def _among(self, left: int) -> list[int]:
        return [stop for stop in range(len(self._stops)) if left >> stop & 1]

    def _by_way_of(self, stop: int, left: int) -> FloatArray:
        """The least sums of walks whose next stop is this one."""
        onward = float(self.to_go[left & ~(1 << stop)][self._stops[stop].exit])
        if self._stops[stop].link is not None:
            onward += float(self.lengths[self._positions[stop]].min(initial=np.inf))
        sums: FloatArray = self._distances[stop + 1] + onward
        return sums

    def _straight(self, node: int, tree: int, root: int) -> list[int]:
        first, heads, walked = self._arcs.first, self._arcs.head_list, []
        following = self._following[tree]
        while node != root:
            onward = int(following[node])
            there = [position for position in range(first[node], first[node + 1]) if heads[position] == onward]
            # Of parallel arcs the distance is that of the shortest.
            walked.append(there[0] if len(there) == 1 else min(there, key=self.lengths.__getitem__))
            node = onward
        return walked
