"""Lab topologies, their wiring and their names."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mininet_topos.abilene import abilene
from mininet_topos.devices import NAME_MAX
from mininet_topos.topology import BadTopology, LabTopology, from_dataset, grid, line, ring
from mininet_topos.wiring import check_prefix, free_prefix, wire
from pathing.dataset import Dataset
from pathing.topology import Topology

ABILENE_PAIRS = {
    *("ATLA-HSTN", "ATLA-IPLS", "ATLA-WASH", "CHIN-IPLS", "CHIN-NYCM", "DNVR-KSCY", "DNVR-SNVA"),
    *("DNVR-STTL", "HSTN-KSCY", "HSTN-LOSA", "IPLS-KSCY", "LOSA-SNVA", "NYCM-WASH", "SNVA-STTL"),
}


def test_abilene_has_its_eleven_routers_and_fourteen_links() -> None:
    topology = abilene()
    assert len(topology.nodes) == len(topology.hosts) == 11
    assert {f"{link.a}-{link.b}" for link in topology.links} == ABILENE_PAIRS
    assert {link.rate_mbps for link in topology.links} == {10.0, 20.0}


def test_abilene_latency_is_that_of_the_distance() -> None:
    delays = {(link.a, link.b): link.delay_ms for link in abilene().links}
    # New York to Washington is about 335 km, Houston to Los Angeles about 2,200 km; fibre makes 200 km a ms.
    assert delays["NYCM", "WASH"] == pytest.approx(335 / 200, rel=0.02)
    assert delays["HSTN", "LOSA"] == pytest.approx(2200 / 200, rel=0.02)


def test_scale_multiplies_every_rate() -> None:
    assert {link.rate_mbps for link in abilene(0.5).links} == {5.0, 10.0}
    with pytest.raises(BadTopology, match="scale"):
        abilene(0)


@pytest.mark.parametrize("topology", [abilene(), line(5), ring(4), grid(3, 4), line(600)])
def test_dpids_addresses_and_names_are_each_used_once(topology: LabTopology) -> None:
    assert [node.dpid for node in topology.nodes] == list(range(1, len(topology.nodes) + 1))
    assert len({host.mac for host in topology.hosts}) == len({host.ip for host in topology.hosts})
    assert all(
        host.ip.startswith("10.0.") and host.ip.rpartition(".")[2] not in ("0", "255") for host in topology.hosts
    )


@pytest.mark.parametrize(("topology", "links"), [(line(4), 3), (ring(5), 5), (grid(3, 4), 17), (line(1), 0)])
def test_the_small_generators_have_the_links_they_should(topology: LabTopology, links: int) -> None:
    assert len(topology.links) == links


def test_what_cannot_be_a_lab_is_refused_by_name() -> None:
    good = line(3)
    first = good.links[0]
    with pytest.raises(BadTopology, match="s9"):
        replace(good, links=(replace(first, b="s9"),))
    with pytest.raises(BadTopology, match="twice"):
        replace(good, links=(first, replace(first, a=first.b, b=first.a)))
    with pytest.raises(BadTopology, match="same node"):
        replace(good, links=(replace(first, b=first.a),))
    with pytest.raises(BadTopology, match="rate_mbps"):
        replace(good, links=(replace(first, rate_mbps=0.0),))
    with pytest.raises(BadTopology, match="ring"):
        ring(2)


def test_a_dataset_is_scaled_to_the_lab_and_parallel_links_are_joined() -> None:
    network = Topology()
    for name in ("a", "b", "c"):
        network.add_node(name)
    for src, dst, mbps, ms in [
        ("a", "b", 10_000, 3.0),
        ("b", "a", 10_000, 3.0),
        ("a", "b", 10_000, 2.0),
        ("b", "c", 100, None),
        ("c", "b", 100, None),
    ]:
        network.add_link(src, dst, capacity_mbps=mbps, latency_ms=ms)
    lab = from_dataset(Dataset(network, coordinates={"a": (8.0, 50.0)}), "three")
    assert [(link.a, link.b, link.rate_mbps, link.delay_ms) for link in lab.links] == [
        ("a", "b", 20.0, 2.0),
        ("b", "c", 2.0, 2.0),
    ]
    assert (lab.nodes[0].latitude_deg, lab.nodes[0].longitude_deg) == (50.0, 8.0)


def test_ports_count_from_one_hosts_first() -> None:
    wiring = wire(ring(3), "abc")
    assert [(part.host.name, part.port_no, part.device) for part in wiring.hosts] == [
        ("hs1", 1, "abcs1-eth1"),
        ("hs2", 1, "abcs2-eth1"),
        ("hs3", 1, "abcs3-eth1"),
    ]
    assert [(part.a_port, part.b_port) for part in wiring.fabric] == [(2, 2), (3, 2), (3, 3)]


@given(nodes=st.integers(1, 120), prefix=st.from_regex(r"[a-z][a-z0-9]{0,3}", fullmatch=True))
def test_no_device_name_is_longer_than_linux_takes(nodes: int, prefix: str) -> None:
    wiring = wire(line(nodes), prefix)
    names = [part.device for part in wiring.hosts]
    names += [device for part in wiring.fabric for device in (part.a_device, part.b_device)]
    names += wiring.bridges.values()
    assert max(map(len, names)) <= NAME_MAX
    assert len(set(names)) == len(names)
    assert all(name.startswith(prefix) for name in names)


@pytest.mark.parametrize("prefix", ["", "abcde", "1ab", "A", "a-b", "a b", "ä"])
def test_a_prefix_that_would_not_fit_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        check_prefix(prefix)


def test_a_free_prefix_is_one_that_no_device_begins_with() -> None:
    rng = random.Random(1)
    first = free_prefix((), random.Random(1))
    assert free_prefix((f"{first}s1",), rng) != first
