"""The OVSDB servers that were given: their connections, and which of them knows a switch."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from ryu_apps.ovsdb.changes import Change, DropQos, DropQueue
from ryu_apps.ovsdb.refusals import Refusals
from ryu_apps.ovsdb.remotes import BadRemote, Certificates, check_remote
from ryu_apps.ovsdb.view import BridgeView, PortView, View
from stitching.network import Port, PortId

if TYPE_CHECKING:
    from ryu_apps.ovsdb.connection import Connection, Heard

_NAME_MAX = 15
"""Bytes of a port's name in OpenFlow."""


class Servers:
    """All servers. `tell` is called from their threads. Raises BadRemote."""

    def __init__(
        self,
        tell: Callable[[Heard], None],
        ssl: Certificates | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._ssl = ssl
        self._connections: dict[str, Connection] = {}
        self._views: dict[str, View] = {}
        self._refusals = Refusals(clock)
        self._switches: Mapping[int, Mapping[int, Port]] = {}
        self._bridges: dict[int, tuple[str, BridgeView]] = {}
        self.ports: Mapping[PortId, PortView] = MappingProxyType({})
        """Every port of a connected switch whose server answers."""

    def check(self, remote: str) -> str:
        """The remote as it is used. Raises BadRemote, also where we have no certificate for it."""
        remote = check_remote(remote)
        if remote.startswith("ssl:") and self._ssl is None:
            raise BadRemote(f"{remote} needs our key and certificate: --ovsdb-key, --ovsdb-cert and --ovsdb-ca")
        return remote

    def use(self, remotes: Iterable[str]) -> int:
        """Connect to these and let all others go. Returns how many are new."""
        wanted = dict.fromkeys(self.check(remote) for remote in remotes)
        for remote in self._connections.keys() - wanted.keys():
            self._connections.pop(remote).stop()
            self._views.pop(remote, None)
        new = [remote for remote in wanted if remote not in self._connections]
        if new:
            # Only here: the library takes its time, and nobody needs it who gives no server.
            from ryu_apps.ovsdb.connection import Connection
        for remote in new:
            self._connections[remote] = Connection(remote, self._tell, self._ssl)
            self._connections[remote].start()
        self._index()
        return len(new)

    def stop(self) -> None:
        """Disconnect from all."""
        for connection in self._connections.values():
            connection.stop()
        self._connections.clear()

    def heard(self, heard: Heard) -> bool:
        """Take in what a server says. Returns whether it was not connected before, or is not any more."""
        if heard.remote not in self._connections:
            return False
        was_there = heard.remote in self._views
        if was_there != (heard.view is not None):
            self._refusals.forget(heard.remote)
        if heard.error:
            self._refusals.add(heard.remote, heard.error)
        if heard.view is None:
            self._views.pop(heard.remote, None)
        else:
            self._views[heard.remote] = heard.view
        self._index()
        return was_there != (heard.view is not None)

    def connected(self, switches: Mapping[int, Mapping[int, Port]]) -> None:
        """These switches are connected to the controller, with these ports: only bridges of theirs are touched."""
        if switches != self._switches:
            self._switches = switches
            self._index()

    def submit(self, changes: Mapping[PortId, Change]) -> None:
        """Carry these out, one transaction for each server."""
        by_remote: defaultdict[str, list[Change]] = defaultdict(list)
        for (dpid, _), change in changes.items():
            if dpid in self._bridges:
                by_remote[self._bridges[dpid][0]].append(change)
        for remote, of_remote in by_remote.items():
            if remote in self._connections:  # none is left while the controller ends
                self._connections[remote].submit(of_remote)

    def sweep(self, remote: str) -> None:
        """Delete what deleted ports and rows have left in the database of a server."""
        view = self._views.get(remote)
        if view is None or self._refusals.why(remote):
            return
        left: list[Change] = [*map(DropQos, view.stray), *map(DropQueue, view.stray_queues)]
        if left:
            self._connections[remote].submit(left)

    @property
    def changeable(self) -> Mapping[PortId, PortView]:
        """Those of `ports` whose server has not refused a change just now."""
        if not self._refusals:
            return self.ports
        return {port_id: port for port_id, port in self.ports.items() if not self.why_refused(port_id[0])}

    def why_refused(self, dpid: int) -> str:
        """What the server of a switch has said against a change just now; "" where nothing."""
        known = self.bridge(dpid)
        return self._refusals.why(known[0]) if known is not None else ""

    def bridge(self, dpid: int) -> tuple[str, BridgeView] | None:
        """The server that knows a switch, and what it says of it."""
        return self._bridges.get(dpid)

    @property
    def switches(self) -> frozenset[int]:
        """The connected switches that a server which answers knows."""
        return frozenset(self._bridges)

    @property
    def by_switch(self) -> Mapping[int, str]:
        """The server that answers for each connected switch."""
        return {dpid: remote for dpid, (remote, _) in self._bridges.items()}

    def answering(self) -> Iterator[tuple[str, bool]]:
        """Each server, and whether it answers."""
        for remote in self._connections:
            yield remote, remote in self._views

    def _index(self) -> None:
        self._bridges = {}
        best: dict[int, int] = {}
        for remote, view in sorted(self._views.items()):
            for bridge in view.bridges:
                alike = _ports_alike(bridge, self._switches.get(bridge.dpid, {}))
                if alike > best.get(bridge.dpid, 0):
                    best[bridge.dpid] = alike
                    self._bridges[bridge.dpid] = remote, bridge
        self.ports = MappingProxyType(
            {
                (dpid, port_no): port
                for dpid, (_, bridge) in self._bridges.items()
                for port_no, port in bridge.ports.items()
                if _is_same(port, self._switches[dpid].get(port_no))
            }
        )


def _ports_alike(bridge: BridgeView, ports: Mapping[int, Port]) -> int:
    """How many ports of a bridge the switch of that dpid has too: a dpid alone names no bridge for sure."""
    return sum(_is_same(port, ports.get(port.port_no)) for port in bridge.ports.values())


def _is_same(port: PortView, told: Port | None) -> bool:
    return told is not None and told.name[:_NAME_MAX] == port.name[:_NAME_MAX]
