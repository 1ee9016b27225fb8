"""Constrained paths against the list of all simple paths, and what a refusal says against the same list."""

import contextlib
import heapq
import itertools
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from pathing import NoPath, Path, Topology, TopologyError, UnknownNode, WeightError, shortest_path
from pathing.constrained import constrained_path
from pathing.constraints import Constraints
from pathing.errors import ConstraintError, Fault, LabelBudget
from pathing.label_setting import lightest
from pathing.label_setting.problem import Best, Problem
from pathing.label_setting.relaxation import Prices

# In the order in which a refusal looks at them.
NUMBERS = ("max_latency_ms", "max_loss", "max_hops", "bandwidth_mbps")
SETS = ("zones", "encrypted", "avoid_nodes", "avoid_links", "require_nodes", "require_links")

# Decimal fractions, whose sums come out differently in different orders; zeros and equals make ties.
LATENCIES = (0.0, 0.1, 0.2, 0.3, 0.7, 1.0)
LOSSES = (0.0, 0.0, 0.01, 0.05, 0.1, 0.5)
WEIGHTS = (0.0, 1.0, 1.0, 2.0, 3.0, 7.5)


@dataclass(frozen=True)
class Candidate:
    """A simple path and what it has of everything; its latency is infinite if unknown."""

    links: tuple[int, ...]
    nodes: tuple[str, ...]
    weight: float
    max_latency_ms: float
    max_loss: float
    max_hops: int
    bandwidth_mbps: float
    zones: frozenset[str | None]
    encrypted: bool

    def satisfies(self, name: str, asked: Any) -> bool:
        checks: dict[str, Callable[[], bool]] = {
            "bandwidth_mbps": lambda: self.bandwidth_mbps >= asked * (1 - 1e-12),
            "zones": lambda: self.zones <= set(asked),
            "encrypted": lambda: self.encrypted,
            "avoid_nodes": lambda: not set(self.nodes) & set(asked),
            "avoid_links": lambda: not set(self.links) & set(asked),
            "require_nodes": lambda: set(self.nodes) >= set(asked),
            "require_links": lambda: set(self.links) >= set(asked),
        }
        if name in checks:
            return checks[name]()
        return bool(getattr(self, name) <= asked * (1 + 1e-12) + (1e-13 if name == "max_loss" else 0.0))


@dataclass(frozen=True)
class Network:
    """A random topology with weights, two of its nodes and all simple paths between them."""

    topology: Topology
    weights: tuple[float, ...]
    free_mbps: tuple[float, ...] | None
    src: str
    dst: str

    def candidates(self) -> list[Candidate]:
        return list(self._onward(self.src, (self.src,), ()))

    def _onward(self, node: str, nodes: tuple[str, ...], links: tuple[int, ...]) -> Iterator[Candidate]:
        if node == self.dst:
            yield self._candidate(nodes, links)
            return
        for link in self.topology.out_links(node):
            if link.up and math.isfinite(self.weights[link.id]) and link.dst not in nodes:
                yield from self._onward(link.dst, (*nodes, link.dst), (*links, link.id))

    def _candidate(self, nodes: tuple[str, ...], path: tuple[int, ...]) -> Candidate:
        links = [self.topology.link(link) for link in path]
        free = [
            max(
                0.0,
                link.capacity_mbps * (1 - link.utilisation) if self.free_mbps is None else self.free_mbps[link.id],
            )
            for link in links
        ]
        return Candidate(
            path,
            nodes,
            math.fsum(self.weights[link] for link in path),
            math.fsum(math.inf if link.latency_ms is None else link.latency_ms for link in links),
            1 - math.prod(1 - link.loss for link in links),
            len(path),
            min(free, default=math.inf),
            frozenset(link.zone for link in links),
            all(link.encrypted for link in links),
        )


def random_network(source: random.Random) -> Network:
    topology = Topology()
    names = [f"n{number}" for number in range(source.choice([2, 4, 6, 8, 9, 10, 10]))]
    for name in names:
        topology.add_node(name)
    fine = source.random() < 0.5
    unknown = source.choice([0.0, 0.0, 0.05, 0.2])
    tree = [(source.choice(names[:number]), name) for number, name in enumerate(names) if number]
    extra = [tuple(source.sample(names, 2)) for _ in range(int(source.choice([0.5, 0.8, 1.2]) * len(names)))]
    for src, dst in tree + extra:
        for ends in [(src, dst), (dst, src)][: source.choice([1, 2, 2, 2])]:
            latency_ms = source.uniform(0, 2) if fine else source.choice(LATENCIES)
            link = topology.add_link(
                *ends,
                capacity_mbps=source.choice([10, 20, 40]),
                latency_ms=None if source.random() < unknown else latency_ms,
                loss=source.uniform(0, 0.2) if fine else source.choice(LOSSES),
                zone=source.choice([None, "a", "a", "a", "b"]),
                encrypted=source.random() < 0.8,
                up=source.random() < 0.95,
            )
            topology.set_link(link, utilisation=source.choice([0.0, 0.0, 0.3, 0.7, 1.1]))
    links = range(topology.n_links)
    weights = [source.uniform(0, 9) if fine else source.choice(WEIGHTS) for _ in links]
    for link in links:
        weights[link] = math.inf if source.random() < 0.02 else weights[link]
    free = [source.choice([-1.0, 0.0, 5.5, 30.0, 40.0]) for _ in links] if source.random() < 0.3 else None
    src, dst = source.choice(names), source.choice(names)
    return Network(topology, tuple(weights), None if free is None else tuple(free), src, dst)


def far_apart(source: random.Random, network: Network) -> Network:
    """The same network with latencies and weights of very different sizes."""
    sizes = (0.0, 0.0, 1e-300, 1e-200, 1e-12, 1.0, 1.0, 3.0, 1e12, 1e200, 1e300)
    for link in range(network.topology.n_links):
        network.topology.set_link(link, latency_ms=source.choice(sizes))
    return replace(network, weights=tuple(source.choice(sizes) for _ in network.weights))


def random_constraints(source: random.Random, network: Network, candidates: list[Candidate]) -> dict[str, Any]:
    """A few fields; a limit is often exactly what some path has, sometimes a little beside it."""
    nodes, links = list(network.topology.node_names), list(range(network.topology.n_links))
    source.shuffle(nodes)
    source.shuffle(links)
    fields = source.sample(NUMBERS, source.choice([0, 1, 2, 3, 3, 4])) + source.sample(
        SETS, source.choice([0, 0, 1, 1, 2])
    )
    asked: dict[str, Any] = {}
    for name in fields:
        if name in NUMBERS:
            values = sorted({getattr(path, name) for path in candidates} - {math.inf}) or [1]
            asked[name] = source.choice(values)
            if name != "max_hops":
                asked[name] *= source.choice([1, 1, 0.95, 1.05])
    asked |= {
        "max_loss": min(1.0, asked.get("max_loss", 1.0)),
        "zones": source.choice([("a",), ("a", None), ("a", "b"), {"a", "b", None}, ()]),
        "encrypted": True,
        "avoid_nodes": frozenset(nodes[:2]),
        "avoid_links": tuple(links[: source.randint(1, 3)]),
        "require_nodes": tuple(nodes[2 : 2 + source.randint(1, 3)]),
        "require_links": tuple(links[3 : 3 + source.randint(1, 2)]),
    }
    spared = {network.src, network.dst} if source.random() < 0.9 else set()
    for link in asked["require_links"] if "require_links" in fields else ():
        spared |= {network.topology.link(link).src, network.topology.link(link).dst}
    asked["avoid_nodes"] -= spared
    return {name: asked[name] for name in (*NUMBERS, *SETS) if name in fields and asks(name, asked[name], network)}


def asks(name: str, value: Any, network: Network) -> bool:
    """Whether a value asks for anything at all; an empty collection of zones does."""
    if name == "require_nodes":
        return not set(value) <= {network.src, network.dst}
    if name == "max_loss":
        return bool(value < 1)
    return name not in SETS or name == "zones" or bool(value)


@dataclass(frozen=True)
class Question:
    """Constraints on a network, by field, and all simple paths there are."""

    network: Network
    asked: dict[str, Any]
    candidates: list[Candidate]

    def answer(self, label_budget: int = 1_000_000) -> Path:
        free = None if self.network.free_mbps is None else np.array(self.network.free_mbps)
        constraints = Constraints(free_mbps=free, **self.asked)
        weights = np.array(self.network.weights)
        ends = self.network.src, self.network.dst
        return constrained_path(self.network.topology, *ends, constraints, weights, label_budget=label_budget)

    def left_by(self, names: Sequence[str]) -> list[Candidate]:
        return [path for path in self.candidates if all(path.satisfies(name, self.asked[name]) for name in names)]

    def left_without(self, name: str) -> list[Candidate]:
        return self.left_by([other for other in self.asked if other != name])

    def check(self) -> bool:
        """Ask, and compare the answer or the refusal with the list; whether there was an answer."""
        good = self.left_by(list(self.asked))
        try:
            path = self.answer()
        except NoPath as refusal:
            assert not good
            self.check_refusal(refusal)
            return False
        assert [(path.nodes, path.links)] == [(one.nodes, one.links) for one in good if one.links == path.links]
        assert path.weight == pytest.approx(
            math.fsum(self.network.weights[link] for link in path.links), rel=1e-11
        )
        assert path.weight == pytest.approx(min(one.weight for one in good), rel=1e-11, abs=0.0)
        return True

    def check_with_budget(self, label_budget: int) -> type:
        """Check whatever comes of it; returns what it was."""
        good = self.left_by(list(self.asked))
        least = min((path.weight for path in good), default=math.inf)
        try:
            assert self.answer(label_budget).weight == pytest.approx(least)
        except NoPath as refusal:
            assert not good
            if refusal.constraint is not None and refusal.nearest is not None:
                values = [getattr(path, refusal.constraint) for path in self.left_without(refusal.constraint)]
                self.check_nearest(refusal.constraint, refusal.nearest, values)
            return NoPath
        except LabelBudget as spent:
            assert spent.bound <= least * (1 + 1e-9)  # noqa: PT017  # other outcomes are checked too
            assert spent.best is None or spent.best.links in [path.links for path in good]  # noqa: PT017
            return LabelBudget
        return Path

    def check_refusal(self, refusal: NoPath) -> None:
        alone = [name for name in self.asked if not self.left_by([name])]
        helpful = [name for name in alone or self.asked if self.left_without(name)]
        if not self.candidates:
            assert (refusal.constraint, refusal.nearest) == (None, None)
        elif len(alone) > 1 or not helpful:
            assert (refusal.constraint, refusal.nearest) == (alone[0] if alone else None, None)
            assert all(name in refusal.reason for name in alone or self.asked)
            assert {fault.constraint for fault in refusal.faults} == set(alone or self.asked)
            if len(alone) > 1:
                self.check_faults(refusal.faults)
        else:
            name = helpful[0]
            assert refusal.constraint == name
            assert name in refusal.reason
            values = [getattr(path, name) for path in self.left_without(name)] if name in NUMBERS else []
            self.check_nearest(name, refusal.nearest, [value for value in values if value != math.inf])

    def check_faults(self, faults: Sequence[Fault]) -> None:
        """Asked with all that was said to be nearest, and without what has no nearest value, there is a path."""
        ruled_out = {fault.constraint for fault in faults}
        eased = {name: value for name, value in self.asked.items() if name not in ruled_out}
        if not self.left_by(list(eased)):
            return
        eased |= {fault.constraint: fault.nearest for fault in faults if fault.nearest is not None}
        replace(self, asked=eased).answer()
        for fault in faults:
            known = [path for path in self.left_by(list(eased)) if path.max_latency_ms < math.inf]
            assert not (fault.unmeasured and known)
            assert not fault.unmeasured or fault.constraint == "max_latency_ms"

    def check_nearest(self, name: str, nearest: float | None, values: Sequence[float]) -> None:
        if not values:
            assert nearest is None
            return
        best = max(values) if name == "bandwidth_mbps" else min(values)
        assert nearest == pytest.approx(best, rel=1e-11, abs=1e-13)
        granted = self.asked | {name: nearest}
        assert replace(self, asked=granted).check()


def random_questions(
    source: random.Random,
    n_networks: int,
    each: int,
    change: Callable[[random.Random, Network], Network] | None = None,
) -> Iterator[Question]:
    for _ in range(n_networks):
        network = random_network(source)
        network = change(source, network) if change else network
        candidates = network.candidates()
        for _ in range(each):
            yield Question(network, random_constraints(source, network, candidates), candidates)


@pytest.mark.parametrize("seed", range(40))
def test_the_answer_is_the_best_of_all_simple_paths_and_a_refusal_says_what_would_have_worked(seed: int) -> None:
    answered = [question.check() for question in random_questions(random.Random(seed), n_networks=50, each=2)]
    assert 10 < sum(answered) < 90  # or this would prove little


@pytest.mark.parametrize("seed", range(10))
def test_numbers_hundreds_of_orders_of_magnitude_apart_give_the_same_answers(seed: int) -> None:
    questions = random_questions(random.Random(seed), n_networks=30, each=2, change=far_apart)
    assert sum(question.check() for question in questions) > 5


@pytest.fixture
def search_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the prices and the reductions that on small networks leave little to search."""

    def no_reduction(problem: Problem) -> Any:
        return np.ones(problem.arcs.size, dtype=np.bool_)

    def no_prices(problem: Problem, *_: object) -> Prices:
        return Prices(np.zeros(len(problem.limits)), -math.inf)

    monkeypatch.setattr(lightest, "best_prices", no_prices)
    monkeypatch.setattr(lightest, "_within_limits", no_reduction)
    monkeypatch.setattr(lightest, "_without_dead_ends", lambda problem: problem)
    monkeypatch.setattr(Best, "offer", lambda *_: None)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.usefixtures("search_alone")
def test_label_setting_finds_it_without_the_prices_and_the_reductions_before_it(seed: int) -> None:
    answered = [question.check() for question in random_questions(random.Random(seed), n_networks=50, each=2)]
    assert any(answered)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.usefixtures("search_alone")
def test_a_small_budget_gives_up_and_never_says_what_is_wrong(seed: int) -> None:
    outcomes = [
        question.check_with_budget(1 + number % 5)
        for number, question in enumerate(random_questions(random.Random(seed), n_networks=50, each=2))
    ]
    assert set(outcomes) == {Path, NoPath, LabelBudget}


def grid(size: int, seed: int, opposed: bool = True) -> Topology:
    """A square grid where what is cheap is slow, or has nothing to do with it."""
    source, topology = random.Random(seed), Topology()
    places = [(row, column) for row in range(size) for column in range(size)]
    for place in places:
        topology.add_node(str(place))
    for (row, column), step in itertools.product(places, ((0, 1), (1, 0), (0, -1), (-1, 0))):
        beside = (row + step[0], column + step[1])
        if beside in places:
            latency_ms = source.randint(1, 20)
            topology.add_link(
                str((row, column)),
                str(beside),
                capacity_mbps=1,
                latency_ms=latency_ms,
                loss=source.uniform(0, 0.01),
                cost=21 - latency_ms + source.randint(0, 2) if opposed else source.choice([1, 1, 1, 20]),
            )
    return topology


def plain_label_setting(topology: Topology, src: str, dst: str, limits: tuple[float, float, int]) -> float:
    """Least cost, by labels in order of cost without any bound: another algorithm for the same question."""
    most_ms, most_loss, most_hops = limits
    fronts: dict[str, list[tuple[float, float, int]]] = {}
    heap: list[tuple[float, str, float, float, int]] = [(0.0, src, 0.0, 0.0, 0)]
    while heap:
        cost, node, latency_ms, loss, hops = heapq.heappop(heap)
        if node == dst:
            return cost
        front = fronts.setdefault(node, [])
        if any(one[0] <= latency_ms and one[1] <= loss and one[2] <= hops for one in front):
            continue
        front.append((latency_ms, loss, hops))
        for link in topology.out_links(node):
            onward = (latency_ms + (link.latency_ms or 0.0), 1 - (1 - loss) * (1 - link.loss), hops + 1)
            if onward[0] <= most_ms and onward[1] <= most_loss and onward[2] <= most_hops:
                heapq.heappush(heap, (cost + link.cost, link.dst, *onward))
    return math.inf


def assert_agrees_with_plain_label_setting(topology: Topology, limits: Sequence[tuple[float, float, int]]) -> None:
    """`limits` are the share of the way from the least latency to that of the cheapest path, loss and hops."""
    src, dst = topology.node_names[0], topology.node_names[-1]
    fast_ms = shortest_path(topology, src, dst).weight
    cheap_ms = shortest_path(topology, src, dst, "cost").latency_ms(topology) or 0.0
    for share, max_loss, max_hops in limits:
        most_ms = round(fast_ms + share * (cheap_ms - fast_ms)) + 0.5
        constraints = Constraints(max_latency_ms=most_ms, max_loss=max_loss, max_hops=max_hops)
        try:
            weight = constrained_path(topology, src, dst, constraints, "cost").weight
        except NoPath:
            weight = math.inf
        assert weight == plain_label_setting(topology, src, dst, (most_ms, max_loss, max_hops))


@pytest.mark.parametrize("seed", range(4))
def test_larger_networks_agree_with_another_algorithm(seed: int) -> None:
    limits = itertools.product((0.1, 0.4, 0.8), (0.05, 0.06, 0.08), (14, 18))
    assert_agrees_with_plain_label_setting(grid(8, seed), list(limits))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.usefixtures("search_alone")
def test_label_setting_alone_agrees_with_another_algorithm_where_three_limits_bind(seed: int) -> None:
    limits = itertools.product((0.3, 0.5), (0.045, 0.055), (10, 12, 14))
    assert_agrees_with_plain_label_setting(grid(6, seed, opposed=False), list(limits))


@pytest.mark.usefixtures("search_alone")
def test_a_dearer_way_of_fewer_links_is_kept_when_only_it_can_be_finished() -> None:
    topology = Topology()
    for name in "aklmxyz":
        topology.add_node(name)
    for src, dst, latency_ms, cost in (
        ("a", "k", 1, 1),
        ("k", "l", 1, 1),
        ("l", "x", 1, 1),
        ("a", "m", 5, 9),
        ("m", "x", 5, 9),
        ("x", "z", 99, 1),
        ("x", "y", 1, 1),
        ("y", "z", 1, 1),
    ):
        topology.add_link(src, dst, capacity_mbps=1, latency_ms=latency_ms, cost=cost)
    constraints = Constraints(max_latency_ms=50, max_loss=0.5, max_hops=4)
    assert constrained_path(topology, "a", "z", constraints, "cost").nodes == ("a", "m", "x", "y", "z")


def test_more_stops_than_have_their_order_in_the_bounds() -> None:
    answered = []
    for seed in range(20):
        topology = grid(4, seed)
        names = topology.node_names
        network = Network(topology, tuple(topology.array("cost").tolist()), None, names[0], names[-1])
        stops = random.Random(seed).sample(names[1:-1], 8)
        answered.append(Question(network, {"max_hops": 12, "require_nodes": stops}, network.candidates()).check())
    assert 3 < sum(answered) < 17


def test_a_budget_that_is_too_small_says_how_far_it_got() -> None:
    topology = grid(10, seed=0)
    src, dst = str((0, 0)), str((9, 9))
    constraints = Constraints(max_latency_ms=1.2 * shortest_path(topology, src, dst).weight)
    best = constrained_path(topology, src, dst, constraints, "cost")
    with pytest.raises(LabelBudget, match="stopped after 3 labels") as caught:
        constrained_path(topology, src, dst, constraints, "cost", label_budget=3)
    assert shortest_path(topology, src, dst, "cost").weight < caught.value.bound <= best.weight
    assert caught.value.best is not None
    assert caught.value.best.weight >= best.weight
    assert (caught.value.best.latency_ms(topology) or 0.0) <= (constraints.max_latency_ms or 0.0)


def line(*latencies: float | None) -> Topology:
    """Nodes a, b, c ... in a row."""
    topology, names = Topology(), "abcdefgh"[: len(latencies) + 1]
    for name in names:
        topology.add_node(name)
    for src, dst, latency_ms in zip(names[:-1], names[1:], latencies, strict=True):
        topology.add_link(src, dst, capacity_mbps=10, latency_ms=latency_ms)
    return topology


def test_without_constraints_it_is_the_shortest_path() -> None:
    topology = grid(6, seed=1)
    for src, dst in itertools.permutations([str((row, row)) for row in range(6)], 2):
        assert constrained_path(topology, src, dst, Constraints()) == shortest_path(topology, src, dst)


def test_sums_of_decimal_fractions_meet_the_limit_they_make_on_paper() -> None:
    # As floats 0.1 + 0.2 is more than 0.3, and 10 * (1 - 0.7) less than 3.
    topology = line(0.1, 0.2)
    topology.set_link(0, utilisation=0.7)
    assert 0.1 + 0.2 > 0.3
    assert constrained_path(topology, "a", "c", Constraints(max_latency_ms=0.3, bandwidth_mbps=3)).links == (0, 1)


def test_an_unknown_latency_satisfies_no_limit() -> None:
    topology = line(1.0, None, 1.0)
    assert constrained_path(topology, "a", "d", Constraints()).hops == 3
    with pytest.raises(NoPath, match="every path has a link of unknown latency") as caught:
        constrained_path(topology, "a", "d", Constraints(max_latency_ms=1e9))
    assert (caught.value.constraint, caught.value.nearest) == ("max_latency_ms", None)
    around = topology.add_link("b", "c", capacity_mbps=10, latency_ms=500.0)
    assert constrained_path(topology, "a", "d", Constraints(max_latency_ms=1e9)).links == (0, around, 2)


TWICE = (
    "max_loss and max_hops each rule out every path by themselves; max_loss: 0.001 is the least, and with that "
    "max_hops: 2 is the least"
)


def test_a_refusal_can_be_read() -> None:
    topology = line(10.1, 7.1)
    topology.add_node("z")
    topology.set_link(0, loss=0.001, zone="eu")
    for asked, said in (
        ({"max_latency_ms": 17}, "max_latency_ms: 17.2 ms is the least"),
        ({"max_loss": 0}, "max_loss: 0.001 is the least"),
        ({"max_hops": 1}, "max_hops: 2 is the least"),
        ({"bandwidth_mbps": 40}, "bandwidth_mbps: 10.0 Mbit/s is the most"),
        ({"zones": ("eu",)}, "zones: the best path without this constraint uses links without a zone"),
        ({"zones": (None,)}, "zones: the best path without this constraint uses zone 'eu'"),
        ({"encrypted": True}, "encrypted: the best path without this constraint has 2 unencrypted links"),
        ({"avoid_nodes": ("b", "z")}, "avoid_nodes: the best path without this constraint crosses 'b'"),
        ({"avoid_nodes": ("a",)}, "avoid_nodes: the best path without this constraint crosses 'a'"),
        ({"avoid_links": (1,)}, "avoid_links: the best path without this constraint takes link 1"),
        ({"require_nodes": ("z", "b")}, "require_nodes: no path goes through 'z' and 'b'"),
        ({"max_hops": 1, "max_loss": 0}, TWICE),
    ):
        with pytest.raises(NoPath) as caught:
            constrained_path(topology, "a", "c", Constraints(**asked))
        assert str(caught.value) == f"no path from 'a' to 'c': {said}"


def test_constraints_that_conflict_only_together_are_told_apart_from_those_that_do_by_themselves() -> None:
    topology = line(1.0, 1.0)
    lossless = topology.add_link("a", "c", capacity_mbps=10, latency_ms=5.0)
    topology.set_link(0, loss=0.5)
    constraints = Constraints(max_latency_ms=3.0, max_loss=0.1)
    with pytest.raises(NoPath, match=r"cannot be met together; max_latency_ms: 5\.0 ms") as caught:
        constrained_path(topology, "a", "c", constraints)
    assert (caught.value.constraint, caught.value.nearest) == ("max_latency_ms", 5.0)
    assert constrained_path(topology, "a", "c", Constraints(max_latency_ms=5.0, max_loss=0.1)).links == (lossless,)


def test_what_a_refusal_prints_works_too() -> None:
    """Rounded for the reader, but to the side that works."""
    granted = 0
    for question in random_questions(random.Random(3), n_networks=60, each=2):
        with contextlib.suppress(NoPath):
            question.answer()
            continue
        with pytest.raises(NoPath) as caught:
            question.answer()
        if len(caught.value.faults) > 1:
            continue
        said = re.search(r"(\w+): ([-+.e\d]+)[ /a-zA-Z]* is the (least|most)$", caught.value.reason)
        assert (said is not None) == (caught.value.nearest is not None)
        if said is not None:
            value = int(said[2]) if said[1] == "max_hops" else float(said[2])
            replace(question, asked=question.asked | {said[1]: value}).answer()
            granted += 1
    assert granted


def test_a_stop_that_hangs_on_one_node_is_refused_without_a_search() -> None:
    topology = line(1.0, 1.0)
    for name in ("end", "round", "about"):
        topology.add_node(name)
    for one, other in (("b", "end"), ("b", "round"), ("round", "about"), ("about", "b")):
        topology.add_link(one, other, capacity_mbps=10, latency_ms=1.0)
        topology.add_link(other, one, capacity_mbps=10, latency_ms=1.0)
    for stop in ("end", "round", "about"):
        with pytest.raises(NoPath, match=f"no path goes through '{stop}'"):
            constrained_path(topology, "a", "c", Constraints(require_nodes=(stop,)), label_budget=1)


def test_the_nearest_loss_works_even_where_next_to_nothing_gets_through() -> None:
    for loss in (0.99, 0.999, 0.9999, 0.99999, 0.999993, 0.9999999):
        topology = line(1.0, 1.0)
        for link in (0, 1):
            topology.set_link(link, loss=loss)
        with pytest.raises(NoPath) as caught:
            constrained_path(topology, "a", "c", Constraints(max_loss=0.5))
        assert constrained_path(topology, "a", "c", Constraints(max_loss=caught.value.nearest)).hops == 2


def test_from_a_node_to_itself_the_path_has_no_links() -> None:
    topology = line(1.0, 1.0)
    constraints = Constraints(max_latency_ms=0, max_hops=0, bandwidth_mbps=99, require_nodes=("b",))
    assert constrained_path(topology, "b", "b", constraints) == Path(("b",), (), 0.0)
    for constraints in (Constraints(avoid_nodes=("b",)), Constraints(require_nodes=("a",))):
        with pytest.raises(NoPath, match="to itself"):
            constrained_path(topology, "b", "b", constraints)


def test_changes_in_place_change_the_answer_at_once() -> None:
    topology = line(1.0, 1.0)
    direct = topology.add_link("a", "c", capacity_mbps=10, latency_ms=9.0, zone="x")
    constraints = Constraints(zones=("x",), bandwidth_mbps=5)
    assert constrained_path(topology, "a", "c", constraints).links == (direct,)
    topology.set_link(direct, utilisation=0.6)
    with pytest.raises(NoPath, match=r"bandwidth_mbps: 4\.0 Mbit/s is the most"):
        constrained_path(topology, "a", "c", constraints)
    for link in (0, 1):
        topology.set_link(link, zone="x")
    assert constrained_path(topology, "a", "c", constraints).links == (0, 1)
    topology.set_link(0, up=False)
    with pytest.raises(NoPath, match="bandwidth_mbps"):
        constrained_path(topology, "a", "c", constraints)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *itertools.product(
            ("bandwidth_mbps", "max_latency_ms", "max_loss", "max_hops"), (-1, math.nan, True, "9")
        ),
        *itertools.product(("bandwidth_mbps", "max_latency_ms", "max_loss"), (math.inf,)),
        ("max_loss", 1.5),
        ("max_hops", 2.5),
        ("encrypted", "no"),
        *itertools.product(("avoid_nodes", "require_nodes", "zones"), ("s12", (3,), 7)),
        *itertools.product(("avoid_links", "require_links"), ("12", (1.5,), (True,), 7)),
    ],
)
def test_constraints_that_cannot_be_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ConstraintError, match=f"^{field} "):
        Constraints(**{field: value})  # type: ignore[arg-type]  # that is the point


def test_elements_that_are_not_there_or_asked_for_both_ways_are_named() -> None:
    topology = line(1.0, 1.0)
    for constraints in (Constraints(avoid_nodes=("x9",)), Constraints(require_nodes=("x9",))):
        with pytest.raises(UnknownNode, match="'x9'"):
            constrained_path(topology, "a", "c", constraints)
    for ends in (("a", "x9"), ("x9", "c")):
        with pytest.raises(UnknownNode, match="'x9'"):
            constrained_path(topology, *ends, Constraints())
    arrays = Constraints(avoid_links=np.array([0]), avoid_nodes=np.array([], dtype=str))
    with pytest.raises(NoPath, match="takes link 0"):
        constrained_path(topology, "a", "c", arrays)
    for constraints in (Constraints(avoid_links=(7,)), Constraints(require_links=(7,))):
        with pytest.raises(TopologyError, match="no link with id 7"):
            constrained_path(topology, "a", "c", constraints)
    with pytest.raises(ConstraintError, match="node 'b' is both required and avoided"):
        Constraints(avoid_nodes=("b",), require_nodes=("b",))
    with pytest.raises(ConstraintError, match="link 1 is both required and avoided"):
        Constraints(avoid_links=(1,), require_links=(1,))
    with pytest.raises(ConstraintError, match=r"link 0 \('a' -> 'b'\) is required, but its end 'b' is avoided"):
        constrained_path(topology, "a", "c", Constraints(avoid_nodes=("b",), require_links=(0,)))


def test_numbers_a_link_that_are_none_are_refused() -> None:
    topology = line(1.0, 1.0)
    for free, message in (
        (np.array([1.0, np.nan]), r"link 1 \('b' -> 'c'\) is NaN"),
        (np.array([1.0]), "shape"),
        ("much", "no array"),
    ):
        with pytest.raises(ConstraintError, match=message):
            constrained_path(topology, "a", "c", Constraints(free_mbps=free))  # type: ignore[arg-type]  # one is none
    with pytest.raises(WeightError, match=r"is -1\.0"):
        constrained_path(topology, "a", "c", Constraints(), np.array([1.0, -1.0]))
    for label_budget in (0, True, math.nan):
        with pytest.raises(ConstraintError, match="label_budget"):
            constrained_path(topology, "a", "c", Constraints(), label_budget=label_budget)  # type: ignore[arg-type]  # on purpose
