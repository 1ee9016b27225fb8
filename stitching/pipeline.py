"""The rules every switch has before any stitch: who may send, to whom, and the shortest way there.

    0 EDGE      probes and unknown senders to the controller, known senders on to 1, fabric ports on to 3
    1 SEGMENT   at the sender's switch: within its virtual network or nowhere; counts every demand
    2 METER     at the sender's switch too: caps on what a network sends
    3 STITCH    stitches; what belongs to none goes on to 4
    4 FORWARD   shortest paths to every host; broadcast along one tree to the ports of the same network

Segmentation is decided once, where a packet enters, so the rules behind it need to know destinations only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache, lru_cache

import numpy as np

from pathing import shortest_paths_from, shortest_paths_to
from stitching import cookie
from stitching.cookie import Kind
from stitching.match import ETH_ARP, ETH_IPV6, ETH_LLDP, ETH_PROBE, ICMPV6, MULTICAST, VLAN_PRESENT, L3Match, Match
from stitching.network import Host, LinkKey, Network, PortId, node_name, reverse
from stitching.rules import PORT_CONTROLLER, Entry, EntryKey, FlowRule, Output, Table, rule_set
from stitching.vnet import Directory

WHOLE_PACKET = 0xFFFF
FIRST_BYTES = 128
"""Enough of an unknown sender's packet to read its Ethernet, ARP, IP and neighbour discovery addresses."""

NEIGHBOUR_SOLICITATION = 135

LEAST_LABEL = 2048
"""VLAN ids from here on are labels of paths inside the fabric: hosts may use those below."""

MOST_LABEL = 4094

LABELLED = Match(vlan_vid=VLAN_PRESENT | LEAST_LABEL, vlan_mask=VLAN_PRESENT | LEAST_LABEL)
"""Every packet that carries a label."""


def default_rules(network: Network, directory: Directory) -> dict[int, dict[EntryKey, Entry]]:
    """All rules but those of stitches, per switch."""
    rules: dict[int, list[FlowRule]] = {dpid: [] for dpid in network.dpids}
    for dpid, port_no in network.fabric_ports:
        rules[dpid].append(_fabric_rule(port_no))
    by_vnet: dict[str, list[Host]] = defaultdict(list)
    for mac in sorted(network.hosts):
        by_vnet[directory.vnet_of(network.hosts[mac])].append(network.hosts[mac])
    tree = broadcast_tree(network)
    for hosts in by_vnet.values():
        for host in hosts:
            rules[host.dpid].extend(_sender_rules(host, hosts))
        for dpid, rule in _broadcast_rules(hosts, tree, network):
            rules[dpid].append(rule)
    for dpid, rule in _forward_rules(network):
        rules[dpid].append(rule)
    base = _base_set()
    return {dpid: {**base, **rule_set(switch_rules)} for dpid, switch_rules in rules.items()}


@cache
def _base_set() -> dict[EntryKey, Entry]:
    """The same objects for every switch: comparing a thousand of them then costs next to nothing."""
    return rule_set(_base_rules())


@lru_cache(maxsize=4096)
def _fabric_rule(port_no: int) -> FlowRule:
    match = Match(in_port=port_no)
    return FlowRule(Table.EDGE, 700, match, goto=Table.STITCH, cookie=cookie.pack(Kind.BASE))


def _base_rules() -> Iterator[FlowRule]:
    base = cookie.pack(Kind.BASE)
    to_controller = (Output(PORT_CONTROLLER, WHOLE_PACKET),)
    yield FlowRule(Table.EDGE, 1000, Match(eth_type=ETH_LLDP), to_controller, cookie=base)
    yield FlowRule(
        Table.EDGE, 900, Match(in_port=PORT_CONTROLLER, eth_type=ETH_PROBE), goto=Table.STITCH, cookie=base
    )
    # Fabric ports come in between (700). What is left here is a host forging a probe.
    yield FlowRule(Table.EDGE, 600, Match(eth_type=ETH_PROBE), cookie=base)
    # So is this one forging a label.
    yield FlowRule(Table.EDGE, 650, LABELLED, cookie=base)
    yield FlowRule(Table.EDGE, 0, Match(), (Output(PORT_CONTROLLER, FIRST_BYTES),), cookie=base)
    yield FlowRule(Table.SEGMENT, 300, Match(eth_type=ETH_ARP), to_controller, cookie=base)
    solicitation = Match(eth_type=ETH_IPV6, l3=L3Match(ip_proto=ICMPV6, icmp_type=NEIGHBOUR_SOLICITATION))
    yield FlowRule(Table.SEGMENT, 300, solicitation, to_controller, cookie=base)
    # The default deny between virtual networks: a rule, so that what it dropped is counted.
    yield FlowRule(Table.SEGMENT, 0, Match(), cookie=base)
    yield FlowRule(Table.METER, 0, Match(), goto=Table.STITCH, cookie=base)
    yield FlowRule(Table.STITCH, 0, Match(), goto=Table.FORWARD, cookie=base)
    # Its path is gone: on the shortest way it would reach the host with its label on.
    yield FlowRule(Table.STITCH, 100, LABELLED, cookie=base)
    # A probe proves the rules of its stitch: it must not reach the far end on the shortest way instead.
    yield FlowRule(Table.FORWARD, 200, Match(eth_type=ETH_PROBE), cookie=base)
    yield FlowRule(Table.FORWARD, 0, Match(), cookie=base)


def _sender_rules(host: Host, vnet_hosts: list[Host]) -> Iterator[FlowRule]:
    """What a host may send, at its own switch: one counted rule per host it may reach."""
    segment = cookie.pack(Kind.SEGMENT)
    yield FlowRule(
        Table.EDGE,
        500,
        Match(in_port=host.port_no, eth_src=host.mac),
        goto=Table.SEGMENT,
        cookie=cookie.pack(Kind.EDGE),
    )
    for other in vnet_hosts:
        if other.mac != host.mac:
            match = Match(eth_src=host.mac, eth_dst=other.mac)
            yield FlowRule(Table.SEGMENT, 200, match, goto=Table.METER, cookie=segment)
    group = Match(eth_src=host.mac, eth_dst=MULTICAST, eth_dst_mask=MULTICAST)
    yield FlowRule(Table.SEGMENT, 100, group, goto=Table.STITCH, cookie=cookie.pack(Kind.BROADCAST))


def _forward_rules(network: Network) -> Iterator[tuple[int, FlowRule]]:
    """The next hop to every host, at every switch that can reach it."""
    forward = cookie.pack(Kind.FORWARD)
    towards: dict[int, dict[int, LinkKey]] = {}
    for mac in sorted(network.hosts):
        host = network.hosts[mac]
        if host.dpid not in towards:
            towards[host.dpid] = next_links(network, host.dpid)
        ports = (*(key[:2] for key in towards[host.dpid].values()), host.port)
        for dpid, port_no in ports:
            match = Match(eth_dst=host.mac)
            yield dpid, FlowRule(Table.FORWARD, 100, match, (Output(port_no),), cookie=forward)


def _broadcast_rules(
    hosts: list[Host], tree: dict[int, frozenset[int]], network: Network
) -> Iterator[tuple[int, FlowRule]]:
    """Broadcast of these senders: out of every tree port, and every edge port of the same virtual network.

    The port a packet came in by is never sent back to: OpenFlow leaves it out of its own accord.
    """
    broadcast = cookie.pack(Kind.BROADCAST)
    edges: dict[int, set[int]] = defaultdict(set)
    for host in hosts:
        # A port that turned out to lead to a switch may still have hosts for a moment.
        if host.port not in network.fabric_ports:
            edges[host.dpid].add(host.port_no)
    for dpid in network.dpids:
        outputs = tuple(Output(port_no) for port_no in sorted(tree[dpid] | edges[dpid]))
        for host in hosts:
            group = Match(eth_src=host.mac, eth_dst=MULTICAST, eth_dst_mask=MULTICAST)
            yield dpid, FlowRule(Table.FORWARD, 50, group, outputs, cookie=broadcast)


def next_links(network: Network, target: int) -> dict[int, LinkKey]:
    """The link by which each other switch reaches `target` on the shortest way; unreachable ones are absent."""
    topology = network.topology
    tree = shortest_paths_to(topology, node_name(target))
    links = {}
    for name, link_id in zip(topology.node_names, tree.link, strict=True):
        if link_id >= 0:
            links[int(name, 16)] = network.link_order[link_id]
    return links


def broadcast_tree(network: Network) -> dict[int, frozenset[int]]:
    """The fabric ports of each switch that carry broadcast: one tree per connected part of the fabric.

    Only links that work in both directions are part of it.
    """
    ports: dict[int, set[int]] = {dpid: set() for dpid in network.dpids}
    reached: set[int] = set()
    topology = network.topology
    both_ways = np.array([reverse(key) in network.links for key in network.link_order], dtype=bool)
    weight = np.where(both_ways, _latencies(network), np.inf)
    for dpid in network.dpids:
        if dpid in reached:
            continue
        tree = shortest_paths_from(topology, node_name(dpid), weight)
        reached.add(dpid)
        for name, link_id in zip(topology.node_names, tree.link, strict=True):
            if link_id >= 0:
                source_dpid, source_port, target_dpid, target_port = network.link_order[link_id]
                ports[source_dpid].add(source_port)
                ports[target_dpid].add(target_port)
                reached.add(int(name, 16))
    return {dpid: frozenset(numbers) for dpid, numbers in ports.items()}


def edge_ports(network: Network) -> Iterator[PortId]:
    """Ports that are up and lead to no other switch."""
    for dpid, ports in network.switches.items():
        for port in ports.values():
            if port.up and (dpid, port.port_no) not in network.fabric_ports:
                yield dpid, port.port_no


def _latencies(network: Network) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Latency per link in ms; where it is unknown, twice the worst that is known."""
    known = [link.latency_ms for link in network.links.values() if link.latency_ms is not None]
    unknown = 2 * max(known, default=0.5)
    latencies = (network.links[key].latency_ms for key in network.link_order)
    return np.array([unknown if latency is None else latency for latency in latencies], dtype=np.float64)
