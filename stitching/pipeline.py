"""The rules every switch has before any stitch: who may send, to whom, and the shortest way there.

    0 EDGE      probes and unknown senders to the controller, known senders on to 1, fabric ports on to 3;
                what a known sender asks for addresses is copied to the controller
    1 SEGMENT   at the sender's switch: within its virtual network or nowhere; counts every demand
    2 METER     at the sender's switch too: caps on what a network sends
    3 STITCH    stitches; what belongs to none goes on to 4
    4 FORWARD   shortest paths to every host; broadcast along one tree to the ports of the same network

Segmentation is decided once, where a packet enters, so the rules behind it need to know destinations only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from itertools import chain

import numpy as np

from pathing import shortest_paths_from, shortest_paths_to
from stitching import cookie
from stitching.cookie import Kind
from stitching.match import ETH_LLDP, ETH_PROBE, MULTICAST, VLAN_PRESENT, Match
from stitching.neighbour_rules import COPY, not_flooded
from stitching.network import Host, LinkKey, Network, PortId, node_name, reverse
from stitching.policy.compiling import segment_rules, way_rules
from stitching.policy.ruling import Ruling
from stitching.rules import PORT_CONTROLLER, Entry, EntryKey, FlowRule, Output, PopLabel, Table, rule_set
from stitching.spoofing import edge_rules
from stitching.vnet import Directory

FIRST_BYTES = 128
"""Enough of an unknown sender's packet to read its Ethernet, ARP, IP and neighbour discovery addresses."""

LEAST_LABEL = 2048
"""VLAN ids from here on are labels of paths inside the fabric: hosts may use those below."""

LABELLED = Match(vlan_vid=VLAN_PRESENT | LEAST_LABEL, vlan_mask=VLAN_PRESENT | LEAST_LABEL)
"""Every packet that carries a label."""


CLASS_LABEL = 4094
"""The VLAN id of packets that take the shortest way and carry the mark of a guarantee: the priority of the tag.

They go where packets without it go, and lose it where they leave. The DSCP of hosts is neither used nor changed.
"""

_MARKED = Match(vlan_vid=VLAN_PRESENT | CLASS_LABEL)


def default_rules(
    network: Network, directory: Directory, ruling: Ruling | None = None, undecided: int | None = None
) -> dict[int, dict[EntryKey, Entry]]:
    """All rules but those of stitches, per switch; without a ruling, as if there were no policy.

    Packets to an address that no known host has are dropped, or sent on to the table `undecided`. What is between
    virtual networks is denied either way.
    """
    ruling = ruling or Ruling(directory=directory)
    towards = {dpid: next_links(network, dpid) for dpid in sorted({host.dpid for host in network.hosts.values()})}
    rules: dict[int, list[FlowRule]] = {dpid: [] for dpid in network.dpids}
    for dpid, port_no in network.fabric_ports:
        rules[dpid].append(_fabric_rule(port_no))
    by_vnet: dict[str, list[Host]] = defaultdict(list)
    for mac in sorted(network.hosts):
        by_vnet[directory.vnet_of(network.hosts[mac])].append(network.hosts[mac])
    tree = broadcast_tree(network)
    for hosts in by_vnet.values():
        for host in hosts:
            rules[host.dpid].extend(_sender_rules(host, directory))
        for dpid, rule in _broadcast_rules(hosts, tree, network):
            rules[dpid].append(rule)
    everybody = [network.hosts[mac] for mac in sorted(network.hosts)]

    def way(source: Host, target: Host) -> tuple[LinkKey, ...] | None:
        return walk(source.dpid, target.dpid, towards[target.dpid])

    for dpid, rule in chain(
        segment_rules(everybody, ruling), _forward_rules(network, towards), way_rules(everybody, ruling, way)
    ):
        rules[dpid].append(rule)
    base = _base_set()
    if undecided is not None:
        base = base | rule_set(_undecided_rules(undecided))
        for dpid in {host.dpid for host in network.hosts.values()}:
            rules[dpid].extend(_denied(mac) for mac in network.hosts)
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
    yield FlowRule(Table.EDGE, 1000, Match(eth_type=ETH_LLDP), COPY, cookie=base)
    yield FlowRule(
        Table.EDGE, 900, Match(in_port=PORT_CONTROLLER, eth_type=ETH_PROBE), goto=Table.STITCH, cookie=base
    )
    # Fabric ports come in between (700). What is left here is a host forging a probe.
    yield FlowRule(Table.EDGE, 600, Match(eth_type=ETH_PROBE), cookie=base)
    # So is this one forging a label.
    yield FlowRule(Table.EDGE, 650, LABELLED, cookie=base)
    yield FlowRule(Table.EDGE, 0, Match(), (Output(PORT_CONTROLLER, FIRST_BYTES),), cookie=base)
    yield from not_flooded()
    # The default deny between virtual networks: a rule, so that what it dropped is counted.
    yield FlowRule(Table.SEGMENT, 0, Match(), cookie=base)
    yield FlowRule(Table.METER, 0, Match(), goto=Table.STITCH, cookie=base)
    yield FlowRule(Table.STITCH, 0, Match(), goto=Table.FORWARD, cookie=base)
    # Its path is gone: on the shortest way it would reach the host with its label on.
    yield FlowRule(Table.STITCH, 100, LABELLED, cookie=base)
    yield FlowRule(Table.STITCH, 120, _MARKED, goto=Table.FORWARD, cookie=base)
    # Segments give out by rules of their own (300) what has come to its switch; nothing else is labelled here.
    for match in _labels_but_marks():
        yield FlowRule(Table.FORWARD, 250, match, cookie=base)
    # A probe proves the rules of its stitch: it must not reach the far end on the shortest way instead.
    yield FlowRule(Table.FORWARD, 200, Match(eth_type=ETH_PROBE), cookie=base)
    yield FlowRule(Table.FORWARD, 0, Match(), cookie=base)


def _labels_but_marks() -> Iterator[Match]:
    """Every label but CLASS_LABEL, the only one in use of whose bits 1 to 10 none is 0."""
    for bit in range(1, LEAST_LABEL.bit_length() - 1):
        yield LABELLED._replace(vlan_mask=VLAN_PRESENT | LEAST_LABEL | 1 << bit)


def _undecided_rules(table: int) -> Iterator[FlowRule]:
    base = cookie.pack(Kind.BASE)
    for miss in (Table.SEGMENT, Table.FORWARD):
        yield FlowRule(miss, 0, Match(), goto=table, cookie=base)


def _denied(mac: str) -> FlowRule:
    """The default deny where not all that is left is denied: what is to a known host was not allowed before."""
    return FlowRule(Table.SEGMENT, 50, Match(eth_dst=mac), cookie=cookie.pack(Kind.BASE))


def _sender_rules(host: Host, directory: Directory) -> Iterator[FlowRule]:
    """Who a host is, at its own switch; and its broadcast."""
    yield from edge_rules(host, directory)
    group = Match(eth_src=host.mac, eth_dst=MULTICAST, eth_dst_mask=MULTICAST)
    yield FlowRule(Table.SEGMENT, GROUPS, group, goto=Table.STITCH, cookie=cookie.pack(Kind.BROADCAST))


GROUPS = 30_000
"""The priority in table 1 of broadcast and multicast: a policy is about single receivers."""


def _forward_rules(
    network: Network, towards: Mapping[int, Mapping[int, LinkKey]]
) -> Iterator[tuple[int, FlowRule]]:
    """The next hop to every host, at every switch that can reach it."""
    forward = cookie.pack(Kind.FORWARD)
    for mac in sorted(network.hosts):
        host = network.hosts[mac]
        ports = (*(key[:2] for key in towards[host.dpid].values()), host.port)
        for dpid, port_no in ports:
            match = Match(eth_dst=host.mac)
            yield dpid, FlowRule(Table.FORWARD, 100, match, (Output(port_no),), cookie=forward)
        marked = _MARKED._replace(eth_dst=host.mac)
        yield host.dpid, FlowRule(Table.FORWARD, 110, marked, (PopLabel(), Output(host.port_no)), cookie=forward)


def walk(source: int, target: int, next_link: Mapping[int, LinkKey]) -> tuple[LinkKey, ...] | None:
    """The links from one switch to another, by the one each takes towards it; None where there is no way."""
    way = []
    at = source
    while at != target:
        key = next_link.get(at)
        if key is None:
            return None
        way.append(key)
        at = key[2]
    return tuple(way)


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
