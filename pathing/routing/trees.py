"""Shortest-path trees of many roots at once as arrays, and the paths and loads read off them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from pathing.csr import FloatArray, IndexArray
from pathing.routing.network import Network
from pathing.routing.ragged import Ragged

NO_LINK = -1
# Up to here a table of all node pairs (int32) is small and three times as fast as a search among the links.
_TABLE_NODES = 4000


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """One tree a row: distance of each node, and the link that enters it; infinite and `NO_LINK` without a way."""

    distance: FloatArray  # (rows, n_nodes)
    link: NDArray[np.int32]  # (rows, n_nodes)
    tails: IndexArray  # (n_links,), of the network

    def paths(self, rows: IndexArray, targets: IndexArray) -> Ragged:
        """Read off the paths from the root of each of `rows` to each of `targets`, which must be reached."""
        flat_link, n_nodes = self.link.ravel(), self.link.shape[1]
        entering = flat_link.take(rows * n_nodes + targets)
        left = np.flatnonzero(entering != NO_LINK)
        steps: list[tuple[IndexArray, IndexArray]] = []
        lengths = np.zeros(rows.size, dtype=np.intp)
        entering = entering[left]
        while left.size:
            steps.append((left, entering))
            lengths[left] += 1
            entering = flat_link.take(rows[left] * n_nodes + self.tails.take(entering))
            going_on = entering != NO_LINK
            left, entering = left[going_on], entering[going_on]
        offsets = np.append(0, lengths.cumsum())
        links = np.empty(offsets[-1], dtype=np.intp)
        for back, (path, link) in enumerate(steps, start=1):
            links[offsets[path + 1] - back] = link
        return Ragged(links, offsets)

    def loads(self, volumes: FloatArray, n_links: int) -> FloatArray:
        """Sum what flows down the trees on each link, (n_links,).

        `volumes` (rows, n_nodes) is what each node takes from its root, 0 where it is not reached. From the
        farthest node to the nearest, each hands what passes through it to the node before it; all rows at once.
        Links must be longer than rounding errors, so that a node is farther than the one before it.
        """
        through = volumes.copy()
        order = np.argsort(self.distance, axis=1)
        rows = np.arange(order.shape[0])
        for node in order.T[:0:-1]:
            link = self.link[rows, node]
            reached = link != NO_LINK
            through[rows[reached], self.tails[link[reached]]] += through[rows[reached], node[reached]]
        used = self.link != NO_LINK
        return np.asarray(np.bincount(self.link[used], weights=through[used], minlength=n_links), np.float64)


class Searcher:
    """Finds trees over a network for one price a link."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._usable = np.flatnonzero(network.usable)
        keys = network.tails[self._usable] * network.n_nodes + network.heads[self._usable]
        # Which pairs of nodes are joined, by key, and which of them each usable link joins.
        self._keys, self._key_of_link = np.unique(keys, return_inverse=True)
        self._parallel = self._keys.size < self._usable.size
        self._only = np.empty(self._keys.size, dtype=np.intp)
        self._only[self._key_of_link] = self._usable
        self._table = self._fill_table() if network.n_nodes <= _TABLE_NODES else None

    def trees(self, price: FloatArray, roots: IndexArray) -> Trees:
        """Find the cheapest tree from each root; `price` (n_links,) is for a Mbit/s on the link."""
        outward = self._network.structure.outward
        priced = np.where(self._network.usable, price, np.inf)
        matrix = outward.matrix(priced.take(outward.links))
        distance, before = dijkstra(matrix, indices=roots, return_predecessors=True)
        link = self._links(before, np.arange(self._network.n_nodes), priced)
        return Trees(distance, link, self._network.tails)

    def trees_each(self, prices: FloatArray, roots: IndexArray) -> Trees:
        """Find one tree from each root with its own prices, (roots, n_links).

        One search in a graph that has a copy of the network for each root is far faster than many small searches.
        """
        outward, n_nodes, n_roots = self._network.structure.outward, self._network.n_nodes, roots.size
        priced = np.where(self._network.usable, prices, np.inf)
        shift = np.arange(n_roots, dtype=np.int32)
        indices = (outward.pattern.indices + n_nodes * shift[:, None]).ravel()
        starts = (outward.pattern.indptr[:-1] + outward.links.size * shift[:, None]).ravel()
        indptr = np.append(starts, outward.links.size * n_roots).astype(np.int32)
        data = priced.take(outward.links, axis=1).ravel()
        matrix = csr_array((data, indices, indptr), shape=(n_nodes * n_roots, n_nodes * n_roots))
        distance, before, _ = dijkstra(
            matrix, indices=roots + n_nodes * shift, return_predecessors=True, min_only=True
        )
        within = before.reshape(n_roots, n_nodes) - n_nodes * shift[:, None]  # below 0 stays below 0
        nodes = np.arange(n_nodes)
        if self._parallel:  # which link is the cheapest differs from row to row
            rows = [self._links(within[row : row + 1], nodes, priced[row]) for row in range(n_roots)]
            link = np.concatenate(rows)
        else:
            link = self._links(within, nodes, priced[0])
        return Trees(distance.reshape(n_roots, n_nodes), link, self._network.tails)

    def _fill_table(self) -> NDArray[np.int32]:
        table = np.full(self._network.n_nodes**2, NO_LINK, dtype=np.int32)
        table[self._keys] = self._only
        return table

    def _links(self, before: NDArray[np.int32], nodes: IndexArray, price: FloatArray) -> NDArray[np.int32]:
        """The link by which a tree goes from the node before to the node; the cheapest of parallel ones."""
        reached = before >= 0
        if not reached.any():
            return np.full(before.shape, NO_LINK, dtype=np.int32)
        link = self._only
        if self._parallel:
            order = np.lexsort((price[self._usable], self._key_of_link))
            first = np.append(True, np.diff(self._key_of_link[order]) > 0)
            link = self._usable[order[first]]
        if self._table is None:
            return self._by_pair(before, link)
        keys = np.where(reached, before.astype(np.intp) * self._network.n_nodes + nodes, self._keys[0])
        if self._parallel:
            self._table[self._keys] = link
        return np.where(reached, self._table.take(keys), NO_LINK).astype(np.int32)

    def _by_pair(self, before: NDArray[np.int32], link: IndexArray) -> NDArray[np.int32]:
        """As `_links` without a table: of the pairs of nodes that `link` joins, those that follow in the tree."""
        tails, heads = np.divmod(self._keys, self._network.n_nodes)
        entering = np.full(before.shape, NO_LINK, dtype=np.int32)
        for row, ahead in enumerate(before):  # all at once would take the memory of as many networks
            used = np.flatnonzero(ahead.take(heads) == tails)
            entering[row, heads[used]] = link[used]
        return entering
