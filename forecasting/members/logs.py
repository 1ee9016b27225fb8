"""Series on a scale where forecasts err evenly: logarithms of what is never negative, else units of the mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.panel import FloatArray

# Added to a series of mean 1 before its logarithm: a link that idles at a fiftieth of its mean is as good as
# empty, and whether it is a thousandth or nothing tells nothing about the next hour.
_OFFSET = 0.02

# exp of more than this is no traffic any more; far from where numbers overflow.
_LARGEST_LOG = 50.0


@dataclass(frozen=True, eq=False)
class Scale:
    """z = log(y / unit + offset) where `offset` (n,) is above 0, else y / unit; `unit` (n,) is above 0."""

    unit: FloatArray
    offset: FloatArray

    def forward(self, values: FloatArray) -> FloatArray:
        """Give z for values (n, ...); NaN stays NaN."""
        unit, offset = self._like(values)
        with np.errstate(over="ignore"):
            level = np.clip(values / unit, -1e30, 1e30)
        shifted = np.maximum(level + offset, 1e-3 * _OFFSET)
        return np.where(offset > 0, np.log(shifted), level)

    def backward(self, z: FloatArray) -> FloatArray:
        """Give the values that z (n, ...) stands for: no logarithm leads below 0."""
        unit, offset = self._like(z)
        logs = np.maximum(np.exp(np.clip(z, -_LARGEST_LOG, _LARGEST_LOG)) - offset, 0.0)
        with np.errstate(over="ignore"):
            answer: FloatArray = np.nan_to_num(np.where(offset > 0, logs, z) * unit, nan=np.nan)
        return answer

    def _like(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        shape = (-1,) + (1,) * (values.ndim - 1)
        return self.unit.reshape(shape), self.offset.reshape(shape)


def find_scale(values: FloatArray) -> Scale:
    """Find the scale of each row of `values` (n, T): logarithms unless it was ever negative, or is all zero."""
    known = np.isfinite(values)
    count = np.maximum(np.count_nonzero(known, axis=1), 1)
    largest = np.max(np.abs(values), axis=1, initial=0.0, where=known)
    # Divided by the largest first: a sum of huge samples overflows.
    shares = np.where(known, values, 0.0) / np.where(largest > 0, largest, 1.0)[:, None]
    mean = np.abs(shares).sum(axis=1) / count * largest
    positive = (np.min(values, axis=1, initial=0.0, where=known) >= 0) & (mean > 0)
    return Scale(np.where(mean > 0, mean, 1.0), np.where(positive, _OFFSET, 0.0))


def filled_forward(values: FloatArray) -> FloatArray:
    """Put the last known sample of a row where one is missing; NaN before the first."""
    last = np.where(np.isfinite(values), np.arange(values.shape[-1]), 0)
    return np.take_along_axis(values, np.maximum.accumulate(last, axis=-1), axis=-1)
