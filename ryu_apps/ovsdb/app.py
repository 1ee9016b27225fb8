"""The app that keeps BFD and queues in the databases of the switches as the others want them."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER
from os_ken.ofproto import ofproto_v1_3 as ofp

from ryu_apps.app import App, Event, Tick, handles
from ryu_apps.connections import Connections
from ryu_apps.events import (
    LinkLiveness,
    NetworkChanged,
    OvsdbChanged,
    OvsdbStatus,
    OvsdbStatusRequest,
    QueueFactsRequest,
    QueuesChanged,
    RatesMeasured,
    SetOvsdb,
    SetSwitchOvsdb,
    WantQueues,
)
from ryu_apps.ovsdb.bfd import BFD_MS, BfdKeeper, session_of
from ryu_apps.ovsdb.dressing import AGAIN_S
from ryu_apps.ovsdb.liveness import Liveness
from ryu_apps.ovsdb.mailbox import Mailbox
from ryu_apps.ovsdb.port_queuing import PortQueuing
from ryu_apps.ovsdb.remotes import Certificates
from ryu_apps.ovsdb.servers import Servers
from stitching.network import Network, PortId

if TYPE_CHECKING:
    from ryu_apps.ovsdb.connection import Heard

TICK_S = 1.0
_XID = 0x7B000000
_ALL = 0xFFFFFFFF
_QUEUES_QUESTION = struct.pack("!BBHIHHxxxxII", 4, 18, 24, _XID, 5, 0, _ALL, _ALL)
"""OFPMP_QUEUE for every queue of every port."""


@dataclass
class _HeardOf(Event):
    remote: str


class Ovsdb(App):
    """Sets BFD on fabric links and HTB queues on ports, and says which links are dead and which queues are obeyed.

    remotes are OVSDB servers, named those of single switches, which `keep` stores. BFD and queues stay as they are
    when the controller ends: protection outlives it. Raises ValueError (BadRemote for a bad address).
    """

    _EVENTS: ClassVar[list[type]] = [LinkLiveness, OvsdbChanged, QueuesChanged]

    def __init__(
        self,
        *,
        remotes: tuple[str, ...],
        bfd_ms: int = BFD_MS,
        ssl: Certificates | None = None,
        named: Mapping[int, str] = MappingProxyType({}),
        keep: Callable[[int, str | None], None] = lambda _dpid, _remote: None,
        clock: Callable[[], float] = time.monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._clock = clock
        self._remotes = remotes
        self._named = dict(named)
        self._keep_named = keep
        self._ticking = False
        self._mailbox = Mailbox()
        self._servers = Servers(self._hear, ssl, clock)
        self._bfd = BfdKeeper(bfd_ms)
        self._liveness = Liveness(clock)
        self._queues = PortQueuing(self._servers, self.log, clock)
        self._network = Network()
        self._connections = Connections()
        self._errors, self._last_error = 0, ""
        self._told: OvsdbChanged | None = None

    def start(self) -> None:
        """Connect, and look after everything each second and whenever something is new."""
        super().start()
        self._use(self._remotes, self._named)

    def _use(self, remotes: tuple[str, ...], named: Mapping[int, str]) -> int:
        new = self._servers.use((*remotes, *named.values()))
        self._remotes, self._named = remotes, dict(named)
        self._tell_servers()
        if (remotes or named) and not self._ticking:
            self._ticking = True
            self.every(TICK_S, "keep")
            self.every(AGAIN_S, "dress")
        return new

    def stop(self) -> None:
        """Disconnect; what is in the databases stays."""
        self._servers.stop()
        super().stop()

    # what is heard

    @handles(SetOvsdb)
    def _on_set(self, request: SetOvsdb) -> None:
        self.serve(request, lambda: self._use(request.remotes, self._named))

    @handles(SetSwitchOvsdb)
    def _on_set_switch(self, request: SetSwitchOvsdb) -> None:
        self.serve(request, lambda: self._set_switch(request.dpid, request.remote))

    def _set_switch(self, dpid: int, remote: str | None) -> str | None:
        before = self._named.get(dpid)
        named = {other: where for other, where in self._named.items() if other != dpid}
        if remote is not None:
            named[dpid] = self._servers.check(remote)
        self._keep_named(dpid, named.get(dpid))
        self._use(self._remotes, named)
        return before

    def _hear(self, heard: Heard) -> None:
        """Called from the threads of the servers."""
        if self._mailbox.put(heard):
            self.post(_HeardOf(heard.remote))

    @handles(_HeardOf)
    def _on_heard(self, event: _HeardOf) -> None:
        for heard in self._mailbox.take(event.remote):
            self._take(heard)

    def _take(self, heard: Heard) -> None:
        if heard.error:
            self._errors += 1
            self._last_error = heard.error
            self.log.warning("event=ovsdb_refused server=%s reason=%s", heard.remote, heard.error)
        if self._servers.heard(heard):
            self._queues.moved(heard.remote)
            up = heard.view is not None
            bridges = len(heard.view.bridges) if heard.view is not None else 0
            self.log.info("event=ovsdb_%s server=%s bridges=%d", "up" if up else "away", heard.remote, bridges)
        self._servers.sweep(heard.remote)
        self._tell_servers()
        self._watch_sessions()
        self._keep()

    @handles(NetworkChanged)
    def _on_network(self, event: NetworkChanged) -> None:
        self._network = event.network
        self._servers.connected(event.network.switches)
        self._tell_servers()
        self._watch_sessions()
        self._keep_bfd()

    @handles(Tick)
    def _on_tick(self, event: Tick) -> None:
        if event.name == "dress":
            # Between classes and filters what keeps a link alive waits behind everything else.
            if self._queues.is_urgent:
                self._keep_queues()
            return
        self._keep()
        for dpid in self._queues.switches:
            if dpid in self._connections:
                self._connections[dpid].send(_QUEUES_QUESTION)

    def _tell_servers(self) -> None:
        now = OvsdbChanged(frozenset(remote for remote, _ in self._servers.answering()), self._servers.switches)
        if now != self._told:
            self._told = now
            self.publish(now)

    # liveness

    @handles(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def _on_state(self, event: Any) -> None:
        datapath = event.datapath
        if self._connections.follow(event):
            self._liveness.gone(datapath.id)
        if event.state == MAIN_DISPATCHER:
            for desc in list(dict(datapath.ports).values()):
                self._port_says(datapath.id, desc)

    @handles(ofp_event.EventOFPPortStatus, states=(MAIN_DISPATCHER,))
    def _on_port_status(self, event: Any) -> None:
        message = event.msg
        if not self._connections.is_current(message.datapath):
            return
        if message.reason == ofp.OFPPR_DELETE:
            self._liveness.forget((message.datapath.id, message.desc.port_no))
        else:
            self._port_says(message.datapath.id, message.desc)

    def _port_says(self, dpid: int, desc: Any) -> None:
        if desc.port_no > ofp.OFPP_MAX:
            return
        port_id = dpid, desc.port_no
        self._tell_liveness(port_id, self._liveness.port(port_id, bool(desc.state & ofp.OFPPS_LIVE)))

    def _watch_sessions(self) -> None:
        ports = self._servers.ports
        self._liveness.keep(ports.keys())
        for port_id, port in ports.items():
            enabled = port.bfd.get("enable") == "true"
            up = session_of(port).up if enabled else None
            self._tell_liveness(port_id, self._liveness.session(port_id, up))

    def _tell_liveness(self, port_id: PortId, alive: bool | None) -> None:
        if alive is not None:
            self.log.info("event=bfd_%s dpid=%016x port_no=%d", "up" if alive else "down", *port_id)
            self.publish(LinkLiveness(port_id, alive))

    # BFD

    def _keep(self) -> None:
        self._keep_bfd()
        self._keep_queues()

    def _keep_bfd(self) -> None:
        step = self._bfd.step(self._network, self._servers.changeable, self._clock())
        for port_id, change in step.changes.items():
            # What its session does from here on is our doing, and no news of the link.
            self._tell_liveness(port_id, self._liveness.session(port_id, None))
            how = "off" if change.interval_ms is None else f"{change.interval_ms} ms"
            self.log.info("event=bfd_set dpid=%016x port_no=%d interval=%s", *port_id, how)
        for key in step.given_up:
            text = "event=bfd_given_up link=%016x:%d-%016x:%d reason=no session came up"
            self.log.warning(text, *key)
        if step.changes:
            self._servers.submit(step.changes)

    # queues

    @handles(WantQueues)
    def _on_want_queues(self, event: WantQueues) -> None:
        self._queues.want(event.owner, event.ports)
        self._keep_queues()

    @handles(ofp_event.EventOFPQueueStatsReply, states=(MAIN_DISPATCHER,))
    def _on_queue_stats(self, event: Any) -> None:
        for stats in event.msg.body:
            self._queues.counted((event.msg.datapath.id, stats.port_no), stats.queue_id, stats.tx_bytes)
        self._tell_enforced()

    @handles(RatesMeasured)
    def _on_rates(self, event: RatesMeasured) -> None:
        self._queues.flowed(event.rates.stitch_mbps)

    @handles(QueueFactsRequest)
    def _on_facts_request(self, request: QueueFactsRequest) -> None:
        self.serve(request, lambda: self._queues.facts(request.port, has_dscp=request.dscp))

    def _keep_queues(self) -> None:
        self._queues.keep()
        self._tell_enforced()

    def _tell_enforced(self) -> None:
        if self._queues.judge():
            self.publish(QueuesChanged(self._queues.enforced))

    # how it goes

    @handles(OvsdbStatusRequest)
    def _on_status(self, request: OvsdbStatusRequest) -> None:
        self.serve(request, self._status)

    def _status(self) -> OvsdbStatus:
        trusted = self._liveness.trusted - self._liveness.unsteady
        return OvsdbStatus(
            servers=dict(self._servers.answering()),
            up=trusted - self._liveness.dead,
            dead=self._liveness.dead,
            unprotected={
                port_id: self._why_unprotected(port_id)
                for port_id in (self._network.fabric_ports - trusted) | self._liveness.unsteady
            },
            left_alone=self._queues.left_alone,
            enforced=self._queues.enforced,
            switches=self._servers.by_switch,
            named=dict(self._named),
            errors=self._errors,
            last_error=self._last_error,
        )

    def _why_unprotected(self, port_id: PortId) -> str:
        port = self._servers.ports.get(port_id)
        if port is None:
            return "no OVSDB server given knows this port"
        session = session_of(port)
        if port_id in self._liveness.unsteady:
            return "its session goes down again and again, as on a link that is full: it is not believed for now"
        if session.foreign:
            return "somebody else set up BFD here, which is left alone"
        return (
            "its session is not up" if session.ours else "the other end has no OVSDB server, or no session came up"
        )
