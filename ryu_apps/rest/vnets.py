"""Virtual networks: which hosts belong together."""

from __future__ import annotations

import threading
from typing import Annotated

from fastapi import APIRouter, Path, Response

from ryu_apps.events import DeleteVnet, PutVnet, VnetsRequest
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Principal, Role, Who, needs
from ryu_apps.rest.apps import FORWARDING, Apps, AppsOf
from ryu_apps.rest.bodies import VNET_NAME, HostBody, NewVnetBody, VnetBody, VnetFields
from ryu_apps.rest.conditions import ETAG, GUARDED, TAGGED, ConditionsOf, stored, stored_as
from ryu_apps.rest.fabric import fabric_of
from ryu_apps.rest.pages import LINKED, LOCATED, PageOf
from ryu_apps.rest.problems import Kind, Problem, documented
from ryu_apps.rest.scoping import check_claims, check_vnet
from ryu_apps.rest.views import DeclaredHostView, VnetView
from stitching.network import node_name
from stitching.vnet import DEFAULT_VNET, Directory, Member, VNet

router = APIRouter(prefix="/vnets", tags=["virtual networks"])

READS = needs(Role.VIEWER, scoped=True)
CHANGES = needs(Role.OPERATOR, scoped=True)

_ONE_AT_A_TIME = threading.Lock()
"""What a precondition says must still hold when the change is made."""

Name = Annotated[str, Path(pattern=VNET_NAME)]


@router.get("", dependencies=[READS], responses=LINKED)
def get_vnets(apps: AppsOf, who: Who, page: PageOf) -> list[VnetView]:
    """All virtual networks but the default one, by name."""
    vnets = (vnet for vnet in apps.ask(FORWARDING, VnetsRequest()) if who.scope is None or vnet.name in who.scope)
    return [_view(vnet) for vnet in page.of(vnets, lambda vnet: (vnet.name,), str)]


@router.get("/{name}", dependencies=[READS], responses={**TAGGED, **documented(Kind.UNKNOWN_VNET)})
def get_vnet(apps: AppsOf, who: Who, name: Name, conditions: ConditionsOf, response: Response) -> VnetView:
    """One virtual network."""
    vnet = _named(apps.ask(FORWARDING, VnetsRequest()), name)
    if vnet is None or (who.scope is not None and name not in who.scope):
        raise _unknown(name)
    view = _view(vnet)
    conditions.read(view, response)
    return view


@router.post(
    "",
    status_code=201,
    dependencies=[CHANGES],
    responses={
        **documented(Kind.DUPLICATE_VNET, Kind.OVERLAP, Kind.RESERVED),
        201: {"headers": {**LOCATED, **ETAG}},
    },
)
def post_vnet(apps: AppsOf, who: Who, body: NewVnetBody, response: Response) -> VnetView:
    """Make a virtual network that does not exist yet."""
    check_vnet(who, body.name)
    vnet = _vnet(body.name, body)
    with _ONE_AT_A_TIME:
        present = apps.ask(FORWARDING, VnetsRequest())
        if _named(present, body.name) is not None:
            raise Problem(
                Kind.DUPLICATE_VNET,
                f"there is a virtual network {body.name!r} already",
                field="name",
                remedy=f"choose another name, or change it with PUT /v1/vnets/{body.name}",
            )
        _put(apps, who, vnet, present)
    return stored(_view(vnet), response, f"/v1/vnets/{vnet.name}", is_new=True)


@router.put(
    "/{name}",
    dependencies=[CHANGES],
    responses={
        **stored_as(VnetView),
        **documented(Kind.OVERLAP, Kind.RESERVED),
    },
)
def put_vnet(
    apps: AppsOf,
    who: Who,
    name: Name,
    body: VnetBody,
    conditions: ConditionsOf,
    change: ChangeOf,
    response: Response,
) -> VnetView:
    """Make a virtual network what the body says, whether it existed or not.

    With If-Match only where it is still what it was, with `If-None-Match: *` only where there is none.
    """
    check_vnet(who, name)
    if body.name not in (None, name):
        raise Problem(
            Kind.INVALID, f"the body says {body.name!r}, the path {name!r}", field="name", remedy="leave it out"
        )
    vnet = _vnet(name, body)
    with _ONE_AT_A_TIME:
        present = apps.ask(FORWARDING, VnetsRequest())
        before = _named(present, name)
        change.before = _view(before) if before is not None else None
        conditions.check(change.before)
        is_new = _put(apps, who, vnet, present)
    return stored(_view(vnet), response, f"/v1/vnets/{name}", is_new=is_new)


@router.delete(
    "/{name}",
    status_code=204,
    response_model=None,
    dependencies=[CHANGES],
    responses={**GUARDED, **documented(Kind.UNKNOWN_VNET, Kind.RESERVED)},
)
def delete_vnet(apps: AppsOf, who: Who, name: Name, conditions: ConditionsOf, change: ChangeOf) -> None:
    """Forget a virtual network; its hosts fall back to the default one."""
    _refuse_reserved(name)
    check_vnet(who, name)
    with _ONE_AT_A_TIME:
        before = _named(apps.ask(FORWARDING, VnetsRequest()), name)
        change.before = _view(before) if before is not None else None
        conditions.check(change.before)
        if not apps.ask(FORWARDING, DeleteVnet(name)):
            raise _unknown(name)


def _named(vnets: tuple[VNet, ...], name: str) -> VNet | None:
    return next((vnet for vnet in vnets if vnet.name == name), None)


def _put(apps: Apps, who: Principal, vnet: VNet, present: tuple[VNet, ...]) -> bool:
    """Hand a virtual network to the app that keeps them; whether it is new."""
    _refuse_reserved(vnet.name)
    if who.scope is not None:
        check_claims(who, vnet, fabric_of(apps))
    try:
        Directory.of([*(other for other in present if other.name != vnet.name), vnet])
        # The app looks again: another caller may have claimed the same in the meantime.
        return apps.ask(FORWARDING, PutVnet(vnet))
    except ValueError as error:
        # A token with a scope is not told whose it is.
        detail = str(error) if who.scope is None else "another virtual network claims the same"
        raise Problem(
            Kind.OVERLAP, detail, remedy="take it out of the other virtual network first, or leave it out here"
        ) from error


def _refuse_reserved(name: str) -> None:
    if name == DEFAULT_VNET:
        raise Problem(
            Kind.RESERVED,
            f"{DEFAULT_VNET!r} is where hosts live that no virtual network claims; it cannot be changed",
            field="name",
            remedy="choose another name",
        )


def _unknown(name: str) -> Problem:
    return Problem(
        Kind.UNKNOWN_VNET,
        f"no virtual network is called {name!r}",
        field="name",
        remedy="GET /v1/vnets lists them; PUT makes one",
    )


def _vnet(name: str, body: VnetFields) -> VNet:
    return VNet(name, tuple(_member(host) for host in body.hosts), tuple(body.subnets), body.spoof_guard)


def _member(host: HostBody) -> Member:
    port = None
    if host.port is not None:
        dpid, _, port_no = host.port.partition(":")
        port = int(dpid, 16), int(port_no)
    return Member(host.mac, host.name, tuple(host.labels), tuple(host.ips), port)


def _view(vnet: VNet) -> VnetView:
    hosts = [_declared(member) for member in vnet.members]
    return VnetView(name=vnet.name, hosts=hosts, subnets=list(vnet.subnets), spoof_guard=vnet.spoof_guard)


def _declared(member: Member) -> DeclaredHostView:
    port = None if member.port is None else f"{node_name(member.port[0])}:{member.port[1]}"
    return DeclaredHostView(
        name=member.name, mac=member.mac, labels=list(member.labels), ips=list(member.ips), port=port
    )
