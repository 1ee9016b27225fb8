"""Our bytes against os-ken's decoder, and what a switch reports back into the entry it came from."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_parser, ofproto_v1_3, ofproto_v1_3_parser

from ryu_apps import wire
from stitching import cookie
from stitching.cookie import FIRST_GROUP, Kind
from stitching.match import ETH_ARP, ETH_IPV4, ETH_IPV6, ICMP, TCP, L3Match, Match
from stitching.rules import (
    FIRST_BYPASS,
    LEAST_METER,
    PORT_CONTROLLER,
    PORT_IN_PORT,
    Bypass,
    Entry,
    Failover,
    First,
    FlowRule,
    Group,
    Meter,
    Output,
    PushLabel,
)
from tests.unit.decode import SWITCH, decode, reported
from tests.unit.entries import bypasses, failovers, groups, meters, ports, rules

any_rule = rules(groups=(Failover((1, 2)).group_id,), meters=(LEAST_METER, LEAST_METER + 1))
entries: st.SearchStrategy[Entry] = any_rule | groups | meters | st.just(wire.ALIVE)


def read(data: bytes) -> Entry | None:
    """The entry that a message would put there, read as if a switch reported it."""
    message = decode(data)
    if message.cls_msg_type == ofproto_v1_3.OFPT_FLOW_MOD:
        return wire.read_flow(reported(data))
    return (
        wire.read_group(message)
        if message.cls_msg_type == ofproto_v1_3.OFPT_GROUP_MOD
        else wire.read_meter(message)
    )


@given(entries, st.integers(0, 0xFFFFFFFF))
def test_an_entry_is_the_message_that_os_ken_reads(entry: Entry, xid: int) -> None:
    data = wire.change(entry, xid)
    message = decode(data)
    assert (message.xid, message.command) == (xid, ofproto_v1_3.OFPFC_ADD)
    assert read(data) == entry


@given(entries, st.booleans(), st.booleans())
def test_an_entry_is_encoded_as_os_ken_would(entry: Entry, remove: bool, replaced: bool) -> None:
    ours = wire.change(entry, 7, remove=remove, replace=replaced)
    theirs = decode(ours)
    theirs.serialize()
    assert bytes(theirs.buf) == ours


@given(any_rule)
def test_a_rule_stays_until_it_is_taken_out(rule: FlowRule) -> None:
    message = decode(wire.flow_mod(rule, 1))
    assert (message.idle_timeout, message.hard_timeout, message.flags) == (0, 0, 0)
    assert message.buffer_id == ofproto_v1_3.OFP_NO_BUFFER


@given(any_rule)
def test_a_removal_is_strict_and_only_touches_our_own(rule: FlowRule) -> None:
    message = decode(wire.flow_mod(rule._replace(cookie=0), 1, remove=True))
    assert message.command == ofproto_v1_3.OFPFC_DELETE_STRICT
    assert message.cookie_mask == cookie.OWNER_MASK
    assert message.cookie & cookie.OWNER_MASK == cookie.OURS
    assert (message.table_id, message.priority) == (rule.table, rule.priority)
    assert (message.out_port, message.out_group) == (ofproto_v1_3.OFPP_ANY, ofproto_v1_3.OFPG_ANY)
    assert not message.instructions


@given(failovers)
def test_every_bucket_of_a_group_watches_something(group: Failover) -> None:
    message = decode(wire.group_mod(group, 1))
    assert message.type == ofproto_v1_3.OFPGT_FF
    for bucket, port_no in zip(message.buckets, group.ports, strict=True):
        (action,) = bucket.actions
        assert action.port == port_no
        if port_no == PORT_IN_PORT:
            assert bucket.watch_group == wire.ALIVE.group_id
        else:
            assert (bucket.watch_port, bucket.watch_group) == (port_no, ofproto_v1_3.OFPG_ANY)


@given(bypasses)
def test_a_way_round_a_port_is_taken_when_the_port_is_dead_whatever_else_is(group: Bypass) -> None:
    first, second = decode(wire.group_mod(group, 1)).buckets
    assert (first.watch_port, first.watch_group) == (group.port_no, ofproto_v1_3.OFPG_ANY)
    outputs = {First.OUT: [group.port_no], First.BACK: [PORT_IN_PORT], First.NOTHING: []}
    assert [action.port for action in first.actions] == outputs[group.first]
    assert second.watch_group == wire.ALIVE.group_id
    _, _, label, output = second.actions
    assert (label.value, output.port) == (group.vlan_vid, group.via)


@given(st.lists(groups, min_size=2, max_size=2, unique_by=lambda group: group.group_id))
def test_groups_are_told_apart_by_their_numbers(two: list[Group]) -> None:
    assert two[0] != two[1]
    assert all(FIRST_GROUP <= group.group_id < ofproto_v1_3.OFPG_MAX for group in two)
    assert [isinstance(group, Bypass) for group in two] == [group.group_id >= FIRST_BYPASS for group in two]


def test_a_group_that_is_there_is_changed() -> None:
    group = Bypass(1, 0x1C00, 2)
    message = decode(wire.change(group, 1, replace=True))
    assert (message.command, len(message.buckets)) == (ofproto_v1_3.OFPGC_MODIFY, 2)


@given(groups | meters)
def test_a_group_or_meter_is_removed_by_its_number(entry: Group | Meter) -> None:
    message = decode(wire.change(entry, 1, remove=True))
    if isinstance(entry, Meter):
        assert (message.command, message.meter_id) == (ofproto_v1_3.OFPMC_DELETE, entry.meter_id)
    else:
        assert (message.command, message.group_id) == (ofproto_v1_3.OFPGC_DELETE, entry.group_id)


def test_a_meter_that_is_there_is_changed() -> None:
    message = decode(wire.meter_mod(Meter(LEAST_METER, 10, 5), 1, replace=True))
    assert message.command == ofproto_v1_3.OFPMC_MODIFY
    assert message.flags == ofproto_v1_3.OFPMF_KBPS | ofproto_v1_3.OFPMF_BURST


@given(failovers, st.data())
def test_a_group_that_is_not_what_its_number_says_is_somebody_elses(group: Failover, data: st.DataObject) -> None:
    message = decode(wire.group_mod(group, 1))
    what = data.draw(st.sampled_from(["type", "port", "watch", "bucket", "action"]))
    if what == "type":
        message.type = ofproto_v1_3.OFPGT_SELECT
    elif what == "port":
        message.buckets[0].actions[0].port = group.ports[0] ^ 1
    elif what == "watch":
        message.buckets[1].watch_port = 0x7FFF0000
    elif what == "bucket":
        message.buckets.pop()
    else:
        message.buckets[0].actions.append(ofproto_v1_3_parser.OFPActionPopVlan())
    assert wire.read_group(message) is None


@given(st.integers(1, LEAST_METER - 1))
def test_a_meter_with_a_small_number_is_somebody_elses(number: int) -> None:
    assert wire.read_meter(decode(wire.meter_mod(Meter(number, 10, 5), 1))) is None


def test_a_meter_of_ours_that_does_something_else_equals_none() -> None:
    meter = Meter(LEAST_METER, 10, 5)
    message = decode(wire.meter_mod(meter, 1))
    message.flags = ofproto_v1_3.OFPMF_PKTPS
    altered = wire.read_meter(message)
    assert altered is not None
    assert altered.key == meter.key
    assert altered != meter


def test_what_our_rules_cannot_say_equals_none_of_them() -> None:
    rule = FlowRule(0, 1, Match(eth_type=ETH_ARP), (Output(1),), cookie=cookie.pack(Kind.BASE))
    for change in ({"idle_timeout": 10}, {"hard_timeout": 1}, {"flags": ofproto_v1_3.OFPFF_SEND_FLOW_REM}):
        altered = wire.read_flow(reported(wire.flow_mod(rule, 1))._replace(**change))
        assert altered is not None
        assert altered.key == rule.key
        assert altered != rule


@pytest.mark.parametrize(
    "actions",
    [
        [ofproto_v1_3_parser.OFPActionPushVlan(0x88A8), ofproto_v1_3_parser.OFPActionSetField(vlan_vid=0x1005)],
        [ofproto_v1_3_parser.OFPActionPushVlan(0x8100)],
        [ofproto_v1_3_parser.OFPActionSetField(vlan_vid=0x1005)],
        [ofproto_v1_3_parser.OFPActionSetField(eth_dst="02:00:00:00:00:01")],
        [ofproto_v1_3_parser.OFPActionDecNwTtl()],
    ],
)
def test_actions_our_rules_cannot_say_equal_none_of_theirs(actions: list[Any]) -> None:
    apply = ofproto_v1_3_parser.OFPInstructionActions(ofproto_v1_3.OFPIT_APPLY_ACTIONS, actions)
    flow = ofproto_v1_3_parser.OFPFlowMod(SWITCH, cookie=cookie.OURS, instructions=[apply])
    rule = wire.read_flow(reported_of(flow))
    assert rule is not None
    assert rule.cookie == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"vlan_pcp": 3, "vlan_vid": 0x1005},
        {"metadata": 1},
        {"eth_src": ("02:00:00:00:00:00", "ff:00:00:00:00:00")},
        {"eth_type": ETH_IPV4, "ipv4_src": ("10.0.0.1", "255.0.0.255")},
    ],
)
def test_a_match_our_rules_cannot_say_is_not_read_as_one(fields: dict[str, Any]) -> None:
    match = ofproto_v1_3_parser.OFPMatch(**fields)
    flow = ofproto_v1_3_parser.OFPFlowMod(SWITCH, cookie=cookie.OURS, match=match, instructions=[])
    assert wire.read_flow(reported_of(flow)) is None


def test_a_rule_with_such_a_match_is_named_and_taken_out_by_it() -> None:
    match = ofproto_v1_3_parser.OFPMatch(eth_type=ETH_IPV4, ip_proto=6, metadata=(1, 3))
    flow = ofproto_v1_3_parser.OFPFlowMod(
        SWITCH, cookie=cookie.OURS, table_id=2, priority=7, match=match, instructions=[]
    )
    stray = wire.read_stray(reported_of(flow))
    assert "metadata=1/3" in stray.said and "eth_type=2048" in stray.said
    sent = decode(wire.change(stray, 9, remove=True))
    assert (sent.command, sent.table_id, sent.priority) == (ofproto_v1_3.OFPFC_DELETE_STRICT, 2, 7)
    assert (sent.cookie, sent.cookie_mask) == (cookie.OURS, cookie.OWNER_MASK), "never a rule of others"
    assert dict(sent.match.items()) == dict(match.items())
    with pytest.raises(ValueError, match="only be taken out"):
        wire.change(stray, 9)


@given(st.binary(max_size=60))
def test_whatever_a_match_is_made_of_it_can_be_named_and_taken_out(data: bytes) -> None:
    match = struct.pack("!HH", 1, 4 + len(data)) + data
    stats = reported_of(ofproto_v1_3_parser.OFPFlowMod(SWITCH, cookie=cookie.OURS, instructions=[]))
    stray = wire.read_stray(stats._replace(match=match))
    assert stray.said or not data
    message = wire.change(stray, 9, remove=True)
    assert len(message) % 8 == 0 and match in message


def reported_of(flow: Any) -> wire.FlowStats:
    """The entry of an os-ken FlowMod, as a switch reports it."""
    flow.xid = 1
    flow.serialize()
    return reported(bytes(flow.buf))


any_stats = st.builds(
    lambda rule, *numbers: (rule, numbers),
    any_rule,
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 999_999_999),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
)


def answer(listed: list[tuple[FlowRule, tuple[int, ...]]], flags: int = 0) -> bytes:
    """The message in which a switch lists entries: age in seconds and nanoseconds, packets and bytes of each."""
    body = b""
    for rule, (seconds, nanoseconds, packets, counted) in listed:
        told = reported(wire.flow_mod(rule, 1))
        match = told.match + bytes(-len(told.match) % 8)
        length = 48 + len(match) + len(told.instructions)
        body += struct.pack("!HBxIIHHHHxxxx", length, rule.table, seconds, nanoseconds, rule.priority, 0, 0, 0)
        body += struct.pack("!QQQ", rule.cookie, packets, counted) + match + told.instructions
    return struct.pack("!BBHIHHxxxx", 4, ofproto_v1_3.OFPT_MULTIPART_REPLY, 16 + len(body), 7, 1, flags) + body


@given(st.lists(any_stats, max_size=5), st.booleans())
def test_counters_are_read_as_os_ken_reads_them(listed: list[Any], more: bool) -> None:
    data = answer(listed, flags=more)
    assert wire.is_flow_stats(data)
    ours = wire.OFPFlowStatsReply(SWITCH, ofproto_parser.header(data), bytearray(data))
    theirs = decode(data)
    assert (ours.xid, ours.flags, len(ours.entries)) == (theirs.xid, theirs.flags, len(theirs.body))
    for entry, stats in zip(ours.entries, theirs.body, strict=True):
        assert entry[:10] == tuple(getattr(stats, name) for name in wire.FlowStats._fields[:10])
    assert [wire.read_flow(entry) for entry in ours.entries] == [rule for rule, _ in listed]
    assert [stats.to_jsondict() for stats in ours.body] == [stats.to_jsondict() for stats in theirs.body]


@given(st.lists(any_stats, min_size=1, max_size=3), st.data())
def test_an_answer_that_was_garbled_is_refused_or_read_as_something_else(listed: list[Any], draw: Any) -> None:
    data = bytearray(answer(listed))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(16, len(data) - 1))] = draw.draw(st.integers(0, 255))
    del data[len(data) - draw.draw(st.integers(0, len(data) - 16)) :]
    try:
        entries = wire.flow_stats(bytes(data))
    except ValueError:
        return
    for entry in entries:
        rule = wire.read_flow(entry)
        assert rule is None or rule.priority == entry.priority


@pytest.mark.parametrize(
    ("match", "said"),
    [
        (Match(eth_src="02:00:00:00:00:0A"), "lower case"),
        (Match(eth_type=ETH_IPV4, l3=L3Match(ip_dst="10.0.0.1/8")), "has host bits set"),
        (Match(eth_type=ETH_IPV4, l3=L3Match(ip_dst="10.0.0.1/32")), "without a prefix length"),
        (Match(eth_type=ETH_IPV4, l3=L3Match(ip_dst="0.0.0.0/0")), "all as None"),
        (Match(eth_type=ETH_IPV6, l3=L3Match(ip_dst="10.0.0.1")), "other IP version"),
        (Match(eth_type=ETH_IPV6, l3=L3Match(ip_dst="2001:DB8::1")), "to be told as"),
        (Match(l3=L3Match(ip_dst="10.0.0.1")), "ip_dst needs another eth_type"),
        (Match(eth_type=ETH_IPV4, l3=L3Match(ip_proto=ICMP, dst_port=1)), "dst_port needs another"),
        (Match(eth_type=ETH_IPV4, l3=L3Match()), "told as None"),
        (Match(eth_type=ETH_IPV4, l3=L3Match(ip_proto=TCP, dst_port_mask=1)), "without dst_port"),
        (Match(eth_type=ETH_IPV4, l3=L3Match(ip_proto=TCP, dst_port=3, dst_port_mask=1)), "outside its mask"),
        (Match(eth_type=ETH_IPV4, l3=L3Match(ip_proto=TCP, dst_port=3, dst_port_mask=0xFFFF)), "leave it out"),
        (Match(vlan_vid=0x1005, vlan_mask=0x1FFF), "leave it out"),
        (Match(in_port=-1), "does not fit"),
    ],
)
def test_a_match_that_would_come_back_in_other_words_is_refused_with_the_remedy(match: Match, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        wire.flow_mod(FlowRule(0, 1, match), 1)


def test_a_meter_without_a_burst_is_refused() -> None:
    with pytest.raises(ValueError, match="a burst above 0"):
        wire.meter_mod(Meter(LEAST_METER, 10, 0), 1)


def test_a_label_is_a_tag_and_its_number() -> None:
    message = decode(wire.flow_mod(FlowRule(0, 1, Match(), (PushLabel(0x1005),)), 1))
    push, number = message.instructions[0].actions
    assert push.ethertype == 0x8100
    assert (number.key, number.value) == ("vlan_vid", 0x1005)


@given(st.integers(0, 30) | st.just(0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF))
def test_whatever_a_switch_refuses_something_for_there_are_words(kind: int, code: int, experimenter: int) -> None:
    data = struct.pack("!BBHIHHI", 4, ofproto_v1_3.OFPT_ERROR, 16, 1, kind, code, experimenter)
    message = wire.message(SWITCH, ofproto_parser.header(data), bytearray(data))
    assert wire.error_words(message)


@given(st.binary(min_size=1, max_size=200), st.lists(ports, min_size=1, max_size=4))
def test_a_packet_out_is_encoded_as_os_ken_would(data: bytes, out_ports: list[int]) -> None:
    actions = [ofproto_v1_3_parser.OFPActionOutput(port, 0) for port in out_ports]
    theirs = ofproto_v1_3_parser.OFPPacketOut(
        SWITCH, ofproto_v1_3.OFP_NO_BUFFER, ofproto_v1_3.OFPP_CONTROLLER, actions, data
    )
    assert encoded(theirs, 0) == wire.packet_out(data, in_port=PORT_CONTROLLER, out_ports=tuple(out_ports))


def test_requests_are_encoded_as_os_ken_would() -> None:
    parser = ofproto_v1_3_parser
    assert encoded(parser.OFPBarrierRequest(SWITCH), 9) == wire.barrier(9)
    flows = parser.OFPFlowStatsRequest(SWITCH, cookie=cookie.OURS, cookie_mask=cookie.OWNER_MASK)
    assert encoded(flows, 9) == wire.our_flows(9)
    for owner, mask in ((0, 0), (cookie.GUESTS, cookie.GUESTS_MASK)):
        count = parser.OFPAggregateStatsRequest(
            SWITCH, 0, ofproto_v1_3.OFPTT_ALL, ofproto_v1_3.OFPP_ANY, ofproto_v1_3.OFPG_ANY, owner, mask,
            parser.OFPMatch(),
        )  # fmt: skip
        assert encoded(count, 9) == wire.rule_count(9, owner, mask)
    assert encoded(parser.OFPGroupDescStatsRequest(SWITCH), 9) == wire.groups(9)
    assert encoded(parser.OFPMeterConfigStatsRequest(SWITCH), 9) == wire.meters(9)


def test_the_removal_of_all_rules_with_a_cookie_is_encoded_as_os_ken_would() -> None:
    theirs = ofproto_v1_3_parser.OFPFlowMod(
        SWITCH, cookie.GUESTS, cookie.GUESTS_MASK, ofproto_v1_3.OFPTT_ALL, ofproto_v1_3.OFPFC_DELETE,
        priority=0, out_port=ofproto_v1_3.OFPP_ANY, out_group=ofproto_v1_3.OFPG_ANY,
    )  # fmt: skip
    assert encoded(theirs, 9) == wire.removal_of_all(cookie.GUESTS, cookie.GUESTS_MASK, 9)


def encoded(message: Any, xid: int) -> bytes:
    message.set_xid(xid)
    message.serialize()
    return bytes(message.buf)


@given(st.sampled_from([*Kind]), st.booleans(), st.integers(1, 40), st.binary(max_size=80))
def test_a_packet_of_a_rule_for_probes_is_told_from_all_others(
    kind: Kind, ours: bool, in_port: int, frame: bytes
) -> None:
    message = ofproto_v1_3_parser.OFPPacketIn(SWITCH)
    its_cookie = cookie.pack(kind, epoch=3, stitch=7) ^ (0 if ours else 1 << 63)
    match = ofproto_v1_3_parser.OFPMatch(in_port=in_port)
    head = struct.pack("!IHBBQ", 0xFFFFFFFF, len(frame), 1, 3, its_cookie)
    oxm = bytearray()
    match.serialize(oxm, 0)
    body = head + bytes(oxm) + bytes(2) + frame
    data = struct.pack("!BBHI", 4, message.cls_msg_type, 8 + len(body), 1) + body
    assert decode(data).data == frame
    assert wire.probe_in(data) == (frame if ours and kind is Kind.PROBE else None)
    assert wire.probe_in(data[:20]) is None


@given(any_rule, st.integers(0, 255))
def test_no_other_message_is_taken_for_a_probe(rule: FlowRule, kind: int) -> None:
    data = bytearray(wire.flow_mod(rule, 1))
    data[1] = kind if kind != ofproto_v1_3.OFPT_PACKET_IN else 0
    assert wire.probe_in(data) is None
