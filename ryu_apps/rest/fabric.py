"""The fabric, the virtual networks and the newest rates, as far as handlers need them to name things."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ryu_apps.events import NetworkRequest, Rates, RatesRequest, VnetsRequest
from ryu_apps.rest.apps import DISCOVERY, FORWARDING, TELEMETRY, Apps
from ryu_apps.rest.problems import Kind, Problem
from ryu_apps.rest.views import HopView, HostView, LinkRefView, MemberView
from stitching.network import Host, LinkKey, Network, node_name
from stitching.stitch import StitchPath
from stitching.vnet import Directory, UnknownHost


@dataclass(frozen=True, slots=True)
class Fabric:
    """What is known at the time of a request."""

    network: Network
    directory: Directory
    rates: Rates | None

    def find(self, text: str, field: str) -> Host:
        """The host that a field of the request means. Raises a 404 problem that names the field."""
        try:
            return self.directory.find(text, self.network.hosts)
        except UnknownHost as error:
            raise Problem(
                Kind.UNKNOWN_HOST, str(error), field=field, remedy="GET /v1/hosts lists the hosts that are known"
            ) from error

    def member(self, mac: str) -> MemberView:
        """A host by MAC, with the best name there is for it; it need not be on a port any more."""
        host = self.network.hosts.get(mac, Host(mac, 0, 0))
        return MemberView(name=self.directory.name_of(host), mac=mac)

    def vnet_of(self, mac: str) -> str:
        """The virtual network of a host by MAC, also of one that is not on a port."""
        return self.directory.vnet_of(self.network.hosts.get(mac, Host(mac, 0, 0)))

    def hosts(self) -> list[HostView]:
        """All hosts, by name."""
        views = [self._host(host) for host in self.network.hosts.values()]
        return sorted(views, key=lambda view: (view.name, view.mac))

    def _host(self, host: Host) -> HostView:
        return HostView(
            name=self.directory.name_of(host),
            mac=host.mac,
            ips=sorted(host.ips, key=_address_order),
            dpid=node_name(host.dpid),
            port=host.port_no,
            vnet=self.directory.vnet_of(host),
            labels=sorted(member.labels) if (member := self.directory.member(host.mac)) is not None else [],
        )


def fabric_of(apps: Apps) -> Fabric:
    """Ask for all of it. Raises a 503 problem where discovery or forwarding does not answer.

    Without telemetry the loads are unknown; that is no reason to hide the rest.
    """
    network = apps.ask(DISCOVERY, NetworkRequest())
    directory = Directory.of(apps.ask(FORWARDING, VnetsRequest()))
    try:
        rates = apps.ask(TELEMETRY, RatesRequest())
    except Problem:
        rates = None
    return Fabric(network, directory, rates)


def path_view(path: StitchPath) -> list[HopView]:
    """The switches of a path, in order."""
    return [HopView(dpid=node_name(hop.dpid), in_port=hop.in_port, out_port=hop.out_port) for hop in path.hops]


def link_ref_view(key: LinkKey) -> LinkRefView:
    """A link by its two ports."""
    return LinkRefView(src_dpid=node_name(key[0]), src_port=key[1], dst_dpid=node_name(key[2]), dst_port=key[3])


def _address_order(ip: str) -> tuple[int, int]:
    address = ipaddress.ip_address(ip)
    return address.version, int(address)
