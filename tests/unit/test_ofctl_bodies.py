"""Bodies of Ryu's paths become messages that reach nothing of ours, or are refused with the field named."""

from __future__ import annotations

import contextlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from ryu_apps import foreign
from ryu_apps.ofctl import changes
from ryu_apps.ofctl.bodies import read_body
from ryu_apps.ofctl.changes import FLOW_COMMANDS, NotYours, check_free, flow_change, group_change, meter_change
from ryu_apps.ofctl.translator import BadBody
from stitching.cookie import FIRST_GROUP, FIRST_METER, OWNER_MASK, REST_OWNER, USER_MASK

OURS = REST_OWNER << 56
HUGE = 1 << 80

FLOW: dict[str, Any] = {
    "dpid": 1,
    "cookie": 7,
    "cookie_mask": 0xFF,
    "table_id": 0,
    "priority": 11111,
    "match": {"in_port": 1, "dl_type": 0x800, "nw_dst": "10.1.0.0/16"},
    "actions": [{"type": "OUTPUT", "port": 2}],
}


def test_an_added_rule_has_the_owner_in_its_cookie_and_the_callers_bits_below() -> None:
    message = flow_change(FLOW, "add")
    assert (message.cookie, message.cookie_mask) == (OURS | 7, 0)
    assert (message.table_id, message.priority) == (0, 11111)


@pytest.mark.parametrize("command", ["modify", "modify_strict", "delete", "delete_strict"])
def test_whatever_is_changed_or_deleted_is_masked_by_the_owner(command: str) -> None:
    for mask in (0, 0xFF, OWNER_MASK, (1 << 64) - 1):
        message = flow_change(FLOW | {"cookie_mask": mask}, command)
        assert message.cookie_mask == OWNER_MASK | mask & USER_MASK
        assert message.cookie == OURS | 7 & mask


def test_clear_means_every_table_and_the_owners_rules_alone() -> None:
    message = changes.clear_flows()
    assert (message.command, message.table_id) == (ofp.OFPFC_DELETE, ofp.OFPTT_ALL)
    assert (message.cookie, message.cookie_mask) == (OURS, OWNER_MASK)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cookie": 1 << 56}, "cookie"),
        ({"cookie": -1}, "cookie"),
        ({"priority": 70_000}, "priority"),
        ({"idle_timeout": "soon"}, "idle_timeout"),
        ({"hard_timeout": HUGE}, "hard_timeout"),
        ({"flags": True}, "flags"),
        ({"match": {"colour": 1}}, "match.colour"),
        ({"match": []}, "match"),
        ({"match": {"tp_dst": 80}}, "match.nw_proto"),
        ({"match": {"in_port": HUGE}}, "match.in_port"),
        ({"match": {"dl_type": 0x10800}}, "match.dl_type"),
        ({"match": {"metadata": "1/-1"}}, "match.metadata"),
        ({"match": {"dl_vlan": 0x2000}}, "match.dl_vlan"),
        ({"actions": [{"type": "SET_FIELD", "field": "vlan_vid", "value": 0x12345}]}, "actions[0].value"),
        ({"actions": {}}, "actions"),
        ({"actions": [{"type": "TELEPORT"}]}, "actions[0].type"),
        ({"actions": [{}]}, "actions[0].type"),
        ({"actions": [{"type": "WRITE_ACTIONS", "actions": [7]}]}, "actions[0].actions[0]"),
        ({"table_id": 255}, "table_id"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadBody) as refused:
        flow_change(FLOW | change, "add")
    assert refused.value.field == field


@pytest.mark.parametrize(
    "change",
    [
        {"match": {"dl_dst": "not a mac"}},
        {"match": {"dl_type": 0x800, "nw_dst": "10.0.0.0/99"}},
        {"match": {"dl_vlan": None}},
        {"actions": [{"type": "OUTPUT", "port": "SOMEWHERE"}]},
        {"actions": [{"type": "SET_FIELD", "field": "colour", "value": 1}]},
        {"actions": [{"type": "OUTPUT", "port": 1}] * 5000},
        {"table_id": "UPSTAIRS"},
        {"table_id": 300},
        {"out_port": HUGE},
        {"buffer_id": "x"},
    ],
)
def test_what_the_encoder_chokes_on_is_a_bad_body(change: dict[str, Any]) -> None:
    with pytest.raises(BadBody):
        flow_change(FLOW | change, "add")


def test_groups_and_meters_of_ours_are_out_of_reach() -> None:
    for number in (FIRST_GROUP, "ALL", "ANY"):
        with pytest.raises(NotYours, match=str(FIRST_GROUP)):
            group_change({"dpid": 1, "group_id": number}, "delete")
    for meter in (FIRST_METER, "ALL", "CONTROLLER"):
        with pytest.raises(NotYours, match=str(FIRST_METER)):
            meter_change({"dpid": 1, "meter_id": meter}, "delete")
    with pytest.raises(NotYours):
        group_change({"group_id": 1, "buckets": [{"watch_group": FIRST_GROUP}]}, "add")
    group = {"type": "GROUP", "group_id": FIRST_GROUP}
    for action in (
        group,
        {"type": "METER", "meter_id": FIRST_METER},
        {"type": "WRITE_ACTIONS", "actions": [group]},
    ):
        with pytest.raises(NotYours):
            flow_change(FLOW | {"actions": [action]}, "add")
    assert group_change({"group_id": FIRST_GROUP - 1}, "add").group_id == FIRST_GROUP - 1
    assert meter_change({"meter_id": FIRST_METER - 1}, "add").meter_id == FIRST_METER - 1


def rule(cookie: int, priority: int, **match: Any) -> Any:
    return SimpleNamespace(cookie=cookie, priority=priority, table_id=0, match=parser.OFPMatch(**match))


def test_an_added_rule_takes_nobody_elses_place_however_its_match_was_written() -> None:
    adding = flow_change(FLOW | {"match": {"dl_type": "0x0800", "nw_dst": "10.1.2.3/16"}}, "add")
    same = {"eth_type": 0x800, "ipv4_dst": ("10.1.0.0", "255.255.0.0")}
    for cookie in (0, 0x4C << 56, 0xE0 << 56):
        with pytest.raises(NotYours, match="another priority"):
            check_free(adding, [SimpleNamespace(body=[rule(cookie, 11111, **same)])])
    harmless = [
        rule(OURS, 11111, **same),
        rule(0, 11110, **same),
        rule(0, 11111, **same | {"in_port": 1}),
        rule(0, 11111, eth_type=0x800, ipv4_dst="10.1.0.0"),
    ]
    check_free(adding, [SimpleNamespace(body=harmless)])


def test_a_mask_of_all_bits_is_none_and_bits_outside_a_mask_mean_nothing() -> None:
    exact = parser.OFPMatch(eth_dst="02:00:00:00:00:01")
    masked = parser.OFPMatch(eth_dst=("02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff"))
    anything = parser.OFPMatch(eth_dst=("02:00:00:00:00:01", "00:00:00:00:00:00"))
    assert foreign.same_entry(exact) == foreign.same_entry(masked)
    assert foreign.same_entry(anything) == foreign.same_entry(parser.OFPMatch()) == frozenset()


def test_bodies_are_json_or_the_python_that_ryu_reads() -> None:
    wanted = {"dpid": 1, "match": {"dl_type": 0x800}}
    assert read_body(json.dumps(wanted).encode()) == wanted
    assert read_body(b"{'dpid': 1, 'match': {'dl_type': 0x800}}") == wanted
    assert read_body(b" ") == {}


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_an_object_or_a_bad_body(data: bytes) -> None:
    with contextlib.suppress(BadBody):
        assert isinstance(read_body(data), dict)


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b"[" * 5_000, b"-" * 60_000 + b"1", b"1" * 60_000, b"0x" + b"f" * 60_000]
)
def test_bytes_meant_to_exhaust_the_reader_are_a_bad_body(data: bytes) -> None:
    with pytest.raises(BadBody):
        read_body(data)


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-HUGE, HUGE)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["0x10", "ALL", "ANY", "CONTROLLER", "10.0.0.0/8", "02:00:00:00:00:01", "NO_BUFFER", "::1/64"]
    )
)
ANYTHING = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
ACTION_FIELDS = (
    *("port", "group_id", "meter_id", "field", "value"),
    *("ethertype", "table_id", "metadata", "max_len"),
)
ACTION = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["OUTPUT", "GROUP", "METER", "SET_FIELD", "PUSH_VLAN", "GOTO_TABLE", "WRITE_METADATA"]
        )
        | VALUES
    },
    optional=dict.fromkeys(ACTION_FIELDS, VALUES),
)
MATCH = st.dictionaries(
    st.sampled_from(
        ["in_port", "dl_dst", "dl_type", "nw_src", "ipv6_dst", "dl_vlan", "metadata", "tp_dst", "nw_proto", "x"]
    ),
    VALUES,
    max_size=4,
)
FIELDS = (
    "cookie",
    "cookie_mask",
    "table_id",
    "priority",
    "idle_timeout",
    "flags",
    "out_port",
    "out_group",
    "buffer_id",
)
BODY = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(FIELDS, VALUES)
    | {"match": MATCH | ANYTHING, "actions": st.lists(ACTION, max_size=3) | ANYTHING},
)


@given(BODY, st.sampled_from(sorted(FLOW_COMMANDS)))
def test_any_flow_body_is_a_message_of_this_owner_or_refused(body: dict[str, Any], command: str) -> None:
    try:
        message = flow_change(body, command)
    except (BadBody, NotYours):
        return
    assert message.cookie >> 56 == REST_OWNER
    assert command == "add" or message.cookie_mask >> 56 == 0xFF
    assert foreign.trespass(message) is None


BUCKET = st.fixed_dictionaries(
    {}, optional={"weight": VALUES, "watch_port": VALUES, "actions": st.lists(ACTION, max_size=2)}
)
BAND = st.fixed_dictionaries(
    {"type": st.sampled_from(["DROP", "DSCP_REMARK"]) | VALUES}, optional={"rate": VALUES}
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "group_id": VALUES,
            "type": st.sampled_from(["ALL", "FF"]) | VALUES,
            "buckets": st.lists(BUCKET, max_size=2) | ANYTHING,
            "meter_id": VALUES,
            "flags": st.sampled_from(["KBPS"]) | ANYTHING,
            "bands": st.lists(BAND, max_size=2) | ANYTHING,
        },
    ),
    st.sampled_from(["add", "modify", "delete"]),
)
def test_any_group_or_meter_body_is_a_message_or_refused(body: dict[str, Any], command: str) -> None:
    for make in (group_change, meter_change):
        with contextlib.suppress(BadBody, NotYours):
            assert foreign.trespass(make(body, command)) is None
