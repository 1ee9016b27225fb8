"""IPsec tunnels across a lab's internet: two sites with several uplinks, delays, NAT and cuts."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mininet_topos.namespaces import network_of
from mininet_topos.overlay.underlay import ROUTER, Place, Underlay
from tests.system.vte.ipsec_sites import SECRET, Sites, flow, uplinks
from tests.system.vte.ipsec_world import Node
from tests.tunnel_contract import eventually
from vte_agent.marks import BYPASS, MASK
from vte_agent.tunnels import ipsec_vici
from vte_agent.tunnels.contract import TunnelFailed, TunnelSpec
from vte_agent.tunnels.ipsec_plan import VXLAN_PORT, plan
from vte_agent.tunnels.ipsec_vici import Vici

TCP_PORT = 9021


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


def test_tunnels_over_two_uplinks_are_up_within_a_second_and_a_cut_of_one_is_nothing_to_the_other(
    sites: Sites,
) -> None:
    for uplink in ("up0", "up1"):
        for node in (0, 1):
            sites.create(node, uplink)
        sites.connect(1, uplink)
        before_s = time.monotonic()
        sites.connect(0, uplink)
        assert eventually(partial(sites.is_up, uplink), 1.0)
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
            for _ in range(60):
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
    before = [counted(node, "Ip")["FragCreates"] for node in sites.nodes]
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
    assert [counted(node, "Ip")["FragCreates"] for node in sites.nodes] == before


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


def test_a_charon_that_hangs_is_noticed_and_made_anew(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    sites.join("up0")
    hung = sites.nodes[0].charon()
    os.kill(hung, signal.SIGSTOP)
    with sites.nodes[0].at() as tunnels, monkeypatch.context() as quick:
        quick.setattr(ipsec_vici, "ANSWER_WITHIN_S", 0.5)
        assert tunnels.read() == {}
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
    assert counted(sites.nodes[0], "Icmp")["InEchos"] == 0
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
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~(total % 0xFFFF) & 0xFFFF


def counted(node: Node, protocol: str) -> dict[str, int]:
    """The kernel's counters of a protocol."""
    head, values = (line.split()[1:] for line in node.run("grep", f"^{protocol}:", "/proc/net/snmp").splitlines())
    return {name: int(value) for name, value in zip(head, values, strict=True)}


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


def test_a_default_route_through_the_tunnel_does_not_catch_what_carries_the_tunnel(sites: Sites) -> None:
    sites.join("up0")
    node, device = sites.nodes[0], sites.spec(0, "up0").device
    rule = ["pref", "7601", "not", "fwmark", f"{BYPASS}/{MASK}", "lookup", "7600"]
    node.run("ip", "route", "add", "default", "dev", device, "table", "7600")
    node.run("ip", "rule", "add", *rule)
    try:
        assert sites.passes("up0")
        sites.nodes[1].kill()
        sites.create(1, "up0")
        sites.connect(1, "up0")
        assert eventually(lambda: sites.is_up("up0"), 8.0) and sites.passes("up0")
    finally:
        node.run("ip", "rule", "del", *rule)


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
    monkeypatch.setattr("vte_agent.tunnels.ipsec_process._DIRECTORIES", ("/nowhere",))
    node = Node(sites.nodes[0].enclosure, sites.nodes[0].directory)
    with node.at() as tunnels, pytest.raises(TunnelFailed, match="apt-get install libcharon-extra-plugins"):
        tunnels.create(sites.spec(0, "up0"))
    node.tunnels.close()
