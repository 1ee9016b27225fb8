"""A host moves when its old port is silent; while it answers from there, nobody else can be it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.discovering.hosts import HostTable, Sender
from ryu_apps.discovering.source_guard import ALARM_S, ANSWER_S, REFUSED_S, SILENT_S, SourceGuard, Spoof
from stitching.network import Host, Network, PortId
from stitching.vnet import Directory, Member, SpoofGuard, VNet

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
HOME, ELSEWHERE = (1, 1), (2, 2)
IP = "10.0.0.1"


class Bench:
    """A guard before a host table, with a clock of the test's own."""

    def __init__(self, *vnets: VNet) -> None:
        self.now_s = 100.0
        self.hosts = HostTable()
        self.down: set[PortId] = set()
        self.asked: list[Host] = []
        self.alarms: list[Spoof] = []
        self.guard = SourceGuard(
            self.hosts, is_up=lambda port: port not in self.down, ask=self._ask, alarm=self.alarms.append
        )
        self.guard.directory = Directory.of(vnets)

    def _ask(self, host: Host) -> bool:
        self.asked.append(host)
        return True

    def packet(self, mac: str = A, port: PortId = HOME, ip: str | None = IP) -> None:
        who = Sender(mac, ip, claimed=ip is not None)
        believed = self.guard.believed(who, port, Network(hosts=self.hosts.hosts), self.now_s)
        if believed is not None:
            self.hosts.see(believed, port, self.now_s)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        for move in self.guard.moved(self.now_s):
            self.hosts.see(move.who, move.port, self.now_s)

    def port(self, mac: str = A) -> PortId:
        host = self.hosts.get(mac)
        assert host is not None
        return host.port


def test_a_host_that_does_not_answer_from_its_old_port_has_moved() -> None:
    bench = Bench()
    bench.packet()
    bench.wait(10.0)
    bench.packet(port=ELSEWHERE)
    assert [host.port for host in bench.asked] == [HOME]
    assert bench.port() == HOME
    bench.wait(ANSWER_S + 0.01)
    assert (bench.port(), bench.alarms) == (ELSEWHERE, [])


def test_a_host_whose_port_is_down_has_moved_at_once() -> None:
    bench = Bench()
    bench.packet()
    bench.wait(2.0)
    bench.down.add(HOME)
    bench.packet(port=ELSEWHERE)
    assert (bench.port(), bench.asked) == (ELSEWHERE, [])


def test_a_forged_mac_is_not_learned_and_raises_one_alarm_in_a_while() -> None:
    bench = Bench()
    bench.packet()
    for _ in range(100):
        bench.packet(port=ELSEWHERE)
        bench.packet()  # it answers
        bench.wait(0.1)
    assert bench.port() == HOME
    assert len(bench.alarms) == 1
    assert bench.alarms[0].reason == "the host is on 0000000000000001:1"
    assert len(bench.asked) <= 10 / REFUSED_S + 1
    bench.wait(ALARM_S)
    bench.packet(port=ELSEWHERE)
    bench.packet()
    assert len(bench.alarms) == 2


def test_a_host_of_no_known_address_moves_once_it_has_been_silent() -> None:
    bench = Bench()
    bench.packet(ip=None)
    bench.packet(port=ELSEWHERE, ip=None)
    assert (bench.port(), len(bench.alarms)) == (HOME, 1)
    bench.wait(SILENT_S + REFUSED_S)
    bench.packet(port=ELSEWHERE, ip=None)
    assert bench.port() == ELSEWHERE


def test_a_declared_port_is_the_only_one() -> None:
    bench = Bench(VNet("red", (Member(A, "a", port=HOME),)))
    bench.down.add(HOME)
    bench.packet(port=ELSEWHERE)
    assert bench.hosts.get(A) is None
    assert bench.alarms[0].reason == "it is declared to be on 0000000000000001:1"
    bench.packet()
    assert bench.port() == HOME


def test_a_declared_address_is_nobody_elses() -> None:
    bench = Bench(VNet("red", (Member(A, "a", ips=(IP,)),)))
    bench.packet(B, ELSEWHERE)
    assert bench.hosts.hosts[B].ips == frozenset()
    bench.packet(ip="10.0.0.9")
    assert bench.hosts.hosts[A].ips == frozenset()
    bench.packet()
    assert bench.hosts.hosts[A].ips == {IP}
    assert {alarm.reason for alarm in bench.alarms} == {
        f"its address is that of {A}",
        "its address is none of those that are declared for it",
    }


@pytest.mark.parametrize(
    ("guard", "owner"), [(SpoofGuard.STRICT, A), (SpoofGuard.DECLARED, B), (SpoofGuard.OFF, B)]
)
def test_a_learned_address_stays_where_it_is_guarded_strictly(guard: SpoofGuard, owner: str) -> None:
    bench = Bench(VNet("red", (Member(A, "a"), Member(B, "b")), (), guard))
    bench.packet()
    bench.packet(B, ELSEWHERE)
    assert [mac for mac, host in bench.hosts.hosts.items() if IP in host.ips] == [owner]


def test_without_a_guard_who_speaks_last_is_right() -> None:
    bench = Bench(VNet("red", (Member(A, "a"),), (), SpoofGuard.OFF))
    bench.packet()
    bench.wait(2.0)
    bench.packet(port=ELSEWHERE)
    assert bench.port() == ELSEWHERE


STEPS = st.lists(st.tuples(st.sampled_from([HOME, ELSEWHERE, (3, 3)]), st.floats(0.0, 2.0)), max_size=30)


@given(STEPS)
def test_whatever_others_send_a_host_that_answers_stays(steps: list[tuple[PortId, float]]) -> None:
    bench = Bench()
    bench.packet()
    for port, pause_s in steps:
        asked = len(bench.asked)
        bench.packet(port=port)
        if len(bench.asked) > asked:
            bench.wait(ANSWER_S / 2)
            bench.packet()
        bench.wait(pause_s)
        assert bench.port() == HOME
