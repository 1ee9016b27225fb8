"""`POST /v1/switches/{dpid}/reconcile` and `lockstitch reconcile`: what they say, and when it is bad."""

from __future__ import annotations

import json

import pytest

from ryu_apps.events import Reconcile
from tests.unit.test_cli import Lockstitch, lockstitch, served
from tests.unit.test_rest_fake import Caller, FakeController, api_of, problem

__all__ = ["lockstitch", "served"]

ONE = "0000000000000001"


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


def test_what_differs_is_told_in_the_words_of_openflow(call: Caller, controller: FakeController) -> None:
    answer = call("POST", f"/v1/switches/{ONE}/reconcile").json()
    assert controller.asked[-1] == Reconcile(1, dry_run=False)
    assert (answer["dpid"], answer["dry_run"], answer["right"]) == (ONE, False, 40)
    assert answer["others"] == {"rules": 3, "groups": 2, "meters": 1}
    (missing,) = answer["missing"]["entries"]
    assert missing == {
        "kind": "rule",
        "where": "table=0 priority=9",
        "match": "eth_type=0x0800 ip_dst=10.0.0.0/8",
        "does": "drop",
        "cookie": "0000000000000000",
    }
    (wrong,) = answer["wrong"]["entries"]
    assert wrong["does"] == "meter:19456 group:65538 output:in_port goto:3"
    assert [entry["kind"] for entry in answer["excess"]["entries"]] == ["group", "meter"]
    assert [entry["does"] for entry in answer["excess"]["entries"]] == ["1 else 2", "10 kbit/s, burst 5 kbit"]


def test_a_dry_run_is_passed_on(call: Caller, controller: FakeController) -> None:
    assert call("POST", f"/v1/switches/{ONE}/reconcile?dry_run=true").json()["dry_run"]
    assert controller.asked[-1] == Reconcile(1, dry_run=True)


def test_what_hosted_apps_left_is_told_and_taken_out_when_asked_for(
    call: Caller, controller: FakeController
) -> None:
    place = {"owner": "0xe1", "tables": "210 to 219"}
    found = call("POST", f"/v1/switches/{ONE}/reconcile").json()
    assert found["abandoned"] == [{**place, "rules": 4, "removed": 0}]
    done = call("POST", f"/v1/switches/{ONE}/reconcile?remove_guests=true").json()
    assert controller.asked[-1] == Reconcile(1, remove_guests=True)
    assert done["abandoned"] == [{**place, "rules": 0, "removed": 4}]


def test_it_is_for_admins_and_on_record(controller: FakeController) -> None:
    api = api_of(controller)
    call = Caller(api)
    operator = call("POST", "/v1/tokens", json={"name": "ci", "role": "operator"}).json()["token"]
    where = f"/v1/switches/{ONE}/reconcile?remove_guests=true"
    problem(call("POST", where, headers={"Authorization": f"Bearer {operator}"}), 403)
    call("POST", where)
    done, denied = call("GET", f"/v1/audit?limit=2&resource=/v1/switches/{ONE}/reconcile").json()
    assert done["outcome"] == "done" and done["after"]["abandoned"][0]["removed"] == 4
    assert denied["outcome"] == "denied" and denied["who"] == "ci"


def test_a_switch_that_cannot_be_reconciled_is_a_problem_with_the_reason(call: Caller) -> None:
    answer = problem(call("POST", "/v1/switches/0000000000000009/reconcile"), 409)
    assert answer["detail"] == "switch 0000000000000009: it is not connected"
    problem(call("POST", "/v1/switches/9/reconcile"), 422)
    problem(call("POST", f"/v1/switches/{ONE}/reconcile?dry_run=perhaps"), 422)


def test_one_switch_or_all_of_them_are_a_table(lockstitch: Lockstitch) -> None:
    shown = lockstitch("reconcile", "1")
    for part in ("Put right", ONE, "40", "3, 2, 1", "group 65538", "ip_dst=10.0.0.0/8", "drop"):
        assert part in shown
    assert all(f"000000000000000{number}" in lockstitch("reconcile") for number in (1, 2, 3))


def test_a_dry_run_ends_with_3_where_something_differs(lockstitch: Lockstitch) -> None:
    assert "Would be put right" in lockstitch("reconcile", "1", "--dry-run", code=3)


def test_what_hosted_apps_left_is_a_table(lockstitch: Lockstitch) -> None:
    shown = lockstitch("reconcile", "1", "--remove-guests")
    for part in ("Of hosted apps that do not run", "210 to 219", "0xe1", "4"):
        assert part in shown


def test_json_is_the_raw_answers(lockstitch: Lockstitch) -> None:
    (answer,) = json.loads(lockstitch("reconcile", "1", "--json"))
    assert answer["missing"]["count"] == 1


def test_what_cannot_be_reconciled_is_said(lockstitch: Lockstitch) -> None:
    assert "error: dpid: switch 0000000000000009: it is not connected" in lockstitch("reconcile", "9", code=1)
    assert "is not a dpid" in lockstitch("reconcile", "x", code=2)
