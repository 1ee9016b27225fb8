"""The fabric: switches, links and their capacities, hosts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query
from pydantic import Field

from ryu_apps.events import NetworkRequest, SetCapacities
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Role, Who, needs
from ryu_apps.rest.apps import DISCOVERY, AppsOf
from ryu_apps.rest.bodies import CapacityBody, repeated_port
from ryu_apps.rest.fabric import Fabric, fabric_of
from ryu_apps.rest.pages import LINKED, PageOf
from ryu_apps.rest.problems import Kind, Problem
from ryu_apps.rest.views import CapacitiesView, HostView, LinkView, PortView, SwitchView, TopologyView
from stitching.network import Link, Network, PortId, node_name

router = APIRouter(tags=["topology"])


@router.get("/topology", dependencies=[needs(Role.VIEWER)])
def get_topology(apps: AppsOf) -> TopologyView:
    """Switches, links and hosts, with what was measured last."""
    fabric = fabric_of(apps)
    network = fabric.network
    return TopologyView(
        switches=[_switch(network, dpid) for dpid in network.dpids],
        links=[_link(fabric, network.links[key]) for key in network.link_order],
        hosts=fabric.hosts(),
    )


@router.get("/hosts", dependencies=[needs(Role.VIEWER, scoped=True)], responses=LINKED)
def get_hosts(
    apps: AppsOf,
    who: Who,
    page: PageOf,
    vnet: Annotated[
        list[str] | None, Query(max_length=100, description="Only hosts of this virtual network; may be repeated.")
    ] = None,
    label: Annotated[
        list[Annotated[str, Field(max_length=63)]] | None,
        Query(max_length=16, description="Only hosts that have this label; all of them must be there."),
    ] = None,
) -> list[HostView]:
    """The hosts that were seen, by name."""
    fabric = fabric_of(apps)
    hosts = (
        host
        for host in fabric.hosts()
        if (who.scope is None or host.vnet in who.scope)
        and (vnet is None or host.vnet in vnet)
        and set(label or ()) <= set(host.labels)
    )
    return page.of(hosts, lambda host: (host.name, host.mac), str, str)


@router.put("/links/capacities", dependencies=[needs(Role.OPERATOR)])
def put_capacities(
    apps: AppsOf, change: ChangeOf, capacities: Annotated[list[CapacityBody], Body(max_length=20_000)]
) -> CapacitiesView:
    """Say what links carry, each named by its source port. Ports that are not named keep what they have."""
    if (port := repeated_port(capacities)) is not None:
        raise Problem(
            Kind.INVALID,
            f"port {port[1]} of switch {port[0]} is there twice",
            field="port",
            remedy="give each port one capacity",
        )
    wanted = {(int(item.dpid, 16), item.port): item.capacity_mbps for item in capacities}
    links = apps.ask(DISCOVERY, NetworkRequest()).links.values()
    change.before = [_capacity(link.source, link.capacity_mbps) for link in links if link.source in wanted]
    change.after = [_capacity(*item) for item in wanted.items()]
    return CapacitiesView(ports=len(wanted), links=apps.ask(DISCOVERY, SetCapacities(wanted)))


def _capacity(port: PortId, capacity_mbps: float | None) -> dict[str, object]:
    return {"dpid": node_name(port[0]), "port": port[1], "capacity_mbps": capacity_mbps}


def _switch(network: Network, dpid: int) -> SwitchView:
    ports = network.switches.get(dpid, {})
    return SwitchView(
        dpid=node_name(dpid),
        connected=dpid in network.switches,
        ports=[PortView(number=no, name=ports[no].name, up=ports[no].up) for no in sorted(ports)],
    )


def _link(fabric: Fabric, link: Link) -> LinkView:
    load_mbps = fabric.rates.port_tx_mbps.get(link.source) if fabric.rates else None
    return LinkView(
        src_dpid=node_name(link.source[0]),
        src_port=link.source[1],
        dst_dpid=node_name(link.target[0]),
        dst_port=link.target[1],
        latency_ms=link.measured_ms,
        latency_spread_ms=link.spread_ms,
        path_latency_ms=link.latency_ms,
        capacity_mbps=link.capacity_mbps,
        load_mbps=load_mbps,
        utilisation=load_mbps / link.capacity_mbps if load_mbps is not None and link.capacity_mbps else None,
        encrypted=link.source in fabric.network.encrypted_ports,
    )
