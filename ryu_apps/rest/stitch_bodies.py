"""The stitches that callers may ask for, by kind."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from ryu_apps.rest.bodies import Body, End, L4Port, LabelName, LabelValue, Mbps, Subnet, VnetName
from stitching.application import PROTOCOLS, Application
from stitching.terms import PRIORITY

_FIRST_YEAR, _LAST_YEAR = 1970, 9998
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


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("a time looks like 2026-03-01T08:00:00Z") from error
    if moment.tzinfo is None:
        raise ValueError("say which zone the time is of, such as Z at the end for UTC")
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"give a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    return text


def _zone(text: str) -> str:
    if text not in available_timezones():
        raise ValueError("no zone of the IANA database; one looks like Europe/Vienna, or UTC")
    return text


Moment = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"}), AfterValidator(_moment)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Hour = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="Such as 08:00.")]
Zone = Annotated[str, Field(max_length=64, description="Of the IANA database."), AfterValidator(_zone)]


class WeeklyBody(Body):
    """Hours of the week. An end that is not after the start is of the next day."""

    days: Annotated[
        list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], Field(min_length=1, max_length=7)
    ]
    start: Hour
    end: Hour
    zone: Zone = "UTC"


class TermsFields(Body):
    """What can be asked of any kind."""

    labels: Labels = {}
    priority: Annotated[int, Field(ge=0, le=7)] = Field(
        default=PRIORITY, description="The least important give way first where capacity shrinks."
    )
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    weekly: WeeklyBody | None = None
    mode: Literal["now", "predictive"] = Field(
        default="now", description="predictive: made when its traffic is forecast, let go when it is not. vm only."
    )
    threshold_mbps: Mbps | None = Field(default=None, description="For predictive: more than that is expected.")
    probability: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="For predictive: how likely that has to be; 0.5 unless given."
    )
    encrypted: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        times = [datetime.fromisoformat(text) for text in (self.valid_from, self.valid_until) if text is not None]
        if len(times) == 2 and times[0] >= times[1]:
            raise ValueError("valid_until is not after valid_from")
        if self.mode == "predictive" and self.threshold_mbps is None:
            raise ValueError("mode predictive needs threshold_mbps")
        if self.mode == "now" and (self.threshold_mbps, self.probability) != (None, None):
            raise ValueError("threshold_mbps and probability are of mode predictive")
        return self


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
