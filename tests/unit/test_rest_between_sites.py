"""Why a packet from one site to another arrives or does not, over REST."""

from __future__ import annotations

import pytest

from ryu_apps.events.overlay import ExplainBetweenSites
from ryu_apps.rest.apps import ApiSettings
from stitching.overlay.explaining import Leg, SiteExplanation, at_two_sites, explain_between
from stitching.policy.ruling import Ruling
from stitching.vnet import Directory, Member, VNet
from tests.unit.overlay_answer import an_overlay
from tests.unit.test_rest_fake import MACS, NOW_S, Caller, FakeController, api_of, caller_as, fabric, problem
from tests.unit.test_rest_policy import explained


@pytest.fixture
def joined() -> FakeController:
    """Sites with 10.0.2.0/24 and 10.0.3.0/24 behind them, and h1 with an address of the first."""
    vnets = {
        "red": VNet("red", (Member(MACS[0], "h1", (), ("10.0.2.7",)), Member(MACS[1], "h2")), ("10.0.3.0/25",)),
        "blue": VNet("blue", (), ("10.0.3.128/25",)),
    }
    controller = FakeController(fabric(), vnets, overlay=an_overlay())

    def between(request: ExplainBetweenSites) -> SiteExplanation | None:
        sites = controller.overlay.sites if controller.overlay else {}
        ends = at_two_sites(request.sources, request.targets, sites)
        ruling = Ruling(directory=Directory.of(controller.vnets.values()))
        return explain_between(ruling, ends, request.flow, sites, (), lambda *_: Leg("t2-3", 3)) if ends else None

    controller.between = between
    return controller


@pytest.fixture
def call(joined: FakeController) -> Caller:
    return Caller(api_of(joined, ApiSettings(clock=lambda: NOW_S + 60, overlay=True)))


def test_between_sites_it_is_told_which_site_decides_and_by_which_tunnels(call: Caller) -> None:
    found = explained(call, src="h1", dst="10.0.3.9", proto="tcp", port=443)
    assert (found["allowed"], found["arrives"], found["decided_at"]) == (True, True, "s2")
    assert (found["sites"], found["tunnels"], found["path"]) == (["s2", "s3"], ["t2-3"], [])
    denied = explained(call, src=MACS[0], dst="10.0.3.200")
    assert (denied["allowed"], denied["arrives"], denied["tunnels"]) == (False, False, [])
    assert denied["words"].endswith("between virtual networks; site s2 drops it before its tunnels")


def test_hosts_that_are_not_behind_two_sites_are_explained_as_ever(call: Caller) -> None:
    found = explained(call, src="10.0.0.1", dst="h2")
    assert found["tunnels"] == [] and found["path"] and found["decided_at"] == "0000000000000001"
    problem(call("GET", "/v1/explain", params={"src": "h1", "dst": "10.0.9.9"}), 404)


@pytest.mark.parametrize(("src", "dst", "field"), [("10.0.2.9", "10.0.9.9", "dst"), ("nosuch", "10.0.2.9", "src")])
def test_of_two_ends_the_one_that_is_behind_no_site_is_named(call: Caller, src: str, dst: str, field: str) -> None:
    found = problem(call("GET", "/v1/explain", params={"src": src, "dst": dst}), 404)
    other = {"src": src, "dst": dst}[field]
    assert found["field"] == field
    assert found["detail"] == f"10.0.2.9 is behind site s2, and {other} is behind no site"


def test_a_token_with_a_scope_is_told_nothing_of_addresses_of_others(call: Caller) -> None:
    viewer = caller_as(call, "viewer", "red")
    assert explained(viewer, src="h1", dst="10.0.3.9")["tunnels"] == ["t2-3"]
    problem(viewer("GET", "/v1/explain", params={"src": "h1", "dst": "10.0.3.200"}), 404)
