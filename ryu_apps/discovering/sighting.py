"""Learns hosts from the packets that come in at ports that lead to no switch."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable

from os_ken.ofproto import ofproto_v1_3 as ofp

from ryu_apps import neighbours, wire
from ryu_apps.discovering.hosts import HostTable, Sender, sender
from ryu_apps.discovering.links import LinkTable
from ryu_apps.discovering.log_lines import LogLines
from ryu_apps.discovering.ports import Ports
from ryu_apps.discovering.source_guard import SourceGuard, Spoof
from ryu_apps.discovering.telling import Teller
from stitching.network import Host, PortId
from stitching.vnet import Directory, SpoofGuard

ADDRESS_AGE_S = 300.0
"""A host that is held to the addresses learned of it, and silent for so long, may come with others."""


class Sightings:
    """Who was seen where, as far as it is believed. `alarm` hears of what was not."""

    def __init__(
        self,
        hosts: HostTable,
        ports: Ports,
        table: LinkTable,
        teller: Teller,
        lines: LogLines,
        counts: Counter[str],
        clock: Callable[[], float],
        alarm: Callable[[Spoof], None],
        settle_s: float,
    ) -> None:
        self._hosts = hosts
        self._ports = ports
        self._table = table
        self._teller = teller
        self._lines = lines
        self._counts = counts
        self._clock = clock
        self._alarm = alarm
        self._settle_s = settle_s
        self._aged_s = -math.inf
        self._guard = SourceGuard(
            hosts, is_up=lambda port_id: port_id in ports.up, ask=self._ask_for, alarm=self._spoofed
        )

    def declared(self, directory: Directory) -> None:
        """What is declared of hosts is this."""
        self._guard.directory = directory

    def packet(self, port_id: PortId, frame: bytes, received_s: float) -> None:
        """A packet came in that is no probe."""
        up = self._ports.up.get(port_id)
        if up is None or self._table.is_fabric(port_id) or received_s < up.quiet_until_s:
            return
        if received_s - up.probed_s < self._settle_s:
            return
        who = sender(frame)
        if who is not None:
            who = self._guard.believed(who, port_id, self._teller.hosts_alone, received_s)
        if who is not None:
            self._learn(who, port_id, received_s)

    def take_moved(self, now_s: float) -> None:
        """Believe those that did not answer where they were: they have moved, if hosts can be there still."""
        for move in self._guard.moved(now_s):
            if move.port in self._ports.up and not self._table.is_fabric(move.port):
                self._learn(move.who, move.port, now_s)

    def age_addresses(self) -> None:
        """Let go of addresses that hosts are held to since they were learned, and do not use any more."""
        now_s = self._clock()
        if now_s - self._aged_s < ADDRESS_AGE_S / 30:
            return
        self._aged_s = now_s
        for mac, host in self._hosts.hosts.items():
            away = host.dpid in self._ports.switches and host.port not in self._ports.up
            old = away or now_s - self._hosts.seen_s(mac) > ADDRESS_AGE_S
            strict = self._guard.directory.guard_of(host) is SpoofGuard.STRICT
            if strict and old and self._hosts.forget_addresses(mac):
                self._lines.tell(logging.INFO, "addresses_aged", "mac=%s", mac)
                self._teller.changed()

    def forget(self, port_id: PortId, reason: str) -> None:
        """There are no hosts at this port."""
        for host in self._hosts.forget_port(port_id):
            self._lines.tell(logging.INFO, "host_forgotten", "mac=%s reason=%s", host.mac, reason)

    def _learn(self, who: Sender, port_id: PortId, received_s: float) -> None:
        refused = self._hosts.refused
        sighting = self._hosts.see(who, port_id, received_s)
        if self._hosts.refused != refused:
            self._counts["hosts_refused"] += 1
            text = "mac=%s dpid=%016x port_no=%d"
            self._lines.tell(logging.WARNING, "host_refused", text, who.mac, *port_id, per_s=1)
        if sighting is not None:
            text = "mac=%s dpid=%016x port_no=%d ip=%s change=%s"
            self._lines.tell(logging.INFO, "host", text, who.mac, *port_id, who.ip, sighting)
            self._teller.changed()

    def _ask_for(self, host: Host) -> bool:
        """Send an ARP probe to a host, to hear whether it is where it was."""
        switch = self._ports.switches.get(host.dpid)
        ip = min((ip for ip in host.ips if ":" not in ip), default=None)
        if switch is None or ip is None:
            return False
        frame = neighbours.probe(host.mac, ip)
        return switch.datapath.send(wire.packet_out(frame, in_port=ofp.OFPP_CONTROLLER, out_ports=(host.port_no,)))

    def _spoofed(self, spoof: Spoof) -> None:
        self._counts["spoofs"] += 1
        text = "mac=%s ip=%s dpid=%016x port_no=%d reason=%s"
        self._lines.tell(logging.WARNING, "spoof", text, spoof.mac, spoof.ip, *spoof.port, spoof.reason)
        self._alarm(spoof)
