"""The forecaster: what a caller holds to turn samples into forecasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt

from forecasting.anomalies import Verdict
from forecasting.calendar import Calendar, Event
from forecasting.checks import as_floats, is_whole
from forecasting.errors import NoHistory, SettingError
from forecasting.forecast import DEFAULT_LEVELS, Forecast, as_levels
from forecasting.history import KEPT_POINTS, History
from forecasting.members import MEMBERS, chosen
from forecasting.panel import Panel
from forecasting.parameters import Parameters, Progress, fit_parameters, unfitted
from forecasting.settings import Settings
from forecasting.stream import Stream

# How many of the newest points are forecast and scored after new parameters: enough to settle all that is learnt.
# Of thousands of series fewer: a point of 500 takes 6 ms, and whoever asks is waiting.
REPLAYED = 1024
# Long horizons need more: so many forecasts of the farthest step that do not overlap have to come true.
_HORIZONS_REPLAYED = 8
_LEAST_REPLAYED = 64
_REPLAYED_SERIES = 256

_NOTHING_HELD = "no series yet; give a panel to fit() or load() first"


class Forecaster:
    """Forecasts many series at once, `horizon` steps ahead.

    `levels` are the quantile levels; `members` the models of the pool, last value is always one of them; `events`
    are scheduled ones, known before they begin; `calendar` says how long a day is, which days are holidays, and
    may hold events too; `seed` is for members that learn by chance. After a fit, and whenever the history becomes
    another one, the newest `replayed` points (eight horizons where that is more) are played back to learn how much
    the members and their intervals are worth; of more than 256 series fewer. A point takes 1 ms for one series and
    12 ms for a thousand. Raises SettingError. Not thread-safe: one thread feeds it and asks it.
    """

    def __init__(
        self,
        horizon: int,
        *,
        levels: Sequence[float] = DEFAULT_LEVELS,
        members: Sequence[str] = MEMBERS,
        events: Sequence[Event] = (),
        calendar: Calendar | None = None,
        seed: int = 0,
        replayed: int = REPLAYED,
    ) -> None:
        if not (is_whole(replayed) and replayed >= 1):
            raise SettingError(f"replayed is {replayed!r}; give the number of points to play back, 1 or more")
        known = calendar or Calendar()
        checked = Settings(horizon, 1.0, replace(known, events=(*known.events, *events)), seed)
        self.horizon, self.calendar, self.seed = checked.horizon, checked.calendar, checked.seed
        self.replayed = int(replayed)
        self.levels, self.members = as_levels(levels), chosen(members)
        self._history: History | None = None
        self._parameters: Parameters | None = None
        self._stream: Stream | None = None

    @property
    def parameters(self) -> Parameters:
        """The fitted parameters in use; series that were not fitted have those of last value. Raises NoHistory."""
        if self._parameters is None:
            raise NoHistory(_NOTHING_HELD)
        return self._parameters

    def settings(self, step_s: float) -> Settings:
        """What a fit to samples `step_s` apart has to know."""
        return Settings(self.horizon, step_s, self.calendar, self.seed)

    def history(self) -> Panel:
        """Give the samples held, the newest 4096 points at most; raises NoHistory."""
        return self._known().tail(KEPT_POINTS)

    def load(self, panel: Panel, parameters: Parameters | None = None) -> None:
        """Take `panel` as the history without a fit, with `parameters` that were found before.

        Without them those in use stay with their series, by name; where the step is another now, none do. Columns
        are matched by name too. Raises SettingError for parameters that were fitted for other settings, members or
        columns.
        """
        settings = self.settings(panel.step_s)
        kept = parameters
        if kept is None and self._parameters is not None and self._parameters.settings == settings:
            kept = self._parameters
        if kept is None:
            kept = unfitted(panel.names, settings, self.members, panel.columns)
        self._adopt(History(panel), kept)

    def fit(self, panel: Panel, executor: Executor | None = None, progress: Progress | None = None) -> None:
        """Take `panel` as the history and fit every series to it.

        With an `executor` the fits run there in chunks of series, and this waits for them; with a spawned process
        pool that gives the same result as without. `progress(done, total)` is called after every chunk, and while
        the history is played back. Raises what the executor raises when its workers die. After an error all is as
        it was before.
        """
        told = _Told(progress)
        parameters = fit_parameters(panel, self.settings(panel.step_s), self.members, executor, told.fitted)
        self._adopt(History(panel), parameters, told.played)

    def adopt(self, parameters: Parameters) -> None:
        """Use parameters that `fit_parameters` found elsewhere, and play the history held back through them.

        Series and columns are matched by name. Raises NoHistory, and SettingError as `load` does.
        """
        self._adopt(self._known(), parameters)

    def update(
        self,
        times: npt.ArrayLike,
        values: npt.ArrayLike,
        columns: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Verdict:
        """Move on by samples: `times` (k,) in seconds, `values` (n, k), rows as in the panel, NaN where missing.

        `columns` are (k,) or (n, k), as in the panel. A sample belongs to the nearest tick of the clock, which
        follows the samples slowly. Ticks that were jumped over count as missing; a sample for a tick that was
        taken already is dropped. Raises NoHistory, and PanelError for a wrong shape, for infinities, and after
        twelve updates in a row of which all samples were dropped.

        Gives how surprising the samples of each tick were, arrays of (n, ticks). After a leap of more than
        `replayed` ticks the history is played back anew, and only ticks that got a sample here and were scored in
        that are told of.
        """
        history, parameters, stream = self._known(), self.parameters, self._stream
        taken = history.append(
            np.atleast_1d(as_floats(times, "update: times")),
            as_floats(values, "update: values"),
            {name: as_floats(column, f"update: column {name!r}") for name, column in (columns or {}).items()},
        )
        if stream is None or taken.new > min(self.replayed, KEPT_POINTS):
            replay = self._adopt(history, parameters)
            places = replay.score.shape[1] - 1 - (taken.new - taken.ticks)
            return _put_together(replay, which=places[places >= 0])
        nothing = np.zeros((len(parameters.names), 0))
        verdicts = [Verdict(nothing, nothing.astype(np.bool_), nothing.astype(np.bool_))]
        if taken.new:
            new = history.tail(taken.new).with_columns(parameters.columns)
            verdicts += [stream.play(part) for part in taken.parts(new)]
        return _put_together(*verdicts)

    def predict(self) -> Forecast:
        """Forecast the `horizon` steps after the newest sample; raises NoHistory."""
        if self._stream is None:
            raise NoHistory(_NOTHING_HELD)
        return self._stream.forecast()

    def _known(self) -> History:
        if self._history is None:
            raise NoHistory(_NOTHING_HELD)
        return self._history

    def _adopt(
        self, history: History, parameters: Parameters, progress: Callable[[float], None] | None = None
    ) -> Verdict:
        # All is made before any of it is kept: after an error the forecaster is as it was.
        held = history.tail(KEPT_POINTS)
        parameters.check(self.settings(held.step_s), self.members, held.columns)
        parameters = parameters.aligned(held.names)
        stream = Stream(parameters, self.levels)
        most = max(self.replayed, _HORIZONS_REPLAYED * self.horizon)
        scored = min(most, max(_LEAST_REPLAYED, most * _REPLAYED_SERIES // max(1, len(held.names))))
        verdict = stream.play(held.with_columns(parameters.columns), scored, progress)
        if self._stream is not None:
            # Nobody is called again about what was called about before a refit.
            stream.take_over_alarms(self._stream)
        self._history, self._parameters, self._stream = history, parameters, stream
        return verdict


def _put_together(*verdicts: Verdict, which: npt.NDArray[np.int64] | slice = slice(None)) -> Verdict:
    """Give verdicts (n, k) of times that follow each other as one, of the times `which` among them."""
    return Verdict(
        *(
            np.concatenate([getattr(verdict, field.name) for verdict in verdicts], axis=1)[:, which]
            for field in fields(Verdict)
        )
    )


class _Told:
    """Progress of a fit and of the playing back after it, each of which takes about half of the time."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._parts, self._played = progress, 1, 0

    def fitted(self, done: int, parts: int) -> None:
        self._parts = parts
        if self._progress is not None:
            self._progress(done, 2 * parts)

    def played(self, share: float) -> None:
        now = int(share * self._parts)
        if self._progress is not None and now > self._played:
            self._played = now
            self._progress(self._parts + now, 2 * self._parts)
