"""What the API answers about stitches, by kind."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ryu_apps.rest.fabric import Fabric, link_ref_view, path_view
from ryu_apps.rest.views import CheckView, HopView, LinkRefView, MemberView, moment
from stitching.application import PROTOCOLS, Application
from stitching.segment import Member, SegmentRequest, SegmentTree, Side
from stitching.stitch import Placement, State, Stitch, StitchPath
from stitching.vm import VmRequest


class ApplicationView(BaseModel):
    """One application between two hosts."""

    protocol: str | int | None
    source_port: int | None
    destination_port: int | None
    dscp: int | None


class TermsView(BaseModel):
    """What every stitch has."""

    id: int
    state: State
    reason: str | None
    labels: dict[str, str]
    origin: str = Field(description="Who wanted it: api, or trigger (the forecast).")
    load_mbps: float | None
    enforced: Literal["none"] = Field(
        default="none",
        description="What polices or guarantees the bandwidth. none: it is kept by admission alone.",
    )
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
    left_out: list[str] = Field(description="Hosts that should be members and are not, and why.")


StitchView = Annotated[VmView | SegmentView, Field(discriminator="kind")]


def stitch_view(stitch: Stitch, fabric: Fabric) -> VmView | SegmentView:
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
                left_out=list(tree.left_out) if tree else [],
            )


def check_view(placement: Placement) -> CheckView:
    """Where a stitch would lie."""
    match placement:
        case StitchPath():
            backup = path_view(placement.backup) if placement.backup else None
            return CheckView(
                possible=True, path=path_view(placement), backup=backup, latency_ms=placement.latency_ms
            )
        case SegmentTree():
            links = [link_ref_view(key) for key in placement.links]
            return CheckView(possible=True, links=links, latency_ms=placement.latency_ms)


def _terms(stitch: Stitch, fabric: Fabric) -> dict[str, Any]:
    return {
        "id": stitch.id,
        "state": stitch.state,
        "reason": stitch.reason,
        "labels": dict(stitch.request.labels),
        "origin": stitch.request.origin,
        "load_mbps": fabric.rates.stitch_mbps.get(stitch.id) if fabric.rates else None,
        "created": moment(stitch.created_s),
        "changed": moment(stitch.changed_s),
        "up_since": moment(stitch.up_s) if stitch.up_s is not None else None,
    }


def _carrying(stitch: Stitch, fabric: Fabric) -> dict[str, Any]:
    request = stitch.request
    return {
        **_terms(stitch, fabric),
        "bandwidth_mbps": request.bandwidth_mbps,
        "max_latency_ms": request.max_latency_ms,
        "max_loss": request.max_loss,
        "protection": request.protection.value,
        "latency_ms": stitch.path.latency_ms if stitch.path else None,
        "probe_ms": stitch.probe_ms,
        "probe_loss": stitch.probe_loss,
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
