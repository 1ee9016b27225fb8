"""Limits turned into prices: a lower bound on the lightest path, and good paths on the way to it.

Handler and Zang, "A dual algorithm for the constrained shortest path problem", Networks 10, 1980, and the same
for one limit as LARAC (Juttner et al., INFOCOM 2001). Here with several limits at once: the best prices are the
dual values of the linear programme that mixes paths, whose columns come from Dijkstra one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pathing.csr import FloatArray
from pathing.label_setting.arcs import Least
from pathing.label_setting.problem import Best, Problem
from pathing.label_setting.question import ROUNDING

_MOST_COLUMNS = 24
_MOST_PIVOTS = 150
_CLOSE = 1e-4
_NOISE = 1e-9
_FAR = 1e6
# What adding up a thousand numbers may do to their sum.
_SUMMING = 1e-13


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """What one unit of each limited sum is charged, (limits,), and the bound this proves: no path is lighter."""

    each: FloatArray
    bound: float


class _Mix:
    """The linear programme: the lightest mix of walks that keeps the limits on average, by the revised simplex.

    Row 0 makes shares add up to 1, the others are the limits, each as a share of its most. Instead of a walk a
    column may be what is left of a limit, or at a high price what is missing.
    """

    def __init__(self, first: FloatArray, most: FloatArray, missing_price: float) -> None:
        # A limit of zero is met by every arc that is left.
        self.scale = np.where(most > 0, most, 1.0)
        rows = most.size + 1
        column = self._column(first)
        self._basis = np.diag(np.where(column <= 1.0, 1.0, -1.0))
        self._basis[:, 0] = column
        self._costs = np.where(column <= 1.0, 0.0, missing_price)
        self._costs[0] = first[0]
        self._missing = column > 1.0
        self._missing[0] = False
        self._right = np.ones(rows)
        self._solve()

    def _column(self, sums: FloatArray) -> FloatArray:
        # Far beyond its limit is far enough: prices only have to be good, any prices give a bound.
        column: FloatArray = np.append(1.0, np.minimum(sums[1:], _FAR * self.scale) / self.scale)
        return column

    def _solve(self) -> bool:
        """Work out shares and duals; whether rounding lets it."""
        try:
            self._inverse = np.linalg.inv(self._basis)
        except np.linalg.LinAlgError:
            return False
        self._shares = self._inverse @ self._right
        self._duals = self._costs @ self._inverse
        return True

    @property
    def prices(self) -> FloatArray:
        prices: FloatArray = np.maximum(-self._duals[1:], 0.0) / self.scale
        return prices

    @property
    def least_charge(self) -> float:
        """A walk that costs less than this at the present prices would make the mix lighter."""
        return float(self._duals[0])

    @property
    def misses(self) -> bool:
        """Whether the mix does not keep all limits."""
        return bool((self._shares[self._missing] > _NOISE).any())

    def take_slack(self) -> bool:
        """Let a limit with a negative price be kept with something left; whether there was one."""
        row = int(np.argmax(self._duals[1:])) + 1
        if self._duals[row] <= _NOISE * max(1.0, abs(self._duals[0])):
            return False
        return self._enter(np.eye(self._right.size)[row], 0.0)

    def take(self, sums: FloatArray) -> bool:
        """Take a walk into the mix if that makes it lighter; whether it does."""
        column = self._column(sums)
        gain = float(self._duals @ column - sums[0])
        return gain > _NOISE * abs(self._duals[0]) and self._enter(column, float(sums[0]))

    def _enter(self, column: FloatArray, cost: float) -> bool:
        change = self._inverse @ column
        rows = np.flatnonzero(change > ROUNDING)
        if not rows.size:
            return False
        row = rows[np.argmin(self._shares[rows] / change[rows])]
        self._basis[:, row], self._costs[row], self._missing[row] = column, cost, False
        return self._solve()


# Limits and weights hundreds of orders of magnitude apart leave no prices but zero: then the search does it all.
@np.errstate(over="ignore", invalid="ignore")
def best_prices(problem: Problem, known: Iterable[FloatArray], best: Best) -> Prices | None:
    """Find prices with about the best bound, offering the paths met to `best`; None: no path keeps the limits.

    `known` are the sums of walks to begin with, at least one; there must be a way from start to end. A Dijkstra a
    round, seldom more than ten.
    """
    first, *waiting = known
    if not problem.limits:
        return Prices(problem.most, float(first[0]))
    heaviest = max(float(sums[0]) for sums in (first, *waiting))
    mix = _Mix(first, problem.most, missing_price=10.0 * heaviest or 1.0)
    found = Prices(np.zeros(problem.most.size), -math.inf)
    columns = 0
    for _ in range(_MOST_PIVOTS):
        if mix.take_slack() or (waiting and mix.take(waiting.pop())) or waiting:
            continue
        prices = mix.prices
        if not np.isfinite(prices).all():
            break
        least = charged(problem, prices)
        charge = least.total()
        if math.isinf(charge):
            break
        worth = float(prices @ problem.most)
        bound = charge - worth - _SUMMING * (charge + worth)
        found = Prices(prices, bound) if bound > found.bound else found
        columns += 1
        sums = best.offer(problem, least.walk())
        nearly = charge >= mix.least_charge - _CLOSE * abs(mix.least_charge)
        if nearly or columns == _MOST_COLUMNS or not mix.take(sums):
            break
    return None if mix.misses and _impossible(problem, mix.prices) else found


def charged(problem: Problem, prices: FloatArray) -> Least:
    """Give the least weights with what the limited sums are charged on top."""
    sums = problem.sums()
    return Least(problem.arcs, sums[0] + prices @ sums[1:])


def _impossible(problem: Problem, prices: FloatArray) -> bool:
    """Whether even the walk of least charges alone is charged more than the limits together are worth."""
    if not np.isfinite(prices).all():
        return False
    charges = prices @ problem.sums()[1:]
    return Least(problem.arcs, charges).total() > float(prices @ problem.most) * (1.0 + ROUNDING)
