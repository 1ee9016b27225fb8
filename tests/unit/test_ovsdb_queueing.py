"""Queues of the owners become rows, other people's QoS stays, and counters tell whether queues are obeyed."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from ryu_apps.ovsdb.counting import STILL_PERIODS, QueueCounts
from ryu_apps.ovsdb.queueing import QueueKeeper, queue_facts
from ryu_apps.ovsdb.view import BridgeView, PortView, QosView
from stitching.enforcement import Enforced, Facts, Promise, choose
from stitching.network import PortId
from stitching.queues import PortQueues, QosRows, Queue, open_rows, rows

PORT: PortId = (1, 2)
VIEW = PortView(uuid="p", interface_uuid="i", name="s1-eth2", port_no=2)
WANTED = PortQueues(10.0, (Queue(1, 5.0, dscp=46),))
FOREIGN = QosView("q", QosRows(MappingProxyType({}), MappingProxyType({})), ours=False)
QUEUE = (PORT, 1)


def ours(wanted: PortQueues) -> PortView:
    return replace(VIEW, qos=QosView("q", rows(wanted), ours=True))


def keeper() -> QueueKeeper:
    made = QueueKeeper()
    made.want("stitches", {PORT: WANTED})
    return made


def test_a_port_gets_the_rows_that_are_missing_and_nothing_once_it_has_them() -> None:
    step = keeper().step({PORT: VIEW})
    assert step.changes[PORT].rows == rows(WANTED)
    assert not keeper().step({PORT: ours(WANTED)}).changes


def test_queues_hold_nothing_back_before_their_filters_are_set() -> None:
    made, opened = keeper(), open_rows(WANTED)
    assert made.step({PORT: VIEW}, {PORT}).changes[PORT].rows == opened
    waiting = replace(VIEW, qos=QosView("q", opened, ours=True))
    assert not made.step({PORT: waiting}, {PORT}).changes
    assert made.step({PORT: waiting}).changes[PORT].rows == rows(WANTED)
    assert not made.step({PORT: ours(WANTED)}, {PORT}).changes, "after a restart they stay as they are"


def test_somebody_elses_qos_is_left_alone_and_reported() -> None:
    step = keeper().step({PORT: replace(VIEW, qos=FOREIGN)})
    assert not step.changes and step.left_alone == {PORT}


def test_what_nobody_wants_any_more_is_taken_away_but_not_before_somebody_spoke() -> None:
    assert not QueueKeeper().step({PORT: ours(WANTED)}).changes
    made = keeper()
    made.want("stitches", {})
    assert made.step({PORT: ours(WANTED)}).changes[PORT].rows is None
    assert not made.step({PORT: replace(VIEW, qos=FOREIGN)}).changes


def test_a_port_belongs_to_the_first_owner() -> None:
    made = keeper()
    other = PortQueues(10.0, (Queue(2, 1.0),))
    made.want("another", {PORT: other, (1, 3): other})
    assert made.wanted == {PORT: other, (1, 3): other}
    made.want("another", {})
    assert made.wanted == {PORT: WANTED}


def test_an_interface_without_queueing_discipline_gets_no_rows() -> None:
    patch = replace(VIEW, kind="patch")
    assert not keeper().step({PORT: patch}).changes
    assert not queue_facts(BridgeView(1, "s1", "netdev"), patch, "").settable


def test_who_obeys_depends_on_the_datapath_and_on_where_the_port_lives() -> None:
    userspace, system = BridgeView(1, "s1", "netdev"), BridgeView(1, "s1", "system")
    choices = {
        "userspace, local": choose(Promise.GUARANTEE, Facts(queues=queue_facts(userspace, VIEW, ""))),
        "userspace, remote": choose(Promise.GUARANTEE, Facts(queues=queue_facts(userspace, VIEW, "far away"))),
        "system, remote": choose(Promise.GUARANTEE, Facts(queues=queue_facts(system, VIEW, "far away"))),
        "unknown": choose(Promise.GUARANTEE, Facts(queues=queue_facts(None, None, ""))),
    }
    assert {name: choice.by for name, choice in choices.items()} == {
        "userspace, local": Enforced.QUEUE,
        "userspace, remote": Enforced.NONE,
        "system, remote": Enforced.QUEUE,
        "unknown": Enforced.NONE,
    }
    assert "far away" in choices["userspace, remote"].reason


def test_a_queue_that_grows_is_obeyed() -> None:
    counts = QueueCounts()
    counts.read(QUEUE, 0)
    assert counts.verdict(QUEUE) is None
    counts.read(QUEUE, 100)
    assert counts.verdict(QUEUE) is True


def test_a_queue_that_stands_still_while_its_traffic_flows_is_not() -> None:
    counts = QueueCounts()
    for _ in range(STILL_PERIODS):
        counts.read(QUEUE, 0)
        counts.flowed({QUEUE: 0.0})
    assert counts.verdict(QUEUE) is None, "nothing flowed"
    for _ in range(STILL_PERIODS):
        counts.read(QUEUE, 0)
        counts.flowed({QUEUE: 5.0})
    assert counts.verdict(QUEUE) is False
    counts.read(QUEUE, 10)
    assert counts.verdict(QUEUE) is True


def test_queues_that_are_made_anew_have_shown_nothing() -> None:
    counts = QueueCounts()
    counts.read(QUEUE, 0)
    counts.read(QUEUE, 9)
    counts.restart(PORT)
    assert counts.verdict(QUEUE) is None
