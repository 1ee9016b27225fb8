"""PATCH on a stitch: what is left out stays, what is refused says why, nobody overwrites what they did not see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ryu_apps.events import ChangeStitch, StitchChanged
from stitching.stitch import State
from tests.unit.test_rest_fake import Caller, FakeController, api_of, caller_as, problem, red_and_blue

WANTED: dict[str, Any] = {
    "source": "h1", "destination": "h2", "bandwidth_mbps": 4.0, "max_latency_ms": 80.0, "labels": {"team": "a"},
}  # fmt: skip
CAP: dict[str, Any] = {"kind": "bandwidth", "source": "red", "destination": "red", "cap_mbps": 3.0}


@pytest.fixture
def controller() -> FakeController:
    return FakeController(vnets=red_and_blue())


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


def made(call: Caller, controller: FakeController, body: dict[str, Any] = WANTED) -> dict[str, Any]:
    answer = call("POST", "/v1/stitches", json=body)
    assert answer.status_code == 201, answer.text
    number = answer.json()["id"]
    controller.add(replace(controller.stitches[number], state=State.UP))
    found: dict[str, Any] = call("GET", f"/v1/stitches/{number}").json()
    return found


def test_what_is_named_changes_and_all_else_stays(call: Caller, controller: FakeController) -> None:
    before = made(call, controller)
    terms = {"bandwidth_mbps": 6.0, "max_latency_ms": None, "priority": 7, "weekly": {
        "days": ["mon"], "start": "08:00", "end": "18:00"}}  # fmt: skip
    answer = call("PATCH", "/v1/stitches/1", json=terms)
    assert answer.status_code == 200, answer.text
    weekly = {"days": ["mon"], "start": "08:00", "end": "18:00", "zone": "UTC"}
    assert answer.json() == {**before, **terms, "weekly": weekly}
    assert call("GET", "/v1/stitches/1").json() == answer.json()
    assert call("PATCH", "/v1/stitches/1", json={"labels": {}, "weekly": None}).json()["labels"] == {}


@pytest.mark.parametrize(
    ("body", "terms", "field", "words"),
    [
        (WANTED, {}, "body", "at least one term"),
        (WANTED, {"source": "h3"}, "source", "extra"),
        (WANTED, {"bandwidth_mbps": None}, "bandwidth_mbps", "number"),
        (WANTED, {"cap_mbps": 5.0}, "cap_mbps", "a stitch of kind vm has no cap_mbps"),
        (
            WANTED,
            {"valid_from": "2027-01-01T00:00Z", "valid_until": "2026-12-01T00:00Z"},
            "valid_until",
            "not after",
        ),
        (CAP, {"bandwidth_mbps": 5.0}, "bandwidth_mbps", "kind bandwidth has no"),
        (CAP, {"cap_mbps": None}, "cap_mbps", "neither guarantee nor cap"),
        (CAP, {"guarantee_mbps": 5.0}, "guarantee_mbps", "above cap_mbps"),
        (CAP, {"follow_forecast": True}, "follow_forecast", "no guarantee"),
    ],
)
def test_what_makes_no_sense_is_named(
    call: Caller, controller: FakeController, body: dict[str, Any], terms: dict[str, Any], field: str, words: str
) -> None:
    before = made(call, controller, body)
    said = problem(call("PATCH", "/v1/stitches/1", json=terms), 422)
    assert said["field"] == field and words in said["detail"].lower()
    assert call("GET", "/v1/stitches/1").json() == before


def test_what_cannot_be_had_says_why_and_leaves_it_as_it_was(call: Caller, controller: FakeController) -> None:
    before = made(call, controller)
    said = problem(call("PATCH", "/v1/stitches/1", json={"bandwidth_mbps": 400.0}), 409)
    assert (said["field"], said["type"].rpartition(":")[2]) == ("bandwidth_mbps", "not-possible")
    assert call("GET", "/v1/stitches/1").json() == before


def test_only_what_was_seen_is_changed(call: Caller, controller: FakeController) -> None:
    made(call, controller)
    tag = call("GET", "/v1/stitches/1").headers["etag"]
    assert call("PATCH", "/v1/stitches/1", json={"priority": 1}, headers={"If-Match": tag}).status_code == 200
    problem(call("PATCH", "/v1/stitches/1", json={"priority": 2}, headers={"If-Match": tag}), 412)
    assert call("GET", "/v1/stitches/1").json()["priority"] == 1


def test_two_who_change_it_at_once_both_do(call: Caller, controller: FakeController) -> None:
    made(call, controller)
    real, faster = controller._change, iter([True])

    def change(asked: ChangeStitch) -> Any:
        if next(faster, False):
            stitch = controller.stitches[1]
            controller.add(replace(stitch, request=replace(stitch.request, priority=6)))
            raise StitchChanged("somebody was faster")
        return real(asked)

    controller._answers[ChangeStitch] = change
    answer = call("PATCH", "/v1/stitches/1", json={"bandwidth_mbps": 2.0}).json()
    assert (answer["bandwidth_mbps"], answer["priority"]) == (2.0, 6)


@pytest.mark.parametrize(("origin", "words"), [("intent", "PUT /v1/intents/video"), ("trigger", "of your own")])
def test_what_others_keep_as_it_is_is_not_changed_behind_them(
    call: Caller, controller: FakeController, origin: str, words: str
) -> None:
    made(call, controller)
    stitch = controller.stitches[1]
    labels = (("intent", "video"), ("part", "x"))
    controller.add(replace(stitch, request=replace(stitch.request, origin=origin, labels=labels)))
    said = problem(call("PATCH", "/v1/stitches/1", json={"priority": 1}), 409)
    assert said["type"].endswith(":not-yours") and words in said["remedy"]


@pytest.mark.parametrize("state", [State.TERMINATING, State.TERMINATED, State.ADJUSTING])
def test_one_that_goes_is_not_changed(call: Caller, controller: FakeController, state: State) -> None:
    made(call, controller)
    controller.add(replace(controller.stitches[1], state=state))
    assert problem(call("PATCH", "/v1/stitches/1", json={"priority": 1}), 409)["type"].endswith(":wrong-state")


def test_the_answer_waits_until_it_is_up_on_its_new_terms(call: Caller, controller: FakeController) -> None:
    made(call, controller)
    controller.add(replace(controller.stitches[1], state=State.UP))
    real = controller._change

    def moves(asked: ChangeStitch) -> Any:
        controller.after_create = [State.ADJUSTING, State.ADJUSTING, State.UP, State.UP]
        return controller.add(replace(real(asked), state=State.ADJUSTING))

    controller._answers[ChangeStitch] = moves
    answer = call("PATCH", "/v1/stitches/1?wait=up", json={"bandwidth_mbps": 5.0})
    assert (answer.status_code, answer.json()["state"]) == (200, "up")


def test_one_that_goes_back_to_the_terms_it_had_is_a_problem(call: Caller, controller: FakeController) -> None:
    made(call, controller)

    def goes_back(asked: ChangeStitch) -> Any:
        return replace(controller.stitches[asked.stitch_id], reason="a switch refused a rule")

    controller._answers[ChangeStitch] = goes_back
    said = problem(call("PATCH", "/v1/stitches/1?wait=up", json={"protection": "link"}), 409)
    assert said["detail"] == "stitch 1 went back to the terms it had: a switch refused a rule"


def test_a_scope_changes_its_own(call: Caller, controller: FakeController) -> None:
    made(call, controller)
    assert caller_as(call, "operator", "red")("PATCH", "/v1/stitches/1", json={"priority": 1}).status_code == 200
    problem(caller_as(call, "operator", "blue")("PATCH", "/v1/stitches/1", json={"priority": 1}), 404)
    problem(caller_as(call, "viewer")("PATCH", "/v1/stitches/1", json={"priority": 1}), 403)


def test_the_audit_has_what_it_was_and_what_it_is(call: Caller, controller: FakeController) -> None:
    made(call, controller)
    call("PATCH", "/v1/stitches/1", json={"priority": 6})
    newest = call("GET", "/v1/audit?limit=1").json()[0]
    assert (newest["method"], newest["resource"]) == ("PATCH", "/v1/stitches/1")
    assert (newest["before"]["priority"], newest["after"]["priority"]) == (3, 6)
