"""The stitches that callers may ask for, by kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from ryu_apps.rest.bodies import Body, End, L4Port, LabelName, LabelValue, Mbps, Subnet, VnetName
from stitching.application import PROTOCOLS, Application

_MOST_LATENCY_MS = 3_600_000.0

KINDS = ("vm", "segment", "bandwidth")

MaxLatency = Annotated[float, Field(gt=0, le=_MOST_LATENCY_MS)]
MaxLoss = Annotated[float, Field(ge=0, le=1, description="Share of packets.")]
Labels = Annotated[dict[LabelName, LabelValue], Field(max_length=16)]


class ApplicationBody(Body):
    """One application between the hosts: those of their packets that it is told by."""

    protocol: Literal["tcp", "udp", "sctp", "icmp", "icmpv6"] | Annotated[int, Field(ge=0, le=255)] | None = None
    source_port: L4Port | None = None
    destination_port: L4Port | None = None
    dscp: Annotated[int, Field(ge=0, le=63)] | None = None

    @model_validator(mode="after")
    def _tells(self) -> ApplicationBody:
        self.application()
        return self

    def application(self) -> Application:
        """The same as a value. Raises ValueError where it tells nothing, or has ports and no protocol of such."""
        number = PROTOCOLS[self.protocol] if isinstance(self.protocol, str) else self.protocol
        return Application(number, self.source_port, self.destination_port, self.dscp)


class TermsFields(Body):
    """What can be asked of any kind."""

    labels: Labels = {}


class CarryingFields(TermsFields):
    """What can be asked of a kind that has a path of its own."""

    max_latency_ms: MaxLatency | None = None
    max_loss: MaxLoss | None = None
    protection: Literal["none", "link", "node"] = Field(
        default="none",
        description="What may die while traffic goes on: nothing, any link, or also any switch.",
    )


class VmBody(CarryingFields):
    """Two hosts that are to have a path of their own: what it has to carry each way, and what must hold for it."""

    kind: Literal["vm"] = "vm"
    source: End
    destination: End
    bandwidth_mbps: Mbps
    application: ApplicationBody | None = Field(default=None, description="Without one: all between the hosts.")


class SideBody(Body):
    """A part of a virtual network: these hosts and those in these subnets, or all of it where neither is given."""

    vnet: VnetName
    hosts: Annotated[list[End], Field(max_length=1_000)] = []
    subnets: Annotated[list[Subnet], Field(max_length=100)] = []


class SegmentBody(CarryingFields):
    """Parts of two virtual networks that are to be one segment; hosts join and leave it as they come and go."""

    kind: Literal["segment"]
    source: SideBody
    destination: SideBody
    bandwidth_mbps: Mbps

    @model_validator(mode="after")
    def _two_networks(self) -> SegmentBody:
        if self.source.vnet == self.destination.vnet:
            raise ValueError(f"both sides are in {self.source.vnet!r}: its hosts reach each other already")
        return self


class BandwidthBody(TermsFields):
    """What the hosts of one virtual network may send to those of another, or to each other, on any path."""

    kind: Literal["bandwidth"]
    source: VnetName
    destination: VnetName
    guarantee_mbps: Mbps | None = None
    cap_mbps: Mbps | None = None
    follow_forecast: bool = Field(
        default=False, description="The guarantee grows with the forecast, as far as the cap, and back again."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> BandwidthBody:
        if self.guarantee_mbps is None and self.cap_mbps is None:
            raise ValueError("give guarantee_mbps, cap_mbps or both")
        if self.guarantee_mbps is not None and self.cap_mbps is not None and self.guarantee_mbps > self.cap_mbps:
            raise ValueError("guarantee_mbps is above cap_mbps")
        if self.follow_forecast and self.guarantee_mbps is None:
            raise ValueError("follow_forecast needs a guarantee_mbps to begin with")
        return self


def _kind_of(value: Any) -> str | None:
    """The kind of a body; one that says none is of two hosts, and so is one that is no object at all."""
    kind = value.get("kind", "vm") if isinstance(value, dict) else getattr(value, "kind", "vm")
    return kind if isinstance(kind, str) else None


StitchBody = Annotated[
    Annotated[VmBody, Tag("vm")]
    | Annotated[SegmentBody, Tag("segment")]
    | Annotated[BandwidthBody, Tag("bandwidth")],
    Discriminator(
        _kind_of,
        custom_error_type="unknown_kind",
        custom_error_message=f"kind is one of {', '.join(KINDS)}",
    ),
]
