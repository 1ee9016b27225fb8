"""Intents over REST: planned, applied, versioned, within roles and scope."""

from __future__ import annotations

from typing import Any

import pytest

from stitching.stitch import State
from tests.unit.test_rest_fake import MACS, Caller, FakeController, api_of, caller_as, problem, red_and_blue

Intent = dict[str, Any]

VIDEO: Intent = {"name": "video", "latency": {"between": ["h1", "h2"], "bandwidth": "2 Mbit/s"}}
KEEP: Intent = {"name": "keep", "apart": ["red", "blue"]}
YAML = """
intents:
  - name: video
    latency:
      between: [h1, h2]
      bandwidth: 2 Mbit/s
"""


@pytest.fixture
def controller() -> FakeController:
    return FakeController(vnets=red_and_blue())


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


def put(call: Caller, *intents: Intent, query: str = "", **more: Any) -> Any:
    return call("PUT", f"/v1/intents{query}", json={"intents": list(intents)}, **more)


def names(call: Caller) -> list[str]:
    return [one["name"] for one in call("GET", "/v1/intents").json()["intents"]]


def test_a_plan_says_what_would_change_and_changes_nothing(call: Caller, controller: FakeController) -> None:
    answer = call("POST", "/v1/intents/plan", content=YAML, headers={"Content-Type": "application/yaml"}).json()
    assert (answer["version"], answer["creates"], answer["keeps"]) == (None, 1, 0)
    (step,) = answer["steps"]
    assert step["what"] == "h1 <-> h2, 2 Mbit/s" and step["reason"] == "there is no such stitch yet"
    assert controller.stitches == {} and names(call) == []


def test_what_is_applied_is_there_and_a_plan_of_it_is_empty(call: Caller, controller: FakeController) -> None:
    answer = put(call, VIDEO, KEEP).json()
    assert (answer["version"], answer["creates"], answer["done"]) == (1, 3, True)
    again = call("POST", "/v1/intents/plan", json={"intents": [KEEP, VIDEO]}).json()
    assert (again["creates"], again["changes"], again["deletes"], again["keeps"]) == (0, 0, 0, 3)
    video = call("GET", "/v1/intents/video").json()
    assert (video["state"], video["carriers"][0]["stitch"]) == ("pending", 1)
    (stitch,) = controller.stitches.values()
    controller.add(stitch.to(State.UP, 1.0))
    states = {one["name"]: one["state"] for one in call("GET", "/v1/intents").json()["intents"]}
    assert states == {"keep": "satisfied", "video": "satisfied"}
    assert call("GET", "/v1/intents?state=violated").json()["intents"] == []


def test_a_plan_names_what_could_not_be_had(call: Caller) -> None:
    fat = {"name": "fat", "latency": {"between": ["h1", "h2"], "bandwidth": 12}}
    answer = problem(call("POST", "/v1/intents/plan", json={"intents": [fat]}), 409)
    assert (
        "12 Mbit/s" in answer["detail"] and "10 free" in answer["detail"] and "2 Mbit/s less" in answer["detail"]
    )
    call("POST", "/v1/stitches", json={"source": "h1", "destination": "h2", "bandwidth_mbps": 1})
    (step,) = call("POST", "/v1/intents/plan", json={"intents": [VIDEO]}).json()["steps"]
    assert "joins these hosts already" in step["refused"]


def test_one_intent_is_put_and_taken_out_by_itself(call: Caller, controller: FakeController) -> None:
    put(call, KEEP)
    answer = call("PUT", "/v1/intents/video", json=VIDEO)
    assert answer.json()["creates"] == 1 and names(call) == ["keep", "video"]
    assert call("PUT", "/v1/intents/other", json=VIDEO).status_code == 422
    gone = call("DELETE", "/v1/intents/video").json()
    assert gone["deletes"] == 1 and names(call) == ["keep"]
    problem(call("DELETE", "/v1/intents/video"), 404)
    problem(call("GET", "/v1/intents/video"), 404)
    assert [stitch.state for stitch in controller.stitches.values()] == [State.TERMINATING]


def test_conflicts_and_faults_name_the_intents(call: Caller) -> None:
    answer = problem(put(call, KEEP, {"name": "web", "reach": {"from": "red", "to": "blue"}}), 409)
    assert answer["field"] == "keep and web" and "apart" in answer["detail"]
    answer = problem(put(call, {"name": "x", "latency": {"between": ["h1", "nobody"]}}), 422)
    assert answer["errors"][0]["field"] == "intent 'x': between"
    problem(call("PUT", "/v1/intents", content=b"intents: &a [*a]"), 400)
    problem(call("PUT", "/v1/intents"), 422)
    assert names(call) == []


def test_versions_are_kept_and_an_older_one_may_come_back(call: Caller) -> None:
    put(call, VIDEO)
    put(call, KEEP)
    listed = call("GET", "/v1/intents/versions").json()
    assert [(one["version"], one["intents"], one["settled"]) for one in listed] == [(2, 1, True), (1, 1, True)]
    back = call("PUT", "/v1/intents?version=1").json()
    assert back["version"] == 3 and names(call) == ["video"]
    assert call("GET", "/v1/intents/versions").json()[0]["note"] == "version 1 again"
    problem(call("PUT", "/v1/intents?version=99"), 404)
    problem(call("PUT", "/v1/intents?version=1", json={"intents": []}), 422)


def test_what_is_done_as_a_whole_is_undone_where_a_part_cannot_be_had(
    call: Caller, controller: FakeController
) -> None:
    put(call, KEEP)
    call("POST", "/v1/stitches", json={"source": "h1", "destination": "h3", "bandwidth_mbps": 1})
    taken = {"name": "taken", "latency": {"between": ["h1", "h3"]}}
    answer = problem(put(call, KEEP, VIDEO, taken, query="?atomic=true"), 409)
    assert "'taken' cannot be had" in answer["detail"] and "joins these hosts already" in answer["detail"]
    assert names(call) == ["keep"]
    controller.intender.round()
    ours = [stitch for stitch in controller.stitches.values() if stitch.request.origin == "intent"]
    assert [stitch.state for stitch in ours] == [State.TERMINATING]
    # Without it, the rest stays, and what could not be had is named.
    steps = put(call, KEEP, taken).json()["steps"]
    assert [step["intent"] for step in steps if step["refused"]] == ["taken"]
    assert call("GET", "/v1/intents/taken").json()["state"] == "violated"


def test_nobody_overwrites_what_they_have_not_seen(call: Caller) -> None:
    tag = call("GET", "/v1/intents").headers["etag"]
    assert put(call, VIDEO, headers={"If-Match": tag}).status_code == 200
    problem(put(call, KEEP, headers={"If-Match": tag}), 412)
    assert names(call) == ["video"]


def test_a_viewer_plans_an_operator_stitches_and_an_admin_changes_the_policy(call: Caller) -> None:
    viewer, operator = caller_as(call, "viewer"), caller_as(call, "operator")
    assert viewer("POST", "/v1/intents/plan", json={"intents": [VIDEO]}).status_code == 200
    problem(put(viewer, VIDEO), 403)
    assert put(operator, VIDEO).status_code == 200
    assert "admin" in problem(put(operator, VIDEO, KEEP), 403)["detail"]
    assert put(call, VIDEO, KEEP).status_code == 200
    # What is not changed does not need the right to change it.
    assert put(operator, KEEP).status_code == 200


def test_a_scope_sees_and_replaces_its_own_intents_alone(call: Caller) -> None:
    put(call, KEEP, VIDEO)
    red = caller_as(call, "operator", "red")
    assert names(red) == ["video"]
    problem(red("GET", "/v1/intents/keep"), 404)
    other = {"name": "other", "latency": {"between": ["h1", "h3"]}}
    assert put(red, other).json()["deletes"] == 1
    assert names(call) == ["keep", "other"]
    problem(put(red, {"name": "keep", "latency": {"between": ["h1", "h3"]}}), 422)
    problem(put(red, {"name": "wide", "latency": {"between": ["h1", MACS[3]]}}), 403)
    problem(red("DELETE", "/v1/intents/keep"), 404)
    problem(red("GET", "/v1/intents/versions"), 403)
    problem(red("PUT", "/v1/intents?version=1"), 403)
    blue = caller_as(call, "operator", "blue")
    problem(put(blue, {"name": "mine", "latency": {"between": ["h1", "h3"]}}), 403)
    assert names(call) == ["keep", "other"]


def test_a_conflict_does_not_tell_of_intents_outside_the_scope(call: Caller) -> None:
    put(call, {"name": "secret", "reach": {"from": "red", "to": "blue"}})
    both = caller_as(call, "admin")
    assert (
        "secret"
        in problem(put(both, KEEP, {"name": "secret", "reach": {"from": "red", "to": "blue"}}), 409)["detail"]
    )
    put(call, {"name": "secret", "apart": ["h1", "h2", "blue"]})
    red = caller_as(call, "operator", "red")
    told = problem(put(red, VIDEO), 409)["detail"]
    assert "secret" not in told and "not yours" in told


def test_a_change_is_on_record(call: Caller) -> None:
    put(call, VIDEO)
    newest = call("GET", "/v1/audit").json()[0]
    assert (newest["method"], newest["resource"], newest["outcome"]) == ("PUT", "/v1/intents", "done")
    assert newest["before"] == {"version": 0, "intents": []}
    assert newest["after"]["version"] == 1 and newest["after"]["document"] == {"intents": [VIDEO]}
