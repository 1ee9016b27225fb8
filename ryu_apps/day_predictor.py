"""The outlook over the next day: what the outlook by periods is too short-sighted to learn.

It is the same code on the means of minutes, and begins with what was stored before a restart.
"""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, ClassVar

from ryu_apps.app import Event, handles
from ryu_apps.events import AlarmsRaised, Outlook, RatesMeasured
from ryu_apps.mode import Mode
from ryu_apps.predicting.demand_history import DemandHistory
from ryu_apps.predicting.forecast_worker import Worker
from ryu_apps.predicting.recall import Past
from ryu_apps.predicting.scope import Scope
from ryu_apps.predicting.step_means import Step, StepMeans
from ryu_apps.predictor import PATIENT_NICE, Predictor

WAIT_S = 15.0
"""After the start nothing is read for so long: links are measured and switches compared, and tomorrow can wait."""


@dataclass
class Recalled(Event):
    """The stored demands have been read, or could not be."""

    result: Future[Past | None]


class DayPredictor(Predictor):
    """Owns the demands of two weeks and the outlook over a day. Between two steps it only adds demands up."""

    _EVENTS: ClassVar[list[type]] = [AlarmsRaised]

    def __init__(
        self, *args: Any, scope: Scope, stored: str | None = None, wait_s: float = WAIT_S, **kwargs: Any
    ) -> None:
        """`stored` is the URL of a database with demands of the time that the scope keeps, read after wait_s."""
        history = DemandHistory(scope.step_s, scope.kept, scope.most_pairs)
        super().__init__(*args, mode=Mode.PREDICTIVE, scope=scope, history=history, **kwargs)
        self._means = StepMeans(scope.periods)
        self._stored, self._wait_s = stored, wait_s
        self._first_s: float | None = None
        self._reading: Future[Past | None] | None = None
        self._held: list[Step] = []
        self._now_s = 0.0

    @staticmethod
    def _workers() -> tuple[Worker, Worker]:
        # One for both: a step is long enough to fit in.
        worker = Worker(nice=PATIENT_NICE)
        return worker, worker

    def _tell(self, outlook: Outlook) -> None:
        """No stitch is made on what may happen tomorrow; who wants to know asks."""

    @handles(RatesMeasured)
    def on_rates(self, event: RatesMeasured) -> None:
        """A period is over: add its demands up, and look ahead when a step is over too."""
        self._now_s = event.rates.time_s
        if self._first_s is None:
            self._first_s = self._now_s
        if self._stored is not None and not 0 <= self._now_s - self._first_s < self._wait_s:
            self._read(self._stored)
            self._stored = None
        for step in self._means.add(event.rates):
            if self._reading is None and self._stored is None:
                self._step_over(step)
            else:
                self._held.append(step)
        if len(self._held) > 1:
            self._go_on_without(TimeoutError(f"not read in {self._scope.step_s:g} s"))

    # -- what was stored before a restart -------------------------------------------------------------------

    def _read(self, url: str) -> None:
        try:
            self._reading = self._worker.recall(url, self._scope, self._now_s)
        except BrokenProcessPool as error:
            self._go_on_without(error)
            return
        self._reading.add_done_callback(lambda result: self.post(Recalled(result)))

    @handles(Recalled)
    def on_recalled(self, event: Recalled) -> None:
        """Go on with what was measured before the restart."""
        if event.result is not self._reading or event.result.cancelled():
            return
        error = event.result.exception()
        if error is not None:
            self._go_on_without(error)
            return
        self._reading = None
        past = event.result.result()
        if past is not None:
            self._history.remember(past.last_s, past.pairs, past.values)
            self.log.info("history=read demands=%d steps=%d", *past.values.shape)
            # After a short absence there is an outlook at once, not only with the first step.
            if not self._held and self._now_s - past.last_s < self._scope.step_s:
                self._foresee(past.last_s, 0)
        self._take_held()

    def _go_on_without(self, error: BaseException) -> None:
        self.log.warning("history=not read why=%s next=the day is learnt anew", self._worker.why(error))
        self._worker.end()
        self._reading = None
        self._take_held()

    def _take_held(self) -> None:
        held, self._held = self._held, []
        for step in held:
            self._step_over(step)
