"""Telemetry, driven through its handlers by simulated switches and a clock that the test turns."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from ryu_apps.app import Event, Tick
from ryu_apps.events import (
    NetworkChanged,
    Rates,
    RatesMeasured,
    RatesRequest,
    StitchesChanged,
    TelemetryStatus,
    TelemetryStatusRequest,
)
from ryu_apps.polling import polls
from ryu_apps.polling.polls import Question
from ryu_apps.telemetry import GIVE_UP_PERIODS, SLOTS, Telemetry
from ryu_apps.transactions import Asker
from ryu_apps.wire import FlowStats, flow_mod
from stitching import cookie
from stitching.cookie import Kind
from stitching.kinds import senders
from stitching.match import MULTICAST, Match
from stitching.network import Host, Network, Port
from stitching.rules import FlowRule, Table
from stitching.stitch import Hop, State, Stitch, StitchPath, VmRequest
from tests.unit.decode import reported

MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
WALL_S = 1_790_000_000.0
RTT_S = 0.004
MBPS = 125_000
"""Bytes in a second that are one Mbit/s."""


@dataclass
class Counted:
    """A counter of a switch: bytes, and what it counts per second."""

    per_s: float
    since_s: float
    made_s: float
    value: float = 0.0

    def at(self, now_s: float) -> int:
        return int(self.value + self.per_s * (now_s - self.since_s))


@dataclass
class FakeSwitch:
    """The shape of the channel's Switch; it answers each question after delay_s, or never."""

    id: int
    lab: Lab
    ports: dict[int, Counted] = field(default_factory=dict)
    flows: dict[tuple[int, int, str, Any], Counted] = field(default_factory=dict)
    delay_s: float | None = RTT_S
    alive: bool = True
    asked: list[tuple[Question, float]] = field(default_factory=list)
    part_size: int = 100

    def send(self, data: bytes) -> bool:
        while self.alive and data:
            _, kind, length, xid, what = struct.unpack_from("!BBHIH", data)
            assert kind == ofp.OFPT_MULTIPART_REQUEST
            question = Question.PORTS
            if what == ofp.OFPMP_FLOW:
                question = Question.DEMANDS if data[16] == Table.SEGMENT else Question.STITCHES
            self.asked.append((question, self.lab.now_s))
            if self.delay_s is not None:
                body = self.answer(question)
                self.lab.later(self.delay_s, partial(self.reply, xid, body))
            data = data[length:]
        return self.alive

    def answer(self, question: Question) -> list[Any]:
        now_s = self.lab.now_s
        if question is Question.PORTS:
            return [port_stats(no, counter, now_s) for no, counter in self.ports.items()]
        kind, table = {
            Question.DEMANDS: (Kind.SEGMENT, Table.SEGMENT),
            Question.STITCHES: (Kind.STITCH, Table.STITCH),
        }[question]
        return [
            flow_stats(table, cookie.pack(kind, stitch=stitch), source, target, counter, now_s)
            for (of_kind, stitch, source, target), counter in self.flows.items()
            if of_kind == kind
        ]

    def reply(self, xid: int, body: list[Any]) -> None:
        parts = [body[at : at + self.part_size] for at in range(0, len(body), self.part_size)] or [[]]
        for number, part in enumerate(parts, 1):
            more = ofp.OFPMPF_REPLY_MORE if number < len(parts) else 0
            message = SimpleNamespace(datapath=self, xid=xid, flags=more, body=part, received_s=self.lab.now_s)
            message.entries = part
            self.lab.app.on_reply(SimpleNamespace(msg=message))


class Recorded(Telemetry):
    """Keeps what it publishes."""

    def __init__(self, **settings: Any) -> None:
        self.published: list[Rates] = []
        super().__init__(**settings)

    def publish(self, occurred: Event) -> None:
        assert isinstance(occurred, RatesMeasured)
        self.published.append(occurred.rates)


class Lab:
    """Switches, a clock, and the app under test."""

    def __init__(self, period_s: float = 1.0) -> None:
        self.now_s = 100.0
        self.period_s = period_s
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.app = Recorded(
            period_s=period_s, clock=lambda: self.now_s, wall_clock=lambda: WALL_S + self.now_s - 100.0
        )

    def later(self, delay_s: float, what: Callable[[], None]) -> None:
        self.due.append((self.now_s + delay_s, what))

    def switch(self, dpid: int, **port_mbps: float) -> FakeSwitch:
        switch = FakeSwitch(dpid, self)
        for name, mbps in port_mbps.items():
            switch.ports[int(name[1:])] = Counted(mbps * MBPS, self.now_s, self.now_s - 1000.0)
        self.app.on_state(SimpleNamespace(datapath=switch, state=MAIN_DISPATCHER))
        return switch

    def away(self, switch: FakeSwitch) -> None:
        self.app.on_state(SimpleNamespace(datapath=switch, state=DEAD_DISPATCHER))

    def count(
        self, switch: FakeSwitch, kind: Kind, source: str, target: Any, mbps: float, stitch: int = 0
    ) -> None:
        switch.flows[kind, stitch, source, target] = Counted(mbps * MBPS, self.now_s, self.now_s)

    def run(self, periods: float) -> list[Rates]:
        """Let time pass; the rates that were published meanwhile."""
        before = len(self.app.published)
        step_s = self.period_s / SLOTS / 4
        for step in range(1, round(periods * SLOTS * 4) + 1):
            self.now_s = round(self.now_s + step_s, 9)
            for item in [item for item in self.due if item[0] <= self.now_s + 1e-9]:
                self.due.remove(item)
                item[1]()
            if step % 4 == 0:
                self.app.on_tick(Tick("slot"))
        return self.app.published[before:]

    def hosts(self, *hosts: Host, ports: dict[int, dict[int, Port]] | None = None) -> None:
        self.app.on_network(NetworkChanged(Network(ports or {}, {}, {host.mac: host for host in hosts})))

    def status(self) -> TelemetryStatus:
        question = TelemetryStatusRequest()
        self.app.on_status_request(question)
        return question.future.result(0)


def clock_fields(age_s: float) -> tuple[int, int]:
    return int(age_s), max(1, round(age_s % 1 * 1e9))


def port_stats(port_no: int, counter: Counted, now_s: float) -> Any:
    age = clock_fields(now_s - counter.made_s)
    count = counter.at(now_s)
    return parser.OFPPortStats(port_no, 0, 0, count * 2, count, 0, count // MBPS, 0, 0, 0, 0, 0, 0, *age)


def flow_stats(table: int, its_cookie: int, source: str, target: Any, counter: Counted, now_s: float) -> FlowStats:
    seconds, nanoseconds = clock_fields(now_s - counter.made_s)
    to, mask = target if isinstance(target, tuple) else (target, None)
    rule = FlowRule(table, 0, Match(eth_src=source, eth_dst=to, eth_dst_mask=mask), cookie=its_cookie)
    return reported(flow_mod(rule, 1))._replace(
        duration_sec=seconds, duration_nsec=nanoseconds, byte_count=counter.at(now_s)
    )


def stitch(number: int, dpid: int, source: str = MAC_A, target: str = MAC_B) -> Stitch:
    path = StitchPath((Hop(dpid, 1, 2), Hop(99, 1, 2)), ((dpid, 2, 99, 1),), 1.0)
    return Stitch(number, VmRequest(source, target, 5.0), State.UP, 0.0, 0.0, path=path)


# rates ---------------------------------------------------------------------------------------------------


def test_ports_become_rates_both_ways() -> None:
    lab = Lab()
    lab.switch(1, p1=8.0, p2=0.0)
    rates = lab.run(3)[-1]
    assert rates.port_tx_mbps == {(1, 1): pytest.approx(8.0, rel=1e-4), (1, 2): 0.0}
    assert rates.port_rx_mbps[1, 1] == pytest.approx(16.0, rel=1e-4)
    assert rates.port_tx_drops[1, 1] == pytest.approx(8.0, abs=1.0)


def test_the_first_period_has_no_rates_for_want_of_a_second_reading() -> None:
    lab = Lab()
    lab.switch(1, p1=8.0)
    assert not lab.run(1)[0].port_tx_mbps


def test_reserved_ports_are_left_out() -> None:
    lab = Lab()
    switch = lab.switch(1, p1=8.0)
    switch.ports[ofp.OFPP_LOCAL] = Counted(MBPS, lab.now_s, 0.0)
    assert set(lab.run(3)[-1].port_tx_mbps) == {(1, 1)}


def test_periods_end_at_a_steady_beat() -> None:
    lab = Lab(period_s=0.5)
    times = [rates.time_s for rates in lab.run(8)]
    assert times == pytest.approx([WALL_S + 0.5 * number for number in range(1, 9)])


def test_the_answer_is_what_was_measured_last() -> None:
    lab = Lab()
    first, second = RatesRequest(), RatesRequest()
    lab.app.on_rates_request(first)
    published = lab.run(1)
    lab.app.on_rates_request(second)
    assert first.future.result(0) is None
    assert second.future.result(0) is published[-1]


def test_demands_are_counted_by_the_segmentation_rules_without_a_mask() -> None:
    lab = Lab()
    switch = lab.switch(1, p1=0.0)
    lab.hosts(Host(MAC_A, 1, 1))
    lab.count(switch, Kind.SEGMENT, MAC_A, MAC_B, 3.0)
    lab.count(switch, Kind.SEGMENT, MAC_A, (MULTICAST, MULTICAST), 9.0)
    assert lab.run(3)[-1].demand_mbps == {(MAC_A, MAC_B): pytest.approx(3.0, rel=1e-4)}


def test_a_demand_that_begins_between_two_polls_is_measured_from_its_first_answer() -> None:
    lab = Lab()
    switch = lab.switch(1, p1=0.0)
    lab.hosts(Host(MAC_A, 1, 1))
    lab.run(2.5)
    lab.count(switch, Kind.SEGMENT, MAC_A, MAC_B, 3.0)
    assert lab.run(1.5)[-1].demand_mbps == {(MAC_A, MAC_B): pytest.approx(3.0, rel=1e-4)}


def test_stitches_are_counted_where_they_begin_and_one_way() -> None:
    lab = Lab()
    ingress, egress = lab.switch(1, p1=0.0), lab.switch(99, p1=0.0)
    for switch in (ingress, egress):
        lab.count(switch, Kind.STITCH, MAC_A, MAC_B, 4.0, stitch=7)
        lab.count(switch, Kind.STITCH, MAC_B, MAC_A, 1.0, stitch=7)
        lab.count(switch, Kind.STITCH, MAC_A, MAC_B, 2.0, stitch=8)
    lab.app.on_stitches(StitchesChanged((stitch(7, 1), replace(stitch(9, 1), path=None))))
    assert lab.run(3)[-1].stitch_mbps == {7: pytest.approx(4.0, rel=1e-4)}
    assert {question for question, _ in egress.asked} == {Question.PORTS, Question.STITCHES}


def test_what_stitches_there_are_is_worked_out_once_however_many_changes_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = Lab()
    lab.switch(1, p1=0.0)
    looked_at = Counter[int]()

    def counting(one: Stitch) -> Any:
        looked_at[one.id] += 1
        return senders(one)

    monkeypatch.setattr("ryu_apps.telemetry.senders", counting)
    there = tuple(stitch(number, 1) for number in range(1, 101))
    for count in range(50):
        lab.app.on_stitches(StitchesChanged(there[count:]))
    lab.run(1)
    assert looked_at == Counter(range(50, 101))


def test_what_has_entered_a_stitch_is_summed_and_stays_when_its_rules_are_gone() -> None:
    lab = Lab()
    ingress, egress = lab.switch(1, p1=0.0), lab.switch(99, p1=0.0)
    lab.count(ingress, Kind.STITCH, MAC_A, MAC_B, 4.0, stitch=7)
    lab.count(egress, Kind.STITCH, MAC_B, MAC_A, 1.0, stitch=7)
    lab.app.on_stitches(StitchesChanged((stitch(7, 1),)))
    _, sent = lab.run(3)[-1].stitch_counts[7]
    assert 2 * 5 * MBPS < sent < 3 * 5 * MBPS
    lab.app.on_reply(SimpleNamespace(msg=last_answer(ingress, lab)))
    ingress.flows.clear()
    egress.flows.clear()
    lab.app.on_stitches(StitchesChanged(()))
    _, last = lab.run(3)[-1].stitch_counts[7]
    assert last > sent
    assert lab.run(3)[-1].stitch_counts[7][1] == last


def last_answer(switch: FakeSwitch, lab: Lab) -> SimpleNamespace:
    """What a switch says when a stitch is taken out, to the stitcher's question."""
    entries = switch.answer(Question.STITCHES)
    return SimpleNamespace(
        datapath=switch, xid=Asker.LAST_COUNTS << 24, flags=0, entries=entries, received_s=lab.now_s
    )


def test_answers_in_parts_are_joined() -> None:
    lab = Lab()
    switch = lab.switch(1, **{f"p{number}": 1.0 for number in range(1, 6)})
    switch.part_size = 2
    assert len(lab.run(3)[-1].port_tx_mbps) == 5


def test_answers_to_others_are_left_alone() -> None:
    lab = Lab()
    switch = lab.switch(1, p1=8.0)
    lab.run(2)
    answered = lab.status().answered
    for xid in (7, 0x49000001, 0x54000000 + (1 << 23)):
        switch.reply(xid, [])
    assert lab.status().answered == answered
    assert lab.run(1)[-1].port_tx_mbps


def test_a_rate_ten_times_the_speed_of_its_port_is_dropped() -> None:
    lab = Lab()
    lab.switch(1, p1=101.0, p2=45.0)
    ports = {number: Port(number, f"eth{number}", MAC_A, up=True, speed_mbps=10.0) for number in (1, 2)}
    lab.hosts(ports={1: ports})
    rates = lab.run(3)[-1]
    assert set(rates.port_tx_mbps) == {(1, 2)}
    assert lab.status().absurd > 0


# who is asked, and when ----------------------------------------------------------------------------------


def test_a_switch_without_hosts_and_stitches_is_asked_one_question_a_period() -> None:
    lab = Lab()
    switch = lab.switch(1, p1=0.0)
    lab.hosts(Host(MAC_A, 2, 1))
    lab.run(4)
    assert Counter(question for question, _ in switch.asked) == {Question.PORTS: 4}


def test_polls_are_spread_evenly_and_leave_time_to_answer() -> None:
    lab = Lab()
    switches = [lab.switch(dpid, p1=0.0) for dpid in range(1, 201)]
    lab.run(2)
    second = [at_s - 101.0 for switch in switches for _, at_s in switch.asked if at_s >= 101.0]
    per_tick = Counter(round(at_s * SLOTS) for at_s in second)
    assert len(second) == 200
    assert max(per_tick.values()) <= 5
    assert max(second) <= 0.8


def test_a_switch_that_connects_again_starts_over_in_its_slot() -> None:
    lab = Lab()
    old = lab.switch(1, p1=8.0)
    lab.run(3)
    new = lab.switch(1, p1=8.0)
    lab.away(old)
    assert not lab.run(1)[-1].port_tx_mbps
    assert lab.run(1)[-1].port_tx_mbps[1, 1] == pytest.approx(8.0, rel=1e-4)
    assert len(new.asked) == 2


def test_a_switch_that_is_gone_is_neither_asked_nor_late() -> None:
    lab = Lab()
    switch = lab.switch(1, p1=8.0)
    lab.run(2)
    lab.away(switch)
    asked = len(switch.asked)
    assert not lab.run(2)[-1].port_tx_mbps
    assert len(switch.asked) == asked
    assert lab.status().late == 0


def test_a_connection_that_no_longer_takes_messages_owes_no_answer() -> None:
    lab = Lab()
    lab.switch(1, p1=8.0).alive = False
    lab.run(2)
    assert lab.status().polled == 0


# what goes wrong -----------------------------------------------------------------------------------------


def test_a_late_switch_is_absent_and_leaves_no_spike() -> None:
    lab = Lab()
    lab.switch(1, p1=1.0)
    slow = lab.switch(2, p1=8.0)
    lab.run(3)
    slow.delay_s = 1.5
    during = lab.run(2)
    slow.delay_s = RTT_S
    after = lab.run(3)
    assert (2, 1) not in during[0].port_tx_mbps
    assert all((1, 1) in rates.port_tx_mbps for rates in during)
    seen = [rates.port_tx_mbps.get((2, 1)) for rates in during + after]
    assert [mbps for mbps in seen if mbps is not None] == pytest.approx([8.0] * 4, rel=1e-4)
    status = lab.status()
    assert status.late == 1
    assert not status.late_now


def test_a_switch_that_owes_an_answer_is_not_buried_in_questions() -> None:
    lab = Lab()
    switch = lab.switch(1, p1=8.0)
    switch.delay_s = None
    lab.run(GIVE_UP_PERIODS)
    assert len(switch.asked) == 1
    assert lab.status().late_now == {1}
    switch.delay_s = RTT_S
    assert lab.run(2)[-1].port_tx_mbps[1, 1] == pytest.approx(8.0, rel=1e-4)


def test_a_port_whose_counters_start_over_is_absent_once() -> None:
    lab = Lab()
    switch = lab.switch(1, p1=8.0)
    lab.run(3)
    switch.ports[1] = Counted(8.0 * MBPS, lab.now_s, lab.now_s)
    seen = [rates.port_tx_mbps.get((1, 1)) for rates in lab.run(3)]
    assert seen == [None, pytest.approx(8.0, rel=1e-4), pytest.approx(8.0, rel=1e-4)]
    assert lab.status().resets > 0


def test_a_process_that_was_held_up_takes_its_beat_up_again_without_a_burst() -> None:
    lab = Lab()
    switch = lab.switch(1, p1=8.0)
    lab.run(3)
    asked = len(switch.asked)
    lab.now_s += 7.3
    lab.app.on_tick(Tick("slot"))
    assert len(switch.asked) <= asked + 1
    rates = lab.run(2)
    assert [one.time_s for one in rates] == pytest.approx([WALL_S + 11, WALL_S + 12])
    assert rates[-1].port_tx_mbps[1, 1] == pytest.approx(8.0, rel=1e-4)


def test_a_period_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match="period_s is 0"):
        Telemetry(period_s=0)


# bytes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", list(Question))
def test_questions_are_encoded_as_os_ken_does(question: Question) -> None:
    datapath = ProtocolDesc(version=ofp.OFP_VERSION)
    if question is Question.PORTS:
        message = parser.OFPPortStatsRequest(datapath, 0, ofp.OFPP_ANY)
    elif question is Question.METERS:
        message = parser.OFPMeterStatsRequest(datapath, 0, ofp.OFPM_ALL)
    else:
        kind, table = (
            (Kind.SEGMENT, Table.SEGMENT) if question is Question.DEMANDS else (Kind.STITCH, Table.STITCH)
        )
        message = parser.OFPFlowStatsRequest(
            datapath, 0, table, ofp.OFPP_ANY, ofp.OFPG_ANY, cookie.pack(kind), cookie.KIND_MASK, parser.OFPMatch()
        )
    message.set_xid(0x54000007)
    message.serialize()
    assert polls.request(question, 0x54000007) == bytes(message.buf)
