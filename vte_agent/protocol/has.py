"""What an agent says of itself."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from vte_agent.protocol.base import (
    PROTOCOL_VERSION,
    Count,
    Generation,
    Message,
    Milliseconds,
    Name,
    Prefixes,
    Share,
    how_many,
)
from vte_agent.protocol.filters import RuleCount
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Address, Port

Text = Annotated[str, Field(max_length=300)]

# A hub of 1,000 sites has two tunnels with each, and each twice while its keys are replaced.
MOST_TUNNELS = 4_096
MOST_ROUTES = 16_384
"""A prefix counts once for each class that has ways of its own."""
MOST_COUNTS = 8_192
MOST_LINKS = MOST_UPLINKS = 64
MOST_PROBLEMS = 100

_KEY_CHARS = 512
"""Of a signed `TunnelKey`."""


def _is_short(key: Signed) -> Signed:
    if len(key.payload) > _KEY_CHARS:
        raise ValueError("the key of a tunnel is shorter than that")
    return key


class TunnelState(StrEnum):
    """MAKING: not all of it is there, or the other end has not said its key. Then as its own probes see it."""

    MAKING = "making"
    DOWN = "down"
    UP = "up"
    FAILED = "failed"


class Quality(Message):
    """Measured over the last window (STAMP, RFC 8762); `out` is towards the other end. None: nothing came back."""

    rtt_ms: Milliseconds | None = None
    jitter_ms: Milliseconds | None = None
    jitter_out_ms: Milliseconds | None = None
    jitter_in_ms: Milliseconds | None = None
    loss_out: Share | None = None
    loss_in: Share | None = None


class TunnelReport(Message):
    """A tunnel as it is. key is this end's, signed by the agent's identity.

    why: what kept it from being made, or, of one that is up, in which way it does worse than it may.
    """

    name: Name
    state: TunnelState
    why: Text = ""
    key: Annotated[Signed, AfterValidator(_is_short)] | None = None
    port: Port | None = None
    """Where this end listens."""
    mtu: Annotated[int, Field(ge=0)] | None = None
    """The longest packet that gets through to the other end; None: it is being found out."""
    handshake_age_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    quality: Quality = Quality()
    received_bytes: Count = 0
    sent_bytes: Count = 0


def _prefixes_of(route: object) -> int:
    """How many a route has, read or not."""
    return how_many(route.get("prefixes") if isinstance(route, dict) else getattr(route, "prefixes", ()))


def _not_too_many(routes: object) -> object:
    """Before any prefix is looked at: each takes its time, and a frame has room for many."""
    if isinstance(routes, tuple | list) and sum(map(_prefixes_of, routes)) > MOST_ROUTES:
        raise ValueError(f"there are more than {MOST_ROUTES} routes")
    return routes


class RouteReport(Message):
    """Which way packets to these prefixes take now, and why this one. tunnel None: none is alive."""

    prefixes: Annotated[Prefixes, Field(min_length=1, max_length=MOST_ROUTES)]
    class_name: Name | None = None
    tunnel: Name | None
    why: Text = ""
    moves: Count = 0
    """How often each of them went another way since the agent started."""


class Uplink(Message):
    """A way out of the site: a device of its own, with the address that tunnels leave from."""

    name: Name
    address: Address


class BridgeReport(Message):
    """The Open vSwitch bridge that the agent was told is the site's."""

    name: Name
    dpid: Annotated[int, Field(ge=0, lt=1 << 64)]


class LinkReport(Message):
    """A link of the bridge. port: its number there, None while it has none."""

    name: Name
    port: Annotated[int, Field(ge=1, lt=0xFF00)] | None = None
    why: Text = ""


class HostReport(Message):
    """How the machine does.

    cpu: the share of time in which its processors ran something. memory: the share of it that no program can have
    any more. memory_mb: what the agent has of it, with the processes that it has started.
    timer_late_ms: how late the prober's timer was at worst since the last report.
    """

    cpu: Share = 0.0
    memory: Share = 0.0
    memory_mb: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    timer_late_ms: Milliseconds = 0.0


class Has(Message):
    """All that a site has, and the newest generation it has carried out. problems are what keeps it from more.

    Where it does not know any more what is wanted, generation is the highest that it ever took.
    """

    version: int = PROTOCOL_VERSION
    generation: Generation
    transports: Annotated[tuple[Transport, ...], Field(max_length=len(Transport))] = ()
    uplinks: Annotated[tuple[Uplink, ...], Field(max_length=MOST_UPLINKS)] = ()
    tunnels: Annotated[tuple[TunnelReport, ...], Field(max_length=MOST_TUNNELS)] = ()
    routes: Annotated[tuple[RouteReport, ...], Field(max_length=MOST_ROUTES), BeforeValidator(_not_too_many)] = ()
    host: HostReport = HostReport()
    problems: Annotated[tuple[Text, ...], Field(max_length=MOST_PROBLEMS)] = ()
    filters: Annotated[tuple[RuleCount, ...], Field(max_length=MOST_COUNTS)] = ()
    """What each rule of the filters has decided on since the agent started."""
    bridge: BridgeReport | None = None
    links: Annotated[tuple[LinkReport, ...], Field(max_length=MOST_LINKS)] = ()
    channel_address: Address | None = None
    """The address from which this was said; who hears it from another one knows that a NAT lies between."""
    routes_stay: bool = False
    """They are left out, as they are those of the report before on the same channel."""

    @model_validator(mode="after")
    def _says_routes_or_not(self) -> Self:
        if self.routes and self.routes_stay:
            raise ValueError("routes are either said or those of the report before")
        return self

    def after(self, before: Has | None) -> Has:
        """What is to be said after another report: a site of a thousand does not name all others each time."""
        if before is None or before.routes != self.routes:
            return self
        return self.model_copy(update={"routes": (), "routes_stay": True})

    def whole(self, before: Has | None) -> Has:
        """All of what was said after another report. Raises ValueError where there was none."""
        if not self.routes_stay:
            return self
        if before is None:
            raise ValueError("the first report on a channel says all routes")
        return self.model_copy(update={"routes": before.routes, "routes_stay": False})
