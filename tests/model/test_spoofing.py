"""On any fabric, a host that is bound to its addresses sends as itself or not at all."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stitching.match import ETH_ARP, ETH_IPV4, ETH_IPV6, ICMPV6, NEIGHBOUR_SOLICITATION, TCP, UDP
from stitching.network import Host, Network
from stitching.pipeline import default_rules
from stitching.spoofing import link_local
from stitching.vnet import Directory, Member, SpoofGuard, VNet
from tests.model.fabric import Lab, labs
from tests.model_switch import BROADCAST, Fate, ModelNetwork, Packet

on_any_fabric = settings(deadline=None, max_examples=60)
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:ee:ee")
NO_ADDRESS = "0.0.0.0"  # noqa: S104  # what a host sends from that has none
V4 = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.9")
V6 = ("fd00::1", "fd00::2", "fe80::1", link_local(MACS[0]))


def guarded(lab: Lab, guard: SpoofGuard, *, declared: bool) -> tuple[Network, Directory]:
    """The same fabric with all hosts in one network; each has an IPv4 and an IPv6 address."""
    hosts = {
        mac: replace(host, ips=host.ips | {f"fd00::{mac[-2:]}".replace("::0", "::")})
        for mac, host in lab.network.hosts.items()
    }
    members = tuple(
        Member(mac, f"h{n}", ips=tuple(sorted(host.ips)) if declared else ())
        for n, (mac, host) in enumerate(hosts.items())
    )
    return replace(lab.network, hosts=hosts), Directory.of([VNet("v", members, (), guard)])


def send(network: Network, directory: Directory, source: Host, packet: Packet) -> Fate:
    rules = ModelNetwork(network, default_rules(network, directory))
    return rules.inject(source.dpid, source.port_no, packet)


def got_in(fate: Fate) -> bool:
    return bool(fate.delivered or fate.punted or fate.crossed)


LABS = labs(least_switches=2, least_hosts=2, loose_ends=False)
BINDING = st.sampled_from([(SpoofGuard.DECLARED, True), (SpoofGuard.STRICT, True), (SpoofGuard.STRICT, False)])


@on_any_fabric
@given(LABS, BINDING, st.sampled_from(V4), st.sampled_from(MACS))
def test_ipv4_and_arp_leave_a_bound_host_with_its_own_addresses_only(
    lab: Lab, binding: tuple[SpoofGuard, bool], ip: str, mac: str
) -> None:
    network, directory = guarded(lab, binding[0], declared=binding[1])
    source, target, *_ = network.hosts.values()
    own = ip in source.ips
    fate = send(
        network, directory, source, Packet(source.mac, BROADCAST, ETH_ARP, arp_op=1, arp_spa=ip, arp_sha=mac)
    )
    assert fate.punted == ((source.dpid,) if own and mac == source.mac else ())
    packet = Packet(source.mac, target.mac, ETH_IPV4, ip_proto=TCP, ip_src=ip, src_port=1, dst_port=2)
    fate = send(network, directory, source, packet)
    assert fate.delivered == ((target.port,) if own and target.port != source.port else ())


@on_any_fabric
@given(LABS, BINDING, st.sampled_from([*V6, "::"]), st.sampled_from([*MACS, "00:00:00:00:00:00"]))
def test_ipv6_and_neighbour_discovery_leave_a_bound_host_with_its_own_addresses_only(
    lab: Lab, binding: tuple[SpoofGuard, bool], ip: str, mac: str
) -> None:
    network, directory = guarded(lab, binding[0], declared=binding[1])
    source, target, *_ = network.hosts.values()
    own = ip in source.ips or ip == link_local(source.mac)
    packet = Packet(source.mac, target.mac, ETH_IPV6, ip_proto=UDP, ip_src=ip, src_port=1, dst_port=2)
    assert got_in(send(network, directory, source, packet)) == (own and target.port != source.port)
    asks = Packet(
        source.mac, "33:33:ff:00:00:01", ETH_IPV6, ip_proto=ICMPV6, icmp_type=NEIGHBOUR_SOLICITATION, ip_src=ip,
        nd_sll=mac,
    )  # fmt: skip
    may_ask = (own or ip == "::") and mac in (source.mac, "00:00:00:00:00:00")
    assert got_in(send(network, directory, source, asks)) == may_ask
    if ip != "::":
        says = Packet(
            source.mac, target.mac, ETH_IPV6, ip_proto=ICMPV6, icmp_type=136, ip_src=ip, nd_target=ip
        )  # fmt: skip
        assert got_in(send(network, directory, source, says)) == (own and target.port != source.port)


@on_any_fabric
@given(LABS, BINDING)
def test_a_bound_host_may_ask_for_an_address_before_it_has_one(lab: Lab, binding: tuple[SpoofGuard, bool]) -> None:
    network, directory = guarded(lab, binding[0], declared=binding[1])
    source, *_ = network.hosts.values()
    asks = Packet(source.mac, BROADCAST, ETH_IPV4, ip_proto=UDP, ip_src=NO_ADDRESS, src_port=68, dst_port=67)
    rules = ModelNetwork(network, default_rules(network, directory))
    assert rules.switches[source.dpid].outputs(source.port_no, asks) != [] or len(network.hosts) < 2
    other = replace(asks, dst_port=53)
    assert rules.switches[source.dpid].outputs(source.port_no, other) == []
    probe = Packet(source.mac, BROADCAST, ETH_ARP, arp_op=1, arp_spa=NO_ADDRESS, arp_sha=source.mac)
    assert rules.inject(source.dpid, source.port_no, probe).punted == (source.dpid,)


@on_any_fabric
@given(LABS, st.sampled_from([(SpoofGuard.MAC, True), (SpoofGuard.OFF, True), (SpoofGuard.DECLARED, False)]))
def test_a_host_that_is_not_bound_may_use_any_address(lab: Lab, binding: tuple[SpoofGuard, bool]) -> None:
    network, directory = guarded(lab, binding[0], declared=binding[1])
    source, target, *_ = network.hosts.values()
    packet = Packet(source.mac, target.mac, ETH_IPV4, ip_proto=TCP, ip_src=V4[-1], src_port=1, dst_port=2)
    assert got_in(send(network, directory, source, packet)) == (target.port != source.port)
