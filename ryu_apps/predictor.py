"""Turns measured demands into an outlook: every demand, and every link as traffic is routed now.

Link loads are not read off port counters: the counters of a link that has just lost a stitch say nothing about the
next minute. The demands are put on today's routes, back through the history, and that is forecast. Forecasts and
fits are made in two other processes; what those hold can be lost at any time and is given to the next one again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from forecasting import MEMBERS, Calendar, Panel, Parameters
from forecasting.members import chosen
from ryu_apps.app import App, Event, handles
from ryu_apps.demand_history import DemandHistory
from ryu_apps.events import (
    ForecastStatusRequest,
    NetworkChanged,
    Outlook,
    OutlookReady,
    OutlookRequest,
    RatesMeasured,
    RecentLoadsRequest,
    StitchesChanged,
    VnetsChanged,
)
from ryu_apps.forecast_worker import Feed, Foresight, Pool, Worker
from ryu_apps.foresight import Question, constant, link_names, pair_names
from ryu_apps.scope import Scope
from ryu_apps.step_means import Step
from ryu_apps.todays_routes import TodaysRoutes
from ryu_apps.track_record import DEMANDS, LOADS, TrackRecord
from stitching.network import LinkKey
from stitching.routes import Pair

Floats = npt.NDArray[np.float64]

FIRST_FIT = 40
"""Samples before the first fit: with fewer there is nothing to fit."""

REFIT_GROWTH = 1.5
"""A fit is renewed when the history has grown by half, and at the latest when its scope says."""

PATIENT_NICE = 10
"""A fit may take its time; packets and rules may not."""


class Mode(StrEnum):
    """What stitches are made on: a forecast, links that are full already, or nothing."""

    PREDICTIVE = "predictive"
    REACTIVE = "reactive"
    OFF = "off"


@dataclass
class Fitted(Event):
    """A worker process is done with a fit, or failed."""

    result: Future[list[Parameters]]


@dataclass
class Foreseen(Event):
    """A worker process has a forecast, or failed."""

    asked: Question
    result: Future[dict[str, Foresight]]


class Predictor(App):
    """Owns the demand history and the outlook, of which each step is as long as its scope says."""

    _EVENTS: ClassVar[list[type]] = [OutlookReady]

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
        self._links: tuple[LinkKey, ...] = ()
        self._known: tuple[Pair, ...] = ()
        self._demands, self._loads = Feed(), Feed()
        self._worker, self._fitter = self._workers()
        self._asked: Question | None = None
        self._asking: Future[dict[str, Foresight]] | None = None
        self._waited = 0
        self._lost_in_a_row = 0
        self._fit: Future[list[Parameters]] | None = None
        self._fit_at = FIRST_FIT
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
        self.serve(request, lambda: self._record.status(self._waited))

    @handles(RecentLoadsRequest)
    def on_recent_request(self, request: RecentLoadsRequest) -> None:
        """Answer what the links carried lately."""
        self.serve(request, lambda: self._recent(request))

    def _recent(self, request: RecentLoadsRequest) -> Floats:
        _, values = self._history.matrix()
        return self._routes.loads(values[:, -request.samples :], self._history.pairs, request.links)

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
            self._known, self._links = (), ()
        if self._history.pairs:
            self._foresee(step.time_s, step.beat)

    def _foresee(self, time_s: float, beat: int) -> None:
        """Have looked into what comes after the newest sample, which is of this time and beat."""
        self._routes.refresh()
        self._count_outcomes(beat)
        links = self._routes.links
        if self._mode is not Mode.REACTIVE:
            self._take_in(time_s, links)
        self._routes.changed = False
        self._asked = Question(
            time_s,
            beat,
            links,
            self._history.pairs,
            self._history.samples,
            self._routes.carrying,
            self._history.left_out,
        )
        if self._mode is Mode.REACTIVE:
            self._publish(self._asked, self._as_it_is(self._asked, cold=False))
        else:
            self._look_ahead()
            self._start_fit()

    def _take_in(self, time_s: float, links: tuple[LinkKey, ...]) -> None:
        """Have the forecasts moved on, or begun anew where what they are about has become something else."""
        pairs = self._history.pairs
        newest = self._history.newest()
        if pairs != self._known:
            self._known = pairs
            self._demands.begin(self._panel())
            self._routes.changed = True
        else:
            self._demands.add(time_s, newest)
        if self._routes.changed or links != self._links:
            self._links = links
            self._loads.begin(self._load_panel())
        else:
            self._loads.add(time_s, self._routes.loads(newest, pairs, links))

    def _panel(self) -> Panel:
        times, values = self._history.matrix()
        return Panel(times, values, pair_names(self._history.pairs), self._scope.step_s)

    def _load_panel(self) -> Panel:
        times, values = self._history.matrix()
        loads = self._routes.loads(values, self._history.pairs, self._links)
        return Panel(times, loads, link_names(self._links), self._scope.step_s)

    # -- forecasts, in another process ----------------------------------------------------------------------

    def _look_ahead(self) -> None:
        """Ask for a forecast; while one is being made, what is new waits for the next."""
        if self._asking is not None:
            self._waited += 1
            if self._waited > self._scope.late_steps:
                self._lose_worker(TimeoutError(f"no answer for {self._waited * self._scope.step_s:g} s"))
            return
        asked = self._asked
        assert asked is not None
        try:
            asking = self._worker.look_ahead(
                self._pool, {DEMANDS: self._demands.take(), LOADS: self._loads.take()}
            )
        except BrokenProcessPool as error:
            self._lose_worker(error)
            return
        self._asking, self._waited = asking, 0
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
        self._lost_in_a_row = 0
        self._publish(event.asked, event.result.result())
        if self._asked is not event.asked:
            self._look_ahead()

    def _lose_worker(self, error: BaseException) -> None:
        """Give what is known to a new process, at once: the period is not lost. If that fails too, say what is."""
        self._worker.end()
        self._asking, self._waited = None, 0
        if self._fit is not None and self._fitter is self._worker:
            self._fit_again_soon()
        self._record.workers_lost += 1
        self._lost_in_a_row += 1
        self.log.warning("forecast=failed error=%r next=another process", error)
        self._demands.begin(self._panel())
        self._loads.begin(self._load_panel())
        if self._lost_in_a_row == 1:
            self._look_ahead()
        elif self._asked is not None:
            self._lost_in_a_row = 0
            self._publish(self._asked, self._as_it_is(self._asked, cold=True))

    def _publish(self, asked: Question, seen: dict[str, Foresight]) -> None:
        outlook = asked.outlook(seen[DEMANDS].forecast, seen[LOADS].forecast)
        for kind, foresight in seen.items():
            for name, bits in foresight.alarms.items():
                self.log.warning("anomaly=%s series=%s surprise_bits=%.0f", kind, name, bits)
            self._record.alarm(asked.time_s, kind, foresight.alarms)
        self._record.expect(outlook, asked.beat)
        self._tell(outlook)

    def _tell(self, outlook: Outlook) -> None:
        self.publish(OutlookReady(outlook))

    def _as_it_is(self, asked: Question, *, cold: bool) -> dict[str, Foresight]:
        """All stays as it was measured last: for certain, or, where it is cold, for want of a forecast."""
        newest = self._history.newest()
        loads = self._routes.loads(newest, asked.pairs, asked.links)
        step_s, horizon = self._scope.step_s, self._scope.horizon
        return {
            DEMANDS: Foresight(constant(pair_names(asked.pairs), newest, step_s, horizon, cold=cold)),
            LOADS: Foresight(constant(link_names(asked.links), loads, step_s, horizon, cold=cold)),
        }

    def _count_outcomes(self, beat: int) -> None:
        """Compare what is measured now with what was forecast for it, where that was about the same."""
        step, outlook = self._record.steps_since(beat), self._record.outlook
        if step is None or outlook is None or self._mode is Mode.REACTIVE:
            return
        if outlook.pairs != self._history.pairs or outlook.pairs != self._known:
            return
        newest = self._history.newest()
        self._record.count(DEMANDS, step, newest[:, 0])
        if not self._routes.changed and outlook.link_keys == self._routes.links:
            loads = self._routes.loads(newest, outlook.pairs, outlook.link_keys)
            self._record.count(LOADS, step, loads[:, 0])

    # -- fits, in yet another process -----------------------------------------------------------------------

    def _start_fit(self) -> None:
        samples = self._history.samples
        if self._fit is not None or self._history.length < FIRST_FIT or samples < self._fit_at or not self._links:
            return
        self._fit_at = min(math.ceil(samples * REFIT_GROWTH), samples + self._scope.refit_most)
        try:
            self._fit = self._fitter.fit(self._pool, (self._panel(), self._load_panel()))
        except BrokenProcessPool as error:
            self._give_up_fit(error)
            return
        self._fit.add_done_callback(lambda result: self.post(Fitted(result)))

    @handles(Fitted)
    def on_fitted(self, event: Fitted) -> None:
        """Forecast with the new parameters from now on."""
        if event.result is not self._fit:
            return  # of a process that was given up since
        self._fit = None
        if event.result.cancelled():
            return
        error = event.result.exception()
        if error is not None:
            self._give_up_fit(error)
            return
        demands, loads = event.result.result()
        self.log.info(
            "fit=done samples=%d series=%d", self._history.samples, len(demands.names) + len(loads.names)
        )
        self._demands.fitted(demands)
        self._loads.fitted(loads)

    def _give_up_fit(self, error: BaseException) -> None:
        """It may have died while it had nothing to do: another one is tried soon, not at once."""
        self.log.warning("fit=failed error=%r next=another process after %d samples", error, FIRST_FIT)
        self._fit_again_soon()
        if self._fitter is not self._worker:
            self._fitter.end()
        elif isinstance(error, BrokenProcessPool):
            # What forecast has died with it.
            self._lose_worker(error)

    def _fit_again_soon(self) -> None:
        self._fit, self._fit_at = None, self._history.samples + FIRST_FIT
