"""Application classes and terms of uplinks are defined over REST and by commands, and outlive a restart."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from ryu_apps.overlay.defined import Defined
from ryu_apps.store import StateStore, StoreError
from stitching.overlay.classes import MOST_CLASSES, UplinkTerms, on_terms
from stitching.overlay.scoring import AppClass, Weights
from stitching.overlay.site_plan import ClassMatch
from tests.unit.overlay_answer import an_overlay
from tests.unit.overlay_rest import call, controller
from tests.unit.overlay_world import a_site
from tests.unit.test_cli import Lockstitch, lockstitch, served
from tests.unit.test_rest_fake import Caller, FakeController, api_of, caller_as, problem

__all__ = ["call", "controller", "lockstitch", "served"]

VOICE: dict[str, Any] = {
    "order": 10,
    "matches": [{"protocol": "udp", "ports": "5060-5061"}, {"dscp": 46, "destination": "10.0.3.0/24"}],
    "wants": {"weights": {"latency": 3.0, "price": 0.0}, "max_rtt_ms": 150.0},
}


def put(call: Caller, name: str, body: Any, **headers: str) -> Any:
    return call("PUT", f"/v1/overlay/classes/{name}", json=body, headers=headers)


def test_a_class_is_made_changed_and_forgotten(call: Caller, controller: FakeController) -> None:
    made = put(call, "voice", VOICE)
    assert made.status_code == 201 and made.headers["Location"] == "/v1/overlay/classes/voice"
    (voice,) = controller.defined.classes
    assert voice.matches == (
        ClassMatch(protocol=17, ports=(5060, 5061)),
        ClassMatch(destination=ip_network("10.0.3.0/24"), dscp=46),
    )
    assert voice.wants == AppClass("voice", Weights(latency=3.0, price=0.0), max_rtt_ms=150.0)
    again = call("GET", "/v1/overlay/classes/voice")
    assert again.json() == made.json() and again.headers["ETag"] == made.headers["ETag"]
    assert again.json()["matches"][0] == {
        "source": None, "destination": None, "protocol": "udp", "ports": "5060-5061", "dscp": None,
    }  # fmt: skip
    assert put(call, "voice", {**VOICE, "order": 5}).status_code == 200
    assert controller.defined.classes[0].number == voice.number, "sites go on with the number they know"
    assert call("DELETE", "/v1/overlay/classes/voice").status_code == 204
    problem(call("GET", "/v1/overlay/classes/voice"), 404)
    problem(call("DELETE", "/v1/overlay/classes/voice"), 404)


def test_nobody_overwrites_what_they_have_not_seen(call: Caller) -> None:
    tag = put(call, "voice", VOICE).headers["ETag"]
    assert problem(put(call, "voice", VOICE, **{"If-None-Match": "*"}), 412)
    assert put(call, "voice", {**VOICE, "order": 9}, **{"If-Match": tag}).status_code == 200
    assert problem(put(call, "voice", VOICE, **{"If-Match": tag}), 412)
    assert problem(call("DELETE", "/v1/overlay/classes/voice", headers={"If-Match": tag}), 412)


@pytest.mark.parametrize(
    "match",
    [
        {},
        {"protocol": "any"},
        {"protocol": "carrier pigeon"},
        {"ports": "80"},
        {"protocol": "icmp", "ports": "80"},
        {"protocol": "tcp", "ports": "90-80"},
        {"protocol": "tcp", "ports": "0"},
        {"source": "10.0.0.0/8", "destination": "fd00::/8"},
        {"source": "10.0.0.1/8"},
        {"dscp": 64},
    ],
)
def test_what_could_never_match_or_is_none_is_refused(call: Caller, match: dict[str, Any]) -> None:
    assert problem(put(call, "voice", {"matches": [match]}), 422)["field"].startswith("matches")


@pytest.mark.parametrize(
    "wants",
    [
        {"weights": dict.fromkeys(("latency", "loss", "bandwidth", "price", "relay_load"), 0.0)},
        {"least_rtt_ms": 300.0},
        {"max_loss": 1.0},
        {"max_rtt_ms": 0.0},
    ],
)
def test_wishes_that_make_no_sense_are_refused(call: Caller, wants: dict[str, Any]) -> None:
    assert problem(put(call, "voice", {**VOICE, "wants": wants}), 422)["field"].startswith("wants")


def test_there_are_only_so_many_classes(call: Caller) -> None:
    for number in range(MOST_CLASSES):
        assert put(call, f"c{number}", VOICE).status_code == 201
    assert problem(put(call, "more", VOICE), 409)["type"].endswith(":too-many-classes")
    assert put(call, "c3", {**VOICE, "order": 4}).status_code == 200
    assert call("DELETE", "/v1/overlay/classes/c3").status_code == 204
    assert put(call, "more", VOICE).status_code == 201


def test_only_operators_define_classes(call: Caller) -> None:
    viewer = caller_as(call, "viewer")
    problem(put(viewer, "voice", VOICE), 403)
    assert viewer("GET", "/v1/overlay/classes").json() == []


def test_without_an_overlay_there_are_none() -> None:
    call = Caller(api_of(FakeController()))
    for answer in (call("GET", "/v1/overlay/classes"), put(call, "voice", VOICE)):
        assert problem(answer, 404)["type"].endswith(":no-overlay")


def test_an_uplink_has_terms_and_one_that_is_not_there_has_none(call: Caller, controller: FakeController) -> None:
    path = "/v1/overlay/sites/s2/uplinks/wan0"
    said = call("PUT", path, json={"capacity_mbps": 50.0, "price": 0.1}).json()
    assert (said["name"], said["capacity_mbps"], said["price"]) == ("wan0", 50.0, 0.1)
    uplink = controller.defined.on_terms(a_site(2)).uplinks[0]
    assert (uplink.capacity_mbps, uplink.price) == (50.0, 0.1)
    call("PUT", path, json={})
    assert controller.defined.on_terms(a_site(2)) == a_site(2)
    assert problem(call("PUT", "/v1/overlay/sites/s2/uplinks/lte", json={}), 404)["field"] == "uplink"
    assert problem(call("PUT", "/v1/overlay/sites/x/uplinks/lte", json={}), 404)["field"] == "name"


def test_terms_are_of_one_site_and_one_uplink() -> None:
    site = a_site(2, n_uplinks=2)
    terms = [UplinkTerms("s2", "wan1", 5.0), UplinkTerms("s3", "wan0", 7.0)]
    assert [one.capacity_mbps for one in on_terms(site, terms).uplinks] == [100.0, 5.0]


def test_what_was_said_is_there_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    first = Defined(StateStore(url))
    first.put_class(10, (ClassMatch(source=ip_network("fd00::/8"), dscp=46),), AppClass("voice", max_loss=0.01))
    first.put_class(5, (ClassMatch(protocol=6),), AppClass("bulk"))
    first.put_terms(UplinkTerms("s2", "wan0", 5.0, 0.5))
    again = Defined(StateStore(url))
    assert again.classes == first.classes
    assert [one.name for one, _ in again.planned] == ["bulk", "voice"], "by their order"
    assert again.on_terms(a_site(2)) == first.on_terms(a_site(2)) != a_site(2)
    first.delete_class("bulk")
    assert [one.name for one in Defined(StateStore(url)).classes] == ["voice"]


def test_what_cannot_be_stored_is_not_so_and_what_cannot_be_read_stops_the_start() -> None:
    store = StateStore("sqlite://")
    defined = Defined(store)
    defined.put_class(5, (ClassMatch(protocol=6),), AppClass("bulk"))
    store.save_overlay_setting("class", "bulk", "{}")
    with pytest.raises(StoreError, match="install the Lockstitch that wrote it"):
        Defined(store)
    store.close()
    with pytest.raises(StoreError):
        defined.put_class(7, (ClassMatch(protocol=17),), AppClass("voice"))
    assert [one.name for one in defined.classes] == ["bulk"]


# the command line ----------------------------------------------------------------------------------------


@pytest.fixture
def overlaid(lockstitch: Lockstitch) -> Lockstitch:
    lockstitch.controller.overlay = an_overlay()
    return lockstitch


def test_classes_are_defined_and_shown_by_commands(overlaid: Lockstitch) -> None:
    overlaid("overlay", "class", "put", "bulk", "--match", "proto=tcp,ports=873", "--weight", "price=1")
    words = ["--match", "proto=udp,ports=5060-5061", "--match", "to=10.0.3.0/24,dscp=46", "--order", "10"]
    shown = overlaid("overlay", "class", "put", "voice", *words, "--weight", "latency=2", "--max-rtt-ms", "150")
    assert "udp to ports 5060-5061" in shown and "to 10.0.3.0/24 DSCP 46" in shown and "150 ms" in shown
    listed = overlaid("overlay", "class", "list")
    assert listed.index("voice") < listed.index("bulk")
    voice, bulk = overlaid.controller.defined.planned
    assert voice[1].weights == Weights(2.0, 0.0, 0.0, 0.0, 0.0) and bulk[0].matches[0].ports == (873, 873)
    overlaid("overlay", "class", "delete", "bulk")
    assert "bulk" not in overlaid("overlay", "class", "list")


@pytest.mark.parametrize("words", [("--match", "port=80"), ("--match", "proto=tcp", "--weight", "speed=1")])
def test_wrong_words_are_a_wrong_use(overlaid: Lockstitch, words: tuple[str, ...]) -> None:
    overlaid("overlay", "class", "put", "bulk", *words, code=2)


def test_an_uplink_is_told_its_terms_by_a_command(overlaid: Lockstitch) -> None:
    assert "42.5" in overlaid("overlay", "uplink", "s2", "wan0", "--capacity", "42.5", "--price", "0.1")
    before = overlaid.controller.overlay
    assert before is not None
    sites = {serial: overlaid.controller.defined.on_terms(site) for serial, site in before.sites.items()}
    overlaid.controller.overlay = replace(before, sites=sites)
    assert "42.5" in overlaid("overlay", "sites", "s2")
