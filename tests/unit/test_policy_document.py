"""A policy document is read whole or refused with everything that is wrong with it, by rule, field and remedy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitching.match import TCP, UDP
from stitching.policy.checking import faults_of, run_cases, warnings_of
from stitching.policy.decision import Flow, Party, decide, next_change
from stitching.policy.document import BETWEEN, WITHIN, Demands, Policy
from stitching.policy.faults import PolicyError
from stitching.policy.ports import LAST_PORT, holds, merged, prefixes, without
from stitching.policy.reading import read_policy
from stitching.policy.windows import Weekly, is_open, next_change_s
from stitching.vnet import Directory, Member, VNet

WEB = Party("02:00:00:00:00:01", "web1", "red", frozenset({"web"}))
DB = Party("02:00:00:00:00:02", "db1", "blue", frozenset({"db", "prod"}), frozenset({"10.2.0.9"}))
OTHER = Party("02:00:00:00:00:03", "pc", "red")

DIRECTORY = Directory.of(
    [
        VNet("red", (Member(WEB.mac, "web1", ("web",)), Member(OTHER.mac, "pc"))),
        VNet("blue", (Member(DB.mac, "db1", ("db", "prod"), ("10.2.0.9",)),), ("10.2.0.0/16",)),
    ]
)

SHOP: dict[str, Any] = {
    "groups": {"web": [{"labels": ["web"]}], "db": [{"labels": ["db", "prod"]}]},
    "zones": {"eu": ["0000000000000001"]},
    "rules": [
        {
            "name": "shop reads orders",
            "from": "web",
            "to": ["db"],
            "protocol": "tcp",
            "ports": [5432, "6000-6003"],
            "action": "allow",
            "encryption": "required",
            "zones": ["eu"],
        },
        {"name": "no telnet", "protocol": "tcp", "ports": 23, "action": "deny"},
    ],
    "cases": [
        {"from": "web1", "to": "db1", "protocol": "tcp", "port": 5432, "expect": "allow"},
        {"from": {"vnet": "red"}, "to": "10.2.0.9", "protocol": "tcp", "port": 5432, "expect": "deny"},
        {"from": "web1", "to": "pc", "protocol": "tcp", "port": 23, "expect": "deny"},
    ],
}


def at(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def rule(**fields: Any) -> dict[str, Any]:
    return {"name": "r", "action": "allow", **fields}


def test_the_first_rule_that_matches_decides_and_then_the_default() -> None:
    policy = read_policy(SHOP)
    call = Flow(TCP, 40000, 5432)
    verdict = decide(policy, WEB, DB, call, 0.0)
    assert (verdict.allowed, verdict.rule) == (True, "shop reads orders")
    assert verdict.demands == Demands(encrypted=True, zones=frozenset({"eu"}))
    assert decide(policy, WEB, DB, Flow(TCP, 40000, 6004), 0.0).rule == BETWEEN
    assert not decide(policy, OTHER, DB, call, 0.0).allowed
    assert decide(policy, WEB, OTHER, Flow(UDP, 1, 23), 0.0).rule == WITHIN
    assert decide(policy, WEB, OTHER, Flow(TCP, 1, 23), 0.0).rule == "no telnet"


def test_answers_to_what_is_allowed_are_let_through_and_calls_the_other_way_are_not() -> None:
    policy = read_policy(SHOP)
    answer = decide(policy, DB, WEB, Flow(TCP, 5432, 40000), 0.0)
    assert (answer.allowed, answer.reply, answer.rule) == (True, True, "shop reads orders")
    assert not decide(policy, DB, WEB, Flow(TCP, 40000, 5432), 0.0).allowed


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the document: the document: it is a list and has to be a mapping"),
        ({"rulez": []}, "rulez: there is no such field"),
        (
            {"rules": [rule(ports=80)]},
            r"rule 1 \('r'\): ports: only TCP, UDP and SCTP have ports; say protocol: tcp",
        ),
        ({"rules": [rule(protocol="tcp", ports=[])]}, "ports: the list is empty, so it could never match"),
        ({"rules": [rule(protocol="tcp", ports="90-80")]}, "'90-80' is empty; say 80-90"),
        ({"rules": [rule(protocol="tcp", ports=70000)]}, "ports are 1 to 65535"),
        ({"rules": [rule(protocol="tcp", ports=True)]}, "True is no port"),
        ({"rules": [rule(protocol="http")]}, "'http' is no protocol"),
        (
            {"rules": [rule(**{"from": "nobody"})]},
            "rule 'r': from: there is no group 'nobody'; add it under groups",
        ),
        ({"rules": [rule(zones=["mars"])]}, "there is no zone 'mars'"),
        ({"rules": [rule(), rule()]}, "another rule has this name"),
        ({"rules": [{"name": "r"}]}, "action: it is missing; say allow or deny"),
        ({"rules": [rule(action="deny", encryption="required")]}, "a rule that denies has no path"),
        ({"rules": [rule(name=WITHIN)]}, "choose another name"),
        ({"rules": [rule(times=[{"days": ["mon"]}])]}, "it says no time zone; add zone: Europe/Berlin"),
        ({"rules": [rule(times=[{"zone": "Mars/North"}])]}, "'Mars/North' is no time zone here"),
        ({"rules": [rule(times=[{"from": "2026-03-01T08:00"}])]}, "is no moment; say .* with the offset"),
        ({"groups": {"g": [{"subnet": "10.0.0.1/8"}]}}, "group 'g': members: '10.0.0.1/8' is no subnet"),
        ({"groups": {"g": "other"}}, "'other' names nobody"),
        ({"zones": {"eu": [1]}}, "1 is no dpid; write its 16 hex digits in quotes"),
        ({"cases": [{"from": "a", "to": "b", "expect": "maybe"}]}, "expect: it is 'maybe'; say allow or deny"),
    ],
)
def test_what_is_wrong_is_named_by_rule_field_and_remedy(document: object, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        read_policy(document)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(PolicyError) as caught:
        read_policy({"rules": [rule(protocol="x"), rule(name="s", ports=1)], "zones": {"eu": "x"}})
    assert {fault.field for fault in caught.value.faults} == {"protocol", "ports", "switches"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*SHOP, *SHOP["rules"][0], "times", "days", "at"]) | st.text(), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(VALUES)
def test_any_document_is_read_or_refused(document: object) -> None:
    try:
        assert isinstance(read_policy(document), Policy)
    except PolicyError as error:
        assert all(fault.remedy for fault in error.faults)  # noqa: PT017  # either is right


def test_names_that_mean_nobody_are_faults() -> None:
    document = {
        "groups": {"g": [{"vnet": "green"}]},
        "rules": [
            rule(**{"from": {"host": "ghost"}, "to": {"vnet": "red"}}),
            rule(name="s", to={"host": WEB.mac}),
        ],
    }
    faults = faults_of(read_policy(document), DIRECTORY)
    assert [(fault.where, fault.field) for fault in faults] == [("group 'g'", "members"), ("rule 'r'", "from")]
    assert faults_of(read_policy(SHOP), DIRECTORY) == []


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ([rule(), rule(name="s", protocol="tcp")], "'r' before it covers all of it"),
        (
            [
                rule(protocol="tcp", ports="1-100"),
                rule(name="q", protocol="tcp", ports="101-200"),
                rule(name="s", protocol="tcp", ports="50-150", to={"vnet": "red"}),
            ],
            "'r' and 'q' before it cover all of it",
        ),
        (
            [
                rule(name="d", action="deny", **{"from": {"vnet": "blue"}}),
                rule(name="s", **{"from": {"vnet": "red"}, "to": {"vnet": "blue"}}),
            ],
            "'d' before it stops the answers",
        ),
    ],
)
def test_a_rule_that_cannot_do_what_it_says_is_warned_of(rules: list[dict[str, Any]], reason: str) -> None:
    (warning,) = warnings_of(read_policy({"rules": rules}))
    assert warning.where == "rule 's'"
    assert reason in warning.reason


def test_rules_that_can_match_are_not_warned_of() -> None:
    assert warnings_of(read_policy(SHOP)) == []
    rules = [rule(protocol="tcp", ports="1-100"), rule(name="s", protocol="tcp", ports="50-150")]
    assert warnings_of(read_policy({"rules": rules})) == []
    night = [{"zone": "UTC", "from": "22:00", "until": "06:00"}]
    assert warnings_of(read_policy({"rules": [rule(times=night), rule(name="s")]})) == []


def test_cases_come_out_as_expected_or_name_themselves_the_verdict_and_the_rule() -> None:
    assert all(result.passed for result in run_cases(read_policy(SHOP), DIRECTORY, {}, 0.0))
    wrong = {**SHOP, "cases": [{"from": "web1", "to": "pc", "protocol": "tcp", "port": 23, "expect": "allow"}]}
    (result,) = run_cases(read_policy(wrong), DIRECTORY, {}, 0.0)
    assert not result.passed
    assert str(result.fault).startswith("case 1: expect: expected allow, got deny by rule 'no telnet'")
    unknown = {"cases": [{"from": "ghost", "to": "pc", "expect": "allow"}]}
    (result,) = run_cases(read_policy(unknown), DIRECTORY, {}, 0.0)
    assert "nobody is called 'ghost'" in str(result.fault)


def test_a_weekly_window_follows_the_clock_on_the_wall_over_a_change_of_summer_time() -> None:
    office = Weekly(frozenset({0, 6}), 8 * 60, 18 * 60, "Europe/Berlin")
    # Clocks were set forward on Sunday 2026-03-29: 08:00 is 06:00 UTC from then on.
    assert not is_open([office], at("2026-03-29T05:59:59Z"))
    assert is_open([office], at("2026-03-29T06:00:00Z"))
    assert next_change_s([office], at("2026-03-24T12:00:00Z")) == at("2026-03-29T06:00:00Z")
    assert next_change_s([office], at("2026-03-29T06:00:00Z")) == at("2026-03-29T16:00:00Z")


def test_a_window_past_midnight_belongs_to_the_day_it_begins_on() -> None:
    night = Weekly(frozenset({4}), 22 * 60, 6 * 60, "UTC")
    assert is_open([night], at("2026-11-20T23:00:00Z"))
    assert is_open([night], at("2026-11-21T05:59:00Z"))
    assert not is_open([night], at("2026-11-21T06:00:00Z"))
    assert not is_open([night], at("2026-11-20T05:00:00Z"))


@given(
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.floats(1.6e9, 2.0e9),
    st.lists(st.floats(0.0, 1.0), max_size=20),
)
def test_nothing_changes_before_the_next_change(
    days: frozenset[int], start: int, end: int, zone: str, time_s: float, shares: list[float]
) -> None:
    window = Weekly(days, start, end if end != start else start + 1, zone)
    change_s = next_change_s([window], time_s)
    assert time_s < change_s
    for share in shares:
        between_s = time_s + share * (change_s - time_s)
        if between_s < change_s:
            assert is_open([window], between_s) == is_open([window], time_s)


def test_a_rule_for_once_holds_from_its_begin_until_its_end() -> None:
    times = [{"from": "2026-11-21T08:00:00Z", "until": "2026-11-21T09:00:00+00:00"}]
    policy = read_policy({"rules": [rule(times=times)]})
    begin, end = at("2026-11-21T08:00:00Z"), at("2026-11-21T09:00:00Z")
    assert [decide(policy, WEB, DB, Flow(), t).allowed for t in (begin - 1, begin, end - 1, end)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert [next_change(policy, t) for t in (0.0, begin, end)] == [begin, end, float("inf")]


RANGES = st.lists(
    st.tuples(st.integers(1, LAST_PORT), st.integers(1, LAST_PORT)).map(lambda p: (min(p), max(p))), max_size=4
)


@given(RANGES, RANGES, st.integers(1, LAST_PORT))
def test_prefixes_and_differences_have_exactly_the_ports_that_they_should(
    ours: list[tuple[int, int]], taken: list[tuple[int, int]], port: int
) -> None:
    inside = any(first <= port <= last for first, last in ours)
    matched = [value for value, mask in prefixes(ours) if port & (0xFFFF if mask is None else mask) == value]
    assert len(matched) == int(inside)
    left = without(ours, taken)
    assert (bool(left) and holds(left, port)) == (inside and not any(a <= port <= b for a, b in taken))
    assert merged(left) == left
