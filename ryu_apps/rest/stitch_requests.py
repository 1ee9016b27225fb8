"""From what callers may ask for to what the stitcher is asked for: names become MACs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ryu_apps.rest.access.roles import Principal
from ryu_apps.rest.fabric import Fabric
from ryu_apps.rest.problems import Kind, Problem
from ryu_apps.rest.scoping import check_priority, check_vnet
from ryu_apps.rest.stitch_bodies import (
    BandwidthBody,
    CarryingFields,
    SegmentBody,
    SideBody,
    StitchBody,
    TermsFields,
    VmBody,
    WeeklyBody,
)
from stitching.bandwidth import BandwidthRequest
from stitching.segment import SegmentRequest, Side
from stitching.stitch import StitchRequest
from stitching.terms import Expectation, Protection
from stitching.validity import DAYS, Validity, Weekly
from stitching.vm import VmRequest
from stitching.vnet import DEFAULT_VNET

DEFAULT_PROBABILITY = 0.5


def request_of(body: StitchBody, fabric: Fabric, who: Principal) -> StitchRequest:
    """What a body asks for. Raises a 404 problem for what nobody knows, 403 for what the caller may not have."""
    check_priority(who, body.priority)
    match body:
        case VmBody():
            return VmRequest(
                source_mac=fabric.find(body.source, "source").mac,
                target_mac=fabric.find(body.destination, "destination").mac,
                bandwidth_mbps=body.bandwidth_mbps,
                application=body.application.application() if body.application is not None else None,
                **_carrying(body),
            )
        case SegmentBody():
            return SegmentRequest(
                source=_side(body.source, "source", fabric, who),
                target=_side(body.destination, "destination", fabric, who),
                bandwidth_mbps=body.bandwidth_mbps,
                **_carrying(body),
            )
        case BandwidthBody():
            check_known(body.source, "source", fabric, who)
            check_known(body.destination, "destination", fabric, who)
            return BandwidthRequest(
                source_vnet=body.source,
                target_vnet=body.destination,
                guarantee_mbps=body.guarantee_mbps,
                cap_mbps=body.cap_mbps,
                follow_forecast=body.follow_forecast,
                bandwidth_mbps=body.guarantee_mbps or 0.0,
                **_terms(body),
            )


def _terms(body: TermsFields) -> dict[str, Any]:
    expects = None
    if body.mode == "predictive":
        probability = DEFAULT_PROBABILITY if body.probability is None else body.probability
        expects = Expectation(body.threshold_mbps or 0.0, probability)
    return {
        "labels": tuple(sorted(body.labels.items())),
        "priority": body.priority,
        "valid": Validity(seconds(body.valid_from), seconds(body.valid_until), weekly(body.weekly)),
        "expects": expects,
        "encrypted": body.encrypted,
    }


def seconds(moment: str | None) -> float | None:
    """A moment in seconds since the epoch."""
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def weekly(body: WeeklyBody | None) -> Weekly | None:
    """Hours of the week as a value."""
    if body is None:
        return None
    days = tuple(sorted({DAYS.index(day) for day in body.days}))
    return Weekly(days, _minutes(body.start), _minutes(body.end), body.zone)


def _minutes(hour: str) -> int:
    return int(hour[:2]) * 60 + int(hour[3:])


def _carrying(body: CarryingFields) -> dict[str, Any]:
    return {
        **_terms(body),
        "max_latency_ms": body.max_latency_ms,
        "max_loss": body.max_loss,
        "protection": Protection(body.protection),
    }


def _side(body: SideBody, field: str, fabric: Fabric, who: Principal) -> Side:
    check_known(body.vnet, f"{field}.vnet", fabric, who)
    macs = (_member(text, f"{field}.hosts[{place}]", body.vnet, fabric) for place, text in enumerate(body.hosts))
    return Side(body.vnet, tuple(sorted(set(macs))), tuple(sorted(set(body.subnets))))


def check_known(vnet: str, field: str, fabric: Fabric, who: Principal) -> None:
    """Raise a problem where a virtual network is none of the caller's, or there is none of that name."""
    check_vnet(who, vnet)
    if vnet != DEFAULT_VNET and vnet not in fabric.directory.vnets:
        raise Problem(
            Kind.UNKNOWN_VNET,
            f"there is no virtual network {vnet!r}",
            field=field,
            remedy="GET /v1/vnets lists them",
        )


def _member(text: str, field: str, vnet: str, fabric: Fabric) -> str:
    """The MAC of a host of a network, which need not have been seen where the network names it."""
    known = fabric.directory.vnets.get(vnet)
    for member in known.members if known is not None else ():
        if text.lower() in (member.mac, member.name.lower()):
            return member.mac
    host = fabric.find(text, field)
    if (there := fabric.directory.vnet_of(host)) != vnet:
        raise Problem(
            Kind.UNKNOWN_HOST,
            f"host {text!r} is in the virtual network {there!r} and not in {vnet!r}",
            field=field,
            remedy=f"name a host of {vnet!r}, or put this one there",
        )
    return host.mac
