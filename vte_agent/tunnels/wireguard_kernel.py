"""WireGuard in the kernel, by netlink."""

from __future__ import annotations

import base64
import errno
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Any

from pyroute2 import IPRoute, WireGuard
from pyroute2.netlink.exceptions import NetlinkError

from vte_agent.netlink import PerThread
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels.contract import TunnelFailed, TunnelSpec
from vte_agent.tunnels.devices import PREFIX, Devices, Link
from vte_agent.tunnels.wireguard_state import (
    ANYTHING,
    KEEPALIVE_S,
    DeviceState,
    PeerChange,
    PeerState,
    secret_digest,
)

_KIND = "wireguard"
_NANOSECONDS = 1e-9
_UNKNOWN_KIND = frozenset({errno.EOPNOTSUPP, errno.ENOENT})
_FORBIDDEN = frozenset({errno.EPERM, errno.EACCES})


def kernel_missing() -> str:
    """Why the kernel has no WireGuard for us, and the remedy, found by making a device; "" where it has."""
    name = f"{PREFIX}try{secrets.token_hex(4)}"
    netlink: Any = IPRoute()
    try:
        netlink.link("add", ifname=name, kind=_KIND)
        netlink.link("del", ifname=name)
    except NetlinkError as error:
        if error.code in _FORBIDDEN:
            return "making network devices is forbidden here: run the agent as root or with CAP_NET_ADMIN"
        if error.code in _UNKNOWN_KIND:
            return "the kernel has no WireGuard: load its module with `modprobe wireguard` where there is one"
        return f"the kernel makes no WireGuard device: {error.args[1]}"
    finally:
        netlink.close()
    return ""


class KernelRunner:
    """WireGuard devices that the kernel runs (see `Runner`)."""

    kinds: Collection[str] = frozenset({_KIND})
    carrier = "by the kernel"

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._missing = kernel_missing()
        self._netlink = PerThread(WireGuard)

    def missing(self) -> str:
        """As it was when the agent started."""
        return self._missing

    def found(self) -> Collection[str]:
        """By their alias, or by the group they were made with."""
        return [name for name, link in self._devices.links().items() if link.kind == _KIND and link.is_ours()]

    def owns(self, link: Link, spec: TunnelSpec) -> bool:
        """By its alias, or by the group it was made with."""
        return link.is_for(spec)

    def add(self, spec: TunnelSpec) -> None:
        """One request makes it; it has our group at once."""
        self._devices.add(spec.device, _KIND)

    def adopt(self, spec: TunnelSpec) -> None:
        """The kernel needs nothing."""

    def state(self, device: str) -> DeviceState:
        """Ask a device."""
        with _reported(device):
            return device_state(self._netlink.here.info(device))

    def states(self, devices: Collection[str]) -> Mapping[str, DeviceState]:
        """Ask one after the other."""
        found = {}
        for device in devices:
            with suppress(TunnelFailed):
                found[device] = self.state(device)
        return found

    def set_own(self, device: str, private_key: bytes | None, mark: int, port: int = 0) -> None:
        """Any port is one that the kernel chooses as soon as the device is up."""
        key = None if private_key is None else base64.b64encode(private_key).decode()
        with _reported(device):
            self._netlink.here.set(device, private_key=key, fwmark=mark, listen_port=port or None)

    def set_peer(self, device: str, change: PeerChange) -> None:
        """A request for each peer, since one carries no more; each is atomic."""
        with _reported(device):
            for key in change.remove:
                self._netlink.here.set(device, peer={"public_key": _text(key), "remove": True})
            peer = _peer(change)
            if change.wake:
                self._netlink.here.set(device, peer={**peer, "persistent_keepalive": 0})
                peer = {"public_key": peer["public_key"], "persistent_keepalive": KEEPALIVE_S}
            self._netlink.here.set(device, peer=peer)

    def remove(self, device: str) -> None:
        """Taking the device away ends all that it had."""
        self._devices.delete(device)

    def close(self) -> None:
        """Close the netlink sockets."""
        self._netlink.close()


def device_state(answer: Any) -> DeviceState:
    """The device of a dump, of which the private key is not looked at. A peer may be spread over messages."""
    first = answer[0]
    public_key = first.get_attr("WGDEVICE_A_PUBLIC_KEY")
    return DeviceState(
        public_key=None if public_key is None else base64.b64decode(public_key),
        port=first.get_attr("WGDEVICE_A_LISTEN_PORT") or 0,
        mark=first.get_attr("WGDEVICE_A_FWMARK") or 0,
        peers=tuple(_peer_state(peer) for part in answer for peer in part.get_attr("WGDEVICE_A_PEERS") or ()),
    )


def _peer_state(peer: Any) -> PeerState:
    secret = peer.get_attr("WGPEER_A_PRESHARED_KEY")
    endpoint = peer.get_attr("WGPEER_A_ENDPOINT")
    at = peer.get_attr("WGPEER_A_LAST_HANDSHAKE_TIME")
    handshake_at_s = 0.0 if at is None else at["tv_sec"] + at["tv_nsec"] * _NANOSECONDS
    return PeerState(
        public_key=base64.b64decode(peer.get_attr("WGPEER_A_PUBLIC_KEY")),
        secret_digest=None if secret is None else secret_digest(base64.b64decode(secret)),
        endpoint=None
        if endpoint is None
        else Endpoint(address=ip_address(endpoint["addr"]), port=endpoint["port"]),
        handshake_at_s=handshake_at_s or None,
        received_bytes=peer.get_attr("WGPEER_A_RX_BYTES") or 0,
        sent_bytes=peer.get_attr("WGPEER_A_TX_BYTES") or 0,
        keepalive_s=peer.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") or 0,
        allowed=frozenset(one["addr"] for one in peer.get_attr("WGPEER_A_ALLOWEDIPS") or ()),
    )


def _peer(change: PeerChange) -> dict[str, Any]:
    peer: dict[str, Any] = {"public_key": _text(change.public_key)}
    if change.secret is not None:
        peer["preshared_key"] = _text(change.secret)
    if change.allowed:
        peer |= {"replace_allowed_ips": True, "allowed_ips": sorted(ANYTHING)}
    if change.endpoint is not None:
        peer |= {"endpoint_addr": str(change.endpoint.address), "endpoint_port": change.endpoint.port}
    return peer


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


@contextmanager
def _reported(device: str) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        # From None: nothing of the request, which may have a key, goes along.
        raise TunnelFailed(f"the kernel refuses a request about device {device}: {error.args[1]}") from None
