"""The blend: how much each member counts, by the errors of the forecasts it gave."""

from __future__ import annotations

import numpy as np

from forecasting.panel import FloatArray

# An outcome counts half after about 140 more.
_MEMORY = 0.995

# Weights go with (1 / error) ** SHARPNESS: members whose errors differ by a tenth count 1 : 2.
_SHARPNESS = 8.0

# After this many outcomes the sharpness is half of what it will be: few errors say little.
_OUTCOMES_FOR_HALF = 20.0


class Blend:
    """Mean absolute errors of the members and of their blend, for each series and step ahead.

    The first member is last value; a blend that does no better than it did is not used.
    """

    def __init__(self, n_members: int, n_series: int, horizon: int) -> None:
        self._errors = np.zeros((n_members + 1, n_series, horizon))
        self._outcomes = np.zeros((n_series, horizon))

    def record(self, errors: FloatArray) -> None:
        """Take in the errors (n_members + 1, n, H) of what was forecast for now, blend last, NaN for none."""
        known = np.isfinite(errors[-1])
        self._errors = np.where(known, _MEMORY * self._errors + np.abs(errors), self._errors)
        self._outcomes = np.where(known, _MEMORY * self._outcomes + 1.0, self._outcomes)

    def combine(self, forecasts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Blend forecasts (n_members, n, H): the blend itself, and what to use (it or last value), each (n, H)."""
        least = self._errors[:-1].min(axis=0)
        sharpness = _SHARPNESS * self._outcomes / (self._outcomes + _OUTCOMES_FOR_HALF)
        # Both are zero for a constant series; then every member counts the same.
        ratio = np.divide(
            least, self._errors[:-1], out=np.ones_like(self._errors[:-1]), where=self._errors[:-1] > 0
        )
        weights = np.exp(sharpness * np.log(np.maximum(ratio, 1e-30)))
        blended = (weights * forecasts).sum(axis=0) / weights.sum(axis=0)
        return blended, np.where(self._errors[-1] <= self._errors[0], blended, forecasts[0])
