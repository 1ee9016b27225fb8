"""Stitches of all kinds over REST: what a body may say, and what an answer tells."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.test_rest_fake import MACS, Caller, FakeController, api_of, problem

SEGMENT: dict[str, Any] = {
    "kind": "segment",
    "source": {"vnet": "red"},
    "destination": {"vnet": "blue", "hosts": ["b1"]},
    "bandwidth_mbps": 2,
}
CAP: dict[str, Any] = {"kind": "bandwidth", "source": "default", "destination": "default", "cap_mbps": 3}


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))


@pytest.fixture(autouse=True)
def _vnets(call: Caller) -> None:
    for number, name in enumerate(("red", "blue")):
        call("PUT", f"/v1/vnets/{name}", json={"hosts": [{"name": f"{name[0]}1", "mac": MACS[number]}]})


def test_a_segment_is_made_and_says_who_is_in_it(call: Caller) -> None:
    made = call("POST", "/v1/stitches", json=SEGMENT)
    assert made.status_code == 201, made.text
    stitch = made.json()
    assert (stitch["kind"], stitch["protection"], stitch["left_out"]) == ("segment", "none", [])
    blue = {"name": "b1", "mac": MACS[1]}
    assert stitch["destination"] == {"vnet": "blue", "hosts": [blue], "subnets": [], "members": [blue]}
    assert len(stitch["links"]) == 2 and stitch["detours"] == []
    assert call("GET", "/v1/stitches?kind=segment").json() == [call("GET", "/v1/stitches/1").json()]
    assert call("GET", "/v1/stitches?kind=vm").json() == []


def test_a_segment_that_nothing_can_protect_is_refused_with_the_link_that_stands_alone(call: Caller) -> None:
    wanted = {**SEGMENT, "protection": "link"}
    answer = call("POST", "/v1/stitches", json=wanted)
    assert answer.status_code == 409 and "is all that joins its two sides" in answer.text, answer.text
    assert "is all that joins" in call("POST", "/v1/stitches/check", json=wanted).json()["reason"]
    assert call("POST", "/v1/stitches/check", json=SEGMENT).json()["detours"] == []


def test_a_cap_is_made_and_says_how_it_is_split(call: Caller) -> None:
    made = call("POST", "/v1/stitches", json=CAP)
    assert made.status_code == 201, made.text
    stitch = made.json()
    assert (stitch["kind"], stitch["cap_mbps"], stitch["guarantee_mbps"]) == ("bandwidth", 3.0, None)
    assert sum(share["mbps"] for share in stitch["shares"]) == pytest.approx(3.0)
    assert call("POST", "/v1/stitches/check", json={**CAP, "cap_mbps": 1}).json()["possible"] is False


def test_a_body_without_a_kind_is_of_two_hosts(call: Caller) -> None:
    wanted = {"source": MACS[2], "destination": MACS[3], "bandwidth_mbps": 1}
    assert call("POST", "/v1/stitches", json=wanted).json()["kind"] == "vm"


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"kind": "tunnel"}, "body", "kind is one of vm, segment, bandwidth"),
        ({"kind": 7}, "body", "kind is one of"),
        ({"destination": {"vnet": "red"}}, "body", "reach each other already"),
        ({"destination": {"vnet": "blue", "hosts": [""]}}, "destination.hosts[0]", "name a host"),
        ({"valid_from": "tomorrow"}, "valid_from", "a time looks like"),
        ({"valid_from": "2026-03-01T08:00:00"}, "valid_from", "which zone"),
        ({"valid_from": "2027-01-01T00:00Z", "valid_until": "2026-01-01T00:00Z"}, "body", "not after valid_from"),
        ({"weekly": {"days": ["mon"], "start": "8", "end": "18:00"}}, "weekly.start", "pattern"),
        ({"weekly": {"days": ["mon"], "start": "08:00", "end": "18:00", "zone": "Mars"}}, "weekly.zone", "IANA"),
        ({"priority": 8}, "priority", "less than or equal to 7"),
        ({"mode": "predictive"}, "body", "needs threshold_mbps"),
        ({"threshold_mbps": 1}, "body", "are of mode predictive"),
    ],
)
def test_what_is_wrong_with_a_body_is_named(call: Caller, change: dict[str, Any], field: str, words: str) -> None:
    content = problem(call("POST", "/v1/stitches", json={**SEGMENT, **change}), 422)
    assert content["errors"][0]["field"] == field
    assert words in content["errors"][0]["problem"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cap_mbps": None}, "guarantee_mbps, cap_mbps or both"),
        ({"guarantee_mbps": 4}, "above cap_mbps"),
        ({"follow_forecast": True}, "needs a guarantee_mbps"),
    ],
)
def test_rates_have_to_make_sense(call: Caller, change: dict[str, Any], words: str) -> None:
    assert words in problem(call("POST", "/v1/stitches", json={**CAP, **change}), 422)["detail"]


def test_unknown_networks_and_hosts_of_others_are_named(call: Caller) -> None:
    content = problem(call("POST", "/v1/stitches", json={**SEGMENT, "source": {"vnet": "green"}}), 404)
    assert content["field"] == "source.vnet"
    wrong = {**SEGMENT, "source": {"vnet": "red", "hosts": ["b1"]}}
    content = problem(call("POST", "/v1/stitches", json=wrong), 404)
    assert (content["field"], "is in the virtual network 'blue'" in content["detail"]) == ("source.hosts[0]", True)
    assert problem(call("POST", "/v1/stitches", json={**CAP, "source": "green"}), 404)["field"] == "source"


@pytest.mark.parametrize(
    ("change", "field"), [({"protection": "link"}, "protection"), ({"encrypted": True}, "encrypted")]
)
def test_what_nobody_can_give_is_refused(
    call: Caller, controller: FakeController, change: dict[str, Any], field: str
) -> None:
    assert problem(call("POST", "/v1/stitches", json={**SEGMENT, **change}), 409)["field"] == field
    assert controller.stitches == {}


def test_times_and_mode_are_shown_as_they_were_given(call: Caller) -> None:
    weekly = {"days": ["mon", "fri"], "start": "22:00", "end": "06:00", "zone": "Europe/Vienna"}
    wanted = {"valid_until": "2030-01-01T00:00:00+01:00", "weekly": weekly, "priority": 7}
    stitch = call("POST", "/v1/stitches", json={**SEGMENT, **wanted}).json()
    assert (stitch["valid_until"], stitch["weekly"], stitch["priority"]) == ("2029-12-31T23:00:00Z", weekly, 7)
