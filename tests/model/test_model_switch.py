"""The model of a switch does what OpenFlow 1.3 says, so that what it shows of our rules can be believed."""

import pytest

from stitching import cookie
from stitching.cookie import Kind
from stitching.difference import Change
from stitching.match import MULTICAST, Match
from stitching.rules import PORT_CONTROLLER, PORT_IN_PORT, FlowRule, Output
from tests.model.fabric import Fabric
from tests.model_switch import BROADCAST, Ambiguous, ModelNetwork, ModelSwitch, Packet

A, B = "02:00:00:00:00:01", "02:00:00:00:00:02"
PACKET = Packet(A, B)


def sends(switch: ModelSwitch, in_port: int = 1, packet: Packet = PACKET) -> list[int]:
    return [output.port_no for output, _ in switch.outputs(in_port, packet)]


def test_a_table_miss_drops() -> None:
    assert sends(ModelSwitch()) == []


def test_the_highest_priority_that_matches_decides_alone() -> None:
    switch = ModelSwitch()
    switch.add(FlowRule(0, 1, Match(), (Output(7),)))
    switch.add(FlowRule(0, 5, Match(eth_dst=B), (Output(8),)))
    switch.add(FlowRule(0, 9, Match(eth_dst=A), (Output(9),)))
    assert sends(switch) == [8]


def test_actions_of_all_tables_on_the_way_are_carried_out() -> None:
    switch = ModelSwitch()
    switch.add(FlowRule(0, 1, Match(), (Output(7),), goto=2))
    switch.add(FlowRule(2, 1, Match(in_port=1), (Output(8),)))
    assert sends(switch) == [7, 8]


def test_a_goto_backwards_is_an_error() -> None:
    switch = ModelSwitch()
    switch.add(FlowRule(0, 1, Match(), goto=0))
    with pytest.raises(AssertionError, match="later table"):
        sends(switch)


def test_a_masked_address_matches_by_the_bits_of_the_mask() -> None:
    switch = ModelSwitch()
    switch.add(FlowRule(0, 1, Match(eth_dst=MULTICAST, eth_dst_mask=MULTICAST), (Output(7),)))
    assert sends(switch, packet=Packet(A, BROADCAST)) == [7]
    assert sends(switch, packet=Packet(A, "33:33:00:00:00:01")) == [7]
    assert sends(switch, packet=Packet(A, B)) == []


def test_a_rule_of_the_same_key_replaces_and_only_ours_is_removed() -> None:
    switch = ModelSwitch()
    theirs = FlowRule(0, 1, Match(), (Output(7),), cookie=1)
    switch.add(theirs)
    switch.remove(theirs)
    assert sends(switch) == [7]
    ours = FlowRule(0, 1, Match(), (Output(8),), cookie=cookie.pack(Kind.BASE))
    switch.add(ours)
    assert switch.rules == {ours.key: ours}
    switch.remove(ours)
    assert switch.rules == {}


def test_two_rules_that_contradict_each_other_are_refused() -> None:
    switch = ModelSwitch()
    switch.add(FlowRule(0, 1, Match(eth_src=A), (Output(7),)))
    switch.add(FlowRule(0, 1, Match(eth_dst=A), (Output(7),)))
    switch.add(FlowRule(0, 1, Match(eth_src=B, eth_dst=B, eth_type=1), (Output(8),)))
    with pytest.raises(Ambiguous):
        switch.add(FlowRule(0, 1, Match(eth_type=1), (Output(7),)))
    with pytest.raises(Ambiguous):
        switch.add(FlowRule(0, 1, Match(eth_dst="00:00:00:00:00:00", eth_dst_mask=MULTICAST), (Output(9),)))


def test_nothing_leaves_by_the_port_it_came_in_unless_asked_to() -> None:
    fabric = Fabric()
    fabric.switch(1)
    model = ModelNetwork(fabric.network)
    model.apply([Change(1, FlowRule(0, 1, Match(), (Output(1), Output(2))))])
    assert model.inject(1, 1, PACKET).delivered == ((1, 2),)
    assert model.inject(1, PORT_CONTROLLER, PACKET).delivered == ((1, 1), (1, 2))
    model.apply([Change(1, FlowRule(0, 1, Match(), (Output(PORT_IN_PORT),)))])
    assert model.inject(1, 1, PACKET).delivered == ((1, 1),)
    model.apply([Change(1, FlowRule(0, 1, Match(), (Output(1),)))])
    assert model.inject(1, 1, PACKET).dropped == (1,)


def test_a_packet_crosses_links_and_says_which() -> None:
    fabric = Fabric()
    link = fabric.join(1, 2)
    model = ModelNetwork(fabric.network)
    model.apply([Change(1, FlowRule(0, 1, Match(), (Output(link[1]),)))])
    model.apply([Change(2, FlowRule(0, 1, Match(in_port=link[3]), (Output(PORT_CONTROLLER),)))])
    fate = model.inject(1, 9, PACKET)
    assert (fate.crossed, fate.punted, fate.delivered, fate.looped) == ((link,), (2,), (), False)


def test_a_loop_is_found_even_where_copies_multiply() -> None:
    fabric = Fabric()
    for source, target in ((1, 2), (2, 3), (3, 1), (1, 2), (2, 3), (3, 1)):
        fabric.join(source, target)
    model = ModelNetwork(fabric.network)
    flood = FlowRule(0, 1, Match(), tuple(Output(port_no) for port_no in range(1, 5)))
    model.apply(Change(dpid, flood) for dpid in (1, 2, 3))
    assert model.inject(1, 9, PACKET).looped
