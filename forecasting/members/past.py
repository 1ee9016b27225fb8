"""The newest samples of every series, to look back a day or a week in a stream."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forecasting.panel import BoolArray, FloatArray

# A season of more steps is none: of 4,096 points that are held little would be seen of it, and a ring of a week of
# seconds takes 2.4 MB a series. This is a week of minutes.
_LONGEST_SEASON = 10_080


class Past:
    """A ring of the newest `length` ticks of n series; a tick that was left out counts as missing.

    Single precision: it is only read for differences, and a week of thousands of series is large.
    """

    def __init__(self, length: int, step_s: float) -> None:
        self._length, self._step_s = length, step_s
        self._ring: npt.NDArray[np.float32] = np.full((0, length), np.nan, dtype=np.float32)
        self._level_since = np.zeros(0, dtype=np.int64)
        self._newest_s, self._tick = 0.0, -1

    def push(self, time_s: float, values: FloatArray) -> None:
        """Take the values (n,) of `time_s`, NaN where missing."""
        if self._tick < 0:
            self._ring = np.full((values.size, self._length), np.nan, dtype=np.float32)
            self._level_since = np.zeros(values.size, dtype=np.int64)
            moved = 1
        else:
            moved = max(1, round((time_s - self._newest_s) / self._step_s))
        if moved > 1:
            left_out = self._tick + 1 + np.arange(min(moved - 1, self._length))
            self._ring[:, left_out % self._length] = np.nan
        self._tick += moved
        self._newest_s = time_s
        self._ring[:, self._tick % self._length] = values

    def forget(self, series: BoolArray) -> None:
        """Take the samples of `series` (n,) so far as those of another level."""
        self._level_since[series] = self._tick + 1

    def level_ago(self, steps: npt.NDArray[np.int64]) -> FloatArray:
        """Give the same as `ago`, NaN also where a series had another level then."""
        found = self.ago(steps)
        found[self._tick - steps < self._level_since[:, None]] = np.nan
        return found

    def ago(self, steps: npt.NDArray[np.int64]) -> FloatArray:
        """Give what was `steps` (k,) ticks before the newest: (n, k), NaN where missing or out of reach."""
        found = self._ring[:, (self._tick - steps) % self._length].astype(np.float64)
        found[:, (steps >= self._length) | (steps > self._tick)] = np.nan
        return found


def season_steps(season_s: float | None, step_s: float) -> int:
    """Say how many steps a season has; 0 for none, too few or too many, and where they do not fit to the tick."""
    if season_s is None or season_s > (_LONGEST_SEASON + 0.5) * step_s:
        return 0
    steps = round(season_s / step_s)
    return steps if steps >= 2 and abs(steps * step_s - season_s) < 0.5 * step_s else 0


def same_time_before(ahead: npt.NDArray[np.int64], season: int) -> npt.NDArray[np.int64]:
    """Say how many ticks before now the newest known sample lies that is whole seasons before `ahead` (k,)."""
    return -(-ahead // season) * season - ahead
