"""A document comes to stitches and rules: always the same ones, whatever the order; what cannot be is named."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stitching.intents.compiling import MOST_PAIRS, compile_document
from stitching.intents.faults import Conflict
from stitching.intents.planning import Action, Actual, Plan, Thing, plan
from stitching.intents.wanted import Wanted, rule_key, rule_name
from stitching.intents.world import ORIGIN, Expected, Progress, World
from stitching.network import Host, LinkKey
from stitching.policy.reading import read_policy
from stitching.stitch import Hop, State, Stitch, StitchPath, StitchRequest, VmRequest
from stitching.vnet import Directory, Member, VNet
from tests.unit.intents_world import (
    MACS,
    NOW_S,
    apart,
    directory,
    document,
    latency,
    reach,
    ring,
    transfer,
    world,
)

R1, R2, R3, B1, B2 = MACS.values()


def compiled(*items: dict[str, Any], **others: Any) -> Wanted:
    return compile_document(document(*items), world(**others))


def conflict(*items: dict[str, Any], **others: Any) -> Conflict:
    (found,) = compiled(*items, **others).conflicts
    return found


def up(number: int, request: StitchRequest) -> Stitch:
    return Stitch(number, request, State.UP, NOW_S, NOW_S)


def applied(wanted: Wanted, actual: Actual) -> Actual:
    """What there is once a plan was carried out."""
    stitches = {stitch.id: stitch for stitch in actual.stitches}
    rules = dict(actual.rules)
    number = max(stitches, default=0)
    for step in plan(wanted, actual).changes:
        if step.thing is Thing.RULE:
            if step.action is Action.DELETE:
                del rules[step.key]
            else:
                rules[step.key] = wanted.rules[step.key]
            continue
        if step.stitch_id is not None:
            del stitches[step.stitch_id]
        if step.action is not Action.DELETE:
            assert step.request is not None
            number += 1
            stitches[number] = up(number, step.request)
    return Actual(tuple(stitches.values()), rules, wanted)


# -- what intents come to -----------------------------------------------------------------------------------


def test_low_latency_between_two_hosts_is_one_stitch() -> None:
    wanted = compiled(latency("video", "r1", "r3", app="tcp/443", max_latency=10, bandwidth=5, protection="link"))
    ((key, request),) = wanted.stitches.items()
    assert key == ("video", f"{R1}>{R3}") and isinstance(request, VmRequest)
    assert (request.source_mac, request.target_mac, request.bandwidth_mbps) == (R1, R3, 5.0)
    assert (request.max_latency_ms, request.protection.value, request.origin) == (10.0, "link", ORIGIN)
    assert request.labels == (("intent", "video"), ("part", f"{R1}>{R3}"))


@pytest.mark.parametrize(
    "ends", [("r1", "r2"), ("10.0.0.1", MACS["r2"].upper()), ({"host": "R1"}, {"host": "r2"})]
)
def test_hosts_go_by_name_address_and_mac(ends: tuple[Any, Any]) -> None:
    assert list(compiled(latency("x", *ends)).stitches) == [("x", f"{R1}>{R2}")]


def test_between_networks_there_is_one_stitch_for_each_pair() -> None:
    assert {key[1] for key in compiled(latency("x", "red", "b1")).stitches} == {
        f"{mac}>{B1}" for mac in (R1, R2, R3)
    }
    assert len(compiled(latency("x", "red", "red")).stitches) == 3


def test_too_many_pairs_are_refused_with_their_number() -> None:
    members = {
        v: tuple(Member(f"02:00:00:00:{n:02x}:{k:02x}", f"{v}{k}") for k in range(9)) for n, v in enumerate("pq")
    }
    big = Directory.of(VNet(name, hosts) for name, hosts in members.items())
    (fault,) = compiled(latency("x", "p", "q"), directory=big).faults
    assert "81 pairs" in str(fault) and str(MOST_PAIRS) in str(fault)


def test_groups_are_those_of_the_policy() -> None:
    wanted = compiled(latency("x", "r1", {"group": "servers"}), groups={"servers": frozenset({R3, B2})})
    assert len(wanted.stitches) == 2


def test_networks_apart_are_denied_both_ways() -> None:
    rules = compiled(apart("keep", "red", "blue")).rules
    policy = read_policy({"rules": list(rules.values())})
    assert [(rule.source[0].value, rule.target[0].value, rule.allow) for rule in policy.rules] == [
        (("red",), ("blue",), False),
        (("blue",), ("red",), False),
    ]
    assert {rule_key(rule.name) for rule in policy.rules} == set(rules)


def test_reaching_is_allowed_one_way_until_its_time_is_over() -> None:
    until = {"until": "2026-12-01T00:00:00+00:00"}
    (rule,) = compiled(reach("web", "red", "b1", app="tcp/443", **until)).rules.values()
    policy = read_policy({"rules": [rule]}).rules[0]
    assert (policy.allow, policy.protocol, policy.ports) == (True, 6, ((443, 443),))
    assert policy.windows
    assert compiled(reach("web", "red", "b1", **until), now_s=NOW_S + 1e8).rules == {}


# -- what is wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (latency("x", "r1", "nobody"), "no host, virtual network or group is called 'nobody'"),
        (reach("x", "red", "green"), "'green'"),
        (apart("x", {"vnet": "red"}, {"vnet": "green"}), "there is no vnet 'green'"),
        (latency("x", "r1", {"group": "g"}), "there is no group 'g'"),
        (transfer("x", "red", "b1", "1 GB"), "3 hosts"),
        (apart("x", "red", "r1"), "in common"),
    ],
)
def test_an_end_that_is_nobody_is_named_with_the_intent(item: dict[str, Any], said: str) -> None:
    wanted = compiled(item)
    assert said in str(wanted.faults[0]) and "intent 'x'" in str(wanted.faults[0])
    assert wanted.unresolved == {"x"} and not wanted.stitches and not wanted.rules


def test_a_name_of_two_things_has_to_say_which() -> None:
    named = Directory.of([VNet("r1", (Member(R1, "r1"),))])
    assert "a host and a vnet" in str(compiled(latency("x", "r1", B1), directory=named).faults[0])


@pytest.mark.parametrize("other", [
    latency("other", "r1", "b2"),
    reach("other", "blue", "red", app="tcp/443"),
    transfer("other", "r1", "b1", "1 GB"),
    latency("other", "red", "blue"),
])  # fmt: skip
def test_who_is_kept_apart_cannot_be_joined(other: dict[str, Any]) -> None:
    found = conflict(apart("keep", "red", "blue"), other)
    assert found.intents == ("keep", "other")
    assert "apart" in found.reason and found.remedy


def test_who_is_kept_apart_from_others_may_be_joined() -> None:
    assert not compiled(apart("keep", "red", "b1"), latency("other", "r1", "r2")).conflicts


def test_the_same_packets_on_other_terms_are_a_conflict() -> None:
    found = conflict(latency("a", "r1", "r2", bandwidth=2), latency("b", "r1", "r2", bandwidth=3))
    assert found.intents == ("a", "b") and "bandwidth 2 Mbit/s against 3 Mbit/s" in found.reason


def test_the_same_packets_on_the_same_terms_share_a_stitch() -> None:
    wanted = compiled(latency("a", "r1", "r2"), latency("b", "r1", "r2"))
    assert list(wanted.stitches) == [("a", f"{R1}>{R2}")]
    assert wanted.shared == {("b", f"{R1}>{R2}"): ("a", f"{R1}>{R2}")}


def test_different_applications_do_not_meet() -> None:
    wanted = compiled(latency("a", "r1", "r2", app="tcp/80"), latency("b", "r1", "r2", app="tcp/443"))
    assert len(wanted.stitches) == 2 and not wanted.conflicts


def test_guarantees_above_what_leaves_a_switch_name_all_who_cross() -> None:
    # Two links of 10 Mbit/s leave switch 1.
    found = conflict(
        latency("a", "r1", "r2", bandwidth=8), latency("b", "r1", "r3", bandwidth=8),
        latency("c", "b1", "b2", bandwidth=6),
    )  # fmt: skip
    assert found.intents == ("a", "b", "c")
    assert "22 Mbit/s out of switch 0000000000000001" in found.reason and "20 free" in found.reason
    assert "2 Mbit/s less" in found.remedy


def test_a_cut_inside_the_fabric_is_found() -> None:
    network = ring()
    row = {key: link for key, link in network.links.items() if {key[0], key[2]} != {4, 1}}
    # In a row 1-2-3-4 the one link 2-3 is what is short.
    found = conflict(
        latency("a", "r1", "r3", bandwidth=6), latency("b", "r2", "b2", bandwidth=6),
        network=replace(network, links=row),
    )  # fmt: skip
    assert found.intents == ("a", "b") and "10 free" in found.reason


def test_nothing_is_said_of_links_whose_capacity_is_not_known() -> None:
    assert not compiled(latency("a", "r1", "r2", bandwidth=1000), network=ring(None)).conflicts


def test_what_other_stitches_hold_is_not_there_for_intents() -> None:
    keys: tuple[LinkKey, ...] = ((1, 10, 2, 11),)
    other = up(1, VmRequest(source_mac=B1, target_mac=R2, bandwidth_mbps=9.0))
    held = replace(other, path=StitchPath((Hop(1, 2, 10), Hop(2, 11, 1)), keys, 1.0))
    found = conflict(latency("a", "r1", "r2", bandwidth=12), stitches=(held,))
    assert found.intents == ("a",) and "11 free" in found.reason


# -- transfers ----------------------------------------------------------------------------------------------

# The window is 14:00 to 16:00 and it is 14:13:20: 6400 s are left.
LEFT_S = 6400.0


def test_a_transfer_is_promised_what_it_needs_with_headroom() -> None:
    wanted = compiled(transfer("backup", "r1", "r3", "1 GB"))
    (request,) = wanted.stitches.values()
    assert request.bandwidth_mbps == pytest.approx(1.1 * 8000 / LEFT_S, rel=1e-3)
    assert isinstance(request, VmRequest) and not request.both_ways
    assert wanted.progress["backup"].rate_mbps == request.bandwidth_mbps


def test_what_was_carried_counts_and_small_changes_move_nothing() -> None:
    def rate(carried_mbit: float, held: float | None = None) -> float | None:
        known = Progress(NOW_S + LEFT_S, carried_mbit, NOW_S, NOW_S + LEFT_S, held)
        requests = compiled(transfer("x", "r1", "r3", "1 GB"), progress={"x": known}).stitches.values()
        return next((request.bandwidth_mbps for request in requests), None)

    assert rate(4000.0) == pytest.approx(1.1 * 4000 / LEFT_S, rel=1e-3)
    assert rate(4000.0, 0.65) == 0.65
    assert rate(4000.0, 0.9) == pytest.approx(1.1 * 4000 / LEFT_S, rel=1e-3)
    assert rate(8000.0, 0.9) is None


def test_a_window_that_is_not_open_yet_is_waited_for() -> None:
    wanted = compiled(transfer("x", "r1", "r3", "1 GB", start="22:00", deadline="06:00", zone="UTC"))
    assert not wanted.stitches
    assert wanted.notes[0].words.startswith("begins at 22:00 with") and not wanted.notes[0].missed


def test_what_cannot_be_done_in_time_is_said_with_what_is_free() -> None:
    wanted = compiled(transfer("x", "r1", "r3", "100 GB"))
    assert wanted.notes[0].missed
    assert wanted.notes[0].words == "cannot be done by 16:00: needs 125 Mbit/s, 10 are free"
    # What there is is taken: more is done by then than with nothing.
    assert [request.bandwidth_mbps for request in wanted.stitches.values()] == [10.0]


def test_a_transfer_leaves_room_for_what_others_want_and_do_not_have_yet() -> None:
    # Of two ways round, each of 10 Mbit/s, the others take one and most of the other.
    others = (latency("a", "r1", "r3", bandwidth=10), latency("b", "b1", "b2", bandwidth=7))
    wanted = compiled(transfer("x", "r1", "r3", "100 GB"), *others)
    assert wanted.notes[0].words == "cannot be done by 16:00: needs 125 Mbit/s, 3 are free"


def test_a_transfer_runs_when_most_is_left() -> None:
    steps = 24
    mbps = np.full((8, steps), 9.0)
    mbps[:, 6:12] = 1.0
    expected = Expected(NOW_S, 300.0, ring().link_order, mbps)
    wanted = compiled(transfer("x", "r1", "r3", "100 MB"), expected=expected)
    progress = wanted.progress["x"]
    assert (progress.begin_s, progress.end_s) == (NOW_S + 6 * 300, NOW_S + 12 * 300)
    assert not wanted.stitches and "begins at 14:43" in wanted.notes[0].words


@given(
    st.lists(st.floats(0, 20), min_size=1, max_size=30),
    st.floats(1, 1e5),
    st.floats(0, 10_000),
    st.floats(1, 10_000),
)
def test_the_chosen_interval_is_within_the_window_and_never_worse_than_all_of_it(
    room: list[float], amount_mbit: float, begins_s: float, length_s: float
) -> None:
    from stitching.intents.transfers import Room, best_interval

    span = begins_s, begins_s + length_s
    has = Room(np.array([300.0 * n for n in range(len(room))]), np.array(room))
    begin_s, end_s = best_interval(amount_mbit, span, has)
    assert span[0] <= begin_s < end_s <= span[1]

    def share(begin_s: float, end_s: float) -> float:
        steps = np.clip(np.searchsorted(has.begins_s, [begin_s, *has.begins_s[(has.begins_s > begin_s) & (
            has.begins_s < end_s)]], side="right") - 1, 0, len(room) - 1)  # fmt: skip
        return float(amount_mbit / max(end_s - begin_s, 1.0) / max(has.mbps[steps].min(), 1e-9))

    assert share(begin_s, end_s) <= share(*span) * (1 + 1e-6)


# -- plans --------------------------------------------------------------------------------------------------


def words(found: Plan) -> list[str]:
    return [f"{step.action} {step.thing} {step.key[0]}: {step.reason}" for step in found.changes]


def test_nothing_is_there_yet() -> None:
    wanted = compiled(latency("a", "r1", "r2"), apart("k", "red", "blue"))
    assert words(plan(wanted, Actual())) == [
        "create rule k: the policy has no such rule yet",
        "create rule k: the policy has no such rule yet",
        "create stitch a: there is no such stitch yet",
    ]


def test_what_changed_in_the_document_is_told_from_what_changed_by_hand() -> None:
    before = compiled(latency("a", "r1", "r2"))
    there = applied(before, Actual())
    after = compiled(latency("a", "r1", "r2", bandwidth=2))
    (step,) = plan(after, there).changes
    assert (step.action, step.reason, step.drift) == (Action.CHANGE, "bandwidth 1 Mbit/s -> 2 Mbit/s", False)
    (by_hand,) = (replace(s, request=replace(s.request, bandwidth_mbps=7.0)) for s in there.stitches)
    (step,) = plan(before, replace(there, stitches=(by_hand,))).changes
    assert step.drift and step.reason == "it was changed by hand: bandwidth 7 Mbit/s -> 1 Mbit/s"
    (step,) = plan(before, replace(there, stitches=())).changes
    assert (step.action, step.reason, step.drift) == (Action.CREATE, "its stitch is gone", True)


def test_stitches_of_others_are_never_touched() -> None:
    labels = (("intent", "a"), ("part", f"{R1}>{R2}"))
    others = Actual((up(1, VmRequest(source_mac=R1, target_mac=R3, bandwidth_mbps=1.0, labels=labels)),))
    assert plan(Wanted(), others).steps == ()


def test_an_intent_that_means_nobody_now_keeps_what_it_has() -> None:
    there = applied(compiled(latency("a", "10.0.0.1", "10.0.0.2")), Actual())
    gone = compile_document(document(latency("a", "10.0.0.1", "10.0.0.2")), World(now_s=NOW_S))
    assert gone.unresolved == {"a"}
    assert plan(gone, there).changes == ()


def test_of_two_stitches_for_one_part_one_stays() -> None:
    wanted = compiled(latency("a", "r1", "r2"))
    (request,) = wanted.stitches.values()
    (step,) = plan(wanted, Actual((up(1, request), up(2, request)))).changes
    assert (step.action, step.stitch_id) == (Action.DELETE, 2)


_ENDS = st.sampled_from([*MACS, "red", "blue", "nobody", "10.0.0.4"])
_MBPS = st.integers(1, 9)
_APPS = st.sampled_from(["tcp/1", "udp"])
_BY = {"deadline": "16:00", "zone": "UTC"}
_FORMS = st.one_of(
    st.builds(lambda a, b, mbps: {"latency": {"between": [a, b], "bandwidth": mbps}}, _ENDS, _ENDS, _MBPS),
    st.builds(lambda a, b: {"apart": [a, b]}, _ENDS, _ENDS).filter(lambda form: len(set(form["apart"])) == 2),
    st.builds(lambda a, b, app: {"reach": {"from": a, "to": b, "app": app}}, _ENDS, _ENDS, _APPS),
    st.builds(lambda a, b, n: {"transfer": {"from": a, "to": b, "amount": n, **_BY}}, _ENDS, _ENDS, _MBPS),
)
_DOCUMENTS = st.lists(_FORMS, max_size=5).map(
    lambda forms: [{"name": f"i{n}", **form} for n, form in enumerate(forms)]
)


@settings(deadline=None, max_examples=60)
@given(_DOCUMENTS, st.randoms(use_true_random=False))
def test_compiling_is_deterministic_and_the_order_means_nothing(items: list[dict[str, Any]], random: Any) -> None:
    once = compiled(*items)
    random.shuffle(items)
    assert compiled(*items) == once


@settings(deadline=None, max_examples=60)
@given(_DOCUMENTS, _DOCUMENTS)
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(
    first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    there = Actual()
    for items in (first, second):
        wanted = compiled(*items)
        there = applied(wanted, there)
        assert plan(compiled(*items), there).changes == ()
        kept = {key for key in there.rules if key[0] not in wanted.unresolved}
        assert kept == set(wanted.rules)


def test_every_order_of_three_is_the_same() -> None:
    items = [latency("a", "r1", "r2", bandwidth=2), latency("b", "r1", "r2"), apart("c", "red", "blue")]
    assert len({str(compiled(*order)) for order in permutations(items)}) == 1


def test_the_name_of_a_rule_tells_its_part() -> None:
    assert rule_key(rule_name(("web", "to"))) == ("web", "to")
    assert rule_key("web/to") is None


def test_a_host_that_is_declared_but_was_not_seen_is_known() -> None:
    late = Directory.of([VNet("red", (*directory().vnets["red"].members, Member("02:00:00:00:00:99", "late")))])
    wanted = compiled(latency("x", "r1", "late"), directory=late)
    assert list(wanted.stitches) == [("x", f"{R1}>02:00:00:00:00:99")]
    assert Host("02:00:00:00:00:99", 0, 0).port == (0, 0)
