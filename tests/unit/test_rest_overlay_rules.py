"""Operators say which sites have tunnels and of what kind, and when keys are made anew; tunnels follow that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ryu_apps.events.overlay import OrderKeys
from ryu_apps.overlay.defined import Defined
from ryu_apps.store import StateStore, StoreError
from stitching.overlay.mesh import MeshPolicy
from stitching.overlay.mesh_rules import (
    MOST_RULES,
    DefinedRule,
    PairRule,
    Say,
    Selector,
    must_pairs,
    ordered_rules,
    rule_for,
)
from stitching.overlay.rounds import OverlayPolicy
from stitching.overlay.tunnels import Phase, Tunnel, TunnelSpec
from tests.unit.overlay_answer import an_overlay
from tests.unit.overlay_rest import call, controller
from tests.unit.overlay_world import a_site, world
from tests.unit.test_cli import Lockstitch, lockstitch, served
from tests.unit.test_overlay_rounds import Lab, pairs_meet
from tests.unit.test_rest_fake import Caller, FakeController, api_of, caller_as, problem

__all__ = ["call", "controller", "lockstitch", "served"]

ANYBODY = Selector()
EVERYBODY = PairRule(ANYBODY, ANYBODY, transports=("wireguard",))
GIVEN = OverlayPolicy(mesh=MeshPolicy(rules=(EVERYBODY,)))
BACKBONE: dict[str, Any] = {
    "order": 10,
    "one": {"name": "s2"},
    "other": {"label": "zone=lab"},
    "say": "must",
    "transports": ["ipsec", "wireguard"],
    "probe_interval_ms": 20,
    "probe_multiplier": 5,
    "mtu": 1300,
}


def put(call: Caller, name: str, body: Any, **headers: str) -> Any:
    return call("PUT", f"/v1/overlay/rules/{name}", json=body, headers=headers)


# over REST -----------------------------------------------------------------------------------------------


def test_a_rule_is_made_changed_and_forgotten(call: Caller, controller: FakeController) -> None:
    made = put(call, "backbone", BACKBONE)
    assert made.status_code == 201 and made.headers["Location"] == "/v1/overlay/rules/backbone"
    rule = PairRule(
        Selector("s2"),
        Selector(label=("zone", "lab")),
        Say.MUST,
        ("ipsec", "wireguard"),
        spec=TunnelSpec(1300, 20, 5),
    )
    assert controller.defined.rules == (DefinedRule("backbone", 10, rule),)
    again = call("GET", "/v1/overlay/rules/backbone")
    assert again.json() == made.json() and again.headers["ETag"] == made.headers["ETag"]
    assert again.json() == {
        **BACKBONE,
        "name": "backbone",
        "one": {"name": "s2", "label": None},
        "other": {"name": None, "label": "zone=lab"},
    }
    assert put(call, "backbone", {"one": {}, "other": {}}).status_code == 200
    assert controller.defined.rules == (DefinedRule("backbone", 100, PairRule(ANYBODY, ANYBODY)),)
    assert [one["name"] for one in call("GET", "/v1/overlay/rules").json()] == ["backbone"]
    assert call("DELETE", "/v1/overlay/rules/backbone").status_code == 204
    problem(call("GET", "/v1/overlay/rules/backbone"), 404)
    assert problem(call("DELETE", "/v1/overlay/rules/backbone"), 404)["type"].endswith(":unknown-rule")


def test_nobody_overwrites_what_they_have_not_seen(call: Caller) -> None:
    tag = put(call, "backbone", BACKBONE).headers["ETag"]
    assert problem(put(call, "backbone", BACKBONE, **{"If-None-Match": "*"}), 412)
    assert put(call, "backbone", {**BACKBONE, "order": 9}, **{"If-Match": tag}).status_code == 200
    assert problem(put(call, "backbone", BACKBONE, **{"If-Match": tag}), 412)
    assert problem(call("DELETE", "/v1/overlay/rules/backbone", headers={"If-Match": tag}), 412)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("transports", ["plain"]),
        ("transports", ["wireguard", "gre"]),
        ("say", "never"),
        ("probe_interval_ms", 30),
        ("probe_multiplier", 1),
        ("probe_multiplier", 51),
        ("mtu", 575),
        ("mtu", 9217),
        ("order", -1),
        ("one", {"label": "zone"}),
        ("one", {"label": "=lab"}),
        ("other", {"label": "zone="}),
        ("other", {"name": ""}),
        ("other", {"site": "s2"}),
        ("one", None),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(
    call: Caller, controller: FakeController, field: str, value: Any
) -> None:
    assert problem(put(call, "backbone", {**BACKBONE, field: value}), 422)["field"].startswith(field)
    assert controller.defined.rules == ()


def test_a_value_of_a_label_may_have_an_equals_sign(call: Caller, controller: FakeController) -> None:
    put(call, "backbone", {**BACKBONE, "one": {"label": "owner=a=b"}})
    assert controller.defined.rules[0].rule.one == Selector(label=("owner", "a=b"))
    assert call("GET", "/v1/overlay/rules/backbone").json()["one"]["label"] == "owner=a=b"


def test_there_are_only_so_many_rules(call: Caller) -> None:
    for number in range(MOST_RULES):
        assert put(call, f"r{number}", BACKBONE).status_code == 201
    assert problem(put(call, "more", BACKBONE), 409)["type"].endswith(":too-many-rules")
    assert put(call, "r3", {**BACKBONE, "order": 4}).status_code == 200
    assert call("DELETE", "/v1/overlay/rules/r3").status_code == 204
    assert put(call, "more", BACKBONE).status_code == 201


def test_only_operators_make_rules_and_order_keys(call: Caller, controller: FakeController) -> None:
    viewer = caller_as(call, "viewer")
    problem(put(viewer, "backbone", BACKBONE), 403)
    problem(viewer("POST", "/v1/overlay/rekey"), 403)
    assert viewer("GET", "/v1/overlay/rules").json() == []
    assert not any(isinstance(one, OrderKeys) for one in controller.asked)


def test_without_an_overlay_there_are_neither() -> None:
    call = Caller(api_of(FakeController()))
    for answer in (
        call("GET", "/v1/overlay/rules"),
        put(call, "backbone", BACKBONE),
        call("POST", "/v1/overlay/rekey"),
    ):
        assert problem(answer, 404)["type"].endswith(":no-overlay")


def test_who_changed_a_rule_and_who_ordered_keys_is_on_record(call: Caller) -> None:
    put(call, "backbone", BACKBONE)
    put(call, "backbone", {**BACKBONE, "order": 9})
    call("POST", "/v1/overlay/rekey")
    newest, changed, _ = call("GET", "/v1/audit").json()[:3]
    assert newest["resource"] == "/v1/overlay/rekey" and newest["after"]["number"] == 1
    assert (changed["before"]["order"], changed["after"]["order"]) == (10, 9)


def test_an_order_of_keys_says_how_many_tunnels_are_replaced(call: Caller, controller: FakeController) -> None:
    tunnels = len(call("GET", "/v1/overlay/tunnels").json())
    ordered = call("POST", "/v1/overlay/rekey")
    assert ordered.status_code == 202 and ordered.json() == {"number": 1, "tunnels": tunnels}
    assert call("POST", "/v1/overlay/rekey").json()["number"] == 2
    rules = controller.defined.policy(GIVEN).mesh.rules
    assert [rule.spec.epoch for rule in rules] == [2]


# what is made of them ------------------------------------------------------------------------------------


def test_the_lowest_order_counts_and_what_the_controller_was_started_with_comes_last() -> None:
    def named(name: str, order: int, rule: PairRule) -> DefinedRule:
        return DefinedRule(name, order, rule)

    far = PairRule(Selector("s3"), ANYBODY, Say.MUST_NOT)
    near = PairRule(Selector("s3"), Selector("s4"), transports=("ipsec",), spec=TunnelSpec(interval_ms=20))
    rules = ordered_rules([named("a", 20, far), named("z", 10, near), named("b", 20, near)], (EVERYBODY,), 7)
    assert [rule.say for rule in rules] == [Say.MAY, Say.MUST_NOT, Say.MAY, Say.MAY]
    assert {rule.spec.epoch for rule in rules} == {7}
    assert rule_for(rules, a_site(4), a_site(3)).spec == TunnelSpec(interval_ms=20, epoch=7)
    assert rule_for(rules, a_site(3), a_site(5)).say is Say.MUST_NOT
    assert rule_for(rules, a_site(5), a_site(6)).transports == ("wireguard",)
    assert rules[1].transports == ("wireguard",), "what tunnels are made of is still what it was started with"
    assert [rule.spec.epoch for rule in ordered_rules([], (), 7)] == [7], "keys are of all, whoever has a rule"


def test_a_pair_that_must_is_named_once_and_only_where_its_first_rule_says_so() -> None:
    rules = (
        PairRule(Selector("s3"), Selector("s4"), Say.MAY),
        PairRule(ANYBODY, Selector(label=("zone", "lab")), Say.MUST),
        PairRule(ANYBODY, ANYBODY, Say.MUST),
    )
    sites = {serial: a_site(serial, labels={"zone": "lab"}) for serial in (3, 4, 5)}
    assert sorted(must_pairs(rules, sites)) == [(3, 5), (4, 5)]


def test_rules_and_orders_are_there_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    first = Defined(StateStore(url))
    lab = Selector(label=("zone", "lab"))
    first.put_rule(DefinedRule("lab", 20, PairRule(lab, lab, Say.MUST_NOT)))
    first.put_rule(
        DefinedRule(
            "backbone", 10, PairRule(Selector("s2"), ANYBODY, Say.MUST, ("ipsec",), spec=TunnelSpec(1300, 20))
        )
    )
    assert [first.order_keys(), first.order_keys()] == [1, 2]
    again = Defined(StateStore(url))
    assert again.rules == first.rules and [one.name for one in again.rules] == ["backbone", "lab"]
    assert again.policy(GIVEN) == first.policy(GIVEN) != GIVEN
    assert again.order_keys() == 3
    first.delete_rule("lab")
    assert [one.name for one in Defined(StateStore(url)).rules] == ["backbone"]


def test_what_cannot_be_stored_is_not_so() -> None:
    store = StateStore("sqlite://")
    defined = Defined(store)
    before = defined.policy(GIVEN)
    store.close()
    for change in (lambda: defined.put_rule(DefinedRule("a", 1, EVERYBODY)), defined.order_keys):
        with pytest.raises(StoreError):
            change()
    assert defined.policy(GIVEN) == before


def carrying(lab: Lab) -> dict[tuple[int, int], list[Tunnel]]:
    """The tunnels that carry, by pair."""
    found: dict[tuple[int, int], list[Tunnel]] = {}
    for one in lab.overlay.book.tunnels():
        if one.phase is Phase.ACTIVE:
            found.setdefault(one.line.pair, []).append(one)
    return found


def ran(lab: Lab, seconds: float) -> None:
    """Each pair that carries something does so at all times, by what it is made of."""
    for _ in range(int(seconds * 2)):
        lab.run(0.5)
        assert pairs_meet(lab)


def test_a_rule_makes_tunnels_and_changes_and_takes_them_away_while_packets_go_on() -> None:
    defined = Defined(StateStore("sqlite://"))
    lab = Lab(world(2, 2), defined.policy(GIVEN))
    lab.run(5.0)
    assert (3, 4) not in carrying(lab) and pairs_meet(lab)

    def say(say: Say, spec: TunnelSpec) -> None:
        defined.put_rule(DefinedRule("own", 1, PairRule(Selector("s3"), Selector("s4"), say, spec=spec)))
        lab.policy = defined.policy(GIVEN)
        ran(lab, 10.0)

    say(Say.MUST, TunnelSpec())
    (first,) = carrying(lab)[3, 4]
    assert lab.overlay.mesh.why[3, 4] == "a rule demands it"
    say(Say.MUST, TunnelSpec(1300, 20))
    (quick,) = carrying(lab)[3, 4]
    assert quick.number == first.number + 1 and (quick.spec.mtu, quick.spec.interval_ms) == (1300, 20)
    ends = {end.name: end for end in lab.told[3][1].tunnels}
    assert ends[quick.name].spec == quick.spec and first.name not in ends
    say(Say.MUST_NOT, TunnelSpec())
    assert (3, 4) not in carrying(lab) and lab.way(3, 4) in ([3, 1, 4], [3, 2, 4])


def test_new_keys_replace_every_tunnel_once_and_a_few_of_a_site_at_a_time() -> None:
    defined = Defined(StateStore("sqlite://"))
    lab = Lab(world(5, 1), defined.policy(GIVEN))
    lab.run(5.0)
    before = carrying(lab)
    assert len([pair for pair in before if 1 in pair]) == 5, "more than may be replaced at once"
    defined.order_keys()
    lab.policy = defined.policy(GIVEN)
    most = 0
    for _ in range(50):
        lab.run(0.5)
        coming = [one for one in lab.overlay.book.tunnels() if one.phase is Phase.COMING]
        assert {one.why for one in coming} <= {"its keys are to be new"}
        most = max(most, sum(1 in one.line.pair for one in coming))
        assert pairs_meet(lab)
    after = carrying(lab)
    assert {pair: [one.number for one in found] for pair, found in after.items()} == {
        pair: [one.number + 1 for one in found] for pair, found in before.items()
    }
    assert most == lab.policy.replacing.at_once


# the command line ----------------------------------------------------------------------------------------


@pytest.fixture
def overlaid(lockstitch: Lockstitch) -> Lockstitch:
    lockstitch.controller.overlay = an_overlay()
    return lockstitch


def test_rules_are_made_and_shown_by_commands(overlaid: Lockstitch) -> None:
    overlaid("overlay", "rule", "put", "all", "any", "any", "--transport", "wireguard")
    words = [
        "--say",
        "must",
        "--transport",
        "ipsec",
        "--transport",
        "wireguard",
        "--probe-ms",
        "20",
        "--probe-times",
        "5",
        "--mtu",
        "1300",
    ]
    shown = overlaid("overlay", "rule", "put", "backbone", "s2", "zone=lab", *words, "--order", "10")
    for word in ("backbone", "s2", "zone=lab", "must", "ipsec, wireguard", "5 x 20 ms", "1300"):
        assert word in shown
    listed = overlaid("overlay", "rule", "list")
    assert listed.index("backbone") < listed.index("all") and "any" in listed
    both = {one.name: one.rule for one in overlaid.controller.defined.rules}
    assert both["all"] == PairRule(ANYBODY, ANYBODY, transports=("wireguard",))
    assert both["backbone"].other == Selector(label=("zone", "lab"))
    assert json.loads(overlaid("overlay", "rule", "list", "--json"))[0]["name"] == "all"
    overlaid("overlay", "rule", "delete", "all")
    assert "any" not in overlaid("overlay", "rule", "list")


@pytest.mark.parametrize("words", [("--say", "never"), ("--transport", "gre"), ("--probe-ms", "30")])
def test_wrong_words_are_a_wrong_use(overlaid: Lockstitch, words: tuple[str, ...]) -> None:
    overlaid("overlay", "rule", "put", "a", "any", "any", *words, code=2)


def test_new_keys_are_ordered_by_a_command(overlaid: Lockstitch) -> None:
    tunnels = len(json.loads(overlaid("overlay", "tunnels", "--json")))
    assert f"new keys for {tunnels} tunnels" in overlaid("overlay", "rekey")
    assert json.loads(overlaid("overlay", "rekey", "--json"))["number"] == 2


def test_the_table_of_tunnels_says_why_each_is_there(overlaid: Lockstitch) -> None:
    assert "r1 is a hub" in overlaid("overlay", "tunnels")
