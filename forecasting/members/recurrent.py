"""LSTM and GRU: one small network for all series, moved on and read here in numpy; `training` fits it.

The network sees each series in units of how much it moved of late, and answers with quantiles of the change from
the last value in that unit, so that it also fits series it was never trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forecasting.members.member import Sample
from forecasting.members.recurrent_inputs import Arrays, FloatArray32, Inputs, Plan, events_of, knots_of
from forecasting.panel import BoolArray, FloatArray, Panel
from forecasting.settings import Settings

SHARED = True

# The quantiles the network is trained on; the median and those of `spread` by their place.
LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
MEDIAN, LOW, HIGH = 3, 1, 5

# No knot is further ahead than this part of the panel that the network learns from.
_SHARE_AHEAD = 3

# A profile needs a day to form and another to learn what it is worth.
_DAYS_FOR_PROFILE = 2.0

# With less than this the network learns the week it saw by heart: told the time of the day, its errors an hour
# ahead on days it had not seen were 1 to 3 % larger.
_DAYS_FOR_CLOCK, _WEEKS_FOR_CLOCK = 14.0, 4.0

# No spread is zero; this is below any unit in use.
_LEAST_SPREAD = 1e-30

# Answers beyond this are outliers; the network was never trained to give them.
_LARGEST_ANSWER = 20.0


@dataclass(frozen=True)
class Kind:
    """A member by its name; NAME, SHARED, `fit` and `start` are those of a module of one member."""

    NAME: str
    SHARED: bool = True

    def fit(self, panel: Panel, settings: Settings, threads: int = 1) -> Arrays:
        """Train one network for all series of `panel`; with too little data the arrays hold none.

        Raises NeuralMissing.
        """
        return fit(self.NAME, panel, settings, threads)

    def start(self, arrays: Mapping[str, npt.NDArray[Any]], settings: Settings) -> Recurrent:
        """Make the member that goes with the arrays."""
        return Recurrent(arrays, settings)


LSTM, GRU = Kind("lstm"), Kind("gru")


def fit(name: str, panel: Panel, settings: Settings, threads: int = 1) -> Arrays:
    """Train the member `name` on `panel`; see Kind.fit."""
    # Only who trains needs the code for it.
    from forecasting.training import LEAST_POINTS, chosen_part, lessons_of, train

    points = panel.times.size
    rows, newest = chosen_part(panel.values, settings.seed)
    columns = columns_of(panel, rows, newest)
    plan = plan_for(points, columns.shape[2], settings)
    arrays: Arrays = {"kind": np.array(name), **plan.as_arrays()}
    if rows.size and points >= LEAST_POINTS + int(plan.knots[-1]):
        lessons = lessons_of(panel.times[newest], panel.values[rows, newest], columns, plan, settings)
        if np.isfinite(lessons.changes).any():
            return {**arrays, **train(name, lessons, settings.seed, threads)}
    return {**arrays, **without_network()}


def without_network() -> Arrays:
    """Give the arrays of no network at all."""
    return {name: np.zeros((0, 0) if name.endswith("bias") else (0, 0, 0), dtype=np.float32) for name in WEIGHTS}


def plan_for(points: int, columns: int, settings: Settings) -> Plan:
    """Choose the inputs for a panel of so many points; under two days there is no daily one."""
    calendar = settings.calendar
    kinds = calendar.kinds
    counts = [events_of(calendar, kind, np.zeros(1), settings.step_s).shape[1] for kind in kinds]
    # A day has to be seen twice: a profile is of the days before.
    daily = calendar.day_s is not None and points * settings.step_s >= _DAYS_FOR_PROFILE * calendar.day_s
    span_s = points * settings.step_s
    clock = sum(
        s is not None and span_s >= days * s
        for days, s in ((_DAYS_FOR_CLOCK, calendar.day_s), (_WEEKS_FOR_CLOCK, calendar.week_s))
    )
    # Of what lies further ahead too little is seen; those answers are those of the last knot.
    reach = max(1, min(settings.horizon, points // _SHARE_AHEAD))
    return Plan(knots_of(reach), daily, clock, columns, kinds, tuple(counts))


def columns_of(panel: Panel, rows: npt.NDArray[np.int64], part: slice) -> FloatArray:
    """Give the columns of some series and times of a panel, (n, T, c), in the order they have there."""
    found = [np.broadcast_to(column, panel.values.shape)[rows, part] for column in panel.columns.values()]
    return np.stack(found, axis=-1) if found else np.zeros((*panel.values[rows, part].shape, 0))


class Recurrent:
    """A fitted network moved on with the samples of n series (Hochreiter and Schmidhuber, 1997; Cho et al., 2014).

    Answers of several networks, which differ by their seed only, are averaged. Without a network, when there was
    too little to fit one, the forecast is the last value.
    """

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]], settings: Settings) -> None:
        self._settings, self._plan = settings, Plan.from_arrays(arrays)
        self._cell = _gru_step if str(arrays["kind"]) == "gru" else _lstm_step
        self._weights = {name: arrays[name].astype(np.float32) for name in WEIGHTS}
        self._inputs: Inputs | None = None
        self._seen: FloatArray32 = np.zeros((0, 0), dtype=np.float32)
        self._state: tuple[FloatArray32, FloatArray32] = (self._seen, self._seen)
        self._answer: FloatArray | None = None

    def step(self, sample: Sample) -> None:
        """Take the samples of one time."""
        n = sample.values.size
        nets, units = self._weights["state_weight"].shape[:2]
        if self._inputs is None:
            self._inputs = Inputs(n, self._plan, self._settings)
            zeros = np.zeros((nets, n, units), dtype=np.float32)
            self._state = (zeros, zeros)
        self._seen = self._inputs.step(sample.time_s, sample.values, sample.columns).astype(np.float32)
        self._answer = None
        if nets:
            self._state = self._cell(self._seen, *self._state, self._weights)

    def forget(self, series: BoolArray) -> None:
        """Begin anew with the next sample of `series` (n,)."""
        if self._inputs is not None:
            self._inputs.forget(series)
            hidden, cell = (np.where(series[:, None], np.float32(0.0), part) for part in self._state)
            self._state = (hidden, cell)

    def forecast(self, times: FloatArray) -> FloatArray:
        """Give the medians (n, H)."""
        base, unit = self._base_and_unit(times.size)
        with np.errstate(over="ignore", invalid="ignore"):
            ahead = base + unit * self._answers(times.size)[:, :, MEDIAN]
        # Beyond what a float holds only the last value is left.
        return np.where(np.isfinite(ahead), ahead, base)

    def spread(self, times: FloatArray) -> FloatArray:
        """Give half the width between the quantiles 0.1 and 0.9, (n, H), above 0."""
        answers = self._answers(times.size)
        _, unit = self._base_and_unit(times.size)
        with np.errstate(over="ignore"):
            half = 0.5 * unit * (answers[:, :, HIGH] - answers[:, :, LOW])
        return np.nan_to_num(np.maximum(half, _LEAST_SPREAD), nan=_LEAST_SPREAD)

    def _base_and_unit(self, horizon: int) -> tuple[FloatArray, FloatArray]:
        if self._inputs is None:
            return np.zeros((0, 1)), np.zeros((0, horizon))
        root = np.sqrt(np.arange(1, horizon + 1, dtype=np.float64))
        return self._inputs.base[:, None], self._inputs.scale[:, None] * root

    def _answers(self, horizon: int) -> FloatArray:
        """Give the quantiles (n, H, levels) of the change, in scales times the square root of the step."""
        if self._inputs is None:
            return np.zeros((0, horizon, len(LEVELS)))
        if self._answer is None or self._answer.shape[1] != horizon:
            knots = self._plan.knots
            nets, n, levels = self._state[0].shape[0], self._seen.shape[0], len(LEVELS)
            if nets:
                w = self._weights
                raw = self._state[0] @ w["head_state"] + self._seen @ w["head_input"] + w["head_bias"][:, None]
                known = ordered(raw.reshape(nets, n, knots.size, levels)).mean(axis=0).astype(np.float64)
            else:
                known = np.tile(WITHOUT_NETWORK, (n, knots.size, 1))
            self._answer = np.clip(between_knots(knots, horizon) @ known, -_LARGEST_ANSWER, _LARGEST_ANSWER)
        return self._answer


# The arrays of a network, each with an axis of networks in front. k inputs, u units, g gates times u.
WEIGHTS = (
    "input_weight",  # k, g
    "input_bias",  # g
    "state_weight",  # u, g
    "state_bias",  # g
    "head_state",  # u, knots * levels
    "head_input",  # k, knots * levels
    "head_bias",  # knots * levels
)

# The quantiles of the change when there is no network: those of a Laplace distribution of mean absolute value 1.
WITHOUT_NETWORK = np.array([-3.0, -1.6, -0.7, 0.0, 0.7, 1.6, 3.0])


def between_knots(knots: npt.NDArray[np.int64], horizon: int) -> FloatArray:
    """Give the matrix (H, knots) that interpolates answers at knots, level beyond the last one."""
    steps = np.arange(1, horizon + 1)
    return np.stack([np.interp(steps, knots, row) for row in np.eye(knots.size)], axis=1)


def ordered(raw: FloatArray32) -> FloatArray32:
    """Turn what the head gives (..., levels) into quantiles: the median, and gaps above 0 on either side."""
    gaps = np.logaddexp(raw, np.float32(0.0))
    median = raw[..., MEDIAN : MEDIAN + 1]
    above = median + np.cumsum(gaps[..., MEDIAN + 1 :], axis=-1)
    below = median - np.cumsum(gaps[..., MEDIAN - 1 :: -1], axis=-1)[..., ::-1]
    return np.concatenate([below, median, above], axis=-1)


def _sigmoid(x: FloatArray32) -> FloatArray32:
    # This form never overflows.
    answer: FloatArray32 = np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * x)
    return answer


def _lstm_step(
    seen: FloatArray32, hidden: FloatArray32, cell: FloatArray32, w: Mapping[str, FloatArray32]
) -> tuple[FloatArray32, FloatArray32]:
    # Gates in the order input, forget, cell, output.
    gates = seen @ w["input_weight"] + hidden @ w["state_weight"] + (w["input_bias"] + w["state_bias"])[:, None]
    taken, kept, new, out = np.split(gates, 4, axis=-1)
    cell = _sigmoid(kept) * cell + _sigmoid(taken) * np.tanh(new)
    return _sigmoid(out) * np.tanh(cell), cell


def _gru_step(
    seen: FloatArray32, hidden: FloatArray32, cell: FloatArray32, w: Mapping[str, FloatArray32]
) -> tuple[FloatArray32, FloatArray32]:
    # Gates in the order reset, update, new; the reset acts on the product with the state.
    reset, update, new = np.split(seen @ w["input_weight"] + w["input_bias"][:, None], 3, axis=-1)
    reset_h, update_h, new_h = np.split(hidden @ w["state_weight"] + w["state_bias"][:, None], 3, axis=-1)
    kept = _sigmoid(update + update_h)
    new = np.tanh(new + _sigmoid(reset + reset_h) * new_h)
    return new + kept * (hidden - new), cell
