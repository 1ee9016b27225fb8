"""Discovery: which switches, ports, links and hosts there are.

The app sends probes, feeds what arrives to the tables of links (links.py) and hosts (hosts.py), and tells the
other apps what the fabric looks like.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER
from os_ken.ofproto import ofproto_v1_3 as ofp

from ryu_apps import neighbours, wire
from ryu_apps.app import App, Tick, handles
from ryu_apps.events import (
    LinkLiveness,
    NetworkChanged,
    NetworkRequest,
    SetCapacities,
    SpoofSeen,
    SwitchReady,
    VnetsChanged,
)
from ryu_apps.hosts import HostTable, Sender, sender
from ryu_apps.links import MISSED, RETURN_S, LinkTable
from ryu_apps.probes import CLOCK_TOLERANCE_S, LLDP_TYPE, PortProbe, Probe, ProbeSchedule, ProbeSigner
from ryu_apps.source_guard import SourceGuard, Spoof
from stitching.network import Host, Link, LinkKey, Network, Port, PortId
from stitching.vnet import Directory, SpoofGuard

TICK_S = 0.02
LATE_TICK_S = 0.25
"""A tick that comes this much too late means that this process was held up, not the probes."""

COALESCE_S = 0.02

ADDRESS_AGE_S = 300.0
"""A host that is held to the addresses learned of it, and silent for so long, may come with others."""

LATENCY_WAIT_S = 0.2
"""New latencies come one link at a time, one probing period long; nobody needs to hear of each alone."""

PROBES_PER_TICK = 512
LINES_PER_S = 50
"""Log lines of one kind."""


class _Datapath(Protocol):
    id: int
    ports: Mapping[int, Any]
    rtt_s: float | None

    def send(self, data: bytes) -> bool: ...


@dataclass(slots=True)
class _Switch:
    datapath: _Datapath
    ports: Mapping[int, Port]


@dataclass(slots=True)
class _UpPort:
    """A port that can carry packets. since_s: when it came up; probed_s: when its first probe left.

    Before quiet_until_s it teaches no hosts: until a moment ago it was, or may still be, no edge port.
    """

    probe: PortProbe
    since_s: float
    probed_s: float = math.inf
    quiet_until_s: float = -math.inf


class Discovery(App):
    """Probes every port, learns hosts on those that lead to no switch, and publishes the Network.

    key signs the probes (16 bytes at least; keep it across restarts only if you like, no probe outlives one).
    remembered is the network of before a restart: believed at once, then confirmed or dropped. capacities, in
    Mbit/s by source port, go before what the ports say of themselves. Raises ValueError for a short key.
    """

    _EVENTS: ClassVar[list[type]] = [NetworkChanged, SpoofSeen]

    def __init__(
        self,
        *,
        key: bytes,
        remembered: Network | None = None,
        capacities: Mapping[PortId, float] = MappingProxyType({}),
        keep: Callable[[Mapping[PortId, float]], None] = lambda _: None,
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
        self._settle_s = settle_s
        self._interval_s = probe_interval_s
        self._signer = ProbeSigner(key)
        self._schedule = ProbeSchedule(probe_interval_s)
        self._table = LinkTable(probe_interval_s, capacities)
        self._hosts = HostTable()
        self._guard = SourceGuard(
            self._hosts, is_up=lambda port_id: port_id in self._up, ask=self._ask_for, alarm=self._spoofed
        )
        self._hosts_view: tuple[int, Mapping[str, Host]] = (-1, MappingProxyType({}))
        self._aged_s = -math.inf
        self._seen_hosts: tuple[int, Network] = (-1, Network())
        self._switches: dict[int, _Switch] = {}
        self._up: dict[PortId, _UpPort] = {}
        self._lines: dict[str, tuple[float, int]] = {}
        self._ticked_s = clock()
        self._held_up_until_s = -math.inf
        self._published_s = -math.inf
        self._told: dict[LinkKey, Link] = {}
        self._publish_at_s = math.inf
        if remembered is not None:
            for link in remembered.links.values():
                self._table.restore(link)
            edge = [h for h in remembered.hosts.values() if not self._table.is_fabric(h.port)]
            self._hosts.restore(edge, self._ticked_s)
            self._publish_at_s = -math.inf

    def start(self) -> None:
        """Start handling events and probing; the remembered network is published with the first event or tick."""
        self._ticked_s = self._clock()
        super().start()
        self.every(TICK_S, "probe")

    # switches and ports

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def _on_state(self, event: Any) -> None:
        datapath: _Datapath = event.datapath
        if event.state == MAIN_DISPATCHER:
            self._connected(datapath)
        elif datapath.id in self._switches and self._switches[datapath.id].datapath is datapath:
            self._disconnected(datapath.id)
        self._publish_if_due()

    @handles(ofp_event.EventOFPPortStatus, states=(MAIN_DISPATCHER,))
    def _on_port_status(self, event: Any) -> None:
        message = event.msg
        switch = self._switch_of(message)
        if switch is None or message.desc.port_no > ofp.OFPP_MAX:
            return
        port = _port(message.desc)
        old = switch.ports.get(port.port_no)
        others = {no: other for no, other in switch.ports.items() if no != port.port_no}
        port_id = switch.datapath.id, port.port_no
        if message.reason == ofp.OFPPR_DELETE:
            self._close(port_id, "removed")
            self._forget_hosts(port_id, "port_removed")
            switch.ports = MappingProxyType(others)
        elif port != old:
            switch.ports = MappingProxyType({**others, port.port_no: port})
            if old is None or (old.up, old.mac) != (port.up, port.mac):
                self._close(port_id, "down")
                self._open(port_id, port)
            self._table.set_speed(port_id, port.speed_mbps)
        else:
            return
        self._send_due()
        self._changed()
        self._publish_if_due()

    @handles(SwitchReady)
    def _on_switch_ready(self, event: SwitchReady) -> None:
        """Before its rules were there a switch sent us no probes: those ports are worth another try at once."""
        switch = self._switches.get(event.dpid)
        for port_no in switch.ports if switch is not None else ():
            key = self._table.leaving.get((event.dpid, port_no))
            self._probe_again((event.dpid, port_no) if key is None else key[2:])
        self._send_due()

    def _connected(self, datapath: _Datapath) -> None:
        dpid = datapath.id
        if dpid in self._switches:
            self._disconnected(dpid)
        # Only this thread may see them change: the channel's own dict is its thread's.
        ports = {no: _port(desc) for no, desc in dict(datapath.ports).items() if no <= ofp.OFPP_MAX}
        self._switches[dpid] = _Switch(datapath, MappingProxyType(ports))
        self._table.pardon(dpid)
        for port_id in self._table.ports_of(dpid):
            if port_id[1] not in ports or not ports[port_id[1]].up:
                self._close(port_id, "down")
        for port_no, port in ports.items():
            self._open((dpid, port_no), port)
            self._table.set_speed((dpid, port_no), port.speed_mbps)
        self._tell(logging.INFO, "switch_up", "dpid=%016x ports=%d", dpid, len(ports))
        self._send_due()
        self._changed()

    def _disconnected(self, dpid: int) -> None:
        """The switch forwards on, so its links and hosts stay; there is only no way to ask it."""
        for port_no in self._switches.pop(dpid).ports:
            self._up.pop((dpid, port_no), None)
            self._schedule.stop((dpid, port_no))
        self._table.pardon(dpid)
        self._tell(logging.WARNING, "switch_away", "dpid=%016x", dpid)
        self._changed()

    def _open(self, port_id: PortId, port: Port) -> None:
        if port.up:
            now_s = self._clock()
            self._up[port_id] = _UpPort(PortProbe(self._signer, *port_id, port.mac), now_s)
            self._schedule.start(port_id, now_s)

    def _close(self, port_id: PortId, reason: str) -> None:
        self._up.pop(port_id, None)
        self._schedule.stop(port_id)
        self._links_gone(self._table.remove_port(port_id), reason)

    # probes

    @handles(Tick)
    def _on_tick(self, event: Tick) -> None:
        if event.name == "overdue":
            self._drop_overdue()
        else:
            self._tick()
        self._publish_if_due()

    def _tick(self) -> None:
        now_s = self._clock()
        if now_s - self._ticked_s > TICK_S + LATE_TICK_S:
            self._held_up_until_s = now_s + RETURN_S
        self._ticked_s = now_s
        self._send_due()
        self._age_addresses()
        for move in self._guard.moved(now_s):
            self._learn(move.who, move.port, now_s)
        if self._overdue(now_s):
            # Judged behind everything that is waiting in the queue by now, the missing probes perhaps among it.
            self.post(Tick("overdue"))

    def _send_due(self) -> None:
        now_s = self._clock()
        batches: dict[int, list[PortId]] = defaultdict(list)
        for port_id in self._schedule.due(now_s, self._table.leaving, PROBES_PER_TICK):
            batches[port_id[0]].append(port_id)
        for dpid, port_ids in batches.items():
            sent_s = self._clock()
            messages = b"".join([self._up[port_id].probe.packet_out(sent_s) for port_id in port_ids])
            if not self._switches[dpid].datapath.send(messages):
                continue
            self.counts["probes_sent"] += len(port_ids)
            for port_id in port_ids:
                up = self._up[port_id]
                up.probed_s = min(up.probed_s, sent_s)
                key = self._table.leaving.get(port_id)
                if key is not None and key[2] in self._switches:
                    self._table.sent(port_id, sent_s)

    def _probe_again(self, port_id: PortId) -> None:
        """Probe a port at once, and often for a while, if it is not known to lead anywhere."""
        if port_id in self._up and port_id not in self._table.leaving:
            self._schedule.start(port_id, self._clock())

    def _overdue(self, now_s: float) -> list[LinkKey]:
        if now_s < self._held_up_until_s:
            return []
        return self._table.overdue(now_s, self._rtt_s)

    def _drop_overdue(self) -> None:
        now_s = self._clock()
        for key in self._overdue(now_s):
            self._table.remove(key)
            self._links_gone([key], "probes_missed")
        self._send_due()

    def _rtt_s(self, dpid: int) -> float:
        switch = self._switches.get(dpid)
        return (switch.datapath.rtt_s or 0.0) if switch is not None else 0.0

    @handles(ofp_event.EventOFPPacketIn, states=(MAIN_DISPATCHER,))
    def _on_packet_in(self, event: Any) -> None:
        message = event.msg
        switch = self._switch_of(message)
        port_no = message.match.get("in_port")
        if switch is not None and port_no is not None:
            port_id = switch.datapath.id, port_no
            frame = bytes(message.data)
            if frame[12:14] == LLDP_TYPE:
                self._probe_in(port_id, frame, message.received_s)
            else:
                self._host_in(port_id, frame, message.received_s)
        if self._clock() - self._ticked_s > 2 * TICK_S:
            # The queue is so long that ticks are behind or left out; probing must go on all the same.
            self._tick()
        self._publish_if_due()

    def _probe_in(self, target: PortId, frame: bytes, received_s: float) -> None:
        probe = self._signer.read(frame)
        if probe is None or not probe.is_fresh(received_s, MISSED * self._interval_s):
            self.counts["probes_refused"] += 1
            what = "not_ours" if probe is None else "stale"
            self._tell(logging.WARNING, "probe_refused", "dpid=%016x port_no=%d reason=%s", *target, what, per_s=1)
            return
        self.counts["probes_arrived"] += 1
        source, sender_port = probe.port, self._up.get(probe.port)
        # A probe that left before its port last went down must not bring the link back.
        if target not in self._up or sender_port is None or probe.sent_s < sender_port.since_s - CLOCK_TOLERANCE_S:
            return
        if source[0] == target[0]:
            self._loop(source, target)
            return
        arrival = self._table.arrived(source, target, probe.sent_s)
        if arrival is None:
            return
        self._links_gone(arrival.gone, "recabled")
        if arrival.is_new:
            self._link_added(arrival.key)
        self._measure(probe, arrival.key, received_s)

    def _measure(self, probe: Probe, key: LinkKey, received_s: float) -> None:
        rtts = self._switches[key[0]].datapath.rtt_s, self._switches[key[2]].datapath.rtt_s
        if self._table.measured(key, received_s - probe.sent_s, *rtts):
            latency_ms = self._table.links[key].latency_ms
            self._tell(logging.INFO, "link_latency", "link=%s latency_ms=%.3f", link_name(key), latency_ms)
            self._changed(LATENCY_WAIT_S)

    def _link_added(self, key: LinkKey) -> None:
        self._tell(logging.INFO, "link_up", "link=%s", link_name(key))
        for port_id in (key[:2], key[2:]):
            self._forget_hosts(port_id, "fabric_port")
        # The way back is all but certain and need not wait for its turn.
        self._probe_again(key[2:])
        self._send_due()
        self._changed()

    def _links_gone(self, keys: Iterable[LinkKey], reason: str) -> None:
        for key in keys:
            self._tell(logging.WARNING, "link_down", "link=%s reason=%s", link_name(key), reason)
            self._probe_again(key[:2])
            self._keep_quiet(key[:2], key[2:])
            self._changed(at_once=True)

    def _keep_quiet(self, *port_ids: PortId) -> None:
        """Learn no hosts here for a while: what comes in may come from behind another switch."""
        for port_id in port_ids:
            if port_id in self._up:
                self._up[port_id].quiet_until_s = self._clock() + (MISSED + 1) * self._interval_s

    @handles(LinkLiveness)
    def _on_link_liveness(self, event: LinkLiveness) -> None:
        """BFD says that a link is dead: it goes at once, and is back when a probe sent from now on crosses it.

        That it is alive again is no proof that the port leads where it led.
        """
        if event.alive:
            return
        for key in self._table.remove_port(event.port):
            for port_id in (key[:2], key[2:]):
                if port_id in self._up:
                    self._up[port_id].since_s = self._clock()
            self._links_gone([key], "bfd_down")
        self._send_due()
        self._publish_if_due()

    def _loop(self, source: PortId, target: PortId) -> None:
        self.counts["loops"] += 1
        self._tell(logging.WARNING, "loop", "dpid=%016x port_no=%d returned_at=%d", *source, target[1], per_s=0.1)
        self._keep_quiet(source, target)

    # hosts

    def _host_in(self, port_id: PortId, frame: bytes, received_s: float) -> None:
        up = self._up.get(port_id)
        if up is None or self._table.is_fabric(port_id) or received_s < up.quiet_until_s:
            return
        if received_s - up.probed_s < self._settle_s:
            return
        who = sender(frame)
        if who is not None:
            who = self._guard.believed(who, port_id, self._seen_network(), received_s)
        if who is not None:
            self._learn(who, port_id, received_s)

    def _learn(self, who: Sender, port_id: PortId, received_s: float) -> None:
        refused = self._hosts.refused
        sighting = self._hosts.see(who, port_id, received_s)
        if self._hosts.refused != refused:
            self.counts["hosts_refused"] += 1
            text = "mac=%s dpid=%016x port_no=%d"
            self._tell(logging.WARNING, "host_refused", text, who.mac, *port_id, per_s=1)
        if sighting is not None:
            text = "mac=%s dpid=%016x port_no=%d ip=%s change=%s"
            self._tell(logging.INFO, "host", text, who.mac, *port_id, who.ip, sighting)
            self._changed()

    def _ask_for(self, host: Host) -> bool:
        """Send an ARP probe to a host, to hear whether it is where it was."""
        switch = self._switches.get(host.dpid)
        ip = min((ip for ip in host.ips if ":" not in ip), default=None)
        if switch is None or ip is None:
            return False
        frame = neighbours.probe(host.mac, ip)
        return switch.datapath.send(wire.packet_out(frame, in_port=ofp.OFPP_CONTROLLER, out_ports=(host.port_no,)))

    def _spoofed(self, spoof: Spoof) -> None:
        self.counts["spoofs"] += 1
        text = "mac=%s ip=%s dpid=%016x port_no=%d reason=%s"
        self._tell(logging.WARNING, "spoof", text, spoof.mac, spoof.ip, *spoof.port, spoof.reason)
        self.publish(SpoofSeen(spoof))

    @handles(VnetsChanged)
    def _on_vnets(self, event: VnetsChanged) -> None:
        """What is declared of hosts is another."""
        self._guard.directory = Directory.of(event.vnets)

    def _age_addresses(self) -> None:
        """Let go of addresses that hosts are held to since they were learned, and do not use any more."""
        now_s = self._clock()
        if now_s - self._aged_s < ADDRESS_AGE_S / 30:
            return
        self._aged_s = now_s
        for mac, host in self._hosts.hosts.items():
            away = host.dpid in self._switches and host.port not in self._up
            old = away or now_s - self._hosts.seen_s(mac) > ADDRESS_AGE_S
            strict = self._guard.directory.guard_of(host) is SpoofGuard.STRICT
            if strict and old and self._hosts.forget_addresses(mac):
                self._tell(logging.INFO, "addresses_aged", "mac=%s", mac)
                self._changed()

    def _forget_hosts(self, port_id: PortId, reason: str) -> None:
        for host in self._hosts.forget_port(port_id):
            self._tell(logging.INFO, "host_forgotten", "mac=%s reason=%s", host.mac, reason)

    # what the others hear

    @handles(NetworkRequest)
    def _on_network_request(self, request: NetworkRequest) -> None:
        # What was to be told goes first: who asks next finds the others knowing no less than this answer.
        self._publish_if_due()
        self.serve(request, lambda: self._network({key: self._as_told(key) for key in self._table.links}))

    def _as_told(self, key: LinkKey) -> Link:
        """A link with its live estimate, and the latency for paths that the others were told last."""
        told = self._told.get(key)
        return replace(self._table.live(key), latency_ms=None if told is None else told.latency_ms)

    @handles(SetCapacities)
    def _on_set_capacities(self, request: SetCapacities) -> None:
        self.serve(request, lambda: self._set_capacities(request.capacity_mbps))
        self._publish_if_due()

    def _set_capacities(self, capacities: Mapping[PortId, float]) -> int:
        for (dpid, port_no), capacity_mbps in capacities.items():
            if not (math.isfinite(capacity_mbps) and capacity_mbps > 0):
                raise ValueError(f"capacity {capacity_mbps} of {dpid:016x}:{port_no} must be above zero Mbit/s")
        self._keep(capacities)
        applied = sum([self._table.set_capacity(*item) for item in capacities.items()])
        if applied:
            self._changed()
        return applied

    def _seen_network(self) -> Network:
        """The hosts alone."""
        if self._seen_hosts[0] != self._hosts.version:
            self._seen_hosts = self._hosts.version, Network(hosts=self._hosts.hosts)
        return self._seen_hosts[1]

    def _network(self, links: dict[LinkKey, Link]) -> Network:
        """The fabric as one value. Ports, links and hosts that did not change are the same objects as before."""
        if self._hosts_view[0] != self._hosts.version:
            self._hosts_view = self._hosts.version, MappingProxyType(self._hosts.hosts)
        return Network(
            switches=MappingProxyType({dpid: switch.ports for dpid, switch in self._switches.items()}),
            links=MappingProxyType(links),
            hosts=self._hosts_view[1],
        )

    def _changed(self, wait_s: float = 0.0, *, at_once: bool = False) -> None:
        """Publish at the end of this handler, or when the last time is long enough ago."""
        now_s = self._clock()
        due_s = now_s if at_once else max(now_s + wait_s, self._published_s + COALESCE_S)
        self._publish_at_s = min(self._publish_at_s, due_s)

    def _publish_if_due(self) -> None:
        now_s = self._clock()
        if now_s >= self._publish_at_s:
            self._published_s, self._publish_at_s = now_s, math.inf
            self._told = dict(self._table.links)
            self.publish(NetworkChanged(self._network(self._told)))

    def _switch_of(self, message: Any) -> _Switch | None:
        """The switch a message came from; None for the last words of a connection that was replaced."""
        switch = self._switches.get(message.datapath.id)
        return switch if switch is not None and switch.datapath is message.datapath else None

    def _tell(self, level: int, kind: str, text: str, *values: object, per_s: float = LINES_PER_S) -> None:
        """One log line for one decision, unless there were too many of this kind just now."""
        now_s = self._clock()
        since_s, lines = self._lines.get(kind, (-math.inf, 0))
        if now_s - since_s >= max(1.0, 1 / per_s):
            since_s, lines = now_s, 0
        self._lines[kind] = since_s, lines + 1
        if lines < max(1, per_s):
            self.log.log(level, f"event=%s {text}", kind, *values)
        else:
            self.counts[f"log_{kind}_left_out"] += 1


def link_name(key: LinkKey) -> str:
    """A link for people: source dpid and port, destination dpid and port."""
    return f"{key[0]:016x}:{key[1]}->{key[2]:016x}:{key[3]}"


def _port(desc: Any) -> Port:
    """A port from os-ken's OFPPort, whose curr_speed is in kbit/s and 0 when unknown."""
    return Port(
        port_no=desc.port_no,
        name=desc.name.decode(errors="replace") if isinstance(desc.name, bytes) else str(desc.name),
        mac=desc.hw_addr,
        up=not (desc.config & ofp.OFPPC_PORT_DOWN or desc.state & ofp.OFPPS_LINK_DOWN),
        speed_mbps=desc.curr_speed / 1000 if desc.curr_speed else None,
    )
