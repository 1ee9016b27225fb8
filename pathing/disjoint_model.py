"""The integer programme of disjoint paths: what its columns and rows say.

Each path is a flow of one unit of its own, and of all flows one at most takes each risk.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from scipy.sparse.csgraph import dijkstra

from pathing.csr import FloatArray, IndexArray
from pathing.weights import Side, WeighedGraph

INFINITY = highspy.kHighsInf
# A sum along a path may exceed its limit by this share in the programme; what does is looked at again, exactly.
_ROOM = 1e-9


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


def usable_links(task: Task, most: float) -> IndexArray:
    """Give the links, by id, that can be on a path that keeps all bounds and weighs no more than `most`."""
    kept = np.isfinite(task.graph.by_link) & (task.heads != task.src) & (task.tails != task.dst)
    for bound in (Bound(task.graph.by_link, most), *task.bounds):
        graph = WeighedGraph(task.graph.structure, np.where(kept, bound.amounts, np.inf))
        before, after = distances(graph.outward, task.src), distances(graph.inward, task.dst)
        through = before.take(task.tails) + graph.by_link + after.take(task.heads)
        # Infinite is no way at all, also where the bound is.
        kept = np.isfinite(through) & (through <= bound.most * (1 + _ROOM))
    return np.flatnonzero(kept)


def distances(side: Side, root: int) -> FloatArray:
    """Give the weight of the shortest path to each node from `root`, or from it, by side."""
    by_node: FloatArray = dijkstra(side.matrix, indices=[root])[0]
    return by_node


class Rows:
    """Rows of the programme as they are thought of; each is lower <= sum of value * column <= upper."""

    def __init__(self) -> None:
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.starts = [0]
        self.columns: list[int] = []
        self.values: list[float] = []

    def add(self, terms: Iterable[tuple[int, float]], lower: float, upper: float) -> None:
        """Add a row of (column, value) terms."""
        for column, value in terms:
            self.columns.append(column)
            self.values.append(value)
        self.starts.append(len(self.columns))
        self.lower.append(lower)
        self.upper.append(upper)


class Model:
    """The columns and rows of a task over some of its links.

    Columns: for each flow each link, for each flow each group of links, then how often a risk is shared.
    There is one flow for each path. Where nothing asks for more than how often a link or a node is used, there is
    one of `k` units for all paths, which spares the solver the ways of telling them apart. Where groups are all
    there is, their columns are whole numbers and those of the links in them need not be: what a flow may use is
    then settled by its groups, and a part of it that is a path is no heavier than the whole (`divisible`).
    """

    def __init__(self, task: Task, links: IndexArray) -> None:
        self._task = task
        told_apart = bool(task.bounds or task.nodes or task.links or task.even)
        alike = not told_apart and all(_is_taken_once(task, risk.links) for risk in task.risks)
        self.n_flows, self._units = (1, task.k) if alike else (task.k, 1)
        self.divisible = not told_apart and not alike
        self.links: list[int] = links.tolist()
        self._place = {link: place for place, link in enumerate(self.links)}
        self.n_link_columns = self.n_flows * len(self.links)
        self.n_columns = self.n_link_columns
        # By tier, the columns of how many paths too many share a risk.
        self.too_many: dict[int, list[int]] = defaultdict(list)
        self._whole = set[int]() if self.divisible else set(range(self.n_columns))
        # Columns that follow from others: what the sum of these is above so many, up to so much.
        self._follows: list[tuple[int, list[int], int, int]] = []
        self._rows = self._all_rows()

    def column(self, flow: int, link: int) -> int:
        """Give the column of a link, by id, for a flow."""
        return flow * len(self.links) + self._place[link]

    def add_column(self) -> int:
        """Count one column more, which means something only to the caller."""
        self.n_columns += 1
        return self.n_columns - 1

    def values(self, paths: Sequence[Sequence[int]]) -> FloatArray:
        """Give what all columns are for these paths."""
        values = np.zeros(self.n_columns)
        for path, links in enumerate(paths):
            values[[self.column(path % self.n_flows, link) for link in links]] += 1.0
        for column, columns, above, most in self._follows:
            values[column] = min(max(values[columns].sum() - above, 0.0), most)
        return values

    def in_solvers_terms(self) -> Any:
        """Give the model as HiGHS takes it, without costs."""
        rows = self._rows
        model: Any = highspy.HighsLp()
        model.num_col_, model.num_row_ = self.n_columns, len(rows.lower)
        model.col_cost_ = np.zeros(self.n_columns)
        least, most = np.zeros(self.n_columns), np.ones(self.n_columns)
        least[[self.column(flow, link) for flow in range(self.n_flows) for link in self._task.links]] = 1.0
        most[: self.n_link_columns] = self._units
        for column, _, _, up_to in self._follows:
            most[column] = up_to
        model.col_lower_, model.col_upper_ = least, most
        model.row_lower_, model.row_upper_ = np.array(rows.lower), np.array(rows.upper)
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.array(rows.starts, dtype=np.int32)
        model.a_matrix_.index_ = np.array(rows.columns, dtype=np.int32)
        model.a_matrix_.value_ = np.array(rows.values)
        kinds = highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger
        model.integrality_ = [kinds[column in self._whole] for column in range(self.n_columns)]
        return model

    # -- rows

    def _all_rows(self) -> Rows:
        task, rows = self._task, Rows()
        leaving, entering = _grouped(self.links, task.tails), _grouped(self.links, task.heads)
        for flow in range(self.n_flows):
            for node in {task.src, task.dst, *leaving, *entering}:
                out = [(self.column(flow, link), 1.0) for link in leaving.get(node, ())]
                into = [(self.column(flow, link), -1.0) for link in entering.get(node, ())]
                balance = self._units * (float(node == task.src) - float(node == task.dst))
                rows.add(out + into, balance, balance)
                if out and (task.nodes or task.links):
                    rows.add(out, float(node in task.nodes), 1.0)
            for bound in task.bounds:
                if bound.most > 0:  # with 0 only links of amount 0 are left
                    amounts = (bound.amounts.take(self.links) / bound.most).tolist()
                    terms = zip(range(flow * len(amounts), (flow + 1) * len(amounts)), amounts, strict=True)
                    rows.add(((column, amount) for column, amount in terms if amount), -INFINITY, 1 + _ROOM)
        for risk in task.risks:
            self._add_risk(rows, risk)
        return rows

    def _add_risk(self, rows: Rows, risk: Risk) -> None:
        task = self._task
        links = [link for link in risk.links if link in self._place]
        if not links:
            return
        columns = [[self.column(flow, link) for link in links] for flow in range(self.n_flows)]
        if _is_taken_once(task, links):
            taken = [column for of_flow in columns for column in of_flow]
            self._whole.update(taken)
        else:
            taken = [self._follow(of_flow, 0, 1) for of_flow in columns]
            for flow, group in enumerate(taken):
                for together in _grouped(links, task.tails).values():
                    terms = [(self.column(flow, link), 1.0) for link in together]
                    rows.add([*terms, (group, -1.0)], -INFINITY, 0.0)
        terms = [(column, 1.0) for column in taken]
        if risk.links in task.taken:
            rows.add(terms, float(task.k), INFINITY)
        if task.share:
            too_many = self._follow(taken, 1, task.k - 1)
            self.too_many[risk.tier].append(too_many)
            terms.append((too_many, -1.0))
        rows.add(terms, -INFINITY, 1.0)

    def _follow(self, columns: list[int], above: int, most: int) -> int:
        column = self.add_column()
        self._follows.append((column, columns, above, most))
        self._whole.add(column)
        return column

    def ban(self, rows: Rows, links: Sequence[int]) -> None:
        """No path may be this one."""
        for flow in range(self.n_flows):
            rows.add(((self.column(flow, link), 1.0) for link in links), -INFINITY, len(links) - 1.0)

    def join(self, rows: Rows, apart: set[int]) -> None:
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
                for flow in range(self.n_flows):
                    rows.add(((self.column(flow, link), 1.0) for link in out), 1.0, INFINITY)


def _is_taken_once(task: Task, links: Sequence[int]) -> bool:
    """Whether a path takes one of these links at most: it leaves and enters each node once."""
    return any(len(set(ends[list(links)].tolist())) <= 1 for ends in (task.heads, task.tails))


def _grouped(links: Iterable[int], ends: IndexArray) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for link in links:
        groups.setdefault(int(ends[link]), []).append(link)
    return groups
