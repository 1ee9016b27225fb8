"""Which forecasts came true: how often what was measured lay inside the interval it was forecast to lie in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forecasting import Forecast

INTERVALS = (0.5, 0.8, 0.95)
"""The central intervals that are counted."""

_MEMORY = 0.999
"""How much an outcome counts after the next period: half of the count is of the last 700 periods."""


class Outcomes:
    """Counts outcomes inside and outside of intervals, the newest most.

    Series that are cold do not count, nor do idle ones: that nothing goes on being nothing is no merit.
    """

    def __init__(self) -> None:
        self._inside = np.zeros(len(INTERVALS))
        self._counted = 0.0
        self.total = 0

    def count(self, forecast: Forecast, step: int, values: npt.NDArray[np.float64]) -> None:
        """Take in what was measured, (n,) with NaN where missing, `step` steps (from 1) after a forecast."""
        low, high = forecast.interval(INTERVALS[-1])
        known = np.isfinite(values) & ~forecast.cold & (high[:, step - 1] > low[:, step - 1])
        if not known.any():
            # What was counted before does not become less true while nothing is.
            return
        self._inside *= _MEMORY
        self._counted = _MEMORY * self._counted + int(known.sum())
        self.total += int(known.sum())
        for place, level in enumerate(INTERVALS):
            low, high = forecast.interval(level)
            inside = (low[:, step - 1] <= values) & (values <= high[:, step - 1])
            self._inside[place] += int((inside & known).sum())

    def shares(self) -> dict[float, float]:
        """Give the share inside of each interval; empty before the first outcome."""
        if self._counted <= 0:
            return {}
        return {
            level: float(inside / self._counted) for level, inside in zip(INTERVALS, self._inside, strict=True)
        }
