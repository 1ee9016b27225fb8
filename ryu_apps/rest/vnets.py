"""Virtual networks: which hosts belong together."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from ryu_apps.events import DeleteVnet, PutVnet, VnetsRequest
from ryu_apps.rest.apps import FORWARDING, Apps, AppsOf
from ryu_apps.rest.bodies import VNET_NAME, HostBody, NewVnetBody, VnetBody, VnetFields
from ryu_apps.rest.problems import Kind, Problem, documented
from ryu_apps.rest.views import DeclaredHostView, VnetView
from stitching.network import node_name
from stitching.vnet import DEFAULT_VNET, Directory, Member, VNet

router = APIRouter(prefix="/vnets", tags=["virtual networks"])

Name = Annotated[str, Path(pattern=VNET_NAME)]


@router.get("")
def get_vnets(apps: AppsOf) -> list[VnetView]:
    """All virtual networks but the default one, by name."""
    return [_view(vnet) for vnet in sorted(apps.ask(FORWARDING, VnetsRequest()), key=lambda vnet: vnet.name)]


@router.get("/{name}", responses=documented(Kind.UNKNOWN_VNET))
def get_vnet(apps: AppsOf, name: Name) -> VnetView:
    """One virtual network."""
    for vnet in apps.ask(FORWARDING, VnetsRequest()):
        if vnet.name == name:
            return _view(vnet)
    raise _unknown(name)


@router.post("", status_code=201, responses=documented(Kind.DUPLICATE_VNET, Kind.OVERLAP, Kind.RESERVED))
def post_vnet(apps: AppsOf, body: NewVnetBody, response: Response) -> VnetView:
    """Make a virtual network that does not exist yet."""
    present = apps.ask(FORWARDING, VnetsRequest())
    if any(vnet.name == body.name for vnet in present):
        raise Problem(
            Kind.DUPLICATE_VNET,
            f"there is a virtual network {body.name!r} already",
            field="name",
            remedy=f"choose another name, or change it with PUT /v1/vnets/{body.name}",
        )
    vnet = _vnet(body.name, body)
    _put(apps, vnet, present)
    response.headers["Location"] = f"/v1/vnets/{vnet.name}"
    return _view(vnet)


@router.put(
    "/{name}",
    responses={
        201: {"description": "It is new", "model": VnetView},
        **documented(Kind.OVERLAP, Kind.RESERVED),
    },
)
def put_vnet(apps: AppsOf, name: Name, body: VnetBody, response: Response) -> VnetView:
    """Make a virtual network what the body says, whether it existed or not."""
    if body.name not in (None, name):
        raise Problem(
            Kind.INVALID, f"the body says {body.name!r}, the path {name!r}", field="name", remedy="leave it out"
        )
    vnet = _vnet(name, body)
    if _put(apps, vnet, apps.ask(FORWARDING, VnetsRequest())):
        response.status_code = 201
        response.headers["Location"] = f"/v1/vnets/{name}"
    return _view(vnet)


@router.delete(
    "/{name}", status_code=204, response_model=None, responses=documented(Kind.UNKNOWN_VNET, Kind.RESERVED)
)
def delete_vnet(apps: AppsOf, name: Name) -> None:
    """Forget a virtual network; its hosts fall back to the default one."""
    _refuse_reserved(name)
    if not apps.ask(FORWARDING, DeleteVnet(name)):
        raise _unknown(name)


def _put(apps: Apps, vnet: VNet, present: tuple[VNet, ...]) -> bool:
    """Hand a virtual network to the app that keeps them; whether it is new."""
    _refuse_reserved(vnet.name)
    try:
        Directory.of([*(other for other in present if other.name != vnet.name), vnet])
        # The app looks again: another caller may have claimed the same in the meantime.
        return apps.ask(FORWARDING, PutVnet(vnet))
    except ValueError as error:
        raise Problem(
            Kind.OVERLAP, str(error), remedy="take it out of the other virtual network first, or leave it out here"
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
