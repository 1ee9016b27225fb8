"""Column generation: grow the restricted master by the paths its prices ask for until the gap is proven closed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pathing.csr import FloatArray, IndexArray
from pathing.routing.columns import Columns
from pathing.routing.deadline import Deadline
from pathing.routing.levels import Levels
from pathing.routing.master import Master, Optimum
from pathing.routing.pricing import Cheapest, Pricing, tie_break
from pathing.routing.ragged import Ragged
from pathing.routing.split import NOTHING, Split

# New columns in a round, as a multiple of the number of links; the first round may add more.
_COLUMNS_PER_LINK = 3
_FIRST_COLUMNS_PER_LINK = 10
# While much is still to gain the prices are kept this near to the best ones so far (Wentges 1997).
_SMOOTHING = 0.5
_SMOOTH_ABOVE = 0.01
# Links this near to the fullest have a row from the start.
_HOT = 0.9
# The mean utilisation is taken for settled when no more than this share of it is open.
_MEAN_TOLERANCE = 0.02
# With more commodities than this the rounds that settle the mean take longer than all that went before.
_SETTLE_MEAN_UP_TO = 100_000
# A path is worth a column if a unit of it gains this much; HiGHS stops at 1e-11.
_LEAST_GAIN = 1e-10
_ROUNDING = 1e-9
_MOST_ROUNDS = 500
_LIMIT_ROUNDS = 12
_REPAIR_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Aim:
    """What is minimised, and when it is good enough.

    `moved_limit` is the most Mbit/s (of the first matrix) that may leave the base paths, None for no limit.
    """

    levels: Levels
    mean_weight: float
    gap: float
    moved_limit: float | None = None


class Duals(NamedTuple):
    """A point of the dual: weights of the links (K, n_links) as `Levels.normalised`, and the price of moving."""

    weights: FloatArray
    moved: float


class Generated(NamedTuple):
    """What is proven where the generation ended."""

    bound: float  # on the cost of the levels alone
    closed: bool  # whether the gap is
    solved: bool  # whether there is a solution at all


@dataclass(eq=False)
class Generation:
    """One run: `base` has the path of each commodity of `pricing` that it rides until a column takes it off.

    `counted` marks the commodities whose leaving the base counts as moving; None for all.
    """

    pricing: Pricing
    base: Ragged
    aim: Aim
    deadline: Deadline
    counted: NDArray[np.bool_] | None = None
    columns: Columns = field(init=False)
    master: Master = field(init=False)

    def __post_init__(self) -> None:
        commodities = self.pricing.commodities
        self.columns = Columns(self.pricing, self.base)
        self._everyone = np.arange(len(commodities))
        self._tie_break = tie_break(self.pricing, self.aim.mean_weight)
        self._movable = commodities.volumes[0] if self.counted is None else commodities.volumes[0] * self.counted
        use = self.columns.base_use
        self._base_mean = float(self._tie_break.ravel() @ use)
        self.master = Master(use, self.columns.sizes, self.aim.levels)
        if self.aim.moved_limit is not None:
            self.master.limit_moved(self.aim.moved_limit)
        self.master.add_links(self.aim.levels.hot(use, _HOT))
        self._costs = np.zeros(0)
        self._fixed = np.zeros(len(commodities), dtype=np.bool_)  # these have all the paths they may have
        self._optimum: Optimum | None = None

    # -- the loop

    def run(self, start: FloatArray) -> Generated:
        """Generate columns, beginning with the cheapest paths under the weights `start` (K, n_links)."""
        best = at = Duals(start, 0.0)
        best_value = -math.inf
        for number in range(_MOST_ROUNDS):
            cheapest = self.pricing.cheapest(at.weights + self._tie_break)
            value = self._value(cheapest.cost, at, self._tie_break)
            if value > best_value:
                best, best_value = at, value
            if self._is_settled(best_value):
                break
            most = (_COLUMNS_PER_LINK if number else _FIRST_COLUMNS_PER_LINK) * self.pricing.network.n_links
            duals = self.duals() or at
            gained = self._add_gainful(cheapest, at, duals, most)
            if gained == 0 and number:
                if at is duals:
                    break
                at = duals
                continue
            if self.deadline.passed() or not self._solve():
                break
            latest = self.duals()
            assert latest is not None
            at = _between(latest, best) if gained > _SMOOTH_ABOVE else latest
        bounds = [self.bound_of(duals) for duals in (best, self.duals()) if duals is not None]
        # The mean, part of that value, is no larger than the maximum, nor is it than the mean of the maxima.
        bounds.append(best_value / (1.0 + self.aim.mean_weight))
        closed = self._open_gap(best_value) <= self.aim.gap
        return Generated(max(bounds), closed, self._optimum is not None)

    def duals(self) -> Duals | None:
        """The master's own prices, None before it is solved; the object stays the same until the next solve."""
        return self._duals if self._optimum is not None else None

    def bound_of(self, duals: Duals) -> float:
        """The bound on the cost of the levels alone that follows from a point of the dual."""
        return self._value(self.pricing.cheapest(duals.weights).cost, duals, np.zeros_like(self._tie_break))

    def split(self) -> Split:
        """The flows of the last solution as fractions, by commodity."""
        sizes, owners = self.columns.sizes, self.columns.owners
        flows = self._flows()
        shares = np.divide(flows, sizes[owners], out=np.zeros(flows.size), where=sizes[owners] > 0)
        used = np.flatnonzero(shares > 0)
        rest = np.maximum(0.0, 1.0 - np.bincount(owners[used], weights=shares[used], minlength=sizes.size))
        everyone = np.concatenate((self._everyone, owners[used]))
        order = np.argsort(everyone, kind="stable")
        paths = Ragged.join([self.base, self.columns.paths.take(used)])
        return Split(paths.take(order), everyone[order], np.concatenate((rest, shares[used]))[order])

    def _flows(self) -> FloatArray:
        flows = np.zeros(self.columns.owners.size)
        if self._optimum is not None:  # it may be of before the last columns
            flows[: self._optimum.flows.size] = np.maximum(self._optimum.flows, 0.0)
        return flows

    # -- steps

    def seed(self, split: Split) -> None:
        """Start from this split instead of the base paths. Call it before `run`."""
        mine = self.base.take(split.owners)
        others = np.flatnonzero(split.paths.differ_from(mine) & (self.pricing.commodities.peaks[split.owners] > 0))
        split = split.take(others)
        if not others.size:
            return
        rank = np.arange(others.size) - np.searchsorted(split.owners, split.owners)
        for place in range(int(rank.max()) + 1):
            now = np.flatnonzero(rank == place)
            self.add(split.owners[now], split.paths.take(now))
            if place == 0:
                fractions = split.fractions[now]
        flows = np.zeros(self.columns.owners.size)
        flows[: fractions.size] = np.where(
            fractions == 1.0, self.columns.sizes[self.columns.owners[: fractions.size]], 0.0
        )
        use = self.master.use(flows)
        self.master.add_links(self.aim.levels.hot(use, _HOT))
        self.master.start_from(flows > 0, use)

    def add(self, owners: IndexArray, paths: Ragged) -> None:
        """Add columns for paths of commodities; an owner comes once at most."""
        usage = self.columns.usage(owners, paths)
        costs = np.asarray(usage.T @ self._tie_break.ravel())
        # Mbit/s of the first matrix that a unit takes off the base path.
        moves = self._movable[owners] / self.pricing.commodities.peaks[owners] * self.columns.units[owners]
        self.master.add_columns(owners, usage, costs, moves)
        self.columns.append(owners, paths)
        self._costs = np.concatenate((self._costs, costs))

    def _add_gainful(self, cheapest: Cheapest, at: Duals, duals: Duals, most: int) -> float:
        """Add paths, cheapest at `at`, that undercut those there are at `duals`; returns what they gain in all."""
        least = _LEAST_GAIN * self.columns.sizes
        gain = self._current(at) - cheapest.cost - self._moving_cost(at)
        hopeful = np.flatnonzero((gain > least) & ~self._fixed)
        if not hopeful.size:
            return 0.0
        paths = cheapest.paths(hopeful)
        costs = (
            self.pricing.costs(duals.weights + self._tie_break, paths, hopeful) + self._moving_cost(duals)[hopeful]
        )
        gain = self._current(duals)[hopeful] - costs
        gainful = np.flatnonzero(gain > least[hopeful])
        if gainful.size > most:
            gainful = np.sort(gainful[np.argpartition(-gain[gainful], most)[:most]])
        if gainful.size:
            self.add(hopeful[gainful], paths.take(gainful))
        return float(gain[gainful].sum())

    def _current(self, duals: Duals) -> FloatArray:
        return self.columns.cheapest(duals.weights + self._tie_break, self._moving_cost(duals))

    def _moving_cost(self, duals: Duals) -> FloatArray:
        cost: FloatArray = duals.moved * self._movable
        return cost

    def _solve(self) -> bool:
        optimum = self.master.solve(time_left_s=self.deadline.left_s())
        if optimum is None:
            return False
        self._optimum = optimum
        weights = optimum.prices.reshape(self._tie_break.shape)
        self._duals = Duals(self.aim.levels.normalised(weights), optimum.moved_price)
        return True

    def limit_paths(self, most: int, good_enough: float) -> None:
        """Solve again with no more than `most` paths for those commodities that have more, until all keep to it.

        While the cost of the levels is above `good_enough`, the others are offered more paths. It may end with
        some that have too many: others come to have more after each solve, and rounds are few.
        """
        for _ in range(_LIMIT_ROUNDS):
            over, out = self._too_many(most)
            if not over.size or self.deadline.passed():
                return
            self._fixed[over] = True
            n_columns = self.columns.owners.size
            self.master.forbid(out[out < n_columns])
            for owner in (out[out >= n_columns] - n_columns).tolist():
                self.master.leave_base(owner)
            if not self._solve():
                return
            self._repair(good_enough)

    def _too_many(self, most: int) -> tuple[IndexArray, IndexArray]:
        """The commodities with more than `most` paths, and all but the largest of their paths.

        A path is given as the number of its column, base paths counted on after the columns.
        """
        flows, sizes = self._flows(), self.columns.sizes
        rest = np.maximum(0.0, sizes - np.bincount(self.columns.owners, weights=flows, minlength=sizes.size))
        owners = np.concatenate((self.columns.owners, self._everyone))
        shares = np.concatenate((flows, rest)) / np.maximum(sizes[owners], np.finfo(np.float64).tiny)
        order = np.lexsort((-shares, owners))
        rank = np.empty(order.size, dtype=np.intp)
        rank[order] = np.arange(order.size) - np.searchsorted(owners[order], owners[order])
        over = np.zeros(sizes.size, dtype=np.bool_)
        over[owners[(rank >= most) & (shares > NOTHING)]] = True
        return np.flatnonzero(over), np.flatnonzero(over[owners] & (rank >= most))

    def _repair(self, good_enough: float) -> None:
        for _ in range(_REPAIR_ROUNDS):
            duals = self.duals()
            if duals is None or self._optimum is None or self._optimum.level <= good_enough:
                return
            cheapest = self.pricing.cheapest(duals.weights + self._tie_break)
            most = _COLUMNS_PER_LINK * self.pricing.network.n_links
            if self._add_gainful(cheapest, duals, duals, most) == 0 or not self._solve():
                return

    # -- what is proven

    def _value(self, costs: FloatArray, duals: Duals, tie_break_prices: FloatArray) -> float:
        """The dual objective: no routing does better than this."""
        if self.aim.moved_limit is None or duals.moved == 0:
            return float(costs.sum())
        prices = duals.weights + tie_break_prices
        staying = self.pricing.costs(prices, self.base, self._everyone)
        return (
            float(np.minimum(staying, costs + self._moving_cost(duals)).sum()) - duals.moved * self.aim.moved_limit
        )

    def _open_gap(self, value: float) -> float:
        """What is not proven of the objective, as a share of it; infinite without a solution."""
        if self._optimum is None:
            return math.inf
        return 1.0 - value / (self._optimum.level + self._mean())

    def _is_settled(self, value: float) -> bool:
        if self._optimum is None:
            return False
        # The mean is a small part of the objective, but the part that decides for most demands.
        settle_mean = self._everyone.size <= _SETTLE_MEAN_UP_TO
        mean_share = _MEAN_TOLERANCE * self._mean() / (self._optimum.level + self._mean()) if settle_mean else 1.0
        return self._open_gap(value) <= max(min(self.aim.gap / 2, mean_share), _ROUNDING)

    def _mean(self) -> float:
        """The part of the objective that is the mean utilisation."""
        return self._base_mean + float(self._costs @ self._flows())


def _between(latest: Duals, best: Duals) -> Duals:
    weights = _SMOOTHING * best.weights + (1 - _SMOOTHING) * latest.weights
    return Duals(weights, _SMOOTHING * best.moved + (1 - _SMOOTHING) * latest.moved)
