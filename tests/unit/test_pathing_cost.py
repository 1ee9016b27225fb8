"""The cost of a link: each part in its unit, convex in load, additive along a path."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathing import CostWeights, Topology, WeightError, link_cost, load_penalty

ONLY = {"latency": 0.0, "load_ms": 0.0, "loss_ms": 0.0, "price_ms": 0.0}


def two_links() -> Topology:
    topology = Topology()
    topology.add_node("a")
    topology.add_node("b")
    topology.add_link("a", "b", capacity_mbps=100, latency_ms=5, loss=0.01, cost=3)
    topology.add_link("b", "a", capacity_mbps=10, loss=0.5)
    topology.set_link(0, utilisation=0.5)
    return topology


def test_each_part_is_in_milliseconds() -> None:
    topology = two_links()
    for weights, expected in (
        ({"latency": 1.0}, [5.0, 10.0]),  # unknown: twice the largest known
        ({"load_ms": 2.0}, [2 * (1 / 3 + 0.5), 0.0]),
        ({"loss_ms": 1000.0}, [-1000 * math.log(0.99), 1000 * math.log(2)]),
        ({"price_ms": 0.5}, [1.5, 0.5]),
    ):
        np.testing.assert_allclose(link_cost(topology, weights=CostWeights(**(ONLY | weights))), expected)
    parts = sum(link_cost(topology, weights=CostWeights(**(ONLY | {k: 1.0}))) for k in ONLY)
    np.testing.assert_allclose(link_cost(topology, weights=CostWeights(1.0, 1.0, 1.0, 1.0)), parts)


def test_the_penalty_is_the_published_curve() -> None:
    knees = np.array([0, 1 / 3, 2 / 3, 0.9, 1.0, 1.1, 1.2])
    np.testing.assert_allclose(load_penalty(knees), [0, 1 / 3, 4 / 3, 11 / 3, 32 / 3, 182 / 3, 1682 / 3])


@given(st.floats(0, 3), st.floats(0, 3))
def test_the_penalty_is_convex_and_rising(a: float, b: float) -> None:
    low, middle, high = load_penalty(np.array([min(a, b), (a + b) / 2, max(a, b)]))
    assert low <= middle <= high
    assert middle <= (low + high) / 2 + 1e-9


def test_extra_load_counts_by_capacity() -> None:
    topology = two_links()
    weights = CostWeights(**(ONLY | {"load_ms": 1.0}))
    by_link = link_cost(topology, load_mbps=np.array([10.0, 10.0]), weights=weights)
    np.testing.assert_allclose(by_link, load_penalty(np.array([0.6, 1.0])))
    np.testing.assert_array_equal(link_cost(topology, load_mbps=10, weights=weights), by_link)


def test_bad_weights_and_loads_are_named() -> None:
    with pytest.raises(WeightError, match="loss_ms"):
        CostWeights(loss_ms=-1)
    for load, message in ((np.ones(3), "shape"), (-1.0, "negative"), (math.nan, "non-finite")):
        with pytest.raises(WeightError, match=f"load_mbps.*{message}"):
            link_cost(two_links(), load_mbps=load)
