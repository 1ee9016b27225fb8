"""The API: whatever is wrong, the answer is a problem that names the field and the remedy."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ryu_apps.rest.api import create_api
from tests.unit.test_rest_fake import MACS, TOKEN, Caller, FakeController, api_of, outlook, problem, red_and_blue

WANTED: dict[str, Any] = {"source": "h1", "destination": "h2", "bandwidth_mbps": 4.0}
ONE = "0000000000000001"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def controller() -> FakeController:
    return FakeController(vnets=red_and_blue(), outlook=outlook())


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


# the token -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given_header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \xe9\xff",
        "\xff",
    ],
)
@pytest.mark.parametrize("path", ["/v1/health", "/v1/openapi.json", "/v1/stitches", "/nowhere", "/docs"])
def test_nothing_is_told_without_the_token(
    call: Caller, controller: FakeController, path: str, given_header: str
) -> None:
    answer = call("GET", path, headers={"Authorization": given_header.encode("latin-1")})
    content = problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith('Bearer realm="lockstitch"')
    assert "token" in content["remedy"]
    assert controller.asked == []


def test_the_scheme_is_read_in_any_case(call: Caller) -> None:
    assert call("GET", "/v1/hosts", headers={"Authorization": f"bearer  {TOKEN}"}).status_code == 200


def test_there_is_no_api_with_an_empty_token(controller: FakeController) -> None:
    with pytest.raises(ValueError, match="empty token"):
        create_api(controller.ask, token="")


# paths and methods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/v1/hosts/", "/docs", "/redoc", "/openapi.json", "/v1/%ff"]
)
def test_an_unknown_path_is_a_problem(call: Caller, path: str) -> None:
    assert "openapi" in problem(call("GET", path), 404)["remedy"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/stitches/1", "DELETE, GET, PATCH"),
        ("PUT", "/v1/stitches", "GET, POST"),
        ("POST", "/v1/vnets/red", "DELETE, GET, PUT"),
        ("GET", "/v1/stitches/check/x", None),
    ],
)
def test_a_method_that_is_not_there_names_those_that_are(
    call: Caller, method: str, path: str, allowed: str | None
) -> None:
    answer = call(method, path)
    problem(answer, 405 if allowed else 404)
    assert answer.headers.get("allow") == allowed


def test_head_is_told_what_there_is(call: Caller) -> None:
    answer = call("HEAD", "/v1/hosts")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


# bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b'{"source":', b"nothing", b'"\xff"', b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000, b"{'a': 1}"]
)
def test_malformed_json_is_a_problem(call: Caller, body: bytes) -> None:
    content = problem(call("POST", "/v1/stitches", content=body, headers=JSON), 400)
    assert content["field"] == "body"


def test_a_body_that_is_not_declared_as_json_is_a_problem(call: Caller) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}  # what `curl -d` sends
    answer = call("POST", "/v1/stitches", content=json.dumps(WANTED), headers=headers)
    assert "application/json" in problem(answer, 415)["remedy"]


def test_a_body_that_is_too_large_is_a_problem(call: Caller, controller: FakeController) -> None:
    problem(call("POST", "/v1/stitches", content=b" " * ((1 << 20) + 1), headers=JSON), 413)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * (1 << 16)

    # Sent in chunks, no length is declared: it is counted.
    assert "1048576" in problem(call("POST", "/v1/stitches", content=pieces(), headers=JSON), 413)["detail"]
    assert controller.asked == []


@pytest.mark.parametrize("length", ["-1", "abc", "9" * 5000])
def test_a_length_that_is_none_is_a_problem(call: Caller, length: str) -> None:
    problem(call("POST", "/v1/stitches", content=b"{}", headers={**JSON, "Content-Length": length}), 413)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"bandwidth_mbps": 0}, "bandwidth_mbps"),
        ({"bandwidth_mbps": -1.0}, "bandwidth_mbps"),
        ({"bandwidth_mbps": "10"}, "bandwidth_mbps"),
        ({"bandwidth_mbps": True}, "bandwidth_mbps"),
        ({"bandwidth_mbps": None}, "bandwidth_mbps"),
        ({"bandwidth_mbps": 1e-9}, "bandwidth_mbps"),
        ({"bandwidth_mbps": 1e300}, "bandwidth_mbps"),
        ({"bandwidth_mbps": 10**400}, "bandwidth_mbps"),
        ({"bandwidth_mbps": float("nan")}, "bandwidth_mbps"),
        ({"bandwidth_mbps": float("inf")}, "bandwidth_mbps"),
        ({"max_latency_ms": 0}, "max_latency_ms"),
        ({"max_latency_ms": -5}, "max_latency_ms"),
        ({"max_latency_ms": float("-inf")}, "max_latency_ms"),
        ({"source": ""}, "source"),
        ({"source": 7}, "source"),
        ({"source": "h" * 101}, "source"),
        ({"source": "\ud800"}, "source"),
        ({"bandwith_mbps": 4}, "bandwith_mbps"),
        ({"\ud800": 4}, "body"),
        ({"x" * 10_000: 4}, "x" * 100),
    ],
)
@pytest.mark.parametrize("path", ["/v1/stitches", "/v1/stitches/check"])
def test_a_field_that_is_wrong_is_named(call: Caller, path: str, change: dict[str, Any], field: str) -> None:
    body = json.dumps({**WANTED, **change})
    content = problem(call("POST", path, content=body, headers=JSON), 422)
    assert content["field"] == field
    assert content["errors"][0]["field"] == field
    assert field in content["detail"]
    assert content["remedy"]


def test_every_missing_field_is_named(call: Caller) -> None:
    content = problem(call("POST", "/v1/stitches", json={}), 422)
    assert [error["field"] for error in content["errors"]] == ["source", "destination", "bandwidth_mbps"]


def test_only_so_many_errors_are_listed(call: Caller) -> None:
    content = problem(call("PUT", "/v1/links/capacities", json=[{}] * 100), 422)
    assert len(content["errors"]) == 20
    assert "280 more" in content["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([{"dpid": "1", "port": 1, "capacity_mbps": 1}], "[0].dpid"),
        ([{"dpid": ONE, "port": 0, "capacity_mbps": 1}], "[0].port"),
        ([{"dpid": ONE, "port": 1.5, "capacity_mbps": 1}], "[0].port"),
        ([{"dpid": ONE, "port": 1, "capacity_mbps": -1}], "[0].capacity_mbps"),
        ([{"dpid": ONE, "port": 1, "capacity_mbps": 1}] * 2, "port"),
        ({}, "body"),
    ],
)
def test_capacities_that_are_wrong_change_nothing(
    call: Caller, controller: FakeController, body: Any, field: str
) -> None:
    assert problem(call("PUT", "/v1/links/capacities", json=body), 422)["field"] == field
    assert controller.asked == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "x" * 64}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "green\n"}, "name"),
        ({"subnets": ["10.0.0.1/8"]}, "subnets[0]"),
        ({"subnets": ["everything"]}, "subnets[0]"),
        ({"subnets": "10.0.0.0/8"}, "subnets"),
        ({"subnets": ["10.0.0.0/8", "10.0.0.0/255.0.0.0"]}, "body"),
        ({"hosts": [{"name": "g1"}]}, "hosts[0].mac"),
        ({"hosts": [{"name": "g1", "mac": "02:00"}]}, "hosts[0].mac"),
        ({"hosts": [{"name": "g1", "mac": "ff:ff:ff:ff:ff:ff"}]}, "hosts[0].mac"),
        ({"hosts": [{"name": "10.0.0.1", "mac": MACS[3]}]}, "hosts[0].name"),
        ({"hosts": [{"name": "g 1", "mac": MACS[3]}]}, "hosts[0].name"),
        ({"hosts": [{"name": "g1", "mac": MACS[3]}, {"name": "G1", "mac": "02:00:00:00:00:99"}]}, "body"),
    ],
)
def test_a_virtual_network_that_is_wrong_is_not_made(
    call: Caller, controller: FakeController, change: dict[str, Any], field: str
) -> None:
    assert problem(call("POST", "/v1/vnets", json={"name": "green", **change}), 422)["field"] == field
    assert "green" not in controller.vnets


def test_a_name_that_is_taken_or_reserved_is_a_problem(call: Caller) -> None:
    assert "PUT" in problem(call("POST", "/v1/vnets", json={"name": "red"}), 409)["remedy"]
    for method, path, body in (
        ("POST", "/v1/vnets", {"name": "default"}),
        ("PUT", "/v1/vnets/default", {}),
        ("DELETE", "/v1/vnets/default", None),
    ):
        assert problem(call(method, path, json=body), 409)["field"] == "name"
    assert problem(call("PUT", "/v1/vnets/red", json={"name": "blue"}), 422)["field"] == "name"


@pytest.mark.parametrize(
    ("body", "item"),
    [
        ({"hosts": [{"name": "other", "mac": MACS[0]}]}, MACS[0]),
        ({"hosts": [{"name": "H1", "mac": MACS[3]}]}, "h1"),
        ({"subnets": ["10.0.0.4/32"]}, "10.0.0.4/32"),
    ],
)
def test_an_overlap_names_the_other_network(
    call: Caller, controller: FakeController, body: Any, item: str
) -> None:
    content = problem(call("PUT", "/v1/vnets/green", json=body), 409)
    assert item in content["detail"]
    assert "red" in content["detail"] or "blue" in content["detail"]
    assert "green" not in controller.vnets


# stitches that cannot be ---------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["source", "destination"])
@pytest.mark.parametrize("path", ["/v1/stitches", "/v1/stitches/check"])
def test_an_unknown_host_is_named(call: Caller, path: str, field: str) -> None:
    content = problem(call("POST", path, json={**WANTED, field: "h99"}), 404)
    assert content["field"] == field
    assert "h99" in content["detail"]
    assert "/v1/hosts" in content["remedy"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"bandwidth_mbps": 11}, "bandwidth_mbps"),
        ({"max_latency_ms": 0.5}, "max_latency_ms"),
        ({"destination": "h1"}, "destination"),
        ({"destination": "10.0.0.4"}, "destination"),
    ],
)
def test_a_stitch_that_cannot_be_had_says_why(
    call: Caller, controller: FakeController, change: dict[str, Any], field: str
) -> None:
    content = problem(call("POST", "/v1/stitches", json={**WANTED, **change}), 409)
    assert content["field"] == field
    assert content["detail"]
    assert content["remedy"]
    assert controller.stitches == {}


def test_a_duplicate_stitch_is_a_problem(call: Caller) -> None:
    assert call("POST", "/v1/stitches", json=WANTED).status_code == 201
    assert "stitch 1" in problem(call("POST", "/v1/stitches", json=WANTED), 409)["detail"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    ("number", "status"), [("7", 404), ("0", 422), ("-1", 422), ("x", 422), ("9" * 5000, 422)]
)
def test_a_stitch_that_is_not_there_is_a_problem(call: Caller, method: str, number: str, status: int) -> None:
    assert problem(call(method, f"/v1/stitches/{number}"), status)["field"] == "stitch_id"


def test_a_stitch_that_vanishes_while_it_is_deleted_is_a_problem(call: Caller, controller: FakeController) -> None:
    call("POST", "/v1/stitches", json=WANTED)
    vanishing, answer_of = controller.stitches, controller.ask

    def ask(name: str, request: Any, timeout_s: float, /) -> Any:
        answer = answer_of(name, request, timeout_s)
        vanishing.clear()
        return answer

    problem(Caller(create_api(ask, token=TOKEN))("DELETE", "/v1/stitches/1"), 404)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("stitches?state=sideways", "state[0]"),
        ("forecasts?link=1", "link"),
        ("forecasts?threshold_share=0", "threshold_share"),
        ("forecasts?threshold_share=nan", "threshold_share"),
        ("forecasts?threshold_share=inf", "threshold_share"),
    ],
)
def test_a_query_that_is_wrong_is_named(call: Caller, query: str, field: str) -> None:
    assert problem(call("GET", f"/v1/{query}"), 422)["field"] == field


@pytest.mark.parametrize("wait_s", ["31", "-1", "nan", "soon"])
def test_nobody_waits_for_ever(call: Caller, controller: FakeController, wait_s: str) -> None:
    assert problem(call("POST", f"/v1/stitches?wait_s={wait_s}", json=WANTED), 422)["field"] == "wait_s"
    assert controller.stitches == {}


# apps that fail ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [TimeoutError(), LookupError("no app 'Discovery' is running")])
def test_an_app_that_does_not_answer_is_a_problem(
    call: Caller, controller: FakeController, error: Exception
) -> None:
    controller.broken["Discovery"] = error
    content = problem(call("GET", "/v1/topology"), 503)
    assert "Discovery" in content["detail"]
    assert "/v1/health" in content["remedy"] or "log" in content["remedy"]


@pytest.mark.parametrize("error", [KeyError("secret"), RuntimeError("secret"), ZeroDivisionError("secret")])
def test_a_fault_inside_is_logged_under_the_id_that_the_caller_gets(
    call: Caller, controller: FakeController, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    controller.broken["Discovery"] = error
    with caplog.at_level(logging.DEBUG):
        answer = call("GET", "/v1/topology")
    content = problem(answer, 500)
    assert "secret" not in answer.text
    assert content["error_id"] in content["remedy"]
    (record,) = [record for record in caplog.records if record.name == "lockstitch.rest"]
    assert content["error_id"] in record.getMessage()
    assert record.exc_info is not None
    assert TOKEN not in caplog.text


# anything at all -----------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["h1", "h2", ONE]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    [
        "source",
        "destination",
        "bandwidth_mbps",
        "max_latency_ms",
        "name",
        "hosts",
        "subnets",
        "dpid",
        "port",
        "mac",
    ]
)
bodies = st.one_of(
    st.dictionaries(names, values, max_size=6).map(json.dumps),
    st.lists(st.dictionaries(names, values, max_size=4), max_size=3).map(json.dumps),
    values.map(json.dumps),
).map(str.encode) | st.binary(max_size=60)
routes = st.sampled_from(
    [
        ("POST", "/v1/stitches"),
        ("POST", "/v1/stitches/check"),
        ("POST", "/v1/vnets"),
        ("PUT", "/v1/vnets/green"),
        ("PUT", "/v1/links/capacities"),
    ]
)


def call_afresh(method: str, path: str, **kwargs: Any) -> httpx.Response:
    """Call the one API of the tests below, with a controller of its own for each call."""
    controller = FakeController(vnets=red_and_blue(), outlook=outlook())
    CALL.api.state.apps = replace(CALL.api.state.apps, asking=controller.ask)
    return CALL(method, path, **kwargs)


CALL = Caller(api_of(FakeController()))


@given(route=routes, body=bodies)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_body_is_more_than_a_problem(route: tuple[str, str], body: bytes) -> None:
    answer = call_afresh(*route, content=body, headers=JSON)
    if answer.status_code >= 400:
        assert answer.status_code < 500
        problem(answer, answer.status_code)


@given(text=st.text(min_size=1, max_size=20), query=st.text(max_size=20))
@settings(max_examples=60, deadline=None)
def test_no_path_is_more_than_a_problem(text: str, query: str) -> None:
    for part in ("stitches", "vnets", "forecasts"):
        answer = call_afresh("GET", f"/v1/{part}/{quote(text, safe='')}", params={"link": query, "state": query})
        problem(answer, 404 if answer.status_code == 404 else 422)
