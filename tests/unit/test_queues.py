"""Queues that promise more than a port has are refused; the rows of the others add up to the port."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitching.queues import BEST_EFFORT, CONTROL, DscpClass, PortQueues, Queue, queue_classes, rows


@st.composite
def port_queues(draw: st.DrawFn) -> PortQueues:
    rate_mbps = draw(st.floats(1, 1000))
    count = draw(st.integers(1, 8))
    shares = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    scale = rate_mbps / max(1.0, sum(shares))
    dscps = draw(st.lists(st.integers(1, 63), min_size=count, max_size=count, unique=True))
    queues = (
        Queue(number, share * scale, None, dscp)
        for number, (share, dscp) in enumerate(zip(shares, dscps, strict=True), 1)
    )
    return PortQueues(rate_mbps, tuple(queues))


@given(port_queues())
def test_each_queue_has_a_row_and_no_row_exceeds_the_port(wanted: PortQueues) -> None:
    made = rows(wanted)
    most = int(made.other_config["max-rate"])
    assert set(made.queues) == {BEST_EFFORT, CONTROL, *(queue.number for queue in wanted.queues)}
    for settings in made.queues.values():
        assert 1 <= int(settings["min-rate"]) <= int(settings["max-rate"]) <= most
    for queue in wanted.queues:
        assert int(made.queues[queue.number]["min-rate"]) >= round(queue.min_mbps * 1e6) - 1


def test_best_effort_is_left_what_the_others_are_not_promised() -> None:
    made = rows(PortQueues(10, (Queue(1, 5.0),)))
    assert made.queues[BEST_EFFORT] == {"min-rate": "4800000", "max-rate": "10000000", "burst": "120000"}
    assert rows(PortQueues(10, (Queue(1, 10.0),))).queues[BEST_EFFORT]["min-rate"] == "100000"


def test_what_keeps_links_alive_has_a_queue_of_its_own() -> None:
    assert rows(PortQueues(10, ())).queues[CONTROL] == {
        "min-rate": "200000",
        "max-rate": "1000000",
        "burst": "120000",
    }


def test_a_queue_never_has_more_than_its_cap() -> None:
    settings = rows(PortQueues(10, (Queue(3, 1.0, 2.0),))).queues[3]
    assert (settings["min-rate"], settings["max-rate"]) == ("1000000", "2000000")


def test_a_dscp_leads_to_the_class_of_its_queue() -> None:
    (one,) = queue_classes((Queue(1, dscp=46), Queue(2)))
    assert one == DscpClass(46, 2)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Queue(0),
        lambda: Queue(CONTROL),
        lambda: Queue(1, -1.0),
        lambda: Queue(1, float("nan")),
        lambda: Queue(1, 5.0, 4.0),
        lambda: Queue(1, 0.0, 0.0),
        lambda: Queue(1, dscp=64),
        lambda: Queue(1, dscp=0),
        lambda: PortQueues(0, ()),
        lambda: PortQueues(10, (Queue(1), Queue(1))),
        lambda: PortQueues(10, (Queue(1, dscp=9), Queue(2, dscp=9))),
        lambda: PortQueues(10, (Queue(1, 6.0), Queue(2, 6.0))),
    ],
)
def test_what_is_no_queue_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"queue|dscp|rate_mbps"):
        bad()  # type: ignore[operator]
