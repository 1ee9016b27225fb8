"""Who may do what: no route is open, a viewer changes nothing, and a scope ends where its virtual networks end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter

from ryu_apps.events import Alarm, ForecastStatus
from ryu_apps.rest import api as api_module
from ryu_apps.rest.access.access import AccessSettings
from ryu_apps.rest.access.roles import Need, Principal, Role, needs
from ryu_apps.rest.access.routes import RouteTable
from ryu_apps.rest.api import create_api
from ryu_apps.rest.apps import ApiSettings
from ryu_apps.rest.problems import Problem
from ryu_apps.store import AccessStore
from ryu_apps.store.engine import Database
from stitching.stitch import State, Stitch, VmRequest
from stitching.vnet import VNet
from tests.unit.test_rest_fake import (
    MACS,
    NOW_S,
    TOKEN,
    Caller,
    FakeController,
    api_of,
    caller_as,
    outlook,
    problem,
    red_and_blue,
)

WANTED: dict[str, Any] = {"source": "h1", "destination": "h2", "bandwidth_mbps": 4.0}
FREE = "02:00:00:00:00:99"


@pytest.fixture
def controller() -> FakeController:
    return FakeController(vnets=red_and_blue(), outlook=outlook())


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


def routes() -> list[tuple[str, str, Need]]:
    """Every route there is: its method, a path that leads to it, and what it needs."""
    table = create_api(FakeController().ask, token=TOKEN).table  # type: ignore[attr-defined]  # of our own class
    values = {
        "name": "red",
        "stitch_id": "1",
        "token_id": "00000000",
        "dpid": "1",
        "port": "1",
        "which": "1",
        "message": "x",
    }
    return [
        (method, re.sub(r"{(\w+)}", lambda found: values.get(found[1], "1"), _of_ours(entry.path)), entry.need)
        for entry in table
        for method in sorted(entry.methods)
    ]


def _of_ours(path: str) -> str:
    """A path in which a switch is named as our own routes want it."""
    return path.replace("{dpid}", f"{1:016x}") if path.startswith("/v1/") else path


def own_routes() -> list[tuple[str, str, Need]]:
    """Those that are not there for scripts written for Ryu."""
    return [route for route in routes() if route[1].startswith("/v1/")]


# roles ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path", "need"), routes())
def test_no_route_is_open(call: Caller, controller: FakeController, method: str, path: str, need: Need) -> None:
    assert need.role in Role
    problem(Caller(call.api, "none of ours")(method, path), 401)
    assert controller.asked == []


@pytest.mark.parametrize(("method", "path", "need"), [route for route in routes() if route[2].changes])
def test_a_viewer_can_change_nothing(
    call: Caller, controller: FakeController, method: str, path: str, need: Need
) -> None:
    viewer = caller_as(call, "viewer")
    said = problem(viewer(method, path, content=b"not even JSON"), 403)
    assert f"the role {need.role}" in said["detail"] and "token create" in said["remedy"]
    assert controller.asked == []


ASKED_SOMETHING = ("/v1/explain", "/v1/overlay/paths")
"""What has to be asked something: without a question it is refused for that alone."""


@pytest.mark.parametrize(
    ("method", "path", "need"),
    # Events never end: they have tests of their own.
    [route for route in own_routes() if not route[2].changes and route[1] != "/v1/events"],
)
def test_a_viewer_may_read_and_ask(call: Caller, method: str, path: str, need: Need) -> None:
    assert not need.secret
    assert method in ("GET", "POST")
    asked = {"intents": []} if path == "/v1/intents/plan" else WANTED
    answer = caller_as(call, "viewer")(method, path, json=asked if method == "POST" else None)
    assert answer.status_code in (200, 404) or path in ASKED_SOMETHING, answer.text


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [route for route in own_routes() if route[1].startswith(("/v1/tokens", "/v1/audit"))],
)
def test_tokens_the_audit_the_policy_and_switches_are_for_admins(
    call: Caller, method: str, path: str, need: Need
) -> None:
    assert need == Need(Role.ADMIN, secret=method == "POST" and path.startswith("/v1/tokens"))
    problem(caller_as(call, "operator")(method, path), 403)


def test_what_only_needs_a_viewer_and_is_no_get_asks_and_changes_nothing() -> None:
    asking = [(method, path) for method, path, need in own_routes() if method != "GET" and not need.changes]
    assert asking == [("POST", "/v1/stitches/check"), ("POST", "/v1/intents/plan")]


def test_an_operator_stitches(call: Caller) -> None:
    operator = caller_as(call, "operator")
    assert operator("POST", "/v1/stitches", json=WANTED).status_code == 201
    assert operator("PUT", "/v1/vnets/green", json={}).status_code == 201


def test_there_is_no_api_with_a_route_that_does_not_say_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful = APIRouter()
    forgetful.add_api_route("/open", lambda: None, methods=["GET"])
    monkeypatch.setattr(api_module, "PARTS", (*api_module.PARTS, ("/v1", forgetful)))
    with pytest.raises(ValueError, match="the route /open does not say what it needs"):
        create_api(FakeController().ask, token=TOKEN)


def test_of_several_needs_the_strictest_holds() -> None:
    router = APIRouter(dependencies=[needs(Role.VIEWER, scoped=True)])
    router.add_api_route("/x", lambda: None, methods=["POST"], dependencies=[needs(Role.ADMIN, secret=True)])
    (entry,) = RouteTable([("/v1", router)])
    assert entry.need == Need(Role.ADMIN, scoped=False, secret=True)


def test_a_route_that_knows_no_scope_refuses_tokens_that_have_one() -> None:
    who = Principal("1", "one", Role.OPERATOR, frozenset({"red"}))
    Need(Role.OPERATOR, scoped=True).check(who)
    with pytest.raises(
        Problem, match="about the whole fabric; the token 'one' is confined to the virtual network red"
    ):
        Need(Role.VIEWER).check(who)


# tokens --------------------------------------------------------------------------------------------------


def test_a_token_lives_from_post_to_delete(call: Caller) -> None:
    made = call("POST", "/v1/tokens", json={"name": "grafana", "role": "viewer", "scope": ["red", "blue"]})
    content = made.json()
    token = content.pop("token")
    assert (made.status_code, made.headers["location"]) == (201, f"/v1/tokens/{content['id']}")
    assert made.headers["cache-control"] == "no-store"
    assert (content["name"], content["role"], content["scope"]) == ("grafana", "viewer", ["blue", "red"])
    assert (content["expires"], content["used"]) == (None, None)
    assert len(token.partition(".")[2]) >= 43, "256 bits"
    assert Caller(call.api, token)("GET", "/v1/hosts").status_code == 200
    shown = call("GET", f"/v1/tokens/{content['id']}")
    assert shown.json() == {**content, "used": "2026-09-21T14:14:20Z"}
    assert [one["id"] for one in call("GET", "/v1/tokens").json()] == [content["id"]]
    assert token.partition(".")[2] not in shown.text + call("GET", "/v1/tokens").text
    assert call("DELETE", f"/v1/tokens/{content['id']}").status_code == 204
    problem(Caller(call.api, token)("GET", "/v1/hosts"), 401)
    problem(call("DELETE", f"/v1/tokens/{content['id']}"), 404)
    problem(call("GET", f"/v1/tokens/{content['id']}"), 404)


def test_the_store_holds_no_token_and_after_a_restart_they_open_the_same(tmp_path: Path) -> None:
    file = tmp_path / "lockstitch.db"
    call = Caller(api_of(FakeController(), store=AccessStore(Database(f"sqlite:///{file}", durable=True))))
    viewer, gone = caller_as(call, "viewer"), caller_as(call, "operator")
    call("DELETE", f"/v1/tokens/{gone.token.partition('.')[0]}")
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for caller in (call, viewer, gone):
        assert caller.token.rpartition(".")[2].encode() not in written
    again = api_of(FakeController(), store=AccessStore(Database(f"sqlite:///{file}", durable=True)))
    assert Caller(again, viewer.token)("GET", "/v1/hosts").status_code == 200
    problem(Caller(again, viewer.token)("PUT", "/v1/vnets/red", json={}), 403)
    problem(Caller(again, gone.token)("GET", "/v1/hosts"), 401)


def test_a_token_ends_when_it_said_it_would() -> None:
    now_s = NOW_S
    call = Caller(api_of(FakeController(), ApiSettings(clock=lambda: now_s)))
    viewer = caller_as(call, "viewer", expires="2026-09-21T15:13:20Z")  # in an hour
    now_s += 3599
    assert viewer("GET", "/v1/hosts").status_code == 200
    now_s += 1
    problem(viewer("GET", "/v1/hosts"), 401)
    past = {"name": "late", "role": "viewer", "expires": "2026-09-21T15:13:20Z"}
    assert problem(call("POST", "/v1/tokens", json=past), 422)["field"] == "expires"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"role": "root"}, "role"),
        ({"scope": []}, "scope"),
        ({"scope": ["Not A Name"]}, "scope[0]"),
        ({"expires": "2126-01-01T00:00:00"}, "expires"),
        ({"expires": "tomorrow"}, "expires"),
        ({"role": "admin", "scope": ["red"]}, "body"),
        ({"token": "mine"}, "token"),
    ],
)
def test_a_token_that_is_wrong_is_not_made(call: Caller, change: dict[str, Any], field: str) -> None:
    body = {"name": "one", "role": "viewer", **change}
    assert problem(call("POST", "/v1/tokens", json=body), 422)["field"] == field
    assert call("GET", "/v1/tokens").json() == []


def test_the_token_of_the_state_directory_is_not_among_those_that_can_be_revoked(call: Caller) -> None:
    said = problem(call("DELETE", "/v1/tokens/bootstrap"), 422)
    assert said["field"] == "token_id"


def test_when_a_token_was_used_is_known_after_a_restart() -> None:
    now_s = NOW_S
    store = AccessStore.in_memory()

    def started() -> Caller:
        return Caller(api_of(FakeController(), ApiSettings(clock=lambda: now_s), store=store))

    call = started()
    viewer = caller_as(call, "viewer")
    for _ in range(4):
        now_s += 40
        assert viewer("GET", "/v1/hosts").status_code == 200
    (known,) = call("GET", "/v1/tokens").json()
    (after,) = started()("GET", "/v1/tokens").json()
    assert (known["used"], after["used"]) == ("2026-09-21T14:16:00Z", "2026-09-21T14:15:20Z")


def test_a_token_with_a_right_id_and_a_wrong_secret_opens_nothing(call: Caller) -> None:
    one, other = caller_as(call, "viewer"), caller_as(call, "admin")
    mixed = f"{other.token.partition('.')[0]}.{one.token.partition('.')[2]}"
    for wrong in (mixed, f"{one.token}x", one.token[:-1], one.token.partition(".")[0] + ".", f"x.{TOKEN}"):
        problem(Caller(call.api, wrong)("GET", "/v1/hosts"), 401)


def test_there_are_only_so_many_tokens(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ryu_apps.rest.access.tokens.MOST_TOKENS", 1)
    caller_as(call, "viewer")
    said = problem(call("POST", "/v1/tokens", json={"name": "two", "role": "viewer"}), 409)
    assert "revoke" in said["remedy"]


# scope ---------------------------------------------------------------------------------------------------


def test_a_scope_shows_its_own_hosts_and_networks(call: Caller) -> None:
    red, blue = caller_as(call, "viewer", "red"), caller_as(call, "viewer", "blue")
    assert [host["name"] for host in red("GET", "/v1/hosts").json()] == ["h1", "h2", "h3"]
    assert [host["name"] for host in blue("GET", "/v1/hosts").json()] == ["10.0.0.4"]
    assert red("GET", "/v1/hosts?vnet=blue").json() == []
    assert [vnet["name"] for vnet in red("GET", "/v1/vnets").json()] == ["red"]
    assert red("GET", "/v1/vnets/red").status_code == 200
    problem(red("GET", "/v1/vnets/blue"), 404)
    for path in ("/v1/topology", "/v1/health"):
        assert "whole fabric" in problem(red("GET", path), 403)["detail"]


def test_a_scope_shows_stitches_that_are_its_own_at_both_ends(call: Caller, controller: FakeController) -> None:
    for number, ends in enumerate(((0, 1), (0, 3), (3, 3)), 1):
        request = VmRequest(MACS[ends[0]], MACS[ends[1]], 1.0)
        controller.add(Stitch(number, request, State.UP, NOW_S, NOW_S))
    red, both = caller_as(call, "operator", "red"), caller_as(call, "operator", "red", "blue")
    assert [one["id"] for one in red("GET", "/v1/stitches").json()] == [1]
    assert [one["id"] for one in both("GET", "/v1/stitches").json()] == [1, 2, 3]
    for method in ("GET", "DELETE"):
        problem(red(method, "/v1/stitches/2"), 404)
    assert controller.stitches[2].state is State.UP
    assert red("DELETE", "/v1/stitches/1").status_code == 202


@pytest.mark.parametrize("destination", ["10.0.0.4", MACS[3], "h9"])
@pytest.mark.parametrize("path", ["/v1/stitches", "/v1/stitches/check"])
def test_a_scope_does_not_even_name_the_hosts_of_others(
    call: Caller, controller: FakeController, path: str, destination: str
) -> None:
    red, blue = caller_as(call, "operator", "red"), caller_as(call, "operator", "blue")
    content = problem(red("POST", path, json={**WANTED, "destination": destination}), 404)
    assert content["field"] == "destination"
    assert "known hosts: h1, h2, h3" in content["detail"]
    said = problem(blue("POST", path, json={**WANTED, "source": "10.0.0.4", "destination": "h1"}), 404)
    assert MACS[0] not in said["detail"] and "known hosts: 10.0.0.4" in said["detail"]
    assert controller.stitches == {}


def test_a_scope_stitches_its_own_hosts(call: Caller) -> None:
    assert caller_as(call, "operator", "red")("POST", "/v1/stitches", json=WANTED).status_code == 201


def test_a_scope_makes_no_network_outside_itself(call: Caller, controller: FakeController) -> None:
    red = caller_as(call, "operator", "red", "green")
    before = dict(controller.vnets)
    for method, path, body in (
        ("POST", "/v1/vnets", {"name": "black"}),
        ("PUT", "/v1/vnets/black", {}),
        ("PUT", "/v1/vnets/blue", {}),
        ("DELETE", "/v1/vnets/blue", None),
    ):
        said = problem(red(method, path, json=body), 403)
        assert "not within the scope" in said["detail"] and "green, red" in said["detail"]
    assert controller.vnets == before
    assert red("POST", "/v1/vnets", json={"name": "green"}).status_code == 201
    assert red("DELETE", "/v1/vnets/green").status_code == 204


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"hosts": [{"name": "mine", "mac": MACS[3]}]}, "hosts[0].mac"),
        ({"hosts": [{"name": "h1", "mac": MACS[0]}, {"name": "new", "mac": FREE}]}, "hosts[1].mac"),
        ({"subnets": ["10.0.0.0/24"]}, "subnets[0]"),
        ({"subnets": ["10.0.0.4/32"]}, "subnets[0]"),
        ({"subnets": ["0.0.0.0/0"]}, "subnets[0]"),
        ({"subnets": ["172.16.0.0/16"]}, "subnets[0]"),
        ({"subnets": ["fd00::/64"]}, "subnets[0]"),
    ],
)
def test_a_scope_claims_no_host_and_no_subnet_of_others(
    call: Caller, controller: FakeController, body: dict[str, Any], field: str
) -> None:
    before = dict(controller.vnets)
    assert problem(caller_as(call, "operator", "red")("PUT", "/v1/vnets/red", json=body), 403)["field"] == field
    assert controller.vnets == before


def test_with_default_in_its_scope_it_claims_what_nobody_has(call: Caller) -> None:
    operator = caller_as(call, "operator", "red", "default")
    body = {"hosts": [{"name": "new", "mac": FREE}], "subnets": ["172.16.0.0/16"]}
    assert operator("PUT", "/v1/vnets/red", json=body).status_code == 200
    problem(operator("PUT", "/v1/vnets/red", json={"subnets": ["10.0.0.0/24"]}), 403)


def test_a_scope_divides_its_own_subnets(call: Caller, controller: FakeController) -> None:
    controller.vnets["green"] = VNet("green", (), ("172.16.0.0/16",))
    operator = caller_as(call, "operator", "green")
    assert operator("PUT", "/v1/vnets/green", json={"subnets": ["172.16.1.0/24"]}).status_code == 200


def test_a_scope_is_told_of_its_own_demands_and_of_no_link(call: Caller, controller: FakeController) -> None:
    alarms = (
        Alarm(NOW_S, "demands", f"{MACS[0]}>{MACS[1]}", 12.0),
        Alarm(NOW_S, "demands", f"{MACS[0]}>{MACS[3]}", 12.0),
        Alarm(NOW_S, "loads", "a>b", 12.0),
    )
    controller.forecasts = ForecastStatus({}, 0, {}, 0, alarms=alarms)
    red, blue = caller_as(call, "viewer", "red"), caller_as(call, "viewer", "blue")
    seen = red("GET", "/v1/forecasts?threshold_share=0.5").json()
    assert (len(seen["demands"]), seen["links"]) == (1, [])
    assert [alarm["series"] for alarm in seen["alarms"]] == [alarms[0].name]
    assert blue("GET", "/v1/forecasts").json()["demands"] == []
    problem(red("GET", "/v1/forecasts?link=0000000000000001:10"), 403)
    assert len(call("GET", "/v1/forecasts").json()["alarms"]) == 3


# how often -----------------------------------------------------------------------------------------------


def test_a_token_that_asks_too_often_is_told_when_to_come_back(controller: FakeController) -> None:
    call = Caller(api_of(controller, limits=AccessSettings(rate_per_s=0.001, burst=3)))
    viewer = caller_as(call, "viewer")
    statuses = [viewer("GET", "/v1/hosts").status_code for _ in range(3)]
    assert statuses == [200] * 3
    answer = viewer("GET", "/v1/hosts")
    problem(answer, 429)
    assert int(answer.headers["retry-after"]) >= 1
    assert call("GET", "/v1/hosts").status_code == 200, "another token is not held up"


def test_wrong_tokens_are_limited_and_right_ones_from_the_same_address_are_not(call: Caller) -> None:
    wrong = Caller(call.api, "wrong")
    statuses = [wrong("GET", "/v1/hosts").status_code for _ in range(30)]
    assert statuses[:20] == [401] * 20 and set(statuses[20:]) == {429}
    assert int(wrong("GET", "/v1/hosts").headers["retry-after"]) >= 1
    assert call("GET", "/v1/hosts").status_code == 200
    assert len(call("GET", "/v1/audit?denied=true").json()) == 20, "what is limited does not fill the log"
