"""Whatever is given instead of what is asked for, the answer is an error of pathing that says what is wrong."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pathing as typed_pathing
from pathing import PathingError, Topology

pathing: Any = typed_pathing  # wrong types are what is tested here

HUGE = 10**400  # an int that is no float


def ring() -> Any:
    topology = Topology()
    for name in "abc":
        topology.add_node(name)
    for src, dst in ("ab", "bc", "ac", "ba"):
        topology.add_link(src, dst, capacity_mbps=10, latency_ms=1.0, srlg=("duct",) if src == "a" else ())
    return topology


def books() -> Any:
    resources = pathing.Resources({"l": 10})
    resources.set_compute("n", pathing.Compute(4))
    return resources


def limited(label_budget: Any = 9, **constraints: Any) -> Any:
    return pathing.constrained_path(
        ring(), "a", "c", pathing.Constraints(**constraints), label_budget=label_budget
    )


Call = Callable[[], object]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        # Links
        (lambda: ring().set_link(0, capacity_mbps=HUGE), "capacity_mbps"),
        (lambda: ring().add_link("a", "b", capacity_mbps=1, cost=HUGE), "cost"),
        (lambda: ring().add_link("a", "b", capacity_mbps=1, srlg=5), "srlg is 5"),
        (lambda: ring().add_link("a", "b", capacity_mbps=1, srlg=None), "srlg is None"),
        (lambda: ring().add_link("a", "b", capacity_mbps=1, srlg=b"duct"), "srlg is b'duct'"),
        (lambda: ring().link(1.0), "1.0"),
        (lambda: ring().link("a"), "'a'"),
        (lambda: ring().link(True), "True"),
        # Weights and costs
        (lambda: pathing.shortest_path(ring(), "a", "c", np.ones(4) * 1j), "real numbers"),
        (lambda: pathing.shortest_path(ring(), "a", "c", [1, 2, 3, HUGE]), "real numbers"),
        (lambda: pathing.link_cost(ring(), load_mbps="a"), "load_mbps is 'a'"),
        (lambda: pathing.link_cost(ring(), load_mbps=np.ones(4) * 1j), "load_mbps"),
        (lambda: pathing.CostWeights(latency="a"), "latency is 'a'"),
        (lambda: pathing.CostWeights(price_ms=HUGE), "price_ms"),
        (lambda: pathing.load_penalty(np.array([0.5, -0.1])), "-0.1"),
        # Searches
        *(
            (lambda k=k: pathing.k_shortest_paths(ring(), "a", "c", k), "k is")
            for k in ("3", 2.5, math.nan, None, True)
        ),
        (lambda: pathing.Constraints(max_latency_ms=HUGE), "max_latency_ms"),
        (lambda: pathing.Constraints(max_hops=HUGE), "max_hops"),
        (
            lambda: pathing.constrained_path(ring(), "a", "c", pathing.Constraints(), label_budget="9"),
            "label_budget is '9'",
        ),
        (
            lambda: pathing.constrained_path(
                ring(), "a", "c", pathing.Constraints(bandwidth_mbps=1, free_mbps=np.ones(4) * 1j)
            ),
            "free_mbps",
        ),
        # Promises
        (lambda: books().reserve("o", ["l"], "5"), "'5' Mbit/s"),
        (lambda: books().reserve("o", ["l"], None), "None Mbit/s"),
        (lambda: books().reserve("o", ["l"], HUGE), "Mbit/s"),
        (lambda: books().reserve("o", ["l"], 1, compute={"n": {"cpu_cores": 1}}), "compute of node 'n'"),
        (lambda: books().reserve("o", ["l"], 1, compute=[pathing.Compute(1)]), "compute"),
        (lambda: books().reserve("o", [["l"]], 1), r"link is \['l'\]"),
        (lambda: books().reserve("o", "l", 1), "keys is 'l'"),
        (lambda: books().reserve("o", None, 1), "keys is None"),
        (lambda: books().reserve(["o"], ["l"], 1), r"owner is \['o'\]"),
        (lambda: books().release(["o"]), r"owner is \['o'\]"),
        (lambda: books().reservation(["o"]), r"owner is \['o'\]"),
        (lambda: books().free(["l"]), r"link is \['l'\]"),
        (lambda: books().compute_free(["n"]), r"compute node is \['n'\]"),
        (lambda: books().set_capacity("l", None), "None Mbit/s"),
        (lambda: books().set_capacity(["l"], 1), r"link is \['l'\]"),
        (lambda: books().set_compute("n", None), "compute of node 'n' is None"),
        (lambda: pathing.Compute("1"), "'1' cpu_cores"),
        # The latency model
        (lambda: pathing.LatencyModel(ring(), half_life="a"), "half_life is 'a'"),
        (lambda: pathing.LatencyModel(ring()).observe([0], ["x"], [1]), "utilisation"),
        (lambda: pathing.LatencyModel(ring()).observe([0], [0.5], [1], ["x"]), "loss"),
        (lambda: pathing.LatencyModel(ring()).observe([[0], [1, 2]], [0.5], [1]), "link_ids"),
        (lambda: pathing.LatencyModel(ring()).link_latency_ms("a"), "utilisation"),
        (lambda: pathing.LatencyModel(ring()).predict_latency(pathing.Path(("a", "b"), (99,), 1), 0.1), "99"),
        (lambda: pathing.LatencyModel(ring()).predict_latency(pathing.Path(("a", "b"), (-1,), 1), 0.1), "-1"),
        # Whole matrices
        (lambda: pathing.route_demands(ring(), [("a", "c", 1)]), "demands are"),
        (lambda: pathing.route_demands(ring(), {("a", "c"): 1}, scenarios={("a", "c"): 2}), "demands are"),
        (lambda: pathing.route_demands(ring(), {("a", "c"): HUGE}), "'a' -> 'c'"),
        (lambda: pathing.route_demands(ring(), {("a", "c"): 1.0}, gap=HUGE), "gap"),
        (lambda: pathing.route_demands(ring(), {("a", "c"): 1.0}, previous={}), "previous is dict"),
        (lambda: pathing.route_demands(ring(), {("a", "b"): 1e308, ("a", "c"): 1.5e308}), "'a' -> 'c'.*too large"),
        (lambda: pathing.route_demands(ring(), {("a", "c"): 1}, max_paths=2.0), "max_paths is 2.0"),
    ],
)
def test_what_cannot_be_is_named(call: Call, named: str) -> None:
    with pytest.raises(PathingError, match=named):
        call()


@pytest.mark.parametrize("weight", ["up", "srlg", "zone", "network of disjoint paths, split False"])
def test_a_weight_that_is_none_is_refused_whatever_was_searched_for_before(weight: str) -> None:
    topology = ring()
    pathing.shortest_path(topology, "a", "c")
    pathing.disjoint_paths(topology, "a", "c")
    pathing.disjoint_paths(topology, "a", "c", k=1, by="srlg", constraints=pathing.Constraints(zones=[None]))
    with pytest.raises(PathingError, match=r"shared-risk|risk-disjoint"):
        pathing.disjoint_paths(topology, "a", "c", by="srlg")
    with pytest.raises(PathingError, match=f"no weight '{weight}'"):
        pathing.shortest_path(topology, "a", "c", weight)


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    one, topology, resources = np.int64(1), ring(), books()
    assert len(pathing.k_shortest_paths(topology, "a", "c", one)) == 1
    assert topology.link(one).id == 1
    assert len(pathing.route_demands(topology, {("a", "c"): 15.0}, max_paths=one).paths["a", "c"]) == 1
    assert resources.reserve("o", ["l"], 1.0, priority=one).priority == 1
    assert pathing.Constraints(max_hops=one).max_hops == 1


def test_more_paths_than_fit_in_memory_may_be_asked_for() -> None:
    assert len(pathing.k_shortest_paths(ring(), "a", "c", 10**30)) == 2


def test_groups_that_can_be_read_only_once_are_kept() -> None:
    topology = ring()
    topology.set_link(0, srlg=(group for group in ("x", 7)))
    assert topology.link(0).srlg == ("x", 7)
    assert topology.link(topology.add_link("a", "c", capacity_mbps=1, srlg=iter(["y"]))).srlg == ("y",)


def test_an_unknown_utilisation_has_an_unknown_penalty() -> None:
    np.testing.assert_array_equal(pathing.load_penalty(np.array([0.0, math.nan])), [0.0, math.nan])
