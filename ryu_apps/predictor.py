"""Turns measured demands into an outlook: every demand, and every link as traffic is routed now.

Link loads are not read off port counters: the counters of a link that has just lost a stitch say nothing about the
next minute. The demands are put on today's routes, back through the history, and that is forecast. Forecasts and
fits are made in two other processes; what those hold can be lost at any time and is given to the next one again.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from forecasting import MEMBERS, Calendar
from forecasting.members import chosen
from ryu_apps.app import App, Event, handles
from ryu_apps.events import (
    AlarmsRaised,
    ForecastStatusRequest,
    NetworkChanged,
    Outlook,
    OutlookReady,
    OutlookRequest,
    PolicyChanged,
    RatesMeasured,
    RecentLoadsRequest,
    StitchesChanged,
    VnetsChanged,
)
from ryu_apps.mode import Mode
from ryu_apps.predicting.demand_history import DemandHistory
from ryu_apps.predicting.feeding import Feeding
from ryu_apps.predicting.fits import Fit, Fits
from ryu_apps.predicting.forecast_worker import Foresight, Pool, Worker
from ryu_apps.predicting.foresight import Question, constant, link_names, pair_names
from ryu_apps.predicting.scope import Scope
from ryu_apps.predicting.setbacks import Setbacks
from ryu_apps.predicting.step_means import Step
from ryu_apps.predicting.todays_routes import TodaysRoutes
from ryu_apps.predicting.track_record import DEMANDS, LOADS, TrackRecord

Floats = npt.NDArray[np.float64]

PATIENT_NICE = 10
"""A fit may take its time; packets and rules may not."""


@dataclass
class Fitted(Event):
    """A worker process is done with a fit, or failed."""

    result: Fit


@dataclass
class Foreseen(Event):
    """A worker process has a forecast, or failed."""

    asked: Question
    result: Future[dict[str, Foresight]]


class Predictor(App):
    """Owns the demand history and the outlook, of which each step is as long as its scope says."""

    _EVENTS: ClassVar[list[type]] = [AlarmsRaised, OutlookReady]

    def __init__(
        self,
        *args: Any,
        mode: Mode,
        scope: Scope,
        calendar: Calendar,
        history: DemandHistory,
        members: Sequence[str] = MEMBERS,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._mode = mode
        self._scope = scope
        self._pool = Pool(scope.horizon, chosen(members), calendar)
        self._history = history
        self._routes = TodaysRoutes()
        self._feeding = Feeding(history, self._routes, scope.step_s)
        self._worker, self._fitter = self._workers()
        self._asked: Question | None = None
        self._asking: Future[dict[str, Foresight]] | None = None
        self._asking_steps = 0
        self._waited = 0
        self._setbacks = Setbacks()
        self._fits = Fits(
            self._fitter,
            self._pool,
            scope,
            history,
            self._feeding,
            ended=lambda fit: self.post(Fitted(fit)),
            failed=self._on_fit_failed,
            log=self.log,
        )
        self._record = TrackRecord()

    @staticmethod
    def _workers() -> tuple[Worker, Worker]:
        """What forecasts and what fits."""
        return Worker(), Worker(nice=PATIENT_NICE)

    def stop(self) -> None:
        """End the worker processes too."""
        self._worker.end()
        self._fitter.end()
        super().stop()

    # -- what the fabric looks like -------------------------------------------------------------------------

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """Routes may be others now."""
        self._routes.on_network(event.network)

    @handles(PolicyChanged)
    def on_policy(self, event: PolicyChanged) -> None:
        """Others may talk to each other."""
        self._routes.on_policy(event.policy, event.time_s)

    @handles(VnetsChanged)
    def on_vnets(self, event: VnetsChanged) -> None:
        """Who may talk to whom decides which routes there are."""
        self._routes.on_vnets(event.vnets)

    @handles(StitchesChanged)
    def on_stitches(self, event: StitchesChanged) -> None:
        """A demand with a stitch is on the path of the stitch."""
        self._routes.on_stitches(event.stitches)

    @handles(OutlookRequest)
    def on_request(self, request: OutlookRequest) -> None:
        """Answer the newest outlook."""
        self.serve(request, lambda: self._record.outlook)

    @handles(ForecastStatusRequest)
    def on_status_request(self, request: ForecastStatusRequest) -> None:
        """Answer how the forecasts did."""
        failures = self._setbacks.in_a_row, self._fits.failures
        self.serve(request, lambda: self._record.status(self._waited, *failures))

    @handles(RecentLoadsRequest)
    def on_recent_request(self, request: RecentLoadsRequest) -> None:
        """Answer what the links carried lately."""
        self.serve(request, lambda: self._recent(request))

    def _recent(self, request: RecentLoadsRequest) -> Floats:
        times, values = self._history.matrix()
        # What was measured since the outlook asked about is its future.
        end = int(np.searchsorted(times, request.until_s + self._scope.step_s / 2))
        return self._routes.loads(
            values[:, max(0, end - request.samples) : end], self._history.pairs, request.links
        )

    # -- round the ring -------------------------------------------------------------------------------------

    @handles(RatesMeasured)
    def on_rates(self, event: RatesMeasured) -> None:
        """A period is over: that is a step."""
        rates = event.rates
        self._step_over(Step(rates.time_s, rates.beat, rates.demand_mbps))

    def _step_over(self, step: Step) -> None:
        """Take the demands of a step in and have looked into what is to come."""
        if self._history.append(step.time_s, step.beat, step.demand_mbps):
            self.log.warning("clock=stepped next=the forecast starts over on the new time")
            self._feeding.forget()
        if self._history.pairs:
            self._foresee(step.time_s, step.beat)

    def _foresee(self, time_s: float, beat: int) -> None:
        """Have looked into what comes after the newest sample, which is of this time and beat."""
        self._routes.refresh()
        self._count_outcomes(beat)
        if self._mode is not Mode.REACTIVE:
            self._feeding.take_in(time_s)
        self._routes.changed = False
        self._asked = Question(
            time_s,
            beat,
            self._routes.links,
            self._history.pairs,
            self._history.samples,
            self._routes.carrying,
            self._history.left_out,
        )
        if self._mode is Mode.REACTIVE:
            self._say_what_is(self._asked, cold=False)
        else:
            self._next_forecast(self._asked)
            self._fits.step_over()

    # -- forecasts, in another process ----------------------------------------------------------------------

    def _next_forecast(self, asked: Question) -> None:
        """A step is over: ask for a forecast; while one is being made, what is new waits for the next."""
        if self._asking is not None:
            self._waited += 1
            self._asking_steps += 1
            if self._asking_steps > self._scope.late_steps:
                self._lose_worker(TimeoutError(f"no answer for {self._asking_steps * self._scope.step_s:g} s"))
            return
        if self._setbacks.in_a_row:
            self._waited += 1
        if self._setbacks.still_rests():
            self._say_what_is(asked, cold=True)
        else:
            self._look_ahead(asked)

    def _look_ahead(self, asked: Question) -> None:
        try:
            asking = self._worker.look_ahead(self._pool, self._feeding.news())
        except BrokenProcessPool as error:
            self._lose_worker(error)
            return
        self._asking, self._asking_steps = asking, 0
        asking.add_done_callback(lambda result: self.post(Foreseen(asked, result)))

    @handles(Foreseen)
    def on_foreseen(self, event: Foreseen) -> None:
        """Tell what is to come."""
        if event.result is not self._asking:
            return  # of a process that was given up since
        self._asking = None
        error = None if event.result.cancelled() else event.result.exception()
        if error is not None or event.result.cancelled():
            self._lose_worker(error or RuntimeError("cancelled"))
            return
        self._waited = 0
        if (failures := self._setbacks.over()) > 1:
            self.log.info("forecast=back failures=%d", failures)
        self._publish(event.asked, event.result.result())
        if self._asked is not None and self._asked is not event.asked:
            self._look_ahead(self._asked)

    def _lose_worker(self, error: BaseException) -> None:
        """Give what is known to a new process, at once: the period is not lost. If that fails too, say what is."""
        why = self._worker.why(error)
        self._worker.end()
        self._asking = None
        if self._fitter is self._worker:
            self._fits.worker_lost(why)
        self._record.workers_lost += 1
        if self._setbacks.add(why):
            tried = "at once" if self._setbacks.in_a_row == 1 else "ever more rarely, all is said to stay as it is"
            self.log.warning(
                "forecast=failed in_a_row=%d why=%s next=another process %s", self._setbacks.in_a_row, why, tried
            )
        self._feeding.begin_anew()
        if self._asked is None:
            return
        if self._setbacks.in_a_row == 1:
            self._look_ahead(self._asked)
        else:
            self._say_what_is(self._asked, cold=True)

    def _publish(self, asked: Question, seen: dict[str, Foresight]) -> None:
        outlook = asked.outlook(seen[DEMANDS].forecast, seen[LOADS].forecast)
        for kind, foresight in seen.items():
            for surprise in foresight.surprises:
                self.log.warning("anomaly=%s series=%s surprise_bits=%.0f", kind, surprise.name, surprise.bits)
            if alarms := self._record.alarm(kind, foresight.surprises):
                self.publish(AlarmsRaised(alarms))
        self._record.expect(outlook, asked.beat)
        self._tell(outlook)

    def _tell(self, outlook: Outlook) -> None:
        self.publish(OutlookReady(outlook))

    def _say_what_is(self, asked: Question, *, cold: bool) -> None:
        """All stays as it was measured last: for certain, or, where it is cold, for want of a forecast."""
        known = self._history.last_known()
        loads = self._routes.loads(known, asked.pairs, asked.links)
        step_s, horizon = self._scope.step_s, self._scope.horizon
        said = {
            DEMANDS: Foresight(constant(pair_names(asked.pairs), known, step_s, horizon, cold=cold)),
            LOADS: Foresight(constant(link_names(asked.links), loads, step_s, horizon, cold=cold)),
        }
        self._publish(asked, said)

    def _count_outcomes(self, beat: int) -> None:
        """Compare what is measured now with what was forecast for it, where that was about the same."""
        step, outlook = self._record.steps_since(beat), self._record.outlook
        if step is None or outlook is None or self._mode is Mode.REACTIVE:
            return
        if outlook.pairs != self._history.pairs or outlook.pairs != self._feeding.pairs:
            return
        newest = self._history.newest()
        self._record.count(DEMANDS, step, newest[:, 0])
        if not self._routes.changed and outlook.link_keys == self._routes.links:
            loads = self._routes.loads(newest, outlook.pairs, outlook.link_keys)
            self._record.count(LOADS, step, loads[:, 0])

    # -- fits, in yet another process -----------------------------------------------------------------------

    @handles(Fitted)
    def on_fitted(self, event: Fitted) -> None:
        """Forecast with the new parameters from now on."""
        self._fits.take(event.result)

    def _on_fit_failed(self, error: BaseException) -> None:
        if self._fitter is not self._worker:
            self._fitter.end()
        elif isinstance(error, BrokenProcessPool | TimeoutError):
            # What forecast has died with it, or hangs.
            self._lose_worker(error)
