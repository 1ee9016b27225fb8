"""The lightest path that satisfies everything, or the proof that there is none.

First what each limit leaves of the links, then prices for the limits with a bound and usually a good path, then
what these leave of the links, and label setting on the rest. The reductions are those of Beasley and Christofides
("An algorithm for the resource constrained shortest path problem", Networks 19, 1989) and of Dumitrescu and
Boland (Networks 42, 2003).
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from pathing.label_setting.arcs import BoolArray
from pathing.label_setting.blocks import between
from pathing.label_setting.problem import Best, Problem
from pathing.label_setting.question import ROUNDING
from pathing.label_setting.relaxation import Prices, best_prices, charged
from pathing.label_setting.search import Bounded, lightest_walk

# Bounds are made anew while that takes away more than this share of the arcs.
_WORTH_IT = 0.1
_FEW = 256


class OutOfLabels(Exception):
    """The budget is used up; no path is lighter than `bound`, and `best` is the best one found.

    Callers of the package see a `LabelBudget`.
    """

    def __init__(self, bound: float, best: Best) -> None:
        self.bound, self.best = bound, best
        super().__init__(bound)


def lightest(problem: Problem, label_budget: int) -> Best | None:
    """Find the lightest simple path that keeps all limits and takes all stops; None when there is none.

    Exact to rounding: limits and weights are compared to one part in 10^12. Without stops no walk is better than
    the simple path within it, so labels at one node are compared by their sums alone. At worst their number is
    exponential in the number of nodes, with one limit already (the problem is NP-hard); without limits it is
    linear. Stops multiply it by up to 2^stops. The lightest walk with all stops may enter a node twice: such nodes
    are then watched and the search is repeated (decremental state space relaxation, Righini and Salani, Networks
    51, 2008), which multiplies it by up to 2^watched, at worst with all nodes watched. Raises `OutOfLabels`.
    """
    problem, best = _without_dead_ends(problem), Best()
    arcs = problem.arcs
    walks = [arcs.least(row) for row in (problem.sought, *problem.limits)]
    if any(math.isinf(least.total()) for least in walks):
        return None
    if any(least.total() > most for least, most in zip(walks[1:], problem.most.tolist(), strict=True)):
        return None
    known = [best.offer(problem, least.walk()) for least in walks]
    if best.weight <= walks[0].total() * (1.0 + ROUNDING):
        return best
    problem = problem.only(_within_limits(problem))
    if math.isinf(problem.arcs.least(problem.sought).total()):
        return None
    prices = best_prices(problem, known, best)
    if prices is None:
        return None
    if best.weight > prices.bound * (1.0 + ROUNDING):
        bounded = _bounded(problem, prices, best)
        if bounded is not None:
            _search(bounded, prices, best, label_budget)
    return best if best.links else None


def _within_limits(problem: Problem) -> BoolArray:
    """Which arcs lie on a walk that keeps each limit by itself."""
    kept = np.ones(problem.arcs.size, dtype=np.bool_)
    for row, most in zip(problem.limits, problem.most.tolist(), strict=True):
        kept &= problem.arcs.least_through(row) <= most
    return kept


def _bounded(problem: Problem, prices: Prices, best: Best) -> Bounded | None:
    """Make the lower bounds; where many arcs are left, drop those on no good enough path, until few more go.

    None when no way is left.
    """
    allowance = float(prices.each @ problem.most)
    while True:
        charge = charged(problem, prices.each)
        least = (charge, *(problem.arcs.least(row) for row in (problem.sought, *problem.limits)))
        if any(math.isinf(one.total()) for one in least):
            return None
        bounded = Bounded(problem, allowance, least)
        if problem.arcs.size < _FEW and not problem.arcs.stops:
            return bounded
        kept = charge.through() <= (best.weight + allowance) * (1.0 + ROUNDING)
        kept &= problem.arcs.least_through(problem.sought) <= best.weight
        kept &= _within_limits(problem)
        if kept.sum() > (1.0 - _WORTH_IT) * kept.size:
            return bounded
        problem = _without_dead_ends(problem.only(kept))


def _without_dead_ends(problem: Problem) -> Problem:
    """Without stops no lightest walk goes into a dead end; with one in it, it would have to come back."""
    return problem.only(between(problem.arcs)) if problem.arcs.stops else problem


def _search(bounded: Bounded, prices: Prices, best: Best, label_budget: int) -> None:
    problem, watched, left = bounded.problem, list[int](), label_budget
    while True:
        outcome = lightest_walk(bounded, watched, best.weight, left)
        left -= outcome.labels
        simple = outcome.walk is not None and problem.arcs.is_path(outcome.walk)
        if outcome.walk is not None and simple:
            best.take(problem, outcome.walk, outcome.weight)
        if outcome.bound < outcome.weight:
            raise OutOfLabels(max(outcome.bound, prices.bound, bounded.least[1].total()), best)
        if outcome.walk is None or simple:
            return
        watched += [node for node, times in Counter(problem.arcs.nodes(outcome.walk)).items() if times > 1]
