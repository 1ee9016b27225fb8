"""Where the hosts are, learned from the packets they send."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from stitching.match import ETH_ARP, ETH_IPV6, ETH_LLDP, ETH_PROBE, NEIGHBOUR_SOLICITATION
from stitching.network import Host, PortId

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s")
_ARP_BYTES = 28
_ETH_IPV4 = 0x0800
_ETH_VLAN = 0x8100
_BRIDGE_GROUP = bytes.fromhex("0180c20000")
_ICMPV6 = 58
_ADVERTISEMENT = 136
_TARGET_LINK_LAYER = 2


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a packet.

    claimed: the sender announced that the address is its own (ARP, neighbour discovery). Otherwise the address
    only stood in an IP header, where a router puts addresses of others.
    """

    mac: str
    ip: str | None = None
    claimed: bool = False


def sender(frame: bytes) -> Sender | None:
    """Who sent this frame, which may be cut off behind its addresses; None when it tells nothing of a host.

    That is: a group or zero source, a frame between bridges (STP, LLDP, LACP), a probe of ours, or a header
    that is not well-formed. Sources: RFC 826, RFC 791, RFC 8200, RFC 4861.
    """
    if len(frame) < _ETHERNET.size:
        return None
    target, source, eth_type = _ETHERNET.unpack_from(frame)
    payload = _ETHERNET.size
    if eth_type == _ETH_VLAN:
        if len(frame) < payload + 4:
            return None
        eth_type = int.from_bytes(frame[16:18])
        payload += 4
    if source[0] & 1 or not any(source) or target.startswith(_BRIDGE_GROUP):
        return None
    # Below 0x0600 it is a length: 802.3 with LLC, which bridges speak and hosts do not.
    if eth_type < 0x0600 or eth_type in (ETH_LLDP, ETH_PROBE):
        return None
    if eth_type == ETH_ARP:
        return _arp_sender(source, frame[payload:])
    if eth_type == _ETH_IPV4:
        return _ipv4_sender(source, frame[payload:])
    if eth_type == ETH_IPV6:
        return _ipv6_sender(source, frame[payload:])
    return Sender(source.hex(":"))


def _arp_sender(source: bytes, packet: bytes) -> Sender | None:
    if len(packet) < _ARP_BYTES:
        return None
    hardware, protocol, mac_bytes, ip_bytes, operation, mac, ip = _ARP.unpack_from(packet)
    if (hardware, protocol, mac_bytes, ip_bytes) != (1, _ETH_IPV4, 6, 4) or operation not in (1, 2):
        return None
    # Another MAC inside than outside: somebody speaks for somebody else. Only the outside is believed.
    return Sender(source.hex(":"), _ipv4_text(ip), claimed=True) if mac == source else Sender(source.hex(":"))


def _ipv4_sender(source: bytes, packet: bytes) -> Sender | None:
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[0] & 15 < 5:
        return None
    return Sender(source.hex(":"), _ipv4_text(packet[12:16]))


def _ipv6_sender(source: bytes, packet: bytes) -> Sender | None:
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return None
    mac = source.hex(":")
    # A hop limit of 255 cannot have been routed (RFC 4861, 7.1).
    if packet[6] == _ICMPV6 and packet[7] == 255 and len(packet) >= 64 and packet[41] == 0:
        if packet[40] == NEIGHBOUR_SOLICITATION:
            return Sender(mac, _ipv6_text(packet[8:24]), claimed=True)
        if packet[40] == _ADVERTISEMENT:
            ours = len(packet) < 72 or packet[64:66] != bytes((_TARGET_LINK_LAYER, 1)) or packet[66:72] == source
            return Sender(mac, _ipv6_text(packet[48:64]), claimed=True) if ours else Sender(mac)
    return Sender(mac, _ipv6_text(packet[8:24]))


def _ipv4_text(address: bytes) -> str | None:
    """The address of one host, or None: "this network", loopback, multicast and reserved are none."""
    return None if address[0] in (0, 127) or address[0] >= 224 else socket.inet_ntoa(address)


def _ipv6_text(address: bytes) -> str | None:
    """The address of one host, or None: unspecified, loopback, multicast and IPv4 in disguise are none."""
    if address[0] == 0xFF or not any(address[:10]):
        return None
    return socket.inet_ntop(socket.AF_INET6, address)


class Sighting(StrEnum):
    """What a packet changed in the table."""

    NEW = "new"
    MOVED = "moved"
    ADDRESS = "address"


@dataclass(slots=True)
class _Entry:
    host: Host
    moved_s: float
    ips: dict[str, bool] = field(default_factory=dict)
    """Address to whether it was claimed, the newest last."""


class HostTable:
    """Hosts by MAC, each on one port with the addresses it uses. Bounded however many MACs are made up.

    A full port makes room only by forgetting its longest unseen host, a full table by the longest unseen of all,
    and only when that was not seen for stale_s: a flood cannot push out the hosts that are there. A host moves at
    most once per move_pause_s, so two ports with the same MAC do not make the fabric change with every packet.
    """

    def __init__(
        self,
        *,
        limit: int = 65_536,
        per_port: int = 1_024,
        ips_per_host: int = 16,
        stale_s: float = 300.0,
        move_pause_s: float = 1.0,
    ) -> None:
        self._limit = limit
        self._per_port = per_port
        self._ips_per_host = ips_per_host
        self._stale_s = stale_s
        self._move_pause_s = move_pause_s
        self._entries: dict[str, _Entry] = {}
        self._owners: dict[str, str] = {}
        self._seen_s: dict[PortId, dict[str, float]] = {}
        self._by_sight: dict[str, None] = {}
        self.refused = 0
        """Sightings that were not believed for lack of room."""
        self.version = 0
        """Moves with every change."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def hosts(self) -> dict[str, Host]:
        """All hosts by MAC; a new dict."""
        return {mac: entry.host for mac, entry in self._entries.items()}

    def get(self, mac: str) -> Host | None:
        """The host with this MAC."""
        entry = self._entries.get(mac)
        return entry.host if entry is not None else None

    def seen_s(self, mac: str) -> float:
        """When a packet of a host last came to the controller; long ago where there is none."""
        entry = self._entries.get(mac)
        return float("-inf") if entry is None else self._seen_s[entry.host.port][mac]

    def restore(self, hosts: Iterable[Host], now_s: float) -> None:
        """Believe hosts that were known before a restart."""
        for host in hosts:
            self.see(Sender(host.mac), host.port, now_s)
            for ip in sorted(host.ips):
                self.see(Sender(host.mac, ip, claimed=True), host.port, now_s)

    def see(self, who: Sender, port: PortId, now_s: float) -> Sighting | None:
        """A packet of this sender came in at an edge port (now_s: monotonic). Returns what that changed."""
        entry = self._entries.get(who.mac)
        sighting = None
        if entry is None or entry.host.port != port:
            if entry is not None and now_s - entry.moved_s < self._move_pause_s:
                return None
            if not self._make_room(port, now_s, grows=entry is None):
                self.refused += 1
                return None
            entry, sighting = self._place(who.mac, entry, port, now_s)
        seen_s = self._seen_s[port]
        # Those that were not seen for the longest time are first: at their port, and of all.
        seen_s.pop(who.mac, None)
        seen_s[who.mac] = now_s
        self._by_sight.pop(who.mac, None)
        self._by_sight[who.mac] = None
        if who.ip is not None and self._take_address(entry, who.ip, who.claimed):
            sighting = sighting or Sighting.ADDRESS
        if sighting is not None:
            self.version += 1
        return sighting

    def forget_addresses(self, mac: str) -> bool:
        """A host may have others now. Returns whether it had any."""
        entry = self._entries.get(mac)
        if entry is None or not entry.ips:
            return False
        self._drop_addresses(entry, list(entry.ips))
        self.version += 1
        return True

    def forget_port(self, port: PortId) -> list[Host]:
        """No host is here: the port leads to a switch, or is gone. Returns those forgotten."""
        forgotten = [self._entries[mac].host for mac in self._seen_s.get(port, ())]
        for host in forgotten:
            self._forget(host.mac)
        return forgotten

    def _place(self, mac: str, entry: _Entry | None, port: PortId, now_s: float) -> tuple[_Entry, Sighting]:
        self._seen_s.setdefault(port, {})
        if entry is None:
            entry = self._entries[mac] = _Entry(Host(mac, *port), -self._move_pause_s)
            return entry, Sighting.NEW
        self._leave_port(entry.host)
        entry.host = replace(entry.host, dpid=port[0], port_no=port[1])
        entry.moved_s = now_s
        return entry, Sighting.MOVED

    def _make_room(self, port: PortId, now_s: float, *, grows: bool) -> bool:
        here = self._seen_s.get(port, {})
        if len(here) < self._per_port and (len(self._entries) < self._limit or not grows):
            return True
        oldest = next(iter(here if len(here) >= self._per_port else self._by_sight))
        if now_s - self.seen_s(oldest) < self._stale_s:
            return False
        self._forget(oldest)
        return True

    def _take_address(self, entry: _Entry, ip: str, claimed: bool) -> bool:
        """Give an entry an address, taking it from whoever had it. Returns whether a host changed."""
        mac, before = entry.host.mac, entry.host.ips
        owner = self._owners.get(ip)
        relatives = [known for known in entry.ips if (":" in known) == (":" in ip) and known != ip]
        if not claimed:
            # Through a router come packets of the whole Internet. The first address of a family may well be
            # the host's own; it yields to anyone who claims it, and to any that the host claims.
            if owner is not None or relatives:
                return False
        elif owner != mac and owner is not None:
            self._drop_addresses(self._entries[owner], [ip])
        entry.ips.pop(ip, None)
        entry.ips[ip] = claimed
        self._owners[ip] = mac
        if claimed:
            self._drop_addresses(entry, [known for known in relatives if not entry.ips[known]])
        self._drop_addresses(entry, list(entry.ips)[: -self._ips_per_host])
        if before == entry.ips.keys():
            return False
        entry.host = replace(entry.host, ips=frozenset(entry.ips))
        return True

    def _drop_addresses(self, entry: _Entry, ips: list[str]) -> None:
        if not ips:
            return
        for ip in ips:
            del entry.ips[ip]
            del self._owners[ip]
        entry.host = replace(entry.host, ips=frozenset(entry.ips))

    def _forget(self, mac: str) -> None:
        entry = self._entries.pop(mac)
        del self._by_sight[mac]
        self._leave_port(entry.host)
        for ip in entry.ips:
            del self._owners[ip]
        self.version += 1

    def _leave_port(self, host: Host) -> None:
        seen_s = self._seen_s[host.port]
        seen_s.pop(host.mac, None)
        if not seen_s:
            del self._seen_s[host.port]
