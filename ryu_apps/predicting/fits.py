"""Has parameters fitted, in another process, when there is enough that is new; a fit that hangs is given up."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from logging import Logger
from typing import Protocol

from forecasting import Panel, Parameters
from ryu_apps.predicting.demand_history import DemandHistory
from ryu_apps.predicting.forecast_worker import Pool, Worker
from ryu_apps.predicting.scope import Scope
from ryu_apps.predicting.setbacks import Setbacks

FIRST_FIT = 40
"""Samples before the first fit: with fewer there is nothing to fit."""

REFIT_GROWTH = 1.5
"""A fit is renewed when the history has grown by half, and at the latest when its scope says."""

Fit = Future[list[Parameters]]


class Fed(Protocol):
    """What there is to fit to, and what hears of what was found."""

    def panels(self) -> tuple[Panel, ...] | None:
        """The sets of series; None where there are none yet."""
        ...

    def fitted(self, *parameters: Parameters) -> None:
        """From now on with these, one for each set."""
        ...


class Fits:
    """Begins fits and takes them in. `ended` hears of one that is over; `failed` of what ails the worker."""

    def __init__(
        self,
        worker: Worker,
        pool: Pool,
        scope: Scope,
        history: DemandHistory,
        feeding: Fed,
        ended: Callable[[Fit], None],
        failed: Callable[[BaseException], None],
        log: Logger,
    ) -> None:
        self.running: Fit | None = None
        self.due_at = FIRST_FIT
        """Samples at which the next one is begun."""
        self._worker = worker
        self._pool = pool
        self._scope = scope
        self._history = history
        self._feeding = feeding
        self._ended = ended
        self._failed = failed
        self._log = log
        self._steps = 0
        self._setbacks = Setbacks()

    @property
    def failures(self) -> int:
        """How many came to nothing in a row."""
        return self._setbacks.in_a_row

    def step_over(self) -> None:
        """A step is over: give a fit up that takes too long, or begin one when it is time for it."""
        if self.running is not None:
            self._steps += 1
            if self._steps > self._scope.late_fit_steps:
                self._give_up(TimeoutError(f"not done in {self._steps * self._scope.step_s:g} s"))
            return
        samples = self._history.samples
        is_due = self._history.length >= FIRST_FIT and samples >= self.due_at
        if not is_due or (panels := self._feeding.panels()) is None:
            return
        self._steps = 0
        self.due_at = min(math.ceil(samples * REFIT_GROWTH), samples + self._scope.refit_most)
        try:
            self.running = self._worker.fit(self._pool, panels)
        except BrokenProcessPool as error:
            self._give_up(error)
            return
        self.running.add_done_callback(self._ended)

    def take(self, fit: Fit) -> None:
        """One is over: forecast with the new parameters from now on."""
        if fit is not self.running:
            return  # of a process that was given up since
        self.running = None
        if fit.cancelled():
            return
        error = fit.exception()
        if error is not None:
            self._give_up(error)
            return
        self._setbacks.over()
        found = fit.result()
        series = sum(len(parameters.names) for parameters in found)
        self._log.info("fit=done samples=%d series=%d", self._history.samples, series)
        self._feeding.fitted(*found)

    def worker_lost(self, why: str) -> None:
        """The process that was at it has died over something else."""
        if self.running is not None:
            self._setbacks.add(why)
            self._again_soon()

    def _give_up(self, error: BaseException) -> None:
        """It may have died while it had nothing to do: another one is tried soon, not at once."""
        why = self._worker.why(error)
        if self._setbacks.add(why):
            self._log.warning("fit=failed why=%s next=another process after %d samples", why, FIRST_FIT)
        self._again_soon()
        self._failed(error)

    def _again_soon(self) -> None:
        self.running, self.due_at = None, self._history.samples + FIRST_FIT
