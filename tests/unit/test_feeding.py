"""What the process that forecasts is told follows the demands and their routes."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting import Calendar
from ryu_apps.predicting import forecast_worker
from ryu_apps.predicting.demand_history import DemandHistory
from ryu_apps.predicting.feeding import Feeding
from ryu_apps.predicting.forecast_worker import Pool
from ryu_apps.predicting.todays_routes import TodaysRoutes
from stitching.network import Host, Link, LinkKey, Network

A, B, C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"
THERE: LinkKey = (1, 2, 2, 1)
SAMPLES = 300


class Bench:
    """Two switches and a demand of about 5 Mbit/s from one to the other; all but the newest sample is told."""

    def __init__(self) -> None:
        self.history = DemandHistory(1.0, 2048, 10)
        self.routes = TodaysRoutes()
        links = {key: Link(key, 10.0, 1.0) for key in (THERE, (2, 1, 1, 2))}
        hosts = {mac: Host(mac, dpid, 10 + dpid) for mac, dpid in ((A, 1), (B, 2), (C, 2))}
        self.network = Network({1: {}, 2: {}}, links, hosts)
        self.routes.on_network(self.network)
        self.feeding = Feeding(self.history, self.routes, 1.0)
        self.samples = 0
        for mbps in 5.0 + 0.1 * np.random.default_rng(0).standard_normal(SAMPLES):
            self.measure({(A, B): mbps})
        self.feeding.news()

    def measure(self, demands: dict[tuple[str, str], float]) -> None:
        self.samples += 1
        self.history.append(float(self.samples), self.samples, demands)
        self.routes.refresh()
        self.feeding.take_in(float(self.samples))
        self.routes.changed = False


def test_while_nothing_changes_only_the_newest_sample_is_told() -> None:
    bench = Bench()
    bench.measure({(A, B): 6.0})
    news = bench.feeding.news()
    assert all(one.history is None and one.times == (SAMPLES + 1.0,) for one in news.values())
    assert news["demands"].values.tolist() == [[6.0]] and news["loads"].values.tolist() == [[6.0], [0.0]]


def test_loads_begin_anew_where_routes_are_others_and_the_newest_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    bench.routes.on_network(bench.network)
    bench.measure({(A, B): 60.0})
    news = bench.feeding.news()
    assert news["demands"].history is None
    history = news["loads"].history
    assert history is not None and history.times[-1] == SAMPLES and news["loads"].times == (SAMPLES + 1.0,)
    monkeypatch.setattr(forecast_worker, "_forecasters", {})
    pool = Pool(2, ("last",), Calendar(day_s=None))
    (surprise,) = forecast_worker._look_ahead(pool, {"loads": news["loads"]})["loads"].surprises
    assert (surprise.time_s, surprise.name) == (SAMPLES + 1.0, "0000000000000001:2>0000000000000002:1")


def test_a_new_demand_begins_everything_anew_and_surprises_nobody() -> None:
    bench = Bench()
    bench.measure({(A, B): 5.0, (A, C): 40.0})
    for news in bench.feeding.news().values():
        assert news.history is not None and news.history.times[-1] == SAMPLES + 1.0 and news.times == ()


def test_a_process_that_is_lost_leaves_everything_to_be_told_again() -> None:
    bench = Bench()
    bench.feeding.begin_anew()
    for news in bench.feeding.news().values():
        assert news.history is not None and news.history.times.size == SAMPLES
