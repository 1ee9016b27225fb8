"""Queues are wanted once for all that happened, as soon as there is a server, and what they do is told."""

from __future__ import annotations

from ryu_apps.app import Tick
from ryu_apps.events import (
    GuaranteesJudged,
    NetworkChanged,
    OvsdbChanged,
    QueuesChanged,
    StitchesChanged,
    WantQueues,
)
from ryu_apps.guarantor import Guarantor
from tests.unit.test_guarantees import QUEUE, on, wire

NETWORK, KEY = wire()
STITCH = on(KEY, 1, 2.0)


class Bench(Guarantor):
    """The app without its thread; keeps what it publishes."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[object] = []

    def publish(self, occurred: object) -> None:
        self.published.append(occurred)

    def wants(self) -> list[WantQueues]:
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
