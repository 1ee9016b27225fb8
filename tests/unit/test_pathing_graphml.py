"""The GraphML reader: the whole Topology Zoo in the right units, and nothing but BadFile for anything else."""

import contextlib
import gzip
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pathing import BadFile, Dataset, TopologyError, great_circle_ms
from pathing.readers import read_graphml

ZOO = Path(__file__).parents[3] / "shared" / "data" / "topologies" / "topology_zoo_graphml.tar.gz"

GRAPHML = """<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="LinkSpeedRaw" attr.type="double" for="edge" id="d4" />
  <key attr.name="LinkLabel" attr.type="string" for="edge" id="d3" />
  <key attr.name="label" attr.type="string" for="node" id="d2" />
  <key attr.name="Longitude" attr.type="double" for="node" id="d1" />
  <key attr.name="Latitude" attr.type="double" for="node" id="d0" />
  <graph edgedefault="undirected">
    <node id="0"><data key="d0">40.7</data><data key="d1">-74.0</data><data key="d2">New York</data></node>
    <node id="1"><data key="d0">41.8</data><data key="d1">-87.6</data><data key="d2">Chicago</data></node>
    <node id="2"><data key="d2">None</data></node>
    <node id="3"><data key="d2">None</data></node>
    <node id="4"><data key="d2"> </data></node>
    <edge source="0" target="1"><data key="d3">OC-192</data><data key="d4">10000000000.0</data></edge>
    <edge source="0" target="1" />
    <edge source="1" target="2"><data key="d4">64000</data></edge>
    <edge source="3" target="3" />
    <edge source="4" target="3" directed="true" />
  </graph>
</graphml>
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that tests overwrite: hypothesis needs a fixture that lives longer than an example."""
    return tmp_path_factory.mktemp("graphml") / "network"


def read(file: Path, text: str) -> Dataset:
    file.write_text(text)
    return read_graphml(file)


def test_names_units_and_notes(file: Path) -> None:
    data = read(file, GRAPHML)
    topology = data.topology
    assert topology.node_names == ("New York", "Chicago", "None (2)", "None (3)", "4")
    assert topology.node_attributes("None (3)") == {"graphml_id": "3"}
    assert data.coordinates == {"New York": (-74.0, 40.7), "Chicago": (-87.6, 41.8)}
    links = list(topology.links())
    assert [(link.src, link.dst, link.capacity_mbps) for link in links] == [
        ("New York", "Chicago", 10_000.0),
        ("Chicago", "New York", 10_000.0),
        ("New York", "Chicago", 1.0),
        ("Chicago", "New York", 1.0),
        ("Chicago", "None (2)", 0.064),
        ("None (2)", "Chicago", 0.064),
        ("4", "None (3)", 1.0),
    ]
    straight = great_circle_ms((-74.0, 40.7), (-87.6, 41.8))
    assert [link.latency_ms for link in links] == [straight] * 4 + [None] * 3
    assert data.notes == (
        "no LinkSpeedRaw at 2 of 4 edges, 1 Mbit/s assumed",
        "latency of 4 of 7 links estimated from coordinates, a straight fibre at 200 km/ms",
        f"latency of 3 of 7 links unknown, charged as {2 * straight:.4g} ms each",
        "edge 4 ('3' to '3') left out, a loop from 'None (3)' to itself",
    )


def test_the_assumed_capacity_is_the_callers(file: Path) -> None:
    file.write_bytes(gzip.compress(GRAPHML.encode()))
    data = read_graphml(file, capacity_mbps=40)
    assert data.topology.link(2).capacity_mbps == 40.0
    assert data.topology.link(0).capacity_mbps == 10_000.0
    with pytest.raises(TopologyError, match="capacity_mbps is 0"):
        read_graphml(file, capacity_mbps=0)


def test_names_stay_apart_whatever_the_labels(file: Path) -> None:
    data = read(file, GRAPHML.replace("Chicago", "None (2)"))
    assert data.topology.node_names == ("0", "1", "2", "3", "4")


def test_coordinates_that_are_none_on_earth_are_left_out(file: Path) -> None:
    data = read(file, GRAPHML.replace("40.7", "140.7"))
    assert data.coordinates == {}
    assert "latency of 7 of 7 links unknown, charged as 1 ms each" in data.notes
    assert any(note.startswith("coordinates left out") for note in data.notes)
    assert all(link.latency_ms is None for link in data.topology.links())


def test_directed_graphs_give_one_link_an_edge(file: Path) -> None:
    data = read(file, GRAPHML.replace('"undirected"', '"directed"').replace("true", "false"))
    assert [(link.src, link.dst) for link in data.topology.links()][-3:] == [
        ("Chicago", "None (2)"),
        ("4", "None (3)"),
        ("None (3)", "4"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</graphml>", "", "line 2[0-9]: no XML"),
        ("<graphml ", "<!DOCTYPE graphml [<!ENTITY a 'aaaa'>]><graphml ", "line 2: it has a DOCTYPE"),
        ("graphml", "network", "element 'network': the outermost element is no graphml"),
        ("utf-8", "no-such", "line 1: "),
        ('key="d4">64000', 'key="d9">64000', "edge 3 .'1' to '2'.: its <data> has the key 'd9'"),
        ('id="d3"', 'id="d4"', "key 'd4': it is declared twice"),
        ('id="d3"', "", "a <key>: it has no id"),
        ("64000", "fast", "edge 3 .'1' to '2'.: LinkSpeedRaw is 'fast'"),
        ("64000", "0", "edge 3 .'1' to '2'.: .*capacity_mbps is 0.0"),
        ("64000", "64_000", "edge 3 .'1' to '2'.: LinkSpeedRaw is '64_000'; expected a finite number"),
        ("64000", "inf", "edge 3 .'1' to '2'.: LinkSpeedRaw is 'inf'"),
        ("40.7", "north", "node '0': Latitude is 'north'"),
        ('<node id="1">', '<node id="0">', "node '0': it is there twice"),
        ('<node id="1">', "<node>", "a <node>: it has no id"),
        ('target="2"', 'target="7"', "edge 3 .'1' to '7'.: no node has the id '7'"),
        ('target="2"', "", "edge 3 .'1' to None.: it has no target"),
        ('directed="true"', 'directed="maybe"', "edge 5 .'4' to '3'.: directed is 'maybe'"),
        ('edgedefault="undirected"', "", "the <graph>: edgedefault is None"),
        ('<node id="1">', '<node id="1"><graph edgedefault="directed" />', "the file: it has 2 <graph> elements"),
        ("<edge source", "<hyperedge /><edge source", "a <hyperedge>: it is no link"),
    ],
)
def test_a_bad_file_is_told_where(file: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(BadFile, match=f"{file}, {message}"):
        read(file, GRAPHML.replace(old, new))


def test_a_doctype_cannot_hide_in_another_encoding(file: Path) -> None:
    text = GRAPHML.replace("utf-8", "utf-16").replace("<graphml ", "<!DOCTYPE g [<!ENTITY a 'a'>]><graphml ")
    file.write_bytes(text.encode("utf-16"))
    with pytest.raises(BadFile, match="DOCTYPE"):
        read_graphml(file)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """The file with a few spans deleted, doubled or overwritten."""
    data = GRAPHML.encode()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 12)))
        tokens = [b"0", b"-1", b"nan", b"1e999", b"\xff", b"\0", b"<", b"&a;", b'"', b" ", b"3", b"d4"]
        middle = draw(st.sampled_from([b"", data[start:stop] * 2, *tokens]) | st.binary(max_size=6))
        data = data[:start] + middle + data[stop:]
    return data


@given(data=st.binary(max_size=200) | mutated() | mutated().map(gzip.compress))
@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_reader_only_ever_says_bad_file(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with contextlib.suppress(BadFile):
        assert isinstance(read_graphml(file), Dataset)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    if not ZOO.is_file():
        pytest.skip(f"no Topology Zoo at {ZOO}")
    folder = tmp_path_factory.mktemp("zoo")
    with tarfile.open(ZOO) as packed:
        packed.extractall(folder, filter="data")
    return {path.stem: path for path in folder.rglob("*.graphml")}


def test_all_276_zoo_networks(zoo: dict[str, Path]) -> None:
    assert len(zoo) == 276
    edges = loops = 0
    for path in zoo.values():
        data = read_graphml(path)
        topology = data.topology
        assert topology.n_links % 2 == 0
        edges += topology.n_links // 2
        loops += sum("a loop from" in note for note in data.notes)
        for link in topology.links():
            located = link.src in data.coordinates and link.dst in data.coordinates
            assert (link.latency_ms is not None) == located
    assert (edges, loops) == (13_976 - 2, 2)


def test_zoo_networks_that_are_known(zoo: dict[str, Path]) -> None:
    abilene = read_graphml(zoo["Abilene"], capacity_mbps=9920)
    assert (abilene.topology.n_nodes, abilene.topology.n_links, len(abilene.coordinates)) == (11, 28, 11)
    (link,) = abilene.topology.links_between("New York", "Chicago")
    assert link.latency_ms == pytest.approx(1145 / 200, rel=0.01)
    assert link.capacity_mbps == 9920.0
    geant = read_graphml(zoo["Geant2012"])
    tens = zoo["Geant2012"].read_text().count(">10000000000.0<")
    assert (geant.topology.array("capacity_mbps") == 10_000.0).sum() == 2 * tens > 0
    assert geant.notes[0] == "no LinkSpeedRaw at 22 of 61 edges, 1 Mbit/s assumed"
    assert geant.notes[1].startswith("latency of 116 of 122 links estimated from coordinates")
    assert geant.notes[2].startswith("latency of 6 of 122 links unknown, charged as")
    kdl = read_graphml(zoo["Kdl"]).topology
    assert (kdl.n_nodes, kdl.n_links) == (754, 1798)
