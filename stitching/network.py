"""What the controller knows of the fabric, as one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from pathing import Topology

UNKNOWN_CAPACITY_MBPS = 1.0
"""What a Topology says where the capacity is unknown: so little that no cost made of it looks good."""

PortId = tuple[int, int]
"""A port of the fabric: (dpid, port_no)."""

LinkKey = tuple[int, int, int, int]
"""A directed link: (source dpid, source port, destination dpid, destination port)."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a switch."""

    port_no: int
    name: str
    mac: str
    up: bool
    speed_mbps: float | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A directed link that probes have crossed.

    latency_ms is the value paths are computed on: it moves only when the measured delay has moved for good,
    and is None while nothing was measured. measured_ms and spread_ms are the live estimate.
    """

    key: LinkKey
    capacity_mbps: float | None = None
    latency_ms: float | None = None
    measured_ms: float | None = None
    spread_ms: float | None = None

    @property
    def source(self) -> PortId:
        """The port it leaves by."""
        return self.key[0], self.key[1]

    @property
    def target(self) -> PortId:
        """The port it arrives at."""
        return self.key[2], self.key[3]


@dataclass(frozen=True, slots=True)
class Host:
    """A host and the edge port it was last seen on."""

    mac: str
    dpid: int
    port_no: int
    ips: frozenset[str] = frozenset()

    def __hash__(self) -> int:
        # What tells hosts apart nearly always; hosts are looked up for each pair that may talk.
        return hash(self.mac)

    @property
    def port(self) -> PortId:
        """The edge port it is on."""
        return self.dpid, self.port_no


@dataclass(frozen=True)
class Network:
    """Switches, links and hosts at one moment.

    switches maps a dpid to its ports; only connected switches are in it. links may name switches that are
    away (remembered from before a restart, or cut off from the controller but still forwarding). encrypted_ports
    are the source ports of links that are marked as encrypted, whether there is a link on them now or not.
    """

    switches: Mapping[int, Mapping[int, Port]] = field(default_factory=lambda: MappingProxyType({}))
    links: Mapping[LinkKey, Link] = field(default_factory=lambda: MappingProxyType({}))
    hosts: Mapping[str, Host] = field(default_factory=lambda: MappingProxyType({}))
    encrypted_ports: frozenset[PortId] = frozenset()

    @cached_property
    def dpids(self) -> tuple[int, ...]:
        """All switches that are connected, or named by a link or a host, in order."""
        known = set(self.switches)
        known.update(end for key in self.links for end in (key[0], key[2]))
        known.update(host.dpid for host in self.hosts.values())
        return tuple(sorted(known))

    @cached_property
    def fabric_ports(self) -> frozenset[PortId]:
        """Ports that lead to another switch."""
        return frozenset(port for link in self.links.values() for port in (link.source, link.target))

    @cached_property
    def topology(self) -> Topology:
        """The fabric for path computation: a node per dpid (as 16 hex digits), a link per LinkKey.

        The id of a link in it is the position of its key in `link_order`.
        """
        return self._topology({key: link.latency_ms for key, link in self.links.items()})

    @cached_property
    def both_ways(self) -> Topology:
        """The same with each link as slow as the slower of its directions, unknown where one of them is."""
        slower = {}
        for key, link in self.links.items():
            back = self.links.get(reverse(key), link)
            unknown = link.latency_ms is None or back.latency_ms is None
            slower[key] = None if unknown else max(link.latency_ms or 0.0, back.latency_ms or 0.0)
        return self._topology(slower)

    def _topology(self, latency_ms: Mapping[LinkKey, float | None]) -> Topology:
        topology = Topology()
        for dpid in self.dpids:
            topology.add_node(node_name(dpid))
        for key in self.link_order:
            topology.add_link(
                node_name(key[0]),
                node_name(key[2]),
                capacity_mbps=self.links[key].capacity_mbps or UNKNOWN_CAPACITY_MBPS,
                latency_ms=latency_ms[key],
            )
        return topology

    @cached_property
    def link_order(self) -> tuple[LinkKey, ...]:
        """The links in the order of their ids in `topology`; a cable from a switch to itself leads nowhere."""
        return tuple(sorted(key for key in self.links if key[0] != key[2]))

    def host_by_ip(self, ip: str) -> Host | None:
        """The host that was seen with this address, if any."""
        return self._hosts_by_ip.get(ip)

    @cached_property
    def _hosts_by_ip(self) -> dict[str, Host]:
        return {ip: host for host in self.hosts.values() for ip in host.ips}


def node_name(dpid: int) -> str:
    """The name of a switch in a Topology: its dpid as 16 hex digits."""
    return f"{dpid:016x}"


def port_name(port: PortId) -> str:
    """A port for people: the dpid as 16 hex digits, and the number; also a link, by its source."""
    return f"{node_name(port[0])}:{port[1]}"


def link_name(key: LinkKey) -> str:
    """A link in words, for a sentence."""
    return f"{port_name(key[:2])} to {port_name(key[2:])}"


def reverse(key: LinkKey) -> LinkKey:
    """The same wire the other way."""
    return key[2], key[3], key[0], key[1]
