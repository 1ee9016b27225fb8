"""What we send to a real Open vSwitch comes back as what we sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mininet_topos.ovs import run
from mininet_topos.private_ovs import PrivateOvs, add_bridges, private_ovs
from ryu_apps import wire
from stitching.cookie import Kind, pack
from stitching.match import Match
from stitching.rules import (
    LEAST_METER,
    PORT_IN_PORT,
    Bypass,
    Entry,
    EntryKey,
    Failover,
    First,
    FlowRule,
    Group,
    Meter,
    Output,
    PopLabel,
    PushLabel,
    ToGroup,
    rule_set,
)
from tests.system.raw_switch import RawSwitch, raw_switch
from tests.unit.entries import groups, meters, rules

GROUPS = Failover((1, 2)), Failover((3, PORT_IN_PORT))
METERS = Meter(LEAST_METER, 1000, 100), Meter(LEAST_METER + 1, 5, 1)
BASE: tuple[Entry, ...] = (wire.ALIVE, *GROUPS, *METERS)

any_rule = rules(
    groups=tuple(group.group_id for group in GROUPS), meters=tuple(meter.meter_id for meter in METERS)
)


@pytest.fixture(scope="module")
def ovs() -> Iterator[PrivateOvs]:
    with private_ovs() as daemons:
        add_bridges(daemons, 1, [], host_ports=4)
        yield daemons


@pytest.fixture(scope="module")
def switch(ovs: PrivateOvs) -> Iterator[RawSwitch]:
    with raw_switch(ovs.directory, "br1") as one:
        assert one.errors(b"".join(wire.change(entry, 1) for entry in BASE)) == []
        yield one


@settings(max_examples=60)
@given(drawn=st.lists(any_rule, min_size=1, max_size=30))
def test_every_rule_comes_back_as_it_was_sent(switch: RawSwitch, drawn: list[FlowRule]) -> None:
    sent: dict[EntryKey, Entry] = {rule.key: rule for rule in drawn}
    messages = b"".join(wire.change(rule, number) for number, rule in enumerate(sent.values()))
    refused = [(list(sent.values())[xid], what) for xid, what in switch.errors(messages)]
    there = switch.holds()
    assert switch.errors(b"".join(wire.change(rule, 1, remove=True) for rule in sent.values())) == []
    assert refused == []
    assert there == {**sent, **rule_set(BASE)}
    assert switch.holds() == rule_set(BASE)


@settings(max_examples=30)
@given(drawn=st.lists(groups | meters, min_size=1, max_size=20))
def test_every_group_and_meter_comes_back_as_it_was_sent(switch: RawSwitch, drawn: list[Group | Meter]) -> None:
    there = rule_set(BASE)
    sent: dict[EntryKey, Entry] = {entry.key: entry for entry in drawn if entry.key not in there}
    refused = switch.errors(b"".join(wire.change(entry, 1) for entry in sent.values()))
    now = switch.holds()
    assert switch.errors(b"".join(wire.change(entry, 1, remove=True) for entry in sent.values())) == []
    assert refused == []
    assert now == {**sent, **there}
    assert switch.holds() == there


def test_a_meter_is_changed_in_place(switch: RawSwitch) -> None:
    changed = Meter(LEAST_METER, 2000, 300)
    assert switch.errors(wire.meter_mod(changed, 1, replace=True)) == []
    assert switch.holds()[changed.key] == changed
    assert switch.errors(wire.meter_mod(METERS[0], 1, replace=True)) == []


def test_entries_of_others_are_not_read_as_ours(ovs: PrivateOvs, switch: RawSwitch) -> None:
    ovs.ofctl("add-group", "br1", "group_id=7,type=all,bucket=output:1")
    ovs.ofctl("add-group", "br1", "group_id=70000,type=select,bucket=output:1")
    ovs.ofctl("add-meter", "br1", "meter=5,kbps,band=type=drop,rate=100")
    ovs.ofctl("add-flow", "br1", "cookie=0x77,priority=9,in_port=1,actions=drop")
    assert switch.holds() == rule_set(BASE)
    ovs.ofctl("del-groups", "br1", "group_id=7")
    ovs.ofctl("del-groups", "br1", "group_id=70000")
    ovs.ofctl("del-meter", "br1", "meter=5")
    ovs.ofctl("del-flows", "br1", "--strict", "priority=9,in_port=1")


class Ports:
    """The dummy ports of the bridge, which go up and down, and where packets that come in by port 1 are sent."""

    def __init__(self, ovs: PrivateOvs) -> None:
        self._environment = ovs.environment
        self._control = next(ovs.directory.glob("ovs-vswitchd*.ctl"))

    def _appctl(self, *words: str) -> str:
        return run(["ovs-appctl", "-t", str(self._control), *words], self._environment)

    def sent_to(self) -> str:
        """The actions of the datapath on a packet from port 1."""
        return self._appctl("ofproto/trace", "br1", "in_port=1").rpartition("Datapath actions: ")[2].strip()

    def number(self, port: int) -> str:
        """What the datapath calls a port."""
        (line,) = (line for line in self._appctl("dpif/show").splitlines() if line.split()[0] == f"h1-{port}")
        return line.split()[1].partition("/")[2].rstrip(":")

    def turn(self, port: int, state: str) -> None:
        """Take a port "down" or "up"."""
        self._appctl("netdev-dummy/set-admin-state", f"h1-{port}", state)


def test_a_group_sends_back_when_its_port_is_down(ovs: PrivateOvs, switch: RawSwitch) -> None:
    ports = Ports(ovs)
    rule = FlowRule(0, 5, Match(in_port=1), (ToGroup(GROUPS[1].group_id),), cookie=pack(Kind.STITCH))
    assert switch.errors(wire.flow_mod(rule, 1)) == []
    assert ports.sent_to() == ports.number(3)
    ports.turn(3, "down")
    assert ports.sent_to() == ports.number(1)
    ports.turn(3, "up")
    assert switch.errors(wire.flow_mod(rule, 1, remove=True)) == []


def test_a_group_sends_labelled_copies_round_a_port_that_is_down_and_what_comes_after_is_as_before(
    ovs: PrivateOvs, switch: RawSwitch
) -> None:
    ports = Ports(ovs)
    one, other = (
        Bypass(3, 0x1000 | 3074, 4),
        Bypass(3, 0x1000 | 3076, PORT_IN_PORT, First.NOTHING),
    )
    to_groups = ToGroup(one.group_id), ToGroup(other.group_id)
    does = (PushLabel(0x1000 | 3072), *to_groups, PopLabel(), Output(2))
    rule = FlowRule(0, 5, Match(in_port=1), does, cookie=pack(Kind.STITCH))
    put = b"".join(wire.change(entry, 1) for entry in (one, other, rule))
    assert switch.errors(put) == []

    def labelled(vid: int, port: int) -> str:
        return f"push_vlan(vid={vid},pcp=0),{ports.number(port)},pop_vlan"

    assert ports.sent_to() == f"{labelled(3072, 3)},{ports.number(2)}"
    ports.turn(3, "down")
    assert ports.sent_to() == f"{labelled(3074, 4)},{labelled(3076, 1)},{ports.number(2)}"
    ports.turn(3, "up")
    gone = b"".join(wire.change(entry, 1, remove=True) for entry in (rule, one, other))
    assert switch.errors(gone) == []
