"""Discovery: which switches, ports, links and hosts there are.

The app hears of packets and ports, has those parts look at them that know about links (linking.py) and hosts
(sighting.py in ryu_apps/discovering/), and tells the other apps what the fabric looks like.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER
from os_ken.ofproto import ofproto_v1_3 as ofp

from ryu_apps.app import App, Tick, handles
from ryu_apps.discovering.hosts import HostTable
from ryu_apps.discovering.linking import Linker
from ryu_apps.discovering.links import RETURN_S, LinkTable
from ryu_apps.discovering.log_lines import LogLines
from ryu_apps.discovering.ports import Datapath, Ports, port_of
from ryu_apps.discovering.probes import LLDP_TYPE, ProbeSigner
from ryu_apps.discovering.sighting import Sightings
from ryu_apps.discovering.telling import Teller
from ryu_apps.events import (
    LinkLiveness,
    NetworkChanged,
    NetworkRequest,
    SetCapacities,
    SetEncrypted,
    SpoofSeen,
    SwitchReady,
    VnetsChanged,
)
from ryu_apps.events.overlay import SiteLinksChanged
from stitching.network import LinkKey, Network, PortId, port_name
from stitching.vnet import Directory

TICK_S = 0.02
LATE_TICK_S = 0.25
"""A tick that comes this much too late means that this process was held up, not the probes."""


class Discovery(App):
    """Probes every port, learns hosts on those that lead to no switch, and publishes the Network.

    key signs the probes (16 bytes at least; keep it across restarts only if you like, no probe outlives one).
    remembered is the network of before a restart: believed at once, then confirmed or dropped. capacities, in
    Mbit/s by source port, go before what the ports say of themselves. encrypted are the source ports of links that
    are. Raises ValueError for a short key.
    """

    _EVENTS: ClassVar[list[type]] = [NetworkChanged, SpoofSeen]

    def __init__(
        self,
        *,
        key: bytes,
        remembered: Network | None = None,
        capacities: Mapping[PortId, float] = MappingProxyType({}),
        keep: Callable[[Mapping[PortId, float]], None] = lambda _: None,
        encrypted: Collection[PortId] = (),
        keep_encrypted: Callable[[Mapping[PortId, bool]], None] = lambda _: None,
        probe_interval_s: float = 1.0,
        settle_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.counts: Counter[str] = Counter()
        """Since the start: probes_sent, _arrived and _refused, loops, hosts_refused, log lines left out."""
        self._clock = clock
        self._keep = keep
        self._keep_encrypted = keep_encrypted
        signer = ProbeSigner(key)
        self._lines = lines = LogLines(self.log, self.counts, clock)
        self._table = table = LinkTable(probe_interval_s, capacities)
        table.set_encrypted(dict.fromkeys(encrypted, True))
        hosts = HostTable()
        self._ports = ports = Ports(signer, table, probe_interval_s, self.counts, clock)
        self._teller = teller = Teller(
            ports, table, hosts, publish=lambda network: self.publish(NetworkChanged(network)), clock=clock
        )
        self._sightings = sightings = Sightings(
            hosts,
            ports,
            table,
            teller,
            lines,
            self.counts,
            clock,
            alarm=lambda spoof: self.publish(SpoofSeen(spoof)),
            settle_s=settle_s,
        )
        self._linker = Linker(table, ports, signer, sightings, teller, lines, self.counts, clock, probe_interval_s)
        self._ticked_s = clock()
        self._held_up_until_s = -math.inf
        if remembered is not None:
            for link in remembered.links.values():
                table.restore(link)
            edge = [h for h in remembered.hosts.values() if not table.is_fabric(h.port)]
            hosts.restore(edge, self._ticked_s)
            teller.remembers()

    def start(self) -> None:
        """Start handling events and probing; the remembered network is published with the first event or tick."""
        self._ticked_s = self._clock()
        super().start()
        self.every(TICK_S, "probe")

    # -- switches and ports ---------------------------------------------------------------------------------

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def _on_state(self, event: Any) -> None:
        datapath: Datapath = event.datapath
        if event.state == MAIN_DISPATCHER:
            self._connected(datapath)
        else:
            known = self._ports.switches.get(datapath.id)
            if known is not None and known.datapath is datapath:
                self._disconnected(datapath.id)
        self._teller.publish_if_due()

    def _connected(self, datapath: Datapath) -> None:
        dpid = datapath.id
        if dpid in self._ports.switches:
            self._disconnected(dpid)
        ports = self._ports.add(datapath)
        self._table.pardon(dpid)
        for port_id in self._table.ports_of(dpid):
            if port_id[1] not in ports or not ports[port_id[1]].up:
                self._linker.close(port_id, "down")
        for port_no, port in ports.items():
            self._ports.open((dpid, port_no), port)
            self._table.set_speed((dpid, port_no), port.speed_mbps)
        self._lines.tell(logging.INFO, "switch_up", "dpid=%016x ports=%d", dpid, len(ports))
        self._ports.send_due()
        self._teller.changed()

    def _disconnected(self, dpid: int) -> None:
        """The switch forwards on, so its links and hosts stay; there is only no way to ask it."""
        self._ports.remove(dpid)
        self._table.pardon(dpid)
        self._lines.tell(logging.WARNING, "switch_away", "dpid=%016x", dpid)
        self._teller.changed()

    @handles(ofp_event.EventOFPPortStatus, states=(MAIN_DISPATCHER,))
    def _on_port_status(self, event: Any) -> None:
        message = event.msg
        switch = self._ports.of(message)
        if switch is None or message.desc.port_no > ofp.OFPP_MAX:
            return
        port = port_of(message.desc)
        old = switch.ports.get(port.port_no)
        others = {no: other for no, other in switch.ports.items() if no != port.port_no}
        port_id = switch.datapath.id, port.port_no
        if message.reason == ofp.OFPPR_DELETE:
            self._linker.close(port_id, "removed")
            self._sightings.forget(port_id, "port_removed")
            switch.ports = MappingProxyType(others)
        elif port != old:
            switch.ports = MappingProxyType({**others, port.port_no: port})
            if old is None or (old.up, old.mac) != (port.up, port.mac):
                self._linker.close(port_id, "down")
                self._ports.open(port_id, port)
            self._table.set_speed(port_id, port.speed_mbps)
        else:
            return
        self._ports.send_due()
        self._teller.changed()
        self._teller.publish_if_due()

    @handles(SwitchReady)
    def _on_switch_ready(self, event: SwitchReady) -> None:
        """Before its rules were there a switch sent us no probes: those ports are worth another try at once."""
        switch = self._ports.switches.get(event.dpid)
        for port_no in switch.ports if switch is not None else ():
            key = self._table.leaving.get((event.dpid, port_no))
            self._ports.probe_again((event.dpid, port_no) if key is None else key[2:])
        self._ports.send_due()

    @handles(LinkLiveness)
    def _on_link_liveness(self, event: LinkLiveness) -> None:
        """That a link is alive again is no proof that the port leads where it led: a probe has to say so."""
        if event.alive:
            return
        self._linker.dead(event.port)
        self._ports.send_due()
        self._teller.publish_if_due()

    # -- packets and time -----------------------------------------------------------------------------------

    @handles(ofp_event.EventOFPPacketIn, states=(MAIN_DISPATCHER,))
    def _on_packet_in(self, event: Any) -> None:
        message = event.msg
        switch = self._ports.of(message)
        port_no = message.match.get("in_port")
        if switch is not None and port_no is not None:
            port_id = switch.datapath.id, port_no
            frame = bytes(message.data)
            if frame[12:14] == LLDP_TYPE:
                self._linker.probe(port_id, frame, message.received_s)
            else:
                self._sightings.packet(port_id, frame, message.received_s)
        if self._clock() - self._ticked_s > 2 * TICK_S:
            # The queue is so long that ticks are behind or left out; probing must go on all the same.
            self._tick()
        self._teller.publish_if_due()

    @handles(Tick)
    def _on_tick(self, event: Tick) -> None:
        if event.name == "overdue":
            self._linker.drop(self._overdue(self._clock()))
            self._ports.send_due()
        else:
            self._tick()
        self._teller.publish_if_due()

    def _tick(self) -> None:
        now_s = self._clock()
        if now_s - self._ticked_s > TICK_S + LATE_TICK_S:
            self._held_up_until_s = now_s + RETURN_S
        self._ticked_s = now_s
        self._ports.send_due()
        self._sightings.age_addresses()
        self._sightings.take_moved(now_s)
        if self._overdue(now_s):
            # Judged behind everything that is waiting in the queue by now, the missing probes perhaps among it.
            self.post(Tick("overdue"))

    def _overdue(self, now_s: float) -> list[LinkKey]:
        return [] if now_s < self._held_up_until_s else self._linker.overdue(now_s)

    # -- what others tell and ask ---------------------------------------------------------------------------

    @handles(VnetsChanged)
    def _on_vnets(self, event: VnetsChanged) -> None:
        """What is declared of hosts is another."""
        self._sightings.declared(Directory.of(event.vnets))

    @handles(NetworkRequest)
    def _on_network_request(self, request: NetworkRequest) -> None:
        # What was to be told goes first: who asks next finds the others knowing no less than this answer.
        self._teller.publish_if_due()
        self.serve(request, self._teller.live)

    @handles(SetCapacities)
    def _on_set_capacities(self, request: SetCapacities) -> None:
        self.serve(request, lambda: self._set_capacities(request.capacity_mbps))
        self._teller.publish_if_due()

    @handles(SetEncrypted)
    def _on_set_encrypted(self, request: SetEncrypted) -> None:
        self.serve(request, lambda: self._set_encrypted(request.encrypted))
        self._teller.publish_if_due()

    @handles(SiteLinksChanged)
    def _on_site_links(self, event: SiteLinksChanged) -> None:
        if self._table.set_tunnelled(event.links):
            self._teller.changed(at_once=True)
        self._teller.publish_if_due()

    def _set_encrypted(self, marks: Mapping[PortId, bool]) -> int:
        self._keep_encrypted(marks)
        if self._table.set_encrypted(marks):
            self._teller.changed(at_once=True)
        return sum(port in self._table.leaving for port in marks)

    def _set_capacities(self, capacities: Mapping[PortId, float]) -> int:
        for port_id, capacity_mbps in capacities.items():
            if not (math.isfinite(capacity_mbps) and capacity_mbps > 0):
                raise ValueError(f"capacity {capacity_mbps} of {port_name(port_id)} must be above zero Mbit/s")
        self._keep(capacities)
        applied = sum([self._table.set_capacity(*item) for item in capacities.items()])
        if applied:
            self._teller.changed()
        return applied
