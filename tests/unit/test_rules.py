"""The changes of a difference bring a switch to what it should have, and touch nothing that is right."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stitching.difference import Change, diff
from stitching.match import Match
from stitching.rules import Entry, EntryKey, Failover, FlowRule, Meter, Output, rule_set

# A small universe, so that two drawn sets share entries, some of them with other actions.
MATCHES = st.builds(
    lambda in_port, eth_type: Match(in_port=in_port, eth_type=eth_type),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, 0x0806]),
)
RULES = st.builds(
    FlowRule,
    table=st.integers(0, 1),
    priority=st.sampled_from([0, 100]),
    match=MATCHES,
    actions=st.sampled_from([(), (Output(1),), (Output(1), Output(2))]),
    goto=st.sampled_from([None, 2]),
    cookie=st.integers(0, 1),
    meter=st.none(),
)
GROUPS = st.builds(Failover, st.tuples(st.integers(1, 2), st.integers(1, 2)))
METERS = st.builds(Meter, st.integers(0x4C00, 0x4C02), st.integers(1, 2), st.just(5))
RULE_SETS = st.lists(RULES | GROUPS | METERS, max_size=15).map(lambda drawn: {entry.key: entry for entry in drawn})

many = settings(deadline=None, max_examples=120)


def apply(has: dict[EntryKey, Entry], change: Change) -> None:
    if change.remove:
        del has[change.entry.key]
    else:
        has[change.entry.key] = change.entry


@many
@given(RULE_SETS, RULE_SETS)
def test_the_changes_turn_what_a_switch_has_into_what_it_should_have(
    has: dict[EntryKey, Entry], wants: dict[EntryKey, Entry]
) -> None:
    now = dict(has)
    for change in diff(has, wants).changes(dpid=7):
        assert change.dpid == 7
        apply(now, change)
        # An entry that stays wanted is replaced, never taken out and put in again.
        assert set(now) >= set(has) & set(wants)
    assert now == wants


@many
@given(RULE_SETS, RULE_SETS)
def test_a_rule_that_is_right_is_not_touched(has: dict[EntryKey, Entry], wants: dict[EntryKey, Entry]) -> None:
    right = {key for key in has if wants.get(key) == has[key]}
    changes = diff(has, wants).changes(dpid=7)
    assert right.isdisjoint(change.entry.key for change in changes)
    assert len(changes) == len(set(has) | set(wants)) - len(right)


@many
@given(RULE_SETS, RULE_SETS)
def test_there_is_a_difference_exactly_where_the_sets_differ(
    has: dict[EntryKey, Entry], wants: dict[EntryKey, Entry]
) -> None:
    assert bool(diff(has, wants)) == (has != wants)
    assert not diff(has, dict(has))


@many
@given(RULE_SETS, RULE_SETS)
def test_new_rules_are_in_before_old_ones_leave(has: dict[EntryKey, Entry], wants: dict[EntryKey, Entry]) -> None:
    removals = [change.remove for change in diff(has, wants).changes(dpid=7)]
    assert removals == sorted(removals)


@many
@given(RULE_SETS, RULE_SETS)
def test_a_rule_never_names_a_group_or_meter_that_is_not_there(
    has: dict[EntryKey, Entry], wants: dict[EntryKey, Entry]
) -> None:
    changes = diff(has, wants).changes(dpid=7)
    put = [isinstance(change.entry, FlowRule) for change in changes if not change.remove]
    gone = [isinstance(change.entry, FlowRule) for change in changes if change.remove]
    assert put == sorted(put)
    assert gone == sorted(gone, reverse=True)


@many
@given(RULE_SETS)
def test_a_rule_set_holds_every_rule_under_its_key(rules: dict[EntryKey, Entry]) -> None:
    assert rule_set([*rules.values(), *rules.values()]) == rules


def test_two_different_rules_for_one_entry_are_an_error() -> None:
    rule = FlowRule(0, 1, Match(), (Output(1),))
    with pytest.raises(ValueError, match="two rules for one entry"):
        rule_set([rule, FlowRule(0, 1, Match(), (Output(2),))])
