"""On any fabric, under any policy, switches do with every packet what the policy says."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stitching import cookie
from stitching.cookie import Kind, kind_of
from stitching.match import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    ICMPV6,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    TCP,
)
from stitching.network import Host
from stitching.pipeline import default_rules
from stitching.policy.decision import Flow, decide
from stitching.policy.document import By, Policy, Rule, Selector
from stitching.policy.explaining import explain
from stitching.policy.ruling import Ruling, rule_number
from stitching.routes import default_routes
from stitching.rules import FlowRule, RuleSet, Table
from tests.model.fabric import Fabric, Lab, labs
from tests.model.policies import NOW_S, flows, policies
from tests.model_switch import Fate, ModelNetwork, Packet, _header

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
                told = explain(ruling, (source, target), flow, lambda a, b: ways.get((a.mac, b.mac)), ())
                assert (told.verdict, told.arrives) == (verdict, carried or (verdict.allowed and beside))
                assert [(hop.dpid, hop.out_port) for hop in told.hops[:-1]] == [key[:2] for key in fate.crossed]


@on_any_fabric
@given(governed())
def test_two_of_whom_one_may_send_the_other_anything_ask_each_other_alone_and_answer(
    lab_and_policy: tuple[Lab, Policy],
) -> None:
    lab, policy = lab_and_policy
    ruling = Ruling(policy, lab.directory, NOW_S)
    network = ModelNetwork(lab.network, default_rules(lab.network, lab.directory, ruling))
    demanding = any(rule.demands for rule in ruling.rules)
    for source in lab.hosts:
        for target in lab.hosts:
            if source.mac == target.mac:
                continue
            for kind, heard in QUESTIONS:
                fate = fate_of(network, source, replace(kind, eth_src=source.mac, eth_dst=target.mac))
                assert fate.punted == ((source.dpid,) if heard else ())
                if not ruling.may_meet(source, target) or source.port == target.port:
                    assert fate.delivered == ()
                elif not demanding:
                    assert fate.delivered == (target.port,)
                else:
                    # What a path has to be of which something is demanded, it has to be for questions too.
                    assert fate.delivered in ((), (target.port,))


QUESTIONS = (
    (Packet("", "", ETH_ARP), True),
    (Packet("", "", ETH_IPV6, ip_proto=ICMPV6, icmp_type=NEIGHBOUR_SOLICITATION), True),
    (Packet("", "", ETH_IPV6, ip_proto=ICMPV6, icmp_type=NEIGHBOUR_ADVERTISEMENT), False),
)
"""With whether the controller hears of it."""


@on_any_fabric
@given(governed(), st.lists(flows(), min_size=1, max_size=12))
def test_every_packet_meets_one_rule_that_counts_it_for_its_demand_or_for_the_rule_that_denies_it(
    lab_and_policy: tuple[Lab, Policy], packets: list[Flow]
) -> None:
    lab, policy = lab_and_policy
    ruling = Ruling(policy, lab.directory, NOW_S)
    network = ModelNetwork(lab.network, default_rules(lab.network, lab.directory, ruling))
    for source in lab.hosts:
        switch = network.switches[source.dpid]
        for target in lab.hosts:
            for flow in packets if source.mac != target.mac else ():
                verdict = ruling.decide(source, target, flow)
                met = switch._look_up(Table.SEGMENT, _header(packet(source, target, flow), source.port_no))
                assert met is not None
                if verdict.allowed:
                    assert met.cookie == cookie.pack(Kind.SEGMENT)
                    assert (met.match.eth_src, met.match.eth_dst) == (source.mac, target.mac)
                elif verdict.by_default:
                    assert met.cookie == cookie.pack(Kind.BASE)
                else:
                    assert met.cookie == cookie.pack(Kind.DENY, stitch=rule_number(verdict.rule))


@on_any_fabric
@given(labs(least_hosts=2))
def test_a_pair_without_port_rules_has_one_rule_and_a_denied_one_none(lab: Lab) -> None:
    rules = default_rules(lab.network, lab.directory)
    count = sum(entry.cookie == cookie.pack(Kind.SEGMENT) for entry in _flows(rules))
    assert count == len(list(lab.friends()))


@on_any_fabric
@given(labs(least_hosts=3))
def test_what_is_denied_to_everybody_costs_rules_for_each_host_and_not_for_each_pair(lab: Lab) -> None:
    denied = Rule("no telnet", protocol=TCP, ports=((23, 23),))
    ruling = Ruling(Policy((denied, Rule("nothing else"))), lab.directory, NOW_S)
    rules = default_rules(lab.network, lab.directory, ruling)
    mark = cookie.pack(Kind.DENY, stitch=rule_number("no telnet"))
    of_telnet = [entry for entry in _flows(rules) if entry.cookie == mark]
    assert len(of_telnet) == 2 * len(lab.hosts)  # IPv4 and IPv6
    assert not [entry for entry in _flows(rules) if kind_of(entry.cookie) == Kind.SEGMENT]


def _flows(rules: Mapping[int, RuleSet]) -> list[FlowRule]:
    return [entry for of in rules.values() for entry in of.values() if isinstance(entry, FlowRule)]


def test_who_is_excepted_from_what_is_denied_to_everybody_is_let_through() -> None:
    fabric = Fabric()
    sender, first, excepted, last = (fabric.host(1) for _ in range(4))
    to_it = (Selector(By.HOST, (excepted.mac,)),)
    allowed = Rule("console", target=to_it, protocol=TCP, ports=((22, 22),), allow=True)
    policy = Policy((allowed, Rule("no ssh", protocol=TCP, ports=((20, 25),))))
    ruling = Ruling(policy, fabric.directory, NOW_S)
    network = ModelNetwork(fabric.network, default_rules(fabric.network, fabric.directory, ruling))
    for target in (first, excepted, last):
        fate = fate_of(network, sender, packet(sender, target, Flow(TCP, 40000, 22)))
        assert fate.delivered == ((target.port,) if target is excepted else ())
