"""A queue is claimed only when rows, filter and counters are there, and the reason is told otherwise."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from ryu_apps.ovsdb import classes
from ryu_apps.ovsdb.changes import Change, SetQos
from ryu_apps.ovsdb.classes import NoClasses
from ryu_apps.ovsdb.dressing import CHECK_S
from ryu_apps.ovsdb.port_queuing import PortQueuing
from ryu_apps.ovsdb.servers import Servers
from ryu_apps.ovsdb.view import BridgeView, PortView, QosView
from stitching.enforcement import Enforced
from stitching.network import PortId
from stitching.queues import DscpClass, PortQueues, Queue, open_rows, rows

PORT: PortId = (1, 2)
WANTED = PortQueues(10.0, (Queue(1, 5.0, dscp=46, stitch_ids=(7,)),))
LOCAL, REMOTE = "unix:/db.sock", "tcp:10.0.0.1:6640"


class OneSwitch(Servers):
    """A switch with one port, whose rows become what is submitted."""

    def __init__(self, remote: str = LOCAL, datapath: str = "netdev") -> None:
        super().__init__(lambda _: None)
        self.remote, self.datapath = remote, datapath
        self.ports = {PORT: PortView("p", "i", "s1-eth2", PORT[1])}

    def bridge(self, dpid: int) -> tuple[str, BridgeView] | None:
        return (self.remote, BridgeView(1, "s1", self.datapath, {2: self.ports[PORT]})) if dpid == 1 else None

    def submit(self, changes: Mapping[PortId, Change]) -> None:
        for change in changes.values():
            assert isinstance(change, SetQos)
            qos = None if change.rows is None else QosView("q", change.rows, ours=True)
            self.ports = MappingProxyType({PORT: replace(self.ports[PORT], qos=qos)})


class Tc:
    """Stands for tc: what filters a device has, and whether it can be done at all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refusal = ""
        self.filters: list[tuple[DscpClass, ...]] = []
        self.present = 0
        monkeypatch.setattr(classes, "namespace_of", lambda _: Path("/proc/self/ns/net"))
        monkeypatch.setattr(classes, "set_filters", self.set_filters)
        monkeypatch.setattr(classes, "has_filters", lambda *_: self.present)

    def set_filters(self, _namespace: Path, _device: str, wanted: tuple[DscpClass, ...], _minors: object) -> None:
        if self.refusal:
            raise NoClasses(self.refusal)
        self.filters.append(wanted)
        self.present = classes.filters_of(wanted)


@pytest.fixture
def tc(monkeypatch: pytest.MonkeyPatch) -> Tc:
    return Tc(monkeypatch)


class Bench:
    """The queues of one switch, and a clock."""

    def __init__(self, servers: OneSwitch) -> None:
        self.now_s = 0.0
        self.servers = servers
        self.queuing = PortQueuing(servers, logging.getLogger("test"), lambda: self.now_s)

    def keep(self, rounds: int = 4) -> None:
        for _ in range(rounds):
            self.now_s += 0.1
            self.queuing.keep()
        self.queuing.judge()

    def by(self, reason: str = "") -> Enforced:
        choice = self.queuing.enforced[PORT, 1]
        assert reason in choice.reason
        return choice.by

    @property
    def rows(self) -> object:
        qos = self.servers.ports[PORT].qos
        return None if qos is None else qos.rows


def wanting(servers: OneSwitch) -> Bench:
    bench = Bench(servers)
    bench.queuing.want("stitches", {PORT: WANTED})
    return bench


def test_rows_filters_and_then_the_rates_and_the_claim_follows_the_counters(tc: Tc) -> None:
    bench = wanting(OneSwitch())
    bench.keep(1)
    assert bench.rows == open_rows(WANTED) and not tc.filters and bench.by() is Enforced.NONE
    bench.keep()
    assert bench.rows == rows(WANTED) and tc.filters == [(DscpClass(46, 2),)]
    assert bench.by("not yet") is Enforced.QUEUE
    for sent in (0, 1000):
        bench.queuing.counted(PORT, 1, sent)
    assert bench.queuing.judge() and bench.by("grow") is Enforced.QUEUE


def test_counters_that_stand_still_while_the_stitch_flows_end_the_claim(tc: Tc) -> None:
    bench = wanting(OneSwitch())
    bench.keep()
    for _ in range(4):
        bench.queuing.counted(PORT, 1, 0)
        bench.queuing.flowed({7: 5.0})
    assert bench.queuing.judge() and bench.by() is Enforced.NONE and tc.filters


def test_a_filter_that_cannot_be_set_is_told_and_tried_again(tc: Tc) -> None:
    bench = wanting(OneSwitch())
    tc.refusal = "tc is not installed"
    bench.keep()
    assert bench.by("tc is not installed") is Enforced.NONE
    assert bench.rows == open_rows(WANTED), "nothing is held back that nobody sorts"
    tc.refusal = ""
    bench.keep()
    assert bench.by() is Enforced.QUEUE


def test_filters_that_vanished_are_set_again(tc: Tc) -> None:
    bench = wanting(OneSwitch())
    bench.keep()
    tc.present = 0
    bench.keep()
    assert len(tc.filters) == 1, "not looked at each time"
    bench.now_s += CHECK_S
    bench.keep()
    assert len(tc.filters) == 2


def test_the_filter_of_a_queue_that_goes_is_taken_off_before_its_class(tc: Tc) -> None:
    bench = wanting(OneSwitch())
    bench.keep()
    bench.queuing.want("stitches", {PORT: PortQueues(10.0, (Queue(2, 1.0, dscp=10),))})
    bench.keep()
    assert tc.filters[1:] == [(), (DscpClass(10, 3),)]


@pytest.mark.parametrize(("remote", "datapath"), [(REMOTE, "netdev"), (REMOTE, "system")])
def test_a_switch_on_another_host_is_believed_only_if_it_obeys_set_queue(
    tc: Tc, remote: str, datapath: str
) -> None:
    bench = wanting(OneSwitch(remote, datapath))
    bench.keep()
    assert not tc.filters and bench.rows == rows(WANTED)
    assert bench.by() is (Enforced.QUEUE if datapath == "system" else Enforced.NONE)


def test_a_switch_that_no_server_knows_enforces_nothing(tc: Tc) -> None:
    bench = Bench(OneSwitch())
    bench.queuing.want("stitches", {(9, 1): WANTED})
    bench.keep()
    choice = bench.queuing.enforced[(9, 1), 1]
    assert choice.by is Enforced.NONE and "no OVSDB" in choice.reason and not tc.filters
