"""Which member is good for what: the error of each alone beside last value's, and what the blend makes of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.foreseeing.data import DataSet
from benchmarks.support.figure import MeasurementFailed, note
from forecasting import ForecastingError, Settings
from forecasting.backtest import cut
from forecasting.members import Sample, kind
from forecasting.panel import FloatArray
from forecasting.parameters import fit_members
from forecasting.scores import median_over_series, nmae

# The state of every member is found from so many samples.
_PLAYED = 4096


def member_errors(found: DataSet, members: tuple[str, ...], steps: tuple[int, ...]) -> Mapping[str, FloatArray]:
    """Give each member's median error over that of last value at `steps`, fitted to the training part."""
    origins = np.arange(found.training - 1, found.panel.times.size - found.horizon, found.every)
    at = np.asarray(steps)
    actual = found.panel.values[:, origins[:, None] + at]
    errors = {name: nmae(actual, _forecasts(found, name, origins, at)) for name in ("last", *members)}
    return {name: median_over_series(error / errors["last"]) for name, error in errors.items() if name != "last"}


def say_members(found: DataSet, blend: FloatArray, members: tuple[str, ...], steps: tuple[int, ...]) -> float:
    """Write the errors of all, `blend` (len(steps),) among them; how far the blend is above the best, at most."""
    errors = member_errors(found, members, steps)
    for index, step in enumerate(steps):
        alone = " ".join(f"{name}={error[index]:.3f}" for name, error in errors.items())
        note(f"{found.name}: h={step} error to last: {alone} blend={blend[index]:.3f}")
    best = np.min([np.ones(len(steps)), *errors.values()], axis=0)
    return float((blend / best).max())


def _forecasts(
    found: DataSet, name: str, origins: np.ndarray[tuple[int, ...], np.dtype[np.int64]], at: FloatArray
) -> FloatArray:
    """The forecasts of one member (n, O, len(at))."""
    panel, settings = found.panel, Settings(found.horizon, found.panel.step_s, found.calendar)
    try:
        arrays = fit_members(cut(panel, 0, found.training), settings, (name,))[name]
    except ForecastingError as error:
        raise MeasurementFailed(str(error)) from error
    member = kind(name).start(arrays, settings)
    ahead = panel.step_s * np.arange(1, found.horizon + 1)
    columns = np.zeros((len(panel.names), 0))
    answer = np.zeros((len(panel.names), origins.size, at.size))
    last = np.zeros(len(panel.names))
    place = {int(origin): index for index, origin in enumerate(origins)}
    for now in range(max(0, found.training - _PLAYED), int(origins[-1]) + 1):
        values = panel.values[:, now]
        last = np.where(np.isfinite(values), values, last)
        member.step(Sample(float(panel.times[now]), values, columns))
        if now in place:
            said = member.forecast(panel.times[now] + ahead)[:, at - 1]
            answer[:, place[now]] = np.where(np.isfinite(said), said, last[:, None])
    return answer
