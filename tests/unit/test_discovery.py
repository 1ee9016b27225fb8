"""Discovery, driven through its handlers on a simulated fabric whose clock the test turns."""

from __future__ import annotations

import heapq
import itertools
import struct
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, register_instance
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from ryu_apps.app import Event, Tick
from ryu_apps.discovering.links import LinkTable
from ryu_apps.discovering.probes import ProbeSigner
from ryu_apps.discovering.source_guard import ANSWER_S
from ryu_apps.discovery import TICK_S, Discovery
from ryu_apps.events import LinkLiveness, NetworkChanged, NetworkRequest, SetCapacities, SwitchReady
from stitching.network import Host, Link, LinkKey, Network, PortId

KEY = b"0123456789abcdef"
RTT_S = 0.002
DELAY_S = 0.005
MAC_A = "02:00:00:00:00:0a"
ARP_A = bytes.fromhex("ffffffffffff02000000000a0806000108000604000102000000000a0a000001") + bytes(10)


class Recorded(Discovery):
    """Keeps what it publishes."""

    def __init__(self, **settings: Any) -> None:
        self.networks: list[Network] = []
        super().__init__(**settings)

    def publish(self, occurred: Event) -> None:
        assert isinstance(occurred, NetworkChanged)
        self.networks.append(occurred.network)


@dataclass
class FakeDatapath:
    """The shape of the channel's Switch; what is sent goes into the fabric."""

    id: int
    ports: dict[int, Any]
    fabric: Fabric
    rtt_s: float | None = RTT_S
    lag_s: float = RTT_S
    sent: list[float] = field(default_factory=list)

    def send(self, data: bytes) -> bool:
        while data:
            (length,) = struct.unpack_from("!H", data, 2)
            (port_no,) = struct.unpack_from("!I", data, 28)
            self.fabric.carry((self.id, port_no), data[40:length])
            self.sent.append(self.fabric.now_s)
            data = data[length:]
        return True


class Fabric:
    """Cables between ports, a clock, and the app under test."""

    def __init__(self, **settings: Any) -> None:
        self.now_s = 100.0
        self.cables: dict[PortId, PortId] = {}
        self.datapaths: dict[int, FakeDatapath] = {}
        self.frames: list[tuple[float, int, PortId, bytes]] = []
        self.order = itertools.count()
        self.app = Recorded(key=KEY, clock=lambda: self.now_s, **settings)
        register_instance(self.app)

    # the world

    def switch(self, dpid: int, ports: int = 3, rtt_s: float | None = RTT_S) -> FakeDatapath:
        datapath = FakeDatapath(dpid, {no: port_desc(no) for no in range(1, ports + 1)}, self, rtt_s)
        datapath.ports[ofp.OFPP_LOCAL] = port_desc(ofp.OFPP_LOCAL)
        self.datapaths[dpid] = datapath
        self.handle(state_change(datapath, MAIN_DISPATCHER))
        return datapath

    def away(self, dpid: int) -> None:
        self.handle(state_change(self.datapaths.pop(dpid), DEAD_DISPATCHER))

    def cable(self, one: PortId, other: PortId) -> None:
        self.cables[one], self.cables[other] = other, one

    def cut(self, one: PortId) -> None:
        del self.cables[self.cables.pop(one)]

    def carry(self, source: PortId, frame: bytes) -> None:
        if source in self.cables:
            arrives_s = self.now_s + DELAY_S + RTT_S
            heapq.heappush(self.frames, (arrives_s, next(self.order), self.cables[source], frame))

    def port_status(self, dpid: int, reason: int, desc: Any) -> None:
        message = SimpleNamespace(datapath=self.datapaths[dpid], reason=reason, desc=desc)
        self.handle(ofp_event.EventOFPPortStatus(message))

    def packet_in(self, port: PortId, frame: bytes) -> None:
        datapath = self.datapaths.get(port[0])
        if datapath is not None:
            message = SimpleNamespace(
                datapath=datapath, match={"in_port": port[1]}, data=bytearray(frame), received_s=self.now_s
            )
            self.handle(ofp_event.EventOFPPacketIn(message))

    # the app

    def handle(self, event: Any) -> None:
        for handler in list(self.app.get_handlers(event)):
            handler(event)
        queue: Any = self.app.events
        while not queue.empty():
            self.handle(queue.get()[0])

    def run(self, seconds: float) -> None:
        """Let time pass: frames arrive, and the app's timer ticks."""
        end_s = self.now_s + seconds
        while self.now_s < end_s - 1e-9:
            tick_s = self.now_s + TICK_S
            while self.frames and self.frames[0][0] <= tick_s:
                arrives_s, _, port, frame = heapq.heappop(self.frames)
                self.now_s = max(self.now_s, arrives_s)
                self.packet_in(port, frame)
            self.now_s = tick_s
            self.handle(Tick("probe"))

    def run_until(self, condition: Callable[[], bool], deadline_s: float) -> float:
        """Let time pass until the condition holds; returns how long that took."""
        start_s = self.now_s
        while not condition():
            assert self.now_s - start_s < deadline_s, "did not happen in time"
            self.run(TICK_S)
        return self.now_s - start_s

    @property
    def network(self) -> Network:
        return self.app.networks[-1]

    @property
    def links(self) -> set[LinkKey]:
        return set(self.network.links)

    def asked(self) -> Network:
        request = NetworkRequest()
        self.handle(request)
        future: Future[Network] = request.future
        return future.result(0)


def port_desc(port_no: int, up: bool = True, speed_kbps: int = 10_000) -> Any:
    state = 0 if up else ofp.OFPPS_LINK_DOWN
    mac = f"02:00:00:00:01:{port_no & 255:02x}"
    return parser.OFPPort(port_no, mac, b"p%d" % port_no, 0, state, 0, 0, 0, 0, speed_kbps, 0)


def state_change(datapath: FakeDatapath, state: str) -> Any:
    event = ofp_event.EventOFPStateChange(datapath)
    event.state = state
    return event


def pair(**settings: Any) -> Fabric:
    """Two switches with a link between their first ports, found."""
    fabric = Fabric(**settings)
    fabric.cable((1, 1), (2, 1))
    fabric.switch(1)
    fabric.switch(2)
    fabric.run(0.1)
    return fabric


BOTH = {(1, 1, 2, 1), (2, 1, 1, 1)}


def test_links_are_found_at_once() -> None:
    fabric = Fabric()
    fabric.cable((1, 1), (2, 1))
    fabric.switch(1)
    fabric.switch(2)
    assert fabric.run_until(lambda: fabric.links == BOTH, 1.0) < 0.05
    assert set(fabric.network.switches) == {1, 2} and set(fabric.network.switches[1]) == {1, 2, 3}
    assert fabric.network.switches[1][1].name == "p1" and fabric.network.switches[1][1].up


def test_a_link_is_found_within_a_second_of_its_port_coming_up_even_after_hours() -> None:
    fabric = Fabric()
    fabric.switch(1)
    fabric.switch(2)
    fabric.port_status(1, ofp.OFPPR_MODIFY, port_desc(1, up=False))
    fabric.run(200.0)
    fabric.cable((1, 1), (2, 1))
    fabric.port_status(1, ofp.OFPPR_MODIFY, port_desc(1))
    assert fabric.run_until(lambda: fabric.links == BOTH, 1.0) < 0.1


def test_a_lost_first_probe_is_made_up_for_after_100_ms() -> None:
    fabric = Fabric()
    fabric.switch(1)
    fabric.switch(2)
    fabric.run(0.05)
    fabric.cable((1, 1), (2, 1))
    assert fabric.run_until(lambda: fabric.links == BOTH, 1.0) < 0.15


def test_links_to_a_switch_that_had_no_rules_yet_are_found_when_it_is_ready() -> None:
    fabric = Fabric()
    fabric.switch(1)
    fabric.switch(2)
    fabric.run(30.0)
    fabric.cable((1, 1), (2, 1))
    fabric.handle(SwitchReady(2))
    assert fabric.run_until(lambda: fabric.links == BOTH, 1.0) < 0.1


def test_idle_ports_are_probed_rarely_and_links_each_interval() -> None:
    fabric = pair()
    fabric.run(100.0)
    one = fabric.datapaths[1]
    one.sent.clear()
    fabric.run(50.0)
    assert 65 <= len(one.sent) <= 75  # 50 on the link, 10 on each of the two edge ports


def test_a_silent_link_is_gone_after_exactly_three_missed_probes() -> None:
    fabric = pair()
    fabric.run(5.0)
    fabric.cut((1, 1))
    one = fabric.datapaths[1]
    one.ports.clear()
    del fabric.app._ports.up[1, 2], fabric.app._ports.up[1, 3]  # only probes of the link from here on
    fabric.app._ports._schedule.stop((1, 2))
    fabric.app._ports._schedule.stop((1, 3))
    one.sent.clear()
    fabric.run_until(lambda: (1, 1, 2, 1) not in fabric.links, 4.0)
    assert len([sent_s for sent_s in one.sent if sent_s < fabric.now_s - TICK_S]) == 3
    assert 0.25 <= fabric.now_s - one.sent[2] < 0.35
    fabric.run_until(lambda: not fabric.links, 1.5)


def test_two_missed_probes_are_forgiven() -> None:
    fabric = pair()
    for _ in range(5):
        fabric.run(1.0)
        fabric.cut((1, 1))
        fabric.run(2.0)
        fabric.cable((1, 1), (2, 1))
        fabric.run(1.1)
        assert fabric.links == BOTH


def test_port_down_takes_the_link_away_in_the_same_moment() -> None:
    fabric = pair()
    fabric.port_status(2, ofp.OFPPR_MODIFY, port_desc(1, up=False))
    assert not fabric.links and not fabric.network.switches[2][1].up
    fabric.run(10.0)
    assert not fabric.links


def test_port_removal_takes_the_link_away_in_the_same_moment() -> None:
    fabric = pair()
    fabric.port_status(2, ofp.OFPPR_DELETE, port_desc(1))
    assert not fabric.links and 1 not in fabric.network.switches[2]


def test_bfd_takes_the_link_away_in_the_same_moment_and_a_probe_brings_it_back() -> None:
    fabric = pair()
    fabric.cut((1, 1))
    fabric.handle(LinkLiveness((1, 1), alive=False))
    assert not fabric.links
    fabric.run(5.0)
    assert not fabric.links
    fabric.handle(LinkLiveness((1, 1), alive=True))
    assert not fabric.links, "that its port is live does not say where it leads"
    fabric.cable((1, 1), (2, 1))
    assert fabric.run_until(lambda: fabric.links == BOTH, 2.0) < 1.5


def test_a_probe_that_left_before_bfd_spoke_does_not_bring_the_link_back() -> None:
    fabric = pair()
    fabric.run_until(lambda: any(frame[2] == (2, 1) for frame in fabric.frames), 2.0)
    fabric.now_s += 0.001
    fabric.cut((1, 1))
    fabric.handle(LinkLiveness((2, 1), alive=False))
    fabric.run(3.0)
    assert not fabric.links


def test_bfd_says_nothing_about_a_port_without_a_link() -> None:
    fabric = pair()
    fabric.handle(LinkLiveness((1, 3), alive=False))
    fabric.handle(LinkLiveness((9, 9), alive=False))
    fabric.run(0.1)
    assert fabric.links == BOTH


def test_a_probe_still_under_way_does_not_bring_a_dead_link_back() -> None:
    fabric = pair()
    fabric.run_until(lambda: any(frame[2] == (2, 1) for frame in fabric.frames), 2.0)
    fabric.now_s += 0.001
    fabric.cut((1, 1))
    fabric.port_status(1, ofp.OFPPR_MODIFY, port_desc(1, up=False))
    fabric.port_status(1, ofp.OFPPR_MODIFY, port_desc(1))
    fabric.run(0.5)
    assert not fabric.links


def test_a_link_stays_while_either_end_has_lost_its_controller() -> None:
    fabric = pair()
    fabric.away(2)
    fabric.run(30.0)
    assert fabric.links == BOTH and set(fabric.network.switches) == {1}
    fabric.switch(2)
    fabric.run(10.0)
    assert fabric.links == BOTH


def test_a_link_cut_while_its_end_was_away_goes_once_that_is_back() -> None:
    fabric = pair()
    fabric.run(5.0)
    fabric.away(2)
    fabric.cut((1, 1))
    fabric.run(30.0)
    fabric.switch(2)
    fabric.run(2.0)
    assert fabric.links == BOTH
    fabric.run(2.0)
    assert not fabric.links


def test_a_port_that_went_down_while_its_switch_was_away_has_no_link() -> None:
    fabric = pair()
    fabric.away(2)
    fabric.switch(2, ports=0)
    assert not fabric.links


def test_the_end_of_a_replaced_connection_is_not_the_end_of_the_switch() -> None:
    fabric = pair()
    old = fabric.datapaths[2]
    fabric.switch(2)
    fabric.handle(state_change(old, DEAD_DISPATCHER))
    assert set(fabric.network.switches) == {1, 2}


def test_a_controller_that_was_held_up_takes_no_link_for_dead() -> None:
    fabric = pair()
    fabric.run(5.0)
    for _ in range(5):
        fabric.now_s += 10.0  # nothing runs; probes that were under way are read late
        fabric.handle(Tick("probe"))
        assert fabric.links == BOTH
        fabric.run(0.1)
    fabric.run(10.0)
    assert fabric.links == BOTH


def test_a_switch_that_answers_late_is_given_the_time_it_takes_now() -> None:
    fabric = pair()
    fabric.run(5.0)
    fabric.datapaths[1].lag_s = 3.0
    fabric.cut((1, 1))
    fabric.run(5.0)
    assert fabric.links == BOTH
    fabric.datapaths[1].lag_s = RTT_S
    fabric.run(0.5)
    assert not fabric.links


def test_probes_waiting_in_the_queue_count_as_arrived() -> None:
    fabric = pair()
    fabric.run(5.0)
    late: list[tuple[PortId, bytes]] = []

    def keep(source: PortId, frame: bytes) -> None:
        if source == (1, 1):
            late.append(((2, 1), frame))
        else:
            carry(source, frame)

    carry, fabric.carry = fabric.carry, keep  # type: ignore[method-assign]  # answered, but the queue is long
    fabric.run_until(lambda: bool(fabric.app._table._suspects), 4.0)
    fabric.run(0.2)
    queue: Any = fabric.app.events
    fabric.now_s += 0.1
    for port, frame in late:
        message = SimpleNamespace(
            datapath=fabric.datapaths[port[0]], match={"in_port": port[1]}, data=frame, received_s=fabric.now_s
        )
        queue.put((ofp_event.EventOFPPacketIn(message), None))
    assert fabric.app._overdue(fabric.now_s) == [(1, 1, 2, 1)]
    fabric.handle(Tick("probe"))
    assert fabric.links == BOTH


@pytest.mark.parametrize("what", ["goes down", "turns out to lead to a switch"])
def test_a_host_does_not_move_to_a_port_that_meanwhile(what: str) -> None:
    fabric = Fabric()
    fabric.switch(1)
    fabric.switch(2)
    fabric.run(1.0)
    fabric.packet_in((1, 1), ARP_A)
    assert fabric.network.hosts[MAC_A].port == (1, 1)
    fabric.run(2.0)
    fabric.packet_in((1, 2), ARP_A)
    if what == "goes down":
        fabric.port_status(1, ofp.OFPPR_MODIFY, port_desc(2, up=False))
    else:
        fabric.cable((1, 2), (2, 2))
        fabric.handle(SwitchReady(1))
    fabric.run(ANSWER_S + 0.1)
    assert bool(fabric.links) == (what != "goes down")
    assert fabric.network.hosts[MAC_A].port == (1, 1)


def test_a_moved_cable_moves_the_link_at_once() -> None:
    fabric = pair()
    fabric.switch(3)
    fabric.run(3.0)
    fabric.cut((1, 1))
    fabric.cable((1, 1), (3, 2))
    fabric.run_until(lambda: (1, 1, 3, 2) in fabric.links, 1.1)
    assert not BOTH & fabric.links
    fabric.run_until(lambda: fabric.links == {(1, 1, 3, 2), (3, 2, 1, 1)}, 0.1)


def test_a_cable_back_to_the_same_switch_is_no_link_and_teaches_no_hosts() -> None:
    fabric = Fabric()
    fabric.cable((1, 1), (1, 2))
    fabric.switch(1)
    fabric.run(2.0)
    fabric.packet_in((1, 1), ARP_A)
    assert not fabric.links and fabric.app.counts["loops"] > 0 and not fabric.asked().hosts


def forgeries() -> list[bytes]:
    stranger = ProbeSigner(b"another key, same length").frame(1, 2, MAC_A, 102.0)
    ours = bytearray(ProbeSigner(KEY).frame(1, 2, MAC_A, 102.0))
    ours[-3] ^= 1
    old = ProbeSigner(KEY).frame(1, 2, MAC_A, 98.9)
    future = ProbeSigner(KEY).frame(1, 2, MAC_A, 103.0)
    lldpd = bytes.fromhex("0180c200000e02000000000a88cc02070402000000000a04030531300000")
    return [stranger, bytes(ours), old, future, lldpd]


@pytest.mark.parametrize("frame", forgeries(), ids=["other key", "tampered", "old", "future", "lldpd"])
def test_a_forged_or_replayed_probe_is_counted_and_nothing_else(frame: bytes) -> None:
    fabric = Fabric()
    fabric.switch(1)
    fabric.switch(2)
    fabric.run(2.0)
    fabric.packet_in((2, 2), frame)
    assert fabric.app.counts["probes_refused"] == 1
    assert not fabric.asked().links and not fabric.asked().hosts


def test_a_copy_of_a_probe_that_arrived_makes_no_second_link() -> None:
    fabric = pair()
    fabric.run(3.0)
    copies: list[bytes] = []
    carry = fabric.carry

    def tap(source: PortId, frame: bytes) -> None:
        if source == (1, 1):
            copies.append(frame)
        carry(source, frame)

    fabric.carry = tap  # type: ignore[method-assign]  # somebody listens on the cable
    fabric.run_until(lambda: bool(copies), 1.5)
    fabric.run(0.1)
    fabric.packet_in((2, 3), copies[0])
    assert set(fabric.asked().links) == BOTH


def test_the_delay_is_measured_and_unknown_before() -> None:
    fabric = pair()
    assert all(link.latency_ms is None for link in fabric.asked().links.values())
    fabric.run(5.0)
    for link in fabric.asked().links.values():
        assert link.latency_ms == pytest.approx(1e3 * DELAY_S) and link.measured_ms == pytest.approx(1e3 * DELAY_S)
        assert link.spread_ms == pytest.approx(0.0, abs=1e-6)
        assert fabric.network.links[link.key].latency_ms == link.latency_ms


def test_an_answer_tells_no_latency_for_paths_before_the_others_were_told() -> None:
    fabric = pair()
    for _ in range(500):
        fabric.run(0.01)
        asked = fabric.asked().links
        assert {key: link.latency_ms for key, link in asked.items()} == {
            key: link.latency_ms for key, link in fabric.network.links.items()
        }
    assert all(link.latency_ms is not None for link in asked.values())


def test_the_delay_stays_unknown_without_control_round_trips() -> None:
    fabric = Fabric()
    fabric.cable((1, 1), (2, 1))
    fabric.switch(1, rtt_s=None)
    fabric.switch(2)
    fabric.run(10.0)
    assert all(link.measured_ms is None and link.latency_ms is None for link in fabric.asked().links.values())


def test_a_steady_fabric_publishes_nothing_and_shares_unchanged_links() -> None:
    fabric = pair()
    fabric.run(5.0)
    published, before = len(fabric.app.networks), fabric.network
    fabric.run(60.0)
    assert len(fabric.app.networks) == published
    fabric.switch(3)
    assert all(fabric.network.links[key] is before.links[key] for key in BOTH)
    assert fabric.network.switches[1] is before.switches[1] and fabric.network.hosts is before.hosts


def test_changes_that_come_together_are_published_together() -> None:
    fabric = Fabric()
    for dpid in range(1, 101):
        fabric.switch(dpid)
    assert len(fabric.app.networks) == 1 and len(fabric.network.switches) == 1
    fabric.run(0.04)
    assert len(fabric.app.networks) == 2 and len(fabric.network.switches) == 100


def test_capacity_is_the_operators_else_the_ports_else_unknown() -> None:
    fabric = pair(capacities={(1, 1): 15.0})
    assert fabric.network.links[1, 1, 2, 1].capacity_mbps == 15.0
    assert fabric.network.links[2, 1, 1, 1].capacity_mbps == 10.0
    fabric.port_status(2, ofp.OFPPR_MODIFY, port_desc(1, speed_kbps=0))
    fabric.run(0.1)
    assert fabric.network.links[2, 1, 1, 1].capacity_mbps is None
    request = SetCapacities({(2, 1): 12.0, (2, 2): 9.0})
    fabric.handle(request)
    fabric.run(0.1)
    assert request.future.result(0) == 1 and fabric.network.links[2, 1, 1, 1].capacity_mbps == 12.0


@pytest.mark.parametrize("capacity_mbps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_capacity_is_refused_and_nothing_of_it_applied(capacity_mbps: float) -> None:
    fabric = pair()
    request = SetCapacities({(1, 1): 12.0, (2, 1): capacity_mbps})
    fabric.handle(request)
    with pytest.raises(ValueError, match="above zero"):
        request.future.result(0)
    assert fabric.asked().links[1, 1, 2, 1].capacity_mbps == 10.0


def test_hosts_are_learned_on_settled_edge_ports_only() -> None:
    fabric = Fabric()
    fabric.switch(1)
    fabric.run(0.4)
    fabric.packet_in((1, 2), ARP_A)
    assert not fabric.asked().hosts
    fabric.run(0.2)
    fabric.packet_in((1, 2), ARP_A)
    assert fabric.asked().hosts == {MAC_A: Host(MAC_A, 1, 2, frozenset({"10.0.0.1"}))}
    fabric.run(0.1)
    assert MAC_A in fabric.network.hosts


def test_a_flooded_packet_on_a_fabric_port_moves_no_host() -> None:
    fabric = pair()
    fabric.run(1.0)
    fabric.packet_in((1, 2), ARP_A)
    fabric.run(2.0)
    fabric.packet_in((2, 1), ARP_A)
    assert fabric.asked().hosts[MAC_A].port == (1, 2)


def test_a_port_that_just_lost_its_link_teaches_no_hosts_for_a_while() -> None:
    fabric = pair()
    fabric.run(5.0)
    fabric.cut((1, 1))
    fabric.run_until(lambda: not fabric.links, 5.0)
    fabric.packet_in((2, 1), ARP_A)
    assert not fabric.asked().hosts
    fabric.run(5.0)
    fabric.packet_in((2, 1), ARP_A)
    assert fabric.asked().hosts[MAC_A].port == (2, 1)


def test_a_host_moves() -> None:
    fabric = pair()
    fabric.run(1.0)
    fabric.packet_in((1, 2), ARP_A)
    fabric.run(2.0)
    fabric.packet_in((2, 3), ARP_A)
    fabric.run(0.1)
    assert fabric.network.hosts[MAC_A].port == (1, 2)  # its old port is still asked for it
    fabric.run(ANSWER_S)
    assert fabric.network.hosts[MAC_A] == Host(MAC_A, 2, 3, frozenset({"10.0.0.1"}))


def test_hosts_on_a_port_that_turns_out_to_be_fabric_are_forgotten() -> None:
    fabric = Fabric()
    fabric.cable((1, 1), (2, 1))
    fabric.switch(1)
    fabric.run(5.0)
    fabric.packet_in((1, 1), ARP_A)
    assert fabric.asked().hosts
    fabric.switch(2)
    fabric.run(0.1)
    assert fabric.links == BOTH and not fabric.network.hosts


def test_hosts_stay_when_their_port_flaps_and_go_when_it_is_removed() -> None:
    fabric = Fabric()
    fabric.switch(1)
    fabric.run(1.0)
    fabric.packet_in((1, 2), ARP_A)
    fabric.port_status(1, ofp.OFPPR_MODIFY, port_desc(2, up=False))
    fabric.run(0.1)
    assert MAC_A in fabric.network.hosts
    fabric.port_status(1, ofp.OFPPR_DELETE, port_desc(2, up=False))
    fabric.run(0.1)
    assert not fabric.network.hosts


def remembered() -> Network:
    links = {key: Link(key, 10.0, 5.0, 4.9, 0.1) for key in BOTH}
    return Network(links=links, hosts={MAC_A: Host(MAC_A, 1, 2, frozenset({"10.0.0.1"}))})


def test_the_remembered_network_is_believed_at_once_and_confirmed() -> None:
    fabric = Fabric(remembered=remembered())
    fabric.cable((1, 1), (2, 1))
    fabric.run(TICK_S)
    assert fabric.links == BOTH and MAC_A in fabric.network.hosts and not fabric.network.switches
    assert fabric.network.links[1, 1, 2, 1] == Link((1, 1, 2, 1), 10.0, 5.0)
    fabric.switch(1)
    fabric.switch(2)
    fabric.run(20.0)
    assert all(links == BOTH for links in (set(network.links) for network in fabric.app.networks))


def test_the_remembered_network_is_published_before_anyone_is_answered() -> None:
    fabric = Fabric(remembered=remembered())
    assert set(fabric.asked().links) == fabric.links == BOTH


def test_a_remembered_link_waits_for_both_ends_then_goes_after_three_probes() -> None:
    fabric = Fabric(remembered=remembered())
    fabric.run(10.0)
    fabric.switch(1)
    fabric.run(30.0)
    assert fabric.links == BOTH
    fabric.switch(2)
    fabric.run(2.0)
    assert fabric.links == BOTH
    fabric.run(2.0)
    assert not fabric.links and fabric.network.hosts[MAC_A].port == (1, 2)


def test_the_channels_of_a_flooded_app_keep_being_probed() -> None:
    fabric = pair()
    fabric.run(2.0)
    one = fabric.datapaths[1]
    one.sent.clear()
    for _ in range(500):  # packets only: the queue is so full that no tick gets in
        fabric.now_s += 0.01
        fabric.packet_in((1, 2), ARP_A)
        while fabric.frames and fabric.frames[0][0] <= fabric.now_s:
            _, _, port, frame = heapq.heappop(fabric.frames)
            fabric.packet_in(port, frame)
    assert len(one.sent) >= 5 and set(fabric.asked().links) == BOTH


def test_a_link_table_has_one_link_per_port_and_direction() -> None:
    table = LinkTable(1.0, {})
    assert table.restore(Link((1, 1, 2, 1))) and not table.restore(Link((1, 1, 3, 1)))
    assert not table.restore(Link((3, 1, 2, 1))) and table.restore(Link((2, 1, 1, 1)))
    arrival = table.arrived((3, 1), (2, 1), 5.0)
    assert arrival is not None and arrival.is_new and set(arrival.gone) == BOTH
    assert table.arrived((3, 1), (2, 1), 5.0) is None and set(table.links) == {(3, 1, 2, 1)}
    assert table.remove_port((2, 1)) == [(3, 1, 2, 1)] and not table.links
