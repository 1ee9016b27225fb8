"""The VXLAN devices of links in the kernel, and their local addresses, which are on `lo`.

A device says by its alias which link it is of and which bridge it is a port of: whatever happens between, the next
run of the agent finds it and can take all of it away.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vte_agent.bridging.difference import LinkDevice, Place
from vte_agent.kernel_changes import KernelLinks
from vte_agent.netlink import PerThread
from vte_agent.protocol.wanted import Address, WantedLink
from vte_agent.tunnels.devices import device_name

PREFIX: Final = "lv"
PORT: Final = 14790
"""Not VXLAN's own, which an Open vSwitch of the node may have, and not that of IPsec tunnels."""

MTU: Final = 1500
"""What hosts send. One that has no room in a tunnel with what is put around it goes through in two pieces."""

_ALIAS: Final = "lockstitch-link:"
_GROUP: Final = 0x6C74
_KIND: Final = "vxlan"
_TTL = 64
_NO_LINK_LOCAL = 1
_UP, _NOARP = 0x1, 0x80
_GONE = (errno.ENODEV, errno.EADDRNOTAVAIL)
_REMEDIES = {
    errno.EPERM: "; run the agent as root or with CAP_NET_ADMIN",
    errno.EOPNOTSUPP: "; this kernel has no VXLAN: run 'modprobe vxlan'",
    errno.EEXIST: "; another device has its name, or its VNI at this port: remove that",
    errno.EADDRINUSE: f"; UDP port {PORT} is taken by another program: end that",
}


class LinkFailed(RuntimeError):
    """A link's device could not be made or taken away; the message says why and what to do."""


def link_device(link: WantedLink, node: str) -> str:
    """The name of a link's device at a node: the same each time."""
    return PREFIX + device_name(link.name, node)[len(PREFIX) :]


class LinkDevices:
    """The devices of links in this network namespace. All methods raise LinkFailed."""

    def __init__(self) -> None:
        self._netlink = PerThread(IPRoute)
        self._links = KernelLinks(self._netlink, _ours)

    def found(self) -> Mapping[str, LinkDevice]:
        """All that are there, made by whichever run, whole or not."""
        ours: tuple[Any, ...] = self._ask("list the devices", self._links.read)
        addresses = self._loopback_addresses() if ours else set()
        return {one.device: one for one in (_read(message, addresses) for message in ours)}

    def make(self, link: WantedLink, device: str, place: Place) -> None:
        """Make it, or what of it is missing; it is up then."""
        if not self._netlink.here.link_lookup(ifname=device):
            self._ask(
                f"make device {device} of kind {_KIND}",
                lambda: self._netlink.here.link(
                    "add",
                    ifname=device,
                    kind=_KIND,
                    IFLA_GROUP=_GROUP,
                    mtu=MTU,
                    vxlan_id=link.vni,
                    **_ends(link),
                    vxlan_port=PORT,
                    # There is one other end, whatever anybody sends.
                    vxlan_learning=0,
                    vxlan_ttl=_TTL,
                ),
            )
        index = self._index(device)
        # The machine itself has no part in what passes: it answers no ARP there and announces nothing.
        quiet = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _NO_LINK_LOCAL)]})]}

        def change() -> None:
            alias = f"{_ALIAS}{link.name} {place.bridge} {place.database}"
            self._netlink.here.link("set", index=index, IFLA_IFALIAS=alias, IFLA_AF_SPEC=quiet)
            self._netlink.here.addr(
                "replace",
                index=self._index("lo"),
                address=str(link.local),
                prefixlen=link.local.max_prefixlen,
                scope=0,
            )
            self._netlink.here.link("set", index=index, flags=_UP | _NOARP, change=_UP | _NOARP)

        self._ask(f"set device {device} up", change)

    def remove(self, device: LinkDevice, others: Collection[LinkDevice]) -> None:
        """Take it away, and before that its address where none of the others has the same."""
        if device.local is not None and all(device.local != one.local for one in others):
            local: Address = device.local
            with contextlib.suppress(_Gone):
                self._tell(
                    f"take address {local} away",
                    lambda: self._netlink.here.addr(
                        "del", index=self._index("lo"), address=str(local), prefixlen=local.max_prefixlen
                    ),
                )
        for index in self._netlink.here.link_lookup(ifname=device.device):
            with contextlib.suppress(_Gone):
                self._tell(f"remove device {device.device}", partial(self._netlink.here.link, "del", index=index))

    def close(self) -> None:
        """Close the netlink sockets."""
        self._links.close()
        self._netlink.close()

    def _loopback_addresses(self) -> set[str]:
        index = self._index("lo")
        return {
            str(each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS"))
            for each in self._ask("list the addresses", lambda: list(self._netlink.here.addr("dump", index=index)))
        }

    def _index(self, device: str) -> int:
        found: list[int] = self._netlink.here.link_lookup(ifname=device)
        if not found:
            raise LinkFailed(f"there is no device {device}")
        return found[0]

    def _ask(self, what: str, request: Callable[[], Any]) -> Any:
        try:
            return self._tell(what, request)
        except _Gone as error:
            raise LinkFailed(str(error)) from None

    @staticmethod
    def _tell(what: str, request: Callable[[], Any]) -> Any:
        try:
            return request()
        except NetlinkError as error:
            kind = _Gone if error.code in _GONE else LinkFailed
            raise kind(f"cannot {what}: {error.args[1]}{_REMEDIES.get(error.code, '')}") from None


class _Gone(LinkFailed):
    """What was to be taken away is not there."""


def _ends(link: WantedLink) -> dict[str, str]:
    six = "6" if link.local.version == 6 else ""
    return {f"vxlan_local{six}": str(link.local), f"vxlan_group{six}": str(link.remote)}


def _ours(messages: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(filter(_is_ours, messages))


def _is_ours(message: Any) -> bool:
    info = message.get_attr("IFLA_LINKINFO")
    kind = info.get_attr("IFLA_INFO_KIND") if info is not None else None
    name, alias = message.get_attr("IFLA_IFNAME") or "", message.get_attr("IFLA_IFALIAS") or ""
    # One that was made a moment ago has not got its alias yet.
    made = message.get_attr("IFLA_GROUP") == _GROUP and not alias
    return kind == _KIND and name.startswith(PREFIX) and (made or alias.startswith(_ALIAS))


def _read(message: Any, addresses: Collection[str]) -> LinkDevice:
    data = message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    local = data.get_attr("IFLA_VXLAN_LOCAL") or data.get_attr("IFLA_VXLAN_LOCAL6")
    remote = data.get_attr("IFLA_VXLAN_GROUP") or data.get_attr("IFLA_VXLAN_GROUP6")
    words = (message.get_attr("IFLA_IFALIAS") or "").removeprefix(_ALIAS).split(" ", 2)
    return LinkDevice(
        message.get_attr("IFLA_IFNAME"),
        words[0],
        data.get_attr("IFLA_VXLAN_ID") or 0,
        ip_address(local) if local else None,
        ip_address(remote) if remote else None,
        Place(words[1], words[2]) if len(words) == 3 else None,
        bool(message["flags"] & _UP) and str(local) in addresses,
    )
