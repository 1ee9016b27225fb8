"""What work took, on clocks that are handed in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from forecasting.panel import FloatArray

Clock = Callable[[], float]
"""Gives seconds from some moment on."""


@dataclass(frozen=True)
class Spent:
    """What the work took, in seconds for all series together; NaN where no clock was given.

    `fit_s` is of all fits, `update_s` of one sample (the mean), `predict_s` of one forecast (the mean).
    """

    fit_s: float
    update_s: float
    predict_s: float


class Stopwatch:
    """Adds up what each kind of work took, on two clocks."""

    def __init__(self, cpu_clock: Clock | None, wall_clock: Clock | None) -> None:
        self._clocks = (cpu_clock or _no_clock, wall_clock or _no_clock)
        self._took = {kind: np.zeros(2) for kind in ("fit", "update", "predict")}
        self._times = dict.fromkeys(self._took, 0)

    def on(self, kind: str, times: int = 1) -> _Lap:
        """Measure what is done inside `with`: `times` things of this kind."""
        self._times[kind] += times
        return _Lap(self._clocks, self._took[kind])

    def spent(self) -> tuple[Spent, Spent]:
        """CPU and wall time; a mean of nothing is 0."""
        mean = {kind: self._took[kind] / max(1, self._times[kind]) for kind in ("update", "predict")}
        cpu, wall = (
            Spent(float(self._took["fit"][at]), float(mean["update"][at]), float(mean["predict"][at]))
            for at in (0, 1)
        )
        return cpu, wall


class _Lap:
    def __init__(self, clocks: tuple[Clock, Clock], total: FloatArray) -> None:
        self._clocks, self._total = clocks, total
        self._began = np.zeros(2)

    def __enter__(self) -> None:
        self._began = np.array([clock() for clock in self._clocks])

    def __exit__(self, *_what: object) -> None:
        self._total += np.array([clock() for clock in self._clocks]) - self._began


def _no_clock() -> float:
    return math.nan
