"""WireGuard between two namespaces: by wireguard-go, and by the kernel where that has it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address

import pytest

from tests.system.vte.wireguard_world import WireGuardWorld
from tests.tunnel_contract import (
    DeviceContract,
    WireGuardContract,
    connect,
    create,
    eventually,
    join,
    peer,
    shaken,
)
from vte_agent.tunnels import wireguard_base
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


def test_what_died_comes_back_with_its_key_and_port_and_the_other_end_need_not_be_told(
    world: WireGuardWorld,
) -> None:
    ends = join(world, "t")
    spec = world.spec(0, "t")
    world.kill(0, spec.device)
    # Another run, as after a start of the machine: all it has is on the disk.
    world.next_run(0)
    with world.at(0) as tunnels:
        assert eventually(lambda: spec.device not in tunnels.read(), 2.0)
        assert tunnels.create(spec) == ends[0]
    connect(world, 0, "t", peer(world, 1, "t", ends[1]))
    assert shaken(world, "t")
    assert world.passes(0, spec, 100) and world.passes(1, world.spec(1, "t"), 100)


def test_where_its_port_is_taken_it_has_another_and_calls(world: WireGuardWorld) -> None:
    ends = join(world, "t")
    spec = world.spec(0, "t")
    world.kill(0, spec.device)
    with world.at(0) as tunnels, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        assert eventually(lambda: spec.device not in tunnels.read(), 2.0)
        assert eventually(lambda: binds(taken, ends[0].port), 2.0)
        end = tunnels.create(spec)
    assert end.public_key == ends[0].public_key and end.port != ends[0].port
    connect(world, 0, "t", peer(world, 1, "t", ends[1]))
    assert shaken(world, "t")
    assert world.passes(1, world.spec(1, "t"), 100)


def test_where_its_port_is_taken_for_a_moment_it_has_the_same(
    world: WireGuardWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wireguard_base, "FREE_WITHIN_S", 10.0)
    ends = create(world, "t")
    spec = world.spec(0, "t")
    world.kill(0, spec.device)
    with world.at(0) as tunnels, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        assert eventually(lambda: spec.device not in tunnels.read(), 2.0)
        assert eventually(lambda: binds(taken, ends[0].port), 2.0)
        frees = threading.Timer(0.5, taken.close)
        frees.start()
        assert tunnels.create(spec) == ends[0]
        frees.join()


def binds(taken: socket.socket, port: int) -> bool:
    """Whether the port could be had: who had it may be about to end."""
    with suppress(OSError):
        taken.bind(("", port))
        return True
    return False


def test_a_key_that_is_forgotten_is_made_anew(world: WireGuardWorld) -> None:
    ends = create(world, "t")
    spec = world.spec(0, "t")
    for forgotten in (False, True):
        with world.at(0) as tunnels:
            tunnels.delete(spec.device)
            tunnels.keep_only(() if forgotten else {spec.device})
            assert (tunnels.create(spec).public_key != ends[0].public_key) is forgotten
