"""Queues that change all the time, on a slow machine: asked for once, in small bites, and none is forgotten."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.ovsdb import classes
from ryu_apps.ovsdb.changes import Change, SetQos
from ryu_apps.ovsdb.classes import NoClasses
from ryu_apps.ovsdb.port_queuing import PortQueuing
from ryu_apps.ovsdb.servers import Servers
from ryu_apps.ovsdb.submitted import AGAIN_S
from ryu_apps.ovsdb.view import BridgeView, PortView, QosView
from stitching.enforcement import Enforced
from stitching.network import PortId
from stitching.queues import Labelled, PortQueues, Queue, open_rows, rows

PORTS: tuple[PortId, ...] = tuple((1, number) for number in range(1, 9))
TC_S = 0.3
"""A run of tc on a machine with too much to do."""


class SlowServer(Servers):
    """A switch whose database carries out a transaction when it is told to."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.ports = {port_id: PortView(str(port_id), "i", f"s1-eth{port_id[1]}", port_id[1]) for port_id in PORTS}
        self.transactions: list[Mapping[PortId, Change]] = []
        self.done = 0

    def bridge(self, dpid: int) -> tuple[str, BridgeView] | None:
        return "unix:/db.sock", BridgeView(dpid, "s1", "netdev")

    def submit(self, changes: Mapping[PortId, Change]) -> None:
        self.transactions.append(dict(changes))

    def answer(self) -> None:
        """Carry out what was asked for so far."""
        ports = dict(self.ports)
        for transaction in self.transactions[self.done :]:
            for port_id, change in transaction.items():
                assert isinstance(change, SetQos)
                qos = None if change.rows is None else QosView("q", change.rows, ours=True)
                ports[port_id] = replace(ports[port_id], qos=qos)
        self.ports, self.done = ports, len(self.transactions)


class Bench:
    """The queues of eight ports, and a clock that goes on while tc runs."""

    def __init__(self, tc_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.server = SlowServer()
        self.queuing = PortQueuing(self.server, logging.getLogger("test"), lambda: self.now_s)
        self.dressed: list[str] = []
        self._tc_s = tc_s
        self.tries, self.refusal = 0, ""

    def set_filters(self, _namespace: Path, device: str, *_: object) -> None:
        self.now_s += self._tc_s
        self.tries += 1
        if self.refusal:
            raise NoClasses(self.refusal)
        self.dressed.append(device)

    def want(self, mbps: float) -> None:
        self.queuing.want("stitches", {port_id: queues(mbps) for port_id in PORTS})

    def keep(self, after_s: float = 0.02) -> None:
        self.now_s += after_s
        with (
            patch.object(classes, "namespace_of", lambda _: Path("/proc/self/ns/net")),
            patch.object(classes, "set_filters", self.set_filters),
            patch.object(classes, "has_filters", lambda *_: 99),
        ):
            self.queuing.keep()

    def has(self, wanted: PortQueues) -> bool:
        qos = [port.qos for port in self.server.ports.values()]
        return all(one is not None and one.rows == rows(wanted) for one in qos)

    def all_enforced(self) -> bool:
        self.queuing.judge()
        return {choice.by for choice in self.queuing.enforced.values()} == {Enforced.QUEUE}

    def until(self, is_so: Callable[[], bool], tries: int = 60) -> None:
        for _ in range(tries):
            if is_so():
                return
            self.server.answer()
            self.keep()
        pytest.fail("it never came to that")


def queues(mbps: float) -> PortQueues:
    """Two queues; the filters of one change with its rate."""
    changing = Queue(2, mbps, flows=(Labelled(3000 + round(mbps)),))
    return PortQueues(10.0, (Queue(1, 1.0, flows=(Labelled(2048),)), changing))


def settled() -> Bench:
    bench = Bench()
    bench.want(2.0)
    bench.until(lambda: bench.has(queues(2.0)) and len(bench.dressed) == len(PORTS))
    bench.server.transactions.clear()
    bench.server.done = 0
    bench.dressed.clear()
    return bench


def test_all_ports_of_a_round_are_one_transaction_which_is_not_sent_again_while_it_is_on_its_way() -> None:
    bench = settled()
    bench.want(3.0)
    for _ in range(50):
        bench.keep()
    (transaction,) = bench.server.transactions
    assert transaction.keys() == set(PORTS)


def test_what_is_wanted_meanwhile_comes_after_and_only_the_newest_of_it() -> None:
    bench = settled()
    for mbps in (3.0, 4.0, 5.0, 6.0):
        bench.want(mbps)
        bench.keep()
    bench.until(lambda: bench.has(queues(6.0)))
    assert len(bench.server.transactions) == 2


def test_a_change_that_has_no_effect_is_tried_again_but_not_at_once() -> None:
    bench = settled()
    bench.want(3.0)
    bench.keep()
    bench.keep(AGAIN_S - 0.1)
    assert len(bench.server.transactions) == 1
    bench.keep(0.2)
    assert len(bench.server.transactions) == 2
    bench.queuing.moved("unix:/db.sock")
    bench.keep()
    assert len(bench.server.transactions) == 3, "what waited for a server that went is lost"


def test_the_app_hears_what_else_there_is_between_two_ports_and_all_ports_get_their_filters() -> None:
    bench = Bench(TC_S)
    bench.want(2.0)
    bench.keep()
    bench.server.answer()
    assert all(port.qos and port.qos.rows == open_rows(queues(2.0)) for port in bench.server.ports.values())
    while len(bench.dressed) < len(PORTS):
        before_s = bench.now_s
        bench.keep(0.0)
        assert bench.now_s - before_s < 2 * TC_S and bench.queuing.is_urgent
    assert len(set(bench.dressed)) == len(PORTS), "each once"
    bench.until(lambda: bench.has(queues(2.0)))
    assert not bench.queuing.is_urgent


def test_classes_that_are_long_in_coming_are_looked_for_less_and_less_often() -> None:
    bench = Bench()
    bench.refusal = "there is no such class"
    bench.want(2.0)
    bench.keep()
    bench.server.answer()
    while bench.now_s < 5.0:
        bench.keep()
    assert bench.tries <= 12 * len(PORTS)
    bench.refusal = ""
    bench.until(lambda: bench.has(queues(2.0)), tries=500)


@given(st.lists(st.tuples(st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.booleans()), max_size=30), st.booleans())
def test_whatever_the_order_the_last_wanted_queues_are_reached(
    steps: list[tuple[float, bool]], tc_is_slow: bool
) -> None:
    bench = Bench(TC_S if tc_is_slow else 0.0)
    last = 0.5
    bench.want(last)
    for mbps, answers in steps:
        last = mbps
        bench.want(last)
        bench.keep()
        if answers:
            bench.server.answer()
    bench.until(lambda: bench.has(queues(last)) and bench.all_enforced(), tries=200)
