"""Queues are wanted once for all that happened, as soon as there is a server, and what they do is told."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.app import Tick
from ryu_apps.events import (
    GuaranteesJudged,
    NetworkChanged,
    OvsdbChanged,
    QueuesChanged,
    StitchesChanged,
    WantQueues,
)
from ryu_apps.guarantor import ROUND_S, SETTLE_S, Guarantor
from stitching.decisions import ORIGIN
from tests.unit.test_guarantees import QUEUE, on, wire

NETWORK, KEY = wire()
STITCH = on(KEY, 1, 2.0)


class Bench(Guarantor):
    """The app without its thread; keeps what it publishes."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(clock=lambda: self.now_s)
        self.published: list[object] = []

    def publish(self, occurred: object) -> None:
        self.published.append(occurred)

    def wants(self, after_s: float = ROUND_S) -> list[WantQueues]:
        self.now_s += after_s
        self.on_tick(Tick("settle"))
        wanted = [event for event in self.published if isinstance(event, WantQueues)]
        self.published = [event for event in self.published if event not in wanted]
        return wanted

    def know(self, *, servers: bool = True) -> None:
        self.on_network(NetworkChanged(NETWORK))
        self.on_stitches(StitchesChanged((STITCH,)))
        if servers:
            self.on_servers(OvsdbChanged(frozenset({"unix:/db.sock"}), frozenset({1, 2})))


def test_nothing_is_wanted_without_a_server_or_before_all_is_known() -> None:
    bench = Bench()
    bench.know(servers=False)
    assert not bench.wants() and not bench.published
    bench = Bench()
    bench.on_servers(OvsdbChanged(frozenset({"unix:/db.sock"}), frozenset()))
    bench.on_network(NetworkChanged(NETWORK))
    assert not bench.wants(), "stitches of before a restart may have queues"


def test_what_is_wanted_is_said_once_and_again_when_it_changes() -> None:
    bench = Bench()
    bench.know()
    (wanted,) = bench.wants()
    assert [queue.min_mbps for queue in wanted.ports[KEY[:2]].queues] == [2.0]
    bench.on_stitches(StitchesChanged((STITCH,)))
    assert not bench.wants()
    bench.on_stitches(StitchesChanged((on(KEY, 1, 3.0),)))
    (resized,) = bench.wants()
    assert [queue.min_mbps for queue in resized.ports[KEY[:2]].queues] == [3.0]
    bench.on_stitches(StitchesChanged(()))
    (gone,) = bench.wants()
    assert gone.ports[KEY[:2]].queues == ()


def test_what_the_queues_do_is_told_by_stitch() -> None:
    bench = Bench()
    bench.know()
    bench.wants()
    bench.on_queues(QueuesChanged({(KEY[:2], 1): QUEUE}))
    judged = [event for event in bench.published if isinstance(event, GuaranteesJudged)]
    assert [event.verdicts[1][0] for event in judged] == ["none", "queue"]
    bench.on_servers(OvsdbChanged(frozenset(), frozenset()))
    bench.wants()
    assert bench.published[-1] == GuaranteesJudged({})


def promised(event: WantQueues) -> list[float]:
    return [queue.min_mbps for queue in event.ports[KEY[:2]].queues]


def test_the_first_change_for_a_while_is_made_at_once() -> None:
    bench = Bench()
    bench.know()
    assert bench.wants(SETTLE_S)


@given(st.lists(st.tuples(st.floats(0.0, 2.0), st.sampled_from([None, 1.0, 2.0, 3.0])), max_size=40))
def test_promises_that_change_all_the_time_are_few_rounds_and_the_last_one_always_comes(
    changes: list[tuple[float, float | None]],
) -> None:
    bench = Bench()
    bench.know()
    rounds: list[tuple[float, WantQueues]] = [(bench.now_s, event) for event in bench.wants()]
    last = [2.0]
    for after_s, mbps in changes:
        last = [] if mbps is None else [mbps]
        bench.on_stitches(StitchesChanged(tuple(on(KEY, 1, one) for one in last)))
        rounds += [(bench.now_s, event) for event in bench.wants(after_s)]
    waited_s = 0.0
    while waited_s < ROUND_S + SETTLE_S:
        waited_s += SETTLE_S
        rounds += [(bench.now_s, event) for event in bench.wants(SETTLE_S)]
    assert all(now_s - before_s >= ROUND_S for (before_s, _), (now_s, _) in pairwise(rounds))
    assert promised(rounds[-1][1]) == last


def test_a_promise_that_grew_is_not_claimed_before_its_queue_was_asked_for() -> None:
    bench = Bench()
    bench.know()
    bench.wants()
    bench.on_queues(QueuesChanged({(KEY[:2], 1): QUEUE}))
    bench.on_stitches(StitchesChanged((on(KEY, 1, 3.0),)))
    assert not bench.wants(SETTLE_S)
    judged = [event for event in bench.published if isinstance(event, GuaranteesJudged)]
    assert [event.verdicts[1][0] for event in judged] == ["none", "queue", "none"]
    assert "its queue is being set" in judged[-1].verdicts[1][1]


def test_what_the_trigger_makes_and_resizes_changes_no_queue() -> None:
    bench = Bench()
    bench.know()
    bench.wants()
    for mbps in (1.0, 2.0, 4.0):
        moved = on(KEY, 2, mbps)
        moved = replace(moved, request=replace(moved.request, origin=ORIGIN))
        bench.on_stitches(StitchesChanged((STITCH, moved)))
        assert not bench.wants()
