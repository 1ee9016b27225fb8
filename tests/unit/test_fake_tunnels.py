from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest

from tests.tunnel_contract import SECRET, WireGuardContract, connect, create, join, peer
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels.contract import PeerEnd, TunnelFailed, Tunnels, TunnelSpec
from vte_agent.tunnels.devices import device_name
from vte_agent.tunnels.fake import FakeNetwork


class FakeWorld:
    def __init__(self) -> None:
        self._reads = 0
        self.network = FakeNetwork(self._now_s)
        self.later_s = 0.0
        self._tunnels = [self.network.node("0"), self.network.node("1")]

    def _now_s(self) -> float:
        # Time passes by being looked at.
        self._reads += 1
        return self.later_s + self._reads * 1e-3

    @contextmanager
    def at(self, node: int) -> Iterator[Tunnels]:
        yield self._tunnels[node]

    def next_run(self, node: int) -> None:
        self._tunnels[node] = self.network.node(str(node))

    def spec(self, node: int, name: str) -> TunnelSpec:
        address, far = IPv4Address(f"10.7.0.{node + 1}"), IPv4Address(f"10.7.0.{2 - node}")
        return TunnelSpec(name, device_name(name, str(node)), local(node), address, far, 1420)

    def passes(self, node: int, spec: TunnelSpec, size: int) -> bool:
        return self.network.passes(str(node), spec.device, size)

    def kill(self, node: int, device: str) -> None:
        self.network.kill(str(node), device)

    def roam(self, node: int, spec: TunnelSpec) -> Endpoint:
        outer = Endpoint(address=IPv4Address("203.0.113.9"), port=4711)
        self.network.roam(str(node), spec.device, outer)
        return outer

    def left(self) -> object:
        return [sorted(tunnels.found()) for tunnels in self._tunnels]


def local(node: int) -> IPv4Address:
    return IPv4Address(f"10.9.0.{node + 1}")


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


class TestFakeTunnels(WireGuardContract):
    pass


def test_a_cut_in_one_direction_stops_that_direction_until_it_is_mended(world: FakeWorld) -> None:
    join(world, "t")
    world.network.cut(local(0), local(1))
    assert not world.passes(0, world.spec(0, "t"), 100)
    assert world.passes(1, world.spec(1, "t"), 100)
    world.network.mend(local(0), local(1))
    assert world.passes(0, world.spec(0, "t"), 100)


def test_behind_a_cut_no_handshake_begins_and_an_old_one_ends_after_three_minutes(world: FakeWorld) -> None:
    join(world, "old")
    world.network.cut(local(0), local(1))
    ends = create(world, "t")
    connect(world, 0, "t", peer(world, 1, "t", ends[1]))
    connect(world, 1, "t", peer(world, 0, "t", ends[0]))
    with world.at(1) as tunnels:
        assert tunnels.read()[world.spec(1, "t").device].handshake_age_s is None
    assert world.passes(1, world.spec(1, "old"), 100)
    world.later_s = 181.0
    assert not world.passes(1, world.spec(1, "old"), 100)
    world.network.mend(local(0), local(1))
    with world.at(1) as tunnels:
        ages_s = [reading.handshake_age_s for reading in tunnels.read().values()]
    assert all(age_s is not None and age_s < 1 for age_s in ages_s)


def test_while_packets_pass_keys_are_never_older_than_two_minutes(world: FakeWorld) -> None:
    join(world, "t")
    for later_s in range(0, 1000, 50):
        world.later_s = float(later_s)
        with world.at(0) as tunnels:
            age_s = tunnels.read()[world.spec(0, "t").device].handshake_age_s
        assert age_s is not None and age_s < 120


def test_a_node_that_lacks_something_says_what_and_makes_nothing(world: FakeWorld) -> None:
    tunnels = world.network.node("0")
    tunnels.lacks = "no TUN devices here: run 'modprobe tun'"
    assert tunnels.missing() == tunnels.lacks
    with pytest.raises(TunnelFailed, match="modprobe tun"):
        tunnels.create(world.spec(0, "t"))
    assert not tunnels.found()


def test_a_thousand_nodes_are_joined_in_a_ring_at_once() -> None:
    network = FakeNetwork()
    nodes = [network.node(str(number)) for number in range(1000)]
    ends = {}
    for number, node in enumerate(nodes):
        for far in ((number - 1) % 1000, (number + 1) % 1000):
            ends[number, far] = node.create(_ring(number, far))
    for (number, far), end in ends.items():
        far_end = PeerEnd(end.public_key, SECRET, Endpoint(address=_address(number), port=end.port))
        nodes[far].connect(_ring(far, number), far_end)
    assert all(
        reading.handshake_age_s is not None and len(node.read()) == 2
        for node in nodes
        for reading in node.read().values()
    )


def _address(number: int) -> IPv4Address:
    return IPv4Address("10.0.0.0") + number


def _ring(number: int, far: int) -> TunnelSpec:
    name = f"{min(number, far)}-{max(number, far)}"
    return TunnelSpec(
        name, device_name(name, str(number)), _address(number), _address(number), _address(far), 1420
    )
