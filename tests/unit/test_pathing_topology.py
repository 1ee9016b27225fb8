"""The topology: ids, arrays that follow changes in place, and refusals that name the field and the remedy."""

import copy
import math
import pickle

import numpy as np
import pytest

from pathing import Link, Topology, TopologyError, UnknownNode


def triangle() -> Topology:
    topology = Topology()
    for name in ("a", "b", "c"):
        topology.add_node(name, kind="switch")
    topology.add_link("a", "b", capacity_mbps=10, latency_ms=1)
    topology.add_link("a", "b", capacity_mbps=20)
    topology.add_link("b", "c", capacity_mbps=30, latency_ms=2, loss=0.1, srlg=("duct", 7), zone="north")
    return topology


def test_link_ids_are_dense_and_the_view_shows_every_field() -> None:
    topology = triangle()
    assert (topology.n_nodes, topology.n_links) == (3, 3)
    assert topology.node_names == ("a", "b", "c")
    assert topology.node_attributes("a") == {"kind": "switch"}
    assert [link.id for link in topology.links()] == [0, 1, 2]
    assert topology.link(2) == Link(
        id=2, src="b", dst="c", capacity_mbps=30, latency_ms=2, loss=0.1, srlg=("duct", 7), zone="north"
    )
    assert [link.id for link in topology.links_between("a", "b")] == [0, 1]
    assert topology.links_between("c", "a") == ()
    assert [link.id for link in topology.out_links("b")] == [2]


def test_changes_show_in_arrays_that_were_taken_before() -> None:
    topology = triangle()
    latency, utilisation = topology.array("latency_ms"), topology.array("utilisation")
    structure = topology.structure()
    topology.set_link(1, latency_ms=5.0, utilisation=1.5)
    topology.set_link(0, latency_ms=None)
    assert math.isnan(latency[0]) and latency[1] == 5.0
    assert utilisation[1] == 1.5
    assert topology.link(0).latency_ms is None
    assert topology.structure() is structure
    topology.add_link("c", "a", capacity_mbps=1)
    assert topology.structure() is not structure


def test_arrays_cannot_be_written_past_the_checks() -> None:
    with pytest.raises(ValueError, match="read-only"):
        triangle().array("loss")[0] = 2.0


def test_columns_survive_growth() -> None:
    topology = triangle()
    for number in range(100):
        topology.add_link("c", "a", capacity_mbps=number + 1)
    assert topology.array("capacity_mbps").tolist() == [10, 20, 30, *range(1, 101)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("capacity_mbps", -1),
        ("capacity_mbps", 0),
        ("capacity_mbps", math.nan),
        ("capacity_mbps", True),
        ("capacity_mbps", None),
        ("latency_ms", -0.1),
        ("latency_ms", math.nan),
        ("latency_ms", math.inf),
        ("latency_ms", "3"),
        ("loss", 1.0),
        ("loss", -0.01),
        ("cost", -1),
        ("weight", math.nan),
        ("utilisation", -0.5),
        ("srlg", "duct7"),
        ("srlg", (1.5,)),
        ("zone", 3),
        ("up", "false"),
        ("latncy_ms", 1.0),
    ],
)
def test_a_bad_field_is_named_and_nothing_changes(field: str, value: object) -> None:
    topology = triangle()
    before = list(topology.links())
    changes: dict[str, object] = {"cost": 9.0, field: value}
    with pytest.raises(TopologyError, match=field):
        topology.set_link(2, **changes)  # type: ignore[arg-type]  # the wrong types are the point
    assert list(topology.links()) == before
    if field not in ("latncy_ms", "utilisation"):
        fields: dict[str, object] = {"capacity_mbps": 1.0, field: value}
        with pytest.raises(TopologyError, match=field):
            topology.add_link("a", "c", **fields)  # type: ignore[arg-type]  # as above
    assert topology.n_links == 3


def test_remedies_are_offered() -> None:
    topology = triangle()
    topology.add_node("frankfurt")
    with pytest.raises(UnknownNode, match=r"'frankfrt'.*did you mean 'frankfurt'") as caught:
        topology.node_index("frankfrt")
    assert caught.value.close == ("frankfurt",)
    with pytest.raises(TopologyError, match="did you mean 'latency_ms'"):
        topology.set_link(0, latency_s=1.0)  # type: ignore[call-arg]  # the unknown field is the point
    with pytest.raises(TopologyError, match="ids run from 0 to 2"):
        topology.link(-1)
    with pytest.raises(TopologyError, match="'a' is already there"):
        topology.add_node("a")
    with pytest.raises(TopologyError, match="self-loop"):
        topology.add_link("a", "a", capacity_mbps=1)
    with pytest.raises(UnknownNode, match="'z'"):
        topology.add_link("a", "z", capacity_mbps=1)
    with pytest.raises(TopologyError, match="no column"):
        topology.array("speed")


def test_copies_are_independent() -> None:
    topology = triangle()
    for twin in (copy.deepcopy(topology), pickle.loads(pickle.dumps(topology))):  # noqa: S301 - our own bytes
        twin.set_link(0, latency_ms=9.0)
        assert topology.link(0).latency_ms == 1.0
        np.testing.assert_array_equal(twin.array("capacity_mbps"), topology.array("capacity_mbps"))
