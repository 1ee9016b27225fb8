"""What the kernel says of a node: the uplinks that it was given, and its own addresses inside its site."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vte_agent.kernel_changes import KernelChanges
from vte_agent.netlink import PerThread

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_UP = 0x1
_NOT_TO_BE_USED = 0x08 | 0x20 | 0x40
"""IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE."""
_PERMANENT_SCOPE = 0
_MAIN_TABLE, _UNICAST = 254, 1
_DEVICE = re.compile(r"[^\s/:]{1,15}")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class BadUplink(ValueError):
    """What was given as an uplink is none."""


@dataclass(frozen=True)
class UplinkNow:
    """An uplink that can be used now. gateway None: what lies there is reached without one.

    number: its place among all that were given, from 1, whether they can be used or not. on_link: what is reached
    without a gateway in any case.
    """

    name: str
    number: int
    device: str
    index: int
    address: Address
    gateway: Address | None
    mtu: int
    on_link: tuple[Network, ...] = ()


def read_uplinks(words: Mapping[str, str]) -> Mapping[str, str]:
    """Check names and devices, as `name: device`. Raises BadUplink."""
    if not words:
        raise BadUplink("a site needs an uplink: give NAME=DEVICE, as wan=eth0")
    for name, device in words.items():
        if not _NAME.fullmatch(name):
            raise BadUplink(f"{name!r} is no name for an uplink: letters, digits, '.', '_' and '-'")
        if not _DEVICE.fullmatch(device):
            raise BadUplink(f"{device!r} is no name of a network device")
    return dict(words)


class Uplinks:
    """Reads them from the kernel. For one thread."""

    def __init__(self, devices: Mapping[str, str]) -> None:
        """`devices` by the names of the uplinks. Raises BadUplink."""
        self._devices = read_uplinks(devices)
        self._netlink = PerThread(IPRoute)
        self._changes = KernelChanges()
        self._read: tuple[tuple[UplinkNow, ...], tuple[str, ...]] | None = None
        self._addresses: list[Address] | None = None

    @property
    def devices(self) -> tuple[str, ...]:
        """All that were given, whether they can be used now or not."""
        return tuple(self._devices.values())

    def read(self) -> tuple[tuple[UplinkNow, ...], tuple[str, ...]]:
        """Those that can be used now, in the order given, and what keeps the others from it."""
        try:
            self._look()
            if self._read is not None:
                return self._read
            found, problems = [], []
            for number, (name, device) in enumerate(self._devices.items(), start=1):
                one = self._one(name, number, device)
                if isinstance(one, str):
                    problems.append(f"uplink {name}: {one}")
                else:
                    found.append(one)
        except (NetlinkError, OSError) as error:
            return (), (f"the kernel does not say which uplinks there are: {error}",)
        self._read = tuple(found), tuple(problems)
        return self._read

    def inside(self, prefixes: Sequence[Network]) -> tuple[Address, ...]:
        """Of each version this machine's own address in the first of these prefixes that it has one in.

        Nobody at another site knows its uplinks' addresses and those of its tunnels.
        """
        try:
            self._look()
            found = self._addresses = self._addresses or [
                ip_address(each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS"))
                for each in self._netlink.here.get_addr()
                if each["scope"] == _PERMANENT_SCOPE
                and not (each.get_attr("IFA_FLAGS") or each["flags"]) & _NOT_TO_BE_USED
            ]
        except (NetlinkError, OSError):
            return ()
        chosen: dict[int, Address] = {}
        for prefix in prefixes:
            for address in sorted((one for one in found if one in prefix), key=int):
                chosen.setdefault(address.version, address)
        return tuple(chosen.values())

    def _look(self) -> None:
        if self._changes.any():
            self._read = self._addresses = None

    def _one(self, name: str, number: int, device: str) -> UplinkNow | str:
        try:
            # By name: where there are many tunnels, what is found out about all devices is most of the work.
            (link,) = self._netlink.here.link("get", ifname=device)
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise
            return f"there is no device {device}"
        if (known := link.get_attr("IFLA_IFNAME")) != device:
            # What keeps packets off uplinks goes by this name, and knows no other.
            return f"{device} is another name of {known}: give {known}"
        if not link["flags"] & _UP:
            return f"{device} is down"
        index = int(link["index"])
        address = self._address(index)
        if address is None:
            return f"{device} has no address"
        gateway, on_link = self._routes(index, address)
        return UplinkNow(name, number, device, index, address, gateway, int(link.get_attr("IFLA_MTU")), on_link)

    def _address(self, index: int) -> Address | None:
        """Its first address that is of use beyond the device, IPv4 before IPv6."""
        found = [
            ip_address(each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS"))
            for each in self._netlink.here.get_addr(index=index)
            if each["scope"] == _PERMANENT_SCOPE
        ]
        return next(iter(sorted(found, key=lambda address: address.version)), None)

    def _routes(self, index: int, address: Address) -> tuple[Address | None, tuple[Network, ...]]:
        """The gateway of a default route by this device, whichever table that is in, and its neighbourhood."""
        family = 2 if address.version == 4 else 10
        gateways: list[Address] = []
        on_link: set[Network] = set()
        for route in self._netlink.here.get_routes(family=family, oif=index):
            gateway, length = route.get_attr("RTA_GATEWAY"), route["dst_len"]
            if gateway and not length:
                gateways.append(ip_address(gateway))
            elif not gateway and length and (route["table"], route["type"]) == (_MAIN_TABLE, _UNICAST):
                on_link.add(ip_network(f"{route.get_attr('RTA_DST')}/{length}"))
        # Link-local addresses are nobody's but the link's.
        found = (network for network in on_link if not network.is_link_local)
        return next(iter(gateways), None), tuple(sorted(found, key=str))

    def close(self) -> None:
        """Let go of the kernel."""
        self._netlink.close()
        self._changes.close()
