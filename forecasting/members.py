"""The members of the pool: each takes one sample of every series at a time and forecasts all series at once."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from forecasting.ewma import ewma_step
from forecasting.harmonics import harmonics
from forecasting.panel import FloatArray
from forecasting.parameters import Parameters


class Member(Protocol):
    """A model that is moved on with samples and does not refit; its forecast is NaN before the first sample."""

    def step(self, time_s: float, values: FloatArray) -> None:
        """Take the samples (n,) of the time `time_s`, NaN where one is missing."""

    def forecast(self, times: FloatArray) -> FloatArray:
        """Forecast the H steps that follow, at `times` (H,): (n, H)."""


class LastValue:
    """What was seen last goes on."""

    def __init__(self, parameters: Parameters) -> None:
        self._level = np.full(len(parameters.names), np.nan)

    def step(self, time_s: float, values: FloatArray) -> None:  # noqa: ARG002 - the clock does not matter here
        """Remember the samples that are there."""
        self._level = np.where(np.isnan(values), self._level, values)

    def forecast(self, times: FloatArray) -> FloatArray:
        """Repeat the last sample."""
        return np.repeat(self._level[:, None], times.size, axis=1)


class Ewma:
    """The recent average goes on."""

    def __init__(self, parameters: Parameters) -> None:
        self._weight = parameters.ewma_weight
        self._level = np.full(len(parameters.names), np.nan)

    def step(self, time_s: float, values: FloatArray) -> None:  # noqa: ARG002 - the clock does not matter here
        """Move the averages on."""
        self._level = ewma_step(self._level, values, self._weight)

    def forecast(self, times: FloatArray) -> FloatArray:
        """Repeat the average."""
        return np.repeat(self._level[:, None], times.size, axis=1)


class Sarimax:
    """ARIMA(2,1,1) around harmonics as a recursion over all series.

    With z the series without its harmonics and d its first difference, the residual is
    e[t] = d[t] - ar1 d[t-1] - ar2 d[t-2] - ma e[t-1], and a forecast puts future residuals to zero (Box and
    Jenkins, Time Series Analysis, ch. 5). Once the first residuals are forgotten this is what the Kalman filter
    gives. A missing sample is filled with its own forecast. Series without a fit have zero coefficients: a random
    walk.
    """

    def __init__(self, parameters: Parameters) -> None:
        n = len(parameters.names)
        self._ar1, self._ar2 = parameters.ar[:, 0].copy(), parameters.ar[:, 1].copy()
        self._ma, self._harmonic, self._season_s = parameters.ma, parameters.harmonic, parameters.season_s
        self._z = np.full(n, np.nan)
        self._d1, self._d2, self._e = np.zeros(n), np.zeros(n), np.zeros(n)

    def step(self, time_s: float, values: FloatArray) -> None:
        """Take the samples of `time_s` (seconds) into the residual recursion."""
        z = values - self._harmonic @ harmonics(np.array([time_s]), self._season_s)[0]
        expected = self._z + self._ar1 * self._d1 + self._ar2 * self._d2 + self._ma * self._e
        missing, first = np.isnan(values), np.isnan(self._z)
        z = np.where(missing, expected, z)
        # Before the first sample `expected` is NaN, and there is neither a difference nor a residual.
        self._e = np.where(missing | first, 0.0, z - expected)
        difference = np.where(first, 0.0, z - self._z)
        self._d1, self._d2, self._z = difference, self._d1, z

    def forecast(self, times: FloatArray) -> FloatArray:
        """Run the recursion on without residuals and put the harmonics back."""
        ahead = np.empty((times.size, self._z.size))
        z, d1, d2, noise = self._z, self._d1, self._d2, self._ma * self._e
        for index in range(times.size):
            difference = self._ar1 * d1 + self._ar2 * d2 + noise
            noise = np.zeros_like(noise)
            z = z + difference
            ahead[index] = z
            d1, d2 = difference, d1
        return ahead.T + self._harmonic @ harmonics(times, self._season_s).T


def make_members(parameters: Parameters) -> tuple[Member, ...]:
    """Make the members that `parameters` are for; last value is always the first of them."""
    kinds: dict[str, type[Ewma] | type[Sarimax]] = {"ewma": Ewma, "sarimax": Sarimax}
    return (LastValue(parameters), *(kinds[name](parameters) for name in parameters.members if name != "last"))
