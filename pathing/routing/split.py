"""How demands divide over paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathing.csr import FloatArray, IndexArray
from pathing.routing.ragged import Ragged

# A share of a demand too small to be worth a path; simplex solutions are good to about this.
NOTHING = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Path i carries the share `fractions[i]` of demand `owners[i]`; owners never fall."""

    paths: Ragged
    owners: IndexArray
    fractions: FloatArray

    def loads(self, volumes: FloatArray, n_links: int) -> FloatArray:
        """Mbit/s on each link in each matrix, (K, n_links); `volumes` (K, n_demands)."""
        rows = [self.paths.loads(row[self.owners] * self.fractions, n_links) for row in volumes]
        return np.array(rows).reshape(volumes.shape[0], n_links)

    def take(self, which: IndexArray) -> Split:
        """Give some of the paths; what they leave of a demand is not spread again."""
        return Split(self.paths.take(which), self.owners[which], self.fractions[which])

    def whole(self) -> Split:
        """Scale the fractions of each demand so that they add up to 1."""
        sums = np.bincount(self.owners, weights=self.fractions)
        return Split(self.paths, self.owners, self.fractions / sums[self.owners])

    def is_in(self, other: Split) -> NDArray[np.bool_]:
        """Whether each path is one that its demand has in `other` too."""
        there = {(owner, other.paths.path(entry).tobytes()) for entry, owner in enumerate(other.owners.tolist())}
        mine = ((owner, self.paths.path(entry).tobytes()) for entry, owner in enumerate(self.owners.tolist()))
        return np.array([key in there for key in mine], dtype=np.bool_)

    def tidy(self) -> Split:
        """Join equal paths of a demand, leave out those that carry nothing, scale to 1."""
        keep = np.ones(self.owners.size, dtype=np.bool_)
        fractions = self.fractions.copy()
        count = np.bincount(self.owners)
        seen: dict[tuple[int, bytes], int] = {}
        for entry in np.flatnonzero(count[self.owners] > 1).tolist():
            key = int(self.owners[entry]), self.paths.path(entry).tobytes()
            first = seen.setdefault(key, entry)
            if first != entry:
                fractions[first] += fractions[entry]
                keep[entry] = False
        keep &= fractions > NOTHING
        joined = Split(self.paths, self.owners, fractions)
        return joined.take(np.flatnonzero(keep)).whole()


def keep_few(split: Split, most: IndexArray, first: NDArray[np.bool_]) -> Split:
    """Leave each demand its `most` (n_demands,) largest paths, those marked `first` before all others.

    What the others carried goes to a path marked `first` where there is one, else to all in proportion.
    """
    order = np.lexsort((-split.fractions, ~first, split.owners))
    sorted_split, marked = split.take(order), first[order]
    rank = np.arange(order.size) - np.searchsorted(sorted_split.owners, sorted_split.owners)
    keep = rank < most[sorted_split.owners]
    dropped = np.bincount(sorted_split.owners[~keep], weights=sorted_split.fractions[~keep], minlength=most.size)
    takes_it = (rank == 0) & marked
    fractions = sorted_split.fractions + np.where(takes_it, dropped[sorted_split.owners], 0.0)
    return Split(sorted_split.paths, sorted_split.owners, fractions).take(np.flatnonzero(keep)).whole()


def single(paths: Ragged) -> Split:
    """Demand i goes whole on path i."""
    return Split(paths, np.arange(len(paths)), np.ones(len(paths)))
