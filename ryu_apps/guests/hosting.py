"""Runs apps of others beside ours: each has its own thread and queue, and what it breaks is its own."""

from __future__ import annotations

import copy
import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from os_ken.base.app_manager import SERVICE_BRICKS, AppManager, OSKenApp, unregister_app
from os_ken.controller import event as os_ken_event

from ryu_apps.connecting.switch import Switch
from ryu_apps.guests.datapath import GuestDatapath
from ryu_apps.guests.incoming import incoming
from ryu_apps.guests.loading import Loaded, cause, in_time
from ryu_apps.guests.share import Share

MOST_WAITING = 4096
"""Events that may wait for a hosted app; more are left out, so that one that hangs does not eat the memory."""

BUSY_S = 10.0
"""A handler that runs for longer is said to hang."""

_STOP_S = 2.0


class Guest:
    """One hosted app, with the services that were started for it. `begin` is called before it reaches a switch."""

    def __init__(
        self,
        loaded: Loaded,
        share: Share,
        begin: Callable[[Any, int | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.loaded = loaded
        self.share = share
        self.name = loaded.app_class.__name__
        self.log = logging.getLogger(f"lockstitch.guest.{self.name}")
        self._begin = begin
        self._clock = clock
        self._apps: list[Any] = []
        self._datapaths: weakref.WeakKeyDictionary[Any, GuestDatapath] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._left_out = 0
        self._failures = 0
        self._last_failure = ""
        self._busy: dict[str, tuple[str, float]] = {}

    # -- its life -------------------------------------------------------------------------------------------

    def make(self, app_class: type, **contexts: Any) -> Any:
        """Make an app of it, known to os-ken but not started. Raises GuestError."""
        app = in_time(self.loaded.named, "being made", lambda: self._made(app_class, contexts))
        self._apps.append(app)
        return app

    def _made(self, app_class: type, contexts: dict[str, Any]) -> Any:
        def hosted() -> Any:
            app: Any = app_class(**contexts)
            if app.name in SERVICE_BRICKS:
                raise RuntimeError(f"an app named {app.name} runs already; give the class another name")
            app.events = queue.Queue()
            # What os-ken's own methods of these names do would block others, or end at the first exception.
            vars(app).update(
                _send_event=lambda event, state: self._deliver(app, event, state),
                _event_loop=lambda: self._run(app),
            )
            return app

        return AppManager.get_instance().instantiate(hosted)

    def start(self) -> None:
        """Start its event loops. Raises GuestError."""
        for app in self._apps:
            in_time(self.loaded.named, "starting", app.start)
        share = self.share
        self.log.info("app=%s table=%d cookie=%#x", self.loaded.named, share.first_table, share.owner << 56)

    def stop(self) -> None:
        """Take it out. One that hangs is left behind: its threads end with the process."""
        for app in reversed(self._apps):
            AppManager.get_instance().applications.pop(app.name, None)
            unregister_app(app)
            for other in SERVICE_BRICKS.values():
                other.unregister_observer_all_event(app.name)
            ending = threading.Thread(target=app.stop, name=f"stop {app.name}", daemon=True)
            ending.start()
            ending.join(_STOP_S)

    def has(self, name: str) -> bool:
        """Whether an app of this name is one of its own."""
        return any(app.name == name for app in self._apps)

    # -- events ---------------------------------------------------------------------------------------------

    def datapath(self, switch: Any) -> GuestDatapath:
        """What this app holds in place of a connection: always the same object."""
        with self._lock:
            datapath = self._datapaths.get(switch)
            if datapath is None:
                datapath = GuestDatapath(switch, self.share, self.name, self._begin)
                self._datapaths[switch] = datapath
            return datapath

    def _deliver(self, app: Any, event: Any, state: str | None) -> None:
        """Put an event in the queue of an app, as it may see it. Never waits and never raises: others go on."""
        try:
            seen = event if event is _stop_of(app) else self.seen(event, state)
        except Exception as error:  # noqa: BLE001  # whatever a switch sent, the thread that brings it goes on
            self.failed(f"{type(event).__name__} on its way", error)
            return
        if seen is None:
            return
        if app.events.qsize() >= MOST_WAITING and event is not _stop_of(app):
            self._left_out += 1
            return
        app.events.put((seen, state))

    def seen(self, event: Any, state: str | None) -> Any | None:
        """An event as this app sees it; None where it is not for it."""
        message = getattr(event, "msg", None)
        if message is not None and isinstance(getattr(message, "datapath", None), Switch):
            datapath = self.datapath(message.datapath)
            if hasattr(message, "datapath_id"):
                datapath.dpid = message.datapath_id
            message = incoming(message, state, self.share, datapath)
            return None if message is None else _with(event, msg=message)
        for name in ("datapath", "dp"):
            if isinstance(switch := getattr(event, name, None), Switch):
                return _with(event, **{name: self.datapath(switch)})
        if isinstance(getattr(getattr(event, "switch", None), "dp", None), Switch):
            return _with(event, switch=self.seen_switch(event.switch))
        return event

    def seen_switch(self, switch: Any) -> Any:
        """A switch of the topology events with this app's own datapath."""
        return _with(switch, dp=self.datapath(switch.dp))

    def _run(self, app: OSKenApp) -> None:
        """The event loop of an app. os-ken's own ends at the first exception under native threads."""
        while app.is_active or not app.events.empty():
            event, state = app.events.get()
            if event is _stop_of(app):
                continue
            for handler in list(app.get_handlers(event, state)):
                self._busy[app.name] = (type(event).__name__, self._clock())
                try:
                    handler(event)
                except BaseException as error:  # noqa: BLE001  # an app may raise anything
                    self.failed(type(event).__name__, error)
                    if isinstance(event, os_ken_event.EventRequestBase) and event.sync:
                        event.reply_q.put(None)
                finally:
                    self._busy.pop(app.name, None)

    # -- how it does ----------------------------------------------------------------------------------------

    def failed(self, over: str, error: BaseException) -> None:
        """Note an exception; its place in the code goes to the log, the newest to /v1/health."""
        self._failures += 1
        self._last_failure = f"{cause(error)} over {over}"
        self.log.error("failures=%d over=%s error=%s", self._failures, over, cause(error))
        self.log.debug("where it came from", exc_info=error)

    def complaints(self) -> list[str]:
        """What is wrong with it, for /v1/health."""
        reasons = []
        if self._failures:
            times = "once" if self._failures == 1 else f"{self._failures} times"
            reasons.append(f"hosted app {self.name} failed {times}, the last time with {self._last_failure}")
        for over, since_s in list(self._busy.values()):
            busy_s = self._clock() - since_s
            if busy_s > BUSY_S:
                waiting = sum(app.events.qsize() for app in self._apps)
                reasons.append(
                    f"hosted app {self.name} hangs in its handler of {over} for {busy_s:.0f} s, "
                    f"and {waiting} events wait for it"
                )
        if self._left_out:
            reasons.append(f"hosted app {self.name} is too slow: {self._left_out} events were left out")
        return reasons


def _stop_of(app: Any) -> Any:
    """The event by which os-ken ends an event loop."""
    return vars(app)["_event_stop"]


def _with(item: Any, **fields: Any) -> Any:
    other = copy.copy(item)
    for name, value in fields.items():
        setattr(other, name, value)
    return other
