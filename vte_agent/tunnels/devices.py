"""The network devices of tunnels: which are ours, and their addresses, MTU and end. Shared by all transports.

A device is ours by its name and by the alias it carries (`ip link` shows it); no other is ever touched. Everything
happens in the network namespace of the thread that asks, which is the same one each time.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vte_agent.kernel_changes import KernelLinks
from vte_agent.netlink import PerThread
from vte_agent.tunnels.contract import TunnelFailed, TunnelSpec

PREFIX = "ls"
ALIAS = "lockstitch:"
GROUP = 0x6C73
"""The group that a device is made with: it is ours before it has its alias."""

_HASH_BYTES = 8
_HASH_CHARS = 13
_NAME = re.compile(rf"{PREFIX}[a-z2-7]{{{_HASH_CHARS}}}")
_LEAST_IPV6_MTU = 1280
_NO_LINK_LOCAL = 1

_REMEDIES = {
    errno.EPERM: "run the agent as root or with CAP_NET_ADMIN",
    errno.EACCES: "run the agent as root or with CAP_NET_ADMIN",
    errno.EOPNOTSUPP: "this kernel has no such kind of device",
    errno.EEXIST: "another device has the name; remove or rename that",
    errno.EINVAL: "the kernel takes no such value",
    errno.ENODEV: "the device went away meanwhile; make the tunnel again",
}


def device_name(tunnel: str, node: str) -> str:
    """The name of a tunnel's device at a node: 15 characters, the same each time, another for each pair.

    The node counts because wireguard-go keeps the sockets of all network namespaces of a machine in one directory.
    """
    digest = hashlib.blake2s(tunnel.encode(), key=hashlib.blake2s(node.encode()).digest(), digest_size=_HASH_BYTES)
    return PREFIX + base64.b32encode(digest.digest()).decode().lower()[:_HASH_CHARS]


def is_our_name(device: str) -> bool:
    """Whether `device_name` gives such names."""
    return _NAME.fullmatch(device) is not None


@dataclass(frozen=True)
class Link:
    """A network device. alias: whose it is; "" when it has none."""

    index: int
    name: str
    kind: str
    alias: str
    group: int
    mtu: int
    up: bool

    def is_ours(self) -> bool:
        """Whether it carries our alias, or has been made by us and not been given it yet."""
        made = is_our_name(self.name) and self.group == GROUP
        return self.name.startswith(PREFIX) and (self.alias.startswith(ALIAS) or (made and not self.alias))

    def is_for(self, spec: TunnelSpec) -> bool:
        """Whether it is the device of this tunnel."""
        return self.is_ours() and self.alias in ("", ALIAS + spec.name)


class Devices:
    """The devices of this network namespace. All methods raise TunnelFailed with the remedy."""

    def __init__(self) -> None:
        self._netlink = PerThread(IPRoute)
        self._links = KernelLinks(self._netlink, _by_name)

    def links(self) -> Mapping[str, Link]:
        """All devices by name, ours or not."""
        links: Mapping[str, Link] = self._ask("list the devices", self._links.read)
        return links

    def get(self, device: str) -> Link | None:
        """One device, ours or not; None where there is none."""
        try:
            return _link(self._netlink.here.link("get", ifname=device)[0])
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise _failed(f"read device {device}", error) from None

    def add(self, device: str, kind: str) -> None:
        """Make a device that is ours from its first moment on."""
        self._ask(
            f"make device {device} of kind {kind}",
            lambda: self._netlink.here.link("add", ifname=device, kind=kind, IFLA_GROUP=GROUP),
        )

    def set_up(self, spec: TunnelSpec) -> None:
        """Our alias with the tunnel's name, addresses, MTU, and up; what is so already stays as it is.

        So does a smaller MTU of a device that is up: it has been found out.
        """
        link = self._there(spec.device)
        mtu = min(link.mtu, spec.mtu) if link.up else spec.mtu
        _check_mtu(spec, mtu)
        # Nobody but the other end is reached through it: a link-local address would only send what nobody needs.
        quiet = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _NO_LINK_LOCAL)]})]}

        def change() -> None:
            self._netlink.here.link(
                "set", index=link.index, IFLA_IFALIAS=ALIAS + spec.name, IFLA_GROUP=GROUP, IFLA_AF_SPEC=quiet
            )
            self._netlink.here.link("set", index=link.index, mtu=mtu, state="up")
            self._netlink.here.addr(
                "replace",
                index=link.index,
                local=str(spec.address),
                address=str(spec.peer_address),
                prefixlen=spec.address.max_prefixlen,
            )

        self._ask(f"set device {spec.device} up", change)

    def set_mtu(self, spec: TunnelSpec, mtu: int) -> None:
        """Change a device's MTU in place."""
        link = self._there(spec.device)
        _check_mtu(spec, mtu)
        self._ask(
            f"set device {spec.device} to an MTU of {mtu}",
            lambda: self._netlink.here.link("set", index=link.index, mtu=mtu),
        )

    def take_down(self, device: str) -> None:
        """Let nothing through a device of ours any more; no other is touched."""
        link = self.get(device)
        if link is None or not link.is_ours() or not link.up:
            return
        try:
            self._netlink.here.link("set", index=link.index, state="down")
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise _failed(f"take device {device} down", error) from None

    def delete(self, device: str) -> None:
        """Take a device of ours away; nothing happens where there is none, or it is not ours."""
        link = self.get(device)
        if link is None or not link.is_ours():
            return
        try:
            self._netlink.here.link("del", index=link.index)
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise _failed(f"remove device {device}", error) from None

    def close(self) -> None:
        """Close the netlink sockets."""
        self._links.close()
        self._netlink.close()

    def _there(self, device: str) -> Link:
        link = self.get(device)
        if link is None:
            raise TunnelFailed(f"there is no device {device}: make the tunnel again")
        return link

    @staticmethod
    def _ask(what: str, request: Callable[[], Any]) -> Any:
        try:
            return request()
        except NetlinkError as error:
            raise _failed(what, error) from None


def not_ours(link: Link, spec: TunnelSpec) -> TunnelFailed:
    """What to raise when the name of a tunnel's device is taken."""
    owner = f"alias {link.alias!r}" if link.alias else "no alias"
    return TunnelFailed(
        f"device {link.name} (kind {link.kind or 'unknown'}, {owner}) is not of tunnel {spec.name}; it is left "
        "alone: remove or rename it"
    )


def _check_mtu(spec: TunnelSpec, mtu: int) -> None:
    if spec.address.version == 6 and mtu < _LEAST_IPV6_MTU:
        raise TunnelFailed(
            f"tunnel {spec.name} has IPv6 addresses, which an MTU of {mtu} takes away: use {_LEAST_IPV6_MTU} or "
            "more, or IPv4 addresses inside the tunnel"
        )


def _failed(what: str, error: NetlinkError) -> TunnelFailed:
    remedy = _REMEDIES.get(error.code)
    return TunnelFailed(f"cannot {what}: {error.args[1]}" + (f"; {remedy}" if remedy else ""))


def _by_name(messages: Iterable[Any]) -> Mapping[str, Link]:
    return {link.name: link for link in map(_link, messages)}


def _link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=(info.get_attr("IFLA_INFO_KIND") if info is not None else None) or "",
        alias=message.get_attr("IFLA_IFALIAS") or "",
        group=message.get_attr("IFLA_GROUP") or 0,
        mtu=message.get_attr("IFLA_MTU") or 0,
        up=bool(message["flags"] & 1),
    )
