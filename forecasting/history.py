"""The newest samples of every series, on their clock, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from forecasting.checks import check_times, check_values
from forecasting.errors import PanelError
from forecasting.panel import FloatArray, Panel

KEPT_POINTS = 4096

# Each sample moves the clock by this share of how far it was off its tick. Samples that lie half a step beside it,
# or drift, would fall on one tick or the other by chance.
_FOLLOWED = 0.05

# After so many updates in a row without a sample that is new, the clock was wrong once. Five-minute samples may be
# set back by an hour without a word.
_MOST_LATE = 12


@dataclass(frozen=True, eq=False)
class Taken:
    """The samples that went behind the newest tick.

    `samples` (m,) are their places among those given, `ticks` (m,) how far behind the newest tick there was each
    lies, ascending from 1, and `times_s` (m,) what the clock said there.
    """

    samples: npt.NDArray[np.int64]
    ticks: npt.NDArray[np.int64]
    times_s: FloatArray

    @property
    def new(self) -> int:
        """How many ticks the clock went on."""
        return int(self.ticks[-1]) if self.ticks.size else 0

    def parts(self, panel: Panel) -> Iterator[Panel]:
        """Cut a panel of all new ticks behind each sample, for the clock moves with each."""
        starts = np.concatenate([[0], self.ticks[:-1]])
        for start, end, time_s in zip(starts.tolist(), self.ticks.tolist(), self.times_s.tolist(), strict=True):
            times = time_s - panel.step_s * np.arange(end - start - 1, -1, -1, dtype=np.float64)
            columns = {name: column[..., start:end] for name, column in panel.columns.items()}
            yield Panel(times, panel.values[:, start:end], panel.names, panel.step_s, columns)


class History:
    """At most KEPT_POINTS points of n series; gaps in the clock become NaN, and the clock follows the samples."""

    def __init__(self, panel: Panel) -> None:
        newest = panel.tail(KEPT_POINTS)
        self._names, self._step_s = panel.names, panel.step_s
        self._newest_s = float(newest.times[-1])
        self._late = 0
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
    ) -> Taken:
        """Put samples (n, k) of `times` (k,) behind the newest tick and say which were taken.

        Samples go to the nearest tick, in the order of their times; those for ticks already taken are dropped. A
        column that is not given is missing. Raises PanelError, also after twelve calls in a row of which
        nothing was taken.
        """
        if times.ndim != 1 or values.shape != (len(self._names), times.size):
            raise PanelError(
                f"update: values of shape {values.shape} for {times.size} times; give ({len(self._names)}, k), "
                "a row for each series in the order of the panel"
            )
        check_times(times, "update: times")
        check_values(values)
        self._check(columns, times.size)
        taken = self._place(times)
        if times.size:
            self._refuse_late(times, taken)
        if not taken.new:
            return taken
        kept = min(taken.new, KEPT_POINTS)
        # A sample's place among those to be kept.
        places = taken.ticks - 1 - (taken.new - kept)
        samples, places = taken.samples[places >= 0], places[places >= 0]
        self._values.push(values[:, samples], places, kept)
        for name, ring in self._columns.items():
            if name in columns:
                ring.push(columns[name][..., samples], places, kept)
            else:
                ring.push(np.empty((*ring.rows, 0)), places[:0], kept)
        self._newest_s = float(taken.times_s[-1])
        return taken

    def _place(self, times: FloatArray) -> Taken:
        samples, ticks, clock, tick, now_s = [], [], [], 0, self._newest_s
        order = np.argsort(times, kind="stable")
        for sample, time_s in zip(order.tolist(), times[order].tolist(), strict=True):
            passed = round((time_s - now_s) / self._step_s)
            if passed > 0:
                tick += passed
                now_s += passed * self._step_s
                now_s += _FOLLOWED * (time_s - now_s)
                samples.append(sample)
                ticks.append(tick)
                clock.append(now_s)
        return Taken(np.array(samples, dtype=np.int64), np.array(ticks, dtype=np.int64), np.array(clock))

    def _refuse_late(self, times: FloatArray, taken: Taken) -> None:
        self._late = 0 if taken.new else self._late + 1
        if self._late > _MOST_LATE:
            raise PanelError(
                f"update: the newest sample held is of {self._newest_s:.3f} s, and the last {self._late} updates "
                f"had none after it (this one {times.max():.3f} s) and were dropped; if the clock was wrong then, "
                "load() a history with the right times"
            )

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
