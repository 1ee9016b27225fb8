"""The policy over REST: read, dry, refused by name, versioned; and why a packet arrives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.test_rest_fake import (
    MACS,
    Caller,
    FakeController,
    api_of,
    caller_as,
    fabric,
    problem,
    red_and_blue,
)

WANTED: dict[str, Any] = {"source": "h1", "destination": "h2", "bandwidth_mbps": 4.0}

BLUE = {"vnet": "blue"}

WEB: dict[str, Any] = {
    "groups": {"web": [{"host": "h1"}]},
    "rules": [
        {"name": "no ssh", "protocol": "tcp", "ports": [22], "action": "deny"},
        {"name": "to blue", "from": "web", "to": BLUE, "protocol": "udp", "ports": 53, "action": "allow"},
    ],
    "cases": [{"from": "h1", "to": "h2", "protocol": "tcp", "port": 22, "expect": "deny"}],
}  # fmt: skip


@pytest.fixture
def controller() -> FakeController:
    return FakeController(fabric(), red_and_blue())


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


def explained(call: Caller, **query: object) -> dict[str, Any]:
    answer = call("GET", "/v1/explain", params=query)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def test_without_a_policy_there_is_version_0_and_the_defaults_hold(call: Caller) -> None:
    assert call("GET", "/v1/policy").json() == {"version": 0, "created": None, "document": {}}
    assert call("GET", "/v1/policy/versions").json() == []
    found = explained(call, src="h1", dst="h2", proto="tcp", port=22)
    assert (found["allowed"], found["arrives"], found["by_default"]) == (True, True, True)
    assert [hop["dpid"][-1] for hop in found["path"]] == ["1", "2", "3"]


def test_a_dry_run_says_what_changes_and_changes_nothing(call: Caller) -> None:
    said = call("PUT", "/v1/policy?dry_run=true", json=WEB).json()
    assert (said["version"], said["cases_passed"], said["warnings"]) == (None, 1, [])
    # Answers go back the other way: h4 to h1 is a pair of its own.
    assert {(one["source"], one["destination"]) for one in said["pairs"] if one["change"] == "allowed"} == {
        ("h1", "10.0.0.4"),
        ("10.0.0.4", "h1"),
    }
    assert (said["allowed"], said["denied"], said["changed"]) == (2, 0, 6)
    assert said["rules_added"] > 0
    assert call("GET", "/v1/policy").json()["version"] == 0


def test_a_policy_is_kept_shown_and_replaced(call: Caller) -> None:
    assert call("PUT", "/v1/policy", json=WEB).json()["version"] == 1
    text = b"rules:\n- {name: all quiet, from: any, to: {vnet: red}, action: deny}\n"
    assert (
        call("PUT", "/v1/policy", content=text, headers={"Content-Type": "application/yaml"}).json()["version"]
        == 2
    )
    assert call("GET", "/v1/policy").json()["document"]["rules"][0]["name"] == "all quiet"
    assert call("GET", "/v1/policy?version=1").json()["document"] == WEB
    assert [one["version"] for one in call("GET", "/v1/policy/versions").json()] == [2, 1]
    assert problem(call("GET", "/v1/policy?version=9"), 404)["type"].endswith("unknown-version")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"rules": [{"name": "r", "from": "nobody", "action": "allow"}]}, "there is no group 'nobody'"),
        ({"rules": [{"name": "r", "to": {"vnet": "green"}, "action": "deny"}]}, "no virtual network 'green'"),
        ({**WEB, "cases": [{"from": "h1", "to": "h2", "expect": "deny"}]}, "expected deny, got allow"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_nothing_is_kept(call: Caller, document: object, words: str) -> None:
    said = problem(call("PUT", "/v1/policy", json=document), 422)
    assert words in said["detail"]
    assert said["errors"] and said["remedy"]
    assert call("GET", "/v1/policy").json()["version"] == 0


def test_a_body_that_is_no_document_is_refused_with_the_line(call: Caller) -> None:
    said = problem(call("PUT", "/v1/policy", content=b"a: &x 1\nb: *x"), 400)
    assert said["detail"].startswith("line 1")
    problem(call("PUT", "/v1/policy", content=b"#" * (1 << 19)), 413)


def test_a_stitch_that_goes_is_named_with_the_rule(call: Caller) -> None:
    made = call("POST", "/v1/stitches", json=WANTED).json()
    quiet = {"rules": [{"name": "all quiet", "action": "deny"}]}
    said = call("PUT", "/v1/policy?dry_run=true", json=quiet).json()
    assert said["stitches"] == [{"id": made["id"], "reason": "policy rule 'all quiet' denies it"}]


def test_an_explanation_names_the_rule_the_switch_and_the_way(call: Caller) -> None:
    call("PUT", "/v1/policy", json=WEB)
    ssh = explained(call, src="h1", dst=MACS[1], proto="tcp", port=22)
    assert (ssh["allowed"], ssh["rule"], ssh["decided_at"][-1], ssh["path"]) == (False, "no ssh", "1", [])
    assert "denied by rule 'no ssh'" in ssh["words"]
    reply = explained(call, src="10.0.0.4", dst="h1", proto="udp", src_port=53, port=40000)
    assert (reply["allowed"], reply["reply"], reply["rule"]) == (True, True, "to blue")
    assert not explained(call, src="10.0.0.4", dst="h1", proto="udp", port=53)["allowed"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"src": "h1", "dst": "h2", "proto": "http"}, "proto"),
        ({"src": "h1", "dst": "h2", "port": 22}, "port"),
        ({"src": "h1", "dst": "h2", "at": "2026-03-01T08:00:00"}, "at"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_field(
    call: Caller, query: dict[str, Any], field: str
) -> None:
    assert problem(call("GET", "/v1/explain", params=query), 422)["field"] == field


def test_a_token_with_a_scope_is_explained_its_own_hosts_only(call: Caller) -> None:
    viewer = caller_as(call, "viewer", "red")
    assert explained(viewer, src="h1", dst="h2")["allowed"]
    problem(viewer("GET", "/v1/explain", params={"src": "h1", "dst": "10.0.0.4"}), 404)
    problem(viewer("GET", "/v1/policy"), 403)


def test_a_token_with_a_scope_gives_its_hosts_no_new_labels_and_no_addresses_of_others(call: Caller) -> None:
    operator = caller_as(call, "operator", "red")
    host = {"name": "h1", "mac": MACS[0]}
    for more, field in (({"labels": ["web"]}, "labels"), ({"ips": ["10.0.0.4"]}, "ips")):
        said = problem(operator("PUT", "/v1/vnets/red", json={"hosts": [{**host, **more}]}), 403)
        assert said["field"] == f"hosts[0].{field}"


def test_what_is_declared_of_a_host_comes_back(call: Caller) -> None:
    host = {"name": "h1", "mac": MACS[0], "labels": ["web"], "ips": ["10.0.0.1"], "port": "0000000000000001:1"}
    body = {"hosts": [host], "spoof_guard": "strict"}
    assert call("PUT", "/v1/vnets/red", json=body).status_code == 200
    shown = call("GET", "/v1/vnets/red").json()
    assert (shown["hosts"], shown["spoof_guard"]) == ([host], "strict")
    for wrong in ({"ips": ["224.0.0.1"]}, {"port": "1:1"}, {"labels": ["a b"]}):
        problem(call("PUT", "/v1/vnets/red", json={"hosts": [{**host, **wrong}]}), 422)
