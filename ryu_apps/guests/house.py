"""All hosted apps of a controller: made with what they ask for, started, watched, and taken out again."""

from __future__ import annotations

import importlib
import inspect
import logging
import threading
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from os_ken.base.app_manager import AppManager, OSKenApp

from ryu_apps import wire
from ryu_apps.guests.hosting import Guest
from ryu_apps.guests.loading import Loaded, in_time
from ryu_apps.guests.share import Share
from ryu_apps.guests.topology import TopologyBridge
from ryu_apps.guests.wsgi import WSGIApplication
from stitching.cookie import GUEST_OWNERS, GUESTS, GUESTS_MASK

_TOPOLOGY = "os_ken.topology.switches"
_OPENFLOW = "os_ken.controller.ofp_handler"
"""Services that we provide ourselves."""


class House:
    """The hosted apps. With none loaded it does nothing."""

    def __init__(self, loaded: Sequence[Loaded]) -> None:
        self.pages: WSGIApplication | None = None
        self._guests = [Guest(one, Share(number), self._begin) for number, one in enumerate(loaded)]
        self._lock = threading.Lock()
        self._begun: set[int] = set()
        self._threads = _ThreadFailures()

    @property
    def undecided(self) -> int | None:
        """The table that packets go to which our rules leave undecided: that of the first app."""
        return self._guests[0].share.first_table if self._guests else None

    @property
    def gone(self) -> tuple[int, ...]:
        """The owners, in cookies, of apps that do not run: what they have on switches is from earlier runs."""
        return tuple(owner for owner in GUEST_OWNERS if owner not in {one.share.owner for one in self._guests})

    def open(self) -> None:
        """Make all apps and start them. Raises GuestError; close() takes back what was done."""
        logging.getLogger("os_ken.lib.hub").addHandler(self._threads)
        if any(_TOPOLOGY in guest.loaded.services for guest in self._guests):
            bridge = AppManager.get_instance().instantiate(TopologyBridge, guest_of=self._guest_of)
            bridge.start()
        for guest in self._guests:
            contexts = {name: self._context(guest, wanted) for name, wanted in guest.loaded.contexts.items()}
            from_contexts = {wanted.__module__ for wanted in guest.loaded.contexts.values()}
            for service in guest.loaded.services:
                if service not in {_TOPOLOGY, _OPENFLOW, *from_contexts}:
                    guest.make(in_time(guest.loaded.named, "loading a service", partial(_app_in, service)))
            guest.make(guest.loaded.app_class, **contexts)
        for guest in self._guests:
            guest.start()

    def close(self) -> None:
        """Take all apps out; one that hangs is left behind."""
        for guest in reversed(self._guests):
            guest.stop()
        manager = AppManager.get_instance()
        if TopologyBridge.NAME in manager.applications:
            manager.uninstantiate(TopologyBridge.NAME)
        logging.getLogger("os_ken.lib.hub").removeHandler(self._threads)

    def complaints(self) -> list[str]:
        """What is wrong with hosted apps, for /v1/health."""
        return [reason for guest in self._guests for reason in guest.complaints()] + self._threads.complaints()

    def _context(self, guest: Guest, wanted: type) -> Any:
        if issubclass(wanted, OSKenApp):
            return guest.make(wanted)
        if issubclass(wanted, WSGIApplication):
            if self.pages is None:
                self.pages = WSGIApplication()
            return self.pages
        return in_time(guest.loaded.named, "making what it asks for", wanted)

    def _guest_of(self, name: str) -> Guest | None:
        return next((guest for guest in self._guests if guest.has(name)), None)

    def _begin(self, switch: Any, dpid: int | None) -> None:
        """Before the first message of any hosted app, delete what those of earlier runs left on the switch.

        An app that starts anew knows nothing of these rules, and may not be the one whose they were.
        """
        with self._lock:
            if dpid is None or dpid in self._begun:
                return
            if switch.send(wire.removal_of_all(GUESTS, GUESTS_MASK, 0)):
                self._begun.add(dpid)


class _ThreadFailures(logging.Handler):
    """Notes that a thread which an app had started by hub.spawn ended with an exception; os-ken only logs it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._seen: deque[str] = deque(maxlen=3)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the last line of the traceback."""
        lines = record.getMessage().strip().splitlines()
        self._seen.append(lines[-1] if lines else "")

    def complaints(self) -> list[str]:
        """What is wrong, for /v1/health."""
        return [f"a thread of a hosted app ended with {line}" for line in list(self._seen)]


def _app_in(module_name: str) -> type:
    """The app that a module of a service holds."""
    module = importlib.import_module(module_name)
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, OSKenApp) and found.__module__ == module.__name__:
            return found
    raise LookupError(f"the service {module_name} has no app")
