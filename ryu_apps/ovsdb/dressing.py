"""Keeps the DSCP filters on the devices of a local switch: they go whenever its classes are made anew."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ryu_apps.ovsdb import classes
from ryu_apps.ovsdb.classes import NoClasses
from ryu_apps.ovsdb.remotes import socket_path
from ryu_apps.ovsdb.view import PortView
from stitching.network import PortId
from stitching.queues import DscpClass, LabelClass, PortQueues, class_minor, queue_classes, rows

CHECK_S = 5.0
AGAIN_S = 0.02


@dataclass(slots=True)
class _Dressed:
    qos: str
    classes: tuple[DscpClass | LabelClass, ...]
    minors: tuple[int, ...]
    checked_s: float


class Dresser:
    """The filters of all ports. `failures` says, by port, why one has none. Times are of one monotonic clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures: dict[PortId, str] = {}
        self._clock = clock
        self._dressed: dict[PortId, _Dressed] = {}
        self._tried_s: dict[PortId, float] = {}
        self._failing_since_s: dict[PortId, float] = {}
        self._namespaces: dict[str, Path | NoClasses] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether a port waits for its classes to be made, or for what keeps filters off it to go."""
        return bool(self.failures)

    def is_dressed(self, port_id: PortId) -> bool:
        """Whether its filters are set, as far as is known."""
        return port_id in self._dressed and port_id not in self.failures

    def turn(self, port_id: PortId) -> tuple[bool, float]:
        """What to sort ports by: those without filters go first, and whose turn was long ago."""
        has = self._dressed.get(port_id)
        return has is not None, has.checked_s if has is not None else self._tried_s.get(port_id, -math.inf)

    def keep(self, wanted: Mapping[PortId, PortQueues]) -> None:
        """Forget the ports that want no queues any more: their filters went with the classes."""
        for table in (self._dressed, self._tried_s, self._failing_since_s, self.failures):
            for port_id in table.keys() - wanted.keys():
                del table[port_id]

    def undress(self, port_id: PortId, remote: str, port: PortView, wanted: PortQueues | None) -> None:
        """Take filters off before classes are changed: a class that a filter leads to cannot be removed."""
        has = self._dressed.get(port_id)
        if has is None or wanted is None:
            return
        stay = tuple(one for one in has.classes if one in queue_classes(wanted.queues))
        if stay == has.classes:
            return
        self._dressed.pop(port_id)
        try:
            classes.set_filters(self._where(remote), port.name, stay, has.minors)
        except NoClasses as error:
            self.failures[port_id] = str(error)

    def dress(self, port_id: PortId, remote: str, port: PortView, wanted: PortQueues) -> bool:
        """See to it that the port has its filters, if its classes are as wanted. Returns whether they are new."""
        minors = tuple(class_minor(number) for number in rows(wanted).queues)
        if port.qos is None or {class_minor(number) for number in port.qos.rows.queues} != set(minors):
            return False
        now_s = self._clock()
        shall = queue_classes(wanted.queues)
        has = self._dressed.get(port_id)
        if has is not None and (has.qos, has.classes, has.minors) == (port.qos.uuid, shall, minors):
            if now_s - has.checked_s < CHECK_S or self._is_as_left(has, remote, port, now_s):
                return False
        elif not self._may_try(port_id, now_s):
            return False
        self._tried_s[port_id] = now_s
        try:
            classes.set_filters(self._where(remote), port.name, shall, minors)
        except NoClasses as error:
            # Right after the change the switch daemon may not have made the classes yet: tried again soon.
            self.failures[port_id] = str(error)
            self._failing_since_s.setdefault(port_id, now_s)
            self._dressed.pop(port_id, None)
            return False
        self.failures.pop(port_id, None)
        self._failing_since_s.pop(port_id, None)
        self._dressed[port_id] = _Dressed(port.qos.uuid, shall, minors, now_s)
        return True

    def _may_try(self, port_id: PortId, now_s: float) -> bool:
        """At once while the switch daemon is about to make the classes; the longer that takes, the less often."""
        tried_s = self._tried_s.get(port_id, -math.inf)
        if port_id not in self._failing_since_s:
            return now_s - tried_s >= AGAIN_S
        return now_s - tried_s >= min(CHECK_S, max(AGAIN_S, tried_s - self._failing_since_s[port_id]))

    def _is_as_left(self, has: _Dressed, remote: str, port: PortView, now_s: float) -> bool:
        try:
            found = classes.has_filters(self._where(remote), port.name)
        except NoClasses:
            return False
        has.checked_s = now_s
        return found == classes.filters_of(has.classes)

    def unfilterable(self, remote: str) -> str:
        """Why no filter can be set on the ports of a server's switch; "" where it can."""
        try:
            self._where(remote)
        except NoClasses as error:
            return str(error)
        return ""

    def forget(self, remote: str) -> None:
        """A server came or went: its switch may live somewhere else now."""
        self._namespaces.pop(remote, None)

    def _where(self, remote: str) -> Path:
        known = self._namespaces.get(remote)
        if known is None:
            known = self._namespaces[remote] = _namespace(remote)
        if isinstance(known, NoClasses):
            raise known
        return known


def _namespace(remote: str) -> Path | NoClasses:
    path = socket_path(remote)
    if path is None:
        return NoClasses("its ports are on another host, where no filter can be set from here")
    try:
        return classes.namespace_of(path)
    except NoClasses as error:
        return error
