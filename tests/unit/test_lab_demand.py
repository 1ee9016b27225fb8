"""Demand files: what is read, what is refused and how it is said, and how a demand is put onto a lab."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mininet_topos.abilene import abilene
from mininet_topos.demand import BadDemand, Demand, load_demand, map_to
from mininet_topos.topology import line

GOOD = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3)
XML = b"""<?xml version="1.0"?><network xmlns="http://sndlib.zib.de/network" version="1.0"><networkStructure>
<nodes coordinatesType="geographical">
<node id="s1"><coordinates><x>8</x><y>50</y></coordinates></node>
<node id="s2"><coordinates><x>9</x><y>50</y></coordinates></node></nodes>
<links><link id="L"><source>s1</source><target>s2</target>
<preInstalledModule><capacity>10</capacity><cost>1</cost></preInstalledModule></link></links></networkStructure>
<demands><demand id="d"><source>s1</source><target>s2</target><demandValue>4.5</demandValue></demand></demands>
</network>"""


def npz(**arrays: object) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]  # anything savez takes
    return out.getvalue()


def written(directory: Path, data: bytes, name: str = "demand.npz") -> Path:
    path = directory / name
    path.write_bytes(data)
    return path


def test_an_npz_is_read_with_its_names_and_times(tmp_path: Path) -> None:
    times = np.array(["2004-03-01T00:00", "2004-03-01T00:05"], dtype="datetime64[m]")
    demand = load_demand(written(tmp_path, npz(tm_mbps=GOOD, nodes=np.array(["a", "b", "c"]), time=times)))
    assert demand.matrices.tolist() == GOOD.tolist()
    assert (demand.nodes, demand.step_s) == (("a", "b", "c"), 300.0)
    assert demand.index_of("2004-03-01T00:07") == 1 and demand.index_of("1") == 1


def test_names_and_times_are_optional(tmp_path: Path) -> None:
    demand = load_demand(written(tmp_path, npz(tm=GOOD)))
    assert (demand.nodes, demand.step_s, demand.start) == ((), 300.0, None)


def test_sndlib_is_one_constant_matrix_and_a_directory_of_them_a_series(tmp_path: Path) -> None:
    path = written(tmp_path, XML, "a.xml")
    demand = load_demand(path)
    assert demand.matrices.tolist() == [[[0.0, 4.5], [0.0, 0.0]]]
    assert demand.window(0, 7, 2.0).matrices[:, 0, 1].tolist() == [9.0] * 7
    written(tmp_path, XML.replace(b"4.5", b"6"), "b.xml")
    assert load_demand(tmp_path).matrices[:, 0, 1].tolist() == [4.5, 6.0]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no XML"),
        (b"PK\x03\x04 not a zip", "not a readable .npz"),
        (b"hello", "no XML"),
        (XML.replace(b"<demand id", b"<x id").replace(b"</demand>", b"</x>"), "no demand"),
        (npz(other=GOOD), "no array tm_mbps or tm"),
        (npz(tm=GOOD[0]), "shape"),
        (npz(tm=GOOD[:, :2]), "shape"),
        (npz(tm=np.zeros((0, 3, 3))), "shape"),
        (npz(tm=np.array(3.0)), "shape"),
        (npz(tm=np.where(GOOD == 5, np.nan, GOOD)), "no finite number"),
        (npz(tm=GOOD - 4), "negative"),
        (npz(tm=np.array([[["a"]]])), "expected numbers"),
        (npz(tm=np.array([[[{}]]], dtype=object)), "pickled"),
        (npz(tm=GOOD, nodes=np.array(["a", "b"])), "2 node names for 3 rows"),
        (npz(tm=GOOD, nodes=np.array([1, 2, 3])), "expected text"),
        (npz(tm=GOOD, time=np.zeros(5, dtype="datetime64[m]")), "time has shape"),
        (npz(tm=GOOD, time=np.zeros(2, dtype="datetime64[m]")), "times must rise"),
        (npz(tm=GOOD, time=np.array(["NaT", "NaT"], dtype="datetime64[m]")), "holes"),
    ],
)
def test_a_file_that_is_no_demand_is_named_with_what_is_wrong(tmp_path: Path, data: bytes, says: str) -> None:
    path = written(tmp_path, data)
    with pytest.raises(BadDemand, match=says) as caught:
        load_demand(path)
    assert path.name in str(caught.value)


def test_a_missing_file_and_an_empty_directory_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.npz", tmp_path):
        with pytest.raises(BadDemand, match=str(path)):
            load_demand(path)


def load_or_refuse(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = written(Path(directory), data)
        try:
            demand = load_demand(path)
        except BadDemand as error:
            message = str(error)
        else:
            assert isinstance(demand, Demand) and np.isfinite(demand.matrices).all()
            return
        assert path.name in message and "\n" not in message.strip()


@settings(max_examples=150, deadline=None)
@given(head=st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b", b"<network>"]), tail=st.binary(max_size=300))
def test_random_bytes_are_a_demand_or_refused(head: bytes, tail: bytes) -> None:
    load_or_refuse(head + tail)


@settings(max_examples=300, deadline=None)
@given(
    original=st.sampled_from([npz(tm=GOOD, nodes=np.array(["a", "b", "c"])), XML]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12),
    keep=st.floats(0.3, 1),
)
def test_damaged_files_are_a_demand_or_refused(
    original: bytes, changes: list[tuple[float, int]], keep: float
) -> None:
    data = bytearray(original)
    for place, value in changes:
        data[int(place * len(data))] = value
    load_or_refuse(bytes(data[: int(len(data) * keep)]) if keep < 0.9 else bytes(data))


def named(nodes: tuple[str, ...]) -> Demand:
    n = len(nodes)
    return Demand("test", np.arange(1.0, n * n + 1).reshape(1, n, n), nodes)


def test_abilenes_names_are_found_and_its_second_atlanta_counts_as_atlanta() -> None:
    demand = map_to(named(("ATLAM5", "ATLAng", "chinng", "WASH")), abilene())
    assert demand.nodes == abilene().node_names
    atla, chin, wash = (demand.nodes.index(name) for name in ("ATLA", "CHIN", "WASH"))
    matrix = demand.matrices[0]
    assert (matrix[atla, chin], matrix[chin, atla], matrix[chin, wash]) == (3 + 7, 9 + 10, 12)
    assert not matrix.diagonal().any() and matrix[demand.nodes.index("STTL")].sum() == 0


def test_a_demand_without_names_is_taken_in_order() -> None:
    demand = map_to(Demand("test", np.ones((1, 3, 3)), ()), line(3))
    assert demand.nodes == ("s1", "s2", "s3") and demand.matrices.sum() == 6


def test_a_demand_of_another_network_is_refused_by_name() -> None:
    with pytest.raises(BadDemand, match="node 'paris' is not in the lab"):
        map_to(named(("s1", "paris")), line(3))
    with pytest.raises(BadDemand, match="4 nodes without names for a lab of 3"):
        map_to(Demand("test", np.ones((1, 4, 4)), ()), line(3))
    with pytest.raises(BadDemand, match="no traffic between"):
        map_to(Demand("test", np.eye(3)[None], ()), line(3))


@pytest.mark.parametrize("start", ["-1", "99", "yesterday", "2030-01-01", "NaT", ""])
def test_a_start_outside_the_file_is_refused(start: str) -> None:
    demand = Demand("test", np.ones((10, 2, 2)), (), 300.0, np.datetime64("2004-03-01T00:00", "s"))
    with pytest.raises(BadDemand, match="start="):
        demand.index_of(start)


@pytest.mark.parametrize(
    ("start", "steps", "scale"), [(-1, 2, 1), (9, 2, 1), (0, 0, 1), (0, 1, 0), (0, 1, np.nan)]
)
def test_a_window_outside_the_file_is_refused(start: int, steps: int, scale: float) -> None:
    with pytest.raises(BadDemand):
        Demand("test", np.ones((10, 2, 2)), ()).window(start, steps, scale)
