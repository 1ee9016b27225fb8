"""The forecaster: what a caller holds to turn samples into forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt

from forecasting.errors import NoHistory
from forecasting.forecast import DEFAULT_LEVELS, Forecast, check_levels
from forecasting.history import KEPT_POINTS, History
from forecasting.panel import Panel
from forecasting.parameters import MEMBERS, Parameters, check_settings, fit_in_parts, unfitted
from forecasting.stream import Stream

# How many points are played back after new parameters: enough to fill the error rings and settle the weights. Of
# thousands of series fewer: a point of 2,000 takes 17 ms, and whoever asks is waiting.
_REPLAYED = 1024
_LEAST_REPLAYED = 64
_REPLAYED_VALUES = 128 * _REPLAYED

_NOTHING_HELD = "no series yet; give a panel to fit() or load() first"


class Forecaster:
    """Forecasts many series at once, `horizon` steps ahead.

    `season_s` is the season in seconds (None: none); `levels` the quantile levels; `members` the models of the
    pool, last value is always one of them; `seed` is for members that learn by chance, none so far. Raises
    SettingError. Not thread-safe: one thread feeds it and asks it.
    """

    def __init__(
        self,
        horizon: int,
        *,
        season_s: float | None = None,
        levels: Sequence[float] = DEFAULT_LEVELS,
        members: Sequence[str] = MEMBERS,
        seed: int = 0,
    ) -> None:
        check_settings(horizon, season_s, members)
        self.horizon, self.season_s = horizon, season_s
        self.levels, self.members, self.seed = tuple(float(level) for level in levels), tuple(members), seed
        check_levels(self.levels)
        self._history: History | None = None
        self._parameters = unfitted((), season_s, self.members)
        self._stream: Stream | None = None

    @property
    def parameters(self) -> Parameters:
        """The fitted parameters in use; series that were not fitted have those of last value."""
        return self._parameters

    def history(self) -> Panel:
        """Give the samples held, the newest 4096 points at most; raises NoHistory."""
        return self._known().tail(KEPT_POINTS)

    def load(self, panel: Panel) -> None:
        """Take `panel` as the history without a fit; parameters adopted before stay with their series, by name."""
        self._adopt(History(panel), self._parameters)

    def fit(self, panel: Panel, executor: Executor | None = None) -> None:
        """Take `panel` as the history and fit every series to it.

        With an `executor` the fits run there in chunks of series, and this waits for them; with a spawned process
        pool that gives the same result as without. Raises what the executor raises when its workers die.
        """
        parameters = fit_in_parts(panel, self.season_s, self.horizon, self.members, executor)
        self._adopt(History(panel), parameters)

    def adopt(self, parameters: Parameters) -> None:
        """Use parameters that `fit_parameters` found elsewhere, and play the history held back through them.

        Series are matched by name. Takes about 0.3 ms for each of the newest 1024 points. Raises NoHistory.
        """
        self._adopt(self._known(), parameters)

    set_parameters = adopt

    def update(self, times: npt.ArrayLike, values: npt.ArrayLike) -> None:
        """Move on by samples: `times` (k,) in seconds, `values` (n, k), rows as in the panel, NaN where missing.

        A sample belongs to the nearest tick of the clock. Ticks that were jumped over count as missing; a sample
        for a tick that was taken already is dropped. Raises PanelError for a wrong shape or infinities, NoHistory.
        """
        history = self._known()
        new = history.append(
            np.atleast_1d(np.asarray(times, dtype=np.float64)), np.asarray(values, dtype=np.float64)
        )
        if new and self._stream is not None and new <= _REPLAYED:
            _play(self._stream, history.tail(new))
        elif new:
            self._adopt(history, self._parameters)

    def predict(self) -> Forecast:
        """Forecast the `horizon` steps after the newest sample; raises NoHistory."""
        if self._stream is None:
            raise NoHistory(_NOTHING_HELD)
        return self._stream.forecast()

    def _known(self) -> History:
        if self._history is None:
            raise NoHistory(_NOTHING_HELD)
        return self._history

    def _adopt(self, history: History, parameters: Parameters) -> None:
        series = len(history.tail(1).names)
        newest = history.tail(min(_REPLAYED, max(_LEAST_REPLAYED, _REPLAYED_VALUES // max(1, series))))
        self._history, self._parameters = history, parameters.aligned(newest.names)
        self._stream = Stream(self._parameters, self.horizon, newest.step_s, self.levels)
        _play(self._stream, newest)


def _play(stream: Stream, panel: Panel) -> None:
    for index, time_s in enumerate(panel.times):
        stream.step(float(time_s), panel.values[:, index])
