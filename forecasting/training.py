"""Training of the shared networks in PyTorch (extra `neural`); what comes out needs numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forecasting.errors import ForecastingError
from forecasting.members.recurrent import LEVELS, MEDIAN
from forecasting.members.recurrent_inputs import PROFILE_INPUTS, Inputs, Plan
from forecasting.panel import FloatArray
from forecasting.settings import Settings

# PyTorch is optional, for whoever checks the types too.
Tensor = Any

# Units of a network, and how many networks that differ by their seed only: 48 units gained nothing on days that
# were not trained on, and the mean of two is less a matter of luck.
UNITS, NETWORKS = 32, 2

# Sequences of WINDOW samples, of which the first WARM_UP only bring the state to life and are not scored. Of the
# others every third is: neighbours say nearly the same.
WINDOW, WARM_UP, STRIDE = 96, 24, 3

# The time that training takes is UPDATES of BATCH sequences, however large the panel is.
BATCH, UPDATES = 64, 300
LEARNING_RATE, RISING_UPDATES, WEIGHT_DECAY, LARGEST_GRADIENT = 5e-3, 20, 0.1, 1.0

# Noise on the inputs, whose size is about 1 (Bishop, 1995). A week of data is few days, and these are soon learnt
# by heart: on days not trained on, this took 2 % off the Winkler score an hour ahead. More costs the next step.
NOISE = 0.3

# In this share of the sequences the profile of the day is hidden.
BLIND = 0.4

# Weights are averaged over about 50 updates (Polyak and Juditsky, 1992).
AVERAGING = 0.98

# The newest tenth is held out; training stops when this many looks at it in a row found nothing better.
HELD_OUT, LOOK_EVERY, PATIENCE, MOST_HELD_OUT_SERIES = 0.1, 25, 5, 64

# More series or points than this are not looked at: one model needs no more, and memory stays bounded.
MOST_SERIES, MOST_POINTS = 200, 4096

# With fewer points in front of the horizon nothing can be learnt.
LEAST_POINTS = 2 * WARM_UP + 2 * STRIDE

# Changes beyond this many units, and weights outside these, are outliers.
LARGEST_CHANGE, LEAST_WEIGHT, LARGEST_WEIGHT = 20.0, 0.3, 2.2

# The gaps between quantiles that training begins with, as the head gives them.
_FIRST_GAPS = (1.1, 0.4, 0.0, 0.0, 0.0, 0.4, 1.1)


class NeuralMissing(ForecastingError, ImportError):
    """A network is to be trained and PyTorch is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "lstm and gru are trained with PyTorch, which is not installed; run pip install 'lockstitch[neural]' "
            "or leave these members out"
        )

    def __reduce__(self) -> tuple[type[NeuralMissing], tuple[()]]:
        """From one process to another: it takes no arguments."""
        return type(self), ()


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a network is taught: inputs (n, T, k), changes (n, T, knots) with NaN for unknown, weights (n, T)."""

    inputs: npt.NDArray[np.float32]
    changes: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    plan: Plan


def chosen_part(values: FloatArray, seed: int) -> tuple[npt.NDArray[np.int64], slice]:
    """Choose the series and the points of `values` (n, T) to learn from: those that move, MOST_SERIES at most."""
    newest = slice(max(0, values.shape[1] - MOST_POINTS), values.shape[1])
    part = values[:, newest]
    known = np.isfinite(part)
    moves = np.where(known, part, -np.inf).max(axis=1, initial=-np.inf) > np.where(known, part, np.inf).min(
        axis=1, initial=np.inf
    )
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(moves))[:MOST_SERIES]
    return np.sort(rows), newest


def lessons_of(
    times: FloatArray, values: FloatArray, columns: FloatArray, plan: Plan, settings: Settings
) -> Lessons:
    """Play `values` (n, T) and `columns` (n, T, c) through the inputs and look up what came after each time.

    A change is from the last value known, in scales times the square root of the step.
    """
    n, points = values.shape
    inputs = Inputs(n, plan, settings)
    seen, bases, scales = [], np.empty((points, n)), np.empty((points, n))
    for index, time_s in enumerate(times):
        seen.append(inputs.step(float(time_s), values[:, index], columns[:, index]).astype(np.float32))
        bases[index], scales[index] = inputs.base, inputs.scale
    changes = np.full((points, n, plan.knots.size), np.nan, dtype=np.float32)
    # A scale of zero belongs to a series that never moved: there is nothing to learn from it.
    unit = np.where(scales > 0.0, scales, np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        for place, knot in enumerate(plan.knots):
            change = (values.T[knot:] - bases[:-knot]) / (unit[:-knot] * math.sqrt(knot))
            changes[:-knot, :, place] = np.clip(change, -LARGEST_CHANGE, LARGEST_CHANGE)
        # An error counts by its size in the unit of the series, and not more in quiet nights; half-way.
        usual = scales.mean(axis=0)
        weights = np.sqrt(np.nan_to_num(scales / np.where(usual > 0.0, usual, 1.0)))
    weights = np.clip(weights, LEAST_WEIGHT, LARGEST_WEIGHT).astype(np.float32)
    return Lessons(np.stack(seen, axis=1), changes.transpose(1, 0, 2).copy(), weights.T.copy(), plan)


def train(kind: str, lessons: Lessons, seed: int, threads: int = 1) -> dict[str, npt.NDArray[np.float32]]:
    """Train NETWORKS networks of one kind ("lstm" or "gru") and give their weights, networks in front.

    The loss is the pinball loss over all levels and knots (Wen et al., 2017). The same seed gives the same weights
    on the same machine. More than two `threads` gain nothing, and where others compute too a second one costs more
    than it gives. Raises NeuralMissing.
    """
    try:
        import torch
    except ImportError:
        raise NeuralMissing from None
    with _quietly(torch, threads):
        found = [_Pupil(torch, kind, lessons, 1000 * seed + number).learn() for number in range(NETWORKS)]
    return {name: np.stack([weights[name] for weights in found]) for name in found[0]}


@contextmanager
def _quietly(torch: Any, threads: int) -> Iterator[None]:
    # Threads and random numbers of the process are as before, whoever else computes in it.
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(threads, 2)))
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


class _Pupil:
    """One network in training."""

    def __init__(self, torch: Any, kind: str, lessons: Lessons, seed: int) -> None:
        torch.manual_seed(seed)
        self._torch, self._random = torch, np.random.default_rng(seed)
        self._inputs, self._changes, self._weights = (
            torch.from_numpy(array) for array in (lessons.inputs, lessons.changes, lessons.weights)
        )
        n, self._points, k = lessons.inputs.shape
        self._cut = self._points - int(HELD_OUT * self._points)
        self._looked_at = self._random.permutation(n)[:MOST_HELD_OUT_SERIES]
        if not np.isfinite(lessons.changes[self._looked_at, self._cut :]).any():
            # Nothing to look at: all is taught, and training goes on to its end.
            self._cut = self._points
        # Changes that reach into the held-out part are not known to whoever learns from what was before it.
        self._taught = self._changes.clone()
        for place, knot in enumerate(lessons.plan.knots):
            self._taught[:, max(0, self._cut - int(knot)) :, place] = math.nan
        answers = lessons.changes.shape[2] * len(LEVELS)
        self._cells = (torch.nn.GRU if kind == "gru" else torch.nn.LSTM)(k, UNITS, batch_first=True)
        self._head = torch.nn.Linear(UNITS + k, answers)
        with torch.no_grad():
            self._head.weight.mul_(0.3)
            self._head.bias.copy_(torch.tensor(_FIRST_GAPS).repeat(lessons.changes.shape[2]))
        self._parameters = [*self._cells.parameters(), *self._head.parameters()]
        self._average = [parameter.detach().clone() for parameter in self._parameters]
        self._levels = torch.tensor(LEVELS)
        self._daily = lessons.plan.daily
        self._queue = np.empty((0, 2), dtype=np.int64)

    def learn(self) -> dict[str, npt.NDArray[np.float32]]:
        """Train until the held-out part gets no better, or UPDATES are done."""
        optimiser = self._torch.optim.AdamW(self._parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        best, least, in_vain = [tensor.clone() for tensor in self._average], math.inf, 0
        for update in range(UPDATES):
            rate = min(1.0, (update + 1) / RISING_UPDATES) * 0.5 * (1.0 + math.cos(math.pi * update / UPDATES))
            optimiser.param_groups[0]["lr"] = LEARNING_RATE * rate
            optimiser.zero_grad()
            self._batch_loss().backward()
            self._torch.nn.utils.clip_grad_norm_(self._parameters, LARGEST_GRADIENT)
            optimiser.step()
            self._follow(min(AVERAGING, (1 + update) / (10 + update)))
            if self._cut < self._points and (update + 1) % LOOK_EVERY == 0:
                loss = self._held_out_loss()
                in_vain = 0 if loss < least else in_vain + 1
                if loss < least:
                    best, least = [tensor.clone() for tensor in self._average], loss
                if in_vain >= PATIENCE:
                    break
        return self._as_arrays(best if math.isfinite(least) else self._average)

    def _follow(self, kept: float) -> None:
        with self._torch.no_grad():
            for average, parameter in zip(self._average, self._parameters, strict=True):
                average.mul_(kept).add_(parameter, alpha=1.0 - kept)

    def _batch_loss(self) -> Tensor:
        length = min(WINDOW, self._cut)
        if len(self._queue) < BATCH:
            self._queue = np.concatenate([self._queue, self._shuffled(length)])
        batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
        rows = self._torch.from_numpy(batch[:, :1])
        times = self._torch.from_numpy(batch[:, 1:]) + self._torch.arange(length)
        scored = self._torch.arange(WARM_UP + int(self._random.integers(STRIDE)), length, STRIDE)
        at = times[:, scored]
        inputs = self._inputs[rows, times]
        # A network that always sees the day before leans on it, and Saturdays are no Fridays.
        blind = self._torch.from_numpy(self._random.random(len(batch)) < BLIND)
        if self._daily:
            inputs[:, :, PROFILE_INPUTS] *= 1.0 - blind[:, None, None].float()
        inputs += NOISE * self._torch.randn(inputs.shape)
        return self._loss(inputs, scored, self._taught[rows, at], self._weights[rows, at])

    def _shuffled(self, length: int) -> npt.NDArray[np.int64]:
        # Windows that share only their warm-up, from a new place on each pass: (series, first time).
        scored, last = length - WARM_UP, self._cut - length
        starts = np.arange(-int(self._random.integers(scored)), last + scored, scored)
        starts = np.unique(np.clip(starts, 0, last))
        pairs = np.stack(np.meshgrid(np.arange(len(self._inputs)), starts, indexing="ij"), axis=-1).reshape(-1, 2)
        order = self._random.permutation(max(len(pairs), BATCH)) % len(pairs)
        answer: npt.NDArray[np.int64] = pairs[order]
        return answer

    def _loss(self, inputs: Tensor, scored: Tensor, changes: Tensor, weights: Tensor) -> Tensor:
        torch = self._torch
        state, _ = self._cells(inputs)
        raw = self._head(torch.cat([state[:, scored], inputs[:, scored]], dim=-1))
        known = torch.isfinite(changes)
        errors = torch.where(known, changes, 0.0)[..., None] - self._ordered(raw.unflatten(-1, (-1, len(LEVELS))))
        pinball = torch.maximum(self._levels * errors, (self._levels - 1.0) * errors).mean(dim=-1)
        shares = known * weights[..., None]
        return (pinball * shares).sum() / shares.sum().clamp(min=1.0)

    def _ordered(self, raw: Tensor) -> Tensor:
        # As `recurrent.ordered`.
        torch = self._torch
        gaps, median = torch.nn.functional.softplus(raw), raw[..., MEDIAN : MEDIAN + 1]
        above = median + torch.cumsum(gaps[..., MEDIAN + 1 :], dim=-1)
        below = median - torch.cumsum(gaps[..., :MEDIAN].flip(-1), dim=-1).flip(-1)
        return torch.cat([below, median, above], dim=-1)

    def _held_out_loss(self) -> float:
        first = max(0, self._cut - WINDOW)
        rows = self._torch.from_numpy(self._looked_at)
        scored = self._torch.arange(self._cut - first, self._points - first, 2)
        current = [parameter.detach().clone() for parameter in self._parameters]
        with self._torch.no_grad():
            self._set(self._average)
            at = scored + first
            inputs = self._inputs[rows, first:]
            loss = self._loss(inputs, scored, self._changes[rows][:, at], self._weights[rows][:, at])
            self._set(current)
        return float(loss)

    def _set(self, tensors: list[Tensor]) -> None:
        for parameter, tensor in zip(self._parameters, tensors, strict=True):
            parameter.copy_(tensor)

    def _as_arrays(self, tensors: list[Tensor]) -> dict[str, npt.NDArray[np.float32]]:
        input_weight, state_weight, input_bias, state_bias, head, head_bias = (t.numpy() for t in tensors)
        return {
            "input_weight": input_weight.T.copy(),
            "input_bias": input_bias.copy(),
            "state_weight": state_weight.T.copy(),
            "state_bias": state_bias.copy(),
            "head_state": head[:, :UNITS].T.copy(),
            "head_input": head[:, UNITS:].T.copy(),
            "head_bias": head_bias.copy(),
        }
