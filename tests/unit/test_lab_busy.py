"""The choice of a busy stretch, the loads behind it, and made-up demand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mininet_topos import busy
from mininet_topos.abilene import abilene
from mininet_topos.busy import CALM_MAX, LEAD_IN_STEPS, OPTIMUM_MAX, busy_stretch, describe, scale_to_overload
from mininet_topos.demand import BadDemand, Demand, load_demand, map_to
from mininet_topos.generator import generate
from mininet_topos.loads import FloatArray, optimum_utilisation, shortest_utilisation
from mininet_topos.topology import LabTopology, line, ring

DATA = (
    Path(__file__).resolve().parents[2].parent / "shared" / "data" / "abilene" / "abilene_tm_5min_20040301_14d.npz"
)


@pytest.fixture(scope="module")
def real() -> Demand:
    if not DATA.exists():
        pytest.skip(f"no Abilene matrices at {DATA}; put the shared data beside the checkout")
    return map_to(load_demand(DATA), abilene())


@pytest.fixture(scope="module", autouse=True)
def _optima_are_found_once() -> Iterator[None]:
    """What takes the time here is the best routing of hundreds of matrices, most of which come again and again."""
    known: dict[tuple[LabTopology, bytes], float] = {}

    def once(topology: LabTopology, matrix: FloatArray) -> float:
        key = topology, matrix.tobytes()
        if key not in known:
            known[key] = optimum_utilisation(topology, matrix)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(busy, "optimum_utilisation", once)
        yield


def one_pair(topology: LabTopology, mbps: list[float]) -> Demand:
    n = len(topology.nodes)
    matrices = np.zeros((len(mbps), n, n))
    matrices[:, 0, 1] = mbps
    return Demand("test", matrices, topology.node_names)


def test_shortest_paths_follow_latency_and_count_each_direction() -> None:
    topology = ring(4)
    slow = replace(topology, links=(replace(topology.links[0], delay_ms=50.0), *topology.links[1:]))
    loads = shortest_utilisation(slow, one_pair(slow, [5.0]).matrices)[0]
    # s1 to s2 over s4 and s3: the directions b to a of links s2-s3, s3-s4 and s4-s1.
    assert loads.tolist() == [0, 0, 0, 0.5, 0, 0.5, 0, 0.5]


def test_the_optimum_splits_over_both_ways_round_a_ring() -> None:
    topology = ring(3)
    matrix = one_pair(topology, [10.0]).matrices[0]
    assert shortest_utilisation(topology, matrix[None]).max() == pytest.approx(1.0)
    assert optimum_utilisation(topology, matrix) == pytest.approx(0.5)
    assert optimum_utilisation(topology, matrix * 0) == 0.0


def test_the_scale_stops_where_no_routing_could_carry_it() -> None:
    # On a line there is no second path: shortest is the best.
    assert scale_to_overload(one_pair(line(3), [5.0]), line(3)) == pytest.approx(OPTIMUM_MAX / 0.5)
    assert scale_to_overload(one_pair(ring(3), [5.0]), ring(3)) == pytest.approx(1.3 / 0.5)


def test_the_stretch_begins_calm_and_ends_in_overload() -> None:
    topology = ring(3)
    found = busy_stretch(one_pair(topology, [1.0] * 200 + [4.0] * 30 + [1.0] * 200), topology, minutes=200)
    assert found.steps == 40 and found.overload_step is not None
    assert found.start + found.overload_step == 200 and found.overload_step >= LEAD_IN_STEPS
    assert found.peak_utilisation == pytest.approx(1.3) and not found.note


def test_a_demand_that_never_rises_is_played_with_a_note() -> None:
    topology = ring(3)
    assert "no stretch" in busy_stretch(one_pair(topology, [3.0] * 100), topology, 200).note
    constant = busy_stretch(one_pair(topology, [3.0]), topology, 200)
    assert "one matrix" in constant.note and constant.steps == 40 and constant.overload_step == 0


@pytest.mark.parametrize("minutes", [-5, 0, 10, 100_000])
def test_minutes_that_cannot_be_are_refused(minutes: float) -> None:
    with pytest.raises(BadDemand, match="minutes"):
        busy_stretch(one_pair(ring(3), [3.0] * 100), ring(3), minutes)


@pytest.mark.parametrize("minutes", [240, 300, 480])
def test_the_real_data_has_a_stretch_as_the_demo_needs_it(real: Demand, minutes: float) -> None:
    topology = abilene()
    found = busy_stretch(real, topology, minutes)
    window = real.window(found.start, found.steps, found.scale)
    highest = shortest_utilisation(topology, window.matrices).max(axis=1)
    assert highest[:LEAD_IN_STEPS].max() < CALM_MAX
    assert highest.max() > 1.1 and found.overloaded_share > 0.1
    assert found.optimum_utilisation <= OPTIMUM_MAX + 1e-9 and not found.note
    assert max(optimum_utilisation(topology, matrix) for matrix in window.matrices) <= OPTIMUM_MAX + 0.05


def test_a_stretch_chosen_by_hand_is_described(real: Demand) -> None:
    found = describe(real, abilene(), real.index_of("2004-03-02T19:00"), 30, 0.02)
    assert (found.start, found.scale) == (516, 0.02)


def test_made_up_demand_is_the_same_for_the_same_seed_and_has_its_events_in_it() -> None:
    topology = abilene()
    demand, events = generate(topology, 7, 288)
    again, _ = generate(topology, 7, 288)
    other, _ = generate(topology, 8, 288)
    assert np.array_equal(demand.matrices, again.matrices) and not np.array_equal(demand.matrices, other.matrices)
    assert demand.nodes == topology.node_names and (demand.matrices >= 0).all()
    fullest = shortest_utilisation(topology, demand.matrices).mean(axis=0).max()
    assert fullest == pytest.approx(0.5)
    assert events
    for event in events:
        pair = demand.matrices[:, demand.nodes.index(event.source), demand.nodes.index(event.destination)]
        assert pair[event.start : event.end].mean() > np.median(pair)


def test_made_up_demand_has_a_busy_stretch() -> None:
    demand, _ = generate(abilene(), 3, 2016)
    found = busy_stretch(demand, abilene(), 300)
    assert not found.note
    assert busy_stretch(demand, abilene(), 300) == found
    hardest = demand.matrices[found.start + (found.overload_step or 0)]
    assert optimum_utilisation(abilene(), hardest) == optimum_utilisation(abilene(), hardest)
