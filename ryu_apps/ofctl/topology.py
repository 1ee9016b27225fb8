"""GET /v1.0/topology/...: the fabric in the shapes of Ryu's rest_topology. dpids have 16 hex digits, ports 8."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path

from ryu_apps.events import NetworkRequest
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.apps import DISCOVERY, AppsOf
from ryu_apps.rest.problems import Kind, Problem, documented
from stitching.network import Host, Network, PortId

router = APIRouter(
    prefix="/v1.0/topology",
    tags=["ryu"],
    dependencies=[needs(Role.VIEWER)],
    responses=documented(Kind.UNKNOWN_SWITCH),
)

_DPID = "^[0-9a-fA-F]{16}$"

Dpid = Annotated[
    str,
    Path(description="16 hex digits.", json_schema_extra={"pattern": _DPID, "examples": ["0000000000000001"]}),
]


@router.get("/switches")
def get_switches(apps: AppsOf) -> list[dict[str, Any]]:
    """The switches that are connected, with their ports."""
    return _switches(apps.ask(DISCOVERY, NetworkRequest()))


@router.get("/switches/{dpid}")
def get_switch(apps: AppsOf, dpid: Dpid) -> list[dict[str, Any]]:
    """One switch with its ports, or none where it is not connected."""
    return _switches(apps.ask(DISCOVERY, NetworkRequest()), _dpid(dpid))


def _switches(network: Network, only: int | None = None) -> list[dict[str, Any]]:
    return [
        {"dpid": f"{switch:016x}", "ports": [_port(network, (switch, port_no)) for port_no in sorted(ports)]}
        for switch, ports in sorted(network.switches.items())
        if only in (None, switch)
    ]


@router.get("/links")
def get_links(apps: AppsOf) -> list[dict[str, Any]]:
    """The links, each direction by itself."""
    return _links(apps.ask(DISCOVERY, NetworkRequest()))


@router.get("/links/{dpid}")
def get_links_of(apps: AppsOf, dpid: Dpid) -> list[dict[str, Any]]:
    """The links that leave a switch."""
    return _links(apps.ask(DISCOVERY, NetworkRequest()), _dpid(dpid))


def _links(network: Network, only: int | None = None) -> list[dict[str, Any]]:
    return [
        {"src": _port(network, link.source), "dst": _port(network, link.target)}
        for _, link in sorted(network.links.items())
        if only in (None, link.source[0])
    ]


@router.get("/hosts")
def get_hosts(apps: AppsOf) -> list[dict[str, Any]]:
    """The hosts."""
    return _hosts(apps.ask(DISCOVERY, NetworkRequest()))


@router.get("/hosts/{dpid}")
def get_hosts_at(apps: AppsOf, dpid: Dpid) -> list[dict[str, Any]]:
    """The hosts at a switch."""
    return _hosts(apps.ask(DISCOVERY, NetworkRequest()), _dpid(dpid))


def _hosts(network: Network, only: int | None = None) -> list[dict[str, Any]]:
    return [_host(network, host) for _, host in sorted(network.hosts.items()) if only in (None, host.dpid)]


def _host(network: Network, host: Host) -> dict[str, Any]:
    addresses = sorted(host.ips)
    return {
        "mac": host.mac,
        "ipv4": [ip for ip in addresses if ":" not in ip],
        "ipv6": [ip for ip in addresses if ":" in ip],
        "port": _port(network, host.port),
    }


def _port(network: Network, port_id: PortId) -> dict[str, str]:
    """A port; of one whose switch is away neither name nor address are known, and both are empty."""
    dpid, port_no = port_id
    port = network.switches.get(dpid, {}).get(port_no)
    return {
        "dpid": f"{dpid:016x}",
        "port_no": f"{port_no:08x}",
        "hw_addr": port.mac if port is not None else "",
        "name": port.name if port is not None else "",
    }


def _dpid(text: str) -> int:
    if not re.fullmatch(_DPID, text):
        raise Problem(
            Kind.UNKNOWN_SWITCH,
            "a dpid has 16 hex digits here",
            field="dpid",
            remedy="write it like 0000000000000001",
        )
    return int(text, 16)
