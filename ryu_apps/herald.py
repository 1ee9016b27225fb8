"""Tells the feed what changes: stitches, switches, links, hosts, and samples that nobody would have expected."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from ryu_apps.app import App, handles
from ryu_apps.events import AlarmsRaised, NetworkChanged, StitchMoved, VnetsChanged
from ryu_apps.feed import Feed
from stitching.network import Host, LinkKey, Network, node_name
from stitching.stitch import VmRequest
from stitching.vnet import Directory

Key = TypeVar("Key")


class Herald(App):
    """Hears what the other apps publish; owns what it told last."""

    _EVENTS: ClassVar[list[type]] = []

    def __init__(
        self,
        *args: Any,
        feed: Feed,
        network: Network | None = None,
        clock: Callable[[], float] = time.time,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._feed = feed
        self._clock = clock
        self._network = network or Network()
        self._directory = Directory.of(())

    @handles(VnetsChanged)
    def on_vnets(self, event: VnetsChanged) -> None:
        """Who belongs where from now on."""
        self._directory = Directory.of(event.vnets)

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """Tell what came and what went."""
        before, self._network = self._network, event.network
        for dpid, change in _changes(before.switches, event.network.switches):
            self._tell("switch", {"change": change, "dpid": node_name(dpid)})
        for key, change in _changes(before.links, event.network.links):
            self._tell("link", {"change": change, **_link(key)})
        for mac, change in _changes(before.hosts, event.network.hosts):
            self._tell_host(change, event.network.hosts.get(mac) or before.hosts[mac])
        for mac, host in event.network.hosts.items():
            was = before.hosts.get(mac)
            if was is not None and was is not host and (was.dpid, was.port_no) != (host.dpid, host.port_no):
                self._tell_host("moved", host)

    @handles(StitchMoved)
    def on_stitch(self, event: StitchMoved) -> None:
        """Tell the state of a stitch."""
        stitch = event.stitch
        request = stitch.request
        if isinstance(request, VmRequest):
            hosts = [self._host(request.source_mac), self._host(request.target_mac)]
            vnets = [self._directory.vnet_of(host) for host in hosts]
            ends = [self._member(host) for host in hosts]
        else:
            vnets = [*request.vnets]
            ends = [{"vnet": vnet} for vnet in vnets]
        data = {
            "id": stitch.id,
            "state": stitch.state.value,
            "was": event.was.value if event.was is not None else None,
            "reason": stitch.reason,
            "kind": request.KIND,
            "source": ends[0],
            "destination": ends[1],
        }
        self._feed.tell(self._clock(), "stitch", data, frozenset(vnets))

    @handles(AlarmsRaised)
    def on_alarms(self, event: AlarmsRaised) -> None:
        """Tell what nobody would have expected."""
        for alarm in event.alarms:
            data = {"kind": alarm.kind, "series": alarm.name, "surprise_bits": round(alarm.bits, 1)}
            macs = alarm.name.split(">") if alarm.kind == "demands" else []
            self._tell("alarm", data, *(self._host(mac) for mac in macs), time_s=alarm.time_s)

    def _tell_host(self, change: str, host: Host) -> None:
        data = {
            "change": change,
            **self._member(host),
            "dpid": node_name(host.dpid),
            "port": host.port_no,
            "vnet": self._directory.vnet_of(host),
        }
        self._tell("host", data, host)

    def _tell(self, kind: str, data: Mapping[str, Any], *about: Host, time_s: float | None = None) -> None:
        vnets = frozenset(self._directory.vnet_of(host) for host in about) if about else None
        self._feed.tell(self._clock() if time_s is None else time_s, kind, data, vnets)

    def _host(self, mac: str) -> Host:
        return self._network.hosts.get(mac) or Host(mac, 0, 0)

    def _member(self, host: Host) -> dict[str, str]:
        return {"name": self._directory.name_of(host), "mac": host.mac}


def _changes(before: Mapping[Key, Any], after: Mapping[Key, Any]) -> list[tuple[Key, str]]:
    gone = [(key, "down") for key in before if key not in after]
    return gone + [(key, "up") for key in after if key not in before]


def _link(key: LinkKey) -> dict[str, object]:
    return {
        "src_dpid": node_name(key[0]),
        "src_port": key[1],
        "dst_dpid": node_name(key[2]),
        "dst_port": key[3],
    }
