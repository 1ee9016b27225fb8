"""The restricted master programme: how much of each commodity leaves its base path, on HiGHS.

Every commodity rides its base path but for what its columns take off it, so a commodity needs no row to add up to
one: one column is bounded by the volume, and only a commodity with two or more has a row. The rows left are the
links that may bind. On the largest Zoo graphs that is some hundred rows instead of forty thousand.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, hstack

from pathing.csr import FloatArray, IndexArray
from pathing.errors import PathingError
from pathing.routing.levels import Levels

# Costs are of the order of mean_weight / n_links; HiGHS stops at reduced costs of 1e-7.
_OBJECTIVE_SCALE = 1e4


class MasterFailed(PathingError, RuntimeError):
    """HiGHS gave no solution; the message has its status."""


class Optimum(NamedTuple):
    """A solution of the restricted programme."""

    level: float  # the cost of the levels
    flows: FloatArray  # (n_columns,), in units of the commodity's size
    prices: FloatArray  # (n_resources,), duals of the links, 0 or more
    moved_price: float  # dual of the limit on what moves, 0 or more


class Master:
    """Minimise the cost of the levels + the columns' costs. Resources are links, once for each demand matrix.

    `load` (n_resources,) is the utilisation with everybody on the base path; `sizes` the most that may leave it;
    `highest` the most a level may be.
    """

    def __init__(self, load: FloatArray, sizes: FloatArray, levels: Levels, highest: float = math.inf) -> None:
        self._load = load
        self._sizes = sizes
        self._levels = levels
        self._n_levels = levels.costs.size
        self._row_of = np.full(load.size, -1, dtype=np.intp)  # of a resource; -1 while it has none
        self._resources: list[int] = []
        self._matrix = csc_array((load.size, 0))
        self._owners = np.zeros(0, dtype=np.intp)
        self._owner_row = np.full(sizes.size, -1, dtype=np.intp)
        self._n_rows = 0
        self._moved_row = -1
        solver = highspy.Highs()
        for option, value in (("output_flag", False), ("threads", 1), ("presolve", "off"), ("solver", "simplex")):
            solver.setOptionValue(option, value)
        for number, cost in enumerate(levels.costs.tolist()):
            solver.addVar(0.0, highest)
            solver.changeColCost(number, cost * _OBJECTIVE_SCALE)
        self._solver = solver

    @property
    def n_columns(self) -> int:
        """Number of columns, the levels not counted."""
        return self._owners.size

    @property
    def owners(self) -> IndexArray:
        """The commodity of each column."""
        return self._owners

    def limit_moved(self, limit: float) -> None:
        """Let all columns together take no more than `limit` off the base paths; call it before adding any."""
        self._moved_row = self._n_rows
        self._add_rows(csr_array((1, 0)), np.array([limit]))

    def add_links(self, resources: IndexArray) -> None:
        """Give a row to resources that have none yet."""
        new = resources[self._row_of[resources] < 0]
        self._row_of[new] = self._n_rows + np.arange(new.size)
        places = (np.arange(new.size), self._levels.of(new, self._load.size))
        level = csr_array((np.full(new.size, -1.0), places), shape=(new.size, self._n_levels))
        self._add_rows(csr_array(hstack([level, self._matrix.tocsr()[new]])), -self._load[new])

    def add_columns(
        self, owners: IndexArray, usage: csc_array[np.float64], costs: FloatArray, moves: FloatArray
    ) -> None:
        """Add columns: `usage` (n_resources, n) is the utilisation a unit adds; an owner comes once at most."""
        self._add_owner_rows(owners)
        self._matrix = csc_array(hstack([self._matrix, usage])) if self.n_columns else usage
        self._owners = np.concatenate((self._owners, owners))
        columns = np.repeat(np.arange(owners.size), np.diff(usage.indptr))
        rows = self._row_of[usage.indices]
        kept = rows >= 0
        parts = [(rows[kept], columns[kept], usage.data[kept])]
        with_row = np.flatnonzero(self._owner_row[owners] >= 0)
        parts.append((self._owner_row[owners[with_row]], with_row, np.ones(with_row.size)))
        if self._moved_row >= 0:
            moving = np.flatnonzero(moves)
            parts.append((np.full(moving.size, self._moved_row), moving, moves[moving]))
        row, column, value = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.lexsort((row, column))
        starts = np.searchsorted(column[order], np.arange(owners.size))
        self._solver.addCols(
            owners.size,
            costs * _OBJECTIVE_SCALE,
            np.zeros(owners.size),
            self._sizes[owners],
            order.size,
            starts.astype(np.int32),
            row[order].astype(np.int32),
            value[order],
        )

    def start_from(self, full: NDArray[np.bool_], use: FloatArray) -> None:
        """Let the next solve start with the columns `full` at their bounds, which makes the utilisation `use`.

        The fullest resource of each level must have a row.
        """
        status = highspy.HighsBasisStatus
        levels, rows = [status.kLower] * self._n_levels, [status.kBasic] * self._n_rows
        cut = self._levels.cut(use)
        for level, fullest in enumerate(cut.argmax(axis=1).tolist()):
            if cut[level, fullest] > 0:
                levels[level] = status.kBasic
                rows[int(self._row_of[level * cut.shape[1] + fullest])] = status.kUpper
        basis = highspy.HighsBasis()
        basis.col_status = levels + [status.kUpper if one else status.kLower for one in full.tolist()]
        basis.row_status = rows
        basis.valid = True
        self._solver.setBasis(basis)

    def forbid(self, columns: IndexArray) -> None:
        """Take columns out of use."""
        zeros = np.zeros(columns.size)
        self._solver.changeColsBounds(columns.size, (columns + self._n_levels).astype(np.int32), zeros, zeros)

    def leave_base(self, owner: int) -> None:
        """Take the base path of a commodity out of use: its columns carry all of it."""
        self._add_owner_rows(np.array([owner]))
        size = float(self._sizes[owner])
        self._solver.changeRowBounds(int(self._owner_row[owner]), size, size)

    def solve(self, *, time_left_s: float = math.inf) -> Optimum | None:
        """Solve from where the last solve ended, adding rows for links that turn out to exceed their level.

        None when time ran out. Raises `MasterFailed`.
        """
        while True:
            self._solver.setOptionValue("time_limit", self._solver.getRunTime() + time_left_s)
            if not self._run():
                return None
            solution = self._solver.getSolution()
            values = np.asarray(solution.col_value)
            levels, flows = values[: self._n_levels], values[self._n_levels :]
            above = self._levels.cut(self.use(flows)) > levels[:, None] + 1e-7
            violated = np.flatnonzero(above.ravel() & (self._row_of < 0))
            if not violated.size:
                break
            self.add_links(violated)
        duals = -np.asarray(solution.row_dual) / _OBJECTIVE_SCALE
        prices = np.where(self._row_of >= 0, duals.take(np.maximum(self._row_of, 0)), 0.0)
        moved = max(0.0, float(duals[self._moved_row])) if self._moved_row >= 0 else 0.0
        return Optimum(float(self._levels.costs @ levels), flows, np.maximum(prices, 0.0), moved)

    def _run(self) -> bool:
        """Run the solver. False when time ran out."""
        optimal, late = highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kTimeLimit
        self._solver.run()
        if self._solver.getModelStatus() not in (optimal, late):
            # Rounding errors of many warm starts can leave it unsure; from a fresh start it has none.
            self._solver.clearSolver()
            self._solver.run()
        status = self._solver.getModelStatus()
        if status not in (optimal, late):
            raise MasterFailed(
                f"HiGHS ended with {self._solver.modelStatusToString(status)!r}: figures are too far apart; scale "
                "or leave out demands that are millions of times what links can carry, or a millionth of it"
            )
        return bool(status == optimal)

    def use(self, flows: FloatArray) -> FloatArray:
        """Utilisation of all resources, (n_resources,)."""
        use: FloatArray = self._load + self._matrix @ flows
        return use

    def _add_owner_rows(self, owners: IndexArray) -> None:
        """Give a row to commodities that have a column."""
        count = np.bincount(self._owners, minlength=self._sizes.size)
        new = owners[(self._owner_row[owners] < 0) & (count[owners] > 0)]
        if not new.size:
            return
        self._owner_row[new] = self._n_rows + np.arange(new.size)
        columns = np.flatnonzero(np.isin(self._owners, new))
        rows = self._owner_row[self._owners[columns]] - self._n_rows
        shape = (new.size, self._n_levels + self.n_columns)
        places = rows, columns + self._n_levels
        self._add_rows(csr_array((np.ones(columns.size), places), shape=shape), self._sizes[new])

    def _add_rows(self, entries: csr_array[np.float64], upper: FloatArray) -> None:
        n_rows = upper.size
        starts: NDArray[np.int32] = entries.indptr[:-1].astype(np.int32)
        lower = np.full(n_rows, -math.inf)
        self._solver.addRows(
            n_rows, lower, upper, entries.nnz, starts, entries.indices.astype(np.int32), entries.data
        )
        self._n_rows += n_rows
