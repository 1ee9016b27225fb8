"""The newest samples of every series, on their clock, in bounded memory."""

from __future__ import annotations

import numpy as np

from forecasting.errors import PanelError
from forecasting.panel import FloatArray, Panel, check_values

KEPT_POINTS = 4096


class History:
    """At most KEPT_POINTS points of n series; gaps in the clock become NaN."""

    def __init__(self, panel: Panel) -> None:
        newest = panel.tail(KEPT_POINTS)
        self._names, self._step_s = panel.names, panel.step_s
        self._newest_s = float(newest.times[-1])
        # Twice the room: the kept points move to the front once for every KEPT_POINTS samples, not for each.
        self._values = np.empty((len(panel.names), 2 * KEPT_POINTS))
        self._end = newest.times.size
        self._values[:, : self._end] = newest.values

    def tail(self, n: int) -> Panel:
        """Give the newest `n` points kept."""
        points = min(n, self._end, KEPT_POINTS)
        times = self._newest_s - self._step_s * np.arange(points - 1, -1, -1, dtype=np.float64)
        return Panel(times, self._values[:, self._end - points : self._end].copy(), self._names, self._step_s)

    def append(self, times: FloatArray, values: FloatArray) -> int:
        """Put samples (n, k) of `times` (k,) behind the newest tick and say how many ticks that was.

        Samples go to the nearest tick; those for ticks already taken are dropped. Raises PanelError.
        """
        if times.ndim != 1 or values.shape != (len(self._names), times.size):
            raise PanelError(
                f"update: values of shape {values.shape} for {times.size} times; give ({len(self._names)}, k), "
                "a row for each series in the order of the panel"
            )
        if not np.isfinite(times).all():
            raise PanelError("update: times holds NaN or infinities; give seconds")
        check_values(values)
        ticks = np.rint((times - self._newest_s) / self._step_s).astype(np.int64)
        new = int(max(ticks.max(initial=0), 0))
        kept = min(new, KEPT_POINTS)
        columns = np.full((len(self._names), kept), np.nan)
        for index, tick in enumerate(ticks):
            place = int(tick) - 1 - (new - kept)
            if tick > 0 and place >= 0:
                columns[:, place] = values[:, index]
        self._push(columns)
        self._newest_s += self._step_s * new
        return new

    def _push(self, columns: FloatArray) -> None:
        count = columns.shape[1]
        if self._end + count > self._values.shape[1]:
            held = min(self._end, KEPT_POINTS)
            self._values[:, :held] = self._values[:, self._end - held : self._end].copy()
            self._end = held
        self._values[:, self._end : self._end + count] = columns
        self._end += count
