"""A stitch that loses too much, or is too slow, leaves the links that do it, and stays away while they do."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ryu_apps.app import Tick
from ryu_apps.events import ApplyStages, NetworkChanged, ProbeArrived, StagesApplied, StitchMoved
from stitching.network import Host, Link, LinkKey, Network, reverse
from stitching.stitch import State, VmRequest
from tests.unit.stitcher_bench import (
    REQUEST,
    A,
    B,
    Bench,
    MemoryStore,
    bench,
    create,
    store,
    triangle,
    unlabelled,
    way,
)

__all__ = ["bench", "store"]

LOSSLESS = replace(REQUEST, max_loss=0.01)
STEP_S = 0.1
DIRECT: LinkKey = (1, 2, 2, 1)


class Weather:
    """Carries probes over links that lose some, or are slow; the stitcher's time passes."""

    def __init__(self, bench: Bench, seed: int = 1) -> None:
        self.bench, self.dice = bench, random.Random(seed)
        self.loss: dict[LinkKey, float] = {}
        self.slow_ms: dict[LinkKey, float] = {}
        self.answered: set[int] = set()

    def passes(self, seconds: float) -> None:
        for step in range(round(seconds / STEP_S)):
            self.bench.probe_tick(STEP_S)
            if step % 10 == 9:
                self.bench.on_tick(Tick("retry"))
            self.confirm_all()
            self.carry()

    def confirm_all(self) -> None:
        for event in [event for event in self.bench.told if isinstance(event, ApplyStages)]:
            if event.ticket not in self.answered:
                self.answered.add(event.ticket)
                self.bench.on_applied(StagesApplied(event.owner, event.ticket, None, 0))

    def carry(self) -> None:
        for stitch in self.bench.listed():
            path = stitch.vm_path
            if path is None:
                continue
            keys = {*path.links, *map(reverse, path.links)}
            passes = 1.0
            for key in path.links:
                passes *= 1.0 - max(self.loss.get(key, 0.0), self.loss.get(reverse(key), 0.0))
            took_s = 0.002 + sum(self.slow_ms.get(key, 0.0) for key in keys) * 1e-3
            ends = path.hops[0].dpid, path.hops[-1].dpid
            for here, there in (ends, ends[::-1]):
                packets, self.bench.switches[here].packets = self.bench.switches[here].packets, []
                for packet in packets:
                    if self.dice.random() < passes:
                        frame = unlabelled(packet[40:])
                        self.bench.on_probe(ProbeArrived(there, frame, self.bench.now_s + took_s))

    @property
    def moves(self) -> int:
        moved = [event for event in self.bench.told if isinstance(event, StitchMoved)]
        return sum(event.stitch.state is State.ADJUSTING for event in moved)


@pytest.fixture
def weather(bench: Bench) -> Weather:
    return Weather(bench)


def made(weather: Weather, request: VmRequest) -> None:
    create(weather.bench, request)
    weather.passes(3.0)
    assert weather.bench.stitch().state is State.UP
    assert way(weather.bench) == [1, 2]


def test_a_stitch_leaves_a_link_that_loses_too_much_and_stays_away(weather: Weather) -> None:
    made(weather, LOSSLESS)
    weather.loss[DIRECT] = 0.15
    weather.passes(20.0)
    assert way(weather.bench) == [1, 3, 2]
    weather.passes(600.0)
    assert way(weather.bench) == [1, 3, 2]
    assert weather.bench.stitch().state is State.UP
    assert weather.moves == 1


def test_a_way_round_that_dies_does_not_lure_it_back_for_good(weather: Weather) -> None:
    made(weather, LOSSLESS)
    weather.loss[DIRECT] = 0.15
    weather.passes(20.0)
    round_gone = {key: link for key, link in triangle().links.items() if 3 not in (key[0], key[2])}
    weather.bench.on_network(NetworkChanged(replace(triangle(), links=round_gone)))
    weather.passes(5.0)
    assert way(weather.bench) == [1, 2]
    weather.bench.on_network(NetworkChanged(triangle()))
    weather.passes(60.0)
    assert way(weather.bench) == [1, 3, 2]
    assert weather.moves <= 3


def test_a_stitch_that_asks_nothing_of_loss_stays_on_the_fastest_path(weather: Weather) -> None:
    made(weather, REQUEST)
    weather.loss[DIRECT] = 0.15
    weather.passes(60.0)
    assert way(weather.bench) == [1, 2]
    assert weather.moves == 0


def test_a_new_stitch_keeps_off_what_another_one_lost_packets_on(weather: Weather) -> None:
    made(weather, LOSSLESS)
    weather.loss[DIRECT] = 0.15
    weather.passes(20.0)
    weather.bench._desk.delete(1)
    weather.passes(3.0)
    create(weather.bench, LOSSLESS)
    path = weather.bench.stitch(2).vm_path
    assert path is not None and [hop.dpid for hop in path.hops] == [1, 3, 2]


def test_a_stitch_that_is_slower_than_its_links_say_takes_other_links(weather: Weather) -> None:
    made(weather, REQUEST)
    weather.slow_ms[DIRECT] = 100.0
    weather.passes(20.0)
    assert way(weather.bench) == [1, 3, 2]
    weather.passes(300.0)
    assert weather.bench.stitch().state is State.UP
    assert weather.moves == 1


def test_where_every_way_is_as_bad_it_does_not_run_to_and_fro(weather: Weather) -> None:
    made(weather, LOSSLESS)
    weather.loss = dict.fromkeys(triangle().links, 0.3)
    weather.passes(600.0)
    assert weather.moves <= 6


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    losses=st.lists(st.tuples(st.sampled_from(sorted(triangle().links)), st.sampled_from([0.0, 0.05, 0.15, 0.4]))),
)
def test_whatever_links_lose_there_are_few_moves_in_ten_minutes(
    seed: int, losses: list[tuple[LinkKey, float]]
) -> None:
    bench = Bench(MemoryStore())
    bench.on_network(NetworkChanged(triangle()))
    bench.connect()
    weather = Weather(bench, seed)
    made(weather, LOSSLESS)
    for key, loss in losses or [(DIRECT, 0.15)]:
        weather.loss[key] = loss
        weather.passes(600.0 / max(1, len(losses)))
    assert weather.moves <= 6


def test_of_two_stitches_over_one_bad_link_the_links_that_only_one_has_are_found_innocent() -> None:
    ends = [(1, 2), (2, 4), (4, 5), (1, 3), (3, 4)]
    keys = [(a, b, b, a) for ends in ends for a, b in (ends, ends[::-1])]
    links = {key: Link(key, 10.0, latency_ms=2.0 if 3 in key else 1.0) for key in keys}
    hosts = {A: Host(A, 1, 10), B: Host(B, 5, 10)}
    bench = Bench(MemoryStore())
    bench.switches |= {dpid: type(bench.switches[1])(dpid) for dpid in (4, 5)}
    bench.on_network(NetworkChanged(Network({dpid: {} for dpid in range(1, 6)}, links, hosts)))
    bench.connect()
    weather = Weather(bench)
    create(bench, LOSSLESS)
    weather.passes(3.0)
    assert way(bench) == [1, 2, 4, 5]
    weather.loss[2, 4, 4, 2] = 0.2
    weather.passes(30.0)
    assert way(bench) == [1, 3, 4, 5]
    suspected = bench._planner.situation.lossy
    # It does well over the link that both its paths have in common.
    assert not {(4, 5, 5, 4), (5, 4, 4, 5)} & suspected.keys()
    assert (2, 4, 4, 2) in suspected
