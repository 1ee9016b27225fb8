"""Season as a few sines and cosines: the regressors of the SARIMAX member."""

from __future__ import annotations

import numpy as np

from forecasting.panel import FloatArray

PAIRS = 3

# Under two seasons a harmonic cannot be told from a trend.
_SEASONS_NEEDED = 2.0

# A harmonic needs some samples in each of its waves.
_SAMPLES_PER_WAVE = 4.0


def harmonic_pairs(span_s: float, step_s: float, season_s: float | None) -> int:
    """Say how many pairs a history of `span_s` seconds can carry: 0 under two seasons, at most PAIRS."""
    if season_s is None or span_s < _SEASONS_NEEDED * season_s:
        return 0
    return min(PAIRS, int(season_s / (step_s * _SAMPLES_PER_WAVE)))


def harmonics(times: FloatArray, season_s: float | None) -> FloatArray:
    """Give sine and cosine of the first PAIRS harmonics at `times` (T,): (T, 2 * PAIRS), pair by pair."""
    if season_s is None:
        return np.zeros((times.size, 2 * PAIRS))
    # The whole seasons are taken off first: sines of large angles lose digits.
    phase = 2.0 * np.pi * np.mod(times, season_s)[:, None] / season_s * np.arange(1, PAIRS + 1)
    return np.stack([np.sin(phase), np.cos(phase)], axis=-1).reshape(times.size, 2 * PAIRS)
