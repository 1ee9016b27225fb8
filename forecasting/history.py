"""The newest samples of every series, on their clock, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from forecasting.errors import PanelError
from forecasting.panel import FloatArray, Panel, check_values

KEPT_POINTS = 4096


class History:
    """At most KEPT_POINTS points of n series; gaps in the clock become NaN."""

    def __init__(self, panel: Panel) -> None:
        newest = panel.tail(KEPT_POINTS)
        self._names, self._step_s = panel.names, panel.step_s
        self._newest_s = float(newest.times[-1])
        self._values = _Ring(newest.values)
        self._columns = {name: _Ring(column) for name, column in newest.columns.items()}

    def tail(self, n: int) -> Panel:
        """Give the newest `n` points kept."""
        values = self._values.tail(n)
        times = self._newest_s - self._step_s * np.arange(values.shape[-1] - 1, -1, -1, dtype=np.float64)
        columns = {name: ring.tail(n) for name, ring in self._columns.items()}
        return Panel(times, values, self._names, self._step_s, columns)

    def append(
        self, times: FloatArray, values: FloatArray, columns: Mapping[str, FloatArray] = MappingProxyType({})
    ) -> int:
        """Put samples (n, k) of `times` (k,) behind the newest tick and say how many ticks that was.

        Samples go to the nearest tick; those for ticks already taken are dropped. A column that is not given is
        missing. Raises PanelError.
        """
        if times.ndim != 1 or values.shape != (len(self._names), times.size):
            raise PanelError(
                f"update: values of shape {values.shape} for {times.size} times; give ({len(self._names)}, k), "
                "a row for each series in the order of the panel"
            )
        if not np.isfinite(times).all():
            raise PanelError("update: times holds NaN or infinities; give seconds")
        check_values(values)
        self._check(columns, times.size)
        ticks = np.rint((times - self._newest_s) / self._step_s).astype(np.int64)
        new = int(max(ticks.max(initial=0), 0))
        kept = min(new, KEPT_POINTS)
        # A sample's place among those to be kept; the last one for a tick stays.
        places = ticks - 1 - (new - kept)
        taken = np.flatnonzero((ticks > 0) & (places >= 0))
        self._values.push(values[:, taken], places[taken], kept)
        for name, ring in self._columns.items():
            if name in columns:
                ring.push(columns[name][..., taken], places[taken], kept)
            else:
                ring.push(np.empty((*ring.rows, 0)), places[:0], kept)
        self._newest_s += self._step_s * new
        return new

    def _check(self, columns: Mapping[str, FloatArray], k: int) -> None:
        for name, column in columns.items():
            if name not in self._columns:
                known = ", ".join(self._columns) or "none"
                raise PanelError(f"update: column {name!r} is not one of the panel's ({known})")
            if column.shape != (*self._columns[name].rows, k):
                raise PanelError(
                    f"update: column {name!r} has shape {column.shape}; give {(*self._columns[name].rows, k)}"
                )
            check_values(column, f"column {name!r}")


class _Ring:
    """The newest KEPT_POINTS entries along the last axis."""

    def __init__(self, values: FloatArray) -> None:
        self.rows = values.shape[:-1]
        # Twice the room: the kept points move to the front once for every KEPT_POINTS samples, not for each.
        self._values = np.empty((*self.rows, 2 * KEPT_POINTS))
        self._end = values.shape[-1]
        self._values[..., : self._end] = values

    def tail(self, n: int) -> FloatArray:
        """Give the newest `n` entries kept."""
        points = min(n, self._end, KEPT_POINTS)
        return self._values[..., self._end - points : self._end].copy()

    def push(self, values: FloatArray, places: npt.NDArray[np.int64], count: int) -> None:
        """Go on by `count` entries: these values at their places among them, NaN at all others."""
        if self._end + count > self._values.shape[-1]:
            held = min(self._end, KEPT_POINTS)
            self._values[..., :held] = self._values[..., self._end - held : self._end].copy()
            self._end = held
        new = self._values[..., self._end : self._end + count]
        new[...] = np.nan
        new[..., places] = values
        self._end += count
