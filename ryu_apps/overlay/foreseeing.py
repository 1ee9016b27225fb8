"""What sites will send each other: measured at their tunnels, and forecast as the fabric's demands are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from types import MappingProxyType

import numpy as np

from forecasting import MEMBERS, Calendar, Forecast, Panel, Parameters
from forecasting.members import chosen
from ryu_apps.predicting.demand_history import DemandHistory
from ryu_apps.predicting.fits import Fit, Fits
from ryu_apps.predicting.forecast_worker import Feed, Foresight, Pool, Worker
from ryu_apps.predicting.foresight import pair_names
from ryu_apps.predicting.scope import periods_ahead
from ryu_apps.predicting.setbacks import Setbacks
from stitching.overlay.choosing import Choice
from stitching.overlay.compiling import ChoiceKey
from stitching.overlay.demands import demands
from stitching.overlay.relieving import Demand
from stitching.routes import Pair
from vte_agent.protocol.has import Has

STEP_S = 5.0
"""A step of the forecast: as often as agents say what they have counted."""

HIGH = 0.9
"""The quantile that is planned for."""

_SERIES = "sites"
_NOTHING_SAID: Mapping[ChoiceKey, str] = MappingProxyType({})

Foreseen = Future[dict[str, Foresight]]

log = logging.getLogger("lockstitch.overlay")


class Counters:
    """How much sites send into their tunnels, by what they said last and before."""

    def __init__(self) -> None:
        self._said: dict[tuple[int, str], tuple[float, int]] = {}
        self._names: dict[int, frozenset[tuple[int, str]]] = {}
        self.sending: dict[tuple[int, str], float] = {}

    def has(self, serial: int, has: Has, now_s: float) -> None:
        """A site says what it has counted; counters that went back began anew, and say nothing yet."""
        said = {(serial, one.name): one.sent_bytes for one in has.tunnels}
        for gone in self._names.get(serial, frozenset()) - said.keys():
            self._drop(gone)
        self._names[serial] = frozenset(said)
        for key, sent in said.items():
            before_s, before = self._said.get(key, (now_s, sent))
            if sent < before or now_s < before_s or key not in self._said:
                self._said[key] = now_s, sent
            elif now_s - before_s >= STEP_S / 2:
                self.sending[key] = 8e-6 * (sent - before) / (now_s - before_s)
                self._said[key] = now_s, sent

    def forget(self, serial: int) -> None:
        """It is no member any more."""
        for key in self._names.pop(serial, frozenset()):
            self._drop(key)

    def _drop(self, key: tuple[int, str]) -> None:
        self._said.pop(key, None)
        self.sending.pop(key, None)


class Foreseeing:
    """What is expected of each class between two sites, forecast in a process of its own.

    `foreseen` and `fitted` hear, in any thread, of what that is done with: to be given to `take` and `take_fit`.
    """

    def __init__(
        self, foreseen: Callable[[Foreseen], None], fitted: Callable[[Fit], None], worker: Worker | None = None
    ) -> None:
        self.expected: Mapping[ChoiceKey, Demand] = MappingProxyType({})
        scope = periods_ahead(STEP_S)
        self._foreseen = foreseen
        self._worker = worker or Worker()
        self._pool = Pool(scope.horizon, chosen(MEMBERS), Calendar())
        self._history = DemandHistory(STEP_S, scope.kept, scope.most_pairs)
        self._feed = Feed()
        self._fed: tuple[Pair, ...] = ()
        self._keys: dict[Pair, ChoiceKey] = {}
        self._asking: Foreseen | None = None
        self._asked: tuple[Pair, ...] = ()
        self._waited, self._late_steps = 0, scope.late_steps
        self._setbacks = Setbacks()
        self._beat = 0
        self._fits = Fits(self._worker, self._pool, scope, self._history, self, fitted, self._on_fit_failed, log)

    def step(
        self,
        time_s: float,
        sending: Mapping[tuple[int, str], float],
        choices: Mapping[ChoiceKey, Choice],
        takes: Mapping[ChoiceKey, str] = _NOTHING_SAID,
    ) -> None:
        """A step is over: take in what was measured, and have looked into what is to come.

        `takes` are the tunnels into which sites themselves say they send.
        """
        measured = demands(sending, choices, takes)
        self._beat += 1
        if not measured and not self._history.pairs:
            return
        names = {key: (str(key[0]), f"{key[1]} {key[2] or ''}".strip()) for key in choices}
        self._keys = {names[key]: key for key in choices}
        if self._history.append(time_s, self._beat, {names[key]: mbps for key, mbps in measured.items()}):
            self._fed = ()
        if self._history.pairs != self._fed:
            self._begin()
        else:
            self._feed.add(time_s, self._history.newest())
        self._ask()
        self._fits.step_over()

    def stop(self) -> None:
        """End the process."""
        self._worker.end()

    def panels(self) -> tuple[Panel, ...] | None:
        """What to fit to."""
        return (self._panel(),) if self._history.pairs else None

    def fitted(self, *parameters: Parameters) -> None:
        """From now on with these."""
        self._feed.fitted(parameters[0])

    def take_fit(self, fit: Fit) -> None:
        """A fit is over."""
        self._fits.take(fit)

    def take(self, result: Foreseen) -> None:
        """A forecast is there, or came to nothing: then all is said to stay as it was measured last."""
        if result is not self._asking:
            return
        self._asking = None
        error = None if result.cancelled() else result.exception()
        if error is not None or result.cancelled():
            self._lose(error or RuntimeError("cancelled"))
            return
        self._setbacks.over()
        self._say(self._asked, result.result()[_SERIES].forecast)

    def _ask(self) -> None:
        if self._asking is not None:
            self._waited += 1
            if self._waited > self._late_steps:
                self._lose(TimeoutError(f"no answer for {self._waited * STEP_S:g} s"))
            return
        if self._setbacks.still_rests():
            self._say_what_is()
            return
        try:
            asking = self._worker.look_ahead(self._pool, {_SERIES: self._feed.take()})
        except BrokenProcessPool as error:
            self._lose(error)
            return
        self._asking, self._asked, self._waited = asking, self._fed, 0
        asking.add_done_callback(self._foreseen)

    def _lose(self, error: BaseException) -> None:
        why = self._worker.why(error)
        self._worker.end()
        self._asking = None
        self._fits.worker_lost(why)
        if self._setbacks.add(why):
            log.warning("site_forecast=failed why=%s next=another process; till then all stays as it is", why)
        if self._history.pairs:
            self._begin()
            self._say_what_is()

    def _on_fit_failed(self, error: BaseException) -> None:
        if isinstance(error, BrokenProcessPool | TimeoutError):
            # What forecasts has died with it, or hangs.
            self._lose(error)

    def _begin(self) -> None:
        self._fed = self._history.pairs
        self._feed.begin(self._panel())

    def _panel(self) -> Panel:
        times, values = self._history.matrix()
        return Panel(times, values, pair_names(self._history.pairs), STEP_S)

    def _say_what_is(self) -> None:
        known = self._history.last_known()[:, 0]
        self._tell(
            {pair: Demand(float(mbps), float(mbps)) for pair, mbps in zip(self._history.pairs, known, strict=True)}
        )

    def _say(self, pairs: tuple[Pair, ...], forecast: Forecast) -> None:
        high = forecast.quantiles[:, :, int(np.argmin(np.abs(np.array(forecast.levels) - HIGH)))]
        found = {}
        for row, pair in enumerate(pairs):
            if np.isfinite(high[row]).any():
                worst = int(np.nanargmax(high[row]))
                mean = max(0.0, float(np.nan_to_num(forecast.mean[row, worst])))
                found[pair] = Demand(mean, max(mean, float(high[row, worst])))
        self._tell(found)

    def _tell(self, found: Mapping[Pair, Demand]) -> None:
        self.expected = MappingProxyType(
            {self._keys[pair]: one for pair, one in found.items() if pair in self._keys}
        )
