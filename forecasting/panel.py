"""A panel: many series on one clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forecasting.checks import as_floats, check_times, check_values, is_number
from forecasting.errors import PanelError, UnknownSeries

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# How far a sample may lie from its place on an even clock, as a share of the step.
CLOCK_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class Panel:
    """Many series on one even clock.

    `times` (T,) are seconds, `step_s` apart; `values` (n_series, T) in any unit, NaN where a sample is missing
    (a series that began later starts with NaN); `names` one for each row, all different. `columns` are what else
    was measured, by name: (T,) for all series or (n_series, T) for each, NaN where missing (the latency or the
    loss of a link, the response time of an application). Values are at most 1e150 in size, times 1e12. Raises
    PanelError.
    """

    times: FloatArray
    values: FloatArray
    names: tuple[str, ...]
    step_s: float
    columns: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Copies are only made where the type is another: a panel is made once per fit, not per sample.
        object.__setattr__(self, "times", as_floats(self.times, "times"))
        object.__setattr__(self, "values", as_floats(self.values, "values"))
        object.__setattr__(self, "names", tuple(self.names))
        as_arrays = {name: as_floats(column, f"column {name!r}") for name, column in self.columns.items()}
        object.__setattr__(self, "columns", as_arrays)
        self._check()
        object.__setattr__(self, "step_s", float(self.step_s))

    def _check(self) -> None:
        if not (is_number(self.step_s) and self.step_s > 0):
            raise PanelError(f"step_s is {self.step_s!r}; give the seconds between two samples, above 0")
        if self.times.ndim != 1 or self.times.size == 0:
            raise PanelError(f"times has shape {self.times.shape}; give a vector of at least one time in seconds")
        if self.values.shape != (len(self.names), self.times.size):
            raise PanelError(
                f"values has shape {self.values.shape}, but {len(self.names)} names and {self.times.size} times "
                "were given; values is (n_series, T), fill missing samples with NaN"
            )
        if len(set(self.names)) != len(self.names):
            raise PanelError("two series have the same name; make the names different")
        check_values(self.values)
        for name, column in self.columns.items():
            if not isinstance(name, str) or "\0" in name:
                raise PanelError(f"column {name!r}: give its name as text without NUL")
            if column.shape not in (self.times.shape, self.values.shape):
                raise PanelError(
                    f"column {name!r} has shape {column.shape}; give {self.times.shape} for all series or "
                    f"{self.values.shape} for each"
                )
            check_values(column, f"column {name!r}")
        check_times(self.times, "times")
        # The gaps alone would not do: an error of each by a little adds up.
        off = self.times - self.step_s * np.arange(self.times.size)
        if np.ptp(off) > 2 * CLOCK_TOLERANCE * self.step_s:
            gaps = np.diff(self.times)
            raise PanelError(
                f"times are not {self.step_s} s apart (gaps from {gaps.min():.9g} to {gaps.max():.9g} s, places "
                f"up to {np.ptp(off):.3g} s off); put the samples on an even clock and mark missing ones with NaN"
            )

    def tail(self, n: int) -> Panel:
        """Give the newest `n` points of every series (all, when there are fewer); PanelError when n < 1."""
        if n < 1:
            raise PanelError(f"tail({n}): a panel has at least one point, ask for 1 or more")
        columns = {name: column[..., -n:] for name, column in self.columns.items()}
        return Panel(self.times[-n:], self.values[:, -n:], self.names, self.step_s, columns)

    def select(self, names: Iterable[str]) -> Panel:
        """Give the panel of the series `names`, in that order; raises UnknownSeries."""
        return self.rows(np.array(rows_of(tuple(names), self.names), dtype=np.intp))

    def rows(self, which: slice | npt.NDArray[np.intp]) -> Panel:
        """Give the panel of some series, by their rows."""
        names = self.names[which] if isinstance(which, slice) else tuple(self.names[row] for row in which.tolist())
        columns = {name: column[which] if column.ndim == 2 else column for name, column in self.columns.items()}
        return Panel(self.times, self.values[which], names, self.step_s, columns)

    def with_columns(self, names: tuple[str, ...]) -> Panel:
        """Give the panel with its columns in the order of `names`."""
        if names == tuple(self.columns):
            return self
        columns = {name: self.columns[name] for name in names}
        return Panel(self.times, self.values, self.names, self.step_s, columns)

    def stacked_columns(self) -> FloatArray:
        """Give the columns of every series, (n_series, n_columns, T), in the order of their names in `columns`."""
        stacked = np.empty((len(self.names), len(self.columns), self.times.size))
        for index, column in enumerate(self.columns.values()):
            stacked[:, index] = column
        return stacked


def rows_of(wanted: tuple[str, ...], names: tuple[str, ...]) -> list[int]:
    """Give the rows of the series `wanted` among `names`; raises UnknownSeries."""
    row = {name: index for index, name in enumerate(names)}
    for name in wanted:
        if name not in row:
            raise UnknownSeries(name, names)
    return [row[name] for name in wanted]
