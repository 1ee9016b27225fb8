"""An uplink that is forecast to be full is left before it is, and nothing swings to and fro."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting import DEFAULT_LEVELS, Forecast
from ryu_apps.overlay.foreseeing import STEP_S, Counters, Foreseeing
from ryu_apps.predicting.forecast_worker import Foresight, News, Pool, Worker
from stitching.overlay.choosing import Choice, Steadiness
from stitching.overlay.compiling import ChoiceKey
from stitching.overlay.demands import demands, pair_demands
from stitching.overlay.measures import Measured
from stitching.overlay.relieving import Demand
from stitching.overlay.rounds import Facts, Overlay, OverlayPolicy, next_round
from stitching.overlay.scoring import ScoredWay
from stitching.overlay.sites import Site, Uplink
from tests.unit.overlay_world import a_site, reports_of
from vte_agent.protocol.has import Has, TunnelReport, TunnelState

CAPACITY_MBPS = 10.0
THERE: ChoiceKey = (2, 3, None)
WAY = ScoredWay(("t",), (2, 3), 0.1, (), up=True)


def world() -> dict[int, Site]:
    """Two sites with two uplinks each; the first of each pair is quicker."""
    uplinks = {
        serial: tuple(Uplink(f"wan{n}", ip_address(f"198.18.{serial}.{n + 1}"), CAPACITY_MBPS) for n in (0, 1))
        for serial in (2, 3)
    }
    return {serial: a_site(serial, uplinks=uplinks[serial]) for serial in (2, 3)}


class Running:
    """Rounds over two sites whose tunnels are all up; time passes in steps of a second."""

    def __init__(self) -> None:
        self.sites, self.overlay, self.now_s = world(), Overlay(), 1_000.0
        self.dead = ""
        for _ in range(70):
            # Until what was chosen first may be left again.
            self.step({})

    def carry(self, *capacity_mbps: float) -> None:
        """What the uplinks of the first site carry; those of the other are as wide as can be."""
        for serial, each in ((2, capacity_mbps), (3, (1e6, 1e6))):
            uplinks = self.sites[serial].uplinks
            wide = tuple(replace(one, capacity_mbps=mbps) for one, mbps in zip(uplinks, each, strict=True))
            self.sites = {**self.sites, serial: replace(self.sites[serial], uplinks=wide)}

    def step(self, expected: Mapping[ChoiceKey, Demand]) -> None:
        tunnels = self.overlay.book.tunnels()
        down = [one.name for one in tunnels if one.line.uplink_a == self.dead]
        reports = reports_of(tunnels, self.overlay.generation, down=down)
        measured = {
            one.name: Measured(10.0 if one.line.uplink_a == "wan0" else 150.0, 0.0, 0.0, 0.0, at_s=self.now_s)
            for one in tunnels
        }
        facts = Facts(self.sites, reports, measured, demand_mbps=pair_demands(expected), expected=expected)
        self.overlay = next_round(self.overlay, facts, OverlayPolicy(), self.now_s).overlay
        self.now_s += 1.0

    @property
    def uplink(self) -> str:
        """The uplink by which packets from the first site to the second leave."""
        choice = self.overlay.choices[THERE]
        line = next(one.line for one in self.overlay.book.tunnels() if (one.name,) == choice.taken.tunnels)
        return line.uplink_at(2)


@pytest.fixture
def running() -> Running:
    made = Running()
    assert made.uplink == "wan0", "the quicker one"
    return made


def test_nobody_moves_to_an_uplink_that_would_be_as_full(running: Running) -> None:
    running.step({THERE: Demand(4.0, 7.9)})
    assert running.uplink == "wan0"
    running.step({THERE: Demand(6.0, 8.5)})
    assert running.uplink == "wan0"


def test_it_moves_to_one_with_room_and_stays_until_there_is_room_again(running: Running) -> None:
    running.carry(CAPACITY_MBPS, 100.0)
    running.step({THERE: Demand(8.0, 9.0)})
    assert running.uplink == "wan1"
    running.step({THERE: Demand(8.0, 9.0)})
    assert "uplink wan0 of 2 would be 90% full" in running.overlay.choices[THERE].why
    assert len(running.overlay.choices[THERE].ranked) > 1, "the others are still to be seen, and to fall back on"
    for _ in range(300):
        running.step({THERE: Demand(6.5, 7.0)})
    assert running.uplink == "wan1", "7 of 10 would be under the limit, but too near to it to come back for"
    for _ in range(300):
        running.step({THERE: Demand(4.0, 5.0)})
    assert running.uplink == "wan0"


def test_who_has_just_moved_stays_for_a_while_whatever_is_forecast(running: Running) -> None:
    running.carry(CAPACITY_MBPS, 100.0)
    running.step({THERE: Demand(8.0, 9.0)})
    running.carry(100.0, CAPACITY_MBPS)
    for _ in range(int(Steadiness().hold_s) - 1):
        running.step({THERE: Demand(8.0, 9.0)})
        assert running.uplink == "wan1"
    for _ in range(int(Steadiness().hold_s) + 2):
        running.step({THERE: Demand(8.0, 9.0)})
    assert running.uplink == "wan0"


def test_who_has_just_come_for_another_reason_leaves_an_uplink_that_would_be_full(running: Running) -> None:
    running.carry(100.0, 100.0)
    running.dead = "wan0"
    running.step({})
    assert running.uplink == "wan1", "the other was cut"
    running.dead = ""
    running.carry(100.0, CAPACITY_MBPS)
    running.step({THERE: Demand(8.0, 9.0)})
    assert running.uplink == "wan0", "it is well again, and there is no time to lose"


@settings(deadline=None, max_examples=8)
@given(st.lists(st.floats(0.0, 30.0), min_size=120, max_size=120), st.integers(0, 1 << 30))
def test_whatever_is_forecast_there_is_at_most_one_move_of_a_kind_a_minute(levels: list[float], seed: int) -> None:
    running = Running()
    running.carry(10.0, 10.0 + seed % 40)
    moves: dict[bool, list[float]] = {True: [], False: []}
    before = running.uplink
    for level in levels:
        running.step({THERE: Demand(level / 2, level)})
        if running.uplink != before:
            moves[running.overlay.choices[THERE].relieves].append(running.now_s)
            before = running.uplink
    for of_a_kind in moves.values():
        assert all(later - earlier >= Steadiness().hold_s for earlier, later in pairwise(of_a_kind))


# what is measured ----------------------------------------------------------------------------------------


def a_choice(*hops: tuple[int, str], to: int) -> Choice:
    nodes = (*(node for node, _ in hops), to)
    way = ScoredWay(tuple(tunnel for _, tunnel in hops), nodes, 0.1, (), up=True)
    return Choice(way, (way,), 0.0, "")


def test_what_goes_into_a_tunnel_is_of_those_who_take_it() -> None:
    choices: dict[ChoiceKey, Choice] = {
        (2, 3, None): a_choice((2, "a"), to=3),
        (2, 4, None): a_choice((2, "b"), to=4),
        (2, 3, "voice"): a_choice((2, "b"), to=3),
        (3, 2, None): a_choice((3, "a"), to=2),
    }
    found = demands({(2, "a"): 6.0, (2, "b"): 4.0}, choices)
    assert found == {(2, 3, None): 6.0, (2, 4, None): 2.0, (2, 3, "voice"): 2.0}


def test_where_a_site_has_moved_packets_by_itself_it_is_believed() -> None:
    choices: dict[ChoiceKey, Choice] = {(2, 3, None): a_choice((2, "dead"), to=3)}
    assert demands({(2, "dead"): 0.0, (2, "b"): 4.0}, choices, {(2, 3, None): "b"}) == {(2, 3, None): 4.0}
    assert demands({(2, "dead"): 0.0}, choices, {(2, 3, None): "b"}) == {}, "not counted yet"


def test_what_passes_through_a_site_is_not_its_own() -> None:
    choices: dict[ChoiceKey, Choice] = {
        (2, 4, None): a_choice((2, "a"), (3, "b"), to=4),
        (3, 4, None): a_choice((3, "b"), to=4),
    }
    assert demands({(2, "a"): 5.0, (3, "b"): 7.0}, choices) == {(2, 4, None): 5.0, (3, 4, None): 2.0}


def has(sent: int) -> Has:
    return Has(generation=1, tunnels=(TunnelReport(name="t", state=TunnelState.UP, sent_bytes=sent),))


def test_counters_make_rates_and_one_that_begins_anew_makes_none() -> None:
    counters = Counters()
    for now_s, sent in ((0.0, 1_000), (5.0, 1_000 + 625_000), (5.1, 700_000), (6.0, 10)):
        counters.has(2, has(sent), now_s)
        assert counters.sending == ({(2, "t"): 1.0} if now_s >= 5 else {})
    counters.has(2, has(10 + 1_250_000), 11.0)
    assert counters.sending == {(2, "t"): 2.0}
    counters.forget(2)
    assert counters.sending == {}


# the forecast --------------------------------------------------------------------------------------------


class FakeWorker:
    """Answers at once, or fails; what it is told of is kept."""

    def __init__(self) -> None:
        self.told: list[News] = []
        self.high, self.breaks, self.ends = 3.0, False, 0

    def look_ahead(self, pool: Pool, news: Mapping[str, News]) -> Future[dict[str, Foresight]]:
        if self.breaks:
            raise BrokenProcessPool
        self.told.append(news["sites"])
        levels = np.tile(np.linspace(0.0, self.high, len(DEFAULT_LEVELS)), (1, pool.horizon, 1))
        forecast = Forecast(("x",), STEP_S, DEFAULT_LEVELS, levels[:, :, 0] + 1, levels, np.zeros(1, np.bool_))
        answer: Future[dict[str, Foresight]] = Future()
        answer.set_result({"sites": Foresight(forecast)})
        return answer

    def fit(self, *_: Any) -> Future[Any]:
        return Future()

    def why(self, error: BaseException) -> str:
        return repr(error)

    def end(self) -> None:
        self.ends += 1


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
def foreseeing(worker: FakeWorker) -> Foreseeing:
    made = Foreseeing(lambda result: made.take(result), lambda _: None, cast(Worker, worker))
    return made


CHOICES = {THERE: Choice(WAY, (WAY,), 0.0, "")}


def test_what_is_expected_is_the_high_quantile_of_the_worst_step(
    foreseeing: Foreseeing, worker: FakeWorker
) -> None:
    foreseeing.step(100.0, {}, CHOICES)
    assert foreseeing.expected == {} and not worker.told, "nothing was measured"
    foreseeing.step(105.0, {(2, "t"): 2.0}, CHOICES)
    assert foreseeing.expected.keys() == {THERE}
    assert 1.0 <= foreseeing.expected[THERE].mean_mbps < foreseeing.expected[THERE].high_mbps <= worker.high
    foreseeing.step(110.0, {(2, "t"): 2.5}, CHOICES)
    assert worker.told[0].history is not None and worker.told[1].history is None
    assert worker.told[1].values.tolist() == [[2.5]], "only what is new is told"


def test_without_a_process_all_stays_as_it_was_measured_last(foreseeing: Foreseeing, worker: FakeWorker) -> None:
    worker.breaks = True
    foreseeing.step(105.0, {(2, "t"): 2.0}, CHOICES)
    assert worker.ends == 1 and foreseeing.expected == {THERE: Demand(2.0, 2.0)}
    worker.breaks, worker.high = False, 30.0
    foreseeing.step(110.0, {(2, "t"): 2.5}, CHOICES)
    assert foreseeing.expected[THERE].high_mbps > 2.5
    assert worker.told[0].history is not None, "a new one is told all there is"


def test_a_rise_is_foreseen_by_a_real_process() -> None:
    said: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    foreseeing = Foreseeing(lambda result: said.put(("seen", result)), lambda fit: said.put(("fit", fit)))
    fits = 0

    def take(what: str) -> None:
        """All that is said up to this."""
        nonlocal fits
        said_of = ""
        while said_of != what:
            said_of, result = said.get(timeout=60.0)
            if said_of == "fit":
                foreseeing.take_fit(result)
                fits += 1
            else:
                foreseeing.take(result)

    try:
        for number in range(100):
            foreseeing.step(STEP_S * number, {(2, "t"): 1.0 + 0.1 * number}, CHOICES)
            take("seen")
        if not fits:
            take("fit")
        foreseeing.step(STEP_S * 100, {(2, "t"): 11.0}, CHOICES)
        take("seen")
        assert fits and 11.4 < foreseeing.expected[THERE].high_mbps < 14.0, foreseeing.expected
    finally:
        foreseeing.stop()
