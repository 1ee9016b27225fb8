"""The audit: who changed what, from what to what, on record before it is answered, and without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ryu_apps.events import CreateStitch, DeleteVnet, PutVnet
from ryu_apps.guests.pages import pages_of
from ryu_apps.guests.wsgi import ControllerBase, Request, Response, WSGIApplication, route
from ryu_apps.ofctl.app import AskSwitch, Refused
from ryu_apps.rest.access import audit as audit_module
from ryu_apps.rest.access import journal
from ryu_apps.rest.apps import ApiSettings
from ryu_apps.store import AccessStore, StoreError
from ryu_apps.store.access import AuditQuery, Batch
from ryu_apps.store.engine import Database
from stitching.stitch import State
from tests.unit.test_rest_fake import (
    NOW_S,
    TOKEN,
    Caller,
    FakeController,
    api_of,
    caller_as,
    problem,
    red_and_blue,
)

WANTED: dict[str, Any] = {"source": "h1", "destination": "h2", "bandwidth_mbps": 4.0}
ONE = "0000000000000001"


class Failing(AccessStore):
    """A store that takes so many more writes to the journal, and then none."""

    writes = 1_000_000

    def write(self, batch: Batch) -> None:
        if self.writes <= 0:
            raise StoreError("cannot write the audit log: database or disk is full")
        self.writes -= 1
        super().write(batch)


@pytest.fixture
def store() -> Failing:
    return Failing(Database("sqlite://", durable=False))


@pytest.fixture
def controller() -> FakeController:
    return FakeController(vnets=red_and_blue())


@pytest.fixture
def call(controller: FakeController, store: Failing) -> Caller:
    return Caller(api_of(controller, store=store))


def audit(call: Caller, query: str = "") -> list[dict[str, Any]]:
    answer = call("GET", f"/v1/audit{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def test_a_change_is_on_record_with_what_was_before_and_after(call: Caller) -> None:
    operator = caller_as(call, "operator")
    red = call("GET", "/v1/vnets/red").json()
    answer = operator("PUT", "/v1/vnets/red", json={"subnets": ["10.3.0.0/16"]})
    newest = audit(call)[0]
    assert newest == {
        "id": 2,
        "time": "2026-09-21T14:14:20Z",
        "who": "operator",
        "token_id": operator.token.partition(".")[0],
        "role": "operator",
        "method": "PUT",
        "path": "/v1/vnets/red",
        "resource": "/v1/vnets/red",
        "request_id": answer.headers["x-request-id"],
        "outcome": "done",
        "status": 200,
        "before": red,
        "after": answer.json(),
    }


def test_every_kind_of_change_is_on_record(call: Caller) -> None:
    call("POST", "/v1/vnets", json={"name": "green"})
    call("PUT", "/v1/vnets/green", json={})
    call("DELETE", "/v1/vnets/green")
    call("PUT", "/v1/links/capacities", json=[{"dpid": ONE, "port": 10, "capacity_mbps": 20}])
    made = call("POST", "/v1/stitches", json=WANTED).json()
    call("DELETE", "/v1/stitches/1")
    token = call("POST", "/v1/tokens", json={"name": "one", "role": "viewer"}).json()
    call("DELETE", f"/v1/tokens/{token['id']}")
    call("GET", "/v1/hosts")
    call("POST", "/v1/stitches/check", json=WANTED)
    green = {"name": "green", "hosts": [], "subnets": [], "spoof_guard": "declared"}
    seen = [(one["method"], one["resource"], one["before"], one["after"]) for one in reversed(audit(call))]
    assert seen[:4] == [
        ("POST", "/v1/vnets/green", None, green),
        ("PUT", "/v1/vnets/green", green, green),
        ("DELETE", "/v1/vnets/green", green, None),
        (
            "PUT",
            "/v1/links/capacities",
            [{"dpid": ONE, "port": 10, "capacity_mbps": 10.0}],
            [{"dpid": ONE, "port": 10, "capacity_mbps": 20.0}],
        ),
    ]
    assert [(one[0], one[1]) for one in seen[4:]] == [
        ("POST", "/v1/stitches/1"),
        ("DELETE", "/v1/stitches/1"),
        ("POST", f"/v1/tokens/{token['id']}"),
        ("DELETE", f"/v1/tokens/{token['id']}"),
    ]
    assert seen[4][3] == made
    assert (seen[5][2]["state"], seen[5][3]["state"]) == ("establishing", "terminating")
    secret = token.pop("token")
    assert seen[6][3] == token
    assert secret not in call("GET", "/v1/audit").text and TOKEN not in call("GET", "/v1/audit").text


@pytest.mark.parametrize(
    ("path", "body", "before"),
    [
        ("flowentry/delete", {"match": {"in_port": 1}}, {"rules": 1}),
        ("flowentry/add", {"priority": 5, "match": {"in_port": 1}, "actions": []}, {"rules": 0}),
        ("groupentry/modify", {"group_id": 1, "type": "ALL", "buckets": []}, {"group_id": 1, "type": "FF"}),
        ("meterentry/delete", {"meter_id": 1}, {"meter_id": 1}),
        ("meterentry/add", {"meter_id": 2}, None),
        ("portdesc/modify", {"port_no": 1, "config": 1, "mask": 1}, {"port_no": 1, "config": 0}),
    ],
)
def test_a_change_by_ryus_paths_is_on_record_with_the_switch_what_was_sent_and_what_was_there(
    call: Caller, path: str, body: dict[str, Any], before: dict[str, Any] | None
) -> None:
    assert call("POST", f"/stats/{path}", json={"dpid": 1, **body}).status_code == 200
    (one,) = audit(call)
    assert (one["who"], one["path"], one["outcome"]) == ("bootstrap", f"/stats/{path}", "done")
    assert one["after"] == {"dpid": 1, "given": {"dpid": 1, **body}}
    if before is None:
        assert one["before"] is None
        return
    seen = one["before"]
    if "rules" in seen:
        seen = {**seen, "rules": len(seen["rules"])}
    assert seen.items() >= {"dpid": 1, **before}.items()


def test_a_switch_that_does_not_tell_what_was_there_may_still_be_changed(
    call: Caller, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = controller.switches

    def refuses(request: Any) -> Any:
        if isinstance(request, AskSwitch):
            raise Refused("it has no meters")
        return change(request)

    monkeypatch.setitem(vars(controller)["_answers"], AskSwitch, refuses)
    assert call("POST", "/stats/meterentry/delete", json={"dpid": 1, "meter_id": 1}).status_code == 200
    assert call("DELETE", "/stats/flowentry/clear/1").status_code == 200
    assert [(one["before"], one["after"]["dpid"]) for one in audit(call)] == [(None, 1), (None, 1)]


def test_what_a_page_of_a_hosted_app_was_sent_and_answered_is_on_record_without_secrets(
    controller: FakeController,
) -> None:
    class Things(ControllerBase):
        @route("things", "/things", methods=["POST"])
        def make(self, req: Request) -> Response:
            return Response(json={"made": req.json["name"]}) if req.body[:1] == b"{" else Response(body=b"done")

    application = WSGIApplication()
    application.register(Things)
    call = Caller(api_of(controller, pages=pages_of(application)))
    call("POST", "/things?fast=1", json={"name": "one", "password": "t0p"})
    call("POST", "/things", content=b"\x00t0p")
    binary, plain = audit(call)
    assert plain["path"] == "/things" and plain["after"] == {
        "given": {"name": "one", "password": "(not kept)"}, "query": "fast=1", "answered": {"made": "one"},
    }  # fmt: skip
    assert binary["after"]["given"]["bytes"] == 4 and binary["after"]["answered"]["bytes"] == 4
    assert "t0p" not in call("GET", "/v1/audit").text


@pytest.mark.parametrize("count", [2, 400])
def test_a_batch_is_on_record_with_the_stitches_it_made_however_long_its_answer_is(
    call: Caller, controller: FakeController, count: int
) -> None:
    ports = [{"destination_port": 1000 + number, "protocol": "udp"} for number in range(count)]
    wanted = [{**WANTED, "bandwidth_mbps": 0.001, "application": application} for application in ports]
    answer = call("POST", "/v1/stitches/batch", json={"stitches": [*wanted, {**WANTED, "source": "nobody"}]})
    assert (len(answer.content) > audit_module.MOST_BYTES) is (count == 400)
    (one,) = audit(call)
    assert one["after"]["ids"] == sorted(controller.stitches) and len(controller.stitches) == count
    assert one["after"]["refused_at"] == [count]
    assert one["after"].get("items") == (answer.json()["items"] if count == 2 else None)


def test_what_was_refused_and_what_failed_are_told_apart(call: Caller, controller: FakeController) -> None:
    call("POST", "/v1/stitches", json={**WANTED, "bandwidth_mbps": 11})
    call("POST", "/v1/stitches", content=b"{", headers={"Content-Type": "application/json"})
    controller.broken["Stitcher"] = KeyError("a fault")
    call("POST", "/v1/stitches", json=WANTED)
    controller.broken["Stitcher"] = StoreError("disk is full")
    call("POST", "/v1/stitches", json=WANTED)
    assert [(one["status"], one["outcome"], one["after"]) for one in audit(call)] == [
        (503, "failed", None), (500, "failed", None), (400, "refused", None), (409, "refused", None),
    ]  # fmt: skip


def test_a_stitch_that_was_made_and_did_not_come_up_is_on_record(call: Caller, controller: FakeController) -> None:
    controller.after_create = [State.FAILED, State.FAILED]
    problem(call("POST", "/v1/stitches?wait=up", json=WANTED), 409)
    (one,) = audit(call)
    assert (one["resource"], one["after"]["state"], one["outcome"]) == ("/v1/stitches/1", "failed", "refused")


def test_denied_attempts_are_on_record(call: Caller) -> None:
    viewer, red = caller_as(call, "viewer"), caller_as(call, "operator", "red")
    viewer("DELETE", "/v1/vnets/red")
    viewer("GET", "/v1/audit")
    red("PUT", "/v1/vnets/blue", json={})
    Caller(call.api, "wrong")("GET", "/v1/hosts")
    seen = [
        (one["who"], one["role"], one["method"], one["path"], one["status"]) for one in audit(call, "?denied=true")
    ]
    assert seen == [
        ("nobody at 127.0.0.1", None, "GET", "/v1/hosts", 401),
        ("operator red", "operator", "PUT", "/v1/vnets/blue", 403),
        ("viewer", "viewer", "GET", "/v1/audit", 403),
        ("viewer", "viewer", "DELETE", "/v1/vnets/red", 403),
    ]
    assert {one["outcome"] for one in audit(call, "?denied=true")} == {"denied"}
    assert all(one["outcome"] == "done" for one in audit(call, "?denied=false"))


def test_what_cannot_be_put_on_record_is_not_done(
    call: Caller, controller: FakeController, store: Failing
) -> None:
    store.writes = 0
    for method, path, body in (
        ("POST", "/v1/stitches", WANTED),
        ("PUT", "/v1/vnets/red", {}),
        ("DELETE", "/v1/vnets/red", None),
    ):
        headers = {"Idempotency-Key": "one"}
        said = problem(call(method, path, json=body, headers=headers), 503)
        assert said["type"].endswith(":not-recorded") and "disk is full" in said["detail"]
        assert "nothing was changed" in said["detail"]
    assert not any(isinstance(request, (CreateStitch, PutVnet, DeleteVnet)) for request in controller.asked)
    store.writes = 100
    headers = {"Idempotency-Key": "one"}
    assert call("POST", "/v1/stitches", json=WANTED, headers=headers).status_code == 201, "the key is free"


def test_an_end_that_was_not_stored_is_with_the_next_record(call: Caller, store: Failing) -> None:
    store.writes = 1
    assert call("PUT", "/v1/vnets/green", json={}).status_code == 201, "its attempt is on record"
    (record,) = store.audit(AuditQuery(), below_id=None, limit=10)
    assert (record.path, record.status) == ("/v1/vnets/green", None)
    assert audit(call)[0]["outcome"] == "unknown"
    store.writes = 100
    call("PUT", "/v1/vnets/black", json={})
    assert [(one["path"], one["outcome"]) for one in audit(call)] == [
        ("/v1/vnets/black", "done"), ("/v1/vnets/green", "done"),
    ]  # fmt: skip


def test_being_denied_needs_no_disk(call: Caller, store: Failing) -> None:
    store.writes = 0
    problem(Caller(call.api, "wrong")("GET", "/v1/hosts"), 401)


def test_records_are_found_by_who_what_and_when(controller: FakeController) -> None:
    now_s = NOW_S
    call = Caller(api_of(controller, ApiSettings(clock=lambda: now_s)))
    operator = caller_as(call, "operator")
    operator("PUT", "/v1/vnets/green", json={})
    now_s += 100
    call("PUT", "/v1/vnets/green2", json={})
    call("POST", "/v1/stitches", json=WANTED)

    def paths(query: str) -> list[str]:
        return [one["resource"].removeprefix("/v1/") for one in audit(call, query)]

    assert paths("?who=operator") == ["vnets/green"]
    assert paths(f"?who={operator.token.partition('.')[0]}") == ["vnets/green"]
    assert paths("?resource=/v1/vnets") == ["vnets/green2", "vnets/green"]
    assert paths("?resource=/v1/vnets/green") == ["vnets/green"]
    assert paths("?resource=/v1/%25") == []
    assert paths("?since=2026-09-21T14:15:00Z") == ["stitches/1", "vnets/green2"]
    assert paths("?until=2026-09-21T14:15:00Z&resource=/v1/vnets") == ["vnets/green"]
    assert paths("?who=nobody") == []
    problem(call("GET", "/v1/audit?since=2026-09-21T14:15:00"), 422)


def test_pages_go_back_in_time_and_miss_nothing(call: Caller) -> None:
    for number in range(7):
        call("PUT", f"/v1/vnets/n{number}", json={})
    seen, path = [], "/v1/audit?limit=3&who=bootstrap"
    while path:
        answer = call("GET", path)
        seen.append([one["resource"].rpartition("/")[2] for one in answer.json()])
        call("PUT", "/v1/vnets/later", json={})
        path = answer.links.get("next", {}).get("url", "")
    assert seen == [["n6", "n5", "n4"], ["n3", "n2", "n1"], ["n0"]]


@contextmanager
def bounds(monkeypatch: pytest.MonkeyPatch, changes: int, denied: int) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(journal, "MOST_CHANGES", changes)
        patched.setattr(journal, "MOST_DENIED", denied)
        patched.setattr(journal, "_SHORTEN_EACH_S", 0.0)
        yield


def test_the_log_has_bounds_and_the_denied_do_not_push_out_changes(
    controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = NOW_S
    call = Caller(api_of(controller, ApiSettings(clock=lambda: now_s)))
    with bounds(monkeypatch, changes=4, denied=2):
        viewer = caller_as(call, "viewer")
        for number in range(6):
            call("PUT", f"/v1/vnets/n{number}", json={})
        for _ in range(6):
            viewer("GET", "/v1/audit")
        assert len(audit(call, "?denied=true")) == 2
        assert [one["resource"] for one in audit(call, "?denied=false")] == [
            f"/v1/vnets/n{number}" for number in (5, 4, 3, 2)
        ]
        now_s += 91 * 86400
        call("PUT", "/v1/vnets/last", json={})
        assert [one["resource"] for one in audit(call)] == ["/v1/vnets/last"]


def test_a_state_that_is_too_long_is_kept_as_its_hash(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "MOST_BYTES", 100)
    hosts = [{"name": f"g{n}", "mac": f"02:00:00:00:01:{n:02x}"} for n in range(20)]
    assert call("PUT", "/v1/vnets/green", json={"hosts": hosts}).status_code == 201
    after = audit(call)[0]["after"]
    assert after["too_long"] is True and after["bytes"] > 100 and len(after["sha256"]) == 64


def test_secrets_are_left_out_however_deep_they_are() -> None:
    text = audit_module.text_of({"a": [{"Token": "t0p"}, {"psk": {"x": "t0p"}}], "key": "t0p", "name": "seen"})
    assert text is not None and "t0p" not in text and "seen" in text


def test_the_audit_goes_on_where_it_was_after_a_restart(controller: FakeController, tmp_path: Path) -> None:
    for name in ("one", "two"):
        store = AccessStore(Database(f"sqlite:///{tmp_path / 'lockstitch.db'}", durable=True))
        call = Caller(api_of(controller, store=store))
        call("PUT", f"/v1/vnets/{name}", json={})
    assert [(one["id"], one["resource"]) for one in audit(call)] == [(2, "/v1/vnets/two"), (1, "/v1/vnets/one")]
