"""The stream: samples go in one time after the other, each scores the forecasts made for it and makes new ones."""

from __future__ import annotations

import numpy as np

from forecasting.blend import Blend
from forecasting.forecast import Forecast
from forecasting.intervals import Intervals
from forecasting.members import Sarimax, make_members
from forecasting.panel import FloatArray
from forecasting.parameters import Parameters

# The row of the forecasts that were used, behind those of the members and of their blend.
_USED = -1


class Stream:
    """Members, blend and intervals of n series, moved on together; nothing in it is ever refitted.

    Replaying history through it is the back-test: a forecast only knows what was before it, apart from the fitted
    parameters, whose `optimism` makes up for that.
    """

    def __init__(self, parameters: Parameters, horizon: int, step_s: float, levels: tuple[float, ...]) -> None:
        n = len(parameters.names)
        self._parameters, self._horizon, self._step_s, self._levels = parameters, horizon, step_s, levels
        self._members = make_members(parameters)
        self._blend = Blend(len(self._members), n, horizon)
        self._intervals = Intervals(n, horizon, levels)
        self._steps_ahead = step_s * np.arange(1, horizon + 1, dtype=np.float64)
        # What was forecast at each of the last `horizon` times: members, blend, what was used; and its scale.
        self._issued = np.full((horizon, len(self._members) + 2, n, horizon), np.nan)
        self._issued_scale = np.ones((horizon, n))
        self._taken = 0
        self._ever_negative = np.zeros(n, dtype=np.bool_)
        self._used = np.full((n, horizon), np.nan)
        # Rows are members, blend, used; only SARIMAX may be judged on samples it was fitted to.
        self._optimism = np.ones((len(self._members) + 2, n, 1))
        self._optimism[[isinstance(member, Sarimax) for member in self._members] + [False, False]] = (
            parameters.optimism[:, None]
        )

    def step(self, time_s: float, values: FloatArray) -> None:
        """Take the samples (n,) of `time_s`, one step after the last, NaN where one is missing."""
        ahead = np.arange(self._horizon)
        # The forecast for now was made 1, 2, ... steps ago, and is its first, second, ... step.
        slot = (self._taken - 1 - ahead) % self._horizon
        errors = (values[None, :, None] - self._issued[slot, :, :, ahead].transpose(1, 2, 0)) * self._optimism
        self._blend.record(errors[:_USED])
        jumped = self._intervals.record(values, errors[_USED], self._issued_scale[slot].T)
        # A jump is one event: the spread is not stretched once more by every forecast that was made before it.
        self._issued[:, _USED, jumped] = np.nan
        self._ever_negative |= values < 0
        for member in self._members:
            member.step(time_s, values)
        self._issue(time_s)

    def _issue(self, time_s: float) -> None:
        times = time_s + self._steps_ahead
        forecasts = np.stack([member.forecast(times) for member in self._members])
        blended, used = self._blend.combine(forecasts)
        self._used = np.where(self._ever_negative[:, None], used, np.maximum(used, 0.0))
        slot = self._taken % self._horizon
        self._issued[slot] = np.concatenate([forecasts, blended[None], self._used[None]])
        self._issued_scale[slot] = self._intervals.scale()
        self._taken += 1

    def forecast(self) -> Forecast:
        """Give the forecast made at the newest sample."""
        mean = np.nan_to_num(self._used)
        quantiles = mean[:, :, None] + self._intervals.offsets()
        quantiles = np.where(self._ever_negative[:, None, None], quantiles, np.maximum(quantiles, 0.0))
        return Forecast(
            self._parameters.names, self._step_s, self._levels, mean, quantiles, self._intervals.cold.copy()
        )
