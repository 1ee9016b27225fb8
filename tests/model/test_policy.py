"""On any fabric, under any policy, switches do with every packet what the policy says."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stitching.match import ETH_IPV4, ETH_IPV6, ICMPV6
from stitching.network import Host
from stitching.pipeline import default_rules
from stitching.policy.decision import Flow, decide
from stitching.policy.document import Policy
from stitching.policy.ruling import Ruling
from stitching.routes import default_routes
from tests.model.fabric import Lab, labs
from tests.model.policies import NOW_S, flows, policies
from tests.model_switch import Fate, ModelNetwork, Packet

on_any_fabric = settings(deadline=None, max_examples=150)


@st.composite
def governed(draw: st.DrawFn) -> tuple[Lab, Policy]:
    lab = draw(labs(least_hosts=2, loose_ends=False))
    return lab, draw(policies(lab))


def packet(source: Host, target: Host, flow: Flow) -> Packet:
    if flow.protocol is None:
        return Packet(source.mac, target.mac, 0x88B6)
    eth_type = ETH_IPV6 if flow.protocol == ICMPV6 else ETH_IPV4
    return Packet(
        source.mac,
        target.mac,
        eth_type,
        ip_proto=flow.protocol,
        src_port=flow.src_port,
        dst_port=flow.dst_port,
    )


def fate_of(network: ModelNetwork, source: Host, sent: Packet) -> Fate:
    return network.inject(source.dpid, source.port_no, sent)


@on_any_fabric
@given(governed(), st.lists(flows(), min_size=1, max_size=12))
def test_what_is_decided_is_what_happens(lab_and_policy: tuple[Lab, Policy], packets: list[Flow]) -> None:
    lab, policy = lab_and_policy
    ruling = Ruling(policy, lab.directory, NOW_S)
    network = ModelNetwork(lab.network, default_rules(lab.network, lab.directory, ruling))
    ways = default_routes(lab.network, lab.directory, ruling)
    for source in lab.hosts:
        for target in lab.hosts:
            if source.mac == target.mac:
                continue
            for flow in packets:
                verdict = decide(policy, ruling.party(source), ruling.party(target), flow, NOW_S)
                assert ruling.decide(source, target, flow) == verdict
                fate = fate_of(network, source, packet(source, target, flow))
                way = ways.get((source.mac, target.mac))
                carried = (
                    verdict.allowed
                    and way is not None
                    and ruling.unmet(verdict.demands, (source.dpid, *(key[2] for key in way)), way) is None
                )
                beside = source.port == target.port
                assert fate.delivered == ((target.port,) if carried and not beside else ())
                assert (fate.punted, fate.looped) == ((), False)
                if way is not None:
                    assert fate.crossed == (way if carried else ())
