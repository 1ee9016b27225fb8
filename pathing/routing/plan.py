"""What `route_demands` answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pathing.csr import FloatArray
from pathing.path import Path
from pathing.routing.network import Network, Pair
from pathing.routing.split import Split

Shares = tuple[tuple[Path, float], ...]


class PlanPaths(Mapping[Pair, Shares]):
    """The paths of each demand with their fractions, largest first; `Path`s are made when they are asked for.

    A path's `weight` is its number of links.
    """

    def __init__(self, names: tuple[str, ...], network: Network, pairs: tuple[Pair, ...], split: Split) -> None:
        self._names, self._network = names, network
        self._index = {pair: number for number, pair in enumerate(pairs)}
        self.split = split

    def __getitem__(self, pair: Pair) -> Shares:
        first, last = np.searchsorted(self.split.owners, (self._index[pair], self._index[pair] + 1))
        entries = sorted(range(first, last), key=lambda entry: -self.split.fractions[entry])
        return tuple((self._path(entry), float(self.split.fractions[entry])) for entry in entries)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def counts(self) -> Counter[int]:
        """How many demands have how many paths."""
        return Counter(np.bincount(self.split.owners, minlength=len(self)).tolist())

    def numbered(self, pairs: Sequence[Pair]) -> Split:
        """Give the split with the owners numbered as in `pairs`, without those that are not there."""
        mine = np.array([self._index.get(pair, -1) for pair in pairs], dtype=np.intp)
        numbers = np.full(len(self._index), -1, dtype=np.intp)
        numbers[mine[mine >= 0]] = np.flatnonzero(mine >= 0)
        owners = numbers[self.split.owners]
        known = np.flatnonzero(owners >= 0)
        order = known[np.argsort(owners[known], kind="stable")]
        return Split(self.split.paths.take(order), owners[order], self.split.fractions[order])

    def __repr__(self) -> str:
        return f"<PlanPaths of {len(self)} demands>"

    def _path(self, entry: int) -> Path:
        links = self.split.paths.path(entry)
        nodes = np.append(self._network.tails[links[:1]], self._network.heads[links])
        return Path(tuple(self._names[node] for node in nodes), tuple(links.tolist()), float(links.size))


@dataclass(frozen=True, slots=True, eq=False)
class RoutingPlan:
    """Which paths every demand takes, how full that makes the links, and how much better it could be.

    `paths` fractions add up to 1. `mlu` is the largest utilisation of a link: the worst over all matrices, or the
    mean of theirs where that was asked for; no routing has a smaller one than `lower_bound` (with the limit on
    moved traffic, no routing that keeps it). That counts routings over any number of paths, but for what leaves a
    source or enters a destination over as few links as there may be paths: so it can be below what the limit on
    paths, or on splitting, leaves possible. `mean_utilisation` is over the links that are up and the matrices.
    `link_mbps` (n_links,) is the load under `demands`. `moved` is the share of the traffic that leaves its path of
    the previous plan. `overflows`: in some matrix a link is fuller than full. `excess_mbps` says which demands to
    cut, and by how much, so that everything fits once the rest is routed again, over any paths and as many as that
    takes. `unroutable` are the pairs without a way, which no other figure counts.

    `status` is "optimal" when the gap is proven closed; "gap open" when it is not, mostly because the limit on
    paths or on splitting keeps the plan away from the bound; "time limit" when there was no time to close it;
    "greedy" for a plan without a programme: as `route_greedily` gives it, or for want of time.
    """

    paths: Mapping[Pair, Shares]
    mlu: float
    lower_bound: float
    mean_utilisation: float
    moved: float
    link_mbps: FloatArray
    excess_mbps: Mapping[Pair, float]
    unroutable: tuple[Pair, ...]
    status: str
    overflows: bool = False

    @property
    def fits_otherwise(self) -> bool:
        """Whether links overflow although nothing need be cut: another routing carries everything.

        Then `excess_mbps` is empty, and `max_paths`, `unsplittable` or `max_moved` is in the way, or the plan is a
        greedy one, or of the least mean of several maxima and not of the least worst.
        """
        return self.overflows and not self.excess_mbps
