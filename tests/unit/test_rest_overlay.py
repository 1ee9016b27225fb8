"""The API and the command line tell how sites are joined, what is wrong, and why packets go where they go."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from ryu_apps import cli
from ryu_apps.rest.apps import ApiSettings
from stitching.overlay.links import SiteLink
from stitching.overlay.sites import Bridge
from tests.unit.overlay_answer import CARD, an_overlay
from tests.unit.test_cli import Lockstitch, lockstitch, served
from tests.unit.test_rest_fake import NOW_S, Caller, FakeController, api_of, problem
from vte_agent.protocol.filters import RuleCount
from vte_agent.protocol.has import LinkReport

__all__ = ["lockstitch", "served"]

PATHS = ("/overlay", "/overlay/sites", "/overlay/sites/s2", "/overlay/tunnels", "/overlay/paths?from=s2&to=s3",
         "/overlay/links", "/overlay/card")  # fmt: skip


@pytest.fixture
def call() -> Caller:
    return Caller(api_of(FakeController(overlay=an_overlay())))


def get(call: Caller, path: str) -> Any:
    answer = call("GET", f"/v1{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("path", PATHS)
def test_a_controller_without_an_overlay_says_so_and_how_it_gets_one(path: str) -> None:
    content = problem(Caller(api_of(FakeController()))("GET", f"/v1{path}"), 404)
    assert content["type"].endswith(":no-overlay") and "--overlay HOST:PORT" in content["remedy"]


def test_the_whole_counts_who_is_here_and_what_is_up(call: Caller) -> None:
    whole = get(call, "/overlay")
    assert whole["epoch"] == 4 and whole["listening"] and whole["connected"] == ["r1", "s2"]
    assert whole["sites"] == 3 and 0 < whole["tunnels_up"] < whole["tunnels"]


LINK = SiteLink(2, 3, 5, Bridge("br0", 0xBE), Bridge("br0", 0x3C), 7)


def test_links_say_where_they_are_plugged_in_and_what_keeps_them_from_it() -> None:
    said = dict(an_overlay().said)
    said[3] = said[3].model_copy(update={"links": (LinkReport(name=LINK.name, why="no VXLAN"),)})
    answer = an_overlay(links=(LINK,), said=said)
    (link,) = get(Caller(api_of(FakeController(overlay=answer))), "/overlay/links")
    assert link["name"] == "l2-3-5" and link["vni"] == 5 and not link["plugged"]
    assert link["a"] == {"site": "s2", "bridge": "br0", "dpid": f"{0xBE:016x}", "port": 7, "why": ""}
    assert link["b"] == {"site": "s3", "bridge": "br0", "dpid": f"{0x3C:016x}", "port": None, "why": "no VXLAN"}
    whole = replace(answer, links=(replace(LINK, port_b=9),))
    assert get(Caller(api_of(FakeController(overlay=whole))), "/overlay/links")[0]["plugged"]


def test_sites_are_in_order_and_page_after_page(call: Caller) -> None:
    assert [site["name"] for site in get(call, "/overlay/sites")] == ["r1", "s2", "s3"]
    first = call("GET", "/v1/overlay/sites", params={"limit": 2})
    assert [site["name"] for site in first.json()] == ["r1", "s2"]
    assert [site["name"] for site in call("GET", first.links["next"]["url"]).json()] == ["s3"]


def test_a_site_shows_its_ends_its_routes_and_what_is_wrong_with_it(call: Caller) -> None:
    site = get(call, "/overlay/sites/s3")
    assert site["serial"] == 3 and site["prefixes"] == ["10.0.3.0/24"] and not site["connected"]
    assert site["problems"] == ["the disk is full"] and site["cpu"] == 0.25
    assert (site["memory"], site["memory_mb"]) == (0.5, 512.0)
    assert {(end["jitter_out_ms"], end["jitter_in_ms"]) for end in site["ends"]} == {(0.4, 0.2)}
    assert {end["state"] for end in site["ends"]} >= {"down"}
    assert site["routes"][0]["prefix"] == "10.0.2.0/24"
    assert site["generation_told"] is None and site["generation_done"] > 0
    assert problem(call("GET", "/v1/overlay/sites/nowhere"), 404)["type"].endswith(":unknown-site")


def test_a_site_shows_what_each_rule_decided_on(lockstitch: Lockstitch) -> None:
    overlay = an_overlay()
    counts = (RuleCount(rule="no ssh", allow=False, packets=7), RuleCount(rule="web", allow=True, packets=4_000))
    said = {**overlay.said, 3: overlay.said[3].model_copy(update={"filters": counts})}
    lockstitch.controller.overlay = replace(overlay, said=said)
    shown = lockstitch("overlay", "sites", "s3")
    assert re.search(r"no ssh +│ dropped +│ +7 ", shown) and re.search(r"web +│ let through +│ +4000 ", shown), (
        shown
    )


def test_a_tunnel_is_up_where_both_ends_say_so(call: Caller) -> None:
    tunnels = get(call, "/overlay/tunnels")
    for one in tunnels:
        assert one["up"] is (one["state_a"] == one["state_b"] == "up")
        assert (one["rtt_ms"], one["loss_ab"], one["loss_ba"], one["mtu"]) == (8.0, 0.01, 0.0, 1440)
        assert (one["jitter_ab_ms"], one["jitter_ba_ms"]) == (0.4, 0.2)
        assert one["why"]
    assert any(not one["up"] and "nothing comes back" in one["why"] for one in tunnels)


def test_a_tunnel_that_nobody_has_spoken_of_is_unknown_and_not_down() -> None:
    silent = Caller(api_of(FakeController(overlay=an_overlay(said={}))))
    for one in get(silent, "/overlay/tunnels"):
        assert not one["up"] and one["state_a"] is one["state_b"] is one["rtt_ms"] is one["loss_ab"] is None
    assert get(silent, "/overlay/sites/s2")["generation_done"] is None


def test_the_end_of_a_member_that_was_put_out_is_called_by_its_serial() -> None:
    whole = an_overlay()
    left = replace(whole, sites={serial: site for serial, site in whole.sites.items() if serial != 3})
    names = {name for one in get(Caller(api_of(FakeController(overlay=left))), "/overlay/tunnels")
             for name in (one["a"], one["b"])}  # fmt: skip
    assert "serial 3" in names


def test_paths_have_every_way_with_its_parts_and_one_that_is_taken(call: Caller) -> None:
    paths = get(call, "/overlay/paths?from=s2&to=s3")
    (choice,) = paths["choices"]
    assert (paths["from"], paths["to"], choice["class_name"]) == ("s2", "s3", None)
    assert choice["why"] and sum(way["taken"] for way in choice["ways"]) == 1
    for way in choice["ways"]:
        assert (
            way["sites"][0] == "s2" and way["sites"][-1] == "s3" and len(way["sites"]) == len(way["tunnels"]) + 1
        )
        total = sum(part["cost"] * part["weight"] for part in way["parts"])
        assert way["score"] == pytest.approx(total / sum(part["weight"] for part in way["parts"]))
    assert paths["now"][0]["prefix"] == "10.0.3.0/24"
    body = {"matches": [{"dscp": 46}]}
    assert call("PUT", "/v1/overlay/classes/voice", json=body).status_code == 201
    voice = get(call, "/overlay/paths?from=s2&to=s3&class=voice")
    assert voice["choices"] == [] and voice["now"] == paths["now"], "it has no routes of its own"
    assert get(call, "/overlay/paths?from=s2&to=r1")["choices"] == []


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("from=x&to=s3", 404, "from"),
        ("from=s2&to=x", 404, "to"),
        ("from=s2&to=s3&class=x", 404, "class"),
        ("from=s2&to=s2", 422, "to"),
    ],
)
def test_paths_name_the_end_or_the_class_that_nobody_knows(
    call: Caller, query: str, status: int, field: str
) -> None:
    assert problem(call("GET", f"/v1/overlay/paths?{query}"), status)["field"] == field


def test_the_card_is_what_the_signer_reads(call: Caller) -> None:
    assert get(call, "/overlay/card") == CARD.model_dump(mode="json")


def test_health_tells_what_is_wrong_with_the_overlay_and_only_where_there_is_one() -> None:
    controller = FakeController(overlay=an_overlay(problems=("the signer does not answer; start it",)))
    settings = ApiSettings(clock=lambda: NOW_S + 60, overlay=True)
    reasons = get(Caller(api_of(controller, settings)), "/health")["reasons"]
    assert "overlay: the signer does not answer; start it" in reasons
    assert "overlay: sites that are not connected: s3" in reasons
    assert not any("the disk is full" in reason for reason in reasons), "it is away: that was then"
    assert not any("overlay" in reason for reason in get(Caller(api_of(controller)), "/health")["reasons"])


# the command line ----------------------------------------------------------------------------------------


@pytest.fixture
def overlaid(lockstitch: Lockstitch) -> Lockstitch:
    lockstitch.controller.overlay = an_overlay()
    return lockstitch


def narrow(lockstitch: Lockstitch, *arguments: str) -> str:
    result = CliRunner().invoke(cli.app, list(arguments), env={**lockstitch.environment, "COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output


COMMANDS = ("status", "sites", "sites s3", "tunnels", "tunnels --site s2", "paths s2 s3")


@pytest.mark.parametrize("command", COMMANDS)
def test_tables_fit_a_terminal_of_80_columns(overlaid: Lockstitch, command: str) -> None:
    shown = narrow(overlaid, "overlay", *command.split())
    assert all(len(line) <= 80 for line in shown.splitlines() if not line.startswith("problem")), shown


@pytest.mark.parametrize("command", [*COMMANDS, "card"])
def test_json_is_the_answer_as_it_came(overlaid: Lockstitch, command: str) -> None:
    more = [] if command == "card" else ["--json"]
    assert json.loads(overlaid("overlay", *command.split(), *more))


def test_the_commands_show_what_is_asked_for(overlaid: Lockstitch) -> None:
    assert "r1, s2" in overlaid("overlay", "status")
    assert "problem at s3: the disk is full" in overlaid("overlay", "sites")
    assert "Site s3" in overlaid("overlay", "sites", "s3") and "What rules" not in overlaid(
        "overlay", "sites", "s2"
    )
    assert "s3" not in overlaid("overlay", "tunnels", "--site", "s1")
    shown = overlaid("overlay", "paths", "s2", "s3")
    assert "taken" in shown and "why: " in shown and "latency" in shown
    said = overlaid("overlay", "sites", "x", code=1)
    assert "error: name: no site is called 'x'; there are r1, s2, s3; the signer lets others in" in said


def test_of_tunnels_that_nobody_tells_of_now_it_is_said_what_they_were(lockstitch: Lockstitch) -> None:
    lockstitch.controller.overlay = whole = an_overlay(connected=frozenset())
    n_tunnels = len(whole.tunnels)
    assert re.search(rf"of none of its ends heard now +│ +{n_tunnels} ", lockstitch("overlay", "status"))
    shown = lockstitch("overlay", "tunnels")
    assert "│ was up" in shown and "│ unknown" in shown and "│ up" not in shown
    lockstitch.controller.overlay = an_overlay()
    assert "heard" not in lockstitch("overlay", "status") and "was up" not in lockstitch("overlay", "tunnels")


def test_the_commands_say_that_there_is_no_overlay(lockstitch: Lockstitch) -> None:
    assert "start it with --overlay HOST:PORT" in lockstitch("overlay", "status", code=1)
