"""Our bytes against os-ken's decoder, and what a switch reports back into the rule it came from."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_parser, ofproto_v1_3, ofproto_v1_3_parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from ryu_apps import wire
from stitching import cookie
from stitching.cookie import Kind
from stitching.match import MULTICAST, Match
from stitching.rules import PORT_CONTROLLER, FlowRule, Output

SWITCH = ProtocolDesc(version=ofproto_v1_3.OFP_VERSION)

macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
ports = st.integers(1, 0xFFFFFF00)


@st.composite
def matches(draw: st.DrawFn) -> Match:
    """Every combination of fields a rule of ours may use, prerequisites kept."""
    kind = draw(st.sampled_from(["plain", "arp", "solicitation", "group"]))
    in_port = draw(st.none() | ports)
    source = draw(st.none() | macs)
    if kind == "group":
        return Match(in_port=in_port, eth_src=source, eth_dst=MULTICAST, eth_dst_mask=MULTICAST)
    target = draw(st.none() | macs)
    if kind == "solicitation":
        return Match(in_port, source, target, eth_type=0x86DD, ip_proto=58, icmpv6_type=135)
    return Match(in_port, source, target, eth_type=0x0806 if kind == "arp" else None)


rules = st.builds(
    FlowRule,
    table=st.integers(0, 3),
    priority=st.integers(0, 0xFFFF),
    match=matches(),
    actions=st.lists(st.builds(Output, ports), max_size=4).map(tuple)
    | st.just((Output(PORT_CONTROLLER, 0xFFFF),)),
    goto=st.none() | st.integers(1, 3),
    cookie=st.builds(
        cookie.pack,
        st.sampled_from(Kind),
        epoch=st.integers(0, 0xFFFF),
        stitch=st.integers(0, 0xFFFFFFFF),
    ),
)


def decode(data: bytes):  # type: ignore[no-untyped-def]  # noqa: ANN201  # os-ken ships no types
    version, kind, length, xid = ofproto_parser.header(data)
    assert length == len(data)
    return ofproto_parser.msg(SWITCH, version, kind, length, xid, bytearray(data))


@given(rules, st.integers(0, 0xFFFFFFFF))
def test_a_rule_is_the_flow_mod_that_os_ken_reads(rule: FlowRule, xid: int) -> None:
    message = decode(wire.flow_mod(rule, xid))
    assert isinstance(message, ofproto_v1_3_parser.OFPFlowMod)
    assert message.xid == xid
    assert message.command == ofproto_v1_3.OFPFC_ADD
    assert (message.idle_timeout, message.hard_timeout, message.flags) == (0, 0, 0)
    assert message.buffer_id == ofproto_v1_3.OFP_NO_BUFFER
    assert wire.read_flow(message) == rule


@given(rules)
def test_a_removal_is_strict_and_only_touches_our_own(rule: FlowRule) -> None:
    message = decode(wire.flow_mod(rule, 1, remove=True))
    assert message.command == ofproto_v1_3.OFPFC_DELETE_STRICT
    assert message.cookie_mask == cookie.OWNER_MASK
    assert message.cookie & cookie.OWNER_MASK == cookie.OURS
    assert (message.table_id, message.priority) == (rule.table, rule.priority)
    assert (message.out_port, message.out_group) == (ofproto_v1_3.OFPP_ANY, ofproto_v1_3.OFPG_ANY)
    assert not message.instructions


@given(rules)
def test_a_rule_is_encoded_as_os_ken_would(rule: FlowRule) -> None:
    theirs = decode(wire.flow_mod(rule, 7))
    theirs.serialize()
    assert bytes(theirs.buf) == wire.flow_mod(rule, 7)


def test_what_our_rules_cannot_say_equals_none_of_them() -> None:
    rule = FlowRule(0, 1, Match(eth_type=0x0806), (Output(1),), cookie=cookie.pack(Kind.BASE))
    message = decode(wire.flow_mod(rule, 1))
    message.idle_timeout = 10
    altered = wire.read_flow(message)
    assert altered is not None
    assert altered.key == rule.key
    assert altered != rule


def test_a_match_our_rules_cannot_say_is_not_read_as_one() -> None:
    match = ofproto_v1_3_parser.OFPMatch(vlan_vid=0x1005)
    flow = ofproto_v1_3_parser.OFPFlowMod(SWITCH, cookie=cookie.OURS, match=match, instructions=[])
    assert wire.read_flow(flow) is None


@given(st.binary(min_size=1, max_size=200), st.lists(ports, min_size=1, max_size=4))
def test_a_packet_out_is_encoded_as_os_ken_would(data: bytes, out_ports: list[int]) -> None:
    actions = [ofproto_v1_3_parser.OFPActionOutput(port, 0) for port in out_ports]
    theirs = ofproto_v1_3_parser.OFPPacketOut(
        SWITCH, ofproto_v1_3.OFP_NO_BUFFER, ofproto_v1_3.OFPP_CONTROLLER, actions, data
    )
    assert encoded(theirs, 0) == wire.packet_out(data, in_port=PORT_CONTROLLER, out_ports=tuple(out_ports))


def test_requests_are_encoded_as_os_ken_would() -> None:
    barrier = ofproto_v1_3_parser.OFPBarrierRequest(SWITCH)
    flows = ofproto_v1_3_parser.OFPFlowStatsRequest(SWITCH, cookie=cookie.OURS, cookie_mask=cookie.OWNER_MASK)
    assert encoded(barrier, 9) == wire.barrier(9)
    assert encoded(flows, 9) == wire.our_flows(9)


def encoded(message: Any, xid: int) -> bytes:
    message.set_xid(xid)
    message.serialize()
    return bytes(message.buf)
