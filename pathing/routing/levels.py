"""What is minimised where several demand matrices are carried: the worst of their maxima, or the mean of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pathing.csr import FloatArray, IndexArray


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """A level is a utilisation that no link exceeds; minimised is the sum of `costs` (n_levels,) * level.

    One level is for all K matrices together, K levels are for one matrix each. Arrays (K, n) of numbers a link
    (or any other (K, n)) are cut accordingly.
    """

    costs: FloatArray

    @staticmethod
    def worst() -> Levels:
        """One level over all matrices."""
        return Levels(np.ones(1))

    @staticmethod
    def mean(n_matrices: int) -> Levels:
        """A level for each matrix, all of the same cost."""
        return Levels(np.full(n_matrices, 1.0 / n_matrices))

    def of(self, resources: IndexArray, n_resources: int) -> IndexArray:
        """The level that bounds each resource; those are links, numbered matrix by matrix."""
        level: IndexArray = resources * self.costs.size // max(1, n_resources)
        return level

    def cut(self, values: FloatArray) -> FloatArray:
        """View values as (n_levels, n)."""
        return values.reshape(self.costs.size, -1)

    def peaks(self, use: FloatArray) -> FloatArray:
        """The least levels, (n_levels,), that a utilisation allows."""
        peaks: FloatArray = self.cut(use).max(axis=1, initial=0.0)
        return peaks

    def value(self, use: FloatArray) -> float:
        """What a utilisation is worth, less being better."""
        return float(self.costs @ self.peaks(use))

    def hot(self, use: FloatArray, share: float) -> IndexArray:
        """The resources that reach this share of their level."""
        cut = self.cut(use)
        return np.flatnonzero((cut >= share * cut.max(axis=1, keepdims=True)) & (cut > 0))

    def normalised(self, weights: FloatArray) -> FloatArray:
        """Scale weights so that those under a level add up to its cost, as a point of the dual has them.

        Those under a level that is no limit may be all zero and stay so.
        """
        cut = self.cut(weights)
        sums = cut.sum(axis=1, keepdims=True)
        scaled: FloatArray = cut * np.divide(self.costs[:, None], sums, out=np.zeros_like(sums), where=sums > 0)
        return scaled.reshape(weights.shape)
