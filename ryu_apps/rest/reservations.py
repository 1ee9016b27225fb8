"""What is promised on each link, to which stitch, and what is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ryu_apps.events import ReservationsRequest
from ryu_apps.rest.access.roles import Role, Who, needs
from ryu_apps.rest.apps import STITCHER, AppsOf
from ryu_apps.rest.bodies import PortRef
from ryu_apps.rest.fabric import Fabric, fabric_of, link_ref_view
from ryu_apps.rest.pages import LINKED, PageOf
from ryu_apps.rest.scoping import sees_stitch
from ryu_apps.rest.stitches import all_stitches
from ryu_apps.rest.views import LinkRefView
from stitching.promises import Held, LinkPromises
from stitching.stitch import Stitch, VmRequest

router = APIRouter(prefix="/reservations", tags=["stitches"])


class HeldView(BaseModel):
    """What a stitch holds on a link."""

    stitch: int
    mbps: float
    leaving: bool = Field(description="It is on its way off this link, and may still carry packets there.")


class ReservationView(BaseModel):
    """A directed link and who was promised what of it. With a scope: what its own stitches hold, and no more."""

    link: LinkRefView
    capacity_mbps: float | None = Field(description="None: it is not known, and nothing more is promised.")
    promised_mbps: float | None
    free_mbps: float | None
    held: list[HeldView]


@router.get("", dependencies=[needs(Role.VIEWER, scoped=True)], responses=LINKED)
def get_reservations(
    apps: AppsOf,
    who: Who,
    page: PageOf,
    link: Annotated[
        list[PortRef] | None,
        Query(max_length=100, description="Only the link that leaves by this port; may be repeated."),
    ] = None,
    vnet: Annotated[
        list[str] | None, Query(max_length=100, description="Only what stitches of this virtual network hold.")
    ] = None,
    stitch: Annotated[
        list[Annotated[int, Field(ge=1, le=0xFFFFFFFF)]] | None,
        Query(max_length=100, description="Only what this stitch holds; may be repeated."),
    ] = None,
) -> list[ReservationView]:
    """What is promised on each link, by its ports.

    With vnet or stitch only links on which these hold anything, and what they hold; the sums are of all.
    """
    found = apps.ask(STITCHER, ReservationsRequest())
    fabric = fabric_of(apps)
    stitches = {one.id: one for one in all_stitches(apps) if sees_stitch(who, fabric, one)}
    narrowed = who.scope is not None or vnet is not None or stitch is not None
    shown = {
        number
        for number, one in stitches.items()
        if (stitch is None or number in stitch) and (vnet is None or not _vnets(one, fabric).isdisjoint(vnet))
    }
    ports = None if link is None else {_port(text) for text in link}
    chosen = (one for one in found if ports is None or one.link[:2] in ports)
    listed = _narrowed(chosen, shown) if narrowed else ((one, one.held) for one in chosen)
    items = page.of(listed, lambda item: item[0].link, int, int, int, int)
    return [_view(one, held, whole=who.scope is None) for one, held in items]


def _narrowed(links: Iterator[LinkPromises], shown: set[int]) -> Iterator[tuple[LinkPromises, tuple[Held, ...]]]:
    for one in links:
        if held := tuple(part for part in one.held if part.stitch_id in shown):
            yield one, held


def _vnets(stitch: Stitch, fabric: Fabric) -> frozenset[str]:
    request = stitch.request
    if isinstance(request, VmRequest):
        return frozenset(map(fabric.vnet_of, (request.source_mac, request.target_mac)))
    return frozenset(request.vnets)


def _port(text: str) -> tuple[int, int]:
    dpid, _, number = text.partition(":")
    return int(dpid, 16), int(number)


def _view(one: LinkPromises, held: tuple[Held, ...], *, whole: bool) -> ReservationView:
    return ReservationView(
        link=link_ref_view(one.link),
        capacity_mbps=one.capacity_mbps if whole else None,
        promised_mbps=one.promised_mbps if whole else None,
        free_mbps=one.free_mbps if whole else None,
        held=[HeldView(stitch=part.stitch_id, mbps=part.mbps, leaving=part.leaving) for part in held],
    )
