"""Turns measured demands into an outlook: every demand, and every link as traffic is routed now.

Link loads are not read off port counters: the counters of a link that has just lost a stitch say nothing about the
next minute. The demands are put on today's routes, back through the history, and that is forecast.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from forecasting import DEFAULT_LEVELS, Forecast, Forecaster, Panel, Parameters, fit_parameters
from ryu_apps.app import App, Event, handles
from ryu_apps.demand_history import DemandHistory
from ryu_apps.events import (
    NetworkChanged,
    Outlook,
    OutlookReady,
    OutlookRequest,
    RatesMeasured,
    StitchesChanged,
    VnetsChanged,
)
from stitching.network import LinkKey, Network
from stitching.routes import CARRYING, Pair, Route, default_routes, link_loads, stitched_routes
from stitching.stitch import Stitch
from stitching.vnet import Directory

Floats = npt.NDArray[np.float64]

HORIZON = 8
MEMBERS = ("last", "ewma", "sarimax")
FIRST_FIT = 40
"""Samples before the first fit: with fewer there is nothing to fit."""

REFIT_GROWTH = 1.5
REFIT_MOST = 900
"""A fit is renewed when the history has grown by half, and at the latest after so many samples."""


class Mode(StrEnum):
    """What stitches are made on: a forecast, links that are full already, or nothing."""

    PREDICTIVE = "predictive"
    REACTIVE = "reactive"
    OFF = "off"


@dataclass
class Fitted(Event):
    """A worker process is done with a fit, or failed."""

    result: Future[tuple[Parameters, Parameters]]


class Predictor(App):
    """Owns the demand history and the two forecasters. Fits run in a process of their own."""

    _EVENTS: ClassVar[list[type]] = [OutlookReady]

    def __init__(
        self, *args: Any, mode: Mode, period_s: float, season_s: float, history: DemandHistory, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._mode = mode
        self._season_s = season_s
        self._history = history
        self._network = Network()
        self._directory = Directory.of(())
        self._stitches: tuple[Stitch, ...] = ()
        self._routes: dict[Pair, Route] = {}
        self._links: tuple[LinkKey, ...] = ()
        self._stale_routes = True
        self._demands = Forecaster(HORIZON, season_s=season_s, members=MEMBERS)
        self._loads = Forecaster(HORIZON, season_s=season_s, members=MEMBERS)
        self._known: tuple[Pair, ...] = ()
        self._pool: ProcessPoolExecutor | None = None
        self._fit: Future[tuple[Parameters, Parameters]] | None = None
        self._fit_at = FIRST_FIT
        self._outlook: Outlook | None = None
        self._period_s = period_s

    def stop(self) -> None:
        """End the worker process too."""
        self._end_worker()
        super().stop()

    # -- what the fabric looks like -------------------------------------------------------------------------

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """Routes may be others now."""
        self._network = event.network
        self._stale_routes = True

    @handles(VnetsChanged)
    def on_vnets(self, event: VnetsChanged) -> None:
        """Who may talk to whom decides which routes there are."""
        self._directory = Directory.of(event.vnets)
        self._stale_routes = True

    @handles(StitchesChanged)
    def on_stitches(self, event: StitchesChanged) -> None:
        """A demand with a stitch is on the path of the stitch."""
        before = {(s.id, s.epoch) for s in self._stitches if s.state in CARRYING}
        now = {(s.id, s.epoch) for s in event.stitches if s.state in CARRYING}
        self._stitches = event.stitches
        self._stale_routes |= before != now

    @handles(OutlookRequest)
    def on_request(self, request: OutlookRequest) -> None:
        """Answer the newest outlook."""
        self.serve(request, lambda: self._outlook)

    # -- round the ring -------------------------------------------------------------------------------------

    @handles(RatesMeasured)
    def on_rates(self, event: RatesMeasured) -> None:
        """A period is over: take its demands in and say what is to come."""
        rates = event.rates
        if self._history.append(rates.time_s, rates.beat, rates.demand_mbps):
            self.log.warning("clock=stepped next=the forecast starts over on the new time")
            self._known, self._links = (), ()
        if not self._history.pairs:
            return
        if self._stale_routes:
            shortest = default_routes(self._network, self._directory)
            self._routes = stitched_routes(shortest, self._stitches)
        self._outlook = self._look_ahead(rates.time_s)
        self._stale_routes = False
        self.publish(OutlookReady(self._outlook))

    def _look_ahead(self, time_s: float) -> Outlook:
        links = self._network.link_order
        pairs = self._history.pairs
        if self._mode is Mode.REACTIVE:
            newest = self._history.newest()
            loads = link_loads(newest, pairs, links, self._routes)
            demands_ahead = _as_it_is(_pair_names(pairs), newest, self._period_s)
            loads_ahead = _as_it_is(_link_names(links), loads, self._period_s)
        else:
            self._take_in(time_s, links)
            self._start_fit()
            demands_ahead, loads_ahead = self._demands.predict(), self._loads.predict()
        carrying = frozenset((stitch.id, stitch.epoch) for stitch in self._stitches if stitch.state in CARRYING)
        samples, left_out = self._history.samples, self._history.left_out
        return Outlook(time_s, links, loads_ahead, pairs, demands_ahead, samples, carrying, left_out)

    def _take_in(self, time_s: float, links: tuple[LinkKey, ...]) -> None:
        """Move the forecasters on, or start them over where what they forecast has become something else."""
        pairs = self._history.pairs
        newest = self._history.newest()
        if pairs != self._known:
            self._known = pairs
            self._demands.load(self._panel())
            self._stale_routes = True
        else:
            self._demands.update([time_s], newest)
        if self._stale_routes or links != self._links:
            self._links = links
            self._loads.load(self._load_panel())
        else:
            self._loads.update([time_s], link_loads(newest, pairs, links, self._routes))

    def _panel(self) -> Panel:
        times, values = self._history.matrix()
        return Panel(times, values, _pair_names(self._history.pairs), self._period_s)

    def _load_panel(self) -> Panel:
        times, values = self._history.matrix()
        loads = link_loads(values, self._history.pairs, self._links, self._routes)
        return Panel(times, loads, _link_names(self._links), self._period_s)

    # -- fits, in another process ---------------------------------------------------------------------------

    def _start_fit(self) -> None:
        samples = self._history.samples
        if self._fit is not None or self._history.length < FIRST_FIT or samples < self._fit_at or not self._links:
            return
        self._fit_at = min(math.ceil(samples * REFIT_GROWTH), samples + REFIT_MOST)
        if self._pool is None:
            # Spawned: a fork of a process with threads may copy a lock that nobody will ever open.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, initializer=_step_back)
        panels = (self._panel(), self._load_panel())
        try:
            self._fit = self._pool.submit(_fit_both, *panels, self._season_s)
        except BrokenProcessPool as error:
            self._give_up_worker(error)
            return
        self._fit.add_done_callback(lambda result: self.post(Fitted(result)))

    @handles(Fitted)
    def on_fitted(self, event: Fitted) -> None:
        """Forecast with the new parameters from now on."""
        self._fit = None
        if event.result.cancelled():
            return
        error = event.result.exception()
        if error is not None:
            self._give_up_worker(error)
            return
        demands, loads = event.result.result()
        self.log.info(
            "fit=done samples=%d series=%d", self._history.samples, len(demands.names) + len(loads.names)
        )
        self._demands.adopt(demands)
        self._loads.adopt(loads)

    def _give_up_worker(self, error: BaseException) -> None:
        """It may have died while it had nothing to do: another one is tried soon, not at once."""
        self.log.warning("fit=failed error=%r next=another worker after %d samples", error, FIRST_FIT)
        self._end_worker()
        self._fit_at = self._history.samples + FIRST_FIT

    def _end_worker(self) -> None:
        """A fit may take minutes, and the interpreter would wait for it before it ends."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
        self._pool = None


def _fit_both(demands: Panel, loads: Panel, season_s: float) -> tuple[Parameters, Parameters]:
    """What the worker process does."""
    fitted = [fit_parameters(panel, season_s, HORIZON, MEMBERS) for panel in (demands, loads)]
    return fitted[0], fitted[1]


def _step_back() -> None:
    """A fit may take its time; packets and rules may not. It ends with its controller, however that ends."""
    os.nice(10)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker waits for work for ever, also when nobody is left to give it any (kill -9)."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _as_it_is(names: tuple[str, ...], newest: Floats, step_s: float) -> Forecast:
    """The reactive outlook: all stays as it was measured last, for certain."""
    values = np.repeat(np.nan_to_num(newest), HORIZON, axis=1)
    quantiles = np.repeat(values[:, :, None], len(DEFAULT_LEVELS), axis=2)
    return Forecast(names, step_s, DEFAULT_LEVELS, values, quantiles, np.zeros(len(names), dtype=np.bool_))


def _pair_names(pairs: tuple[Pair, ...]) -> tuple[str, ...]:
    return tuple(f"{source}>{target}" for source, target in pairs)


def _link_names(links: tuple[LinkKey, ...]) -> tuple[str, ...]:
    return tuple(f"{a:016x}:{a_port}>{b:016x}:{b_port}" for a, a_port, b, b_port in links)
