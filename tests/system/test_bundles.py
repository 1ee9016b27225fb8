"""A real Open vSwitch takes all of a bundle or nothing, and the step that it refuses is named."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from os_ken.ofproto import ofproto_v1_3

from mininet_topos.private_ovs import add_bridges, private_ovs
from ryu_apps.installing.outbox import BUNDLE_FROM, Fence, Outbox, Step
from stitching.cookie import Kind, pack
from stitching.match import Match
from stitching.rules import LEAST_METER, Entry, Failover, FlowRule, Meter, Output, ToGroup, rule_set
from tests.system.raw_switch import RawSwitch, raw_switch

MANY = [
    FlowRule(1, 9, Match(in_port=number), (Output(1),), cookie=pack(Kind.STITCH))
    for number in range(1, BUNDLE_FROM + 1)
]
GROUP, METER = Failover((1, 2)), Meter(LEAST_METER, 1000, 100)
BY_GROUP = FlowRule(2, 9, Match(in_port=1), (ToGroup(GROUP.group_id),), None, pack(Kind.STITCH), METER.meter_id)
NO_SUCH_GROUP = FlowRule(1, 8, Match(), (ToGroup(Failover((7, 8)).group_id),), cookie=pack(Kind.STITCH))
BACKWARDS = FlowRule(1, 8, Match(), (), 0, pack(Kind.STITCH))


@dataclass
class Line:
    """An outbox and the bridge behind it."""

    switch: RawSwitch
    outbox: Outbox = field(init=False)
    ended: list[Fence] = field(default_factory=list)
    alone: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.switch, itertools.count(10_000))

    def put(self, *entries: Entry, remove: bool = False) -> None:
        """Send steps and hear all that the switch has to say of them."""
        self.outbox.put((entry.key, entry, remove, None, None) for entry in entries)
        assert self.outbox.flush() == []
        for _ in range(5):
            if not self.outbox.is_quiet:
                self.hear()
        assert self.outbox.is_quiet

    def hear(self) -> None:
        for message in self.switch.ask(b""):
            if message.cls_msg_type == ofproto_v1_3.OFPT_ERROR:
                step = self.outbox.refused(message.xid, str(message.type))
                self.alone += [step] if step is not None else []
            elif message.cls_msg_type == ofproto_v1_3.OFPT_BARRIER_REPLY:
                fence = self.outbox.confirmed(message.xid)
                self.ended += [fence] if fence is not None else []
        self.outbox.flush()


@pytest.fixture
def line() -> Iterator[Line]:
    with private_ovs() as ovs:
        add_bridges(ovs, 1, [], host_ports=4)
        with raw_switch(ovs.directory, "br1") as switch:
            yield Line(switch)


def test_rules_groups_and_meters_come_and_go_in_bundles(line: Line) -> None:
    everything: list[Entry] = [*MANY, BY_GROUP, GROUP, METER]
    line.put(METER, GROUP, BY_GROUP, *MANY)
    assert line.switch.holds() == rule_set(everything)
    line.put(*MANY, BY_GROUP, GROUP, METER, remove=True)
    assert line.switch.holds() == {}
    assert line.alone == []
    assert line.outbox.speaks_bundles
    assert all(fence.bundle is None or not fence.bundle.failed for fence in line.ended)


@pytest.mark.parametrize("bad", [NO_SUCH_GROUP, BACKWARDS], ids=["at the commit", "while it is read"])
def test_nothing_of_a_bundle_is_there_when_one_step_is_refused(line: Line, bad: FlowRule) -> None:
    line.put(*MANY[:30], bad, *MANY[30:])
    (fence,) = line.ended
    assert fence.bundle is not None and fence.bundle.failed
    assert [step.entry for step in fence.steps if step.refused is not None] == [bad]
    assert line.switch.holds() == {}
    line.outbox.again([step for step in fence.steps if step.refused is None], [])
    line.hear()
    assert line.switch.holds() == rule_set(MANY)
    assert line.alone == []
