"""The delay-load curve of links: learnt online, rising in load, hard to fool, shared where a link is unknown."""

import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathing import Topology, TopologyError, WeightError, shortest_path
from pathing.csr import FloatArray
from pathing.latency_model import LatencyModel
from pathing.shared_queue import non_negative

Law = Callable[[FloatArray], FloatArray]


def chain(n_links: int = 1, capacity_mbps: float = 100.0, latency_ms: float | None = 5.0) -> Topology:
    topology = Topology()
    topology.add_node("n0")
    for number in range(n_links):
        topology.add_node(f"n{number + 1}")
        topology.add_link(f"n{number}", f"n{number + 1}", capacity_mbps=capacity_mbps, latency_ms=latency_ms)
    return topology


def hockey_stick(base_ms: float = 5.0, steepness_ms: float = 4.0) -> Law:
    """A queue that is no M/M/1: nothing up to 40 %, then the cube of the load, level where the buffer is full."""
    return lambda load: base_ms + steepness_ms * np.minimum(10 * np.maximum(load - 0.4, 0) ** 3, 2.0) * 5


def teach(
    model: LatencyModel, link: int, law: Law, loads: FloatArray, noise_ms: float = 0.2, seed: int = 1
) -> None:
    random = np.random.default_rng(seed)
    for load in loads:
        latency = law(np.array([load])) + np.abs(random.normal(0, noise_ms))
        model.observe([link], [load], latency)


def loads_between(low: float, high: float, n: int = 400, seed: int = 2) -> FloatArray:
    return np.random.default_rng(seed).uniform(low, high, n)


def test_before_anything_is_measured_a_link_has_its_latency_and_a_short_queue() -> None:
    topology = chain(2, capacity_mbps=10)
    topology.set_link(1, latency_ms=None)
    model = LatencyModel(topology)
    np.testing.assert_allclose(model.link_latency_ms(0.0), [5.0, 10.0])  # unknown: twice the largest known
    # M/M/1 on 10 Mbit/s with packets of 1,500 bytes: 1.2 ms each, nine of them at 90 %.
    np.testing.assert_allclose(model.link_latency_ms(0.9) - model.link_latency_ms(0.0), 9 * 1.2)


def test_it_learns_a_law_it_does_not_know() -> None:
    law = hockey_stick()
    model = LatencyModel(chain())
    teach(model, 0, law, loads_between(0.1, 1.1))
    for load in (0.2, 0.5, 0.7, 0.85, 0.95, 1.05):
        true, before = float(law(np.array([load]))[0]), float(LatencyModel(chain()).link_latency_ms(load)[0])
        learned = float(model.link_latency_ms(load)[0])
        assert abs(learned - true) < 0.1 * true + 0.3, load
        assert abs(learned - true) < abs(before - true) or abs(before - true) < 0.3, load


def test_a_link_that_was_never_busy_gets_the_queue_of_those_that_were() -> None:
    law = hockey_stick()
    topology = chain(8)
    model, quiet = LatencyModel(topology), 7
    for link in range(7):
        teach(model, link, law, loads_between(0.1, 1.0, 200, seed=link))
    teach(model, quiet, law, loads_between(0.1, 0.4, 200))
    alone = LatencyModel(chain(8))
    teach(alone, quiet, law, loads_between(0.1, 0.4, 200))
    true = float(law(np.array([0.9]))[0])
    shared, unshared = (float(m.link_latency_ms(0.9)[quiet]) for m in (model, alone))
    assert abs(shared - true) < 0.35 * (true - 5)
    assert abs(unshared - true) > 0.7 * (true - 5)


def test_queues_are_shared_in_kbit_so_that_a_fast_link_waits_less() -> None:
    topology = chain(6, capacity_mbps=100)
    topology.add_link("n0", "n2", capacity_mbps=1000, latency_ms=5)
    model = LatencyModel(topology)
    for link in range(6):
        teach(model, link, lambda load: 5 + 20 * load**2, loads_between(0.1, 1.0, 200, seed=link))
    slow, fast = (float((model.link_latency_ms(0.9) - model.link_latency_ms(0.0))[link]) for link in (0, 6))
    assert slow == pytest.approx(16.2, rel=0.1)
    assert fast == pytest.approx(slow / 10, rel=0.2)


def test_links_that_differ_keep_their_own_curves() -> None:
    model = LatencyModel(chain(2))
    steep, flat = hockey_stick(steepness_ms=8), hockey_stick(steepness_ms=1)
    for part in range(4):
        teach(model, 0, steep, loads_between(0.1, 1.0, 100, seed=part), seed=part)
        teach(model, 1, flat, loads_between(0.1, 1.0, 100, seed=part), seed=part)
    at_90 = model.link_latency_ms(0.9)
    np.testing.assert_allclose(at_90, [steep(np.array([0.9]))[0], flat(np.array([0.9]))[0]], rtol=0.12)


@settings(deadline=None, max_examples=60)
@given(
    measurements=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.floats(0, 3) | st.just(math.nan),
            st.floats(0, 1e4) | st.just(math.nan),
            st.floats(0, 1) | st.just(math.nan),
        ),
        max_size=40,
    ),
    capacities=st.lists(st.floats(1e-3, 1e6), min_size=3, max_size=3),
    latencies=st.lists(st.none() | st.floats(0, 1e3), min_size=3, max_size=3),
)
def test_whatever_is_measured_latency_is_finite_and_rises_with_load(
    measurements: list[tuple[int, float, float, float]], capacities: list[float], latencies: list[float | None]
) -> None:
    topology = chain(3)
    for link, (capacity, latency) in enumerate(zip(capacities, latencies, strict=True)):
        topology.set_link(link, capacity_mbps=capacity, latency_ms=latency)
    model = LatencyModel(topology)
    for link_id, load, latency_ms, loss in measurements:
        model.observe([link_id], [load], [latency_ms], [loss])
    curve = np.array([model.link_latency_ms(load) for load in np.linspace(0, 3, 61)])
    assert np.isfinite(curve).all() and (curve >= 0).all()
    assert (np.diff(curve, axis=0) >= -1e-9 * curve[1:]).all()
    std = np.array([model.link_latency_std_ms(load) for load in (0.0, 0.7, 3.0)])
    assert np.isfinite(std).all() and (std > 0).all()


def test_one_call_with_many_measurements_is_many_calls_with_one() -> None:
    random = np.random.default_rng(3)
    links, loads = random.integers(0, 3, 60), random.uniform(0, 1.1, 60)
    latency = 5 + 10 * loads**2
    together, one_by_one = LatencyModel(chain(3)), LatencyModel(chain(3))
    together.observe(links, loads, latency)
    for measurement in zip(links, loads, latency, strict=True):
        one_by_one.observe(*measurement)
    # Only when the shared queue is fitted again differs.
    for model in (together, one_by_one):
        model.observe(np.zeros(20, dtype=int), np.full(20, 0.1), np.full(20, 5.1))
    for load in (0.2, 0.6, 1.0):
        np.testing.assert_allclose(together.link_latency_ms(load), one_by_one.link_latency_ms(load), rtol=0.05)


def test_a_tenth_of_wild_measurements_does_no_harm() -> None:
    law, random = hockey_stick(), np.random.default_rng(4)
    clean, dirty = LatencyModel(chain()), LatencyModel(chain())
    for load in loads_between(0.1, 1.0, 600):
        latency = law(np.array([load])) + random.normal(0, 0.2)
        clean.observe([0], [load], latency)
        dirty.observe([0], [load], latency if random.random() > 0.1 else [random.uniform(0, 500)])
    for load in (0.2, 0.5, 0.8):
        true = float(law(np.array([load]))[0])
        assert float(clean.link_latency_ms(load)[0]) == pytest.approx(true, rel=0.1, abs=0.2)
        assert float(dirty.link_latency_ms(load)[0]) == pytest.approx(true, rel=0.15, abs=0.6)


def test_after_a_reroute_the_new_base_is_learnt_in_ten_measurements_and_the_queue_is_kept() -> None:
    law = hockey_stick()
    model = LatencyModel(chain())
    teach(model, 0, law, loads_between(0.1, 1.0))
    queue_ms = float((model.link_latency_ms(0.9) - model.link_latency_ms(0.2))[0])
    teach(model, 0, lambda load: law(load) + 30, loads_between(0.1, 0.4, 10))
    assert float(model.link_latency_ms(0.2)[0]) == pytest.approx(35, abs=1.5)
    assert float((model.link_latency_ms(0.9) - model.link_latency_ms(0.2))[0]) == pytest.approx(queue_ms, rel=0.1)
    teach(model, 0, law, loads_between(0.1, 0.4, 30))
    assert float(model.link_latency_ms(0.2)[0]) == pytest.approx(5, abs=1.5)


def test_a_quiet_night_does_not_wipe_out_the_busy_hour_but_a_busy_day_of_another_kind_does() -> None:
    before, after = hockey_stick(steepness_ms=4), hockey_stick(steepness_ms=2)
    model = LatencyModel(chain(), half_life=50)
    teach(model, 0, before, loads_between(0.1, 1.0, 300))
    busy = float(model.link_latency_ms(0.95)[0])
    teach(model, 0, before, loads_between(0.0, 0.2, 500))
    assert float(model.link_latency_ms(0.95)[0]) == pytest.approx(busy, rel=0.1)
    teach(model, 0, after, loads_between(0.1, 1.0, 500))
    assert float(model.link_latency_ms(0.95)[0]) == pytest.approx(float(after(np.array([0.95]))[0]), rel=0.15)


def test_where_packets_are_lost_the_load_is_what_was_offered() -> None:
    carried, offered = LatencyModel(chain()), LatencyModel(chain())
    for _ in range(100):
        carried.observe([0], [0.96], [25.0], [0.2])
        offered.observe([0], [0.96 / 0.8], [25.0])
    np.testing.assert_array_equal(carried.link_latency_ms(1.2), offered.link_latency_ms(1.2))
    assert float(carried.link_latency_ms(1.2)[0]) == pytest.approx(25, abs=0.5)


def test_what_was_not_measured_teaches_nothing() -> None:
    model, untouched = LatencyModel(chain(2)), LatencyModel(chain(2))
    model.observe([0, 0, 1, 1], [math.nan, 0.5, 0.5, 0.5], [9.0, math.nan, 9.0, 9.0], [0.0, 0.0, math.nan, 1.0])
    model.observe([], [], [])
    np.testing.assert_array_equal(model.link_latency_ms(0.5), untouched.link_latency_ms(0.5))


def test_it_grows_surer_and_its_error_bars_hold() -> None:
    law, random = hockey_stick(), np.random.default_rng(5)
    model = LatencyModel(chain())
    first = float(model.link_latency_std_ms(0.8)[0])
    inside = []
    for number, load in enumerate(loads_between(0.1, 1.0, 800)):
        latency = float(law(np.array([load]))[0]) + random.normal(0, 0.5)
        if number >= 400:
            off = abs(float(model.link_latency_ms(load)[0]) - latency)
            inside.append(off < 2 * float(model.link_latency_std_ms(load)[0]))
        model.observe([0], [load], [latency])
    assert float(model.link_latency_std_ms(0.8)[0]) < 0.4 * first
    assert 0.88 < np.mean(inside) < 0.995


def test_a_path_is_the_sum_of_its_links_at_their_forecast_loads() -> None:
    topology = chain(3)
    model = LatencyModel(topology)
    teach(model, 1, hockey_stick(), loads_between(0.1, 1.0, 100))
    forecast = np.array([0.2, 0.9, 0.5])
    path = shortest_path(topology, "n1", "n3")
    expected = model.link_latency_ms(forecast)
    assert model.predict_latency(path, forecast) == pytest.approx(expected[1] + expected[2])
    assert model.predict_latency(shortest_path(topology, "n1", "n1"), forecast) == 0.0


def test_as_a_weight_it_leads_around_the_link_that_queues() -> None:
    topology = Topology()
    for name in "abc":
        topology.add_node(name)
    direct = topology.add_link("a", "c", capacity_mbps=100, latency_ms=5)
    around = [topology.add_link(*ends, capacity_mbps=100, latency_ms=5) for ends in ("ab", "bc")]
    model = LatencyModel(topology)
    for load in loads_between(0.1, 1.0, 300):
        model.observe([direct, *around], [load] * 3, [5 + 30 * load**2, 5, 5])
    for load, links in ((0.1, [direct]), (0.8, around)):
        path = shortest_path(topology, "a", "c", model.link_latency_ms(load))
        assert list(path.links) == links


def test_a_link_added_later_starts_from_what_the_others_showed() -> None:
    topology = chain(4)
    model = LatencyModel(topology)
    for link in range(4):
        teach(model, link, hockey_stick(), loads_between(0.1, 1.0, 200, seed=link))
    new = topology.add_link("n0", "n2", capacity_mbps=100, latency_ms=50)
    latency = model.link_latency_ms(0.9)
    assert latency.shape == (5,)
    assert latency[new] - 50 == pytest.approx(latency[0] - 5, rel=0.2)
    model.observe([new], [0.1], [50.0])


def test_memory_does_not_grow_with_what_was_measured() -> None:
    model = LatencyModel(chain(10))
    links, random = np.arange(10), np.random.default_rng(6)

    def measure(times: int) -> None:
        for _ in range(times):
            load = random.uniform(0, 1, 10)
            model.observe(links, load, 5 + load)

    measure(50)
    tracemalloc.start()
    measure(20)
    before = tracemalloc.get_traced_memory()[0]
    measure(200)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 50_000


@pytest.mark.parametrize(
    ("measurement", "message"),
    [
        (([0], [-0.1], [5.0]), r"link 0 \('n0' -> 'n1'\): utilisation is -0.1"),
        (([0], [0.1], [math.inf]), r"link 0 .*latency_ms is inf"),
        (([1, 0], [0.1, 0.1], [5.0, -5.0]), r"link 0 .*latency_ms is -5.0"),
        (([1], [0.1], [5.0], [1.5]), r"link 1 .*loss is 1.5"),
        (([2], [0.1], [5.0]), "no link with id 2; ids run from 0 to 1"),
        (([-1], [0.1], [5.0]), "no link with id -1"),
        (([0.5], [0.1], [5.0]), "no whole numbers"),
        (([0, 1], [0.1], [5.0, 5.0]), r"shapes \(2,\), \(1,\), \(2,\)"),
    ],
)
def test_a_bad_measurement_is_named_and_nothing_of_its_batch_is_learnt(
    measurement: tuple[list[float], ...], message: str
) -> None:
    model, untouched = LatencyModel(chain(2)), LatencyModel(chain(2))
    with pytest.raises(TopologyError, match=message):
        model.observe(*measurement)
    np.testing.assert_array_equal(model.link_latency_ms(0.5), untouched.link_latency_ms(0.5))


@pytest.mark.parametrize("utilisation", [-0.1, math.nan, [0.1], [0.1, math.nan]])
def test_a_forecast_that_is_none_is_refused(utilisation: float | list[float]) -> None:
    with pytest.raises(WeightError, match="utilisation has"):
        LatencyModel(chain(2)).link_latency_ms(utilisation)


@pytest.mark.parametrize("half_life", [0.0, -1.0, math.nan])
def test_a_half_life_that_is_none_is_refused(half_life: float) -> None:
    with pytest.raises(WeightError, match="half_life"):
        LatencyModel(chain(), half_life=half_life)


def test_a_topology_without_links_has_no_latencies() -> None:
    assert LatencyModel(Topology()).link_latency_ms(0.5).shape == (0,)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_non_negative_least_squares_meets_its_optimality_conditions(seed: int) -> None:
    random = np.random.default_rng(seed)
    root = random.normal(size=(4, 5, 5))
    precision = root @ root.transpose(0, 2, 1) + np.eye(5)
    moment = random.normal(size=(4, 5)) * 3
    x, inverse = non_negative(precision, moment)
    slope = np.einsum("ijk,ik->ij", precision, x) - moment
    assert (x >= 0).all()
    np.testing.assert_allclose(slope[x > 0], 0, atol=1e-6)
    assert (slope[x == 0] > -1e-6).all()
    np.testing.assert_allclose(inverse @ precision, np.broadcast_to(np.eye(5), (4, 5, 5)), atol=1e-8)
