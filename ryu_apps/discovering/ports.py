"""Which switches are connected, which of their ports can carry packets, and the probes that leave there."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from os_ken.ofproto import ofproto_v1_3 as ofp

from ryu_apps.discovering.links import MISSED, LinkTable
from ryu_apps.discovering.probes import PortProbe, ProbeSchedule, ProbeSigner
from stitching.network import Port, PortId

PROBES_PER_TICK = 512


class Datapath(Protocol):
    """The connection of a switch, as far as it is used here."""

    id: int
    ports: Mapping[int, Any]
    rtt_s: float | None
    lag_s: float

    def send(self, data: bytes) -> bool:
        """Send messages; whether the connection took them."""


@dataclass(slots=True)
class Switch:
    """A connected switch."""

    datapath: Datapath
    ports: Mapping[int, Port]


@dataclass(slots=True)
class UpPort:
    """A port that can carry packets. since_s: when it came up; probed_s: when its first probe left.

    Before quiet_until_s it teaches no hosts: until a moment ago it was, or may still be, no edge port.
    """

    probe: PortProbe
    since_s: float
    probed_s: float = math.inf
    quiet_until_s: float = -math.inf


class Ports:
    """The connected switches and, in `up`, their ports that can carry packets."""

    def __init__(
        self,
        signer: ProbeSigner,
        table: LinkTable,
        interval_s: float,
        counts: Counter[str],
        clock: Callable[[], float],
    ) -> None:
        self.switches: dict[int, Switch] = {}
        self.up: dict[PortId, UpPort] = {}
        self._signer = signer
        self._table = table
        self._interval_s = interval_s
        self._schedule = ProbeSchedule(interval_s)
        self._counts = counts
        self._clock = clock

    def of(self, message: Any) -> Switch | None:
        """The switch a message came from; None for the last words of a connection that was replaced."""
        switch = self.switches.get(message.datapath.id)
        return switch if switch is not None and switch.datapath is message.datapath else None

    def add(self, datapath: Datapath) -> Mapping[int, Port]:
        """A switch is there; its ports."""
        # Only this thread may see them change: the channel's own dict is its thread's.
        ports = {no: port_of(desc) for no, desc in dict(datapath.ports).items() if no <= ofp.OFPP_MAX}
        self.switches[datapath.id] = Switch(datapath, MappingProxyType(ports))
        return ports

    def remove(self, dpid: int) -> None:
        """A switch is there no longer."""
        for port_no in self.switches.pop(dpid).ports:
            self.close((dpid, port_no))

    def open(self, port_id: PortId, port: Port) -> None:
        """A port may have come up."""
        if port.up:
            now_s = self._clock()
            self.up[port_id] = UpPort(PortProbe(self._signer, *port_id, port.mac), now_s)
            self._schedule.start(port_id, now_s)

    def close(self, port_id: PortId) -> None:
        """A port carries nothing any more."""
        self.up.pop(port_id, None)
        self._schedule.stop(port_id)

    def lag_s(self, dpid: int) -> float:
        """How late a switch answers now; one that has too much to do is not to be taken for a dead link."""
        switch = self.switches.get(dpid)
        return switch.datapath.lag_s if switch is not None else 0.0

    def probe_again(self, port_id: PortId) -> None:
        """Probe a port at once, and often for a while, if it is not known to lead anywhere."""
        if port_id in self.up and port_id not in self._table.leaving:
            self._schedule.start(port_id, self._clock())

    def send_due(self) -> None:
        """Send the probes that are due."""
        now_s = self._clock()
        batches: dict[int, list[PortId]] = defaultdict(list)
        for port_id in self._schedule.due(now_s, self._table.leaving, PROBES_PER_TICK):
            batches[port_id[0]].append(port_id)
        for dpid, port_ids in batches.items():
            sent_s = self._clock()
            messages = b"".join([self.up[port_id].probe.packet_out(sent_s) for port_id in port_ids])
            if not self.switches[dpid].datapath.send(messages):
                continue
            self._counts["probes_sent"] += len(port_ids)
            for port_id in port_ids:
                up = self.up[port_id]
                up.probed_s = min(up.probed_s, sent_s)
                key = self._table.leaving.get(port_id)
                if key is not None and key[2] in self.switches:
                    self._table.sent(port_id, sent_s)

    def keep_quiet(self, *port_ids: PortId) -> None:
        """Learn no hosts here for a while: what comes in may come from behind another switch."""
        for port_id in port_ids:
            if port_id in self.up:
                self.up[port_id].quiet_until_s = self._clock() + (MISSED + 1) * self._interval_s


def port_of(desc: Any) -> Port:
    """A port from os-ken's OFPPort, whose curr_speed is in kbit/s and 0 when unknown."""
    return Port(
        port_no=desc.port_no,
        name=desc.name.decode(errors="replace") if isinstance(desc.name, bytes) else str(desc.name),
        mac=desc.hw_addr,
        up=not (desc.config & ofp.OFPPC_PORT_DOWN or desc.state & ofp.OFPPS_LINK_DOWN),
        speed_mbps=desc.curr_speed / 1000 if desc.curr_speed else None,
    )
