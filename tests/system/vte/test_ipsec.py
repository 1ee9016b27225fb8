"""IPsec tunnels across a lab's internet: two sites with several uplinks, delays, NAT and cuts."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from mininet_topos.namespaces import network_of
from mininet_topos.overlay.underlay import ROUTER, Place, Underlay, Uplink
from tests.system.vte.ipsec_world import Node, passes
from tests.tunnel_contract import eventually
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels.contract import PeerEnd, TunnelFailed, TunnelSpec
from vte_agent.tunnels.devices import device_name
from vte_agent.tunnels.ipsec_plan import VXLAN_PORT, plan
from vte_agent.tunnels.ipsec_vici import Vici

SECRET = bytes(range(100, 132))
PLACES = ("ber", "muc")
UPLINKS = ("up0", "up1", "narrow", "hidden")
FLOW_PORT, TCP_PORT = 9020, 9021


def uplinks(nat: bool) -> tuple[Uplink, ...]:
    return (
        Uplink("up0", delay_ms=1.0),
        Uplink("up1", delay_ms=1.0),
        Uplink("narrow", delay_ms=1.0, mtu=1280),
        Uplink("hidden", delay_ms=1.0, behind_nat=nat),
    )


class Sites:
    """Two sites and tunnels between the uplinks of one name."""

    def __init__(self, underlay: Underlay, directory: Path) -> None:
        self.underlay = underlay
        self.nodes = []
        for name in PLACES:
            (directory / name).mkdir()
            self.nodes.append(Node(underlay.at(name), directory / name / "ipsec"))

    def spec(self, node: int, uplink: str, *, first: int = 0) -> TunnelSpec:
        near, far = (
            IPv4Address("100.96.0.0") + 2 * UPLINKS.index(uplink) + (end ^ first) for end in (node, 1 - node)
        )
        name = f"t-{uplink}"
        local = self.underlay.address(PLACES[node], uplink)
        return TunnelSpec(name, device_name(name, PLACES[node]), local, near, far, 9000)

    def create(self, node: int, uplink: str, *, first: int = 0) -> int:
        with self.nodes[node].at() as tunnels:
            return tunnels.create(self.spec(node, uplink, first=first)).port

    def connect(self, node: int, uplink: str, port: int | None = 4500, *, first: int = 0) -> None:
        endpoint = Endpoint(address=self.underlay.address(PLACES[1 - node], uplink), port=port) if port else None
        with self.nodes[node].at() as tunnels:
            tunnels.connect(self.spec(node, uplink, first=first), PeerEnd(None, SECRET, endpoint))

    def join(self, uplink: str) -> None:
        for node in (0, 1):
            self.create(node, uplink)
        for node in (1, 0):
            self.connect(node, uplink)
        assert eventually(lambda: self.is_up(uplink), 5.0)

    def is_up(self, uplink: str) -> bool:
        return None not in [self.age_s(node, uplink) for node in (0, 1)]

    def age_s(self, node: int, uplink: str) -> float | None:
        with self.nodes[node].at() as tunnels:
            reading = tunnels.read().get(self.spec(node, uplink).device)
        return reading.handshake_age_s if reading else None

    def passes(self, uplink: str, size: int = 100, within_s: float = 2.0) -> bool:
        return passes(*self.nodes, self.spec(0, uplink), size, within_s)


@pytest.fixture(scope="module")
def lab() -> Iterator[Underlay]:
    with Underlay([Place("ber", uplinks(nat=False)), Place("muc", uplinks(nat=True))]) as underlay:
        yield underlay


@pytest.fixture
def sites(lab: Underlay, tmp_path: Path) -> Iterator[Sites]:
    sites = Sites(lab, tmp_path)
    before = [node.left() for node in sites.nodes]
    yield sites
    for node in sites.nodes:
        node.clear()
        node.tunnels.close()
    assert [node.left() for node in sites.nodes] == before


def flow(sites: Sites, uplink: str, disturb: Any) -> tuple[int, int]:
    """Packets sent every 5 ms, and how many of them came, while something happens."""
    near, far = sites.spec(0, uplink), sites.spec(1, uplink)
    with sites.nodes[1].inside():
        target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sites.nodes[0].inside():
        source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target.bind((str(far.address), FLOW_PORT))
    source.bind((str(near.address), 0))
    over, sent, come = threading.Event(), 0, set[int]()

    def receive() -> None:
        target.settimeout(0.5)
        while True:
            try:
                come.add(struct.unpack("!I", target.recv(64))[0])
            except TimeoutError:
                if over.is_set():
                    return

    def send() -> None:
        nonlocal sent
        while not over.wait(0.005):
            source.sendto(struct.pack("!I", sent), (str(far.address), FLOW_PORT))
            sent += 1

    threads = [threading.Thread(target=receive), threading.Thread(target=send)]
    for thread in threads:
        thread.start()
    try:
        disturb()
    finally:
        over.set()
        for thread in threads:
            thread.join()
        source.close()
        target.close()
    return sent, len(come)


def test_tunnels_over_two_uplinks_are_up_within_a_second_and_a_cut_of_one_is_nothing_to_the_other(
    sites: Sites,
) -> None:
    for uplink in ("up0", "up1"):
        for node in (0, 1):
            sites.create(node, uplink)
        sites.connect(1, uplink)
        before_s = time.monotonic()
        sites.connect(0, uplink)
        assert eventually(lambda name=uplink: sites.is_up(name), 1.0)
        assert sites.passes(uplink, within_s=1.0 - (time.monotonic() - before_s))
    line = sites.underlay.link("muc", "up0")

    def cut() -> None:
        line.cut()
        assert not sites.passes("up0", within_s=0.3)
        assert eventually(lambda: sites.age_s(0, "up0") is None, 8.0)

    sent, come = flow(sites, "up1", cut)
    assert sent == come
    line.restore()
    assert eventually(lambda: sites.is_up("up0"), 8.0)
    assert sites.passes("up0")


def test_new_keys_of_either_kind_cost_no_packet(sites: Sites) -> None:
    sites.join("up0")
    device = sites.spec(0, "up0").device

    def renew() -> None:
        for kind in ("child", "ike", "child", "ike"):
            with sites.nodes[0].at() as tunnels:
                renew_keys(tunnels._ask()[1], kind, device)
            for _ in range(20):
                assert sites.passes("up0")

    sent, come = flow(sites, "up0", renew)
    assert sent > 50 and come == sent


def renew_keys(vici: Vici, kind: str, device: str) -> None:
    before = numbers(vici, kind)
    vici._request("rekey", {kind: device})
    assert eventually(lambda: numbers(vici, kind) - before, 3.0)


def numbers(vici: Vici, kind: str) -> set[bytes]:
    told = [sa for part in vici._stream("list-sas", "list-sa") for sa in part.values()]
    if kind == "ike":
        return {sa["uniqueid"] for sa in told if sa["state"] == b"ESTABLISHED"}
    return {
        child["uniqueid"] for sa in told for child in sa["child-sas"].values() if child["state"] == b"INSTALLED"
    }


@pytest.mark.parametrize(("uplink", "mtu"), [("narrow", 1168), ("up0", 1350)])
def test_a_megabyte_crosses_in_packets_that_travel_whole(sites: Sites, uplink: str, mtu: int) -> None:
    sites.join(uplink)
    assert sites.passes(uplink, mtu) and not sites.passes(uplink, mtu + 1)
    data = os.urandom(1 << 20)
    far = str(sites.spec(1, uplink).address)
    with sites.nodes[1].inside():
        server = socket.create_server((far, TCP_PORT))
    got = bytearray()

    def take() -> None:
        connection, _ = server.accept()
        with connection:
            while part := connection.recv(1 << 16):
                got.extend(part)

    thread = threading.Thread(target=take)
    thread.start()
    with sites.nodes[0].inside(), socket.create_connection((far, TCP_PORT), 5) as client:
        client.sendall(data)
    thread.join(10)
    server.close()
    assert bytes(got) == data
    for node in sites.nodes:
        assert "FragCreates" not in failed_fragments(node)


def failed_fragments(node: Node) -> str:
    head, values = (line.split() for line in node.run("grep", "^Ip:", "/proc/net/snmp").splitlines())
    return " ".join(
        name for name, value in zip(head, values, strict=True) if name.startswith("Frag") and value != "0"
    )


def test_a_site_behind_nat_calls(sites: Sites) -> None:
    # The one behind the NAT has the higher address: it waits for a call that cannot come first.
    for node in (0, 1):
        sites.create(node, "hidden")
    sites.connect(0, "hidden", None)
    sites.connect(1, "hidden")
    assert eventually(lambda: sites.is_up("hidden"), 4.0)
    assert sites.passes("hidden")
    with sites.nodes[0].at() as tunnels:
        endpoint = tunnels.read()[sites.spec(0, "hidden").device].endpoint
    assert endpoint is not None and endpoint.address != sites.underlay.address("muc", "hidden")


def test_a_charon_that_hangs_is_noticed_and_made_anew(sites: Sites) -> None:
    sites.join("up0")
    hung = sites.nodes[0].charon()
    os.kill(hung, signal.SIGSTOP)
    with sites.nodes[0].at() as tunnels:
        assert tunnels.read() == {}
        tunnels.delete(sites.spec(0, "up0").device)
        assert not tunnels.found()
    sites.create(0, "up0")
    assert sites.nodes[0].charon() != hung
    sites.connect(0, "up0")
    assert eventually(lambda: sites.is_up("up0"), 3.0)
    assert sites.passes("up0")


def test_nothing_leaves_or_enters_as_clear_text(sites: Sites) -> None:
    sites.join("up0")
    spec = sites.spec(0, "up0")
    ours = plan(spec)
    vxlan = struct.pack("!II", 0x08000000, ours.vni << 8)
    frame = bytes.fromhex((ours.near_mac + ours.far_mac).replace(":", "")) + b"\x08\x00" + echo(spec)
    received = sites.underlay.link("ber", "up0").stats()
    with network_of(sites.underlay.at(ROUTER).pid), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(5):
            stranger.sendto(vxlan + frame, (str(spec.local), VXLAN_PORT))
    assert eventually(lambda: sites.underlay.link("ber", "up0").stats().b_to_a.frames > received.b_to_a.frames + 4)
    assert echoes(sites.nodes[0]) == 0
    sites.nodes[0].kill()
    with (
        network_of(sites.underlay.at(ROUTER).pid),
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as tap,
    ):
        assert not sites.passes("up0", within_s=0.3)
        tap.setblocking(False)
        seen = []
        while True:
            try:
                seen.append(tap.recv(100))
            except BlockingIOError:
                break
    assert not [
        packet for packet in seen if packet[16:20] == ours.far.packed or VXLAN_PORT.to_bytes(2) in packet[20:24]
    ]


def echo(spec: TunnelSpec) -> bytes:
    """A ping as it would come from the other end."""
    icmp = struct.pack("!BBHHH", 8, 0, checksum(struct.pack("!BBHHH", 8, 0, 0, 1, 1)), 1, 1)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 9, 1, 0, spec.peer_address.packed, spec.address.packed)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + icmp


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~(total % 0xFFFF) & 0xFFFF


def echoes(node: Node) -> int:
    head, values = (line.split() for line in node.run("grep", "^Icmp:", "/proc/net/snmp").splitlines())
    return int(values[head.index("InEchos")])


def test_the_secret_is_in_no_file_no_command_line_and_no_log(sites: Sites) -> None:
    sites.join("up0")
    node = sites.nodes[0]
    process = Path(f"/proc/{node.charon()}")
    texts = [path.read_bytes() for path in node.directory.iterdir() if path.is_file()]
    texts += [(process / name).read_bytes() for name in ("cmdline", "environ", "fd/2")]
    assert any(b"established" in text or b"loaded" in text for text in texts)
    words = (SECRET, SECRET.hex().encode(), SECRET.hex().upper().encode(), SECRET[:8])
    assert not [text for text in texts for word in words if word in text]
    assert node.directory.stat().st_mode & 0o777 == 0o700


def test_a_port_that_is_taken_is_left_to_its_owner(sites: Sites) -> None:
    with sites.nodes[0].inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 4500))
        port = sites.create(0, "up0")
        assert port != 4500
        sites.create(1, "up0")
        sites.connect(0, "up0")
        sites.connect(1, "up0", port)
        assert eventually(lambda: sites.is_up("up0"), 3.0)


def test_what_is_missing_is_named_with_the_remedy(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    with sites.nodes[0].at() as tunnels:
        assert tunnels.missing() == ""
    monkeypatch.setattr("vte_agent.tunnels.ipsec_charon._PLUGIN_DIRECTORIES", ("/nowhere",))
    node = Node(sites.nodes[0].enclosure, sites.nodes[0].directory)
    with node.at() as tunnels, pytest.raises(TunnelFailed, match="apt-get install libcharon-extra-plugins"):
        tunnels.create(sites.spec(0, "up0"))
    node.tunnels.close()
