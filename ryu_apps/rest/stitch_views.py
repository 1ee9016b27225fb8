"""What the API answers about stitches, by kind."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ryu_apps.rest.fabric import Fabric, link_ref_view, path_view
from ryu_apps.rest.views import HEX_DPID, CheckView, DetourView, HopView, LinkRefView, MemberView, moment
from stitching.application import PROTOCOLS, Application
from stitching.displacing import Room
from stitching.network import node_name
from stitching.segment import Member, SegmentRequest, SegmentTree, Side
from stitching.stitch import BandwidthRequest, BandwidthShares, State, Stitch, StitchPath
from stitching.validity import DAYS, Weekly
from stitching.vm import VmRequest


class ApplicationView(BaseModel):
    """One application between two hosts."""

    protocol: str | int | None
    source_port: int | None
    destination_port: int | None
    dscp: int | None


class WeeklyView(BaseModel):
    """Hours of the week."""

    days: list[str]
    start: str
    end: str
    zone: str


class TermsView(BaseModel):
    """What every stitch has."""

    id: int
    state: State
    reason: str | None
    labels: dict[str, str]
    priority: int
    valid_from: datetime | None
    valid_until: datetime | None
    weekly: WeeklyView | None
    mode: Literal["now", "predictive"]
    threshold_mbps: float | None = Field(description="With mode predictive: what has to be expected.")
    probability: float | None
    encrypted: bool
    origin: str = Field(description="Who wanted it: api, or trigger (the forecast).")
    load_mbps: float | None
    enforced: Literal["meter", "queue", "none"] = Field(
        description="What polices or guarantees the bandwidth. none: it is kept by admission alone.",
    )
    enforced_cap: Literal["meter", "none"] | None = Field(
        description="What polices the cap where a guarantee is asked for too: `enforced` is the guarantee's then."
    )
    enforced_why: str | None = Field(description="What that is known from.")
    created: datetime
    changed: datetime
    up_since: datetime | None


class CarryingView(TermsView):
    """What a stitch with a path of its own has. latency_ms is planned on measured links, probe_ms was measured."""

    bandwidth_mbps: float
    max_latency_ms: float | None
    max_loss: float | None
    protection: Literal["none", "link", "node"]
    latency_ms: float | None
    probe_ms: float | None
    probe_loss: float | None = Field(description="Share of the last 60 probes that did not come through.")
    packets: int | None = Field(description="Packets that have entered it, in all directions, probes included.")
    bytes: int | None = Field(description="Bytes of them, as the switches where they enter last said.")


class VmView(CarryingView):
    """A stitch between two hosts."""

    kind: Literal["vm"] = "vm"
    source: MemberView
    destination: MemberView
    application: ApplicationView | None = Field(description="None: all packets between the hosts.")
    both_ways: bool
    relieves: LinkRefView | None = Field(description="The link that the trigger made it for.")
    path: list[HopView] | None
    backup: list[HopView] | None = Field(description="What switches turn to by themselves when the path dies.")


class SideView(BaseModel):
    """A part of a virtual network as it was asked for, and the hosts that are in it now."""

    vnet: str
    hosts: list[MemberView] = Field(description="Those that were named; none, and no subnets: all of it.")
    subnets: list[str]
    members: list[MemberView]


class SegmentView(CarryingView):
    """A segment of parts of two virtual networks."""

    kind: Literal["segment"] = "segment"
    source: SideView
    destination: SideView
    links: list[LinkRefView] | None = Field(description="The tree that joins the switches of its members.")
    detours: list[DetourView] = Field(description="What switches turn to by themselves when a part of it dies.")
    left_out: list[str] = Field(description="Hosts that should be members and are not, and why.")


class VnetRefView(BaseModel):
    """A virtual network by its name."""

    vnet: str


class ShareView(BaseModel):
    """The part of a cap that one switch lets its hosts send."""

    dpid: str = Field(description=HEX_DPID)
    mbps: float


class BandwidthView(TermsView):
    """What one virtual network may send to another. load_mbps is what it sends, before any cap."""

    kind: Literal["bandwidth"] = "bandwidth"
    source: VnetRefView
    destination: VnetRefView
    guarantee_mbps: float | None
    cap_mbps: float | None
    follow_forecast: bool
    bandwidth_mbps: float = Field(description="What is promised on the links now.")
    links: list[LinkRefView] | None = Field(
        description="The links its traffic takes anyway, on which the guarantee is kept."
    )
    shares: list[ShareView] = Field(description="How the cap is split among the switches where hosts send.")


StitchView = Annotated[VmView | SegmentView | BandwidthView, Field(discriminator="kind")]


def stitch_view(stitch: Stitch, fabric: Fabric) -> VmView | SegmentView | BandwidthView:
    """A stitch as the API shows it."""
    match stitch.request:
        case VmRequest() as request:
            path = stitch.vm_path
            return VmView(
                **_carrying(stitch, fabric),
                source=fabric.member(request.source_mac),
                destination=fabric.member(request.target_mac),
                application=_application_view(request.application) if request.application else None,
                both_ways=request.both_ways,
                relieves=link_ref_view(request.relieves) if request.relieves else None,
                path=path_view(path) if path else None,
                backup=path_view(path.backup) if path and path.backup else None,
            )
        case SegmentRequest() as request:
            tree = stitch.path if isinstance(stitch.path, SegmentTree) else None
            return SegmentView(
                **_carrying(stitch, fabric),
                source=_side_view(request.source, tree.sources if tree else (), fabric),
                destination=_side_view(request.target, tree.targets if tree else (), fabric),
                links=[link_ref_view(key) for key in tree.links] if tree else None,
                detours=_detour_views(tree) if tree else [],
                left_out=list(tree.left_out) if tree else [],
            )
        case BandwidthRequest() as request:
            return _bandwidth_view(stitch, request, fabric)


def check_view(room: Room) -> CheckView:
    """Where a stitch would lie, and who would have to give way for it."""
    found = CheckView(possible=True, displaces=sorted(victim.id for victim in room.victims))
    match room.placement:
        case StitchPath() as path:
            found.path, found.latency_ms = path_view(path), path.latency_ms
            found.backup = path_view(path.backup) if path.backup else None
        case SegmentTree() as tree:
            found.links, found.latency_ms = [link_ref_view(key) for key in tree.links], tree.latency_ms
            found.detours = _detour_views(tree)
        case BandwidthShares() as shares:
            found.links = [link_ref_view(key) for key in shares.links]
    return found


def _detour_views(tree: SegmentTree) -> list[DetourView]:
    return [
        DetourView(around=link_ref_view(detour.around), links=[link_ref_view(key) for key in detour.links])
        for detour in tree.detours
    ]


def _bandwidth_view(stitch: Stitch, request: BandwidthRequest, fabric: Fabric) -> BandwidthView:
    placed = stitch.path if isinstance(stitch.path, BandwidthShares) else None
    terms = _terms(stitch, fabric)
    if placed is not None and fabric.rates is not None:
        demand_mbps = fabric.rates.demand_mbps
        terms["load_mbps"] = sum(demand_mbps.get((one.mac, other.mac), 0.0) for one, other in placed.pairs())
    return BandwidthView(
        **terms,
        source=VnetRefView(vnet=request.source_vnet),
        destination=VnetRefView(vnet=request.target_vnet),
        guarantee_mbps=request.guarantee_mbps,
        cap_mbps=request.cap_mbps,
        follow_forecast=request.follow_forecast,
        bandwidth_mbps=request.bandwidth_mbps,
        links=[link_ref_view(key) for key in placed.links] if placed else None,
        shares=[ShareView(dpid=node_name(s.dpid), mbps=s.mbps) for s in placed.shares] if placed else [],
    )


def _terms(stitch: Stitch, fabric: Fabric) -> dict[str, Any]:
    request = stitch.request
    valid, expects = request.valid, request.expects
    return {
        "id": stitch.id,
        "state": stitch.state,
        "reason": stitch.reason,
        "labels": dict(stitch.request.labels),
        "origin": request.origin,
        "priority": request.priority,
        "valid_from": moment(valid.from_s) if valid.from_s is not None else None,
        "valid_until": moment(valid.until_s) if valid.until_s is not None else None,
        "weekly": _weekly_view(valid.weekly) if valid.weekly is not None else None,
        "mode": "now" if expects is None else "predictive",
        "threshold_mbps": expects.threshold_mbps if expects is not None else None,
        "probability": expects.probability if expects is not None else None,
        "encrypted": request.encrypted,
        "load_mbps": fabric.rates.stitch_mbps.get(stitch.id) if fabric.rates else None,
        "enforced": stitch.enforced,
        "enforced_cap": stitch.enforced_cap,
        "enforced_why": stitch.enforced_why,
        "created": moment(stitch.created_s),
        "changed": moment(stitch.changed_s),
        "up_since": moment(stitch.up_s) if stitch.up_s is not None else None,
    }


def _weekly_view(weekly: Weekly) -> WeeklyView:
    start, end = (f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (weekly.start_min, weekly.end_min))
    return WeeklyView(days=[DAYS[day] for day in weekly.days], start=start, end=end, zone=weekly.zone)


def _carrying(stitch: Stitch, fabric: Fabric) -> dict[str, Any]:
    request = stitch.request
    counted = fabric.rates.stitch_counts.get(stitch.id) if fabric.rates is not None else None
    return {
        **_terms(stitch, fabric),
        "bandwidth_mbps": request.bandwidth_mbps,
        "max_latency_ms": request.max_latency_ms,
        "max_loss": request.max_loss,
        "protection": request.protection.value,
        "latency_ms": stitch.path.latency_ms if stitch.path else None,
        "probe_ms": stitch.probe_ms,
        "probe_loss": stitch.probe_loss,
        "packets": counted[0] if counted is not None else None,
        "bytes": counted[1] if counted is not None else None,
    }


def _side_view(side: Side, members: tuple[Member, ...], fabric: Fabric) -> SideView:
    return SideView(
        vnet=side.vnet,
        hosts=[fabric.member(mac) for mac in side.hosts],
        subnets=list(side.subnets),
        members=[fabric.member(member.mac) for member in members],
    )


def _application_view(application: Application) -> ApplicationView:
    names = {number: name for name, number in PROTOCOLS.items()}
    number = application.ip_proto
    return ApplicationView(
        protocol=names.get(number, number) if number is not None else None,
        source_port=application.source_port,
        destination_port=application.target_port,
        dscp=application.ip_dscp,
    )
