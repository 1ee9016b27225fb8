"""ETags: the same until something changes, and nobody overwrites what they have not seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ryu_apps.events import Rates
from stitching.stitch import State
from tests.unit.test_rest_fake import NOW_S, Caller, FakeController, api_of, problem, red_and_blue

WANTED: dict[str, Any] = {"source": "h1", "destination": "h2", "bandwidth_mbps": 4.0}


@pytest.fixture
def controller() -> FakeController:
    return FakeController(vnets=red_and_blue(), rates=Rates(NOW_S, 1.0, stitch_mbps={1: 0.75}))


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


def tag(call: Caller, path: str) -> str:
    found: str = call("GET", path).headers["etag"]
    assert found.startswith('"') and found.endswith('"'), "a strong one"
    return found


@pytest.mark.parametrize("path", ["/v1/vnets/red", "/v1/stitches/1"])
def test_who_has_it_already_is_not_sent_it_again(call: Caller, path: str) -> None:
    call("POST", "/v1/stitches", json=WANTED)
    known = tag(call, path)
    for header in (known, f"W/{known}", f'"other", {known}', "*"):
        answer = call("GET", path, headers={"If-None-Match": header})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", known)
    assert call("GET", path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_tag_of_a_change_is_that_of_the_next_get(call: Caller) -> None:
    made = call("POST", "/v1/vnets", json={"name": "green"})
    assert made.headers["etag"] == tag(call, "/v1/vnets/green")
    put = call("PUT", "/v1/vnets/green", json={"subnets": ["10.9.0.0/16"]})
    assert put.headers["etag"] == tag(call, "/v1/vnets/green") != made.headers["etag"]


def test_a_change_of_what_has_changed_since_is_refused(call: Caller, controller: FakeController) -> None:
    seen = tag(call, "/v1/vnets/red")
    assert call("PUT", "/v1/vnets/red", json={}, headers={"If-Match": seen}).status_code == 200
    for method, body in (("PUT", {"subnets": ["10.9.0.0/16"]}), ("DELETE", None)):
        said = problem(call(method, "/v1/vnets/red", json=body, headers={"If-Match": seen}), 412)
        assert said["field"] == "If-Match" and "GET it again" in said["remedy"]
    assert controller.vnets["red"].subnets == ()
    now = tag(call, "/v1/vnets/red")
    assert call("DELETE", "/v1/vnets/red", headers={"If-Match": f'"other", {now}'}).status_code == 204


def test_there_may_be_none_to_make_and_one_to_replace(call: Caller) -> None:
    assert call("PUT", "/v1/vnets/green", json={}, headers={"If-None-Match": "*"}).status_code == 201
    problem(call("PUT", "/v1/vnets/green", json={}, headers={"If-None-Match": "*"}), 412)
    assert call("PUT", "/v1/vnets/green", json={}, headers={"If-Match": "*"}).status_code == 200
    problem(call("PUT", "/v1/vnets/black", json={}, headers={"If-Match": "*"}), 412)
    problem(call("PUT", "/v1/vnets/black", json={}, headers={"If-Match": '"x"'}), 412)


def test_a_measurement_is_news_to_a_reader_and_no_obstacle_to_a_change(
    call: Caller, controller: FakeController
) -> None:
    call("POST", "/v1/stitches", json=WANTED)
    seen = tag(call, "/v1/stitches/1")
    controller.rates = Rates(NOW_S, 1.0, stitch_mbps={1: 2.0})
    assert call("GET", "/v1/stitches/1", headers={"If-None-Match": seen}).status_code == 200
    assert tag(call, "/v1/stitches/1") != seen
    assert call("DELETE", "/v1/stitches/1", headers={"If-Match": seen}).status_code == 202


def test_a_stitch_in_another_state_is_another(call: Caller, controller: FakeController) -> None:
    call("POST", "/v1/stitches", json=WANTED)
    seen = tag(call, "/v1/stitches/1")
    controller.stitches[1] = replace(controller.stitches[1], state=State.UP)
    problem(call("DELETE", "/v1/stitches/1", headers={"If-Match": seen}), 412)
    assert controller.stitches[1].state is State.UP


def test_a_weak_tag_is_good_for_reading_alone(call: Caller) -> None:
    seen = tag(call, "/v1/vnets/red")
    problem(call("DELETE", "/v1/vnets/red", headers={"If-Match": f"W/{seen}"}), 412)


@pytest.mark.parametrize("header", ["red", '"a" "b"', "", ",", '"a', "W/*", "x" * 2001])
@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
def test_what_is_no_list_of_tags_is_a_problem(call: Caller, name: str, header: str) -> None:
    said = problem(call("DELETE", "/v1/vnets/red", headers={name: header}), 422)
    assert said["field"].lower() == name.lower()
