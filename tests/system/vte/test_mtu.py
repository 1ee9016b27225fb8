"""Packets fit through tunnels, whatever the underlay has room for, and whether it says so or not."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from mininet_topos.namespaces import network_of
from mininet_topos.overlay.flow import flow
from mininet_topos.overlay.two_nodes import Node, TwoNodes, a_megabyte_crosses, host, two_nodes
from mininet_topos.overlay.underlay import Uplink
from mininet_topos.overlay.world import ENVIRONMENT
from tests.system.waiting import wait_until

MTUS = (1280, 1400, 1500, 9000)
INSIDE = {
    ("wireguard", 1280): 1220, ("wireguard", 1400): 1340, ("wireguard", 1500): 1440, ("wireguard", 9000): 8940,
    ("ipsec", 1280): 1168, ("ipsec", 1400): 1288, ("ipsec", 1500): 1350, ("ipsec", 9000): 1350,
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    uplinks = [Uplink(f"up{mtu}", rate_mbps=200.0, delay_ms=1.0, mtu=mtu) for mtu in MTUS]
    log = tmp_path_factory.mktemp("mtu") / "log"
    with two_nodes(uplinks, log) as made:
        try:
            made.want({f"{how}-{mtu}": (f"up{mtu}", how) for how in ("wireguard", "ipsec") for mtu in MTUS})
            yield made
        finally:
            sys.stdout.write(log.read_text()[-4000:])


def test_each_tunnel_has_the_mtu_of_its_underlay_less_what_it_adds(world: TwoNodes) -> None:
    world.wait(lambda one: one["mtu"] is not None)
    for (how, outer), inside in INSIDE.items():
        name = f"{how}-{outer}"
        assert [world.tunnel(serial, name)["mtu"] for serial in (1, 2)] == [inside, inside]
        assert f"mtu {inside} " in world.nodes[0].at.run(["ip", "-o", "link", "show", world.device(1, name)])


@pytest.mark.parametrize("how", ["wireguard", "ipsec"])
@pytest.mark.parametrize("outer", MTUS)
def test_a_megabyte_crosses_a_vxlan_over_a_tunnel(world: TwoNodes, how: str, outer: int) -> None:
    name = f"{how}-{outer}"
    for serial in (1, 2):
        near, far = world.address(serial, name), world.address(3 - serial, name)
        at = world.nodes[serial - 1].at
        what = ["type", "vxlan", "id", "7", "local", near, "remote", far, "dstport", "4790"]
        mtu = str(INSIDE[how, outer] - 50)
        at.run(["ip", "link", "add", "vx", "mtu", mtu, *what, "dev", world.device(serial, name)])
        at.run(["ip", "addr", "add", f"10.77.0.{serial}/24", "dev", "vx"])
        at.run(["ip", "link", "set", "vx", "up"])
    try:
        assert a_megabyte_crosses(world.nodes[0].at, "10.77.0.1", world.nodes[1].at, "10.77.0.2")
    finally:
        for node in world.nodes:
            node.at.run(["ip", "link", "del", "vx"])


@pytest.mark.parametrize("how", ["wireguard", "ipsec"])
def test_an_underlay_that_swallows_long_packets_is_found_out_and_back_again_and_no_packet_is_lost_by_it(
    world: TwoNodes, how: str
) -> None:
    name, other = f"{how}-1500", f"{how}-1400"
    world.prefer(name)
    world.taken(name)
    (near, near_address), (far, far_address) = [(node.host, host(node.serial)) for node in world.nodes]
    (here, here_address), (there, there_address) = [
        (node.at, world.address(node.serial, other)) for node in world.nodes
    ]
    with (
        flow(near, near_address, far, far_address, environment=ENVIRONMENT) as receiver,
        flow(here, here_address, there, there_address, 7002, environment=ENVIRONMENT) as beside,
    ):
        wait_until(lambda: min(len(receiver.read()), len(beside.read())) > 40, 30, "no packet comes")
        world.underlay.swallow("ber", "up1500", 1400)
        wait_until(lambda: fits(world, name, 1400), 12, lambda: world.tunnel(1, name))
        assert a_megabyte_crosses(near, near_address, far, far_address)
        assert [world.tunnel(serial, other)["mtu"] for serial in (1, 2)] == [INSIDE[how, 1400]] * 2
        assert receiver.lost() == 0
        world.underlay.swallow("ber", "up1500", None)
        # A path that was dead may be another one afterwards.
        world.underlay.link("ber", "up1500").cut()
        wait_until(lambda: world.tunnel(1, name)["state"] == "down", 5, "nobody notices")
        world.underlay.link("ber", "up1500").restore()
        receiver.forget()
        wait_until(lambda: len(receiver.read()) > 40, 20, lambda: world.tunnel(1, name))
        receiver.forget()
        wait_until(lambda: fits(world, name, 1500), 12, lambda: world.tunnel(1, name))
        assert receiver.lost() == 0
        beside.read()
        assert beside.lost() == 0, "of the other tunnel"


def fits(world: TwoNodes, name: str, outer: int) -> bool:
    """Both ends have found what there is room for, to a few bytes: WireGuard fills packets up to 16, if it can."""
    most = INSIDE[world.tunnels[name][1], outer]
    found = [world.tunnel(serial, name)["mtu"] for serial in (1, 2)]
    return all(most - 24 < mtu <= most for mtu in found)


def test_segments_of_connections_through_a_tunnel_are_cut_to_size_in_both_directions(world: TwoNodes) -> None:
    world.prefer("wireguard-1400")
    world.taken("wireguard-1400")
    for source, target in (world.nodes, world.nodes[::-1]):
        with listening(target) as there, listening(source) as back:
            with network_of(target.host.pid):
                server = socket.create_server((host(target.serial), 7003))
            with server, network_of(source.host.pid):
                socket.create_connection(server.getsockname(), 5).close()
            most = INSIDE["wireguard", 1400] - 40
            assert [segments(there), segments(back)] == [most, most]


def listening(node: Node) -> socket.socket:
    """Hears all that comes to a node's host."""
    with network_of(node.host.pid):
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    ear.settimeout(5)
    return ear


def segments(ear: socket.socket) -> int:
    """The MSS that the next packet which begins a connection comes with."""
    while True:
        packet, (_, _, kind, *_) = ear.recvfrom(2048)
        if kind == socket.PACKET_OUTGOING or packet[9] != socket.IPPROTO_TCP:
            continue
        tcp = packet[20:]
        if tcp[13] & 0x02:
            assert tcp[20:22] == b"\x02\x04", "the first option is not the MSS"
            return int.from_bytes(tcp[22:24])
