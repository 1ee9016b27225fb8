"""Why a packet arrives, or does not."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ryu_apps.events import ExplainRequest
from ryu_apps.events.overlay import ExplainBetweenSites, OverlayRequest
from ryu_apps.rest.access.roles import Principal, Role, Who, needs
from ryu_apps.rest.apps import POLICING, SITE_OVERLAY, Apps, AppsOf
from ryu_apps.rest.fabric import Fabric, fabric_of
from ryu_apps.rest.problems import Kind, Problem, documented
from ryu_apps.rest.scoping import fabric_within
from ryu_apps.rest.views import HEX_DPID, HopView
from stitching.network import node_name
from stitching.overlay.explaining import SiteExplanation, site_of
from stitching.overlay.segmenting import host_at
from stitching.overlay.sites import Address
from stitching.policy.checking import EPHEMERAL_PORT
from stitching.policy.decision import Flow
from stitching.policy.document import WITH_PORTS
from stitching.policy.explaining import Explanation
from stitching.policy.faults import Refused
from stitching.policy.fields import protocol_of
from stitching.vnet import UnknownHost

router = APIRouter(prefix="/explain", tags=["policy"])


class ExplainView(BaseModel):
    """What becomes of a packet.

    allowed is what the policy says; arrives, whether there is also a way that it may take.
    """

    allowed: bool
    arrives: bool
    rule: str = Field(description="The rule that decides, or which default.")
    by_default: bool
    reply: bool = Field(description="It is let through as an answer to what the rule allows the other way.")
    encryption: str = Field(description="required or any: what its path has to be.")
    zones: list[str] | None = Field(description="Where its path has to stay; none: anywhere.")
    decided_at: str = Field(description=f"The switch that decides ({HEX_DPID}), or between sites the site.")
    stitch: int | None = Field(description="The stitch it takes; none: the shortest way.")
    path: list[HopView]
    sites: list[str] = Field(description="Between sites: those that it comes by; none where it is dropped.")
    tunnels: list[str] = Field(description="The tunnels between these, as sites use them now.")
    class_name: str | None = Field(description="Between sites: the class that it is of, without a DSCP.")
    words: str


@router.get("", dependencies=[needs(Role.VIEWER, scoped=True)], responses=documented(Kind.UNKNOWN_HOST))
def get_explain(
    apps: AppsOf,
    who: Who,
    src: Annotated[str, Query(max_length=100, description="Host name, IP address or MAC.")],
    dst: Annotated[str, Query(max_length=100, description="Host name, IP address or MAC.")],
    proto: Annotated[
        str, Query(max_length=10, description="tcp, udp, sctp, icmp, icmpv6, a number, any.")
    ] = "any",
    port: Annotated[int | None, Query(ge=1, le=65535, description="The port that is called.")] = None,
    src_port: Annotated[int | None, Query(ge=1, le=65535, description="The caller's own port.")] = None,
    at: Annotated[datetime | None, Query(description="When: with an offset; now, where left out.")] = None,
) -> ExplainView:
    """What becomes of a packet from src to dst, by which rule, at which switch or site, and on which way.

    Addresses behind two sites are answered for by the sites: by the address alone, and with the tunnels. Without
    src_port it is asked for one from 49152, as a caller's is. Without port it is one that no rule names.
    """
    protocol = _protocol(proto)
    if protocol not in WITH_PORTS and (port is not None or src_port is not None):
        raise Problem(
            Kind.INVALID,
            "only TCP, UDP and SCTP have ports",
            field="port",
            remedy="add proto=tcp, or leave it out",
        )
    if at is not None and at.tzinfo is None:
        raise Problem(
            Kind.INVALID, "it has no offset from UTC", field="at", remedy="say 2026-03-01T08:00:00Z, or +01:00"
        )
    fabric = fabric_within(who, whole := fabric_of(apps))
    from_port = (src_port or EPHEMERAL_PORT) if protocol in WITH_PORTS else None
    flow = Flow(protocol, from_port, port)
    at_s = None if at is None else at.timestamp()
    ends = _addresses(fabric, src, who, whole), _addresses(fabric, dst, who, whole)
    if apps.settings.overlay:
        between = apps.ask(SITE_OVERLAY, ExplainBetweenSites(*ends, flow, at_s)) if all(ends) else None
        if between is not None:
            return _view_between(between)
    try:
        source, target = fabric.find(src, "src"), fabric.find(dst, "dst")
    except Problem as problem:
        raise _one_is_behind_no_site(apps, (src, dst), ends) or problem from None
    request = ExplainRequest(source.mac, target.mac, flow, at_s)
    try:
        return _view(apps.ask(POLICING, request))
    except KeyError as error:
        raise Problem(
            Kind.UNKNOWN_HOST, f"host {error.args[0]} has just gone", field="src", remedy="try again"
        ) from error


def _one_is_behind_no_site(
    apps: Apps, texts: tuple[str, str], ends: tuple[tuple[Address, ...], tuple[Address, ...]]
) -> Problem | None:
    """What to say where one end is behind a site and the other is not: it is the other that is wrong."""
    overlay = apps.ask(SITE_OVERLAY, OverlayRequest()) if apps.settings.overlay else None
    if overlay is None:
        return None
    here, there = (next(filter(None, (site_of(one, overlay.sites) for one in end)), None) for end in ends)
    if here is not None and there is None:
        (other, text), site, field = texts, here, "dst"
    elif there is not None and here is None:
        (text, other), site, field = texts, there, "src"
    else:
        return None
    return Problem(
        Kind.UNKNOWN_HOST,
        f"{other} is behind site {site.name}, and {text} is behind no site",
        field=field,
        remedy="GET /v1/overlay/sites lists the prefixes behind each",
    )


def _protocol(text: str) -> int | None:
    try:
        return protocol_of(text)
    except Refused as error:
        raise Problem(Kind.INVALID, error.reason, field="proto", remedy=error.remedy) from error


def _addresses(fabric: Fabric, text: str, who: Principal, whole: Fabric) -> tuple[Address, ...]:
    """The addresses by which sites know what a text names: itself, or those of a member or a host."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return _of_host(fabric, text)
    seen = who.scope is None or whole.directory.vnet_of(host_at(address, whole.directory)) in who.scope
    return (address,) if seen else ()


def _of_host(fabric: Fabric, text: str) -> tuple[Address, ...]:
    directory = fabric.directory
    member = directory.member_called(text) or directory.member(text.strip().lower())
    ips: Iterable[str] = member.ips if member is not None else ()
    if not ips:
        try:
            ips = directory.find(text, fabric.network.hosts).ips
        except UnknownHost:
            return ()
    return tuple(sorted(map(ipaddress.ip_address, ips), key=lambda one: (one.version, int(one))))


def _view_between(found: SiteExplanation) -> ExplainView:
    return ExplainView(
        **_decided(found),
        decided_at=found.decided_at,
        stitch=None,
        path=[],
        sites=list(found.nodes),
        tunnels=list(found.tunnels),
        class_name=found.class_name,
    )


def _view(found: Explanation) -> ExplainView:
    return ExplainView(
        **_decided(found),
        decided_at=node_name(found.decided_at),
        stitch=found.stitch,
        path=[HopView(dpid=node_name(h.dpid), in_port=h.in_port, out_port=h.out_port) for h in found.hops],
        sites=[],
        tunnels=[],
        class_name=None,
    )


def _decided(found: Explanation | SiteExplanation) -> dict[str, Any]:
    """What is said of a packet within the fabric and between sites alike."""
    verdict, zones = found.verdict, found.verdict.demands.zones
    return {
        "allowed": verdict.allowed,
        "arrives": found.arrives,
        "rule": verdict.rule,
        "by_default": verdict.by_default,
        "reply": verdict.reply,
        "encryption": "required" if verdict.demands.encrypted else "any",
        "zones": None if zones is None else sorted(zones),
        "words": found.words,
    }
