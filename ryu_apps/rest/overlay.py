"""The overlay: sites, tunnels between them, and why packets take the way they take."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from ryu_apps.events.overlay import OverlayAnswer, OverlayRequest
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.apps import SITE_OVERLAY, Apps, AppsOf
from ryu_apps.rest.overlay_views import (
    CardView,
    Overlay,
    OverlayView,
    PathsView,
    SiteDetailView,
    SiteView,
    TunnelView,
)
from ryu_apps.rest.pages import LINKED, PageOf
from ryu_apps.rest.problems import Kind, Problem, documented
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


@router.get("/tunnels", dependencies=[needs(Role.VIEWER)], responses={**LINKED, **NONE_HERE})
def get_tunnels(apps: AppsOf, page: PageOf) -> list[TunnelView]:
    """The tunnels, by the sites at their ends."""
    tunnels = Overlay(_asked(apps)).tunnels()
    return page.of(tunnels, lambda one: (one.a, one.b, one.name), str, str, str)


@router.get("/paths", dependencies=[needs(Role.VIEWER)], responses=NO_SITE)
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
    return overlay.paths(_site(overlay, source, "from"), _site(overlay, to, "to"), class_name)


@router.get("/card", dependencies=[needs(Role.VIEWER)], responses=NONE_HERE)
def get_card(apps: AppsOf) -> CardView:
    """What the signer is given so that sites follow this controller."""
    card = _asked(apps).card
    if card is None:
        raise _none()
    return CardView(
        state_key=card.state_key, authority_sha256=card.authority_sha256, addresses=list(card.addresses)
    )


def _asked(apps: Apps) -> OverlayAnswer:
    return apps.ask(SITE_OVERLAY, OverlayRequest(), missing=_none())


def _none() -> Problem:
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
            remedy="GET /v1/overlay/sites lists those there are; the signer lets others in",
        )
    return found
