"""Which demands to cut, and by how much, when not everything fits."""

from __future__ import annotations

import numpy as np

from pathing.csr import FloatArray, IndexArray
from pathing.routing.columns import Columns
from pathing.routing.deadline import Deadline
from pathing.routing.levels import Levels
from pathing.routing.master import Master, Optimum
from pathing.routing.network import Commodities
from pathing.routing.pricing import Pricing, tie_break
from pathing.routing.ragged import Ragged
from pathing.routing.split import Split, single

_GAP = 1e-4
_MOST_ROUNDS = 200
_COLUMNS_PER_LINK = 10
_LEAST_GAIN = 1e-10
# Prices for links that are not tight: they only make detours no longer than they need be.
_TIE_BREAK = 1e-7
_NEARLY_FULL = 0.9
# What not carrying a unit of the widest column costs.
_WIDEST_COST = 0.1


def least_shed(pricing: Pricing, split: Split, deadline: Deadline) -> FloatArray:
    """Give the share of each commodity to cut so that the rest, routed again, fits in all matrices.

    The total cut, each commodity counted by its largest volume, is the least there is to 1e-4 of it. When time
    runs out it is more. `split` is a good routing of everything. The maximum multicommodity flow by column
    generation: to be cut is a path without links that has a cost.
    """
    whole = pricing.commodities
    volumes = whole.volumes[:, split.owners] * split.fractions
    parts = Commodities(whole.sources[split.owners], whole.targets[split.owners], volumes)
    shares = _Shedding(Pricing(pricing.network, parts, pricing.searcher), split, deadline).run()
    cut = np.bincount(split.owners, weights=split.fractions * shares, minlength=len(whole))
    return np.where(cut > 1e-9, np.minimum(cut, 1.0), 0.0)


class _Shedding:
    """Starts from everything cut that crosses a link which overflows: so the programme always has a solution."""

    def __init__(self, pricing: Pricing, split: Split, deadline: Deadline) -> None:
        use = single(split.paths).loads(pricing.commodities.volumes, pricing.network.n_links)
        use /= pricing.network.capacity_mbps
        fullest = np.maximum.reduceat(use.max(axis=0)[split.paths.links], split.paths.offsets[:-1])
        self._fitting = 1.0 / np.maximum(fullest, 1.0)  # what fits where everybody stays on the base path
        self._absent = (fullest > 1.0) & (pricing.commodities.peaks > 0)
        self._columns = Columns(pricing, split.paths, self._absent)
        self._pricing, self._deadline = pricing, deadline
        # However large the demands are: the solver's tolerance is absolute.
        widest = float(self._columns.units[self._absent].max())
        peaks = pricing.commodities.peaks
        self._cut_costs = peaks / widest * _WIDEST_COST  # of cutting a whole commodity
        self._tie_break = tie_break(pricing, _TIE_BREAK) * float(self._cut_costs.sum())
        self._master = Master(self._columns.base_use, self._columns.sizes, Levels(np.zeros(1)), highest=1.0)
        self._master.add_links(np.flatnonzero(use.ravel() > _NEARLY_FULL))
        self._can_cut = self._absent.copy()
        # The master's column of each path, and of each cut: both kinds are in one numbering there.
        self._is_cut = np.zeros(0, dtype=np.bool_)

    def run(self) -> FloatArray:
        """Give the share of each commodity that is cut."""
        shares = 1.0 - self._fitting
        absent = np.flatnonzero(self._absent)
        self._let_ride(absent, self._columns.base.take(absent))
        for _ in range(_MOST_ROUNDS):
            optimum = self._master.solve(time_left_s=self._deadline.left_s())
            if optimum is None:
                break
            shares = self._shares(optimum)
            if not self._add(optimum, float(self._cut_costs @ shares)) or self._deadline.passed():
                break
        return shares

    def _shares(self, optimum: Optimum) -> FloatArray:
        sizes, owners = self._columns.sizes, self._master.owners
        flows = np.bincount(
            owners,
            weights=np.where(self._is_cut == self._absent[owners], 0.0, optimum.flows),
            minlength=sizes.size,
        )
        carried_or_cut = np.divide(flows, sizes, out=np.zeros(sizes.size), where=sizes > 0)
        return np.where(self._absent, np.maximum(0.0, 1.0 - carried_or_cut), carried_or_cut)

    def _add(self, optimum: Optimum, cut: float) -> bool:
        """Add what the prices ask for; False when nothing is left or the gap is closed."""
        weights = optimum.prices.reshape(self._tie_break.shape)
        prices = weights + self._tie_break
        cheapest = self._pricing.cheapest(prices)
        bound = float(np.minimum(cheapest.cost, self._cut_costs).sum() - weights.sum())
        if cut - bound <= _GAP * cut:
            return False
        current = self._columns.cheapest(prices, np.zeros(self._cut_costs.size))
        current[self._can_cut] = np.minimum(current, self._cut_costs)[self._can_cut]
        gain = current - np.minimum(cheapest.cost, self._cut_costs)
        gainful = np.flatnonzero(gain > _LEAST_GAIN * self._cut_costs.max())
        most = _COLUMNS_PER_LINK * self._pricing.network.n_links
        gainful = np.sort(gainful[np.argsort(-gain[gainful], kind="stable")[:most]])
        to_path = cheapest.cost[gainful] < self._cut_costs[gainful]
        self._let_cut(gainful[~to_path])
        owners = gainful[to_path]
        if owners.size:
            self._let_ride(owners, cheapest.paths(owners))
        return gainful.size > 0

    def _let_ride(self, owners: IndexArray, paths: Ragged) -> None:
        usage = self._columns.usage(owners, paths)
        saved = np.where(self._absent[owners], self._cut_costs[owners] / self._columns.sizes[owners], 0.0)
        costs = np.asarray(usage.T @ self._tie_break.ravel()) - saved
        self._master.add_columns(owners, usage, costs, np.zeros(owners.size))
        self._columns.append(owners, paths)
        self._is_cut = np.append(self._is_cut, np.zeros(owners.size, dtype=np.bool_))

    def _let_cut(self, owners: IndexArray) -> None:
        if not owners.size:
            return
        self._can_cut[owners] = True
        costs = self._cut_costs[owners] / self._columns.sizes[owners]
        self._master.add_columns(owners, self._columns.usage(owners, None), costs, np.zeros(owners.size))
        self._is_cut = np.append(self._is_cut, np.ones(owners.size, dtype=np.bool_))
