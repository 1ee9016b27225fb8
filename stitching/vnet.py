"""Virtual networks: which hosts belong together, and what they are called."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from stitching.network import Host

DEFAULT_VNET = "default"
"""Where hosts live that no virtual network claims. They reach each other and nobody else."""


class UnknownHost(LookupError):
    """No known host answers to a name, address or MAC."""


@dataclass(frozen=True, slots=True)
class Member:
    """A host that belongs to a virtual network whether it has been seen or not."""

    mac: str
    name: str


@dataclass(frozen=True, slots=True)
class VNet:
    """A virtual network: the members it names, and every host whose address lies in its subnets."""

    name: str
    members: tuple[Member, ...] = ()
    subnets: tuple[str, ...] = ()


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
        if (name := self._name_by_mac.get(host.mac)) is not None:
            return name
        return min(host.ips, key=_address_order, default=host.mac)

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
        subnets: dict[str, str] = {}
        for vnet in self.vnets.values():
            for seen, item, what in (
                *((macs, m.mac, "MAC") for m in vnet.members),
                *((names, m.name.lower(), "host name") for m in vnet.members),
                *((subnets, str(ipaddress.ip_network(s)), "subnet") for s in vnet.subnets),
            ):
                if item in seen:
                    raise ValueError(f"{what} {item} is claimed by both {seen[item]!r} and {vnet.name!r}")
                seen[item] = vnet.name

    @cached_property
    def _vnet_by_mac(self) -> dict[str, str]:
        return {member.mac: vnet.name for vnet in self.vnets.values() for member in vnet.members}

    @cached_property
    def _name_by_mac(self) -> dict[str, str]:
        return {member.mac: member.name for vnet in self.vnets.values() for member in vnet.members}

    @cached_property
    def _mac_by_name(self) -> dict[str, str]:
        return {name.lower(): mac for mac, name in self._name_by_mac.items()}

    @cached_property
    def _subnets(self) -> list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]]:
        networks = [
            (ipaddress.ip_network(subnet), vnet.name) for vnet in self.vnets.values() for subnet in vnet.subnets
        ]
        return sorted(networks, key=lambda item: -item[0].prefixlen)


def _address_order(ip: str) -> tuple[int, int]:
    address = ipaddress.ip_address(ip)
    return address.version, int(address)
