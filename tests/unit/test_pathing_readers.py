"""The file readers: real networks in the right units, and nothing but BadFile for anything else."""

import codecs
import contextlib
import gzip
import math
import subprocess
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pathing import (
    BadFile,
    Dataset,
    TopologyError,
    great_circle_ms,
    read_graphml,
    read_repetita,
    read_repetita_demands,
    read_sndlib,
    shortest_path,
)

TOPOLOGIES = Path(__file__).parents[3] / "shared" / "data" / "topologies"
needs_data = pytest.mark.skipif(not TOPOLOGIES.is_dir(), reason=f"no real networks at {TOPOLOGIES}")

REPETITA = """NODES 3
label x y
Here -74.0 40.7
There -87.6 41.8
Far 2.3 48.8

EDGES 4
label src dest weight bw delay
edge_0 0 1 10 9953280 1913
edge_1 1 0 10 9953280 1913
edge_2 1 2 5 1000 552
edge_3 2 2 5 1000 552
"""
DEMANDS = """DEMANDS 2
label src dest bw
demand_0 0 1 300632
demand_1 0 1 1000
"""
SNDLIB = """<?xml version="1.0" encoding="ISO-8859-1"?>
<network xmlns="http://sndlib.zib.de/network" version="1.0">
 <meta><unit>MBITPERSEC</unit></meta>
 <networkStructure>
  <nodes coordinatesType="geographical">
   <node id="Berlin"><coordinates><x>13.48</x><y>52.52</y></coordinates></node>
   <node id="Bremen"><coordinates><x>8.80</x><y>53.08</y></coordinates></node>
   <node id="Essen"><coordinates><x>7.01</x><y>51.45</y></coordinates></node>
  </nodes>
  <links>
   <link id="L1"><source>Berlin</source><target>Bremen</target><routingCost>7.5</routingCost>
    <preInstalledModule><capacity>100.0</capacity><cost>0.0</cost></preInstalledModule></link>
   <link id="L2"><source>Bremen</source><target>Essen</target>
    <preInstalledModule><capacity>0.0</capacity></preInstalledModule>
    <additionalModules><addModule><capacity>40.0</capacity></addModule>
     <addModule><capacity>160.0</capacity></addModule></additionalModules></link>
  </links>
 </networkStructure>
 <demands><demand id="D1"><source>Berlin</source><target>Essen</target>
  <demandValue>3.5</demandValue></demand></demands>
</network>
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that tests overwrite: hypothesis needs a fixture that lives longer than an example."""
    return tmp_path_factory.mktemp("readers") / "network"


def test_repetita_units(file: Path, tmp_path: Path) -> None:
    file.write_text(REPETITA)
    demands = tmp_path / "demands.gz"
    demands.write_bytes(gzip.compress(DEMANDS.encode()))
    data = read_repetita(file, demands)
    link = data.topology.link(0)
    assert (link.src, link.dst, link.capacity_mbps, link.latency_ms) == ("Here", "There", 9953.28, 1.913)
    assert link.weight == 10.0
    assert data.topology.n_links == 3
    assert data.notes == ("line 12: edge_3 left out, a loop from 'Far' to itself",)
    assert data.demands == {("Here", "There"): pytest.approx(301.632)}
    assert data.coordinates["Far"] == (2.3, 48.8)


def test_sndlib_units_and_modules(file: Path) -> None:
    file.write_text(SNDLIB)
    data = read_sndlib(file)
    there, back, module, _ = data.topology.links()
    assert (there.src, there.dst, there.capacity_mbps, there.cost) == ("Berlin", "Bremen", 100.0, 7.5)
    assert (back.src, back.dst, back.capacity_mbps) == ("Bremen", "Berlin", 100.0)
    assert module.capacity_mbps == 40.0
    assert there.latency_ms == great_circle_ms(data.coordinates["Berlin"], data.coordinates["Bremen"])
    assert data.demands == {("Berlin", "Essen"): 3.5}
    assert data.notes == ("latency of 4 of 4 links estimated from coordinates, a straight fibre at 200 km/ms",)
    file.write_text(SNDLIB.replace("geographical", "pixel").replace("MBIT", "GBIT"))
    data = read_sndlib(file)
    assert data.topology.link(0).latency_ms is None
    assert data.topology.link(0).capacity_mbps == 100_000.0
    assert data.coordinates == {}
    assert data.notes[0] == "latency of 4 of 4 links unknown, charged as 1 ms each"
    file.write_text(SNDLIB.replace("<meta><unit>MBITPERSEC</unit></meta>", ""))
    assert read_sndlib(file).notes[0] == "no unit given, Mbit/s assumed"


def test_sndlib_links_without_a_capacity_get_the_one_that_is_given(file: Path) -> None:
    file.write_text(SNDLIB.replace("additionalModules", "otherModules").replace("MBIT", "GBIT"))
    data = read_sndlib(file, capacity_mbps=40)
    assert data.topology.array("capacity_mbps").tolist() == [100_000.0, 100_000.0, 40.0, 40.0]
    assert data.notes[0] == "no capacity at 1 of its links, 40 Mbit/s assumed"
    with pytest.raises(TopologyError, match="capacity_mbps is 0"):
        read_sndlib(file, capacity_mbps=0)


def test_repetita_demands_go_with_the_nodes_of_any_network(file: Path) -> None:
    file.write_text(DEMANDS)
    assert read_repetita_demands(file, ("x", "y")) == {("x", "y"): pytest.approx(301.632)}
    with pytest.raises(BadFile, match="line 3: dest is '1'; expected a node number from 0 to 0"):
        read_repetita_demands(file, ("x",))


def test_great_circle() -> None:
    new_york, london = (-74.006, 40.713), (-0.128, 51.507)
    assert great_circle_ms(new_york, london) == pytest.approx(5570 / 200, rel=1e-3)
    assert great_circle_ms(london, london) == 0.0
    assert great_circle_ms((0, 90), (0, -90)) == pytest.approx(math.pi * 6371.0088 / 200)


@needs_data
def test_all_260_repetita_networks() -> None:
    graphs = sorted((TOPOLOGIES / "repetita_zoo").glob("*.graph"))
    assert len(graphs) == 260
    for path in graphs:
        topology = read_repetita(path).topology
        assert 4 <= topology.n_nodes <= 197
        assert (topology.array("latency_ms") > 0).all()


@needs_data
def test_all_260_repetita_demands() -> None:
    files = sorted((TOPOLOGIES / "repetita_zoo").glob("*.demands.gz"))
    assert len(files) == 260
    names = tuple(f"n{number}" for number in range(197))
    for path in files:
        demands = read_repetita_demands(path, names)
        assert 12 <= len(demands) <= 197 * 196
        assert min(demands.values()) >= 0 < max(demands.values())


@needs_data
def test_repetita_abilene_with_demands() -> None:
    folder = TOPOLOGIES / "repetita_zoo"
    data = read_repetita(folder / "Abilene.graph", folder / "Abilene.0000.demands.gz")
    assert (data.topology.n_nodes, data.topology.n_links, len(data.demands)) == (11, 28, 110)
    assert data.demands["0_New_York", "1_Chicago"] == pytest.approx(300.632)
    path = shortest_path(data.topology, "0_New_York", "5_Los_Angeles")
    assert path.weight == pytest.approx(path.latency_ms(data.topology), rel=1e-12)


@needs_data
def test_all_19_sndlib_networks() -> None:
    files = sorted((TOPOLOGIES / "sndlib").glob("*.xml.gz"))
    assert len(files) == 19
    for path in files:
        data = read_sndlib(path)
        assert data.demands
        assert data.topology.n_links % 2 == 0
        located = bool(data.coordinates)
        assert [math.isfinite(ms) for ms in data.topology.array("latency_ms")] == [located] * data.topology.n_links
    abilene = read_sndlib(TOPOLOGIES / "sndlib" / "abilene.xml.gz")
    assert (abilene.topology.n_nodes, abilene.topology.n_links, len(abilene.demands)) == (12, 30, 132)
    assert abilene.topology.link(0).capacity_mbps == 9920.0
    assert abilene.demands["IPLSng", "STTLng"] == 3580.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("NODES 3", "NODES 9999999999999", "line 1: NODES promises more rows"),
        ("NODES 3", "KNOTEN 3", "line 1: no NODES section"),
        ("Far 2.3", "Here 2.3", "line 5: node 'Here' is already there"),
        ("Far 2.3", "Far nan", "line 5: x is 'nan'"),
        ("edge_0 0 1", "edge_0 0 7", "line 9: dest is '7'.*0 to 2"),
        ("edge_0 0 1 10 9953280", "edge_0 0 1 10 -5", "line 9: .*capacity_mbps"),
        ("edge_0 0 1 10", "edge_0 0 1", "line 9: 5 fields; expected 6"),
        ("edge_3 2 2 5 1000 552\n", "", "line 7: EDGES promises more rows"),
        ("edge_2", "edge_0", "line 11: edge 'edge_0' is already there; expected each edge once"),
        ("edge_3", "edge_0", "line 12: edge 'edge_0' is already there; expected each edge once"),
        ("Far 2.3", "Far 2_3", "line 5: x is '2_3'; expected a finite number"),
        ("Far 2.3", "Far 2.3 4", "line 5: more than 3 fields; expected 3"),
        ("edge_0 0 1 10 9953280", "edge_0 0 1 10 9_953_280", "line 9: bw is '9_953_280'"),
    ],
)
def test_a_bad_repetita_file_is_told_where(file: Path, old: str, new: str, message: str) -> None:
    file.write_text(REPETITA.replace(old, new))
    with pytest.raises(BadFile, match=f"{file}, {message}"):
        read_repetita(file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</network>", "", "line 2[0-9]: no XML"),
        ("<network ", "<!DOCTYPE network [<!ENTITY a 'aaaa'>]><network ", "line 2: it has a DOCTYPE"),
        ("ISO-8859-1", "no-such", "line 1: "),
        ("<target>Bremen", "<target>Brehmen", "link 'L1': target: unknown node 'Brehmen'.*did you mean 'Bremen'"),
        ("100.0", "much", "link 'L1': preInstalledModule/capacity is 'much'"),
        ("100.0", "-1", "link 'L1': .*capacity_mbps"),
        ("additionalModules", "otherModules", "link 'L2': no capacity"),
        (">3.5<", ">-3.5<", "demand 'D1': demandValue is -3.5"),
        (">3.5<", ">3_5<", "demand 'D1': demandValue is '3_5'"),
        ("<demandValue>3.5", "<routingUnit>-1</routingUnit><demandValue>-1", "demand 'D1': routingUnit is -1"),
        ("<demandValue>3.5", "<routingUnit>-1</routingUnit><demandValue>0", "demand 'D1': routingUnit is -1"),
        ('id="L2"', 'id="L1"', "link 'L1': it is already there; expected each link once"),
        (
            "</demands>",
            '<demand id="D1" /></demands>',
            "demand 'D1': it is already there; expected each demand once",
        ),
        (
            "<target>Essen</target>\n  <dem",
            "<target>Berlin</target>\n  <dem",
            "demand 'D1': it goes from 'Berlin'",
        ),
        ('id="Bremen"', 'id="Berlin"', "node 'Berlin': .*already there"),
        ("networkStructure", "structure", "the file: no <networkStructure>"),
    ],
)
def test_a_bad_sndlib_file_is_told_where(file: Path, old: str, new: str, message: str) -> None:
    file.write_text(SNDLIB.replace(old, new))
    with pytest.raises(BadFile, match=f"{file}, {message}"):
        read_sndlib(file)


def test_a_demand_that_comes_twice_is_told_where(file: Path) -> None:
    file.write_text(DEMANDS.replace("demand_1", "demand_0"))
    with pytest.raises(BadFile, match="line 4: demand 'demand_0' is already there; expected each demand once"):
        read_repetita_demands(file, ("x", "y"))


def test_a_byte_order_mark_is_no_part_of_the_text(file: Path) -> None:
    file.write_bytes(codecs.BOM_UTF8 + REPETITA.encode())
    assert read_repetita(file).topology.node_names == ("Here", "There", "Far")
    file.write_bytes(codecs.BOM_UTF8 + DEMANDS.encode())
    assert len(read_repetita_demands(file, ("x", "y"))) == 1
    file.write_bytes(codecs.BOM_UTF8 + SNDLIB.replace("ISO-8859-1", "UTF-8").encode())
    assert read_sndlib(file).demands


def test_a_demand_for_each_pair_of_the_largest_network_is_not_too_much(file: Path) -> None:
    pairs = permutations(range(754), 2)
    rows = [f"demand_{number} {src} {dst} 300632\n" for number, (src, dst) in enumerate(pairs)]
    file.write_bytes(gzip.compress(f"DEMANDS {len(rows)}\nlabel src dest bw\n{''.join(rows)}".encode(), 1))
    assert len(read_repetita_demands(file, [f"n{number}" for number in range(754)])) == 754 * 753


# Read by a process of its own, as the most memory that one ever had says nothing of a single file in it.
MEASURED = """
import resource, sys
from pathlib import Path
import pathing
def peak_kb(): return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_AS, (3 * 1024**3,) * 2)
before_kb = peak_kb()
try:
    getattr(pathing, sys.argv[1])(sys.argv[2])
except pathing.BadFile as error:
    print(peak_kb() - before_kb, error)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the peak of memory from")
@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        ("read_repetita", lambda: b"a\n" * 32_000_000, "larger than 16777216 bytes"),
        ("read_repetita", lambda: b"a\n" * 8_000_000, "more than 250000 lines"),
        ("read_repetita", lambda: b"NODES 1" + b" a" * 8_000_000, "no NODES section"),
        ("read_graphml", lambda: b"<graphml>" + b"<a/>" * 16_000_000, "larger than 16777216 bytes"),
        ("read_graphml", lambda: b"<graphml>" + b"<a/>" * 4_000_000, "more than 500000 elements"),
        ("read_sndlib", lambda: b"<network>" + b"<a>" * 5_000_000, "more than 100 deep"),
        (
            "read_graphml",
            lambda: b"<graphml" + b"".join(b" a%x=''" % i for i in range(1_400_000)),
            "a tag is longer",
        ),
        ("read_sndlib", lambda: b"<network>" + b"ab\n" * 5_000_000, "more than 2000000 attributes and pieces"),
    ],
)
def test_a_small_file_does_not_fill_the_memory(
    tmp_path: Path, reader: str, content: Callable[[], bytes], message: str
) -> None:
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(content(), 1))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, reader, packed],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    peak_kb, said = done.stdout.split(" ", 1)
    assert message in said
    assert int(peak_kb) < 128 * 1024


GIANT = "x" * 200_000
NODE = f'<node id="{GIANT}"/>'
TREE = '<graphml><key id="k" attr.name="LinkSpeedRaw"/><graph edgedefault="directed">{}</graph></graphml>'


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        *(
            (read_repetita, REPETITA.replace(old, new))
            for old, new in (
                ("-74.0", GIANT),
                ("edge_0 0", f"edge_0 {GIANT}"),
                ("edge_0 0", f"edge_0 {'9' * 200_000}"),
                ("9953280 1913", f"{GIANT} 1913"),
                ("There", f"{GIANT} 1 1\n{GIANT}"),
                ("Here -74.0 40.7\nThere", f"{GIANT} 1 1\n{GIANT}"),
                ("Here -74.0 40.7", f"{GIANT} 1 1\nEDGES"),
                ("edge_1", f"{GIANT} 0 1 1 1 1\n{GIANT}"),
            )
        ),
        *(
            (read_repetita, REPETITA.replace("Here", GIANT).replace(old, new))
            for old, new in (("9953280 1913", "-1 1913"), ("edge_0 0 1", "edge_0 7 1"))
        ),
        *(
            (read_sndlib, SNDLIB.replace(old, new))
            for old, new in (
                ("100.0", GIANT),
                ("100.0", "9" * 200_000),
                ("7.5", GIANT),
                ("<source>Berlin", f"<source>{GIANT}"),
                ('id="Berlin"', f'id="{GIANT}"'),
                ('id="L1"', f'id="{GIANT}"'),
                ('id="D1"', f'id="{GIANT}"'),
                ("3.5<", f"{GIANT}<"),
                ("ISO-8859-1", GIANT),
                ("network", GIANT),
            )
        ),
        *(
            (read_graphml, TREE.format(inside))
            for inside in (
                f"{NODE}{NODE}",
                f'<node id="a"><data key="{GIANT}"/></node>',
                f'<node id="a"/><edge source="a" target="{GIANT}"/>',
                f'<node id="a"/><node id="b"/><edge source="a" target="b" directed="{GIANT}"/>',
                f'<node id="a"/><node id="b"/><edge source="a" target="b"><data key="k">{GIANT}</data></edge>',
                f'{NODE}<node id="b"/><edge source="b" target="{GIANT}"><data key="k">0</data></edge>',
            )
        ),
        (read_graphml, TREE.replace("directed", GIANT)),
        (read_graphml, TREE.replace("<graph ", f'<key id="{GIANT}"/><key id="{GIANT}"/><graph ')),
        (read_graphml, f"<{GIANT}/>"),
    ],
)
def test_what_a_message_shows_of_a_file_is_short(file: Path, reader: Callable[[Path], Dataset], text: str) -> None:
    file.write_text(text)
    with pytest.raises(BadFile) as caught:
        reader(file)
    assert len(str(caught.value)) < 700 + len(str(file))


def test_notes_show_no_more_of_a_file_than_messages(file: Path) -> None:
    file.write_text(REPETITA.replace("Far", GIANT).replace("edge_3", f"e{GIANT}"))
    assert [len(note) < 250 for note in read_repetita(file).notes] == [True]
    file.write_text(SNDLIB.replace("MBITPERSEC", GIANT))
    assert all(len(note) < 250 for note in read_sndlib(file).notes)
    loop = f'<node id="{GIANT}"/><edge source="{GIANT}" target="{GIANT}"/>'
    file.write_text(TREE.format(loop))
    assert all(len(note) < 250 for note in read_graphml(file).notes)


@pytest.mark.parametrize("reader", [read_repetita, read_sndlib, read_graphml])
def test_a_path_that_no_file_can_have_is_a_bad_file(reader: Callable[[str], Dataset]) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        reader("a\0b")


def test_a_doctype_cannot_hide_in_another_encoding(file: Path) -> None:
    bomb = "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE n [<!ENTITY a 'aa'>]><network>&a;</network>"
    file.write_bytes(bomb.encode("utf-16"))
    with pytest.raises(BadFile, match="DOCTYPE"):
        read_sndlib(file)


def test_files_that_cannot_be_read(file: Path, tmp_path: Path) -> None:
    packed = gzip.compress(SNDLIB.encode())
    for content in (packed[:-9], packed[:40] + b"?" + packed[41:], gzip.compress(bytes(65 * 1024 * 1024))):
        file.write_bytes(content)
        with pytest.raises(BadFile, match=r"cannot be read|larger than"):
            read_sndlib(file)
    for missing in (tmp_path / "missing", tmp_path):
        with pytest.raises(BadFile, match="cannot be read"):
            read_repetita(missing)


@st.composite
def mutated(draw: st.DrawFn, text: str) -> bytes:
    """The text with a few spans deleted, doubled or overwritten."""
    data = text.encode()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 12)))
        tokens = [b"0", b"-1", b"nan", b"1e999", b"\xff", b"\0", b"<", b"&a;", b"\n", b" "]
        middle = draw(st.sampled_from([b"", data[start:stop] * 2, *tokens]) | st.binary(max_size=6))
        data = data[:start] + middle + data[stop:]
    return data


def fuzz_settings(examples: int) -> settings:
    return settings(
        deadline=None, max_examples=examples, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


@given(data=st.binary(max_size=200) | mutated(REPETITA))
@fuzz_settings(300)
def test_repetita_reader_only_ever_says_bad_file(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with contextlib.suppress(BadFile):
        assert isinstance(read_repetita(file), Dataset)


@given(data=st.binary(max_size=200) | mutated(DEMANDS))
@fuzz_settings(150)
def test_demand_reader_only_ever_says_bad_file(file: Path, data: bytes) -> None:
    network = file.with_suffix(".graph")
    network.write_text(REPETITA)
    file.write_bytes(data)
    with contextlib.suppress(BadFile):
        assert isinstance(read_repetita(network, file), Dataset)


@given(data=st.binary(max_size=200) | mutated(SNDLIB) | mutated(SNDLIB).map(gzip.compress))
@fuzz_settings(300)
def test_sndlib_reader_only_ever_says_bad_file(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with contextlib.suppress(BadFile):
        assert isinstance(read_sndlib(file), Dataset)
