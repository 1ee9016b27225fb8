"""What the API says of the links between the bridges of sites."""

from __future__ import annotations

from pydantic import BaseModel, Field

from ryu_apps.events.overlay import OverlayAnswer
from stitching.network import node_name
from stitching.overlay.links import SiteLink
from stitching.overlay.sites import Bridge


class LinkEndView(BaseModel):
    """A site's end of a link: where it is plugged in."""

    site: str
    bridge: str
    dpid: str
    port: int | None = Field(description="Its number at the switch; null: it is not plugged in.")
    why: str = Field(description="What keeps it from that.")


class SiteLinkView(BaseModel):
    """A link between the bridges of two sites. /v1/topology has what is measured of it, as of any other."""

    name: str
    vni: int
    a: LinkEndView
    b: LinkEndView
    plugged: bool = Field(description="Whether it is plugged in at both ends: it counts as encrypted then.")


def link_views(answer: OverlayAnswer) -> list[SiteLinkView]:
    """All links."""
    return [
        SiteLinkView(
            name=link.name,
            vni=link.vni,
            a=_end(answer, link, link.a, link.bridge_a, link.port_a),
            b=_end(answer, link, link.b, link.bridge_b, link.port_b),
            plugged=link.ports is not None,
        )
        for link in answer.links
    ]


def _end(answer: OverlayAnswer, link: SiteLink, serial: int, bridge: Bridge, port: int | None) -> LinkEndView:
    site, has = answer.sites.get(serial), answer.said.get(serial)
    said = next((one for one in has.links if one.name == link.name), None) if has is not None else None
    return LinkEndView(
        site=site.name if site is not None else f"serial {serial}",
        bridge=bridge.name,
        dpid=node_name(bridge.dpid),
        port=port,
        why=said.why if said is not None else "",
    )
