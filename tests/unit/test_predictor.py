"""The predictor goes on forecasting whatever becomes of its worker and its clock."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np
import pytest

from ryu_apps.app import Event
from ryu_apps.demand_history import CAPACITY, DemandHistory
from ryu_apps.events import NetworkChanged, OutlookReady, Rates, RatesMeasured
from ryu_apps.predictor import FIRST_FIT, Fitted, Mode, Predictor
from stitching.network import Host, Link, Network

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


class Bench(Predictor):
    """A predictor on the test's own thread."""

    def __init__(self, mode: Mode = Mode.PREDICTIVE) -> None:
        self.told: list[Event] = []
        self.posted: list[Event] = []
        super().__init__(mode=mode, period_s=1.0, season_s=86400.0, history=DemandHistory(1.0))

    def publish(self, occurred: Event) -> None:
        self.told.append(occurred)

    def post(self, occurred: Event) -> None:
        self.posted.append(occurred)

    def measure(self, beat: int, mbps: float = 5.0, clock_s: float = 0.0) -> None:
        self.on_rates(RatesMeasured(Rates(1000.0 + beat + clock_s, 1.0, demand_mbps={(A, B): mbps}, beat=beat)))

    def outlook(self) -> OutlookReady:
        told = self.told[-1]
        assert isinstance(told, OutlookReady)
        return told


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    links = {key: Link(key, 10.0, 1.0) for key in ((1, 2, 2, 1), (2, 1, 1, 2))}
    made.on_network(NetworkChanged(Network({1: {}, 2: {}}, links, {A: Host(A, 1, 10), B: Host(B, 2, 10)})))
    yield made
    if made._pool is not None:
        made._pool.shutdown(wait=True, cancel_futures=True)


def test_a_demand_is_on_the_links_of_its_way(bench: Bench) -> None:
    bench.measure(1, 5.0)
    outlook = bench.outlook().outlook
    load = dict(zip(outlook.link_keys, outlook.links.mean[:, 0].tolist(), strict=True))
    assert load == {(1, 2, 2, 1): 5.0, (2, 1, 1, 2): 0.0}


@pytest.mark.parametrize("step_s", [-7200.0, 7200.0])
def test_a_step_of_the_clock_does_not_stop_the_forecast(bench: Bench, step_s: float) -> None:
    for beat in range(1, 6):
        bench.measure(beat, 1.0)
    for beat in range(6, 12):
        bench.measure(beat, 9.0, step_s)
    outlook = bench.outlook().outlook
    assert outlook.time_s == 1011.0 + step_s
    assert outlook.demands.mean[0, 0] > 5.0, "the samples after the step count"


def test_fits_grow_rare_as_samples_grow_many_also_after_a_restart(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[int] = []

    class Pool:
        def submit(self, *_: object) -> Future[object]:
            submitted.append(bench._history.samples)
            return Future()

        def shutdown(self, **_: object) -> None:
            pass

    monkeypatch.setattr(bench, "_pool", Pool())
    stored = np.full((1, CAPACITY), np.nan)
    stored[0, -30:] = 5.0
    bench._history.remember(1000.0, ((A, B),), stored)
    for beat in range(1, 1200):
        bench.measure(beat)
        bench._fit = None
    assert submitted == [40, 60, 90, 135, 203, 305, 458, 687, 1031]


def test_a_worker_that_dies_is_replaced(bench: Bench) -> None:
    beat = 0

    def until_fit() -> Fitted:
        nonlocal beat
        for _ in range(2000):
            beat += 1
            bench.measure(beat)
            if bench._fit is not None:
                bench._fit.exception(timeout=60.0)
                fitted = bench.posted.pop()
                assert isinstance(fitted, Fitted)
                return fitted
        raise AssertionError("no fit was started")

    bench.on_fitted(until_fit())
    assert beat == FIRST_FIT
    assert bench._pool is not None
    (worker,) = bench._pool._processes.values()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(10.0)
    first = bench._pool
    while bench._pool is first:
        beat += 1
        bench.measure(beat)
        for fitted in (event for event in bench.posted if isinstance(event, Fitted)):
            bench.on_fitted(fitted)
        bench.posted.clear()
    again = until_fit()
    assert again.result.exception() is None
