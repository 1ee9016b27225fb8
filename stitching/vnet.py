"""Virtual networks: which hosts belong together, and what they are called."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

from stitching.network import Host, PortId

DEFAULT_VNET = "default"
"""Where hosts live that no virtual network claims. They reach each other and nobody else."""


class UnknownHost(LookupError):
    """No known host answers to a name, address or MAC."""


class SpoofGuard(StrEnum):
    """How far the hosts of a virtual network are held to their own MAC and addresses.

    DECLARED: those that are declared. STRICT: also those that were learned, the first address of a host staying
    its only one until it ages. MAC: a MAC stays on its port, addresses are free. OFF: who speaks last is right.
    """

    STRICT = "strict"
    DECLARED = "declared"
    MAC = "mac"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Member:
    """A host that belongs to a virtual network whether it has been seen or not.

    ips, where there are any, are the only addresses it may use; port, where given, the only one it may be on.
    """

    mac: str
    name: str
    labels: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    port: PortId | None = None


@dataclass(frozen=True, slots=True)
class VNet:
    """A virtual network: the members it names, and every host whose address lies in its subnets."""

    name: str
    members: tuple[Member, ...] = ()
    subnets: tuple[str, ...] = ()
    spoof_guard: SpoofGuard = SpoofGuard.DECLARED


@dataclass(frozen=True)
class Directory:
    """All virtual networks together; answers who a host is and where it belongs."""

    vnets: Mapping[str, VNet]

    @classmethod
    def of(cls, vnets: Iterable[VNet]) -> Directory:
        """A directory of these networks. Raises ValueError where two claim one MAC, name or subnet."""
        listed = tuple(vnets)
        directory = cls({vnet.name: vnet for vnet in listed})
        if len(directory.vnets) < len(listed):
            raise ValueError("two virtual networks have the same name; give each its own")
        directory._check()
        return directory

    def vnet_of(self, host: Host) -> str:
        """The virtual network of a host: by MAC, then by its most specific subnet, else the default one."""
        if (claimed := self._vnet_by_mac.get(host.mac)) is not None:
            return claimed
        for network, name in self._subnets:
            if any(ipaddress.ip_address(ip) in network for ip in host.ips):
                return name
        return DEFAULT_VNET

    def name_of(self, host: Host) -> str:
        """What people call a host: its given name, else its lowest address, else its MAC."""
        if (member := self._member_by_mac.get(host.mac)) is not None:
            return member.name
        return min(host.ips, key=_address_order, default=host.mac)

    def member(self, mac: str) -> Member | None:
        """What is declared of the host with this MAC."""
        return self._member_by_mac.get(mac)

    def member_called(self, name: str) -> Member | None:
        """The member with this name, in any case."""
        mac = self._mac_by_name.get(name.strip().lower())
        return None if mac is None else self._member_by_mac[mac]

    def declared_owner(self, ip: str) -> str | None:
        """The MAC of the member that this address is declared to belong to."""
        return self._mac_by_ip.get(ip)

    def guard_of(self, host: Host) -> SpoofGuard:
        """How far this host is held to its own."""
        vnet = self.vnets.get(self.vnet_of(host))
        return SpoofGuard.DECLARED if vnet is None else vnet.spoof_guard

    def find(self, text: str, hosts: Mapping[str, Host]) -> Host:
        """The host with this name, IP address or MAC. Raises UnknownHost, naming near misses."""
        wanted = text.strip().lower()
        if (host := hosts.get(wanted)) is not None:
            return host
        if (mac := self._mac_by_name.get(wanted)) is not None:
            if (host := hosts.get(mac)) is not None:
                return host
            raise UnknownHost(f"host {text!r} ({mac}) has not been seen on any port yet; let it send a packet")
        try:
            address = str(ipaddress.ip_address(wanted))  # an IPv6 address has many spellings
        except ValueError:
            address = wanted
        for host in hosts.values():
            if address in host.ips:
                return host
        names = sorted(self.name_of(host) for host in hosts.values())
        known = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        raise UnknownHost(f"no host is called {text!r}; known hosts: {known or 'none yet'}")

    def _check(self) -> None:
        macs: dict[str, str] = {}
        names: dict[str, str] = {}
        ips: dict[str, str] = {}
        subnets: dict[str, str] = {}
        for vnet in self.vnets.values():
            for seen, item, what in (
                *((macs, m.mac, "MAC") for m in vnet.members),
                *((names, m.name.lower(), "host name") for m in vnet.members),
                *((ips, ip, "address") for m in vnet.members for ip in m.ips),
                *((subnets, str(ipaddress.ip_network(s)), "subnet") for s in vnet.subnets),
            ):
                if item in seen:
                    raise ValueError(f"{what} {item} is claimed by both {seen[item]!r} and {vnet.name!r}")
                seen[item] = vnet.name

    @cached_property
    def _vnet_by_mac(self) -> dict[str, str]:
        return {member.mac: vnet.name for vnet in self.vnets.values() for member in vnet.members}

    @cached_property
    def _member_by_mac(self) -> dict[str, Member]:
        return {member.mac: member for vnet in self.vnets.values() for member in vnet.members}

    @cached_property
    def _mac_by_name(self) -> dict[str, str]:
        return {member.name.lower(): mac for mac, member in self._member_by_mac.items()}

    @cached_property
    def _mac_by_ip(self) -> dict[str, str]:
        return {ip: mac for mac, member in self._member_by_mac.items() for ip in member.ips}

    @cached_property
    def _subnets(self) -> list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]]:
        networks = [
            (ipaddress.ip_network(subnet), vnet.name) for vnet in self.vnets.values() for subnet in vnet.subnets
        ]
        return sorted(networks, key=lambda item: -item[0].prefixlen)


@lru_cache(maxsize=1 << 16)
def _address_order(ip: str) -> tuple[int, int]:
    address = ipaddress.ip_address(ip)
    return address.version, int(address)
