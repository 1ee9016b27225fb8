"""Disjoint paths under limits or shared risks, as an integer programme on HiGHS.

Two paths without a common shared-risk group are NP-hard to find (Hu, "Diverse routing in optical mesh networks",
IEEE Transactions on Communications 51(3), 2003), and so are two that each keep a limit. Here each path is a flow
of one unit of its own, and of all flows one at most takes each risk. What rows cannot say beforehand is added
where a solution breaks it: a required node on a cycle apart from the path, a limit missed by the solver's
tolerance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np

from pathing.csr import FloatArray, IndexArray
from pathing.disjoint_flow import paths_of
from pathing.disjoint_model import INFINITY, Model, Rows, Task, distances, usable_links
from pathing.errors import PathingError
from pathing.routing.deadline import Deadline

# HiGHS does not look for anything better by less than 1e-6: with the least total at about 1,000, by 1e-9 of it.
_BETTER = 1e-6
_SCALE = 1000.0
# Totals are not scaled up so far that a link would weigh more than a million of them: costs would get too large.
_RANGE = 1e6
# One row holds the weights of a whole path against the heaviest; with large ones in it HiGHS takes it lightly.
_EVEN_RANGE = 1.0
_LARGEST_SCALE = 1e300  # beyond it a product might be infinite
# Less than this of a unit of flow is an error of rounding: of a flow over n links some path carries 1 / n.
_TRACE = 1e-5
# No weight is negative, so nothing is unbounded.
_IMPOSSIBLE = highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible


_NEVER = Deadline()


class Undecided(PathingError):
    """The solver stopped before paths were found, or shown not to exist: give it more time or ask for less."""


@dataclass(frozen=True, slots=True)
class Solution:
    """The links of each path, and the least total weight proven for paths that share no more risks than these.

    `fewest`: whether it is proven that none share fewer.
    """

    paths: tuple[tuple[int, ...], ...]
    lower_bound: float
    fewest: bool = True


@dataclass(frozen=True, slots=True)
class Effort:
    """When to stop: at a proven relative `gap`, after `time_limit_s` of a solver (or never), or at `deadline`."""

    gap: float = 0.0
    time_limit_s: float | None = None
    deadline: Deadline = _NEVER

    def left_s(self, spent_s: float) -> float:
        """Give the seconds left to a solver that has spent so many, 0 or less when there are none."""
        limit_s = math.inf if self.time_limit_s is None else self.time_limit_s - spent_s
        return min(limit_s, self.deadline.left_s())


def solve(task: Task, effort: Effort, start: Sequence[Sequence[int]] | None = None) -> Solution | None:
    """Solve the task; None where it has no solution.

    `start` are paths to begin with; where nothing is shared, nothing heavier is looked at. Raises `Undecided`.
    """
    least, most = _least(task), math.inf
    if start is not None and not task.share:
        weights = _weights_of(task, start)
        # Beside one path the others weigh no less than the shortest path each.
        most = max(weights) if task.even else math.fsum(weights) - (task.k - 1) * least
    links = usable_links(task, most)
    entered = task.heads[links].tolist()
    if not links.size or not task.links.issubset(links.tolist()) or not task.nodes.issubset(entered):
        return None
    programme = _Programme(task, links, effort, start, least)
    tiers = sorted({risk.tier for risk in task.risks}) if task.share else []
    if all(programme.spare(tier) for tier in tiers):
        programme.lighten()
    return programme.solution()


def _least(task: Task) -> float:
    return float(distances(task.graph.outward, task.src)[task.dst])


def _weights_of(task: Task, paths: Iterable[Iterable[int]]) -> list[float]:
    return [math.fsum(float(task.graph.by_link[link]) for link in links) for links in paths]


class _Programme:
    """A model with the weights as costs and what is known of its solution, on HiGHS."""

    def __init__(
        self,
        task: Task,
        links: IndexArray,
        effort: Effort,
        start: Sequence[Sequence[int]] | None,
        least: float,
    ) -> None:
        self._task, self._effort = task, effort
        self._model = model = Model(task, links)
        weights = task.graph.by_link.take(links)
        self._lower_bound = least if task.even else task.k * least
        reach = _EVEN_RANGE if task.even else _RANGE
        self._scale = min(_SCALE / (max(self._lower_bound, float(weights.max()) / reach) or 1.0), _LARGEST_SCALE)
        self._weights = np.tile(weights * self._scale, model.n_flows)
        self._found = None if start is None else tuple(tuple(path) for path in start)
        self._fewest = not task.share
        self._impossible = False
        self._solver: Any = highspy.Highs()  # highspy ships no types
        for option, value in (("output_flag", False), ("threads", 1), ("mip_abs_gap", _BETTER)):
            self._solver.setOptionValue(option, value)
        self._solver.passModel(model.in_solvers_terms())

    # -- solving it

    def spare(self, tier: int) -> bool:
        """Share risks of this tier as little as can be, now and from here on; False where the time was up."""
        if not self._model.too_many[tier]:
            return True
        costs = np.zeros(self._model.n_columns)
        costs[self._model.too_many[tier]] = 1.0
        proven = self._minimise(costs, 0.0)
        if proven:
            fewest = round(self._solver.getInfo().objective_function_value)
            rows = Rows()
            rows.add(((column, 1.0) for column in self._model.too_many[tier]), -INFINITY, float(fewest))
            self._add(rows)
        return proven

    def lighten(self) -> None:
        """Find the paths of least total weight, or the heaviest of which weighs least, once risks are spared."""
        self._fewest = True
        costs = np.zeros(self._model.n_columns)
        costs[: self._weights.size] = self._weights
        if self._task.even:
            costs = self._heaviest(costs)
        self._minimise(costs, self._effort.gap)
        proven = (float(self._solver.getInfo().mip_dual_bound) - _BETTER) / self._scale
        if math.isfinite(proven):
            self._lower_bound = max(self._lower_bound, proven)

    def _heaviest(self, weights: FloatArray) -> FloatArray:
        """Add a column for the weight of the heaviest path and give the costs that are this column alone."""
        heaviest = self._model.add_column()
        self._solver.addCol(0.0, 0.0, INFINITY, 0, np.empty(0, dtype=np.int32), np.empty(0))
        rows = Rows()
        for columns in np.arange(self._weights.size).reshape(self._model.n_flows, -1).tolist():
            rows.add([(heaviest, -1.0), *((column, weights[column]) for column in columns)], -INFINITY, 0.0)
        self._add(rows)
        return np.append(np.zeros(heaviest), 1.0)

    def solution(self) -> Solution | None:
        """Give what was found; None where nothing can be. Raises `Undecided`."""
        if self._found is not None:
            return Solution(self._found, self._lower_bound, self._fewest)
        if self._impossible:
            return None
        raise Undecided(
            f"no {self._task.k} paths were found in {self._effort.time_limit_s} s, nor shown not to exist; "
            "give a longer time_limit_s"
        )

    def _minimise(self, costs: FloatArray, gap: float) -> bool:
        """Minimise to a solution that breaks nothing; whether that was done to the end."""
        self._solver.changeColsCost(costs.size, np.arange(costs.size, dtype=np.int32), costs)
        self._solver.setOptionValue("mip_rel_gap", gap)
        while self._run():
            status = self._solver.getModelStatus()
            if status in _IMPOSSIBLE:
                self._impossible = True
                return False
            if status not in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kTimeLimit):
                raise Undecided(
                    f"HiGHS ended with {self._solver.modelStatusToString(status)!r}; "
                    "use weights of less different sizes"
                )
            if self._solver.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
                return False
            broken = self._look_at_solution()
            if not broken.lower:
                return bool(status == highspy.HighsModelStatus.kOptimal)
            self._add(broken)
        return False

    def _run(self) -> bool:
        spent_s = float(self._solver.getRunTime())
        left_s = self._effort.left_s(spent_s)
        if left_s <= 0:
            return False
        if math.isfinite(left_s):
            self._solver.setOptionValue("time_limit", left_s)
        if self._found is not None:
            self._hand_over(self._found)
        self._solver.run()
        return True

    def _hand_over(self, paths: Sequence[Sequence[int]]) -> None:
        start: Any = highspy.HighsSolution()
        start.col_value = self._model.values(paths).tolist()
        self._solver.setSolution(start)

    def _look_at_solution(self) -> Rows:
        """Keep the solution if it breaks nothing, otherwise give rows that it breaks and no true solution does."""
        task, rows = self._task, Rows()
        values = np.array(self._solver.getSolution().col_value[: self._weights.size]).reshape(
            self._model.n_flows, -1
        )
        if self._model.divisible:
            self._found = tuple(self._lightest_part(flow) for flow in values)
            return rows
        paths = []
        for flow in np.rint(values):
            used = Counter({self._model.links[place]: int(flow[place]) for place in np.flatnonzero(flow).tolist()})
            for links in paths_of(used, task.tails, task.heads, task.src):
                paths.append(links)
                if not all(bound.holds(links) for bound in task.bounds):
                    self._model.ban(rows, links)
                if not task.visits(links):
                    self._model.join(rows, set(used).difference(links))
        if not rows.lower:
            self._found = tuple(paths)
        return rows

    def _lightest_part(self, flow: FloatArray) -> tuple[int, ...]:
        """Give the lightest path, Bellman and Ford's way, of the links that more than rounding flows over."""
        task = self._task
        used = [self._model.links[place] for place in np.flatnonzero(flow > _TRACE).tolist()]
        best: dict[int, tuple[float, tuple[int, ...]]] = {task.src: (0.0, ())}
        changed = True
        while changed:
            changed = False
            for link in used:
                tail, head = int(task.tails[link]), int(task.heads[link])
                if tail in best:
                    weight = best[tail][0] + float(task.graph.by_link[link])
                    if head not in best or weight < best[head][0]:
                        best[head] = weight, (*best[tail][1], link)
                        changed = True
        return best[task.dst][1]

    def _add(self, rows: Rows) -> None:
        self._solver.addRows(
            len(rows.lower),
            np.array(rows.lower),
            np.array(rows.upper),
            len(rows.columns),
            np.array(rows.starts[:-1], dtype=np.int32),
            np.array(rows.columns, dtype=np.int32),
            np.array(rows.values),
        )
