"""What the controller wants of one site: signed by the controller's state key, kept on the agent's disk."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Self

from pydantic import Field, model_validator

from vte_agent.protocol.base import PROTOCOL_VERSION, Generation, Message, Name, Prefix, Prefixes, Serial
from vte_agent.protocol.filters import Filters
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.transport import Transport

Address = IPv4Address | IPv6Address
Port = Annotated[int, Field(ge=1, le=65535)]

LEAST_MTU, MOST_MTU = 576, 9216
CLASS_NUMBERS = 254
MOST_INTERVAL_MS, LEAST_MULTIPLIER, MOST_MULTIPLIER = 10_000, 2, 50
"""Of `Liveness`, whichever end wants it."""


class Endpoint(Message):
    """Where the outer packets go."""

    address: Address
    port: Port


class Liveness(Message):
    """A tunnel is dead when `multiplier` probes in a row, one each interval, were not answered."""

    interval_ms: Annotated[int, Field(ge=10, le=MOST_INTERVAL_MS)] = 50
    multiplier: Annotated[int, Field(ge=LEAST_MULTIPLIER, le=MOST_MULTIPLIER)] = 3


class WantedTunnel(Message):
    """One end of a tunnel over one pair of uplinks.

    A tunnel never changes: what is to be another (its key, transport, MTU, uplink) is another tunnel, with a name
    of its own, that takes over. Without an endpoint the other end calls; without peer_key it has not said its key.
    """

    name: Name
    peer: Serial
    transport: Transport
    uplink: Name
    address: Address
    """This end's own address inside the tunnel; probes go from it to peer_address."""
    peer_address: Address
    endpoint: Endpoint | None = None
    peer_key: Signed | None = None
    mtu: Annotated[int, Field(ge=LEAST_MTU, le=MOST_MTU)] | None = None
    """None: what probing finds."""
    liveness: Liveness = Liveness()


class Match(Message):
    """Packets of an application; what is None may be anything."""

    source: Prefix | None = None
    destination: Prefix | None = None
    protocol: Annotated[int, Field(ge=0, le=255)] | None = None
    ports: tuple[Port, Port] | None = None
    """Destination ports, first and last."""
    dscp: Annotated[int, Field(ge=0, le=63)] | None = None


class WantedClass(Message):
    """Packets that go ways of their own. Of several classes the first one that matches has a packet."""

    name: Name
    number: Annotated[int, Field(ge=1, le=CLASS_NUMBERS)]
    matches: Annotated[tuple[Match, ...], Field(min_length=1)]


class WantedRoute(Message):
    """Prefixes, and the tunnels that lead to them, best first. Without a class it is for packets of none.

    Most sites are reached the same way: a site among a thousand is told of them in one route.
    """

    prefixes: Annotated[Prefixes, Field(min_length=1)]
    tunnels: Annotated[tuple[Name, ...], Field(min_length=1)]
    class_name: Name | None = None


class WantedLink(Message):
    """A link from this node's bridge to that of another: a VXLAN (RFC 7348), a port of the bridge at each end.

    local and remote are the nodes' anchors, which nothing but tunnels leads to. A link never changes.
    """

    name: Name
    vni: Annotated[int, Field(ge=1, lt=1 << 24)]
    local: Address
    remote: Address

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.local == self.remote or self.local.version != self.remote.version:
            raise ValueError("a link has two ends, of one family")
        return self


class Wanted(Message):
    """All that a site should have; what is not in it is to be taken down.

    roll and peers are signed by the policy key: an agent has tunnels to nobody else, whatever `tunnels` says.
    """

    version: int = PROTOCOL_VERSION
    generation: Generation
    serial: Serial
    """Of the agent that it is for."""
    roll: Signed
    peers: tuple[Signed, ...] = ()
    tunnels: tuple[WantedTunnel, ...] = ()
    classes: tuple[WantedClass, ...] = ()
    routes: tuple[WantedRoute, ...] = ()
    filters: Filters | None = None
    """Who may send what through the tunnels; None: nothing is kept from anybody."""
    links: tuple[WantedLink, ...] = ()
    """What its bridge is joined by to those of other sites."""
