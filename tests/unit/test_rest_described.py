"""The description is the truth: whatever is sent, the answer is one that it tells of, and never a failure."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ryu_apps.rest.access.access import AccessSettings
from ryu_apps.rest.apps import ApiSettings
from stitching.stitch import State, Stitch, VmRequest
from tests.unit.overlay_answer import an_overlay
from tests.unit.test_rest_fake import MACS, NOW_S, TOKEN, Caller, FakeController, api_of, outlook, red_and_blue

ENDLESS = "/v1/events"

API = api_of(FakeController(), ApiSettings(), limits=AccessSettings(rate_per_s=1e6, burst=1e6))
CALL = Caller(API)
DESCRIPTION: dict[str, Any] = CALL("GET", "/v1/openapi.json").json()


class Settling(FakeController):
    """One whose stitches are up by the next question, so that nobody waits for them."""

    def _step(self) -> tuple[Stitch, ...]:
        for stitch in [one for one in self.stitches.values() if one.state is State.ESTABLISHING]:
            self.add(replace(stitch, state=State.UP))
        return super()._step()


def afresh() -> Caller:
    """The one API, with a controller of its own behind it."""
    controller = Settling(vnets=red_and_blue(), outlook=outlook(), overlay=an_overlay())
    controller.add(Stitch(1, VmRequest(MACS[2], MACS[1], 1.0), State.UP, NOW_S, NOW_S))
    API.state.apps = replace(API.state.apps, asking=controller.ask)
    return CALL


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def check(answer: httpx.Response, operation: dict[str, Any]) -> None:
    """Whether the description tells of an answer: its status, its content type, its headers that are promised."""
    assert answer.status_code < 500, answer.text
    described = operation["responses"].get(str(answer.status_code))
    assert described is not None, f"{answer.status_code} is not described: {answer.text}"
    kinds = described.get("content", {})
    if answer.content:
        assert answer.headers["content-type"].split(";")[0] in kinds, answer.headers
    else:
        assert answer.status_code in (204, 304) and not kinds
    if answer.status_code == 201 and answer.request.method == "POST":
        assert "location" in answer.headers


# what is described ---------------------------------------------------------------------------------------


def test_it_is_openapi_3_1() -> None:
    assert DESCRIPTION["openapi"].startswith("3.1.")


@pytest.mark.parametrize(("method", "path", "operation"), list(operations()))
def test_every_operation_says_what_it_needs_and_what_may_go_wrong(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    assert operation["x-needs"]["role"] in ("viewer", "operator", "admin")
    assert f"the role {operation['x-needs']['role']}" in operation["description"]
    assert path.startswith(("/v1/", "/v1.0/topology/", "/stats/"))
    assert {"401", "403", "413", "422", "429", "500", "503"} <= operation["responses"].keys()
    for status, response in operation["responses"].items():
        assert response["description"]
        if status >= "400":
            assert list(response["content"]) == ["application/problem+json"]
    names = {(one["in"], one["name"].lower()) for one in operation.get("parameters", ())}
    assert {name for place, name in names if place == "path"} == set(re.findall(r"{(\w+)}", path))
    changes = operation["x-needs"]["role"] != "viewer" and method != "GET"
    assert (("header", "idempotency-key") in names) is (changes and method == "POST")
    if method == "GET" and operation["responses"]["200"].get("headers", {}).keys() == {"Link"}:
        assert {("query", "limit"), ("query", "cursor")} <= names
    if "412" in operation["responses"]:
        assert ("header", "if-match") in names


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [one for one in operations() if one[1].startswith("/v1/")],
    ids=lambda part: str(part)[:40],
)
def test_a_parameter_that_is_not_described_is_refused_by_its_name(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    described = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
    place = re.sub(r"{\w+}", "1", path)
    for name in {"bogus", "limit", "label"} - described:
        answer = afresh()(method, place, params={name: "1"})
        assert (answer.status_code, answer.json()["field"]) == (422, name), answer.text
        assert all(other in answer.json()["remedy"] for other in described)


def test_every_reference_leads_somewhere() -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    for reference in references(DESCRIPTION):
        found: Any = DESCRIPTION
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


# garbage -------------------------------------------------------------------------------------------------

words = st.sampled_from(
    ["h1", "h2", "red", "green", "up", "1", "0", "-1", "0000000000000001", "0000000000000001:10", MACS[0], "*",
     '"a"', "10.0.0.0/8", "viewer", "admin", "2126-01-01T00:00:00Z", "true", "nan", "9" * 400, "\x00", "%",
     "\ud800"]
)  # fmt: skip
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | words
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
texts = (words | st.text(max_size=12)).map(lambda text: text.encode("utf-8", "replace").decode())
headers = st.dictionaries(
    st.sampled_from(
        ["Idempotency-Key", "If-Match", "If-None-Match", "Content-Type", "Accept", "Last-Event-ID", "X-Request-Id"]
    ),
    texts.map(lambda text: text.encode("utf-8").replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")),
    max_size=4,
)


def shaped(schema: dict[str, Any], depth: int = 3) -> st.SearchStrategy[Any]:
    """Values that look like those of a schema: the right fields, most of them with values that could be right."""
    if "$ref" in schema:
        schema = DESCRIPTION["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if depth == 0:
        return values
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return st.one_of([shaped(choice, depth) for choice in choices])
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) | values
    match schema.get("type"):
        case "object":
            fields = {name: shaped(field, depth - 1) for name, field in schema.get("properties", {}).items()}
            return st.fixed_dictionaries({}, optional=fields) | values
        case "array":
            return st.lists(shaped(schema.get("items", {}), depth - 1), max_size=3) | values
        case "number" | "integer":
            return st.integers(1, 20) | st.floats(0.1, 20) | values
        case _:
            return words | values


def requests(path: str, operation: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Requests for an operation, sensible in some parts and garbage in others."""
    parameters = operation.get("parameters", ())
    in_path = {one["name"]: texts.filter(bool) for one in parameters if one["in"] == "path"}
    query = {one["name"]: st.lists(texts, max_size=2) for one in parameters if one["in"] == "query"}
    content: st.SearchStrategy[bytes] = st.binary(max_size=20)
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        content = shaped(schema).map(lambda value: json.dumps(value).encode()) | content
    return st.fixed_dictionaries(
        {
            "path": st.fixed_dictionaries(in_path).map(
                lambda given: path.format(**{name: quote(text, safe="") for name, text in given.items()})
            ),
            "params": st.fixed_dictionaries({}, optional=query),
            "headers": headers,
            "content": content,
            "declared": st.booleans() | st.just(value=True),
        }
    )


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [one for one in operations() if one[1] != ENDLESS and one[1].startswith("/v1/")],
    ids=lambda part: str(part)[:40],
)
def test_no_request_has_an_answer_that_is_not_described(method: str, path: str, operation: dict[str, Any]) -> None:
    @given(request=requests(path, operation))
    @settings(max_examples=20)
    def sends(request: dict[str, Any]) -> None:
        given_headers = dict(request["headers"])
        if request["declared"]:
            given_headers["Content-Type"] = "application/json"
        content = request["content"] if "requestBody" in operation or not request["declared"] else None
        answer = afresh()(
            method, request["path"], params=request["params"], headers=given_headers, content=content
        )
        # A path that is garbage may lead to another operation, or to none: that is described where it is.
        if request["path"].count("/") == path.count("/") and not request["path"].endswith("/check"):
            check(answer, operation)
        assert answer.status_code < 500

    sends()


@pytest.mark.parametrize("header", ["", "\xff", "x" * 101])
def test_events_refuse_what_is_described(header: str) -> None:
    operation = DESCRIPTION["paths"][ENDLESS]["get"]
    if len(header) > 100:
        check(afresh()("GET", ENDLESS, headers={"Last-Event-ID": header}), operation)
    assert list(operation["responses"]["200"]["content"]) == ["text/event-stream"]


# schemathesis --------------------------------------------------------------------------------------------

if importlib.util.find_spec("schemathesis") is not None:
    schemathesis: Any = importlib.import_module("schemathesis")
    checks: Any = importlib.import_module("schemathesis.checks")
    checks.load_all_checks()
    AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}
    WANTED = {
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    }
    CHECKS = [check for check in checks.CHECKS.get_all() if check.__name__ in WANTED]
    assert len(CHECKS) == len(WANTED)
    afresh()
    served = schemathesis.openapi.from_asgi("/v1/openapi.json", API, headers=AUTHORISED)

    def finds_no_fault(case: Any) -> None:
        afresh()
        case.call_and_validate(headers=AUTHORISED, checks=CHECKS)

    test_schemathesis_finds_no_fault = served.exclude(path=ENDLESS).parametrize()(
        settings(max_examples=10)(finds_no_fault)
    )
