"""Last value: what was seen last goes on."""

from __future__ import annotations

import numpy as np

from forecasting.members.member import Arrays, Sample
from forecasting.panel import FloatArray, Panel
from forecasting.settings import Settings

SHARED = False


def fit(panel: Panel, settings: Settings) -> Arrays:  # noqa: ARG001 - a fit has these arguments
    """Nothing to find, but how many series there are."""
    return {"level": np.full(len(panel.names), np.nan)}


def start(arrays: Arrays, settings: Settings) -> LastValue:  # noqa: ARG001 - a start has these arguments
    """Begin without a sample."""
    return LastValue(arrays["level"])


class LastValue:
    """The newest sample of each series."""

    def __init__(self, level: FloatArray) -> None:
        self._level = level.copy()

    def step(self, sample: Sample) -> None:
        """Remember the samples that are there."""
        self._level = np.where(np.isnan(sample.values), self._level, sample.values)

    def forecast(self, times: FloatArray) -> FloatArray:
        """Repeat the last sample."""
        return np.repeat(self._level[:, None], times.size, axis=1)
