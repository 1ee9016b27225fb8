"""What route_demands is asked, checked and as arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathing.checks import number
from pathing.csr import FloatArray, IndexArray, Structure
from pathing.errors import PathingError
from pathing.topology import Topology

Pair = tuple[str, str]

# Demands that may add up to more than this could overflow when they are multiplied.
_MOST_MBPS = 1e100


class RoutingError(PathingError, ValueError):
    """A demand or an option of `route_demands` that cannot be what was asked; names it."""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A topology as it is now: a change to it later does not show here."""

    structure: Structure
    tails: IndexArray
    heads: IndexArray
    capacity_mbps: FloatArray
    usable: NDArray[np.bool_]

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return self.structure.outward.pattern.shape[0]

    @property
    def n_links(self) -> int:
        """Number of links, those that are down included."""
        return self.capacity_mbps.size

    @property
    def n_usable(self) -> int:
        """Number of links that are up; at least 1, so that a mean over them is a number."""
        return max(1, int(self.usable.sum()))


@dataclass(frozen=True, slots=True, eq=False)
class Commodities:
    """What is routed: node indexes of both ends, and Mbit/s in each of the K matrices, (K, n)."""

    sources: IndexArray
    targets: IndexArray
    volumes: FloatArray

    def __len__(self) -> int:
        return self.sources.size

    @property
    def peaks(self) -> FloatArray:
        """The largest volume of each over the matrices, Mbit/s."""
        peaks: FloatArray = self.volumes.max(axis=0, initial=0.0)
        return peaks

    def take(self, which: IndexArray) -> Commodities:
        """Give some of them."""
        return Commodities(self.sources[which], self.targets[which], self.volumes[:, which])


def network(topology: Topology) -> Network:
    """Take what matters of a topology."""
    tails, heads = topology.ends()
    usable = topology.array("up") > 0
    return Network(topology.structure(), tails, heads, topology.array("capacity_mbps").copy(), usable)


def commodities(
    topology: Topology, matrices: Iterable[Mapping[Pair, float]]
) -> tuple[tuple[Pair, ...], Commodities]:
    """Check demand matrices and give their pairs, in order of first mention, with the commodities.

    Raises `UnknownNode`, and `RoutingError` for a demand from a node to itself or one that is no finite number of
    0 or more, for a matrix that is no mapping, or whose demands may add up to more than 1e100 Mbit/s.
    """
    matrices = list(matrices)
    for matrix in matrices:
        if not isinstance(matrix, Mapping):
            raise RoutingError(f"demands are {matrix!r:.80}; give Mbit/s by (source, destination)")
    index: dict[Pair, int] = {}
    for matrix in matrices:
        for pair in matrix:
            index.setdefault(pair, len(index))
    volumes = np.zeros((len(matrices), len(index)))
    for row, matrix in enumerate(matrices):
        columns = np.fromiter((index[pair] for pair in matrix), dtype=np.intp, count=len(matrix))
        volumes[row, columns] = _volumes(matrix)
    pairs = tuple(index)
    if volumes.max(initial=0.0) > _MOST_MBPS / max(1, len(pairs)):
        largest = int(volumes.max(axis=0).argmax())
        raise RoutingError(
            f"the demand {_named(pairs[largest])} of {volumes[:, largest].max():g} Mbit/s is too large to add up; "
            "scale the demands, and the capacities, down"
        )
    nodes: dict[str, int] = {}
    ends = np.array([_ends(topology, nodes, pair) for pair in pairs], dtype=np.intp).reshape(-1, 2)
    return pairs, Commodities(ends[:, 0].copy(), ends[:, 1].copy(), volumes)


def _volumes(matrix: Mapping[Pair, float]) -> FloatArray:
    if set(map(type, matrix.values())) <= {float}:  # as the readers give them; one by one takes six times as long
        volumes = np.fromiter(matrix.values(), dtype=np.float64, count=len(matrix))
        if ((volumes >= 0) & (volumes < math.inf)).all():
            return volumes
    for pair, mbps in matrix.items():
        if not 0 <= number(mbps) < math.inf:
            raise RoutingError(
                f"the demand {_named(pair)} is {mbps!r}; it must be a finite number of Mbit/s, 0 or more"
            )
    return np.fromiter(matrix.values(), dtype=np.float64, count=len(matrix))


def _ends(topology: Topology, nodes: dict[str, int], pair: Pair) -> tuple[int, int]:
    try:
        src, dst = pair
        source, target = nodes.get(src), nodes.get(dst)
    except (TypeError, ValueError):
        raise RoutingError(f"the demand {pair!r} is no pair of node names; give (source, destination)") from None
    if source is None:
        source = nodes[src] = topology.node_index(src)
    if target is None:
        target = nodes[dst] = topology.node_index(dst)
    if source == target:
        raise RoutingError(f"the demand {_named(pair)} goes from a node to itself; leave it out, it uses no link")
    return source, target


def _named(pair: Pair) -> str:
    return f"{pair[0]!r} -> {pair[1]!r}" if isinstance(pair, tuple) and len(pair) == 2 else repr(pair)
