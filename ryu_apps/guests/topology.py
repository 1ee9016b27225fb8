"""os_ken.topology for hosted apps, fed by our own discovery: no second set of probes, no rules for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER
from os_ken.topology import event
from os_ken.topology.switches import Host, Link, Port, Switch

from ryu_apps.app import App, handles
from ryu_apps.connections import Connections
from ryu_apps.events import NetworkChanged
from ryu_apps.guests.hosting import Guest
from stitching.network import Host as KnownHost
from stitching.network import LinkKey, Network, PortId


class TopologyBridge(App):
    """Stands where os-ken's Switches would: answers get_switch(), get_link(), get_host() and tells of changes."""

    NAME = "switches"

    _EVENTS: ClassVar[list[type]] = [
        *(event.EventSwitchEnter, event.EventSwitchLeave, event.EventSwitchReconnected),
        *(event.EventPortAdd, event.EventPortDelete, event.EventPortModify),
        *(event.EventLinkAdd, event.EventLinkDelete),
        *(event.EventHostAdd, event.EventHostDelete, event.EventHostMove),
    ]

    def __init__(self, *args: Any, guest_of: Callable[[str], Guest | None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.name = self.NAME
        self._guest_of = guest_of
        self._connections = Connections()
        self._network = Network()
        self._switches: dict[int, Any] = {}
        self._links: dict[LinkKey, Any] = {}
        self._hosts: dict[str, Any] = {}

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def on_state(self, occurred: Any) -> None:
        """Keep the connections at hand."""
        self._connections.follow(occurred)
        self._tell()

    @handles(NetworkChanged)
    def on_network(self, occurred: NetworkChanged) -> None:
        """The fabric is not what it was."""
        self._network = occurred.network
        self._tell()

    # -- what is asked --------------------------------------------------------------------------------------

    @handles(event.EventSwitchRequest)
    def on_switches(self, request: Any) -> None:
        """Answer which switches there are, with the datapaths of the app that asks."""
        guest = self._guest_of(request.src)
        found = [switch for dpid, switch in self._switches.items() if request.dpid in (None, dpid)]
        seen = [guest.seen_switch(switch) for switch in found] if guest is not None else []
        self.reply_to_request(request, event.EventSwitchReply(request.src, seen))

    @handles(event.EventLinkRequest)
    def on_links(self, request: Any) -> None:
        """Answer which links there are, or leave a switch."""
        found = [link for key, link in self._links.items() if request.dpid in (None, key[0])]
        self.reply_to_request(request, event.EventLinkReply(request.src, request.dpid, found))

    @handles(event.EventHostRequest)
    def on_hosts(self, request: Any) -> None:
        """Answer which hosts there are, or are at a switch."""
        found = [host for host in self._hosts.values() if request.dpid in (None, host.port.dpid)]
        self.reply_to_request(request, event.EventHostReply(request.src, request.dpid, found))

    # -- what changed ---------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Tell of what is not as it was told last: what goes in the order links, switches; what comes reversed."""
        switches = {dpid: self._switch(dpid) for dpid in self._network.switches if dpid in self._connections}
        links = {key: link for key in self._network.links if (link := self._link(key, switches)) is not None}
        hosts = {mac: host for mac, known in self._network.hosts.items() if (host := self._host(known, switches))}
        before, self._switches = self._switches, switches
        links_before, self._links = self._links, links
        hosts_before, self._hosts = self._hosts, hosts
        self._send(event.EventLinkDelete, links_before, without=links)
        self._send(event.EventSwitchLeave, before, without=switches)
        self._send(event.EventSwitchEnter, switches, without=before)
        for dpid in switches.keys() & before.keys():
            self._tell_ports(before[dpid], switches[dpid])
        self._send(event.EventLinkAdd, links, without=links_before)
        self._send(event.EventHostAdd, hosts, without=hosts_before)
        for mac in hosts.keys() & hosts_before.keys():
            if hosts[mac].port != hosts_before[mac].port:
                self.publish(event.EventHostMove(hosts_before[mac], hosts[mac]))

    def _send(self, kind: type, items: Mapping[Any, Any], *, without: Mapping[Any, Any]) -> None:
        for key, item in items.items():
            if key not in without:
                self.publish(kind(item))

    def _tell_ports(self, before: Any, now: Any) -> None:
        if before.dp is not now.dp:
            self.publish(event.EventSwitchReconnected(now))
        old, new = _by_number(before.ports), _by_number(now.ports)
        self._send(event.EventPortDelete, old, without=new)
        self._send(event.EventPortAdd, new, without=old)
        for number in old.keys() & new.keys():
            if old[number].is_down() != new[number].is_down():
                self.publish(event.EventPortModify(new[number]))

    def _switch(self, dpid: int) -> Any:
        datapath = self._connections[dpid]
        switch = Switch(datapath)
        # As they are at one moment: the channel's thread changes them.
        for _, port in sorted(dict(datapath.ports).items()):
            switch.add_port(port)
        return switch

    def _link(self, key: LinkKey, switches: Mapping[int, Any]) -> Any | None:
        source, target = _port(key[:2], switches), _port(key[2:], switches)
        return Link(source, target) if source is not None and target is not None else None

    def _host(self, known: KnownHost, switches: Mapping[int, Any]) -> Any | None:
        port = _port(known.port, switches)
        if port is None:
            return None
        host = Host(known.mac, port)
        host.ipv4 = sorted(ip for ip in known.ips if ":" not in ip)
        host.ipv6 = sorted(ip for ip in known.ips if ":" in ip)
        return host


def _by_number(ports: Iterable[Any]) -> dict[int, Any]:
    return {port.port_no: port for port in ports}


def _port(port_id: PortId, switches: Mapping[int, Any]) -> Port | None:
    dpid, port_no = port_id
    return _by_number(switches[dpid].ports).get(port_no) if dpid in switches else None
