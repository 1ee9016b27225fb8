"""Topologies survive the way to networkx and back, and graphs from elsewhere come in or are told why not."""

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathing import Topology, TopologyError
from pathing.networkx_border import from_networkx, to_networkx
from pathing.shortest import shortest_path

AMOUNTS = st.floats(0, 1e9)
UNKNOWN_OR_AMOUNTS = st.none() | AMOUNTS
VALUES = st.integers() | st.text(max_size=3) | st.tuples(st.booleans())


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    topology = Topology()
    names = draw(st.lists(st.text(min_size=1, max_size=4), max_size=5, unique=True))
    for name in names:
        topology.add_node(name, **draw(st.dictionaries(st.sampled_from(["zone", "id", "key"]), VALUES)))
    pairs = [(src, dst) for src in names for dst in names if src != dst]
    for src, dst in draw(st.lists(st.sampled_from(pairs), max_size=12)) if pairs else ():
        link_id = topology.add_link(
            src,
            dst,
            capacity_mbps=draw(st.floats(1e-6, 1e9)),
            latency_ms=draw(UNKNOWN_OR_AMOUNTS),
            loss=draw(st.floats(0, 0.99)),
            cost=draw(AMOUNTS),
            weight=draw(UNKNOWN_OR_AMOUNTS),
            srlg=draw(st.lists(st.integers() | st.text(max_size=3), max_size=3)),
            zone=draw(st.none() | st.text(max_size=3)),
            encrypted=draw(st.booleans()),
            up=draw(st.booleans()),
        )
        topology.set_link(link_id, utilisation=draw(AMOUNTS))
    return topology


def assert_same(one: Topology, other: Topology) -> None:
    assert one.node_names == other.node_names
    for name in one.node_names:
        assert one.node_attributes(name) == other.node_attributes(name)
    assert list(one.links()) == list(other.links())


@given(topologies())
@settings(deadline=None, max_examples=150)
def test_there_and_back_is_the_same(topology: Topology) -> None:
    graph = to_networkx(topology)
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (topology.n_nodes, topology.n_links)
    assert_same(from_networkx(graph), topology)


def test_a_link_is_an_edge_with_its_fields_and_its_id_as_the_key() -> None:
    topology = Topology()
    topology.add_node("a", floor=3)
    topology.add_node("b")
    topology.add_link("b", "a", capacity_mbps=1)
    topology.add_link("a", "b", capacity_mbps=10, latency_ms=2.5, srlg=["duct"], zone="eu")
    graph = to_networkx(topology)
    assert graph.nodes["a"] == {"floor": 3}
    assert graph.edges["a", "b", 1] == {
        "capacity_mbps": 10.0,
        "latency_ms": 2.5,
        "loss": 0.0,
        "cost": 1.0,
        "weight": None,
        "utilisation": 0.0,
        "encrypted": False,
        "up": True,
        "srlg": ("duct",),
        "zone": "eu",
    }


@pytest.mark.parametrize("kind", [networkx.Graph, networkx.MultiGraph])
def test_an_undirected_edge_becomes_two_links(kind: type[networkx.Graph]) -> None:
    graph = kind()
    graph.add_edge("b", "a", capacity_mbps=5, latency_ms=1.0, utilisation=0.5)
    graph.add_edge("b", "c", capacity_mbps=7)
    there, back, *_ = from_networkx(graph).links()
    assert (there.src, there.dst, back.src, back.dst) == ("b", "a", "a", "b")
    assert (back.capacity_mbps, back.latency_ms, back.utilisation) == (5.0, 1.0, 0.5)
    assert shortest_path(from_networkx(graph), "a", "c", "hops").nodes == ("a", "b", "c")


def test_parallel_edges_stay_parallel() -> None:
    graph = networkx.MultiDiGraph()
    for capacity_mbps in (1, 2):
        graph.add_edge("a", "b", capacity_mbps=capacity_mbps)
    graph.add_edge("b", "a", key="back", capacity_mbps=3)
    assert [link.capacity_mbps for link in from_networkx(graph).links()] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "edge 'a' - 'b': it has no capacity_mbps"),
        ({"capacity_mbps": 1, "latency": 3}, "edge 'a' - 'b': unknown field 'latency'.*did you mean 'latency_ms'"),
        ({"capacity_mbps": 0}, "link 'a' -> 'b': capacity_mbps is 0"),
        ({"capacity_mbps": 1, "latency_ms": float("nan")}, "link 'a' -> 'b': latency_ms is nan"),
        ({"capacity_mbps": 1, "srlg": "duct"}, "link 'a' -> 'b': srlg is 'duct'"),
        ({"capacity_mbps": 1, "utilisation": -1}, "link 0 .'a' -> 'b'.: utilisation is -1"),
    ],
)
def test_an_edge_that_cannot_be_a_link_is_named(fields: dict[str, object], message: str) -> None:
    graph = networkx.DiGraph()
    graph.add_edge("a", "b", **fields)
    with pytest.raises(TopologyError, match=message):
        from_networkx(graph)


def test_self_loops_and_nodes_without_a_name_are_named() -> None:
    loop = networkx.DiGraph()
    loop.add_edge("a", "a", capacity_mbps=1)
    with pytest.raises(TopologyError, match="'a' -> 'a' is a self-loop"):
        from_networkx(loop)
    with pytest.raises(TopologyError, match="node name is 0; it must be a text"):
        from_networkx(networkx.path_graph(2))
    odd = networkx.Graph()
    odd.add_node("a")
    odd.nodes["a"][1] = "attribute whose name is no text"
    with pytest.raises(TopologyError, match="node 'a': its attributes"):
        from_networkx(odd)
