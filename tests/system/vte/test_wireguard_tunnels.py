"""WireGuard between two namespaces: by wireguard-go, and by the kernel where that has it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from tests.system.vte.wireguard_world import WireGuardWorld
from tests.tunnel_contract import DeviceContract, WireGuardContract, join
from vte_agent.tunnels.contract import TunnelFailed, TunnelSpec
from vte_agent.tunnels.devices import Devices
from vte_agent.tunnels.wireguard_base import Runner
from vte_agent.tunnels.wireguard_go import GoRunner
from vte_agent.tunnels.wireguard_kernel import KernelRunner, kernel_missing

# Not skipped where the kernel has none: a machine without it can run every test there is for it.
RUNNERS: dict[str, Callable[[Devices], Runner]] = {"wireguard-go": GoRunner}
if not kernel_missing():
    RUNNERS["kernel"] = KernelRunner


@pytest.fixture(params=RUNNERS)
def world(request: pytest.FixtureRequest) -> Iterator[WireGuardWorld]:
    world = WireGuardWorld(RUNNERS[request.param])
    try:
        yield world
    finally:
        world.close()


class TestWireGuardTunnels(DeviceContract, WireGuardContract):
    pass


def test_from_nothing_to_a_handshake_takes_less_than_a_second(world: WireGuardWorld) -> None:
    took_s = []
    for name in ("t", "a", "b"):
        start_s = time.monotonic()
        join(world, name)
        took_s.append(time.monotonic() - start_s)
    assert min(took_s) < 1.0


def test_what_cannot_be_made_leaves_nothing(world: WireGuardWorld) -> None:
    before = world.left()
    spec = world.spec(0, "t")
    ends = {"address": ip_address("fd07::1"), "peer_address": ip_address("fd07::2")}
    impossible = TunnelSpec(**{**vars(spec), **ends, "mtu": 1279})
    with world.at(0) as tunnels, pytest.raises(TunnelFailed, match="use 1280 or more"):
        tunnels.create(impossible)
    assert world.left() == before


def test_a_device_of_somebody_else_is_never_touched(world: WireGuardWorld) -> None:
    device = world.spec(0, "t").device
    world.run(0, "ip", "tuntap", "add", device, "mode", "tun")
    world.run(0, "ip", "link", "set", device, "alias", "somebody's")
    with world.at(0) as tunnels:
        with pytest.raises(TunnelFailed, match="left alone"):
            tunnels.create(world.spec(0, "t"))
        tunnels.delete(device)
        assert not tunnels.found()
    assert "somebody's" in world.run(0, "ip", "link", "show", device)


def test_outer_packets_carry_the_mark(world: WireGuardWorld) -> None:
    spec = world.spec(0, "t")
    world.run(0, "nft", "add table inet t; add chain inet t c { type filter hook output priority 0; }")
    world.run(0, "nft", "add rule inet t c udp sport != 0 meta mark 0x5a00 counter")
    marked = TunnelSpec(**{**vars(spec), "mark": 0x5A00})
    with world.at(0) as tunnels:
        tunnels.create(marked)
    # Unmarked packets go nowhere: the handshake is on marked ones.
    world.run(0, "nft", "add rule inet t c oifname wire drop")
    world.run(0, "nft", "insert rule inet t c meta mark 0x5a00 accept")
    world.spec = lambda node, name: marked if node == 0 else WireGuardWorld.spec(world, node, name)  # type: ignore[method-assign]
    join(world, "t")


def test_ipv6_goes_through_too() -> None:
    world = WireGuardWorld(GoRunner, inner="fd07::")
    try:
        join(world, "t")
        assert world.passes(0, world.spec(0, "t"), 100)
        with world.at(0) as tunnels, pytest.raises(TunnelFailed, match="1280"):
            tunnels.set_mtu(world.spec(0, "t"), 1279)
    finally:
        world.close()
