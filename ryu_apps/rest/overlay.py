"""The overlay: sites, tunnels between them, and why packets take the way they take."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from ryu_apps.events.overlay import ClassesRequest, OrderKeys, OverlayAnswer, OverlayRequest, SetUplinkTerms
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.apps import SITE_OVERLAY, Apps, AppsOf
from ryu_apps.rest.bodies import Body, Mbps
from ryu_apps.rest.overlay_links import SiteLinkView, link_views
from ryu_apps.rest.overlay_views import (
    CardView,
    Overlay,
    OverlayView,
    PathsView,
    RekeyView,
    SiteDetailView,
    SiteUplinkView,
    SiteView,
    TunnelView,
    uplink_view,
)
from ryu_apps.rest.pages import LINKED, PageOf
from ryu_apps.rest.problems import Kind, Problem, documented
from stitching.overlay.classes import UplinkTerms
from stitching.overlay.sites import Site

router = APIRouter(prefix="/overlay", tags=["overlay"])

NONE_HERE = documented(Kind.NO_OVERLAY)
NO_SITE = documented(Kind.NO_OVERLAY, Kind.UNKNOWN_SITE)

SiteName = Annotated[str, Query(min_length=1, max_length=63)]


@router.get("", dependencies=[needs(Role.VIEWER)], responses=NONE_HERE)
def get_overlay(apps: AppsOf) -> OverlayView:
    """How the overlay does as a whole, and what is wrong with it."""
    return Overlay(_asked(apps)).whole()


@router.get("/sites", dependencies=[needs(Role.VIEWER)], responses={**LINKED, **NONE_HERE})
def get_sites(apps: AppsOf, page: PageOf) -> list[SiteView]:
    """The sites, by name."""
    return page.of(Overlay(_asked(apps)).sites(), lambda site: (site.name,), str)


@router.get("/sites/{name}", dependencies=[needs(Role.VIEWER)], responses=NO_SITE)
def get_site(apps: AppsOf, name: Annotated[str, Path(max_length=63)]) -> SiteDetailView:
    """One site, with its ends of tunnels and its routes."""
    overlay = Overlay(_asked(apps))
    return overlay.site(_site(overlay, name, "name"))


class UplinkTermsBody(Body):
    """What an uplink carries each way, and what a gigabyte over it costs. null: nobody has said."""

    capacity_mbps: Mbps | None = None
    price: float | None = Field(default=None, ge=0, le=1e6)


@router.put(
    "/sites/{name}/uplinks/{uplink}",
    dependencies=[needs(Role.OPERATOR)],
    responses=documented(Kind.NO_OVERLAY, Kind.UNKNOWN_SITE, Kind.UNKNOWN_UPLINK),
)
def put_uplink(
    apps: AppsOf,
    change: ChangeOf,
    name: Annotated[str, Path(max_length=63)],
    uplink: Annotated[str, Path(max_length=63)],
    body: UplinkTermsBody,
) -> SiteUplinkView:
    """Say what an uplink carries and costs; ways between sites are weighed, and relieved, by it."""
    overlay = Overlay(_asked(apps))
    site = _site(overlay, name, "name")
    if (before := site.uplink(uplink)) is None:
        known = ", ".join(one.name for one in site.uplinks) or "none yet"
        raise Problem(
            Kind.UNKNOWN_UPLINK,
            f"{name} has no uplink {uplink!r}",
            field="uplink",
            remedy=f"name one of: {known}",
        )
    change.before = uplink_view(before)
    apps.ask(SITE_OVERLAY, SetUplinkTerms(UplinkTerms(name, uplink, body.capacity_mbps, body.price)))
    return uplink_view(replace(before, capacity_mbps=body.capacity_mbps, price=body.price or 0.0))


@router.get("/tunnels", dependencies=[needs(Role.VIEWER)], responses={**LINKED, **NONE_HERE})
def get_tunnels(apps: AppsOf, page: PageOf) -> list[TunnelView]:
    """The tunnels, by the sites at their ends."""
    tunnels = Overlay(_asked(apps)).tunnels()
    return page.of(tunnels, lambda one: (one.a, one.b, one.name), str, str, str)


@router.post("/rekey", status_code=202, dependencies=[needs(Role.OPERATOR)], responses=NONE_HERE)
def rekey(apps: AppsOf) -> RekeyView:
    """New keys for all tunnels, now: each is replaced by another one, at each site a few at a time."""
    lines = {tunnel.line for tunnel in _asked(apps).tunnels}
    return RekeyView(number=apps.ask(SITE_OVERLAY, OrderKeys()), tunnels=len(lines))


@router.get("/links", dependencies=[needs(Role.VIEWER)], responses={**LINKED, **NONE_HERE})
def get_links(apps: AppsOf, page: PageOf) -> list[SiteLinkView]:
    """What joins the bridges of sites to one fabric."""
    return page.of(link_views(_asked(apps)), lambda one: (one.a.site, one.b.site, one.name), str, str, str)


@router.get(
    "/paths",
    dependencies=[needs(Role.VIEWER)],
    responses=documented(Kind.NO_OVERLAY, Kind.UNKNOWN_SITE, Kind.UNKNOWN_CLASS),
)
def get_paths(
    apps: AppsOf,
    source: Annotated[SiteName, Query(alias="from", description="The site that sends.")],
    to: Annotated[SiteName, Query(description="The site that receives.")],
    class_name: Annotated[
        str | None, Query(alias="class", max_length=63, description="Only for packets of this class.")
    ] = None,
) -> PathsView:
    """Every way from one site to another with its score, part by part; which is taken, and why."""
    overlay = Overlay(_asked(apps))
    ends = _site(overlay, source, "from"), _site(overlay, to, "to")
    if ends[0].serial == ends[1].serial:
        raise Problem(
            Kind.INVALID, "this is one site, and not a way between two", field="to", remedy="name another site"
        )
    if class_name is not None:
        known = [one.name for one in apps.ask(SITE_OVERLAY, ClassesRequest())]
        if class_name not in known:
            raise Problem(
                Kind.UNKNOWN_CLASS,
                f"no class is called {class_name!r}",
                field="class",
                remedy=f"name one of: {', '.join(known)}" if known else "PUT /v1/overlay/classes/NAME defines one",
            )
    return overlay.paths(*ends, class_name)


@router.get("/card", dependencies=[needs(Role.VIEWER)], responses=NONE_HERE)
def get_card(apps: AppsOf) -> CardView:
    """What the signer is given so that sites follow this controller."""
    card = _asked(apps).card
    if card is None:
        raise no_overlay()
    return CardView(
        state_key=card.state_key,
        authority_sha256=card.authority_sha256,
        addresses=list(card.addresses),
        overlay_range=f"{card.overlay_range}",
    )


def _asked(apps: Apps) -> OverlayAnswer:
    return apps.ask(SITE_OVERLAY, OverlayRequest(), missing=no_overlay())


def no_overlay() -> Problem:
    """What to answer where sites are not joined."""
    return Problem(
        Kind.NO_OVERLAY,
        "this controller was started without an overlay",
        remedy="start it with --overlay HOST:PORT",
    )


def _site(overlay: Overlay, name: str, field: str) -> Site:
    found = overlay.find(name)
    if found is None:
        raise Problem(
            Kind.UNKNOWN_SITE,
            f"no site is called {name!r}",
            field=field,
            remedy=f"{overlay.named()}; the signer lets others in",
        )
    return found
