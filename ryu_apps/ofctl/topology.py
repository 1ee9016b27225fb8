"""GET /v1.0/topology/...: the fabric in the shapes of Ryu's rest_topology. dpids have 16 hex digits, ports 8."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter

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

_DPID = re.compile(r"[0-9a-fA-F]{16}")


@router.get("/switches")
@router.get("/switches/{dpid}")
def get_switches(apps: AppsOf, dpid: str | None = None) -> list[dict[str, Any]]:
    """The switches that are connected with their ports; with a dpid that one, or none."""
    network, only = apps.ask(DISCOVERY, NetworkRequest()), _dpid(dpid)
    return [
        {"dpid": f"{switch:016x}", "ports": [_port(network, (switch, port_no)) for port_no in sorted(ports)]}
        for switch, ports in sorted(network.switches.items())
        if only in (None, switch)
    ]


@router.get("/links")
@router.get("/links/{dpid}")
def get_links(apps: AppsOf, dpid: str | None = None) -> list[dict[str, Any]]:
    """The links, each direction by itself; with a dpid those that leave this switch."""
    network, only = apps.ask(DISCOVERY, NetworkRequest()), _dpid(dpid)
    return [
        {"src": _port(network, link.source), "dst": _port(network, link.target)}
        for _, link in sorted(network.links.items())
        if only in (None, link.source[0])
    ]


@router.get("/hosts")
@router.get("/hosts/{dpid}")
def get_hosts(apps: AppsOf, dpid: str | None = None) -> list[dict[str, Any]]:
    """The hosts; with a dpid those at this switch."""
    network, only = apps.ask(DISCOVERY, NetworkRequest()), _dpid(dpid)
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


def _dpid(text: str | None) -> int | None:
    if text is None:
        return None
    if not _DPID.fullmatch(text):
        raise Problem(
            Kind.UNKNOWN_SWITCH,
            "a dpid has 16 hex digits here",
            field="dpid",
            remedy="write it like 0000000000000001",
        )
    return int(text, 16)
