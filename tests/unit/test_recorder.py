"""The recorder writes down what it is told, and tries again where the disk does not take it."""

from __future__ import annotations

from typing import Any

import pytest

from ryu_apps.app import Tick
from ryu_apps.events import NetworkChanged, Rates, RatesMeasured, RecorderStatus, RecorderStatusRequest
from ryu_apps.recorder import Recorder
from ryu_apps.store import StoreError
from stitching.network import Host, Network

MAC = "02:00:00:00:00:0a"


class FakeStores:
    """Both stores at once."""

    def __init__(self) -> None:
        self.recorded: list[Rates] = []
        self.saved: list[Network] = []
        self.broken = self.failing = False
        self.dropped = 0

    def record(self, rates: Rates) -> None:
        self.recorded.append(rates)

    def save_network(self, network: Network) -> None:
        if self.broken:
            raise StoreError("cannot save the fabric in lockstitch.db: disk is full")
        self.saved.append(network)


def fabric(port_no: int) -> Network:
    return Network(hosts={MAC: Host(MAC, 1, port_no)})


def make() -> tuple[Recorder, FakeStores]:
    stores: Any = FakeStores()
    return Recorder(state=stores, history=stores, clock=lambda: 0.0), stores


def test_rates_go_into_the_history() -> None:
    recorder, stores = make()
    rates = Rates(1.0, 1.0)
    recorder.on_rates(RatesMeasured(rates))
    assert stores.recorded == [rates]


def test_the_first_change_is_saved_at_once_and_the_newest_of_many_with_the_tick() -> None:
    recorder, stores = make()
    for port_no in (1, 2, 3):
        recorder.on_network(NetworkChanged(fabric(port_no)))
    assert stores.saved == [fabric(1)]
    recorder.on_tick(Tick("save"))
    recorder.on_tick(Tick("save"))
    assert stores.saved == [fabric(1), fabric(3)]


def test_what_is_unsaved_is_saved_when_it_stops() -> None:
    recorder, stores = make()
    recorder.start()
    recorder.on_network(NetworkChanged(fabric(1)))
    recorder.stop()
    assert stores.saved == [fabric(1)]


def test_a_fabric_that_could_not_be_saved_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    recorder, stores = make()
    stores.broken = True
    recorder.on_network(NetworkChanged(fabric(1)))
    recorder.on_tick(Tick("save"))
    recorder.on_tick(Tick("save"))
    assert caplog.text.count("fabric=unsaved error=cannot save the fabric") == 1
    stores.broken = False
    recorder.on_tick(Tick("save"))
    assert stores.saved == [fabric(1)]


def test_it_tells_whether_the_disk_takes_it() -> None:
    recorder, stores = make()
    stores.broken = stores.failing = True
    recorder.on_network(NetworkChanged(fabric(1)))
    request = RecorderStatusRequest()
    recorder.on_status(request)
    assert request.future.result(0) == RecorderStatus(history_failing=True, history_dropped=0, fabric_unsaved=True)
