"""Whatever happens to stitches, in any order: no link is promised more than it has, and nothing gets stuck."""

from __future__ import annotations

import contextlib
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from pathing import Oversubscribed
from ryu_apps.app import Tick
from ryu_apps.events import (
    ApplyStages,
    NetworkChanged,
    Rates,
    RatesMeasured,
    StagesApplied,
    SwitchReady,
    VnetsChanged,
)
from ryu_apps.stitches.idle import RETRY_S
from ryu_apps.stitches.resuming import take_up
from ryu_apps.store import StoreError
from stitching.bandwidth import BandwidthRequest, BandwidthShares
from stitching.decisions import ORIGIN
from stitching.kinds import links_to_reserve
from stitching.network import Host, LinkKey, Network
from stitching.plan import NotPossible, path_at_cost
from stitching.routes import CARRYING
from stitching.segment import SegmentRequest, SegmentTree, Side
from stitching.stitch import ENDED, BadTransition, Protection, State, Stitch, VmRequest
from stitching.validity import Validity
from stitching.vnet import Member, VNet
from tests.unit.stitcher_bench import A, B, Bench, C, D, MemoryStore, triangle

E, F = "02:00:00:00:00:0e", "02:00:00:00:00:0f"
HOSTS = {A: Host(A, 1, 10), B: Host(B, 2, 10), C: Host(C, 1, 11), D: Host(D, 3, 10)}
RED, BLUE = Host(E, 1, 12, frozenset({"10.0.0.5"})), Host(F, 3, 12, frozenset({"10.0.0.6"}))
VNETS = (VNet("red", (Member(E, "e"),)), VNet("blue", (Member(F, "f"),)))
MBPS = st.sampled_from([1.0, 4.0, 6.0])
TERMS = st.fixed_dictionaries(
    {"priority": st.integers(0, 7)}, optional={"protection": st.sampled_from(list(Protection)[:2])}
)
SETTLED = ENDED | {State.UP, State.FAILED}


def fabric(direct_mbps: float | None, more: Mapping[str, Host], *, broken: bool = False) -> Network:
    return replace(triangle(direct_mbps=direct_mbps, broken=broken), hosts={**HOSTS, **more})


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of stitches come and go. The logger outlives the bench: other tests have one of the same name."""
    log = logging.getLogger(f"lockstitch.{Bench.__name__}")
    log.disabled = True
    yield
    log.disabled = False


class Life(RuleBasedStateMachine):
    """All that may happen to a stitcher."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.begin()

    def begin(self) -> None:
        self.bench = Bench(self.store)
        self.handled = 0
        self.open: dict[str, ApplyStages] = {}
        self.more = {E: RED, F: BLUE}
        take_up(self.bench._life)
        self.bench.on_vnets(VnetsChanged(VNETS))
        self.bench.on_network(NetworkChanged(fabric(10.0, self.more)))
        self.bench.connect()
        self.collect()

    def collect(self) -> None:
        """A newer change of an owner overtakes the one before, as in the installer."""
        for event in self.bench.told[self.handled :]:
            if isinstance(event, ApplyStages):
                self.open[event.owner] = event
        self.handled = len(self.bench.told)

    def ids(self) -> list[int]:
        return [stitch.id for stitch in self.bench._book.active]

    def up(self) -> list[int]:
        return [stitch.id for stitch in self.bench._book.active if stitch.state is State.UP]

    @rule(
        ends=st.sampled_from([(A, B), (B, A), (C, D), (A, D)]),
        mbps=MBPS,
        origin=st.sampled_from(["api", ORIGIN]),
        both=st.booleans(),
        priority=st.sampled_from([3, 3, 4, 6]),
    )
    def create(self, ends: tuple[str, str], mbps: float, origin: str, both: bool, priority: int) -> None:
        both = both and origin != ORIGIN
        request = VmRequest(*ends, mbps, both_ways=both, origin=origin, priority=priority)
        with contextlib.suppress(NotPossible, StoreError):
            self.bench._desk.create(request)
        self.collect()

    @rule(mbps=MBPS, hours=st.booleans())
    def create_segment(self, mbps: float, hours: bool) -> None:
        valid = Validity(self.bench.now_s + 10.0, self.bench.now_s + 30.0) if hours else Validity()
        with contextlib.suppress(NotPossible, StoreError):
            self.bench._desk.create(SegmentRequest(Side("red"), Side("blue"), mbps, valid=valid))
        self.collect()

    @rule(mbps=MBPS, ends=st.sampled_from([("default", "default"), ("red", "blue")]))
    def create_bandwidth(self, mbps: float, ends: tuple[str, str]) -> None:
        request = BandwidthRequest(*ends, guarantee_mbps=mbps, cap_mbps=8.0, bandwidth_mbps=mbps)
        with contextlib.suppress(NotPossible, StoreError):
            self.bench._desk.create(request)
        self.collect()

    @rule(mac=st.sampled_from([E, F]), what=st.sampled_from(["go", "come", "clash", "move"]))
    def host_changes(self, mac: str, what: str) -> None:
        host = {E: RED, F: BLUE}[mac]
        if what == "go":
            self.more.pop(mac, None)
        elif what == "move":
            self.more[mac] = replace(host, dpid=2)
        else:
            self.more[mac] = host if what == "come" else replace(host, ips=RED.ips | BLUE.ips)
        self.bench.on_network(NetworkChanged(fabric(10.0, self.more)))
        self.collect()

    @rule(mbps=st.sampled_from([0.0, 2.0, 9.0]))
    def measured(self, mbps: float) -> None:
        self.bench.on_rates(RatesMeasured(Rates(self.bench.now_s, 1.0, demand_mbps={(A, B): mbps, (C, D): 1.0})))
        self.collect()

    @precondition(lambda self: self.ids())
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        with contextlib.suppress(StoreError):
            self.bench._desk.delete(data.draw(st.sampled_from(self.ids())))
        self.collect()

    @precondition(lambda self: self.ids())
    @rule(data=st.data(), mbps=MBPS, terms=TERMS)
    def change(self, data: st.DataObject, mbps: float, terms: dict[str, Any]) -> None:
        """Somebody wants other terms of one; what is refused leaves it as it was."""
        before = self.bench._book[data.draw(st.sampled_from(self.ids()))]
        more: dict[str, Any] = {"bandwidth_mbps": mbps, **terms}
        if isinstance(before.request, BandwidthRequest):
            more = {"bandwidth_mbps": mbps, "guarantee_mbps": mbps, "priority": terms["priority"]}
        try:
            self.bench._changer.change(before.id, replace(before.request, **more))
        except (NotPossible, Oversubscribed, StoreError, BadTransition):
            assert self.bench._book[before.id] == before
        self.collect()

    @precondition(lambda self: self.open)
    @rule(data=st.data(), error=st.sampled_from([None, None, None, "a switch refused a rule"]))
    def confirm(self, data: st.DataObject, error: str | None) -> None:
        batch = self.open.pop(data.draw(st.sampled_from(sorted(self.open))))
        self.bench.on_applied(StagesApplied(batch.owner, batch.ticket, error, 0))
        self.collect()

    @rule(seconds=st.sampled_from([0.05, 0.3, 1.0, 3.0]), arrive=st.booleans())
    def probes(self, seconds: float, arrive: bool) -> None:
        self.bench.probe_tick(seconds)
        if arrive:
            self.bench.all_probes_cross()
        self.collect()

    @rule()
    def all_goes_well_for_a_moment(self) -> None:
        for owner in sorted(self.open):
            batch = self.open.pop(owner)
            self.bench.on_applied(StagesApplied(batch.owner, batch.ticket, None, 0))
        self.collect()
        self.probes(0.1, arrive=True)

    @rule(direct_mbps=st.sampled_from([10.0, 10.0, 5.0, 3.0, None]), broken=st.booleans())
    def fabric_changes(self, direct_mbps: float | None, broken: bool) -> None:
        self.bench.on_network(NetworkChanged(fabric(direct_mbps, self.more, broken=broken)))
        self.collect()

    @precondition(lambda self: self.up())
    @rule(data=st.data(), mbps=MBPS)
    def trigger_moves_one(self, data: st.DataObject, mbps: float) -> None:
        stitch = self.bench._book[data.draw(st.sampled_from(self.up()))]
        if not isinstance(stitch.request, VmRequest):
            return
        network = self.bench._planner.network
        hosts = [network.hosts[mac] for mac in stitch.vm_request.directions[0]]
        now = stitch.path.links if stitch.path is not None else ()
        cost = np.array([100.0 if key in now else 1.0 for key in network.link_order])
        path = path_at_cost(network, hosts[0], hosts[1], cost)
        with contextlib.suppress(Oversubscribed, StoreError):
            if path is not None:
                self.bench._decider.reroute(stitch, path, mbps, None)
        self.collect()

    @rule(dpid=st.sampled_from([1, 2, 3]), back=st.booleans())
    def switch_goes(self, dpid: int, back: bool) -> None:
        switch = self.bench.switches[dpid]
        self.bench.on_state(switch.state(MAIN_DISPATCHER if back else DEAD_DISPATCHER))
        if back:
            self.bench.on_ready(SwitchReady(dpid))

    @rule(full=st.sampled_from([True, False, False, False]))
    def disk(self, full: bool) -> None:
        self.store.full = full

    @rule()
    def time_passes(self) -> None:
        self.bench.now_s += RETRY_S
        self.bench.on_tick(Tick("retry"))
        self.collect()

    @rule(really=st.sampled_from([True, False, False]))
    def killed_and_started_again(self, really: bool) -> None:
        if really:
            self.store.full = False
            self.begin()

    def settled(self, stitch: Stitch) -> bool:
        """Those that wait for their time, or for somebody who may send, wait on; a guarantee may find no room."""
        reason = stitch.reason or ""
        no_room = isinstance(stitch.request, BandwidthRequest) and "Mbit/s free, and" in reason
        waits = stitch.state is State.REQUESTED and "waits" in reason
        return stitch.state in SETTLED or waits or (stitch.state is State.DEGRADED and no_room)

    @invariant()
    def no_link_is_promised_more_than_it_has_to_those_that_stay(self) -> None:
        resources = self.bench._planner.admission.resources
        leaving = {number for number in self.ids() if self.bench._life.changes.removing(number)}
        promised: dict[LinkKey, float] = defaultdict(float)
        for stitch in self.bench._book.active:
            booked = resources.reservation(stitch.id)
            for key in booked.keys if booked is not None and stitch.id not in leaving else ():
                promised[key] += booked.mbps if booked is not None else 0.0
        for key, link in self.bench._planner.network.links.items():
            if link.capacity_mbps is not None:
                assert promised[key] <= link.capacity_mbps + 1e-6

    @invariant()
    def only_who_is_more_important_displaces(self) -> None:
        for stitch in self.bench._book:
            found = re.search(r"displaced by stitch \d+ \(priority (\d) over (\d)\)", stitch.reason or "")
            assert found is None or found[1] > found[2]

    @invariant()
    def who_waits_for_others_to_go_has_their_room(self) -> None:
        """What it is promised is booked for it, and nobody is on the way to it who does not leave."""
        life = self.bench._life
        assert life.making_room.keys() <= life.waiting.keys()
        for number, path in life.waiting.items():
            stitch = self.bench._book[number]
            needs = links_to_reserve(stitch.request, path)
            booked = self.bench._planner.admission.resources.reservation(number)
            assert stitch.state is State.REQUESTED
            assert not needs or (booked is not None and set(needs) <= set(booked.keys))

    @invariant()
    def only_the_living_hold_anything(self) -> None:
        resources, active = self.bench._planner.admission.resources, set(self.ids())
        for key in triangle().links:
            for owner in resources.owners(key):
                assert (owner[1] if isinstance(owner, tuple) else owner) in active

    @invariant()
    def what_carries_is_booked_and_nobody_else_carries_it(self) -> None:
        leaving = {number for number in self.ids() if self.bench._life.changes.removing(number)}
        seen: set[tuple[str, str]] = set()
        for stitch in self.bench._book.active:
            if stitch.state not in CARRYING or stitch.id in leaving:
                continue
            path = stitch.vm_path
            if not isinstance(stitch.request, VmRequest):
                self.check_other_kind(stitch)
                continue
            assert path is not None
            booked = self.bench._planner.admission.resources.reservation(stitch.id)
            assert not path.links or (booked is not None and set(path.links) <= set(booked.keys))
            assert not seen & set(stitch.vm_request.directions)
            seen |= set(stitch.vm_request.directions)

    def check_other_kind(self, stitch: Stitch) -> None:
        booked = self.bench._planner.admission.resources.reservation(stitch.id)
        needs = links_to_reserve(stitch.request, stitch.path)
        assert not needs or (booked is not None and set(needs) <= set(booked.keys))

    @invariant()
    def no_two_have_the_same_label_or_meter(self) -> None:
        active = self.bench._book.active
        labels = [s.path.label for s in active if isinstance(s.path, SegmentTree)]
        meters = [s.path.meter for s in active if isinstance(s.path, BandwidthShares)]
        assert len(set(labels)) == len(labels) and len(set(meters)) == len(meters)

    def teardown(self) -> None:
        """Once nothing gets in the way any more, everything comes to rest, and the store knows it."""
        self.store.full = False
        for dpid in (1, 2, 3):
            self.switch_goes(dpid, back=True)
        self.more = {E: RED, F: BLUE}
        self.fabric_changes(10.0, broken=False)
        for _ in range(12):
            self.all_goes_well_for_a_moment()
            self.probes(0.3, arrive=True)
            self.time_passes()
            self.bench.all_probes_cross()
        stitches = self.bench.listed()
        assert {stitch.id: stitch.state for stitch in stitches if not self.settled(stitch)} == {}
        assert {stitch.id: self.store.kept[stitch.id].state for stitch in stitches} == {
            stitch.id: stitch.state for stitch in stitches
        }


Life.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLife = Life.TestCase
