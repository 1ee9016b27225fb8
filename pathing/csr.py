"""Links grouped by one of their ends, as the arrays that the graph algorithms run on."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Csr:
    """Links in rows, one row for each node: all arrays have one entry a link.

    Within a row the best link to fall back on in a tie comes last: neighbours in falling order of *name*, then
    links in falling order of id. That makes ties come out the same whatever the order nodes were added in, and
    last because numpy keeps the last of repeated assignments.
    """

    rows: IndexArray
    neighbours: IndexArray
    links: IndexArray
    pattern: csr_array[np.float64]  # the matrix for scipy; its numbers mean nothing

    def matrix(self, weights: FloatArray) -> csr_array[np.float64]:
        """Give the matrix with these entries, explicit zeros and parallel links included.

        scipy drops zeros only when it turns a *dense* matrix into a graph; in CSR form a stored zero is a link of
        no length, a repeated entry a parallel link, and an infinite one never relaxes anything.
        """
        # A shallow copy with other numbers: building one costs a third of a search on 1,000 nodes.
        matrix = copy(self.pattern)
        matrix.data = weights
        return matrix


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """The same links by source (`outward`: neighbours are targets) and by target (`inward`: sources)."""

    outward: Csr
    inward: Csr


def structure(names: Sequence[str], sources: IndexArray, targets: IndexArray) -> Structure:
    """Group links both ways; `sources` and `targets` are node indexes, one entry a link."""
    rank = np.empty(len(names), dtype=np.intp)
    rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return Structure(_group(sources, targets, rank), _group(targets, sources, rank))


def _group(rows: IndexArray, neighbours: IndexArray, rank: IndexArray) -> Csr:
    links = np.lexsort((-np.arange(rows.size), -rank[neighbours], rows))
    counts = np.bincount(rows, minlength=rank.size)
    grouped = neighbours[links]
    # int32 is what scipy takes without a copy.
    parts = (np.zeros(rows.size), grouped.astype(np.int32), np.append(0, counts.cumsum()).astype(np.int32))
    pattern = csr_array(parts, shape=(rank.size, rank.size))
    return Csr(rows[links], grouped, links, pattern)
