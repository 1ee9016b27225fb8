"""The messages between the controller and the agent of a site, as far as they are known by now.

The controller says what is wanted, the agent says what it has; both carry the generation of the wanted state they
speak of, so that an answer to an older state is never taken for one to the newest.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PROTOCOL_VERSION = 1

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
Generation = Annotated[int, Field(ge=0, lt=1 << 63)]


class Message(BaseModel):
    """A message: unknown fields are refused, and what was read does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Transport(StrEnum):
    """What a tunnel is made of."""

    WIREGUARD = "wireguard"
    IPSEC = "ipsec"


class TunnelState(StrEnum):
    """How a tunnel does, as its own probes see it."""

    DOWN = "down"
    UP = "up"


class WantedTunnel(Message):
    """A tunnel to another site."""

    name: Name
    peer: Name
    transport: Transport
    endpoint: Annotated[str, Field(max_length=255)]
    public_key: Annotated[str, Field(max_length=1024)]


class WantedRoute(Message):
    """A prefix and the tunnels that lead to it, best first."""

    prefix: IPv4Network | IPv6Network
    tunnels: Annotated[tuple[Name, ...], Field(min_length=1)]


class Wanted(Message):
    """All that a site should have; what is not in it is to be taken down."""

    version: int = PROTOCOL_VERSION
    generation: Generation
    site: Name
    tunnels: tuple[WantedTunnel, ...] = ()
    routes: tuple[WantedRoute, ...] = ()


class TunnelReport(Message):
    """A tunnel as it is."""

    name: Name
    state: TunnelState
    rtt_ms: Annotated[float, Field(ge=0)] | None = None
    loss: Annotated[float, Field(ge=0, le=1)] | None = None


class Has(Message):
    """All that a site has, and the newest generation it has carried out."""

    version: int = PROTOCOL_VERSION
    generation: Generation
    site: Name
    tunnels: tuple[TunnelReport, ...] = ()
