"""Tells the other apps what the fabric looks like: as one value, and not more often than is of use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from ryu_apps.discovering.hosts import HostTable
from ryu_apps.discovering.links import LinkTable
from ryu_apps.discovering.ports import Ports
from stitching.network import Host, Link, LinkKey, Network

COALESCE_S, COALESCE_EACH_S = 0.02, 1e-4
"""The least time between two tellings, and how much it grows with each switch and link.

Every app looks at all there is each time: of a large fabric that is found in a thousand steps they would do
nothing else, and what finds it would hardly get on.
"""


class Teller:
    """Makes the Network of what there is, and says (by `publish`) when it is another."""

    def __init__(
        self,
        ports: Ports,
        table: LinkTable,
        hosts: HostTable,
        publish: Callable[[Network], None],
        clock: Callable[[], float],
    ) -> None:
        self._ports = ports
        self._table = table
        self._hosts = hosts
        self._publish = publish
        self._clock = clock
        self._hosts_view: tuple[int, Mapping[str, Host]] = (-1, MappingProxyType({}))
        self._seen_hosts: tuple[int, Network] = (-1, Network())
        self._told: dict[LinkKey, Link] = {}
        self._published_s = -math.inf
        self._publish_at_s = math.inf

    def changed(self, wait_s: float = 0.0, *, at_once: bool = False) -> None:
        """Publish at the end of this handler, or when the last time is long enough ago."""
        now_s = self._clock()
        due_s = now_s if at_once else max(now_s + wait_s, self._published_s + self._pause_s)
        self._publish_at_s = min(self._publish_at_s, due_s)

    @property
    def _pause_s(self) -> float:
        return COALESCE_S + COALESCE_EACH_S * (len(self._ports.switches) + len(self._table.links))

    def remembers(self) -> None:
        """There is something to tell from the start."""
        self._publish_at_s = -math.inf

    def publish_if_due(self) -> None:
        """Say what there is, if that is another and it is time to."""
        now_s = self._clock()
        if now_s >= self._publish_at_s:
            self._published_s, self._publish_at_s = now_s, math.inf
            self._told = dict(self._table.links)
            self._publish(self._network(self._told))

    def live(self) -> Network:
        """The fabric now, its links with their live estimates."""
        return self._network({key: self._as_told(key) for key in self._table.links})

    @property
    def hosts_alone(self) -> Network:
        """The hosts, without the fabric."""
        if self._seen_hosts[0] != self._hosts.version:
            self._seen_hosts = self._hosts.version, Network(hosts=self._hosts.hosts)
        return self._seen_hosts[1]

    def _as_told(self, key: LinkKey) -> Link:
        """A link with its live estimate, and the latency for paths that the others were told last."""
        told = self._told.get(key)
        return replace(self._table.live(key), latency_ms=None if told is None else told.latency_ms)

    def _network(self, links: dict[LinkKey, Link]) -> Network:
        """The fabric as one value. Ports, links and hosts that did not change are the same objects as before."""
        if self._hosts_view[0] != self._hosts.version:
            self._hosts_view = self._hosts.version, MappingProxyType(self._hosts.hosts)
        return Network(
            switches=MappingProxyType({dpid: switch.ports for dpid, switch in self._ports.switches.items()}),
            links=MappingProxyType(links),
            hosts=self._hosts_view[1],
            encrypted_ports=self._table.encrypted,
        )
