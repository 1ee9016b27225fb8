"""A forecast: what each series will be at each step, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from forecasting.checks import is_number, is_whole
from forecasting.distribution import probability_above, quantile_at, quantiles_at
from forecasting.errors import SettingError
from forecasting.panel import BoolArray, FloatArray, rows_of

# No future is drawn from farther out.
_LEAST_RANK = 1e-9

DEFAULT_LEVELS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99)


@dataclass(frozen=True, eq=False)
class Forecast:
    """The next H steps of n series, `step_s` seconds apart, the first one step after the newest sample.

    `mean` (n, H) is the point forecast, the median of the blend and not an expectation: plans that add demands up
    underrate bursty ones with it (draw `sample` for a mean). `quantiles` (n, H, len(levels)) rise with the level
    and are never negative for a series that never was; `cold` (n,) marks series with too few samples to know their
    spread: their interval is wide on purpose. A series without any sample is forecast as 0 without spread, and is
    cold.
    """

    names: tuple[str, ...]
    step_s: float
    levels: tuple[float, ...]
    mean: FloatArray
    quantiles: FloatArray
    cold: BoolArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", as_levels(self.levels))
        shape = (len(self.names), self.mean.shape[-1])
        if self.mean.shape != shape or self.quantiles.shape != (*shape, len(self.levels)):
            raise SettingError(
                f"mean {self.mean.shape} and quantiles {self.quantiles.shape} do not fit {len(self.names)} names "
                f"and {len(self.levels)} levels; they are (n, H) and (n, H, levels)"
            )

    @property
    def horizon(self) -> int:
        """How many steps ahead the forecast goes."""
        return int(self.mean.shape[1])

    def quantile(self, q: float) -> FloatArray:
        """Give the quantile of level `q`, (n, H): linear between `levels`, with exponential tails beyond them.

        `prob_above` and `sample` have the same tails. Raises SettingError.
        """
        if not (is_number(q) and 0.0 < q < 1.0):
            raise SettingError(f"quantile({q!r}): give a level between 0 and 1")
        return quantile_at(self.levels, self.quantiles, q)

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Give the central interval that holds a share `level` of the outcomes: low and high, each (n, H)."""
        if not (is_number(level) and 0.0 < level < 1.0):
            raise SettingError(f"interval({level!r}): give a share between 0 and 1")
        return self.quantile(0.5 - level / 2), self.quantile(0.5 + level / 2)

    def prob_above(self, threshold: npt.ArrayLike) -> FloatArray:
        """Give the probability (n, H) that a series is above `threshold`: one number, or one for each series.

        Strictly inside (0, 1) for a forecast that has any spread, but for thresholds below 0 of a series that
        never is: 1. Raises SettingError for NaN or another shape.
        """
        at = np.asarray(threshold, dtype=np.float64)
        if at.shape not in ((), (len(self.names),)) or np.isnan(at).any():
            raise SettingError(
                f"prob_above: threshold of shape {at.shape}; give one number or {len(self.names)}, none NaN"
            )
        return probability_above(self.levels, self.quantiles, at[:, None] if at.ndim else at)

    def sample(self, count: int, seed: int = 0) -> FloatArray:
        """Draw `count` futures of every series, (count, n, H), each step distributed as forecast.

        Steps of one future belong together as those of a random walk do (their ranks correlate by sqrt(h / k) for
        steps h < k), which is how far errors of traffic run; series are drawn apart. The same seed draws the same.
        """
        if not (is_whole(count) and count >= 1):
            raise SettingError(f"sample({count!r}): give the number of futures to draw, 1 or more")
        n, horizon = self.mean.shape
        walk = np.random.default_rng(seed).standard_normal((count, n, horizon)).cumsum(axis=-1)
        ranks = ndtr(walk / np.sqrt(np.arange(1, horizon + 1)))
        every = np.broadcast_to(self.quantiles, (count, *self.quantiles.shape))
        return quantiles_at(self.levels, every, np.clip(ranks, _LEAST_RANK, 1.0 - _LEAST_RANK))

    def select(self, names: Iterable[str]) -> Forecast:
        """Give the forecast of the series `names`, in that order; raises UnknownSeries."""
        wanted = tuple(names)
        rows = rows_of(wanted, self.names)
        return Forecast(wanted, self.step_s, self.levels, self.mean[rows], self.quantiles[rows], self.cold[rows])


def as_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Give `levels` as floats; raises SettingError when they are not at least two ascending ones in (0, 1)."""
    given = tuple(levels) if np.iterable(levels) else ()
    numbers = all(is_number(level) for level in given)
    if len(given) < 2 or not numbers or not all(low < high for low, high in pairwise((0.0, *given, 1.0))):
        raise SettingError(f"levels {levels!r}: give at least two ascending quantile levels between 0 and 1")
    return tuple(float(level) for level in given)
