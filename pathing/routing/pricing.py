"""Cheapest paths of all commodities under prices on the links, and the lower bound that follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pathing.csr import FloatArray, IndexArray
from pathing.routing.network import Commodities, Network
from pathing.routing.ragged import Ragged
from pathing.routing.trees import NO_LINK, Searcher, Trees

# How many numbers a search with prices of its own for each commodity may hold at once.
_BLOCK_NUMBERS = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Cheapest:
    """For each commodity what its cheapest path costs for its whole volume, and the trees to read paths off."""

    cost: FloatArray  # (n_commodities,), infinite without a way
    trees: Trees
    rows: IndexArray
    targets: IndexArray

    def paths(self, which: IndexArray) -> Ragged:
        """Read off the paths of some commodities."""
        return self.trees.paths(self.rows[which], self.targets[which])


class Pricing:
    """Prices are (K, n_links): what full use of a link costs in each of the K demand matrices.

    Under them a Mbit/s costs price / capacity, and a commodity on a path the sum of that times its volumes. With
    one matrix all commodities of a source share a tree. With several the ratio of the volumes differs from one
    commodity to the next and each has a search of its own.
    """

    def __init__(self, network: Network, commodities: Commodities, searcher: Searcher | None = None) -> None:
        self.network = network
        self.commodities = commodities
        self.searcher = searcher or Searcher(network)
        self._roots, self._rows = np.unique(commodities.sources, return_inverse=True)

    def cheapest(self, prices: FloatArray) -> Cheapest:
        """Find the cheapest path of every commodity."""
        per_mbit = prices / self.network.capacity_mbps
        one = self.commodities
        if per_mbit.shape[0] == 1:
            trees = self.searcher.trees(per_mbit[0], self._roots)
            distance = trees.distance[self._rows, one.targets]
            # An unreachable commodity of no volume costs nothing, not 0 * infinity.
            cost = np.multiply(one.volumes[0], distance, out=np.zeros(len(one)), where=one.volumes[0] > 0)
            return Cheapest(cost, trees, self._rows, one.targets)
        block = max(1, _BLOCK_NUMBERS // max(1, self.network.n_links))
        parts = [
            self.searcher.trees_each(
                one.volumes[:, start : start + block].T @ per_mbit, one.sources[start : start + block]
            )
            for start in range(0, len(one), block)
        ]
        trees = Trees(
            np.concatenate([part.distance for part in parts]),
            np.concatenate([part.link for part in parts]),
            self.network.tails,
        )
        rows = np.arange(len(one))
        return Cheapest(trees.distance[rows, one.targets], trees, rows, one.targets)

    def costs(self, prices: FloatArray, paths: Ragged, owners: IndexArray) -> FloatArray:
        """What given paths of commodities `owners` cost for their whole volumes."""
        per_mbit = prices / self.network.capacity_mbps
        costs = np.zeros(len(paths))
        for matrix, row in enumerate(per_mbit):
            costs += self.commodities.volumes[matrix, owners] * paths.sums(row)
        return costs

    def loads(self, cheapest: Cheapest) -> FloatArray:
        """Mbit/s on each link in each matrix when everybody takes the cheapest path, (K, n_links)."""
        volumes, n_links = self.commodities.volumes, self.network.n_links
        # Trees are added up node by node, paths step by step.
        if volumes.shape[0] == 1 and len(self.commodities) >= self.network.n_nodes:
            taken = np.zeros(cheapest.trees.distance.shape)
            np.add.at(taken, (cheapest.rows, cheapest.targets), volumes[0])
            return cheapest.trees.loads(taken, n_links)[None]
        paths = cheapest.paths(np.arange(len(self.commodities)))
        return np.array([paths.loads(row, n_links) for row in volumes])

    def bound(self, weights: FloatArray) -> float:
        """A lower bound on the least cost of the levels, by weak duality.

        The weights, as `Levels.normalised`, weigh the links' utilisations; no routing can bring their weighted sum
        below what the cheapest paths cost, and the levels cost at least that sum.
        """
        return float(self.cheapest(weights).cost.sum())

    def reachable(self) -> IndexArray:
        """The commodities that have a way, as indexes."""
        trees = self.searcher.trees(np.ones(self.network.n_links), self._roots)
        return np.flatnonzero(trees.link[self._rows, self.commodities.targets] != NO_LINK)


def tie_break(pricing: Pricing, mean_weight: float) -> FloatArray:
    """The part of the prices that is the same all along: `mean_weight` spread over links and matrices."""
    network, n_matrices = pricing.network, pricing.commodities.volumes.shape[0]
    return np.tile(np.where(network.usable, mean_weight / network.n_usable / n_matrices, 0.0), (n_matrices, 1))
