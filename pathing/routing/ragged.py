"""Many link lists of unequal length in one flat array, handled all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathing.csr import FloatArray, IndexArray


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Paths as link ids: path i is `links[offsets[i]:offsets[i + 1]]`, from its source to its target."""

    links: IndexArray
    offsets: IndexArray

    def __len__(self) -> int:
        return self.offsets.size - 1

    @property
    def lengths(self) -> IndexArray:
        """Number of links of each path."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> IndexArray:
        """The path that each entry of `links` belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def path(self, index: int) -> IndexArray:
        """Links of one path."""
        return self.links[self.offsets[index] : self.offsets[index + 1]]

    def take(self, paths: IndexArray) -> Ragged:
        """Give some of the paths, in this order."""
        lengths = self.lengths[paths]
        offsets = np.append(0, lengths.cumsum())
        shift = np.repeat(self.offsets[paths] - offsets[:-1], lengths)
        return Ragged(self.links[np.arange(offsets[-1]) + shift], offsets)

    def sums(self, values: FloatArray) -> FloatArray:
        """Add up one value a link along each path."""
        # reduceat gives the first entry of the next path for one without links; there are none here.
        return np.add.reduceat(values.take(self.links), self.offsets[:-1]) if len(self) else np.zeros(0)

    def loads(self, volumes: FloatArray, n_links: int) -> FloatArray:
        """Sum the volumes of the paths on each link."""
        return np.asarray(
            np.bincount(self.links, weights=np.repeat(volumes, self.lengths), minlength=n_links), np.float64
        )

    def differ_from(self, others: Ragged) -> NDArray[np.bool_]:
        """Whether the paths at each place differ."""
        differ: NDArray[np.bool_] = self.lengths != others.lengths
        same = np.flatnonzero(~differ)
        mine, theirs = self.take(same), others.take(same)
        unequal = mine.links != theirs.links
        differ[same[mine.owners[unequal]]] = True
        return differ

    @staticmethod
    def join(parts: Sequence[Ragged]) -> Ragged:
        """Put several sets of paths one after the other."""
        offsets = np.append(0, np.concatenate([part.lengths for part in parts]).cumsum())
        return Ragged(np.concatenate([part.links for part in parts]), offsets)

    @staticmethod
    def empty() -> Ragged:
        """No paths."""
        return Ragged(np.zeros(0, dtype=np.intp), np.zeros(1, dtype=np.intp))
