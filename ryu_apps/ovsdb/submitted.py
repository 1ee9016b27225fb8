"""Which ports' queues are on their way to a server: asked for again, they would only make it later still."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ryu_apps.ovsdb.view import PortView, QosView
from stitching.network import PortId

AGAIN_S = 2.0
"""A change that has shown no effect by then came to nothing: somebody else was quicker, or it was refused."""


@dataclass(frozen=True, slots=True)
class _Change:
    seen: QosView | None
    until_s: float


class Submitted:
    """The ports whose change has not shown in the database yet. Times are of one monotonic clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changes: dict[PortId, _Change] = {}

    def __contains__(self, port_id: object) -> bool:
        """Whether a change of this port is on its way."""
        return port_id in self._changes

    def add(self, port_ids: Iterable[PortId], ports: Mapping[PortId, PortView]) -> None:
        """These are about to be changed, and look like this now."""
        until_s = self._clock() + AGAIN_S
        self._changes.update((port_id, _Change(ports[port_id].qos, until_s)) for port_id in port_ids)

    def keep(self, ports: Mapping[PortId, PortView]) -> None:
        """Forget those that look otherwise now, are gone, or have taken too long."""
        now_s = self._clock()
        for port_id, change in list(self._changes.items()):
            port = ports.get(port_id)
            if port is None or port.qos != change.seen or now_s >= change.until_s:
                del self._changes[port_id]

    def forget(self) -> None:
        """Nothing is on its way any more."""
        self._changes.clear()
