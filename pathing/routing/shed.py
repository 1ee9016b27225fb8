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
from pathing.routing.split import Split

_GAP = 1e-4
_MOST_ROUNDS = 200
_COLUMNS_PER_LINK = 10
_LEAST_GAIN = 1e-10
# Prices for links that are not tight: they only make detours no longer than they need be.
_TIE_BREAK = 1e-7
_NEARLY_FULL = 0.9


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
    def __init__(self, pricing: Pricing, split: Split, deadline: Deadline) -> None:
        self._columns = Columns(pricing, split.paths)
        self._pricing, self._deadline = pricing, deadline
        self._tie_break = tie_break(pricing, _TIE_BREAK)
        use = self._columns.base_use
        self._master = Master(use, self._columns.sizes, Levels(np.zeros(1)), highest=1.0)
        self._master.add_links(np.flatnonzero(use > _NEARLY_FULL))
        peaks = pricing.commodities.peaks
        self._cut_costs = peaks / peaks.sum()  # of cutting a whole commodity
        self._can_cut = np.zeros(peaks.size, dtype=np.bool_)
        # The master's column of each path, and of each cut: both kinds are in one numbering there.
        self._is_cut = np.zeros(0, dtype=np.bool_)

    def run(self) -> FloatArray:
        """Give the share of each commodity that is cut."""
        use = self._columns.base_use.reshape(self._tie_break.shape)
        fullest = np.maximum.reduceat(use.max(axis=0)[self._columns.base.links], self._columns.base.offsets[:-1])
        shares = 1.0 - 1.0 / np.maximum(fullest, 1.0)  # fits where everybody stays on the base path
        self._let_cut(np.flatnonzero((fullest > 1.0) & (self._cut_costs > 0)))
        for _ in range(_MOST_ROUNDS):
            optimum = self._master.solve(time_left_s=self._deadline.left_s())
            if optimum is None:
                break
            shares = self._shares(optimum)
            if not self._add(optimum, float(self._cut_costs @ shares)) or self._deadline.passed():
                break
        return shares

    def _shares(self, optimum: Optimum) -> FloatArray:
        owners = self._master.owners[self._is_cut]
        shares = np.zeros(self._cut_costs.size)
        shares[owners] = optimum.flows[self._is_cut] / self._columns.sizes[owners]
        return shares

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
            paths = cheapest.paths(owners)
            usage = self._columns.usage(owners, paths)
            costs = np.asarray(usage.T @ self._tie_break.ravel())
            self._master.add_columns(owners, usage, costs, np.zeros(owners.size))
            self._columns.append(owners, paths)
            self._is_cut = np.append(self._is_cut, np.zeros(owners.size, dtype=np.bool_))
        return gainful.size > 0

    def _let_cut(self, owners: IndexArray) -> None:
        if not owners.size:
            return
        self._can_cut[owners] = True
        costs = self._cut_costs[owners] / self._columns.sizes[owners]
        self._master.add_columns(owners, self._columns.usage(owners, None), costs, np.zeros(owners.size))
        self._is_cut = np.append(self._is_cut, np.ones(owners.size, dtype=np.bool_))
