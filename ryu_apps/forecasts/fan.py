"""What a fan chart shows: the newest samples of one series, its forecast with bands, and what came true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ryu_apps.forecasts.clock import FloatArray

BANDS = (0.95, 0.8, 0.5)
"""Central intervals, widest first: each lies upon the one before."""

_UNITS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))
# A unit is used from this many of it on; below, a smaller one says more.
_LEAST_OF_UNIT = 3.0


@dataclass(frozen=True, eq=False)
class Fan:
    """One series on a clock of `step_s` seconds; the last of `history` (k,) is now, NaN where missing.

    `median` (H,) and `bands` (low and high (H,) by level) are of the steps after now, `actual` (H,) is what came
    true, NaN where nobody knows (yet). `unit` is that of the values.
    """

    title: str
    step_s: float
    history: FloatArray
    median: FloatArray
    bands: dict[float, tuple[FloatArray, FloatArray]]
    actual: FloatArray = field(default_factory=lambda: np.zeros(0))
    unit: str = ""

    @property
    def past_steps(self) -> npt.NDArray[np.int64]:
        """The steps of `history`: 0 is now."""
        return np.arange(1 - self.history.size, 1)

    @property
    def coming_steps(self) -> npt.NDArray[np.int64]:
        """The steps of the forecast: 1, 2, ..."""
        return np.arange(1, self.median.size + 1)


def fan_of(
    title: str,
    step_s: float,
    history: npt.ArrayLike,
    levels: Sequence[float],
    quantiles: npt.ArrayLike,
    actual: npt.ArrayLike = (),
    unit: str = "",
) -> Fan:
    """Make a fan of `quantiles` (len(levels), H) at ascending `levels`; bands wider than these are left out."""
    at, curves = np.asarray(levels, dtype=np.float64), np.asarray(quantiles, dtype=np.float64)

    def read(level: float) -> FloatArray:
        place = float(np.interp(level, at, np.arange(at.size)))
        low = min(int(place), max(at.size - 2, 0))
        high = min(low + 1, at.size - 1)
        answer: FloatArray = curves[low] + (place - low) * (curves[high] - curves[low])
        return answer

    shown = [
        band for band in BANDS if at[0] <= 0.5 - band / 2 + 1e-9 and at[-1] >= 0.5 + band / 2 - 1e-9
    ]  # fmt: skip
    return Fan(
        title,
        step_s,
        np.asarray(history, dtype=np.float64),
        read(0.5),
        {band: (read(0.5 - band / 2), read(0.5 + band / 2)) for band in shown},
        np.asarray(actual, dtype=np.float64),
        unit,
    )


def time_unit(span_s: float) -> tuple[float, str]:
    """Give the unit of time to show `span_s` seconds in: how many seconds it has, and its name."""
    return next((unit for unit in _UNITS if span_s >= _LEAST_OF_UNIT * unit[0]), (1.0, "seconds"))
