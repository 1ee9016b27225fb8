"""Link- and node-disjoint paths of least total weight, as a flow of least cost.

Suurballe, "Disjoint paths in a network", Networks 4(2), 1974, and Bhandari, "Survivable Networks", 1999: each
path is one unit of flow, links take one unit each, and one shortest path after the other is sent through what is
left, where going back over a used link takes the flow off it. Node potentials keep all lengths from being
negative, so that Dijkstra can search. For paths without common nodes every node is split in two, with an arc
between the halves that takes one unit too.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from pathing.csr import FloatArray, IndexArray
from pathing.topology import Topology


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Arcs, then the reverse of each, and the order that groups them all by tail for scipy.

    The first arcs are the links by id. Where nodes are split, v is the half that links enter and `n_nodes` + v
    the half that they leave, and arcs from the one to the other, by node, follow the links.
    """

    n_links: int
    n_nodes: int
    split: bool
    tails: IndexArray
    heads: IndexArray
    order: IndexArray
    pattern: csr_array[np.float64]  # its numbers mean nothing


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """What was sent: how often each link is used, and the arcs that stood in the way.

    `cut` are arcs, as few as can be, that every way uses one of: empty when as much was sent as was asked.
    """

    units: Counter[int]
    placed: int
    cut: tuple[int, ...]


def network(topology: Topology, *, split: bool) -> Network:
    """Build the network, with or without split nodes."""
    sources, targets = topology.ends()
    n_nodes = topology.n_nodes
    if split:
        halves = np.arange(n_nodes)
        sources, targets = np.append(sources + n_nodes, halves), np.append(targets, halves + n_nodes)
    tails, heads = np.append(sources, targets), np.append(targets, sources)
    order = np.argsort(tails, kind="stable")
    n_halves = n_nodes * 2 if split else n_nodes
    starts = np.append(0, np.bincount(tails, minlength=n_halves).cumsum())
    # int32 is what scipy takes without a copy.
    parts = (np.empty(tails.size), heads[order].astype(np.int32), starts.astype(np.int32))
    pattern = csr_array(parts, shape=(n_halves, n_halves))
    return Network(topology.n_links, n_nodes, split, tails, heads, order, pattern)


def least_flow(net: Network, weights: FloatArray, src: int, dst: int, k: int, *, share: bool = False) -> Flow:
    """Send `k` units from node `src` to `dst` at the least total weight; fewer where there is no room for more.

    `weights` by link id, infinite out of use. With `share`, for k of 2 at most, arcs that every way uses may be
    used twice, and no other: that is the least two paths can share, and on both sides of such an arc they can
    part (Menger).
    """
    search = _Search(net, weights, src + net.n_nodes if net.split else src, dst)
    placed = 0
    while placed < k:
        if search.send():
            placed += 1
        elif share and placed:
            search.widen(search.cut())
        else:
            break
    used = np.flatnonzero(search.units[: net.n_links]).tolist()
    return Flow(
        Counter({link: int(search.units[link]) for link in used}), placed, search.cut() if placed < k else ()
    )


class _Search:
    """The state of successive shortest paths. `room`: whether an arc, or a reverse, can take one unit more."""

    def __init__(self, net: Network, weights: FloatArray, source: int, target: int) -> None:
        costs = np.append(weights, np.zeros(net.n_nodes)) if net.split else weights
        self.net, self.source, self.target = net, source, target
        self.costs = np.append(costs, -costs)
        self.room = np.append(np.isfinite(costs), np.zeros(costs.size, dtype=bool))
        self.units = np.zeros(costs.size, dtype=np.intp)
        self.most = np.ones(costs.size, dtype=np.intp)
        self.potential = np.zeros(net.pattern.shape[0])
        self.distance = self.potential
        self.matrix = net.pattern.copy()

    def send(self) -> bool:
        """Send one unit more along a shortest path; False when there is none."""
        net, potential = self.net, self.potential
        lengths = self.costs + potential.take(net.tails) - potential.take(net.heads)
        # Only rounding makes a length with room negative.
        lengths = np.where(self.room, np.maximum(lengths, 0.0), np.inf)
        self.matrix.data = lengths.take(net.order)
        distances, predecessors = dijkstra(self.matrix, indices=[self.source], return_predecessors=True)
        self.distance, before = distances[0], predecessors[0]
        farthest = float(self.distance[self.target])
        if math.isinf(farthest):
            return False
        # Nodes beyond the target move with it: their lengths stay as good, and unreached ones finite.
        self.potential = potential + np.minimum(self.distance, farthest)
        node = self.target
        while node != self.source:
            previous = int(before[node])
            self._move(self._arc(previous, node))
            node = previous
        return True

    def cut(self) -> tuple[int, ...]:
        """Give the arcs, after `send` failed, that are full between what it reached and the rest."""
        reached = np.isfinite(self.distance)
        n = self.units.size
        across = reached.take(self.net.tails[:n]) & ~reached.take(self.net.heads[:n])
        return tuple(np.flatnonzero(across & (self.units > 0)).tolist())

    def widen(self, arcs: Sequence[int]) -> None:
        """Let these full arcs take a second unit, at the same weight."""
        for arc in arcs:
            self.most[arc] = 2
            self.room[arc] = True

    def _arc(self, tail: int, head: int) -> int:
        start, end = self.matrix.indptr[tail], self.matrix.indptr[tail + 1]
        parallel = start + np.flatnonzero(self.matrix.indices[start:end] == head)
        return int(self.net.order[parallel[self.matrix.data[parallel].argmin()]])

    def _move(self, arc: int) -> None:
        n = self.units.size
        step, arc = (1, arc) if arc < n else (-1, arc - n)
        self.units[arc] += step
        self.room[arc] = self.units[arc] < self.most[arc]
        self.room[arc + n] = self.units[arc] > 0


def paths_of(units: Counter[int], tails: IndexArray, heads: IndexArray, src: int) -> list[tuple[int, ...]]:
    """Split a flow from node `src`, links with how often each is used, into paths that visit no node twice.

    Cycles are left out: in a flow of least weight they weigh nothing.
    """
    leaving = _by_tail(_without_cycles(units, tails, heads), tails)
    paths = []
    while leaving[src]:
        path, node = [], src
        while leaving[node]:
            path.append(leaving[node].pop())
            node = int(heads[path[-1]])
        paths.append(tuple(path))
    return paths


def _without_cycles(units: Counter[int], tails: IndexArray, heads: IndexArray) -> list[int]:
    """Take all directed cycles out, by a search in depth; the links that are left, each as often as it is used."""
    leaving = _by_tail(units.elements(), tails)
    kept: list[int] = []
    for start in list(leaving):
        trail: list[int] = []
        depth = {start: 0}
        node = start
        while leaving[node] or trail:
            if not leaving[node]:
                # Nothing leaves the node any more, so the link into it is on no cycle.
                del depth[node]
                kept.append(trail.pop())
                node = int(tails[kept[-1]])
                continue
            trail.append(leaving[node].pop())
            node = int(heads[trail[-1]])
            if node in depth:
                for link in trail[depth[node] : -1]:
                    del depth[int(heads[link])]
                del trail[depth[node] :]
            else:
                depth[node] = len(trail)
    return kept


def _by_tail(links: Iterable[int], tails: IndexArray) -> defaultdict[int, list[int]]:
    # The least id comes out first, as lists are emptied from the end.
    leaving: defaultdict[int, list[int]] = defaultdict(list)
    for link in sorted(links, reverse=True):
        leaving[int(tails[link])].append(link)
    return leaving
