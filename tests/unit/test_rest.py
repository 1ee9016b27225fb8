"""The API: what each path answers when all is well."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from ryu_apps.events import (
    Alarm,
    CreateStitch,
    ForecastStatus,
    Rates,
    RecentLoadsRequest,
    RecorderStatus,
    SetCapacities,
)
from ryu_apps.rest.api import create_api
from ryu_apps.rest.apps import ApiSettings
from ryu_apps.store import StoreError
from stitching.network import Network
from stitching.stitch import State, Stitch, VmRequest
from tests.unit.test_rest_fake import (
    MACS,
    NOW_S,
    TOKEN,
    Caller,
    FakeController,
    a_difference,
    api_of,
    day_outlook,
    outlook,
    problem,
    red_and_blue,
)

ONE = "0000000000000001"
WANTED: dict[str, Any] = {"source": "h1", "destination": "h2", "bandwidth_mbps": 4.0}


@pytest.fixture
def controller() -> FakeController:
    rates = Rates(
        NOW_S + 59, 1.0, port_tx_mbps={(1, 10): 2.5}, stitch_mbps={1: 0.75}, stitch_counts={1: (12, 3456)}
    )
    return FakeController(vnets=red_and_blue(), rates=rates)


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


def test_topology_shows_switches_links_and_hosts(call: Caller) -> None:
    answer = call("GET", "/v1/topology").json()
    switches = {switch["dpid"]: switch for switch in answer["switches"]}
    assert [switches[dpid]["connected"] for dpid in sorted(switches)] == [True, True, True, False]
    assert switches[ONE]["ports"][1] == {"number": 10, "name": "eth10", "up": False}
    assert answer["links"][0] == {
        "src_dpid": ONE,
        "src_port": 10,
        "dst_dpid": "0000000000000002",
        "dst_port": 10,
        "latency_ms": 1.6,
        "latency_spread_ms": 0.1,
        "path_latency_ms": 1.5,
        "capacity_mbps": 10.0,
        "encrypted": False,
        "load_mbps": 2.5,
        "utilisation": 0.25,
    }
    assert [host["name"] for host in answer["hosts"]] == ["10.0.0.4", "h1", "h2", "h3"]


def test_what_was_not_measured_is_null(call: Caller) -> None:
    link = call("GET", "/v1/topology").json()["links"][-1]
    assert [link[key] for key in ("latency_ms", "capacity_mbps", "load_mbps", "utilisation")] == [None] * 4


def test_the_topology_is_there_without_telemetry(call: Caller, controller: FakeController) -> None:
    controller.broken["Telemetry"] = LookupError("no app 'Telemetry' is running")
    answer = call("GET", "/v1/topology")
    assert answer.status_code == 200
    assert answer.json()["links"][0]["load_mbps"] is None


def test_hosts_have_a_name_a_place_and_a_network(call: Caller) -> None:
    hosts = call("GET", "/v1/hosts").json()
    assert hosts[1] == {
        "name": "h1", "mac": MACS[0], "ips": ["10.0.0.1"], "dpid": ONE, "port": 1, "vnet": "red", "labels": [],
    }  # fmt: skip
    assert hosts[0]["vnet"] == "blue"


def test_capacities_are_handed_to_discovery(call: Caller, controller: FakeController) -> None:
    body = [{"dpid": ONE, "port": 10, "capacity_mbps": 20}, {"dpid": ONE, "port": 77, "capacity_mbps": 5.5}]
    assert call("PUT", "/v1/links/capacities", json=body).json() == {"ports": 2, "links": 1}
    (request,) = (request for request in controller.asked if isinstance(request, SetCapacities))
    assert request.capacity_mbps == {(1, 10): 20.0, (1, 77): 5.5}


def test_a_virtual_network_lives_from_post_to_delete(call: Caller) -> None:
    body = {"name": "green", "hosts": [{"name": "g1", "mac": "02:00:00:00:00:AA"}], "subnets": ["10.9.0.0/16"]}
    made = call("POST", "/v1/vnets", json=body)
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/vnets/green"
    declared: dict[str, object] = {"name": "g1", "mac": "02:00:00:00:00:aa", "labels": [], "ips": [], "port": None}
    assert made.json()["hosts"] == [declared]
    assert call("GET", "/v1/vnets/green").json() == made.json()
    assert [vnet["name"] for vnet in call("GET", "/v1/vnets").json()] == ["blue", "green", "red"]
    # What was got may be put back, changed.
    changed = call("PUT", "/v1/vnets/green", json={**made.json(), "subnets": []})
    assert (changed.status_code, changed.json()["subnets"]) == (200, [])
    assert call("PUT", "/v1/vnets/new", json={}).status_code == 201
    assert call("DELETE", "/v1/vnets/green").status_code == 204
    problem(call("GET", "/v1/vnets/green"), 404)
    problem(call("DELETE", "/v1/vnets/green"), 404)


@pytest.mark.parametrize("source", ["h1", " H1 ", "10.0.0.1", MACS[0], MACS[0].upper()])
def test_hosts_are_found_by_name_address_and_mac(call: Caller, source: str) -> None:
    made = call("POST", "/v1/stitches", json={**WANTED, "source": source})
    assert made.status_code == 201
    assert made.json()["source"] == {"name": "h1", "mac": MACS[0]}


def test_a_stitch_is_made_shown_and_taken_away(call: Caller, controller: FakeController) -> None:
    made = call("POST", "/v1/stitches", json={**WANTED, "max_latency_ms": 50})
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/stitches/1"
    assert made.json() == {
        "id": 1,
        "kind": "vm",
        "state": "establishing",
        "reason": None,
        "source": {"name": "h1", "mac": MACS[0]},
        "destination": {"name": "h2", "mac": MACS[1]},
        "bandwidth_mbps": 4.0,
        "max_latency_ms": 50.0,
        "max_loss": None,
        "application": None,
        "protection": "none",
        "labels": {},
        "priority": 3,
        "valid_from": None,
        "valid_until": None,
        "weekly": None,
        "mode": "now",
        "threshold_mbps": None,
        "probability": None,
        "encrypted": False,
        "origin": "api",
        "both_ways": True,
        "relieves": None,
        "path": [
            {"dpid": ONE, "in_port": 1, "out_port": 10},
            {"dpid": "0000000000000002", "in_port": 10, "out_port": 11},
            {"dpid": "0000000000000003", "in_port": 10, "out_port": 1},
        ],
        "backup": None,
        "latency_ms": 3.0,
        "probe_ms": None,
        "probe_loss": None,
        "packets": 12,
        "bytes": 3456,
        "load_mbps": 0.75,
        "enforced": "none",
        "enforced_cap": None,
        "enforced_why": None,
        "created": "2026-09-21T14:13:20Z",
        "changed": "2026-09-21T14:13:20Z",
        "up_since": None,
    }
    assert call("GET", "/v1/stitches/1").json() == made.json()
    gone = call("DELETE", "/v1/stitches/1")
    assert (gone.status_code, gone.json()["state"]) == (202, "terminating")
    wishes = [type(request).__name__ for request in controller.asked]
    assert [wish for wish in wishes if wish in ("CreateStitch", "DeleteStitch")] == [
        "CreateStitch",
        "DeleteStitch",
    ]


def test_taking_an_ended_stitch_away_changes_nothing(call: Caller, controller: FakeController) -> None:
    ended = Stitch(9, VmRequest(MACS[0], "02:ff:00:00:00:01", 1.0), State.TERMINATED, NOW_S, NOW_S)
    controller.add(ended)
    answer = call("DELETE", "/v1/stitches/9")
    assert (answer.status_code, answer.json()["state"]) == (200, "terminated")
    # A host that has gone is called by its MAC.
    assert answer.json()["destination"]["name"] == "02:ff:00:00:00:01"


def test_stitches_are_listed_by_state(call: Caller, controller: FakeController) -> None:
    request = VmRequest(MACS[0], MACS[1], 1.0)
    for number, state in enumerate((State.TERMINATED, State.UP, State.FAILED), 1):
        controller.add(Stitch(number, request, state, NOW_S, NOW_S, up_s=NOW_S))
    assert [one["id"] for one in call("GET", "/v1/stitches").json()] == [1, 2, 3]
    assert [one["id"] for one in call("GET", "/v1/stitches?state=up").json()] == [2]
    assert [one["id"] for one in call("GET", "/v1/stitches?state=up&state=failed").json()] == [2, 3]


@pytest.mark.parametrize("end", [State.UP, State.FAILED])
def test_wait_ends_when_the_stitch_is_settled(call: Caller, controller: FakeController, end: State) -> None:
    controller.after_create = [State.ESTABLISHING, end]
    made = call("POST", "/v1/stitches?wait_s=30", json=WANTED)
    assert (made.status_code, made.json()["state"]) == (201, end.value)


def test_wait_ends_when_the_time_is_over(call: Caller) -> None:
    made = call("POST", "/v1/stitches?wait_s=0.03", json=WANTED)
    assert (made.status_code, made.json()["state"]) == (201, "establishing")


def test_a_stitch_that_was_made_is_told_of_although_waiting_goes_wrong(controller: FakeController) -> None:
    call = Caller(api_of(controller))
    controller.after_create = [State.ESTABLISHING]
    answer_of = controller.ask

    def ask(name: str, request: Any, timeout_s: float, /) -> Any:
        answer = answer_of(name, request, timeout_s)
        if isinstance(request, CreateStitch):
            controller.broken["Stitcher"] = TimeoutError()
        return answer

    call = Caller(create_api(ask, token=TOKEN, started_s=NOW_S))
    made = call("POST", "/v1/stitches?wait_s=0.03", json=WANTED)
    assert (made.status_code, made.json()["id"]) == (201, 1)


def test_check_names_the_path_and_books_nothing(call: Caller, controller: FakeController) -> None:
    for _ in range(2):
        answer = call("POST", "/v1/stitches/check", json={**WANTED, "bandwidth_mbps": 9}).json()
        assert (answer["possible"], answer["latency_ms"], len(answer["path"])) == (True, 3.0, 3)
    assert controller.stitches == {}


def test_check_says_what_stands_in_the_way(call: Caller) -> None:
    answer = call("POST", "/v1/stitches/check", json={**WANTED, "bandwidth_mbps": 11})
    assert answer.status_code == 200
    content = answer.json()
    assert (content["possible"], content["field"], content["path"]) == (False, "bandwidth_mbps", None)
    assert "10" in content["reason"]
    assert content["remedy"]


def test_forecasts_say_that_there_is_none_yet(call: Caller) -> None:
    answer = call("GET", "/v1/forecasts").json()
    assert (answer["ready"], answer["samples"], answer["links"], answer["demands"]) == (False, 0, [], [])


def test_forecasts_have_quantiles_per_step(call: Caller, controller: FakeController) -> None:
    controller.outlook = outlook()
    controller.forecasts = replace(controller.forecasts, workers_lost=3)
    answer = call("GET", "/v1/forecasts").json()
    assert (answer["ready"], answer["samples"], answer["step_s"]) == (True, 42, 5.0)
    link = answer["links"][0]
    assert (link["name"], link["capacity_mbps"], link["prob_above"]) == (f"{ONE}:10", 10.0, None)
    assert [quantile["level"] for quantile in link["quantiles"]] == [0.1, 0.5, 0.9]
    assert link["quantiles"][0]["mbps"][0] == 1.0
    assert link["mean_mbps"] == link["quantiles"][1]["mbps"]
    assert (answer["made"], answer["age_s"], answer["workers_lost"]) == ("2026-09-21T14:13:20Z", 60.0, 3)
    demand = answer["demands"][0]
    assert (demand["name"], demand["source"]["mac"]) == ("h1 > h2", MACS[0])
    assert demand["mean_mbps"] == [1.0, None, 3.0]


def test_forecasts_tell_how_likely_a_link_is_too_full(call: Caller, controller: FakeController) -> None:
    controller.outlook = outlook()
    first, second = call("GET", "/v1/forecasts?threshold_share=0.2").json()["links"]
    assert len(first["prob_above"]) == 3
    assert 0.1 < first["prob_above"][0] < 0.5  # 2 Mbit/s is between the quantiles of 0.5 and 0.9
    assert second["prob_above"] is None  # its capacity is not known


def test_forecasts_of_one_link(call: Caller, controller: FakeController) -> None:
    controller.outlook = outlook()
    answer = call("GET", f"/v1/forecasts?link={ONE}:10").json()
    assert ([link["name"] for link in answer["links"]], answer["demands"]) == ([f"{ONE}:10"], [])
    assert answer["links"][0]["recent_mbps"] == [2.5] * 60
    assert call("GET", "/v1/forecasts").json()["links"][0]["recent_mbps"] == []
    assert problem(call("GET", f"/v1/forecasts?link={ONE}:99"), 404)["field"] == "link"


def test_recent_loads_end_where_the_forecast_begins(call: Caller, controller: FakeController) -> None:
    controller.outlook = outlook()
    call("GET", f"/v1/forecasts?link={ONE}:10")
    (recent,) = (request for request in controller.asked if isinstance(request, RecentLoadsRequest))
    assert recent.until_s == NOW_S


def test_forecasts_say_which_of_them_are_a_guess(call: Caller, controller: FakeController) -> None:
    known = outlook()
    controller.outlook = replace(known, links=replace(known.links, cold=np.array([False, True])))
    answer = call("GET", "/v1/forecasts").json()
    assert [one["cold"] for one in (*answer["links"], *answer["demands"])] == [False, True, False]


def test_forecasts_tell_what_nobody_would_have_expected(call: Caller, controller: FakeController) -> None:
    controller.outlook = outlook()
    controller.forecasts = replace(controller.forecasts, alarms=(Alarm(NOW_S, "loads", "a>b", 20.04),))
    assert call("GET", "/v1/forecasts").json()["alarms"] == [
        {"time": "2026-09-21T14:13:20Z", "series": "a>b", "surprise_bits": 20.0}
    ]


@pytest.mark.parametrize("which", ["forecasts", "day_forecasts"])
def test_health_tells_of_forecasts_and_fits_that_fail(
    call: Caller, controller: FakeController, which: str
) -> None:
    def reasons(*, failures: int = 0, waited: int = 0, fit_failures: int = 0) -> str:
        status = ForecastStatus({}, 0, {}, 0, waited=waited, failures=failures, fit_failures=fit_failures)
        setattr(controller, which, status)
        return "\n".join(call("GET", "/v1/health").json()["reasons"])

    assert "row" not in reasons(failures=1), "another process makes it good"
    assert "failed 2 times in a row, all is said to stay as it is" in reasons(failures=2, waited=9)
    assert "is overdue: 1 in a row failed" in reasons(fit_failures=1)


def test_a_day_ahead_of_all_links_is_given_at_every_twelfth_step(call: Caller, controller: FakeController) -> None:
    controller.outlook, controller.day_outlook = outlook(), day_outlook()
    answer = call("GET", "/v1/forecasts?ahead=day&threshold_share=0.5").json()
    assert (answer["ready"], answer["step_s"], answer["samples"]) == (True, 300.0, 4000)
    assert answer["steps"] == list(range(12, 289, 12))
    first = answer["links"][0]
    assert first["mean_mbps"] == answer["demands"][0]["mean_mbps"] == answer["steps"]
    assert [len(quantile["mbps"]) for quantile in first["quantiles"]] == [24, 24, 24]
    assert len(first["prob_above"]) == 24


def test_a_day_ahead_of_one_link_is_given_at_every_step(call: Caller, controller: FakeController) -> None:
    controller.day_outlook = day_outlook()
    answer = call("GET", f"/v1/forecasts?ahead=day&link={ONE}:10").json()
    (link,) = answer["links"]
    assert answer["steps"] == link["mean_mbps"] == list(range(1, 289))
    assert link["recent_mbps"] == [2.5] * 288


def test_the_outlook_by_periods_has_all_its_steps_and_is_the_one_unless_asked(
    call: Caller, controller: FakeController
) -> None:
    controller.outlook, controller.day_outlook = outlook(), day_outlook()
    assert call("GET", "/v1/forecasts").json() == call("GET", "/v1/forecasts?ahead=periods").json()
    assert call("GET", "/v1/forecasts").json()["steps"] == [1, 2, 3]


def test_a_day_ahead_is_not_ready_before_the_first_and_where_none_is_made(
    controller: FakeController,
) -> None:
    controller.outlook = outlook()
    answer = Caller(api_of(controller))("GET", "/v1/forecasts?ahead=day").json()
    assert (answer["ready"], answer["steps"], answer["links"]) == (False, [], [])
    controller.broken = {"DayPredictor": LookupError("no app 'DayPredictor' is running")}
    call = Caller(api_of(controller, ApiSettings(day_ahead=False)))
    assert call("GET", "/v1/forecasts?ahead=day").json() == answer
    assert not any("Day" in reason for reason in call("GET", "/v1/health").json()["reasons"])


def test_how_far_to_look_is_a_choice_of_two(call: Caller) -> None:
    assert problem(call("GET", "/v1/forecasts?ahead=week"), 422)["errors"][0]["field"] == "ahead"
    served = call("GET", "/v1/openapi.json").json()
    (parameter,) = (p for p in served["paths"]["/v1/forecasts"]["get"]["parameters"] if p["name"] == "ahead")
    assert (parameter["schema"]["default"], served["components"]["schemas"]["Ahead"]["enum"]) == (
        "periods", ["periods", "day"],
    )  # fmt: skip


def test_health_tells_of_a_day_ahead_that_is_late(call: Caller, controller: FakeController) -> None:
    controller.day_forecasts = replace(controller.day_forecasts, waited=5)
    reasons = call("GET", "/v1/health").json()["reasons"]
    assert any("over a day is 5 steps old" in reason for reason in reasons)


def test_forecasts_tell_how_many_came_true(call: Caller, controller: FakeController) -> None:
    controller.outlook = outlook()
    answer = call("GET", "/v1/forecasts").json()
    assert answer["came_true"] == [
        {"interval": 0.5, "demands": 0.51, "links": None},
        {"interval": 0.8, "demands": 0.78, "links": None},
        {"interval": 0.95, "demands": 0.94, "links": None},
    ]
    assert answer["outcomes"] == 120


def test_health_tells_of_forecasts_that_are_late(call: Caller, controller: FakeController) -> None:
    controller.forecasts = replace(controller.forecasts, waited=4)
    assert not any("forecast" in reason for reason in call("GET", "/v1/health").json()["reasons"])
    controller.forecasts = replace(controller.forecasts, waited=5)
    assert any("forecast is 5 periods old" in reason for reason in call("GET", "/v1/health").json()["reasons"])


def test_health_is_ok_when_every_part_works(call: Caller, controller: FakeController) -> None:
    known = {key: link for key, link in controller.network.links.items() if 4 not in key}
    controller.network = replace(controller.network, links=MappingProxyType(known))
    answer = call("GET", "/v1/health").json()
    assert (answer["status"], answer["reasons"]) == ("ok", [])
    assert (answer["uptime_s"], answer["switches_connected"], answer["samples_age_s"]) == (60, 3, 1)
    assert answer["installer"]["rules_added"] == 7
    assert answer["queue_depths"] is None


def test_a_fresh_controller_is_healthy() -> None:
    status = replace(FakeController().status, ready=frozenset())
    call = Caller(api_of(FakeController(network=Network(), status=status)))
    assert call("GET", "/v1/health").json()["status"] == "ok"


def test_health_names_what_does_not_work(controller: FakeController) -> None:
    controller.broken = {"Predictor": LookupError("no app 'Predictor' is running"), "Stitcher": KeyError("secret")}
    controller.rates = Rates(NOW_S, 1.0)
    controller.status = replace(controller.status, ready=frozenset({1, 2}), differences={2: a_difference()})
    settings = ApiSettings(clock=lambda: NOW_S + 60, queue_depths=lambda: {"Stitcher": 3})
    answer = Caller(api_of(controller, settings))("GET", "/v1/health")
    assert answer.status_code == 200
    content = answer.json()
    reasons = "\n".join(content["reasons"])
    assert content["status"] == "degraded"
    for part in ("Predictor is not running", "Stitcher fails", "60 s old", "not connected: 0000000000000004"):
        assert part in reasons
    assert "not been read yet: 0000000000000003" in reasons
    assert "not what they should be: 0000000000000002" in reasons
    assert "secret" not in answer.text
    assert content["queue_depths"] == {"Stitcher": 3}
    assert content["stitches"] is None


def test_health_names_stitches_that_do_not_do_what_was_asked(call: Caller, controller: FakeController) -> None:
    request = VmRequest(MACS[0], MACS[1], 4.0)
    for number in range(1, 9):
        failed = Stitch(number, request, State.FAILED, NOW_S, NOW_S, reason="a link is gone")
        controller.stitches[number] = failed
    controller.stitches[9] = Stitch(9, request, State.UP, NOW_S, NOW_S)
    reasons = call("GET", "/v1/health").json()["reasons"]
    assert "stitch 1 is failed: a link is gone" in reasons and "3 more stitches are not up" in reasons
    assert not any("stitch 9" in reason for reason in reasons)


def test_health_names_what_hosted_apps_left_that_do_not_run(call: Caller, controller: FakeController) -> None:
    left = {dpid: {0xE0: dpid} for dpid in range(2, 8)} | {1: {0xE0: 12, 0xE4: 1}}
    controller.status = replace(controller.status, abandoned=left)
    (reason,) = (one for one in call("GET", "/v1/health").json()["reasons"] if "hosted" in one)
    assert reason.startswith(
        "rules of hosted apps that do not run are on switches: 0000000000000001 (12 in tables "
    )
    assert "200 to 209, 1 in tables 240 to 249), 0000000000000002 (2 in tables 200 to 209)" in reason
    assert "and 2 more" in reason and "lockstitch reconcile --remove-guests" in reason


def test_health_says_what_the_disk_does_not_take(call: Caller, controller: FakeController) -> None:
    controller.unsaved = 2
    controller.recorder = RecorderStatus(history_failing=True, history_dropped=9, fabric_unsaved=True)
    reasons = "\n".join(call("GET", "/v1/health").json()["reasons"])
    for part in ("2 stitches could not be stored", "fabric could not be stored", "9 periods are lost"):
        assert part in reasons


def test_what_could_not_be_stored_is_a_problem_with_its_remedy(call: Caller, controller: FakeController) -> None:
    controller.broken["Stitcher"] = StoreError("cannot save a stitch: disk is full")
    said = problem(call("POST", "/v1/stitches", json=WANTED), 503)
    assert "disk is full" in said["detail"] and "put that right" in said["remedy"]


def test_health_says_when_there_are_too_many_demands(call: Caller, controller: FakeController) -> None:
    controller.outlook = replace(outlook(), left_out=7)
    controller.day_outlook = replace(outlook(), left_out=8)
    reasons = "\n".join(call("GET", "/v1/health").json()["reasons"])
    assert (
        "7 demands are not in the forecast" in reasons and "8 demands are not in the outlook over a day" in reasons
    )


def test_the_description_names_every_path_and_its_problems(call: Caller) -> None:
    schema = call("GET", "/v1/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    # Those of Ryu are held to their description by tests of their own.
    assert {path for path in schema["paths"] if path.startswith("/v1/")} == {
        "/v1/overlay",
        "/v1/overlay/card",
        "/v1/overlay/classes",
        "/v1/overlay/classes/{name}",
        "/v1/overlay/links",
        "/v1/overlay/paths",
        "/v1/overlay/rekey",
        "/v1/overlay/rules",
        "/v1/overlay/rules/{name}",
        "/v1/overlay/sites",
        "/v1/overlay/sites/{name}",
        "/v1/overlay/sites/{name}/uplinks/{uplink}",
        "/v1/overlay/tunnels",
        "/v1/topology",
        "/v1/links/capacities",
        "/v1/hosts",
        "/v1/vnets",
        "/v1/vnets/{name}",
        "/v1/policy",
        "/v1/policy/versions",
        "/v1/explain",
        "/v1/intents",
        "/v1/intents/plan",
        "/v1/intents/versions",
        "/v1/intents/{name}",
        "/v1/stitches",
        "/v1/stitches/batch",
        "/v1/stitches/check",
        "/v1/switches/{dpid}/ovsdb",
        "/v1/switches/{dpid}/reconcile",
        "/v1/stitches/{stitch_id}",
        "/v1/forecasts",
        "/v1/health",
        "/v1/reservations",
        "/v1/links/encryption",
        "/v1/events",
        "/v1/tokens",
        "/v1/tokens/{token_id}",
        "/v1/audit",
    }
    assert "HTTPValidationError" not in str(schema)
    post = schema["paths"]["/v1/stitches"]["post"]["responses"]
    errors = {"400", "401", "403", "404", "409", "413", "415", "422", "429", "500", "503"}
    assert {"201", "202", *errors} == set(post)
    for operations in schema["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == ["application/problem+json"]


def test_of_many_stitches_each_is_made_or_has_a_problem_of_its_own(call: Caller) -> None:
    wanted = [WANTED, {**WANTED, "destination": "nobody"}, {**WANTED, "bandwidth_mbps": 1e6}]
    made = call("POST", "/v1/stitches/batch", json={"stitches": wanted})
    assert made.status_code == 200
    first, unknown, too_much = made.json()["items"]
    assert first["stitch"]["id"] == 1 and first["problem"] is None
    assert (unknown["problem"]["status"], unknown["problem"]["field"]) == (404, "destination")
    assert too_much["problem"]["status"] == 409


@pytest.mark.parametrize(("label", "found"), [("team", 1), ("team%3Dvideo", 1), ("team%3Daudio", 0), ("other", 0)])
def test_stitches_are_found_by_label(call: Caller, label: str, found: int) -> None:
    call("POST", "/v1/stitches", json={**WANTED, "labels": {"team": "video"}})
    assert len(call("GET", f"/v1/stitches?label={label}").json()) == found


@pytest.mark.parametrize("application", [{}, {"destination_port": 80}, {"protocol": "icmp", "source_port": 1}])
def test_an_application_that_tells_nothing_is_refused(call: Caller, application: Any) -> None:
    refused = call("POST", "/v1/stitches", json={**WANTED, "application": application})
    assert (refused.status_code, refused.json()["field"]) == (422, "application")
