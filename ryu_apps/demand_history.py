"""The newest samples of every demand, on an even clock."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from stitching.routes import Pair

Floats = npt.NDArray[np.float64]

CAPACITY = 2048
"""Samples kept: enough to fit on, little enough to play back in a fraction of a second."""


class DemandHistory:
    """A ring of samples, one row a demand, one column a tick of step_s seconds.

    A demand that was not known yet at a tick was 0 then: what has no rule to count it cannot send. One that was
    known and not measured is NaN.
    """

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.samples = 0
        self.pairs: tuple[Pair, ...] = ()
        self._rows: dict[Pair, int] = {}
        self._values: Floats = np.zeros((0, 0))
        self._last_s = 0.0

    @property
    def length(self) -> int:
        """How many ticks are kept."""
        return int(self._values.shape[1])

    def append(self, time_s: float, demand_mbps: Mapping[Pair, float]) -> None:
        """Take in the demands measured at the end of a tick; ticks that were left out since count as missing."""
        new = [pair for pair in demand_mbps if pair not in self._rows]
        if new:
            for pair in sorted(new):
                self._rows[pair] = len(self._rows)
            self.pairs = tuple(self._rows)
            self._values = np.vstack([self._values, np.zeros((len(new), self.length))])
        left_out = round((time_s - self._last_s) / self.step_s) - 1 if self.length else 0
        column = np.full((len(self.pairs), 1 + min(max(left_out, 0), CAPACITY)), np.nan)
        for pair, mbps in demand_mbps.items():
            column[self._rows[pair], -1] = mbps
        self._values = np.hstack([self._values, column])[:, -CAPACITY:]
        self._last_s = time_s
        self.samples += 1

    def newest(self) -> Floats:
        """The last sample, (n, 1)."""
        return self._values[:, -1:]

    def matrix(self) -> tuple[Floats, Floats]:
        """Times (T,) in seconds and values (n, T) in Mbit/s."""
        times: Floats = self._last_s - self.step_s * np.arange(self.length - 1, -1, -1, dtype=np.float64)
        return times, self._values.copy()
