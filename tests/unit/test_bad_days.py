"""Whatever happens to fabric, switches, store and controller, in any order: when it is quiet all is as it is said.

What is UP carries packets both ways, no link is promised more than it has, no rule, group, meter or reservation is
left over; and with the last stitch the switches are as they were before the first.
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ryu_apps import wire
from ryu_apps.events import ChangeStitch, CheckStitch, CreateStitch, DeleteStitch, StitchesRequest
from ryu_apps.installer import OFFER_AGAIN_S, READ_S
from ryu_apps.installing.rereading import READ_AGAIN_S
from ryu_apps.installing.wants import watches_alive
from ryu_apps.stitches.idle import RETRY_S
from ryu_apps.store import StoreError
from stitching.application import Application
from stitching.bandwidth import BandwidthRequest, BandwidthShares
from stitching.kinds import carried, links_to_reserve
from stitching.match import TCP
from stitching.network import Host, LinkKey, reverse
from stitching.plan import NotPossible
from stitching.rules import Entry, Failover, FlowRule, Meter
from stitching.segment import SegmentRequest, Side
from stitching.stitch import BadTransition, Protection, State, Stitch, VmRequest
from tests.model.fabric import CAPACITY_MBPS, Fabric
from tests.model_switch import Packet
from tests.unit.stitcher_bench import MemoryStore
from tests.unit.whole import World

DPIDS = (1, 2, 3, 4)
MBPS = st.sampled_from([1.0, 4.0, 6.0])
REFUSALS = (NotPossible, StoreError, BadTransition, LookupError)
CARRIES = (State.UP, State.DEGRADED)
SLOW_MS = 50.0
WEB = Application(ip_proto=TCP, target_port=80)

_fabric = Fabric()
_wires = [_fabric.join(*ends) for ends in ((1, 2), (2, 3), (3, 4), (4, 1), (1, 3))]
A, B, C, D = (_fabric.host(dpid) for dpid in (1, 3, 2, 4))
RED, RED_2 = (_fabric.host(dpid, vnet="red") for dpid in (1, 2))
BLUE = _fabric.host(3, vnet="blue")
ENDS = st.sampled_from([(A, B), (B, A), (C, D), (A, D)])
MOVING = (A, D, RED_2, BLUE)
# Each to a port of its own: two behind one port reach each other there, and no packet of theirs comes to a switch.
SPARE = {(host.mac, dpid): _fabric._port(dpid) for host in MOVING for dpid in DPIDS}

QUIET_S = math.ceil(READ_S + OFFER_AGAIN_S + len(DPIDS) * READ_AGAIN_S + RETRY_S)
"""A switch that does not answer is given up, one that refused something is offered it again, all are read in turn,
and what failed then is tried once more."""


class BadDays(RuleBasedStateMachine):
    """All that may happen."""

    dpids = st.sampled_from(DPIDS)

    def __init__(self) -> None:
        super().__init__()
        network, directory = _fabric.network, _fabric.directory
        self.store = MemoryStore()
        self.world = World(network, tuple(directory.vnets.values()), self.store)
        for dpid in DPIDS:
            self.world.connect(dpid)
        self.world.flow()
        self.at_first = {dpid: dict(table) for dpid, table in self.world.tables.items()}

    @property
    def stitches(self) -> list[Stitch]:
        """Those that have not ended."""
        listed = self.world.ask(StitchesRequest())
        return [stitch for stitch in listed if stitch.state not in (State.TERMINATED, State.REJECTED)]

    # -- what is asked for ----------------------------------------------------------------------------------

    @rule(
        ends=ENDS,
        mbps=MBPS,
        both=st.booleans(),
        protection=st.sampled_from(Protection),
        application=st.sampled_from([None, None, WEB]),
        max_loss=st.sampled_from([None, 0.01]),
        max_latency_ms=st.sampled_from([None, SLOW_MS]),
    )
    def vm(
        self,
        ends: tuple[Host, Host],
        mbps: float,
        both: bool,
        protection: Protection,
        application: Application | None,
        max_loss: float | None,
        max_latency_ms: float | None,
    ) -> None:
        made = VmRequest(ends[0].mac, ends[1].mac, mbps, both_ways=both, protection=protection)
        self.create(replace(made, application=application, max_loss=max_loss, max_latency_ms=max_latency_ms))

    @rule(mbps=MBPS)
    def segment(self, mbps: float) -> None:
        self.create(SegmentRequest(Side("red"), Side("blue"), mbps))

    @rule(mbps=MBPS)
    def bandwidth(self, mbps: float) -> None:
        self.create(BandwidthRequest("default", "default", guarantee_mbps=mbps, cap_mbps=8.0, bandwidth_mbps=mbps))

    def create(self, request: VmRequest | SegmentRequest | BandwidthRequest) -> None:
        with contextlib.suppress(*REFUSALS):
            self.world.ask(CreateStitch(request))

    @precondition(lambda self: self.stitches)
    @rule(data=st.data(), mbps=MBPS)
    def change(self, data: st.DataObject, mbps: float) -> None:
        stitch = data.draw(st.sampled_from(self.stitches))
        with contextlib.suppress(*REFUSALS):
            self.world.ask(ChangeStitch(stitch.id, replaced(stitch, mbps)))

    @precondition(lambda self: self.stitches)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        with contextlib.suppress(*REFUSALS):
            self.world.ask(DeleteStitch(data.draw(st.sampled_from(self.stitches)).id))

    # -- what switches do -----------------------------------------------------------------------------------

    @rule(dpid=dpids, count=st.integers(1, 8))
    def a_switch_works_a_little(self, dpid: int, count: int) -> None:
        if dpid in self.world.connections:
            self.world.connections[dpid].work(count)

    @rule(dpid=dpids, data=st.data(), count=st.integers(1, 4))
    def a_switch_answers_in_any_order(self, dpid: int, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            if dpid not in self.world.connections or not self.world.connections[dpid].saying:
                return
            self.world.say(dpid, data.draw(st.sampled_from(self.world.connections[dpid].can_say())))

    @rule(dpid=dpids, kind=st.sampled_from([FlowRule, Failover, Meter]), more=st.sampled_from([0, 0, 1, 4]))
    def a_table_is_full(self, dpid: int, kind: type[Entry], more: int) -> None:
        self.world.room[dpid].fill(kind, more)

    @rule(dpid=dpids)
    def there_is_room_again(self, dpid: int) -> None:
        self.world.room[dpid].most.clear()

    @rule(dpid=dpids, knows_bundles=st.booleans())
    def a_switch_comes_again(self, dpid: int, knows_bundles: bool) -> None:
        self.world.connect(dpid)
        self.world.connections[dpid].bundles = knows_bundles

    @rule(dpid=dpids)
    def a_switch_goes(self, dpid: int) -> None:
        self.world.hang_up(dpid)

    @rule(dpid=dpids, noticed=st.booleans())
    def a_switch_reboots(self, dpid: int, noticed: bool) -> None:
        """Its tables are empty; that its connection is over may be known only when it is back."""
        self.world.tables[dpid].clear()
        if noticed:
            self.world.hang_up(dpid)
        elif dpid in self.world.connections:
            self.world.connections[dpid].inbox.clear()
        self.world.connect(dpid)

    @rule()
    def all_goes_well_for_a_moment(self) -> None:
        self.world.flow()
        self.world.tick(0.1, "probe")
        self.world.flow()

    # -- what the fabric does -------------------------------------------------------------------------------

    @rule(wire=st.sampled_from(_wires), noticed=st.booleans())
    def a_wire_is_cut(self, wire: LinkKey, noticed: bool) -> None:
        self.world.cut |= {wire, reverse(wire)}
        if noticed:
            self.world.tell_network()

    @rule(wire=st.sampled_from(_wires), noticed=st.booleans())
    def a_wire_is_mended(self, wire: LinkKey, noticed: bool) -> None:
        self.world.cut -= {wire, reverse(wire)}
        if noticed:
            self.world.tell_network()

    @rule(host=st.sampled_from(MOVING), dpid=dpids)
    def a_host_moves(self, host: Host, dpid: int) -> None:
        self.world.hosts[host.mac] = moved(host, dpid)
        self.world.tell_network()

    @rule(host=st.sampled_from([RED, RED_2, BLUE]))
    def a_host_is_gone(self, host: Host) -> None:
        self.world.hosts.pop(host.mac, None)
        self.world.tell_network()

    # -- what the controller goes through -------------------------------------------------------------------

    @rule(full=st.sampled_from([True, False, False]))
    def the_disk(self, full: bool) -> None:
        self.store.full = full

    @rule(seconds=st.sampled_from([0.05, 0.3, 1.0, 3.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.tick(seconds, "probe", "deadlines", "retry")

    @rule(really=st.sampled_from([True, False, False]))
    def the_controller_is_killed_and_started_again(self, really: bool) -> None:
        if really:
            self.world.start()

    @rule(wire=st.sampled_from(_wires), every=st.sampled_from([2, 4, 10]))
    def a_wire_loses(self, wire: LinkKey, every: int) -> None:
        self.world.losing |= dict.fromkeys((wire, reverse(wire)), every)

    @rule(wire=st.sampled_from(_wires))
    def a_wire_is_slow(self, wire: LinkKey) -> None:
        self.world.slow_ms |= dict.fromkeys((wire, reverse(wire)), 2 * SLOW_MS)

    @rule()
    def all_wires_are_good_again(self) -> None:
        self.world.losing.clear()
        self.world.slow_ms.clear()

    # -- what always holds ----------------------------------------------------------------------------------

    @invariant()
    def what_nothing_is_happening_to_is_as_it_says(self) -> None:
        """What is UP has a path, and where nothing is on its way and all is known, packets take it."""
        stitches = self.stitches
        assert all(stitch.path is not None for stitch in stitches if stitch.state in CARRIES)
        if any(stitch.state is State.UP for stitch in stitches) and self.is_still():
            self.check_packets(stitches)

    def is_still(self) -> bool:
        """Whether no message is on its way, no switch is away or short of what it should have, no cut is news."""
        world = self.world
        if world.stitcher._life.changes.on_their_way or world.timers or len(world.connections) < len(DPIDS):
            return False
        if any(one.inbox or one.saying for one in world.connections.values()):
            return False
        if (
            world.hosts != dict(world.known.hosts)
            or world.known.links.keys() != world.wired.links.keys() - world.cut
        ):
            return False
        stitches = [stitch for stitch in self.stitches if stitch.state in CARRIES]
        wanted = world.wanted(stitches)
        return all(world.tables[dpid].get(key) == entry for dpid in DPIDS for key, entry in wanted[dpid].items())

    # -- what holds when it is quiet ------------------------------------------------------------------------

    @rule()
    def it_is_quiet(self) -> None:
        self.store.full = False
        self.all_wires_are_good_again()
        self.all_are_connected()
        self.world.tell_network()
        self.settle()
        self.check()

    def all_are_connected(self) -> None:
        for dpid in DPIDS:
            if dpid not in self.world.connections:
                self.world.connect(dpid)

    def settle(self) -> None:
        """Nothing more goes wrong for QUIET_S; a switch whose channel was closed comes back."""
        until_s, step_s = self.world.now_s + QUIET_S, 0.5
        while self.world.now_s < until_s:
            self.world.flow()
            self.all_are_connected()
            self.world.flow()
            self.world.tick(step_s, "probe")
            self.world.flow()
            self.world.tick(0.0, "deadlines", "retry")
            # Most of it happens at once; the rest is waiting.
            step_s = min(4.0, 1.2 * step_s)
        self.world.flow()
        self.world.tick(0.0, "probe")
        self.world.flow()

    def check(self) -> None:
        stitches = self.stitches
        stuck = [s for s in stitches if s.state not in (*CARRIES, State.FAILED) and not waits(s)]
        assert not stuck, [(s.id, s.state, s.reason) for s in stuck]
        assert all(stitch.reason for stitch in stitches if stitch.state is not State.UP)
        self.check_promises(stitches)
        self.check_tables(stitches)
        self.check_packets(stitches)
        assert {number: self.store.kept[number].state for number in (s.id for s in stitches)} == {
            stitch.id: stitch.state for stitch in stitches
        }

    def check_promises(self, stitches: list[Stitch]) -> None:
        """No link is promised more than it has, and nothing is promised to one that carries nothing."""
        promised: dict[LinkKey, float] = defaultdict(float)
        for stitch in stitches:
            assert stitch.path is not None or stitch.state not in CARRIES
            for key in links_to_reserve(stitch.request, stitch.path):
                promised[key] += stitch.request.bandwidth_mbps
        assert all(mbps <= CAPACITY_MBPS + 1e-6 for mbps in promised.values()), promised
        resources = self.world.stitcher._planner.admission.resources
        for key in self.world.known.links:
            assert resources.free(key) == pytest.approx(CAPACITY_MBPS - promised[key])

    def check_tables(self, stitches: list[Stitch]) -> None:
        """A switch has what is wanted of it and nothing else; only what it has no room for may be missing."""
        wanted = self.world.wanted([stitch for stitch in stitches if stitch.state in CARRIES])
        for dpid, table in self.world.tables.items():
            has = {key: entry for key, entry in table.items() if key != wire.ALIVE.key}
            extra = {key: entry for key, entry in has.items() if wanted[dpid].get(key) != entry}
            assert not extra, f"left over on {dpid}: {extra}"
            if not self.world.room[dpid].most:
                assert has == wanted[dpid]
            needs_alive = any(watches_alive(entry) for entry in table.values())
            assert (wire.ALIVE.key in table) == needs_alive

    def check_packets(self, stitches: list[Stitch]) -> None:
        """What is UP has all its packets carried, to where they are meant and to nobody else."""
        model, hosts = self.world.model(), self.world.hosts
        for stitch in stitches:
            for source, target in pairs(stitch) if stitch.state is State.UP else ():
                packet = Packet(source, target, ip_proto=TCP, src_port=40000, dst_port=80)
                fate = model.inject(*hosts[source].port, packet)
                assert (fate.delivered, fate.looped, fate.changed) == ((hosts[target].port,), False, False), (
                    stitch,
                    fate,
                )

    def teardown(self) -> None:
        self.world.cut.clear()
        for room in self.world.room.values():
            room.most.clear()
        self.world.hosts = dict(_fabric.network.hosts)
        self.it_is_quiet()
        for stitch in self.stitches:
            self.world.ask(DeleteStitch(stitch.id))
        self.settle()
        assert not self.stitches
        assert self.world.tables == self.at_first
        for ends in ((A, B), (C, D)):
            request = VmRequest(ends[0].mac, ends[1].mac, CAPACITY_MBPS)
            assert self.world.ask(CheckStitch(request)) is not None


def replaced(stitch: Stitch, mbps: float) -> VmRequest | SegmentRequest | BandwidthRequest:
    if isinstance(stitch.request, BandwidthRequest):
        return replace(stitch.request, guarantee_mbps=mbps, bandwidth_mbps=mbps)
    return replace(stitch.request, bandwidth_mbps=mbps)


def moved(host: Host, dpid: int) -> Host:
    return host if dpid == host.dpid else replace(host, dpid=dpid, port_no=SPARE[host.mac, dpid])


def waits(stitch: Stitch) -> bool:
    return stitch.state is State.REQUESTED and "wait" in (stitch.reason or "")


def pairs(stitch: Stitch) -> Iterator[tuple[str, str]]:
    if isinstance(stitch.path, BandwidthShares):
        return
    yield from carried(stitch)


BadDays.TestCase.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBadDays = BadDays.TestCase
