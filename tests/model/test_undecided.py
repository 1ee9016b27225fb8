"""With a hosted app: it gets what is for nobody known, and nothing that was decided or denied."""

from __future__ import annotations

from hypothesis import given, settings

from stitching.difference import Change
from stitching.match import Match
from stitching.pipeline import default_rules
from stitching.rules import PORT_CONTROLLER, FlowRule, Output
from tests.model.fabric import Lab, labs
from tests.model_switch import ModelNetwork, Packet

GUEST_TABLE = 200
UNKNOWN_MAC = "02:00:00:00:ff:ff"

on_any_fabric = settings(deadline=None, max_examples=100)


def hosting(lab: Lab) -> ModelNetwork:
    """The default rules, and an app that has everything in its table sent to the controller."""
    network = ModelNetwork(lab.network, default_rules(lab.network, lab.directory, undecided=GUEST_TABLE))
    everything = FlowRule(GUEST_TABLE, 0, Match(), (Output(PORT_CONTROLLER, 0xFFFF),))
    network.apply(Change(dpid, everything) for dpid in lab.network.dpids)
    return network


@on_any_fabric
@given(labs())
def test_what_is_to_nobody_known_reaches_the_app_where_it_came_in(lab: Lab) -> None:
    network = hosting(lab)
    for source in lab.hosts:
        fate = network.inject(source.dpid, source.port_no, Packet(source.mac, UNKNOWN_MAC))
        assert (fate.delivered, fate.crossed) == ((), ())
        assert fate.punted == (source.dpid,)


@on_any_fabric
@given(labs())
def test_the_app_gets_nothing_between_networks_and_nothing_that_arrives(lab: Lab) -> None:
    network, plain = hosting(lab), ModelNetwork(lab.network, default_rules(lab.network, lab.directory))
    for pairs in (lab.friends(), lab.strangers()):
        for source, target in pairs:
            packet = Packet(source.mac, target.mac)
            fate = network.inject(source.dpid, source.port_no, packet)
            assert fate.punted == ()
            assert fate == plain.inject(source.dpid, source.port_no, packet)
