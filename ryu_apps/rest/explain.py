"""Why a packet arrives, or does not."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ryu_apps.events import ExplainRequest
from ryu_apps.rest.access.roles import Role, Who, needs
from ryu_apps.rest.apps import POLICING, AppsOf
from ryu_apps.rest.fabric import fabric_of
from ryu_apps.rest.problems import Kind, Problem, documented
from ryu_apps.rest.scoping import fabric_within
from ryu_apps.rest.views import HEX_DPID, HopView
from stitching.network import node_name
from stitching.policy.checking import EPHEMERAL_PORT
from stitching.policy.decision import Flow
from stitching.policy.document import WITH_PORTS
from stitching.policy.explaining import Explanation
from stitching.policy.faults import Refused
from stitching.policy.fields import protocol_of

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
    decided_at: str = Field(description=f"The switch that decides. {HEX_DPID}")
    stitch: int | None = Field(description="The stitch it takes; none: the shortest way.")
    path: list[HopView]
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
    """What becomes of a packet from src to dst, by which rule, at which switch and on which way.

    Without src_port it is asked for one from 49152, as a caller's is. Without port it is one that no rule names.
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
    fabric = fabric_within(who, fabric_of(apps))
    source, target = fabric.find(src, "src"), fabric.find(dst, "dst")
    from_port = (src_port or EPHEMERAL_PORT) if protocol in WITH_PORTS else None
    flow = Flow(protocol, from_port, port)
    request = ExplainRequest(source.mac, target.mac, flow, None if at is None else at.timestamp())
    try:
        return _view(apps.ask(POLICING, request))
    except KeyError as error:
        raise Problem(
            Kind.UNKNOWN_HOST, f"host {error.args[0]} has just gone", field="src", remedy="try again"
        ) from error


def _protocol(text: str) -> int | None:
    try:
        return protocol_of(text)
    except Refused as error:
        raise Problem(Kind.INVALID, error.reason, field="proto", remedy=error.remedy) from error


def _view(found: Explanation) -> ExplainView:
    verdict = found.verdict
    zones = verdict.demands.zones
    return ExplainView(
        allowed=verdict.allowed,
        arrives=found.arrives,
        rule=verdict.rule,
        by_default=verdict.by_default,
        reply=verdict.reply,
        encryption="required" if verdict.demands.encrypted else "any",
        zones=None if zones is None else sorted(zones),
        decided_at=node_name(found.decided_at),
        stitch=found.stitch,
        path=[HopView(dpid=node_name(h.dpid), in_port=h.in_port, out_port=h.out_port) for h in found.hops],
        words=found.words,
    )
