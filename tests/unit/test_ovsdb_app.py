"""The app that keeps the databases of the switches, before a server that does not do as it is told."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
from os_ken.base.app_manager import AppManager

from ryu_apps.app import ask
from ryu_apps.events import NetworkChanged, OvsdbStatusRequest, WantQueues
from ryu_apps.ovsdb.app import Ovsdb
from stitching.network import Network, Port
from stitching.queues import PortQueues, Queue
from tests.system.waiting import wait_until
from tests.unit.fake_ovsdb import FakeOvsdb, fake_ovsdb

SOON_S = 5.0
WANTED = {(1, port_no): PortQueues(10.0, (Queue(1, 5.0),)) for port_no in (1, 2)}
PORTS = {no: Port(no, f"s1-eth{no}", "02:00:00:00:00:01", up=True) for no in (1, 2)}
NETWORK = Network(switches=MappingProxyType({1: MappingProxyType(PORTS)}))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeOvsdb]:
    with fake_ovsdb(tmp_path / "db.sock") as server:
        yield server


@pytest.fixture
def app(server: FakeOvsdb) -> Iterator[Ovsdb]:
    manager = AppManager.get_instance()
    app: Ovsdb = manager.instantiate(Ovsdb, remotes=(server.remote,))
    try:
        app.start()
        yield app
    finally:
        manager.uninstantiate(app.name)


def test_a_server_that_refuses_is_not_asked_again_at_once(
    app: Ovsdb, server: FakeOvsdb, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = lambda _: [{"error": "permission error", "details": "not yours"}]
    with caplog.at_level(logging.INFO, "lockstitch"):
        app.post(NetworkChanged(NETWORK))
        app.post(WantQueues("stitches", WANTED))
        wait_until(lambda: server.transactions, SOON_S, "it was asked")
        asked_s = time.monotonic()
        wait_until(lambda: time.monotonic() - asked_s > 1.5, SOON_S, "a while")
    status = ask(app.name, OvsdbStatusRequest())
    assert "permission error" in status.last_error
    assert "permission error" in status.enforced[(1, 1), 1].reason
    # All at once, and each alone; perhaps twice.
    assert len(server.transactions) <= 6
    assert len([record for record in caplog.records if "lockstitch" in record.name]) <= 12


def test_a_server_that_takes_changes_again_is_asked_again(app: Ovsdb, server: FakeOvsdb) -> None:
    refusals = iter([True] * 3)
    server.answer = lambda operations: (
        [{"error": "busy", "details": ""}] if next(refusals, False) else [{} for _ in operations]
    )
    app.post(NetworkChanged(NETWORK))
    app.post(WantQueues("stitches", WANTED))
    wait_until(lambda: len(server.transactions) > 3, 4 * SOON_S, "it is asked once more")
