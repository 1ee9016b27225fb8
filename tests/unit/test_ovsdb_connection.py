"""An OVSDB server that hangs, refuses or talks nonsense costs a try now and then, and nothing grows meanwhile."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from ryu_apps.ovsdb import connection as module
from ryu_apps.ovsdb.changes import SetBfd
from ryu_apps.ovsdb.connection import Connection, Heard
from tests.system.waiting import wait_until
from tests.unit.fake_ovsdb import INTERFACES, FakeOvsdb, Json, fake_ovsdb

SOON_S = 5.0
CHANGE, OTHER = (SetBfd(interface, 20, {}) for interface in INTERFACES)


class Bench:
    """A connection, and what it tells."""

    def __init__(self, remote: str) -> None:
        self.heard: queue.Queue[Heard] = queue.Queue()
        self.connection = Connection(remote, self.heard.put)

    def next_with(self, *, view: bool) -> Heard:
        while (heard := self.heard.get(timeout=SOON_S)) and (heard.view is not None) is not view:
            pass
        return heard

    def next_error(self) -> str:
        while not (heard := self.heard.get(timeout=SOON_S)).error:
            pass
        return heard.error


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeOvsdb]:
    with fake_ovsdb(tmp_path / "db.sock") as server:
        yield server


@pytest.fixture
def bench(server: FakeOvsdb) -> Iterator[Bench]:
    bench = Bench(server.remote)
    bench.connection.start()
    try:
        yield bench
    finally:
        bench.connection.stop()


def test_a_view_has_what_the_server_says(bench: Bench) -> None:
    view = bench.next_with(view=True).view
    assert view is not None and [port.name for port in view.bridges[0].ports.values()] == ["s1-eth1", "s1-eth2"]


def test_a_change_that_is_never_answered_is_given_up_and_the_server_is_asked_anew(
    bench: Bench, server: FakeOvsdb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.2)
    server.answer = lambda _: None
    bench.next_with(view=True)
    bench.connection.submit([CHANGE])
    assert "no answer" in bench.next_error()
    server.answer = lambda operations: [{"count": 1} for _ in operations]
    bench.next_with(view=True)
    assert server.connections > 1
    asked = len(server.transactions)
    bench.connection.submit([CHANGE])
    wait_until(lambda: len(server.transactions) > asked, SOON_S, "it is changed after all")


def test_while_one_change_waits_others_do_not_pile_up(bench: Bench, server: FakeOvsdb) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def answer(operations: list[Json]) -> list[Json]:
        begun.set()
        assert go_on.wait(SOON_S)
        return [{"count": 1} for _ in operations]

    server.answer = answer
    bench.next_with(view=True)
    bench.connection.submit([CHANGE])
    assert begun.wait(SOON_S)
    for number in range(200):
        bench.connection.submit([SetBfd(INTERFACES[number % 2], 20 + number, {})])
    go_on.set()
    wait_until(lambda: "219" in str(server.transactions), SOON_S, "the newest of them")
    assert len(server.transactions) == 2


def test_what_is_said_to_a_connection_that_has_ended_is_written_to_no_other_file(bench: Bench) -> None:
    bench.next_with(view=True)
    bench.connection.stop()
    # These have the numbers of the files that were closed.
    pipes = [os.pipe2(os.O_NONBLOCK) for _ in range(8)]
    try:
        bench.connection.submit([CHANGE])
        bench.connection.stop()
        for read, _ in pipes:
            with pytest.raises(BlockingIOError):
                os.read(read, 1)
    finally:
        for one in chain.from_iterable(pipes):
            os.close(one)


def test_of_many_changes_the_one_that_is_refused_is_left_out(bench: Bench, server: FakeOvsdb) -> None:
    def answer(operations: list[Json]) -> list[Json]:
        if INTERFACES[0] in str(operations):
            return [{"error": "constraint violation", "details": "no"}]
        return [{"count": 1} for _ in operations]

    server.answer = answer
    bench.next_with(view=True)
    bench.connection.submit([CHANGE, OTHER])
    assert "constraint violation" in bench.next_error()
    assert any(INTERFACES[0] not in str(operations) for operations in server.transactions), "the other is made"
    assert len(server.transactions) == 3
