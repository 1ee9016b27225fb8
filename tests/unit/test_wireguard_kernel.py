"""What is said to WireGuard in the kernel and read of it, in the bytes that these have on a netlink socket."""

from __future__ import annotations

import base64
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic.wireguard import AsyncWireGuard, wgmsg

from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels import wireguard_kernel
from vte_agent.tunnels.contract import TunnelFailed
from vte_agent.tunnels.wireguard_kernel import KernelRunner, device_state, kernel_missing
from vte_agent.tunnels.wireguard_state import ANYTHING, KEEPALIVE_S, PeerChange, secret_digest

KEY, SECRET, OTHER = b"k" * 32, b"s" * 32, b"o" * 32


class Kernel:
    """Takes requests, and shows the last one's peer as what the device has."""

    def __init__(self, **_: Any) -> None:
        self.requests: list[dict[str, Any]] = []
        self.fails: NetlinkError | None = None

    def set(self, _device: str, **request: Any) -> None:
        if self.fails is not None:
            raise self.fails
        self.requests.append(request)

    def info(self, _device: str) -> list[Any]:
        message = wgmsg()
        message["attrs"] = [
            ["WGDEVICE_A_PUBLIC_KEY", base64.b64encode(OTHER).decode()],
            ["WGDEVICE_A_LISTEN_PORT", 4711],
            ["WGDEVICE_A_FWMARK", 7],
        ]
        if self.requests:
            object.__new__(AsyncWireGuard)._wg_set_peer(message, self.requests[-1]["peer"])
        message.encode()
        read = wgmsg(message.data)
        read.decode()
        return [read]


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> KernelRunner:
    monkeypatch.setattr(wireguard_kernel, "kernel_missing", lambda: "")
    monkeypatch.setattr(wireguard_kernel, "WireGuard", Kernel)
    return KernelRunner(None)  # type: ignore[arg-type]  # It is asked for no device.


def kernel(runner: KernelRunner) -> Kernel:
    netlink: Kernel = runner._netlink.here
    return netlink


def change(address: str, *, wake: bool) -> PeerChange:
    endpoint = Endpoint(address=ip_address(address), port=51820)
    return PeerChange(KEY, SECRET, endpoint, (OTHER, KEY), allowed=True, wake=wake)


@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::9"])
def test_a_peer_goes_over_netlink_and_back_as_it_is(runner: KernelRunner, address: str) -> None:
    asked = change(address, wake=False)
    runner.set_peer("ls", asked)
    state = runner.state("ls")
    assert (state.public_key, state.port, state.mark) == (OTHER, 4711, 7)
    (peer,) = state.peers
    assert (peer.public_key, peer.secret_digest, peer.endpoint) == (KEY, secret_digest(SECRET), asked.endpoint)
    assert peer.allowed == ANYTHING and peer.handshake_at_s is None


def test_others_go_first_and_the_peer_is_woken_by_a_second_request(runner: KernelRunner) -> None:
    runner.set_peer("ls", change("203.0.113.9", wake=True))
    peers = [request["peer"] for request in kernel(runner).requests]
    assert [peer["public_key"] for peer in peers] == [
        base64.b64encode(key).decode() for key in (OTHER, KEY, KEY, KEY)
    ]
    assert [peer.get("remove", False) for peer in peers] == [True, True, False, False]
    assert [peer.get("persistent_keepalive") for peer in peers] == [None, None, 0, KEEPALIVE_S]


def test_a_device_without_key_and_peers_is_read_as_that() -> None:
    message = wgmsg()
    message["attrs"] = []
    message.encode()
    read = wgmsg(message.data)
    read.decode()
    state = device_state([read])
    assert (state.public_key, state.port, state.mark, state.peers) == (None, 0, 0, ())


@pytest.mark.parametrize(
    "act",
    [
        lambda runner: runner.set_own("ls", SECRET, 0),
        lambda runner: runner.set_peer("ls", change("203.0.113.9", wake=True)),
    ],
)
def test_a_refusal_has_a_reason_and_no_secret(runner: KernelRunner, act: Callable[[KernelRunner], None]) -> None:
    kernel(runner).fails = NetlinkError(19, "No such device")
    with pytest.raises(TunnelFailed, match="No such device") as caught:
        act(runner)
    assert base64.b64encode(SECRET).decode()[:8] not in repr(caught.value)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(1, "CAP_NET_ADMIN"), (95, "modprobe wireguard"), (2, "modprobe wireguard"), (12, "no memory")],
)
def test_why_the_kernel_makes_no_device_is_told_with_the_remedy(
    code: int, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Netlink:
        closed = False

        def link(self, *_: object, **__: object) -> None:
            raise NetlinkError(code, "no memory")

        def close(self) -> None:
            self.closed = True

    netlink = Netlink()
    monkeypatch.setattr(wireguard_kernel, "IPRoute", lambda: netlink)
    assert remedy in kernel_missing()
    assert netlink.closed
