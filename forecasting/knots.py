"""Knots: the few steps ahead that long forecasts are scored at, and what was said of them till they come true."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forecasting.panel import FloatArray

IntArray = npt.NDArray[np.int64]

# A forecast of a day in steps of five minutes has 288 steps. To keep every one of them until it comes true takes
# the square of that; neighbours far ahead are all but the same, so these many are kept and the rest is between.
MOST_KNOTS = 16


class Knots:
    """Up to MOST_KNOTS steps ahead of a horizon: all of them, or closer ones near and wider apart later.

    `steps` (K,) counts from 1, and the last one is the horizon.
    """

    def __init__(self, horizon: int) -> None:
        self.horizon, self.steps = horizon, _steps(horizon)
        place = np.interp(np.log(np.arange(1, horizon + 1)), np.log(self.steps), np.arange(self.steps.size))
        self._low = np.minimum(place.astype(np.int64), max(self.steps.size - 2, 0))
        self._share = place - self._low
        self._all = self.steps.size == horizon

    @property
    def count(self) -> int:
        """How many knots there are, K."""
        return int(self.steps.size)

    def at(self, values: FloatArray) -> FloatArray:
        """Pick the knots of `values` (..., H): (..., K)."""
        return values if self._all else values[..., self.steps - 1]

    def between(self, values: FloatArray, axis: int = -1) -> FloatArray:
        """Go from knots, along `axis` of `values`, to every step: linear in the logarithm of the step."""
        if self._all:
            return values
        low = np.take(values, self._low, axis=axis)
        high = np.take(values, self._low + 1, axis=axis)
        shape = [1] * values.ndim
        shape[axis] = self.horizon
        share = self._share.reshape(shape)
        answer: FloatArray = low + share * (high - low)
        return answer


def _steps(horizon: int) -> IntArray:
    if horizon <= MOST_KNOTS:
        return np.arange(1, horizon + 1)
    # Near the start of a geometric row several points round to one step.
    points = 2 * MOST_KNOTS
    while True:
        steps = np.unique(np.rint(np.geomspace(1, horizon, points)).astype(np.int64))
        if steps.size <= MOST_KNOTS:
            return steps
        points -= 1


class Pending:
    """What was said about each knot, held until the knot comes true: `rows` numbers a series.

    A knot h steps ahead needs h places, so that the memory goes with the sum of the knots. At each time ask for
    what is `due` first, then `put` what is said now.
    """

    def __init__(self, knots: Knots, rows: int, n_series: int) -> None:
        self._steps = knots.steps
        self._start = np.concatenate([[0], np.cumsum(self._steps)[:-1]])
        self._held = np.full((int(self._steps.sum()), rows, n_series), np.nan)
        self._taken = 0

    def due(self) -> FloatArray:
        """Give what was said about now by forecasts of each knot, (rows, n, K); NaN where nothing was."""
        return np.moveaxis(self._held[self._place()], 0, -1)

    def put(self, said: FloatArray) -> None:
        """Keep what is said now, (rows, n, K), and move on to the next time."""
        self._held[self._place()] = np.moveaxis(said, -1, 0)
        self._taken += 1

    def drop(self, series: npt.NDArray[np.bool_]) -> None:
        """Take back all that was said about `series` (n,)."""
        self._held[:, :, series] = np.nan

    def _place(self) -> IntArray:
        # A ring of h places has at the place of now what was put there h times ago.
        answer: IntArray = self._start + self._taken % self._steps
        return answer
