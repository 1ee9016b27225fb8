"""What the API answers. Every number has its unit in its name; null is unknown, never zero."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

from stitching.vnet import SpoofGuard

HEX_DPID = "The switch, as 16 hex digits."


class PortView(BaseModel):
    """A port of a switch."""

    number: int
    name: str
    up: bool


class SwitchView(BaseModel):
    """A switch. One that is not connected is remembered, and shows no ports."""

    dpid: str = Field(description=HEX_DPID)
    connected: bool
    ports: list[PortView]


class LinkView(BaseModel):
    """A directed link. latency_ms is the live measurement; load_mbps what its source port sent lately.

    path_latency_ms is what paths are computed on: it moves only when the measurement has moved for good.
    """

    src_dpid: str = Field(description=HEX_DPID)
    src_port: int
    dst_dpid: str = Field(description=HEX_DPID)
    dst_port: int
    latency_ms: float | None
    latency_spread_ms: float | None
    path_latency_ms: float | None
    capacity_mbps: float | None
    load_mbps: float | None
    utilisation: float | None = Field(description="load_mbps as a share of capacity_mbps.")
    encrypted: bool = Field(description="It is marked as encrypted.")


class HostView(BaseModel):
    """A host and where it was last seen."""

    name: str
    mac: str
    ips: list[str]
    dpid: str = Field(description=HEX_DPID)
    port: int
    vnet: str
    labels: list[str] = Field(description="Those that its virtual network gives it.")


class TopologyView(BaseModel):
    """The fabric at one moment."""

    switches: list[SwitchView]
    links: list[LinkView]
    hosts: list[HostView]


class CapacitiesView(BaseModel):
    """How many ports got a capacity, and how many of them have a link by now; the others wait for one."""

    ports: int
    links: int


class MemberView(BaseModel):
    """A host by its name and MAC."""

    name: str
    mac: str


class DeclaredHostView(MemberView):
    """A host of a virtual network: its labels, the only addresses and the only port (DPID:PORT) it may use."""

    labels: list[str] = []
    ips: list[str] = []
    port: str | None = None


class VnetView(BaseModel):
    """A virtual network: the hosts it names, and every host whose address lies in its subnets."""

    name: str
    hosts: list[DeclaredHostView]
    subnets: list[str]
    spoof_guard: SpoofGuard


class HopView(BaseModel):
    """A switch on a path: the packet comes in by in_port and leaves by out_port."""

    dpid: str = Field(description=HEX_DPID)
    in_port: int
    out_port: int


class LinkRefView(BaseModel):
    """A directed link by its two ports."""

    src_dpid: str = Field(description=HEX_DPID)
    src_port: int
    dst_dpid: str = Field(description=HEX_DPID)
    dst_port: int


class DetourView(BaseModel):
    """The way that packets take round a link, or round the switch behind it as well, when that is dead."""

    around: LinkRefView
    links: list[LinkRefView]


class CheckView(BaseModel):
    """Whether a stitch could be had now: with its path (or links), or with what stands in the way."""

    possible: bool
    path: list[HopView] | None = None
    backup: list[HopView] | None = None
    links: list[LinkRefView] | None = Field(default=None, description="Those of other kinds than vm.")
    detours: list[DetourView] | None = Field(default=None, description="Of a segment that is to be protected.")
    latency_ms: float | None = None
    displaces: list[int] = Field(
        default=[], description="Stitches of lower priority that would have to make room."
    )
    reason: str | None = None
    field: str | None = None
    remedy: str | None = None


class QuantileView(BaseModel):
    """A quantile for each step of the forecast, in Mbit/s."""

    level: float
    mbps: list[float | None]


class SeriesView(BaseModel):
    """What is expected of one series, step by step."""

    name: str
    mean_mbps: list[float | None]
    quantiles: list[QuantileView]
    cold: bool = Field(
        description="Its spread is a guess: there are too few samples, or no forecast could be made."
    )


class LinkForecastView(SeriesView):
    """The load of a link as traffic is routed now. Its name is dpid:port of its source.

    recent_mbps are the samples step_s apart up to `made`, oldest first, where one link was asked for.
    """

    src_dpid: str
    src_port: int
    dst_dpid: str
    dst_port: int
    capacity_mbps: float | None
    prob_above: list[float | None] | None = Field(
        description="For each step, how likely the load is above threshold_share of the capacity."
    )
    recent_mbps: list[float | None] = Field(default_factory=list)


class DemandForecastView(SeriesView):
    """The traffic from one host to another."""

    source: MemberView
    destination: MemberView


class CameTrueView(BaseModel):
    """How often what was measured lay in the interval forecast for it, the newest periods most.

    Where the forecasts are right, `demands` and `links` are near `interval`. Null before the first outcome.
    """

    interval: float = Field(description="The share of outcomes that a central interval should hold.")
    demands: float | None
    links: float | None


class AlarmView(BaseModel):
    """Traffic that nobody would have expected, when it came."""

    time: datetime
    series: str = Field(description="What did it: a link by dpid:port of both ends, or a demand by its MACs.")
    surprise_bits: float = Field(description="10 bits: that far off once in 1,000 times.")


class ForecastsView(BaseModel):
    """The newest forecast. Not ready: there is none yet, and the lists are empty."""

    ready: bool
    made: datetime | None = Field(description="The time of the newest sample it was made from.")
    age_s: float | None = Field(description="How long that is ago, by the clock of the controller.")
    step_s: float | None = Field(description="Seconds from one step to the next; the first is one after `made`.")
    steps: list[int] = Field(
        description="Which steps after `made` all lists of the forecast are of, in their order."
    )
    samples: int = Field(description="How many samples it was made from; 0 before the first forecast.")
    threshold_share: float | None
    came_true: list[CameTrueView]
    alarms: list[AlarmView] = Field(description="The newest ones, oldest first.")
    outcomes: int = Field(description="How many outcomes came_true is made from, since the start.")
    workers_lost: int = Field(
        description="How many processes died over a forecast or were given up, since the start."
    )
    links: list[LinkForecastView]
    demands: list[DemandForecastView]


class InstallerView(BaseModel):
    """Rules since the start of the controller."""

    rules_added: int
    rules_removed: int
    rules_kept: int
    errors: int
    switches_ready: int
    switches_differing: list[str]


class HealthView(BaseModel):
    """Whether every part of the controller does its work; `reasons` says what does not."""

    status: Literal["ok", "degraded"]
    reasons: list[str]
    advice: list[str] = Field(description="What works less well than it could, and what would help.")
    version: str
    uptime_s: float
    switches_connected: int | None
    samples_age_s: float | None
    stitches: dict[str, int] | None = Field(description="How many stitches are in each state.")
    installer: InstallerView | None
    queue_depths: dict[str, int] | None


def moment(seconds: float) -> datetime:
    """Seconds since the epoch as a time in UTC, which the API writes as RFC 3339 says."""
    return datetime.fromtimestamp(seconds, UTC)
