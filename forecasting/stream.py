"""The stream: samples go in one time after the other, each scores the forecasts made for it and makes new ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forecasting.anomalies import Anomalies, Verdict
from forecasting.blend import QuantileBlend
from forecasting.calibration import Calibration
from forecasting.forecast import Forecast
from forecasting.members import Forgetting, Member, Sample, Spreading, kind
from forecasting.panel import FloatArray, Panel
from forecasting.parameters import Parameters


class Stream:
    """Members, blend, calibration and anomalies of n series, moved on together; nothing in it is ever refitted.

    Replaying history through it is the back-test: a forecast only knows what was before it, apart from the fitted
    parameters.
    """

    def __init__(self, parameters: Parameters, levels: tuple[float, ...]) -> None:
        n, settings = len(parameters.names), parameters.settings
        self._names, self._settings, self._levels = parameters.names, settings, levels
        self._members: list[Member] = [
            kind(name).start(arrays, settings) for name, arrays in parameters.arrays.items()
        ]
        self._sure = [member for member in self._members if isinstance(member, Spreading)]
        sure = tuple(index for index, member in enumerate(self._members) if isinstance(member, Spreading))
        self._blend = QuantileBlend(len(self._members), n, settings.horizon, own=sure)
        self._calibration = Calibration(n, settings.horizon, levels, settings.step_s, settings.calendar)
        self._anomalies = Anomalies(n, self._calibration.steps, settings.step_s, settings.calendar)
        self._steps_ahead = settings.step_s * np.arange(1, settings.horizon + 1, dtype=np.float64)
        self._ever_seen, self._ever_negative = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
        self._median = np.zeros((n, settings.horizon))

    def play(
        self, panel: Panel, scored: int | None = None, progress: Callable[[float], None] | None = None
    ) -> Verdict:
        """Take the samples of a panel, one time after the other; only the last `scored` are forecast and scored.

        The first ones let members with a long memory find their state, which is cheap. `progress` is told the
        share that is done. Gives what is said of the samples scored, each array (n, k).
        """
        columns = panel.stacked_columns()
        first_scored = 0 if scored is None else max(0, panel.times.size - scored)
        verdicts = []
        for index, time_s in enumerate(panel.times.tolist()):
            sample = Sample(time_s, panel.values[:, index], columns[:, :, index])
            if index < first_scored:
                self._move_on(sample)
            else:
                verdicts.append(self._step(sample))
            if progress is not None:
                progress((index + 1) / panel.times.size)
        return Verdict.stacked(verdicts)

    def take_over_alarms(self, before: Stream) -> None:
        """Go on calling about the series that `before` had too as it would have, with its thresholds and quiet."""
        old = {name: row for row, name in enumerate(before._names)}
        rows = [row for row, name in enumerate(self._names) if name in old]
        old_rows = [old[self._names[row]] for row in rows]
        self._anomalies.take_over(
            before._anomalies, np.array(rows, dtype=np.intp), np.array(old_rows, dtype=np.intp)
        )

    def _step(self, sample: Sample) -> Verdict:
        values = sample.values
        self._blend.record(values)
        verdict = self._anomalies.record(self._calibration.record(sample.time_s, values))
        if verdict.changed.any():
            # What was forecast from the old level is void, and members that remember it begin at the new one.
            self._blend.forget(verdict.changed)
            self._calibration.forget(verdict.changed)
            for member in self._members:
                if isinstance(member, Forgetting):
                    member.forget(verdict.changed)
        self._move_on(sample)
        self._issue(sample.time_s)
        return verdict

    def _move_on(self, sample: Sample) -> None:
        self._ever_seen |= np.isfinite(sample.values)
        self._ever_negative |= sample.values < 0
        for member in self._members:
            member.step(sample)

    def _issue(self, time_s: float) -> None:
        times = time_s + self._steps_ahead
        medians = np.stack([member.forecast(times) for member in self._members])
        # Before its first sample a series has no forecast; it is taken for 0, and nothing is learnt from that.
        medians = np.where(self._ever_seen[:, None], medians, 0.0)
        # A member that cannot say is last value.
        medians = np.where(np.isfinite(medians), medians, medians[0])
        spreads = np.stack([member.spread(times) for member in self._sure]) if self._sure else None
        median, spread, disagreement = self._blend.combine(self._bounded(medians), spreads)
        self._median = self._bounded(median)
        self._blend.issue(self._calibration.issue(self._median, spread, disagreement))
        if not self._ever_seen.all():
            self._blend.forget(~self._ever_seen)
            self._calibration.forget(~self._ever_seen)

    def _bounded(self, values: FloatArray) -> FloatArray:
        """A series that never was negative will not be; `values` is (..., n, H)."""
        return np.where(self._ever_negative[:, None], values, np.maximum(values, 0.0))

    def forecast(self) -> Forecast:
        """Give the forecast made at the newest sample."""
        quantiles = self._calibration.quantiles()
        quantiles = np.where(self._ever_negative[:, None, None], quantiles, np.maximum(quantiles, 0.0))
        quantiles[~self._ever_seen] = 0.0
        return Forecast(
            self._names,
            self._settings.step_s,
            self._levels,
            self._median.copy(),
            quantiles,
            self._calibration.cold.copy(),
        )
