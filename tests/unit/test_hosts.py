"""Hosts: read from any bytes, learned where they are, bounded whatever is sent."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.discovering.hosts import HostTable, Sender, Sighting, sender
from stitching.network import Host

MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
BROADCAST = "ff:ff:ff:ff:ff:ff"
P1, P2 = (1, 1), (2, 1)


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ethernet(
    source: str, eth_type: int, payload: bytes, target: str = BROADCAST, vlan: int | None = None
) -> bytes:
    tag = struct.pack("!HH", 0x8100, vlan) if vlan is not None else b""
    return raw(target) + raw(source) + tag + struct.pack("!H", eth_type) + payload


def arp(source: str, ip: str, inside: str | None = None, operation: int = 1) -> bytes:
    addresses = raw(inside or source) + ipaddress.IPv4Address(ip).packed + bytes(10)
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + addresses


def ipv4(ip: str) -> bytes:
    return bytes([0x45]) + bytes(11) + ipaddress.IPv4Address(ip).packed + bytes(4)


def ipv6(ip: str, payload: bytes = b"", hop_limit: int = 255, protocol: int = 58) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, hop_limit)
    return head + ipaddress.IPv6Address(ip).packed + bytes(16) + payload


def neighbour(kind: int, target: str, option: bytes = b"") -> bytes:
    return bytes([kind, 0]) + bytes(6) + ipaddress.IPv6Address(target).packed + option


@given(st.binary(max_size=120))
def test_arbitrary_bytes_never_raise(frame: bytes) -> None:
    who = sender(frame)
    assert who is None or frame[6] & 1 == 0


@given(st.sampled_from([0x0800, 0x0806, 0x86DD, 0x8100]), st.binary(max_size=100))
def test_arbitrary_payloads_never_raise_and_name_only_hosts(eth_type: int, payload: bytes) -> None:
    who = sender(ethernet(MAC_A, eth_type, payload))
    if who is not None and who.ip is not None:
        address = ipaddress.ip_address(who.ip)
        assert not address.is_multicast and not address.is_unspecified and not address.is_loopback
        assert str(address) == who.ip
    assert who is None or who.mac == MAC_A


@pytest.mark.parametrize("vlan", [None, 7])
def test_arp_claims_an_address(vlan: int | None) -> None:
    assert sender(ethernet(MAC_A, 0x0806, arp(MAC_A, "10.0.0.1"), vlan=vlan)) == Sender(MAC_A, "10.0.0.1", True)


@pytest.mark.parametrize("ip", ["0.0.0.0", "127.0.0.1", "224.0.0.5", "255.255.255.255"])  # noqa: S104
def test_addresses_of_nobody_are_ignored(ip: str) -> None:
    assert sender(ethernet(MAC_A, 0x0806, arp(MAC_A, ip))) == Sender(MAC_A, None, True)
    assert sender(ethernet(MAC_A, 0x0800, ipv4(ip))) == Sender(MAC_A)


def test_arp_for_somebody_else_names_only_its_sender() -> None:
    assert sender(ethernet(MAC_A, 0x0806, arp(MAC_A, "10.0.0.1", inside=MAC_B))) == Sender(MAC_A)


def test_malformed_headers_name_nobody() -> None:
    assert sender(ethernet(MAC_A, 0x0806, arp(MAC_A, "10.0.0.1")[:27])) is None
    assert sender(ethernet(MAC_A, 0x0806, arp(MAC_A, "10.0.0.1", operation=9))) is None
    assert sender(ethernet(MAC_A, 0x0800, b"\x65" + ipv4("10.0.0.1")[1:])) is None
    assert sender(ethernet(MAC_A, 0x86DD, ipv6("2001:db8::1")[:39])) is None


def test_an_ip_packet_suggests_an_address() -> None:
    assert sender(ethernet(MAC_A, 0x0800, ipv4("10.0.0.1"))) == Sender(MAC_A, "10.0.0.1")
    assert sender(ethernet(MAC_A, 0x86DD, ipv6("2001:db8::1", protocol=17))) == Sender(MAC_A, "2001:db8::1")


def test_neighbour_discovery_claims_an_address() -> None:
    solicitation = ipv6("2001:db8::1", neighbour(135, "2001:db8::2"))
    assert sender(ethernet(MAC_A, 0x86DD, solicitation)) == Sender(MAC_A, "2001:db8::1", True)
    advertisement = ipv6("fe80::1", neighbour(136, "2001:db8::1", b"\x02\x01" + raw(MAC_A)))
    assert sender(ethernet(MAC_A, 0x86DD, advertisement)) == Sender(MAC_A, "2001:db8::1", True)


def test_neighbour_discovery_that_was_routed_or_names_another_mac_claims_nothing() -> None:
    routed = ipv6("2001:db8::1", neighbour(136, "2001:db8::9"), hop_limit=254)
    assert sender(ethernet(MAC_A, 0x86DD, routed)) == Sender(MAC_A, "2001:db8::1", False)
    other = ipv6("2001:db8::1", neighbour(136, "2001:db8::9", b"\x02\x01" + raw(MAC_B)))
    assert sender(ethernet(MAC_A, 0x86DD, other)) == Sender(MAC_A)


def test_duplicate_address_detection_claims_nothing_yet() -> None:
    probe = ipv6("::", neighbour(135, "2001:db8::1"))
    assert sender(ethernet(MAC_A, 0x86DD, probe)) == Sender(MAC_A, None, True)


@pytest.mark.parametrize(
    "frame",
    [
        ethernet("03:00:00:00:00:01", 0x0806, arp("03:00:00:00:00:01", "10.0.0.1")),
        ethernet("00:00:00:00:00:00", 0x0800, ipv4("10.0.0.1")),
        ethernet(MAC_A, 0x88CC, bytes(50), target="01:80:c2:00:00:0e"),
        ethernet(MAC_A, 0x88B5, bytes(50)),
        ethernet(MAC_A, 38, bytes(50), target="01:80:c2:00:00:00"),
    ],
    ids=["group source", "zero source", "lldp", "our own probe", "spanning tree"],
)
def test_frames_that_tell_nothing_of_a_host(frame: bytes) -> None:
    assert sender(frame) is None


def test_a_host_is_learned_with_its_addresses() -> None:
    table = HostTable()
    assert table.see(Sender(MAC_A), P1, 0.0) is Sighting.NEW
    assert table.see(Sender(MAC_A, "10.0.0.1", True), P1, 0.1) is Sighting.ADDRESS
    assert table.see(Sender(MAC_A, "2001:db8::1", True), P1, 0.2) is Sighting.ADDRESS
    assert table.see(Sender(MAC_A, "10.0.0.1", True), P1, 0.3) is None
    assert table.hosts == {MAC_A: Host(MAC_A, 1, 1, frozenset({"10.0.0.1", "2001:db8::1"}))}


def test_a_host_moves_with_its_addresses_but_not_with_every_packet() -> None:
    table = HostTable(move_pause_s=1.0)
    table.see(Sender(MAC_A, "10.0.0.1", True), P1, 0.0)
    assert table.see(Sender(MAC_A), P2, 0.1) is Sighting.MOVED
    assert table.get(MAC_A) == Host(MAC_A, 2, 1, frozenset({"10.0.0.1"}))
    assert table.see(Sender(MAC_A), P1, 0.5) is None
    assert table.see(Sender(MAC_A), P1, 1.2) is Sighting.MOVED
    assert not table.forget_port(P2) and len(table.forget_port(P1)) == 1


def test_a_claimed_address_leaves_the_host_that_had_it() -> None:
    table = HostTable()
    table.see(Sender(MAC_A, "10.0.0.1", True), P1, 0.0)
    assert table.see(Sender(MAC_B, "10.0.0.1", True), P2, 1.0) is Sighting.NEW
    assert table.hosts[MAC_A].ips == frozenset() and table.hosts[MAC_B].ips == {"10.0.0.1"}


def test_a_router_does_not_collect_the_addresses_that_pass_through_it() -> None:
    table = HostTable()
    table.see(Sender(MAC_A, "10.0.0.1", True), P1, 0.0)
    for last in range(2, 50):
        assert table.see(Sender(MAC_A, f"192.0.2.{last}"), P1, 1.0) is None
    table.see(Sender(MAC_B, "10.0.0.1"), P2, 1.0)
    assert table.hosts[MAC_A].ips == {"10.0.0.1"} and table.hosts[MAC_B].ips == frozenset()


def test_a_suggested_address_goes_when_the_host_claims_another() -> None:
    table = HostTable()
    table.see(Sender(MAC_A, "192.0.2.1"), P1, 0.0)
    table.see(Sender(MAC_A, "10.0.0.1", True), P1, 0.0)
    assert table.hosts[MAC_A].ips == {"10.0.0.1"}


def test_only_the_newest_addresses_of_a_host_are_kept() -> None:
    table = HostTable(ips_per_host=4)
    for last in range(1, 9):
        table.see(Sender(MAC_A, f"10.0.0.{last}", True), P1, 0.0)
    assert table.hosts[MAC_A].ips == {f"10.0.0.{last}" for last in range(5, 9)}
    assert table.see(Sender(MAC_B, "10.0.0.1"), P2, 0.0) is Sighting.NEW
    assert table.hosts[MAC_B].ips == {"10.0.0.1"}


def spoofed(number: int) -> Sender:
    return Sender((0x020000000000 + number).to_bytes(6).hex(":"), f"10.1.{number >> 8}.{number & 255}", True)


def test_a_flood_of_made_up_macs_is_bounded_and_pushes_out_nobody() -> None:
    table = HostTable(limit=200, per_port=100)
    table.see(Sender(MAC_A, "10.0.0.1", True), P1, 0.0)
    for number in range(0x100, 0x1100):
        table.see(spoofed(number), P1, 1.0 + number / 1e4)
    assert len(table) == 100 and table.refused == 0x1000 - 99
    assert table.hosts[MAC_A].ips == {"10.0.0.1"}
    assert table.see(Sender(MAC_B), P2, 2.0) is Sighting.NEW


def test_a_full_port_makes_room_for_new_hosts_once_the_old_ones_were_long_gone() -> None:
    table = HostTable(per_port=3, stale_s=300.0)
    for number in range(3):
        table.see(spoofed(number), P1, float(number))
    assert table.see(Sender(MAC_A), P1, 299.0) is None
    assert table.see(Sender(MAC_A), P1, 300.0) is Sighting.NEW
    assert spoofed(0).mac not in table.hosts and len(table) == 3


def test_a_table_that_a_flood_has_filled_makes_room_on_every_port_once_it_is_over() -> None:
    table = HostTable(limit=4, per_port=2, stale_s=300.0)
    for number in range(4):
        table.see(spoofed(number), (1, number // 2), float(number))
    assert table.see(Sender(MAC_A), P2, 299.0) is None
    assert table.see(Sender(MAC_A), P2, 300.0) is Sighting.NEW
    assert spoofed(0).mac not in table.hosts and len(table) == 4


def test_a_full_table_still_lets_hosts_move() -> None:
    table = HostTable(limit=2)
    table.see(Sender(MAC_A), P1, 0.0)
    table.see(Sender(MAC_B), P1, 0.0)
    assert table.see(Sender(MAC_A), P2, 1.0) is Sighting.MOVED


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(0, 4), st.booleans()), max_size=60))
def test_whatever_is_seen_an_address_has_one_host_and_bounds_hold(
    sightings: list[tuple[int, int, int, bool]],
) -> None:
    table = HostTable(limit=5, per_port=3, ips_per_host=2, stale_s=10.0)
    for now_s, (mac, port_no, ip, claimed) in enumerate(sightings):
        before = table.hosts
        who = Sender(spoofed(mac).mac, f"10.0.0.{ip}" if ip else None, claimed)
        changed = table.see(who, (1, port_no), float(now_s))
        assert (changed is not None) <= (before != table.hosts)
        if port_no == 3 and ip == 4:
            table.forget_port((1, 3))
        hosts = table.hosts.values()
        ips = [address for host in hosts for address in host.ips]
        assert len(ips) == len(set(ips)) and len(table) <= 5
        assert all(len(host.ips) <= 2 for host in hosts)
        assert all(sum(host.port == (1, no) for host in hosts) <= 3 for no in (1, 2, 3))


def test_hosts_of_before_a_restart_are_believed() -> None:
    table = HostTable()
    hosts = {MAC_A: Host(MAC_A, 1, 1, frozenset({"10.0.0.1", "10.0.0.2"})), MAC_B: Host(MAC_B, 2, 1)}
    table.restore(hosts.values(), 0.0)
    assert table.hosts == hosts
