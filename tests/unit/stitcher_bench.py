"""A stitcher without threads over three switches in a triangle: what it tells is noted, its time is the test's."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from os_ken.controller.handler import MAIN_DISPATCHER

from ryu_apps.app import Event, Tick
from ryu_apps.events import ApplyStages, NetworkChanged, ProbeArrived, StagesApplied, StitchesRequest, SwitchReady
from ryu_apps.stitcher import Stitcher
from ryu_apps.stitches.resuming import take_up
from ryu_apps.store import StoreError
from stitching.decisions import ORIGIN
from stitching.network import Host, Link, Network
from stitching.plan import path_at_cost
from stitching.stitch import ENDED, State, Stitch, StitchPath, VmRequest
from tests.unit.fake_switch import FakeSwitch

A, B, C, D = (f"02:00:00:00:00:0{letter}" for letter in "abcd")
REQUEST = VmRequest(A, B, bandwidth_mbps=4.0, max_latency_ms=50.0)
OURS = VmRequest(A, B, 3.0, both_ways=False, origin=ORIGIN)


class MemoryStore:
    """What a StateStore keeps of stitches, with every state ever stored."""

    def __init__(self) -> None:
        self.kept: dict[int, Stitch] = {}
        self.log: list[tuple[int, State]] = []
        self.last_id = 0
        self.full = False

    def stitches(self) -> tuple[Stitch, ...]:
        return tuple(self.kept.values())

    def save_stitches(self, stitches: Iterable[Stitch]) -> None:
        if self.full:
            raise StoreError("cannot save stitches: database or disk is full")
        for stitch in stitches:
            self.kept[stitch.id] = stitch
            self.log.append((stitch.id, stitch.state))

    def next_stitch_ids(self, count: int) -> range:
        self.last_id += count
        return range(self.last_id - count + 1, self.last_id + 1)

    def forget_stitches(self, ended_before_s: float) -> None:
        ended = (s for s in self.kept.values() if s.state in ENDED and s.changed_s < ended_before_s)
        for number in [stitch.id for stitch in ended]:
            del self.kept[number]


def triangle(*, broken: bool = False, moved: bool = False, direct_mbps: float | None = 10.0) -> Network:
    """Switches 1, 2, 3 in a triangle; a on 1, b on 2; the direct link may be broken, b may have moved to 3."""
    ends = [(1, 2), (1, 3), (3, 2)]
    links = {}
    for one, two in ends[1:] if broken else ends:
        for a, b in ((one, two), (two, one)):
            key = (a, b, b, a)
            links[key] = Link(key, direct_mbps if {a, b} == {1, 2} else 10.0, latency_ms=1.0)
    hosts = {A: Host(A, 1, 10), B: Host(B, 3 if moved else 2, 10)}
    return Network({dpid: {} for dpid in (1, 2, 3)}, links, hosts)


class Bench(Stitcher):
    """A stitcher on the test's own thread and clock; what it tells the others is noted."""

    def __init__(self, store: MemoryStore) -> None:
        self.now_s = 1000.0
        self.clock_s = 0.0
        self.told: list[Event] = []
        self.on_publish: Callable[[Event], None] = lambda _: None
        super().__init__(
            store=store,
            key=b"k" * 32,
            policy=None,
            clock=lambda: self.clock_s + self.now_s,
            monotonic=lambda: self.now_s,
        )
        self.switches = {dpid: FakeSwitch(dpid) for dpid in (1, 2, 3)}

    def publish(self, occurred: Event) -> None:
        self.on_publish(occurred)
        self.told.append(occurred)

    def connect(self) -> None:
        for dpid, switch in self.switches.items():
            self.on_state(switch.state(MAIN_DISPATCHER))
            self.on_ready(SwitchReady(dpid))

    def batch(self) -> ApplyStages:
        return next(event for event in reversed(self.told) if isinstance(event, ApplyStages))

    def confirm(self, error: str | None = None) -> None:
        batch = self.batch()
        self.on_applied(StagesApplied(batch.owner, batch.ticket, error, 0))

    def probes_cross(self, took_s: float = 0.002) -> None:
        """Carry every probe that was sent to the far end of its stitch."""
        ends = {1: 2, 2: 1} if self.stitch().path else {}
        for dpid, far in ends.items():
            packets, self.switches[dpid].packets = self.switches[dpid].packets, []
            for packet in packets:
                self.on_probe(ProbeArrived(far, packet[40:], self.now_s + took_s))

    def all_probes_cross(self) -> None:
        """Carry every probe to the far end of its stitch, whichever that is."""
        for switch in self.switches.values():
            packets, switch.packets = switch.packets, []
            for packet in packets:
                for far in self.switches:
                    self.on_probe(ProbeArrived(far, unlabelled(packet[40:]), self.now_s + 0.002))

    def probe_tick(self, seconds: float = 0.0) -> None:
        self.now_s += seconds
        self.on_tick(Tick("probe"))

    def stitch(self, number: int = 1) -> Stitch:
        return next(stitch for stitch in self.listed() if stitch.id == number)

    def listed(self) -> tuple[Stitch, ...]:
        return self._listed(StitchesRequest())


def unlabelled(frame: bytes) -> bytes:
    return frame[:12] + frame[16:] if frame[12:14] == b"\x81\x00" else frame


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def bench(store: MemoryStore) -> Bench:
    made = Bench(store)
    made.on_network(NetworkChanged(triangle()))
    made.connect()
    return made


def create(bench: Bench, request: VmRequest = REQUEST) -> Stitch:
    return bench._desk.create(request)


def way(bench: Bench) -> list[int]:
    path = bench.stitch().vm_path
    return [hop.dpid for hop in path.hops] if path is not None else []


def up(bench: Bench, request: VmRequest = REQUEST) -> Stitch:
    create(bench, request)
    bench.confirm()
    bench.probes_cross()
    assert bench.stitch().state is State.UP
    bench.probe_tick()
    return bench.stitch()


def restarted(store: MemoryStore) -> Bench:
    again = Bench(store)
    take_up(again._life)
    again.on_network(NetworkChanged(triangle()))
    again.connect()
    return again


def plan_round(bench: Bench) -> StitchPath:
    hosts = bench._planner.network.hosts
    cost = np.array([np.inf if key[:3:2] == (1, 2) else 1.0 for key in bench._planner.network.link_order])
    path = path_at_cost(bench._planner.network, hosts[A], hosts[B], cost)
    assert path is not None
    return path


def batch_of(bench: Bench, number: int) -> ApplyStages:
    batches = (event for event in reversed(bench.told) if isinstance(event, ApplyStages))
    return next(batch for batch in batches if batch.owner == f"stitch:{number}")


def confirm(bench: Bench, number: int, error: str | None = None) -> None:
    batch = batch_of(bench, number)
    bench.on_applied(StagesApplied(batch.owner, batch.ticket, error, 0))
