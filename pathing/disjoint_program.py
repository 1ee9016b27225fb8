"""Disjoint paths under limits or shared risks, as an integer programme on HiGHS.

Two paths without a common shared-risk group are NP-hard to find (Hu, "Diverse routing in optical mesh networks",
IEEE Transactions on Communications 51(3), 2003), and so are two that each keep a limit. Here each path is a flow
of one unit of its own, and of all flows one at most takes each risk. What rows cannot say beforehand is added
where a solution breaks it: a required node on a cycle apart from the path, a limit missed by the solver's
tolerance.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from scipy.sparse.csgraph import dijkstra

from pathing.csr import FloatArray, IndexArray
from pathing.disjoint_flow import paths_of
from pathing.errors import PathingError
from pathing.weights import Side, WeighedGraph

# A sum along a path may exceed its limit by this share in the programme; what does is looked at again, exactly.
_ROOM = 1e-9
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
_INFINITY = highspy.kHighsInf
# No weight is negative, so nothing is unbounded.
_IMPOSSIBLE = highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible


class Undecided(PathingError):
    """The solver stopped before paths were found, or shown not to exist: give it more time or ask for less."""


@dataclass(frozen=True, slots=True)
class Risk:
    """Links, by id, that one path at most may use; where paths share, risks of a low `tier` are spared first.

    What is spared is a path too many: with three paths over it a risk counts twice, with two once.
    """

    links: tuple[int, ...]
    tier: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """The most that the sum of `amounts`, one a link by id, may be along a path."""

    amounts: FloatArray
    most: float

    def holds(self, links: Iterable[int]) -> bool:
        """Whether a path over these links keeps it."""
        return math.fsum(float(self.amounts[link]) for link in links) <= self.most


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """`k` paths between two nodes, by index, of least total weight, such that no two take the same risk.

    A link of infinite weight in `graph` is not there. Every path keeps all `bounds`, visits no node twice and
    takes all of `nodes` and `links`. `share`: risks may be shared, by as few paths too many as can be. `even`: not
    the total weight is to be least but that of the heaviest path. `taken`: links of risks that every path is known
    to take.
    """

    graph: WeighedGraph
    tails: IndexArray
    heads: IndexArray
    src: int
    dst: int
    k: int
    risks: tuple[Risk, ...] = ()
    bounds: tuple[Bound, ...] = ()
    nodes: frozenset[int] = frozenset()
    links: frozenset[int] = frozenset()
    share: bool = False
    even: bool = False
    taken: frozenset[tuple[int, ...]] = frozenset()

    def visits(self, links: Sequence[int]) -> bool:
        """Whether a path of these links takes the nodes and links it has to."""
        return self.links.issubset(links) and self.nodes <= {self.src, *(int(self.heads[link]) for link in links)}

    def allows(self, links: Sequence[int]) -> bool:
        """Whether a path of these links keeps all bounds, and takes what it has to."""
        return self.visits(links) and all(bound.holds(links) for bound in self.bounds)


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
    """When to stop: at a proven relative `gap`, or after `time_limit_s` (None: never)."""

    gap: float = 0.0
    time_limit_s: float | None = None


def solve(task: Task, effort: Effort, start: Sequence[Sequence[int]] | None = None) -> Solution | None:
    """Solve the task; None where it has no solution.

    `start` are paths to begin with; where nothing is shared, nothing heavier is looked at. Raises `Undecided`.
    """
    least, most = _least(task), math.inf
    if start is not None and not task.share:
        weights = _weights_of(task, start)
        # Beside one path the others weigh no less than the shortest path each.
        most = max(weights) if task.even else math.fsum(weights) - (task.k - 1) * least
    links = _columns(task, most)
    entered = task.heads[links].tolist()
    if not links.size or not task.links.issubset(links.tolist()) or not task.nodes.issubset(entered):
        return None
    programme = _Programme(task, links, effort, start, least)
    tiers = sorted({risk.tier for risk in task.risks}) if task.share else []
    if all(programme.spare(tier) for tier in tiers):
        programme.lighten()
    return programme.solution()


def _least(task: Task) -> float:
    return float(_distances(task.graph.outward, task.src)[task.dst])


def _distances(side: Side, root: int) -> FloatArray:
    distances: FloatArray = dijkstra(side.matrix, indices=[root])[0]
    return distances


def _weights_of(task: Task, paths: Iterable[Iterable[int]]) -> list[float]:
    return [math.fsum(float(task.graph.by_link[link]) for link in links) for links in paths]


def _columns(task: Task, most: float) -> IndexArray:
    """Give the links, by id, that can be on a path that keeps all bounds and weighs no more than `most`."""
    kept = np.isfinite(task.graph.by_link) & (task.heads != task.src) & (task.tails != task.dst)
    for bound in (Bound(task.graph.by_link, most), *task.bounds):
        graph = WeighedGraph(task.graph.structure, np.where(kept, bound.amounts, np.inf))
        before, after = _distances(graph.outward, task.src), _distances(graph.inward, task.dst)
        through = before.take(task.tails) + graph.by_link + after.take(task.heads)
        # Infinite is no way at all, also where the bound is.
        kept = np.isfinite(through) & (through <= bound.most * (1 + _ROOM))
    return np.flatnonzero(kept)


class _Rows:
    """Rows of the programme as they are thought of; each is lower <= sum of value * column <= upper."""

    def __init__(self) -> None:
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.starts = [0]
        self.columns: list[int] = []
        self.values: list[float] = []

    def add(self, terms: Iterable[tuple[int, float]], lower: float, upper: float) -> None:
        for column, value in terms:
            self.columns.append(column)
            self.values.append(value)
        self.starts.append(len(self.columns))
        self.lower.append(lower)
        self.upper.append(upper)


class _Programme:
    """Columns: for each flow each link, for each flow each group of links, then how often a risk is shared.

    There is one flow for each path. Where nothing asks for more than how often a link or a node is used, there is
    one of `k` units for all paths, which spares the solver the ways of telling them apart. Where groups are all
    there is, their columns are whole numbers and those of the links in them need not be: what a flow may use is
    then settled by its groups, and a part of it that is a path is no heavier than the whole.
    """

    def __init__(
        self,
        task: Task,
        links: IndexArray,
        effort: Effort,
        start: Sequence[Sequence[int]] | None,
        least: float,
    ) -> None:
        self._task, self._effort = task, effort
        told_apart = bool(task.bounds or task.nodes or task.links or task.even)
        alike = not told_apart and all(_is_taken_once(task, risk.links) for risk in task.risks)
        self._n_flows, self._units = (1, task.k) if alike else (task.k, 1)
        self._divisible = not told_apart and not alike
        self._links: list[int] = links.tolist()
        self._place = {link: place for place, link in enumerate(self._links)}
        self._n_columns = self._n_flows * len(self._links)
        self._whole = set[int]() if self._divisible else set(range(self._n_columns))
        # Columns that follow from others: what the sum of these is above so many, up to so much.
        self._follows: list[tuple[int, list[int], int, int]] = []
        self._too_many: dict[int, list[int]] = defaultdict(list)
        weights = task.graph.by_link.take(links)
        self._lower_bound = least if task.even else task.k * least
        reach = _EVEN_RANGE if task.even else _RANGE
        self._scale = min(_SCALE / (max(self._lower_bound, float(weights.max()) / reach) or 1.0), _LARGEST_SCALE)
        self._weights = np.tile(weights * self._scale, self._n_flows)
        self._found = None if start is None else tuple(tuple(path) for path in start)
        self._fewest = not task.share
        self._impossible = False
        self._solver: Any = highspy.Highs()  # highspy ships no types
        for option, value in (("output_flag", False), ("threads", 1), ("mip_abs_gap", _BETTER)):
            self._solver.setOptionValue(option, value)
        self._pass(self._rows())

    # -- the model

    def _column(self, flow: int, link: int) -> int:
        return flow * len(self._links) + self._place[link]

    def _rows(self) -> _Rows:
        task, rows = self._task, _Rows()
        leaving, entering = _grouped(self._links, task.tails), _grouped(self._links, task.heads)
        for flow in range(self._n_flows):
            for node in {task.src, task.dst, *leaving, *entering}:
                out = [(self._column(flow, link), 1.0) for link in leaving.get(node, ())]
                into = [(self._column(flow, link), -1.0) for link in entering.get(node, ())]
                balance = self._units * (float(node == task.src) - float(node == task.dst))
                rows.add(out + into, balance, balance)
                if out and (task.nodes or task.links):
                    rows.add(out, float(node in task.nodes), 1.0)
            for bound in task.bounds:
                if bound.most > 0:  # with 0 only links of amount 0 are left
                    amounts = (bound.amounts.take(self._links) / bound.most).tolist()
                    terms = zip(range(flow * len(amounts), (flow + 1) * len(amounts)), amounts, strict=True)
                    rows.add(((column, amount) for column, amount in terms if amount), -_INFINITY, 1 + _ROOM)
        for risk in task.risks:
            self._add_risk(rows, risk)
        return rows

    def _add_risk(self, rows: _Rows, risk: Risk) -> None:
        task = self._task
        links = [link for link in risk.links if link in self._place]
        if not links:
            return
        columns = [[self._column(flow, link) for link in links] for flow in range(self._n_flows)]
        if _is_taken_once(task, links):
            taken = [column for of_flow in columns for column in of_flow]
            self._whole.update(taken)
        else:
            taken = [self._follow(of_flow, 0, 1) for of_flow in columns]
            for flow, group in enumerate(taken):
                for together in _grouped(links, task.tails).values():
                    terms = [(self._column(flow, link), 1.0) for link in together]
                    rows.add([*terms, (group, -1.0)], -_INFINITY, 0.0)
        terms = [(column, 1.0) for column in taken]
        if risk.links in task.taken:
            rows.add(terms, float(task.k), _INFINITY)
        if task.share:
            too_many = self._follow(taken, 1, task.k - 1)
            self._too_many[risk.tier].append(too_many)
            terms.append((too_many, -1.0))
        rows.add(terms, -_INFINITY, 1.0)

    def _follow(self, columns: list[int], above: int, most: int) -> int:
        self._follows.append((self._n_columns, columns, above, most))
        self._whole.add(self._n_columns)
        self._n_columns += 1
        return self._n_columns - 1

    def _pass(self, rows: _Rows) -> None:
        model: Any = highspy.HighsLp()
        model.num_col_, model.num_row_ = self._n_columns, len(rows.lower)
        model.col_cost_ = np.zeros(self._n_columns)
        least, most = np.zeros(self._n_columns), np.ones(self._n_columns)
        least[[self._column(flow, link) for flow in range(self._n_flows) for link in self._task.links]] = 1.0
        most[: self._weights.size] = self._units
        for column, _, _, up_to in self._follows:
            most[column] = up_to
        model.col_lower_, model.col_upper_ = least, most
        model.row_lower_, model.row_upper_ = np.array(rows.lower), np.array(rows.upper)
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.array(rows.starts, dtype=np.int32)
        model.a_matrix_.index_ = np.array(rows.columns, dtype=np.int32)
        model.a_matrix_.value_ = np.array(rows.values)
        kinds = highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger
        model.integrality_ = [kinds[column in self._whole] for column in range(self._n_columns)]
        self._solver.passModel(model)

    # -- solving it

    def spare(self, tier: int) -> bool:
        """Share risks of this tier as little as can be, now and from here on; False where the time was up."""
        if not self._too_many[tier]:
            return True
        costs = np.zeros(self._n_columns)
        costs[self._too_many[tier]] = 1.0
        proven = self._minimise(costs, 0.0)
        if proven:
            fewest = round(self._solver.getInfo().objective_function_value)
            rows = _Rows()
            rows.add(((column, 1.0) for column in self._too_many[tier]), -_INFINITY, float(fewest))
            self._add(rows)
        return proven

    def lighten(self) -> None:
        """Find the paths of least total weight, or the heaviest of which weighs least, once risks are spared."""
        self._fewest = True
        costs = np.zeros(self._n_columns)
        costs[: self._weights.size] = self._weights
        if self._task.even:
            costs = self._heaviest(costs)
        self._minimise(costs, self._effort.gap)
        proven = (float(self._solver.getInfo().mip_dual_bound) - _BETTER) / self._scale
        if math.isfinite(proven):
            self._lower_bound = max(self._lower_bound, proven)

    def _heaviest(self, weights: FloatArray) -> FloatArray:
        """Add a column for the weight of the heaviest path and give the costs that are this column alone."""
        heaviest = self._n_columns
        self._n_columns += 1
        self._solver.addCol(0.0, 0.0, _INFINITY, 0, np.empty(0, dtype=np.int32), np.empty(0))
        rows = _Rows()
        for columns in np.arange(self._weights.size).reshape(self._n_flows, -1).tolist():
            rows.add([(heaviest, -1.0), *((column, weights[column]) for column in columns)], -_INFINITY, 0.0)
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
        if self._effort.time_limit_s is not None:
            left_s = self._effort.time_limit_s - float(self._solver.getRunTime())
            if left_s <= 0:
                return False
            self._solver.setOptionValue("time_limit", left_s)
        if self._found is not None:
            self._hand_over(self._found)
        self._solver.run()
        return True

    def _hand_over(self, paths: Sequence[Sequence[int]]) -> None:
        values = np.zeros(self._n_columns)
        for path, links in enumerate(paths):
            values[[self._column(path % self._n_flows, link) for link in links]] += 1.0
        for column, columns, above, most in self._follows:
            values[column] = min(max(values[columns].sum() - above, 0.0), most)
        start: Any = highspy.HighsSolution()
        start.col_value = values.tolist()
        self._solver.setSolution(start)

    def _look_at_solution(self) -> _Rows:
        """Keep the solution if it breaks nothing, otherwise give rows that it breaks and no true solution does."""
        task, rows = self._task, _Rows()
        values = np.array(self._solver.getSolution().col_value[: self._weights.size]).reshape(self._n_flows, -1)
        if self._divisible:
            self._found = tuple(self._lightest_part(flow) for flow in values)
            return rows
        paths = []
        for flow in np.rint(values):
            used = Counter({self._links[place]: int(flow[place]) for place in np.flatnonzero(flow).tolist()})
            for links in paths_of(used, task.tails, task.heads, task.src):
                paths.append(links)
                if not all(bound.holds(links) for bound in task.bounds):
                    self._ban(rows, links)
                if not task.visits(links):
                    self._join(rows, set(used).difference(links))
        if not rows.lower:
            self._found = tuple(paths)
        return rows

    def _lightest_part(self, flow: FloatArray) -> tuple[int, ...]:
        """Give the lightest path, Bellman and Ford's way, of the links that more than rounding flows over."""
        task = self._task
        used = [self._links[place] for place in np.flatnonzero(flow > _TRACE).tolist()]
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

    def _ban(self, rows: _Rows, links: Sequence[int]) -> None:
        """No path may be this one."""
        for flow in range(self._n_flows):
            rows.add(((self._column(flow, link), 1.0) for link in links), -_INFINITY, len(links) - 1.0)

    def _join(self, rows: _Rows, apart: set[int]) -> None:
        """Cycles apart from a path, with something on them that paths must take, have to be left by every path."""
        task = self._task
        leaving = {int(task.tails[link]): link for link in apart}
        while leaving:
            node, link = leaving.popitem()
            cycle = {node}
            links = {link}
            while (node := int(task.heads[link])) in leaving:
                link = leaving.pop(node)
                cycle.add(node)
                links.add(link)
            if cycle & task.nodes or links & task.links:
                inside = np.isin(task.tails, list(cycle)) & ~np.isin(task.heads, list(cycle))
                out = [link for link in np.flatnonzero(inside).tolist() if link in self._place]
                for flow in range(self._n_flows):
                    rows.add(((self._column(flow, link), 1.0) for link in out), 1.0, _INFINITY)

    def _add(self, rows: _Rows) -> None:
        self._solver.addRows(
            len(rows.lower),
            np.array(rows.lower),
            np.array(rows.upper),
            len(rows.columns),
            np.array(rows.starts[:-1], dtype=np.int32),
            np.array(rows.columns, dtype=np.int32),
            np.array(rows.values),
        )


def _is_taken_once(task: Task, links: Sequence[int]) -> bool:
    """Whether a path takes one of these links at most: it leaves and enters each node once."""
    return any(len(set(ends[list(links)].tolist())) <= 1 for ends in (task.heads, task.tails))


def _grouped(links: Iterable[int], ends: IndexArray) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for link in links:
        groups.setdefault(int(ends[link]), []).append(link)
    return groups
