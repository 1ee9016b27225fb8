"""What sites say until the app takes it: of each its newest report and its last moves, however much it says."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ryu_apps.app import Event
from ryu_apps.overlay.heard import Said, SiteCame, SiteGone, SiteSaid
from ryu_apps.overlay.hosting import GateListener
from vte_agent.protocol.base import Serial
from vte_agent.protocol.frames import Moved
from vte_agent.protocol.has import Has


class Hearing:
    """Between the gate's thread, which tells, and the app's, which takes.

    post: called with what is to be handled; while a site's channel lasts, one `SiteSaid` of it at a time.
    """

    def __init__(self, post: Callable[[Event], object]) -> None:
        self._post = post
        self._lock = threading.Lock()
        self._waiting: dict[Serial, Said] = {}

    def listener(self) -> GateListener:
        """What a gate tells it by."""
        return GateListener(
            on_hello=lambda serial, _hello: self._post(SiteCame(serial)),
            on_has=self._has,
            on_moved=self._moved,
            on_gone=self._gone,
        )

    def take(self, event: SiteSaid) -> Said:
        """All of it, to which nothing is added any more."""
        with self._lock:
            if self._waiting.get(event.serial) is event.said:
                del self._waiting[event.serial]
        return event.said

    def _has(self, serial: Serial, has: Has) -> None:
        with self._lock:
            said, is_new = self._said_by(serial)
            said.has = has
        if is_new:
            self._post(SiteSaid(serial, said))

    def _moved(self, serial: Serial, moved: Moved) -> None:
        with self._lock:
            said, is_new = self._said_by(serial)
            said.moves.append(moved)
        if is_new:
            self._post(SiteSaid(serial, said))

    def _gone(self, serial: Serial, why: str) -> None:
        with self._lock:
            # What it says when it is back is heard after this, and not before.
            self._waiting.pop(serial, None)
        self._post(SiteGone(serial, why))

    def _said_by(self, serial: Serial) -> tuple[Said, bool]:
        waiting = self._waiting.get(serial)
        if waiting is not None:
            return waiting, False
        said = self._waiting[serial] = Said()
        return said, True
