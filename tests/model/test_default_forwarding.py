"""Default forwarding on any fabric: within a virtual network everything arrives once, beyond it nothing does."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stitching.match import ETH_ARP, ETH_IPV6, ETH_LLDP, ETH_PROBE, ICMPV6, NEIGHBOUR_SOLICITATION
from stitching.neighbour_rules import PROBER
from stitching.network import Host, PortId
from stitching.pipeline import default_rules, edge_ports
from stitching.routes import default_routes
from tests.model.fabric import Fabric, Lab, labs
from tests.model_switch import BROADCAST, Fate, ModelNetwork, Packet

UNKNOWN_MAC = "02:00:00:00:ff:ff"
ALL_NODES = "33:33:00:00:00:01"
ETH_TYPES = st.sampled_from([0x0800, ETH_IPV6, 0x8100, 0x8847])

on_any_fabric = settings(deadline=None, max_examples=100)


def model(lab: Lab) -> ModelNetwork:
    return ModelNetwork(lab.network, default_rules(lab.network, lab.directory))


def send(network: ModelNetwork, source: Host, packet: Packet) -> Fate:
    return network.inject(source.dpid, source.port_no, packet)


def ports_of(lab: Lab, sender: Host) -> set[PortId]:
    """The ports of the sender's virtual network but its own, where hosts hear it anyway."""
    return {host.port for host in lab.hosts if lab.vnet(host) == lab.vnet(sender)} - {sender.port}


@on_any_fabric
@given(labs(), ETH_TYPES)
def test_every_host_reaches_every_other_of_its_network_exactly_once(lab: Lab, eth_type: int) -> None:
    network = model(lab)
    for source, target in lab.friends():
        fate = send(network, source, Packet(source.mac, target.mac, eth_type))
        # Two hosts on one port hear each other without the switch.
        expected = () if source.port == target.port else (target.port,)
        assert (fate.delivered, fate.punted, fate.looped) == (expected, (), False)


@on_any_fabric
@given(labs(), ETH_TYPES)
def test_no_host_of_another_network_is_ever_reached(lab: Lab, eth_type: int) -> None:
    network = model(lab)
    for source, target in lab.strangers():
        fate = send(network, source, Packet(source.mac, target.mac, eth_type))
        assert (fate.delivered, fate.punted, fate.crossed) == ((), (), ())


@on_any_fabric
@given(labs(), st.sampled_from([BROADCAST, ALL_NODES, "01:00:5e:00:00:fb"]))
def test_broadcast_reaches_every_port_of_the_network_once_and_no_other(lab: Lab, group: str) -> None:
    network = model(lab)
    for source in lab.hosts:
        fate = send(network, source, Packet(source.mac, group))
        assert fate.delivered == tuple(sorted(ports_of(lab, source)))
        assert (fate.punted, fate.looped) == ((), False)


@on_any_fabric
@given(labs())
def test_a_packet_takes_the_route_that_default_routes_tells(lab: Lab) -> None:
    network = model(lab)
    routes = default_routes(lab.network, lab.directory)
    assert set(routes) == {(source.mac, target.mac) for source, target in lab.friends()}
    for source, target in lab.friends():
        assert send(network, source, Packet(source.mac, target.mac)).crossed == routes[source.mac, target.mac]


@on_any_fabric
@given(labs())
def test_what_everybody_or_nobody_is_asked_goes_to_the_controller_at_the_first_switch_only(lab: Lab) -> None:
    network = model(lab)
    for source in lab.hosts:
        for packet in (
            Packet(source.mac, BROADCAST, ETH_ARP),
            Packet(source.mac, UNKNOWN_MAC, ETH_ARP),
            Packet(source.mac, "33:33:ff:00:00:01", ETH_IPV6, ICMPV6, NEIGHBOUR_SOLICITATION),
        ):
            fate = send(network, source, packet)
            assert (fate.punted, fate.delivered, fate.crossed) == ((source.dpid,), (), ())


@on_any_fabric
@given(labs())
def test_what_a_host_asks_another_alone_reaches_that_host_and_the_controller_hears_it_once(lab: Lab) -> None:
    network = model(lab)
    for source in lab.hosts:
        for target in lab.hosts:
            arrives = (target.port,) if (source, target) in set(lab.friends()) else ()
            for packet in (
                Packet(source.mac, target.mac, ETH_ARP),
                Packet(source.mac, target.mac, ETH_IPV6, ICMPV6, NEIGHBOUR_SOLICITATION),
            ):
                fate = send(network, source, packet)
                assert fate.punted == (source.dpid,)
                # Two hosts on one port hear each other without the switch.
                assert fate.delivered == (() if source.port == target.port else arrives)


@on_any_fabric
@given(labs())
def test_an_answer_to_the_controller_reaches_it_and_nobody_else(lab: Lab) -> None:
    network = ModelNetwork(lab.network, default_rules(lab.network, lab.directory, undecided=9))
    for source in lab.hosts:
        fate = send(network, source, Packet(source.mac, PROBER, ETH_ARP))
        assert (fate.punted, fate.delivered, fate.crossed) == ((source.dpid,), (), ())
        assert network.switches[source.dpid].outputs(source.port_no, Packet(source.mac, PROBER, ETH_ARP)) != []


@on_any_fabric
@given(labs(), st.data())
def test_who_is_not_known_on_a_port_reaches_the_controller_and_nobody_else(lab: Lab, data: st.DataObject) -> None:
    network = model(lab)
    for dpid, port_no in edge_ports(lab.network):
        known = {host.mac for host in lab.hosts if host.port == (dpid, port_no)}
        elsewhere = [UNKNOWN_MAC, *(mac for mac in lab.network.hosts if mac not in known)]
        target = data.draw(st.sampled_from([BROADCAST, UNKNOWN_MAC, *lab.network.hosts]))
        fate = network.inject(dpid, port_no, Packet(data.draw(st.sampled_from(elsewhere)), target))
        assert (fate.punted, fate.delivered, fate.crossed) == ((dpid,), (), ())


@on_any_fabric
@given(labs(least_hosts=1), st.data())
def test_a_probe_that_a_host_forges_goes_nowhere(lab: Lab, data: st.DataObject) -> None:
    network = model(lab)
    macs = st.sampled_from([UNKNOWN_MAC, *lab.network.hosts])
    for dpid, port_no in edge_ports(lab.network):
        forged = Packet(data.draw(macs), data.draw(macs), ETH_PROBE)
        fate = network.inject(dpid, port_no, forged)
        assert (fate.punted, fate.delivered, fate.crossed) == ((), (), ())


@on_any_fabric
@given(labs())
def test_lldp_goes_from_any_port_to_the_controller_and_no_further(lab: Lab) -> None:
    network = model(lab)
    for dpid, ports in lab.network.switches.items():
        for port_no in ports:
            for mac in (UNKNOWN_MAC, *lab.network.hosts):
                fate = network.inject(dpid, port_no, Packet(mac, "01:80:c2:00:00:0e", ETH_LLDP))
                assert (fate.punted, fate.delivered, fate.crossed) == ((dpid,), (), ())


def test_a_host_remembered_on_a_port_that_leads_to_a_switch_makes_no_broadcast_loop() -> None:
    fabric = Fabric()
    fabric.join(1, 2)
    host = fabric.host(1)
    link = fabric.join(1, 2)
    network = fabric.network
    stale = Host("02:00:00:00:00:77", link[0], link[1])
    lab = Lab(type(network)(network.switches, network.links, {host.mac: host, stale.mac: stale}), fabric.directory)
    fate = send(model(lab), host, Packet(host.mac, BROADCAST))
    assert (fate.delivered, fate.looped) == ((), False)
    assert len(fate.crossed) == 1


def test_links_of_unknown_capacity_carry_default_traffic() -> None:
    fabric = Fabric()
    link = fabric.join(1, 2, capacity_mbps=None)
    source, target = fabric.host(1), fabric.host(2)
    lab = Lab(fabric.network, fabric.directory)
    assert send(model(lab), source, Packet(source.mac, target.mac)).crossed == (link,)
