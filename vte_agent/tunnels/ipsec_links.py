"""What an IPsec tunnel is in the kernel: a VXLAN device, an address on `lo`, and rules that keep clear text out.

The VXLAN device is made first and removed last, and says by itself what else belongs to it: whatever happens
between, the next run of the agent finds it and can take all of it away.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vte_agent.kernel_changes import KernelLinks
from vte_agent.netlink import PerThread
from vte_agent.nft import NftFailed
from vte_agent.tables import Table
from vte_agent.tunnels.contract import Address, TunnelFailed, TunnelSpec
from vte_agent.tunnels.devices import GROUP, Link
from vte_agent.tunnels.devices import _link as link_of
from vte_agent.tunnels.ipsec_plan import GATEWAYS, KIND, OUTER_RANGE, VXLAN_PORT, Plan, is_outer

TABLE: Final = "lockstitch_ipsec"
_LOOPBACK = "lo"
_LAST_METRIC = 0xFFFFFFFF
_MAIN_TABLE, _PREFERENCE = 254, 7598
"""Before the agent's own tables: by those a packet could be led into the tunnel that it is the outside of."""
_UNREACHABLE = 7
_PERMANENT = 0x80
_GONE = (errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENOENT)

_log = logging.getLogger("vte_agent.tunnels")


@dataclass(frozen=True)
class Cable:
    """A VXLAN device of ours. near, far, vni: None where it is not one that was made here."""

    link: Link
    near: str
    far: str
    vni: int
    received_bytes: int
    sent_bytes: int


class IpsecLinks:
    """The VXLAN devices of this network namespace. All methods raise TunnelFailed."""

    def __init__(self) -> None:
        self._netlink = PerThread(IPRoute)
        self._links = KernelLinks(self._netlink, _cables)
        self._table, self._is_guarded = Table(TABLE), False

    def cables(self) -> Mapping[str, Cable]:
        """All tunnels of ours that are there, made by whichever run, whole or not."""
        cables: Mapping[str, Cable] = self._ask("list the devices", self._links.read)
        return cables

    def carried(self) -> Mapping[str, Cable]:
        """The same, with what they have carried until now."""
        found = {}
        for name, cable in self.cables().items():
            # One that went away meanwhile is none.
            with contextlib.suppress(_Gone):
                (message,) = self._tell(
                    f"read {name}", partial(self._netlink.here.link, "get", index=cable.link.index)
                )
                if (now := _cable(message)) is not None:
                    found[name] = now
        return found

    def uplink_mtu(self, local: Address) -> int | None:
        """The MTU of the device that has an address; None where none has."""
        family = socket.AF_INET if local.version == 4 else socket.AF_INET6
        addresses = self._ask("list the addresses", lambda: list(self._netlink.here.addr("dump", family=family)))
        for one in addresses:
            if str(local) in (one.get_attr("IFA_LOCAL"), one.get_attr("IFA_ADDRESS")):
                (link,) = self._ask("read a device", partial(self._netlink.here.link, "get", index=one["index"]))
                return int(link.get_attr("IFLA_MTU") or 0) or None
        return None

    def add(self, spec: TunnelSpec, plan: Plan) -> None:
        """Make the device, which is down and leads nowhere yet."""
        self._ask(
            f"make device {spec.device} of kind {KIND}",
            lambda: self._netlink.here.link(
                "add",
                ifname=spec.device,
                kind=KIND,
                IFLA_GROUP=GROUP,
                address=plan.near_mac,
                vxlan_id=plan.vni,
                vxlan_local=str(plan.near),
                vxlan_group=str(plan.far),
                vxlan_port=VXLAN_PORT,
                vxlan_learning=0,
                vxlan_ttl=64,
            ),
        )

    def lead(self, spec: TunnelSpec, plan: Plan) -> None:
        """Give it the address its packets come from; there is no way for them until charon makes one."""
        loopback = self._index(_LOOPBACK)

        def change() -> None:
            self._rule("add")
            # Before the address: from here on nothing to the other end goes out as clear text.
            self._netlink.here.route(
                "replace", dst=f"{plan.far}/32", type=_UNREACHABLE, priority=_LAST_METRIC, family=socket.AF_INET
            )
            self._netlink.here.addr("replace", index=loopback, address=str(plan.near), prefixlen=32, scope=0)

        self._ask(f"give device {spec.device} its addresses", change)

    def know(self, spec: TunnelSpec, plan: Plan, index: int) -> None:
        """The other end's link address is known: no packet is held up by asking for it, whoever it is for."""
        self._ask(f"set the neighbour of device {spec.device}", lambda: self._know(spec.peer_address, plan, index))
        for gateway in GATEWAYS.values():
            # With an MTU below 1280 the device has no IPv6.
            with contextlib.suppress(TunnelFailed):
                self._ask("set a neighbour", partial(self._know, gateway, plan, index))

    def _know(self, address: Address, plan: Plan, index: int) -> None:
        self._netlink.here.neigh(
            "replace",
            family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
            dst=str(address),
            lladdr=plan.far_mac,
            ifindex=index,
            state=_PERMANENT,
        )

    def remove(self, cable: Cable, others: Collection[Cable]) -> None:
        """Take a device away with its address and its route, as far as none of the others has the same."""
        if is_outer(cable.near) and all(cable.near != one.near for one in others):
            loopback = self._index(_LOOPBACK)
            with contextlib.suppress(_Gone):
                self._tell(
                    f"take address {cable.near} away",
                    lambda: self._netlink.here.addr("del", index=loopback, address=cable.near, prefixlen=32),
                )
        if is_outer(cable.far) and all(cable.far != one.far for one in others):
            with contextlib.suppress(_Gone):
                self._tell(
                    f"take the route to {cable.far} away",
                    lambda: self._netlink.here.route(
                        "del",
                        dst=f"{cable.far}/32",
                        type=_UNREACHABLE,
                        priority=_LAST_METRIC,
                        family=socket.AF_INET,
                    ),
                )
        if not others:
            self._rule("del")
        with contextlib.suppress(_Gone):
            self._tell(
                f"remove device {cable.link.name}", lambda: self._netlink.here.link("del", index=cable.link.index)
            )

    def guard(self, cables: Collection[Cable], tun: str) -> None:
        """Let in what came decrypted through its own tunnel, and nothing else; without tunnels nothing is kept."""
        try:
            if cables:
                self._table.apply(_rules(cables, tun))
            else:
                self._table.clear()
        except NftFailed as error:
            raise TunnelFailed(str(error)) from None
        self._is_guarded = bool(cables)

    def keep_guard(self, cables: Collection[Cable], tun: str) -> None:
        """The same where another program has taken away or changed what was set."""
        try:
            if not self._is_guarded or self._table.is_as_made():
                return
        except NftFailed as error:
            raise TunnelFailed(str(error)) from None
        _log.warning("table=%s was taken away or changed by another program", TABLE)
        self.guard(cables, tun)

    def close(self) -> None:
        """Close the netlink sockets."""
        self._table.close()
        self._links.close()
        self._netlink.close()

    def _rule(self, command: str) -> None:
        """What is between two ends looks at the main table, where charon's routes are."""
        try:
            self._netlink.here.rule(
                command,
                family=socket.AF_INET,
                dst=str(OUTER_RANGE.network_address),
                dst_len=OUTER_RANGE.prefixlen,
                table=_MAIN_TABLE,
                priority=_PREFERENCE,
            )
        except NetlinkError as error:
            if error.code not in (*_GONE, errno.EEXIST):
                raise TunnelFailed(f"cannot set the rule for {OUTER_RANGE}: {error.args[1]}") from None

    def _index(self, device: str) -> int:
        found: list[int] = self._netlink.here.link_lookup(ifname=device)
        if not found:
            raise TunnelFailed(f"there is no device {device}")
        return found[0]

    def _ask(self, what: str, request: Callable[[], Any]) -> Any:
        try:
            return self._tell(what, request)
        except _Gone as error:
            raise TunnelFailed(str(error)) from None

    @staticmethod
    def _tell(what: str, request: Callable[[], Any]) -> Any:
        try:
            return request()
        except NetlinkError as error:
            kind = _Gone if error.code in _GONE else TunnelFailed
            raise kind(f"cannot {what}: {error.args[1]}{_REMEDIES.get(error.code, '')}") from None


class _Gone(TunnelFailed):
    """What was to be taken away is not there."""


_REMEDIES = {
    errno.EPERM: "; run the agent as root or with CAP_NET_ADMIN",
    errno.EOPNOTSUPP: "; this kernel has no VXLAN: run 'modprobe vxlan'",
    errno.EEXIST: "; another device has its name, or its VNI at this port: give the tunnel other addresses",
    errno.EADDRINUSE: f"; UDP port {VXLAN_PORT} is taken by another program: end that",
}


def _rules(cables: Collection[Cable], tun: str) -> str:
    # A VXLAN device takes packets of its VNI from anybody: who may send them is decided here.
    let_in = "\n".join(
        f"  iifname {tun} ip saddr {one.far} ip daddr {one.near} udp dport {VXLAN_PORT} @th,96,24 {one.vni} accept"
        for one in sorted(cables, key=lambda one: one.near)
    )
    ours = ", ".join(sorted({one.near for one in cables}))
    theirs = ", ".join(sorted({one.far for one in cables}))
    return f""" chain arriving {{
  type filter hook input priority -150;
{let_in}
  udp dport {VXLAN_PORT} drop
  iifname != lo ip daddr {{ {ours} }} drop
 }}
 chain leaving {{
  type filter hook output priority -150;
  oifname != {{ lo, {tun} }} ip daddr {{ {theirs} }} drop
 }}
"""


def _cables(messages: Iterable[Any]) -> Mapping[str, Cable]:
    return {cable.link.name: cable for cable in map(_cable, messages) if cable is not None}


def _cable(message: Any) -> Cable | None:
    link = link_of(message)
    if link.kind != KIND or not link.is_ours():
        return None
    data = message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    near, far = data.get_attr("IFLA_VXLAN_LOCAL") or "", data.get_attr("IFLA_VXLAN_GROUP") or ""
    stats = message.get_attr("IFLA_STATS64") or {}
    return Cable(
        link,
        near,
        far,
        data.get_attr("IFLA_VXLAN_ID") or 0,
        stats.get("rx_bytes", 0),
        stats.get("tx_bytes", 0),
    )
