"""Puts what is measured into the history, and keeps the fabric as last seen for the next start."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ryu_apps.app import App, Tick, handles
from ryu_apps.events import NetworkChanged, RatesMeasured, RecorderStatus, RecorderStatusRequest
from ryu_apps.store import HistoryStore, StateStore, StoreError
from stitching.network import Network

SAVE_S = 1.0
"""The fabric is saved at most this often: it may change fifty times a second while it is discovered."""


class Recorder(App):
    """Writes to the stores what the other apps tell. The stores stay open: who made them closes them."""

    def __init__(
        self,
        *args: Any,
        state: StateStore,
        history: HistoryStore,
        clock: Callable[[], float] = time.monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._clock = clock
        self._saved_s = float("-inf")
        self._state = state
        self._history = history
        self._unsaved: Network | None = None
        self._failing = False

    def start(self) -> None:
        """Start handling events, and the timer that saves the fabric."""
        super().start()
        self.every(SAVE_S, "save")

    def stop(self) -> None:
        """End the event loop, then save what is still unsaved."""
        super().stop()
        self._save()

    @handles(RatesMeasured)
    def on_rates(self, event: RatesMeasured) -> None:
        """A period is over."""
        self._history.record(event.rates)

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """The fabric changed: save it at once, or with the next tick where that was done just now."""
        self._unsaved = event.network
        if self._clock() - self._saved_s > SAVE_S:
            self._save()

    @handles(Tick)
    def on_tick(self, _tick: Tick) -> None:
        """Save the fabric if it changed."""
        self._save()

    @handles(RecorderStatusRequest)
    def on_status(self, request: RecorderStatusRequest) -> None:
        """Answer whether the disk takes what it is given."""
        history = self._history
        self.serve(request, lambda: RecorderStatus(history.failing, history.dropped, self._failing))

    def _save(self) -> None:
        network, self._unsaved = self._unsaved, None
        if network is None:
            return
        self._saved_s = self._clock()
        try:
            self._state.save_network(network)
        except StoreError as error:
            # The next tick tries again, unless there is a newer one by then.
            self._unsaved = network
            if not self._failing:
                self.log.warning("fabric=unsaved error=%s", error)
            self._failing = True
        else:
            if self._failing:
                self.log.info("fabric=saved after errors")
            self._failing = False
