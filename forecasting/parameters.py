"""What a fit finds: a few numbers for each series, small enough to send from a worker to the controller."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, fields

import numpy as np

from forecasting.errors import SettingError
from forecasting.ewma import DEFAULT_WEIGHT, best_weights
from forecasting.harmonics import PAIRS
from forecasting.panel import FloatArray, Panel
from forecasting.sarimax import FitStatus, SarimaxFit, fit_sarimax, no_fit

MEMBERS = ("last", "ewma", "sarimax")

# Small enough that a pool stays busy to the end, large enough that starting a task costs nothing beside it.
_SERIES_PER_TASK = 16


@dataclass(frozen=True, eq=False)
class Parameters:
    """The fitted numbers of n series: plain arrays, to be pickled between processes.

    `ewma_weight` (n,) is the weight of the newest sample; `ar` (n, 2), `ma` (n,) and `harmonic` (n, 2 * PAIRS) are
    those of `SarimaxFit`, zero where `status` (n,) is not "fitted"; `optimism` (n,) is by how much the errors of
    SARIMAX on the samples it was fitted to are too small.
    """

    names: tuple[str, ...]
    season_s: float | None
    members: tuple[str, ...]
    ewma_weight: FloatArray
    ar: FloatArray
    ma: FloatArray
    harmonic: FloatArray
    optimism: FloatArray
    status: tuple[FitStatus, ...]

    @property
    def fitted(self) -> int:
        """How many series have a SARIMAX model."""
        return self.status.count(FitStatus.FITTED)

    @property
    def failed(self) -> int:
        """How many SARIMAX fits did not converge or were not stationary; those series fall back to last value."""
        return self.status.count(FitStatus.FAILED)

    def aligned(self, names: Sequence[str]) -> Parameters:
        """Give the parameters for `names` in that order; a series that was not fitted gets those of last value."""
        row = {name: index for index, name in enumerate(self.names)}
        # One row more at the end, for the series that are new.
        padded = concatenate([self, unfitted(("",), self.season_s, self.members)])
        rows = [row.get(name, len(self.names)) for name in names]
        return Parameters(
            tuple(names),
            self.season_s,
            self.members,
            **{field: getattr(padded, field)[rows] for field in _ARRAYS},
            status=tuple(padded.status[index] for index in rows),
        )


_ARRAYS = tuple(field.name for field in fields(Parameters) if field.type == "FloatArray")


def unfitted(names: Sequence[str], season_s: float | None, members: Sequence[str]) -> Parameters:
    """Give parameters without a fit: SARIMAX is last value, EWMA has its usual weight."""
    n = len(names)
    return Parameters(
        tuple(names),
        season_s,
        tuple(members),
        ewma_weight=np.full(n, DEFAULT_WEIGHT),
        ar=np.zeros((n, 2)),
        ma=np.zeros(n),
        harmonic=np.zeros((n, 2 * PAIRS)),
        optimism=np.ones(n),
        status=(FitStatus.NOT_ASKED,) * n,
    )


def fit_parameters(panel: Panel, season_s: float | None, horizon: int, members: Sequence[str]) -> Parameters:
    """Fit every series of `panel`; for a worker process, so it is picklable and takes all it needs as arguments.

    `horizon` is in steps, `season_s` in seconds (None: none); `members` as in Forecaster. Raises SettingError.
    """
    check_settings(horizon, season_s, members)
    rows = panel.values
    asked = "sarimax" in members
    fits = [
        fit_sarimax(panel.times, row, panel.step_s, season_s) if asked else no_fit(FitStatus.NOT_ASKED)
        for row in rows
    ]
    return Parameters(
        panel.names,
        season_s,
        tuple(members),
        ewma_weight=best_weights(rows, horizon),
        ar=np.array([fit.ar for fit in fits]).reshape(-1, 2),
        ma=np.array([fit.ma for fit in fits]),
        harmonic=np.array([fit.harmonic for fit in fits]).reshape(-1, 2 * PAIRS),
        optimism=np.array([_optimism(fit) for fit in fits]),
        status=tuple(fit.status for fit in fits),
    )


def _optimism(fit: SarimaxFit) -> float:
    """Say how much larger errors are out of sample (Akaike's final prediction error, (n + k) / (n - k))."""
    n, k = fit.points, fit.coefficients
    return math.sqrt((n + k) / (n - k)) if n > k else 1.0


def fit_in_parts(
    panel: Panel, season_s: float | None, horizon: int, members: Sequence[str], executor: Executor | None
) -> Parameters:
    """Do `fit_parameters` in chunks of series on `executor`, or here when it is None; the result is the same."""
    if executor is None or not panel.names:
        return fit_parameters(panel, season_s, horizon, members)
    parts = [
        panel.select(panel.names[start : start + _SERIES_PER_TASK])
        for start in range(0, len(panel.names), _SERIES_PER_TASK)
    ]
    tasks = [executor.submit(fit_parameters, part, season_s, horizon, tuple(members)) for part in parts]
    return concatenate([task.result() for task in tasks])


def concatenate(parts: Sequence[Parameters]) -> Parameters:
    """Put the parameters of several panels with the same settings after one another."""
    return Parameters(
        tuple(name for part in parts for name in part.names),
        parts[0].season_s,
        parts[0].members,
        **{field: np.concatenate([getattr(part, field) for part in parts]) for field in _ARRAYS},
        status=tuple(status for part in parts for status in part.status),
    )


def check_settings(horizon: int, season_s: float | None, members: Sequence[str]) -> None:
    """Raise SettingError when no forecast can be made with these."""
    if horizon < 1:
        raise SettingError(f"horizon is {horizon}; give the number of steps to forecast, 1 or more")
    if season_s is not None and not (np.isfinite(season_s) and season_s > 0):
        raise SettingError(f"season_s is {season_s}; give the season in seconds, or None for none")
    unknown = sorted(set(members) - set(MEMBERS))
    if unknown or not members:
        raise SettingError(f"members {tuple(members)}: choose from {', '.join(MEMBERS)}")
