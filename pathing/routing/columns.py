"""The columns of a master programme: paths that commodities may take instead of their base paths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, vstack

from pathing.csr import FloatArray, IndexArray
from pathing.routing.pricing import Pricing
from pathing.routing.ragged import Ragged


class Columns:
    """Paths added so far with their owners, and what they do to the utilisation of the resources.

    A resource is a link in one of the K matrices, numbered matrix by matrix. The unit of a commodity's columns is
    what would fill the narrowest link of its base path, in Mbit/s: so the programme's numbers are near 1.
    Commodities that are `absent` (n,) ride nothing: what no column carries of them is not there.
    """

    def __init__(self, pricing: Pricing, base: Ragged, absent: NDArray[np.bool_] | None = None) -> None:
        network, commodities = pricing.network, pricing.commodities
        self.pricing, self.base = pricing, base
        self.units = np.minimum.reduceat(network.capacity_mbps[base.links], base.offsets[:-1])
        self.sizes = commodities.peaks / self.units
        self._present = np.ones(len(commodities)) if absent is None else np.where(absent, 0.0, 1.0)
        present = commodities.volumes * self._present
        loads = np.array([base.loads(row, network.n_links) for row in present])
        self.base_use = (loads / network.capacity_mbps).ravel()
        self.paths = Ragged.empty()
        self.owners = np.zeros(0, dtype=np.intp)
        self._everyone = np.arange(len(commodities))

    def append(self, owners: IndexArray, paths: Ragged) -> None:
        """Add paths."""
        self.owners = np.concatenate((self.owners, owners))
        self.paths = Ragged.join([self.paths, paths])

    def cheapest(self, prices: FloatArray, leaving: FloatArray) -> FloatArray:
        """What the cheapest path there is costs each commodity; any but its base path costs `leaving` more."""
        costs = self.pricing.costs(prices, self.base, self._everyone)
        costs[self._present == 0] = np.inf
        if self.owners.size:
            np.minimum.at(
                costs, self.owners, self.pricing.costs(prices, self.paths, self.owners) + leaving[self.owners]
            )
        return costs

    def usage(self, owners: IndexArray, paths: Ragged | None) -> csc_array[np.float64]:
        """What a unit of each column adds to the utilisation of the resources, (n_resources, n).

        That it takes off the base path is counted. Without paths the unit goes nowhere.
        """
        commodities, n_links = self.pricing.commodities, self.pricing.network.n_links
        difference = -self._per_unit(owners, self.base.take(owners), self._present[owners])
        if paths is not None:
            difference = csc_array(difference + self._per_unit(owners, paths, np.ones(owners.size)))
        difference.eliminate_zeros()
        if commodities.volumes.shape[0] == 1:
            return csc_array(difference)
        shares = commodities.volumes[:, owners] / commodities.peaks[owners]
        assert difference.shape[0] == n_links
        return csc_array(vstack([difference * row[None, :] for row in shares], format="csc"))

    def _per_unit(self, owners: IndexArray, paths: Ragged, times: FloatArray) -> csc_array[np.float64]:
        values = (
            np.repeat(self.units[owners] * times, paths.lengths) / self.pricing.network.capacity_mbps[paths.links]
        )
        return csc_array((values, paths.links, paths.offsets), shape=(self.pricing.network.n_links, owners.size))
