"""Ryu's paths through the whole API: whatever is sent, the answer is one that the description names."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ryu_apps.ofctl.app import NoAnswer, Refused, SwitchGone, UnknownSwitch
from ryu_apps.rest.api import create_api
from tests.unit.test_ofctl_bodies import ANYTHING, BODY
from tests.unit.test_rest_fake import TOKEN, Caller, FakeController, problem

CHANGES = [
    *(f"flowentry/{command}" for command in ("add", "modify", "modify_strict", "delete", "delete_strict")),
    *(f"{kind}entry/{command}" for kind in ("group", "meter") for command in ("add", "modify", "delete")),
    *("portdesc/modify", "experimenter/1", "flow/1", "aggregateflow/1"),
]
READS = [
    *("desc", "flow", "aggregateflow", "table", "tablefeatures", "port", "portdesc", "queue", "queueconfig"),
    *("queuedesc", "group", "groupdesc", "groupfeatures", "meter", "meterconfig", "meterfeatures", "role"),
]


controller = FakeController()
switches = controller.switches
api = create_api(controller.ask, token=TOKEN)
call = Caller(api)


def described(method: str, path: str) -> set[int]:
    """The statuses that the description names for a path."""
    paths = api.openapi()["paths"]
    names = path.strip("/").split("/")
    for template, operations in paths.items():
        parts = template.strip("/").split("/")
        fits = len(parts) == len(names) and all(a == b or a[0] == "{" for a, b in zip(parts, names, strict=True))
        if fits and method.lower() in operations:
            return {int(status) for status in operations[method.lower()]["responses"] if status.isdecimal()}
    return {404}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(CHANGES),
    st.builds(lambda body, dpid: json.dumps(body | dpid), BODY, st.just({"dpid": 1}) | st.fixed_dictionaries({}))
    | ANYTHING.map(json.dumps)
    | st.text(max_size=40),
)
def test_any_body_has_an_answer_that_is_described(path: str, body: str) -> None:
    answer = call("POST", f"/stats/{path}", content=body.encode("utf-8", "surrogatepass"))
    assert answer.status_code in described("POST", f"/stats/{path}"), answer.text
    assert answer.status_code < 500, answer.text


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(READS),
    st.sampled_from(["1", "0x1", "7", "x", "-1", "1e3", "٣"]),
    st.sampled_from(["", "/1", "/x", "/LOCAL"]),
)
def test_any_path_has_an_answer_that_is_described(what: str, dpid: str, more: str) -> None:
    path = f"/stats/{what}/{dpid}{more}"
    answer = call("GET", path)
    assert answer.status_code in described("GET", path), answer.text
    assert answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    ("error", "status"),
    [(UnknownSwitch("none"), 404), (Refused("no"), 409), (SwitchGone("gone"), 503), (NoAnswer("silent"), 504)],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "flow/1"), ("POST", "flowentry/add"), ("DELETE", "flowentry/clear/1")]
)
def test_what_a_switch_does_not_do_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, method: str, path: str
) -> None:
    monkeypatch.setattr(switches, "fails", error)
    said = problem(call(method, f"/stats/{path}", content=b'{"dpid": 1}'), status)
    assert str(error) in said["detail"] and said["remedy"]
    assert status in described(method, f"/stats/{path}")


def test_topology_names_links_and_hosts_of_switches_that_are_away() -> None:
    answer = call("GET", "/v1.0/topology/links/0000000000000003").json()
    assert {"dpid": "0000000000000004", "port_no": "0000000c", "hw_addr": "", "name": ""} in [
        link["dst"] for link in answer
    ]
    (host, *_) = call("GET", "/v1.0/topology/hosts").json()
    assert host.keys() == {"mac", "ipv4", "ipv6", "port"} and host["ipv4"] == ["10.0.0.1"]
    assert call("GET", "/v1.0/topology/hosts/1").status_code == 404


def test_texts_of_a_switch_need_not_be_ascii_nor_utf8() -> None:
    assert call("GET", "/stats/desc/1").json() == {
        "1": {"mfr_desc": "Nicira", "hw_desc": "\ufffd", "sw_desc": "3.1", "serial_num": "", "dp_desc": "Zürich"}
    }
    (table,) = call("GET", "/stats/tablefeatures/1").json()["1"]
    assert table["name"] == "\ufffd"


def test_rules_with_actions_that_the_translator_does_not_know_are_listed() -> None:
    (rule,) = call("GET", "/stats/flow/1").json()["1"]
    assert rule["actions"] == [
        "SET_FIELD: {ipv4_dst:10.0.0.9}",
        "NX_UNKNOWN: {subtype: 14, data: AA7/+AcAAAA=}",
        "OUTPUT:2",
        "GOTO_TABLE:3",
    ]


@pytest.mark.parametrize("number", ["٣", "1_0", " 1", "+1", "0b1", "1\n", "1" * 30])
@pytest.mark.parametrize(
    ("path", "field"), [("flow/{}", "dpid"), ("group/1/{}", "group"), ("queuedesc/{}", "dpid")]
)
def test_a_number_in_a_path_is_decimal_or_hexadecimal(path: str, field: str, number: str) -> None:
    said = problem(call("GET", f"/stats/{path.format(quote(number))}"), 400)
    assert said["field"] == field and said["remedy"]
    assert call("GET", f"/stats/{path.format('0x1')}").status_code != 400


def test_one_group_or_switch_is_asked_for_in_the_path_alone() -> None:
    assert len(call("GET", "/stats/groupdesc/1?group=7").json()["1"]) == 1
    assert call("GET", "/stats/groupdesc/1/7").json() == {"1": []}
    assert len(call("GET", "/v1.0/topology/switches?dpid=0000000000000001").json()) == 3
    assert len(call("GET", "/v1.0/topology/switches/0000000000000001").json()) == 1


@pytest.mark.parametrize("path", ["flowentry/modify", "groupentry/add", "meterentry/add", "portdesc/modify"])
def test_a_change_is_answered_without_a_body_as_described(path: str) -> None:
    answer = call("POST", f"/stats/{path}", json={"dpid": 1, "port_no": 1, "meter_id": 1, "group_id": 1})
    assert (answer.status_code, answer.content) == (200, b"")
    assert "content" not in api.openapi()["paths"][f"/stats/{path}"]["post"]["responses"]["200"]
