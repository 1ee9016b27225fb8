"""What a back-test keeps of forecasts, the plain intervals of last value, and the scores of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecasting import scores
from forecasting.errors import SettingError
from forecasting.forecast import Forecast
from forecasting.members.logs import filled_forward
from forecasting.panel import BoolArray, FloatArray

INTERVALS = (0.5, 0.8, 0.9, 0.95)
"""The central intervals whose coverage is measured."""

SCORED_LEVELS = (0.025, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.975)
"""The quantiles that are kept and scored; give them to the forecaster, or they are read between its own."""

# The newest changes in training that last value has its intervals from; more tell no more about 0.025.
_CHANGES_KEPT = 8192

_WINKLER_LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Issued:
    """Forecasts made at O origins: `mean` (n, O, H) and `quantiles` (n, O, H, 15) of SCORED_LEVELS."""

    mean: FloatArray
    quantiles: FloatArray

    @classmethod
    def empty(cls, n_series: int, origins: int, horizon: int) -> Issued:
        """Make room for forecasts that are put in later."""
        shape = (n_series, origins, horizon)
        return cls(np.full(shape, np.nan), np.full((*shape, len(SCORED_LEVELS)), np.nan))

    def put(self, index: int, forecast: Forecast) -> None:
        """Keep `forecast` as that of the origin `index`; steps beyond the horizon kept are dropped."""
        steps = self.mean.shape[2]
        self.mean[:, index] = forecast.mean[:, :steps]
        for place, level in enumerate(SCORED_LEVELS):
            self.quantiles[:, index, :, place] = forecast.quantile(level)[:, :steps]

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Give the ends (n, O, H) of a central interval whose quantiles are kept; SettingError for others."""
        ends = [round(0.5 + side * level / 2, 6) for side in (-1, 1)]
        if not set(ends) <= set(SCORED_LEVELS):
            raise SettingError(f"interval({level}): {ends} are not both among {SCORED_LEVELS}; choose another")
        low, high = (self.quantiles[..., SCORED_LEVELS.index(end)] for end in ends)
        return low, high


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of each series and step ahead, (n, H); `forecasting.scores` says what each is.

    `winkler95` and `pinball` are over the mean of what came true, as NMAE and NRMSE are, so that series compare.
    `coverage` has one array for each of INTERVALS; `worst_day` is the coverage at 95 % in the worst day (n, H) and
    `worst_day_pooled` (1, H) the same of all series together; `below` (n, H, 15) is how often what came true was
    at or below each quantile.
    """

    mase: FloatArray
    nmae: FloatArray
    nrmse: FloatArray
    winkler95: FloatArray
    pinball: FloatArray
    coverage: dict[float, FloatArray]
    worst_day: FloatArray
    worst_day_pooled: FloatArray
    below: FloatArray

    def medians(self) -> dict[str, FloatArray]:
        """Give the median over series (H,) of every score, by name: 'mase', ..., 'coverage_80', 'worst_day'."""
        plain = {name: getattr(self, name) for name in ("mase", "nmae", "nrmse", "winkler95", "pinball")}
        covered = {f"coverage_{100 * level:g}": share for level, share in self.coverage.items()}
        worst = {"worst_day": self.worst_day, "worst_day_pooled": self.worst_day_pooled}
        return {name: scores.median_over_series(score) for name, score in (plain | covered | worst).items()}


def evaluate(actual: FloatArray, issued: Issued, training: FloatArray, window: int) -> Scores:
    """Score `issued` against `actual` (n, O, H); `training` (n, T) scales MASE, `window` origins make a day."""
    # The square of a huge number is infinite, and so is its error.
    with np.errstate(over="ignore", invalid="ignore"):
        return _scores(actual, issued, training, window)


def _scores(actual: FloatArray, issued: Issued, training: FloatArray, window: int) -> Scores:
    size = scores.mean_size(actual)
    low, high = issued.interval(_WINKLER_LEVEL)
    return Scores(
        mase=scores.mase(actual, issued.mean, scores.mase_scale(training)),
        nmae=scores.nmae(actual, issued.mean),
        nrmse=scores.nrmse(actual, issued.mean),
        winkler95=scores.winkler(actual, low, high, _WINKLER_LEVEL) / size,
        pinball=scores.pinball(actual, issued.quantiles, SCORED_LEVELS) / size,
        coverage={level: scores.coverage(actual, *issued.interval(level)) for level in INTERVALS},
        worst_day=scores.worst_window_coverage(actual, low, high, window),
        worst_day_pooled=scores.worst_window_coverage(actual, low, high, window, pooled=True),
        below=scores.share_below(actual, issued.quantiles),
    )


class LastValueIntervals:
    """Last value with the plainest intervals there are: quantiles of its changes over so many steps in training.

    They never move. A series without two samples that far apart has none: its interval is its last value.
    """

    def __init__(self, training: FloatArray, horizon: int) -> None:
        kept = training[:, -(_CHANGES_KEPT + horizon) :]
        n, points = kept.shape
        self._horizon = horizon
        self._negative: BoolArray = np.asarray((training < 0).any(axis=1))
        self._offsets = np.zeros((n, horizon, len(SCORED_LEVELS)))
        for ahead in range(1, min(horizon, points - 1) + 1):
            changes = np.sort(kept[:, ahead:] - kept[:, :-ahead], axis=1)
            self._offsets[:, ahead - 1] = _quantiles_of_sorted(changes)

    def issue(self, values: FloatArray, origins: npt.NDArray[np.int64]) -> Issued:
        """Give what last value forecasts of `values` (n, T) at `origins` (O,)."""
        # Before its first sample a series is forecast as 0.
        last = np.nan_to_num(filled_forward(values))[:, origins]
        mean = np.repeat(last[:, :, None], self._horizon, axis=2)
        quantiles = mean[..., None] + self._offsets[:, None]
        quantiles = np.where(self._negative[:, None, None, None], quantiles, np.maximum(quantiles, 0.0))
        return Issued(mean, quantiles)


def _quantiles_of_sorted(ordered: FloatArray) -> FloatArray:
    """Quantiles (n, levels) of rows sorted with their NaN last; 0 for rows of NaN."""
    known = np.count_nonzero(np.isfinite(ordered), axis=1)[:, None]
    # Position p (n + 1) among n ordered changes holds a share p of the next ones, for any distribution.
    place = np.clip(np.asarray(SCORED_LEVELS) * (known + 1) - 1.0, 0.0, np.maximum(known - 1, 0))
    low = place.astype(np.int64)
    share = place - low
    high = np.minimum(low + 1, np.maximum(known - 1, 0))
    mixed = (1.0 - share) * np.take_along_axis(ordered, low, axis=1)
    mixed += share * np.take_along_axis(ordered, high, axis=1)
    return np.where(known > 0, mixed, 0.0)
