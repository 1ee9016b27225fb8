"""A token asks for no greater priority than it was granted: nobody displaces what is not theirs unasked."""

from __future__ import annotations

from typing import Any

import pytest

from ryu_apps.store import AccessStore
from ryu_apps.store.access import TokenRecord
from ryu_apps.store.codec import load
from stitching.stitch import State
from tests.unit.test_rest_fake import Caller, FakeController, api_of, caller_as, problem, red_and_blue

WANTED: dict[str, Any] = {"source": "h1", "destination": "h2", "bandwidth_mbps": 1.0}
VIDEO = {"name": "video", "latency": {"between": ["h1", "h2"], "bandwidth": "2 Mbit/s"}}


@pytest.fixture
def controller() -> FakeController:
    return FakeController(vnets=red_and_blue())


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


def granted(call: Caller, most: int, role: str = "operator") -> Caller:
    body = {"name": "one", "role": role, "max_priority": most}
    return Caller(call.api, call("POST", "/v1/tokens", json=body).json()["token"])


@pytest.mark.parametrize("path", ["/v1/stitches", "/v1/stitches/check"])
@pytest.mark.parametrize("scope", [None, ["red"]])
def test_by_default_a_token_displaces_nobody_who_asked_for_no_priority(
    call: Caller, controller: FakeController, path: str, scope: list[str] | None
) -> None:
    operator = caller_as(call, "operator", *(scope or ()))
    said = problem(operator("POST", path, json={**WANTED, "priority": 4}), 403)
    assert said["detail"].startswith("priority 4 is above 3, the greatest of the token")
    assert said["field"] == "priority" and "--max-priority 4" in said["remedy"]
    assert not controller.stitches
    assert operator("POST", path, json={**WANTED, "priority": 3}).is_success
    assert call("POST", "/v1/stitches/check", json={**WANTED, "priority": 7}).is_success, "an admin may"


def test_of_many_at_once_those_above_it_are_refused(call: Caller) -> None:
    asked = [{**WANTED, "priority": 7}, WANTED]
    items = caller_as(call, "operator")("POST", "/v1/stitches/batch", json={"stitches": asked}).json()["items"]
    assert items[0]["problem"]["status"] == 403 and items[1]["stitch"] is not None


def test_what_was_granted_may_be_asked_for_and_no_more(call: Caller) -> None:
    token = granted(call, 5)
    assert token("POST", "/v1/stitches", json={**WANTED, "priority": 5}).status_code == 201
    problem(token("POST", "/v1/stitches", json={**WANTED, "destination": "h3", "priority": 6}), 403)


def test_a_stitch_is_neither_put_above_it_nor_given_more_there(call: Caller, controller: FakeController) -> None:
    call("POST", "/v1/stitches", json={**WANTED, "priority": 6})
    controller.add(controller.stitches[1].to(State.UP, 1.0))
    operator = caller_as(call, "operator")
    problem(operator("PATCH", "/v1/stitches/1", json={"bandwidth_mbps": 9.0}), 403)
    assert operator("PATCH", "/v1/stitches/1", json={"priority": 2}).status_code == 200
    assert operator("PATCH", "/v1/stitches/1", json={"bandwidth_mbps": 2.0}).status_code == 200
    assert "above 3" in problem(operator("PATCH", "/v1/stitches/1", json={"priority": 5}), 403)["detail"]
    assert operator("DELETE", "/v1/stitches/1").is_success


def test_an_intent_makes_no_stitch_above_it(call: Caller, controller: FakeController) -> None:
    humble = granted(call, 2)
    for method, path in (("PUT", "/v1/intents"), ("POST", "/v1/intents/plan")):
        said = problem(humble(method, path, json={"intents": [VIDEO]}), 403)
        assert "'video' asks for a stitch of priority 3" in said["detail"] and "is 2" in said["detail"]
        assert "--max-priority 3" in said["remedy"]
    nobody = {"name": "later", "latency": {"between": ["h1", "nobody"], "bandwidth": "2 Mbit/s"}}
    assert humble("PUT", "/v1/intents/later", json=nobody).status_code in (403, 422)
    assert not controller.stitches
    assert caller_as(call, "operator")("PUT", "/v1/intents", json={"intents": [VIDEO]}).is_success
    assert humble("DELETE", "/v1/intents/video").is_success, "to want less is always allowed"


def test_an_admin_has_no_bound_and_is_given_none(call: Caller) -> None:
    assert call("POST", "/v1/tokens", json={"name": "root", "role": "admin"}).json()["max_priority"] == 7
    said = problem(call("POST", "/v1/tokens", json={"name": "root", "role": "admin", "max_priority": 3}), 422)
    assert "leave max_priority out" in said["detail"]
    problem(call("POST", "/v1/tokens", json={"name": "x", "role": "operator", "max_priority": 8}), 422)


def test_a_token_from_before_there_was_a_bound_has_the_default() -> None:
    text = (
        '{"id":"0a0b0c0d","name":"a","role":"operator","scope":null,"digest":"","created_s":1.0,"expires_s":null}'
    )
    record = load(TokenRecord, text)
    assert record.max_priority == 3
    store = AccessStore.in_memory()
    store.save_token(record)
    assert store.tokens() == ((record, None),)
