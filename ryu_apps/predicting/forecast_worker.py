"""Forecasts in a process of their own: the controller sends samples and gets forecasts back.

What is held there can be lost with the process. The controller keeps the samples and what was fitted, so a new
process goes on where the old one was.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forecasting import Calendar, Forecast, Forecaster, Panel, Parameters, fit_parameters
from ryu_apps.predicting.recall import Past, recall
from ryu_apps.predicting.scope import Scope

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """How every set of series is forecast."""

    horizon: int
    members: tuple[str, ...]
    calendar: Calendar


@dataclass(frozen=True)
class News:
    """What a set of series is told: a history to begin anew with, new parameters, samples that came since."""

    history: Panel | None = None
    parameters: Parameters | None = None
    times: tuple[float, ...] = ()
    values: Floats = field(default_factory=lambda: np.zeros((0, 0)))


@dataclass
class Feed:
    """What the worker has to be told of a set of series, and what a new one would have to be."""

    parameters: Parameters | None = None
    _history: Panel | None = None
    _fitted: bool = False
    _times: list[float] = field(default_factory=list)
    _values: list[Floats] = field(default_factory=list)

    def begin(self, history: Panel, *, judge_newest: bool = False) -> None:
        """It is about these samples now. The newest may still be judged by what was expected of it."""
        self._fitted = False
        self._times.clear()
        self._values.clear()
        if judge_newest and history.times.size > 1:
            self.add(float(history.times[-1]), history.values[:, -1:])
            history = Panel(history.times[:-1], history.values[:, :-1], history.names, history.step_s)
        self._history = history

    def add(self, time_s: float, values: Floats) -> None:
        """One more sample, (n, 1)."""
        self._times.append(time_s)
        self._values.append(values)

    def fitted(self, parameters: Parameters) -> None:
        """From now on with these."""
        self.parameters, self._fitted = parameters, True

    def take(self) -> News:
        """Give what is new; it counts as told."""
        news = News(
            self._history,
            self.parameters if self._fitted or self._history is not None else None,
            tuple(self._times),
            np.hstack(self._values) if self._values else np.zeros((0, 0)),
        )
        self._history, self._fitted = None, False
        self._times.clear()
        self._values.clear()
        return news


@dataclass(frozen=True)
class Surprise:
    """A sample of a series that nobody would have expected: 10 bits is as far out as one in 1,000."""

    time_s: float
    name: str
    bits: float


@dataclass(frozen=True)
class Foresight:
    """What a set of series will do, and which of its newest samples nobody would have expected."""

    forecast: Forecast
    surprises: tuple[Surprise, ...] = ()


class Worker:
    """One process. It is started when it is first needed; `end` ends it whatever it does."""

    def __init__(self, *, nice: int = 0) -> None:
        self._nice = nice
        self._pool: ProcessPoolExecutor | None = None

    def look_ahead(self, pool: Pool, news: Mapping[str, News]) -> Future[dict[str, Foresight]]:
        """Forecast every set of series; one that was told nothing before must begin with a history.

        Raises BrokenProcessPool, from here or through the future, when the process is gone.
        """
        return self._started().submit(_look_ahead, pool, dict(news))

    def fit(self, pool: Pool, panels: Sequence[Panel]) -> Future[list[Parameters]]:
        """Fit panels. Raises BrokenProcessPool likewise."""
        return self._started().submit(_fit, pool, list(panels))

    @property
    def pids(self) -> list[int]:
        """The ids of its process, if there is one now."""
        if self._pool is None:
            return []
        return list(self._pool._processes or {})  # noqa: SLF001  # there is no other way to them

    def recall(self, url: str, scope: Scope, now_s: float) -> Future[Past | None]:
        """Read demands back: see ryu_apps.predicting.recall. Raises BrokenProcessPool likewise."""
        return self._started().submit(recall, url, scope, now_s)

    def why(self, error: BaseException) -> str:
        """Say what `error` means; of a process that is gone, how it ended. To be asked before `end`."""
        if not isinstance(error, BrokenProcessPool) or self._pool is None:
            return repr(error)
        processes = list((self._pool._processes or {}).values())  # noqa: SLF001  # there is no other way to them
        until_s = time.monotonic() + _ENDS_IN_S
        for process in processes:
            # The pool waits for it too: whoever comes second learns nothing until the first has written it down.
            while process.exitcode is None and time.monotonic() < until_s:
                process.join(0.01)
        return "; ".join(_ended(process.exitcode) for process in processes) or repr(error)

    def end(self) -> None:
        """End the process: what it does may take minutes, and the interpreter would wait for it before it ends."""
        if self._pool is not None:
            processes = list((self._pool._processes or {}).values())  # noqa: SLF001  # there is no other way to them
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                # Not asked to: one that hangs would not hear it, and the interpreter would wait for it.
                process.kill()
        self._pool = None

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned: a fork of a process with threads may copy a lock that nobody will ever open.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(self._nice,))
        return self._pool


_REPLAYED = 256
"""Points played back when routes have changed: half a second's work, and somebody waits for the outlook."""

_ENDS_IN_S = 1.0
"""A process whose pipe is closed is as good as gone."""

_forecasters: dict[str, Forecaster] = {}
"""What a process holds, by the name of the set of series."""


def _look_ahead(pool: Pool, news: Mapping[str, News]) -> dict[str, Foresight]:
    return {name: _forecast(name, pool, one) for name, one in news.items()}


def _forecast(name: str, pool: Pool, news: News) -> Foresight:
    if news.history is not None:
        # One that is there already goes on quietly about what it raised an alarm for.
        if name not in _forecasters:
            _forecasters[name] = Forecaster(
                pool.horizon, members=pool.members, calendar=pool.calendar, replayed=_REPLAYED
            )
        _forecasters[name].load(news.history, news.parameters)
    elif news.parameters is not None:
        _forecasters[name].adopt(news.parameters)
    if not news.times:
        return Foresight(_forecasters[name].predict())
    verdict = _forecasters[name].update(news.times, news.values)
    forecast = _forecasters[name].predict()
    # Ticks that were left out have a place in a verdict too: its last one is that of the newest sample.
    times = news.times[-1] - forecast.step_s * np.arange(verdict.alarm.shape[1] - 1, -1, -1)
    surprises = (
        Surprise(float(times[tick]), forecast.names[row], float(verdict.score[row, tick]))
        for row, tick in np.argwhere(verdict.alarm)
    )
    return Foresight(forecast, tuple(surprises))


def _fit(pool: Pool, panels: Sequence[Panel]) -> list[Parameters]:
    forecaster = Forecaster(pool.horizon, members=pool.members, calendar=pool.calendar)
    return [fit_parameters(panel, forecaster.settings(panel.step_s), forecaster.members) for panel in panels]


def _ended(exitcode: int | None) -> str:
    """Say how a process ended."""
    if exitcode is None:
        return "its process does not answer"
    if exitcode == -signal.SIGKILL:
        return "its process was killed (SIGKILL): out of memory?"
    if exitcode < 0:
        return f"its process was ended by signal {-exitcode} ({signal.strsignal(-exitcode)})"
    return f"its process ended with exit code {exitcode}"


def _begin(nice: int) -> None:
    """Give way to packets and rules, and end with the controller, however that ends."""
    # Ctrl-C in a terminal reaches all its processes; this one is ended by the controller.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(nice)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker waits for work for ever, also when nobody is left to give it any (kill -9)."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
