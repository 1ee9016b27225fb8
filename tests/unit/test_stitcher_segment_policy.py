"""A segment takes the place of the default deny, and never of what a policy says."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from ryu_apps.events import PolicyChanged
from stitching.kinds import rules
from stitching.plan import NotPossible
from stitching.policy.compiling import LAST, PAIR, PATTERNS
from stitching.policy.document import By, Demands, Policy, Rule, Selector
from stitching.rules import FlowRule, Table
from stitching.stitch import State
from tests.unit.segment_bench import SEGMENT, bench, tree, up
from tests.unit.stitcher_bench import Bench, store

__all__ = ["bench", "store"]

RED, BLUE = Selector(By.VNET, ("red",)), Selector(By.VNET, ("blue",))
NOTHING = Policy((Rule("quiet"),))


def rule(bench: Bench, policy: Policy) -> None:
    bench.on_policy(PolicyChanged(policy, 0.0))


def test_one_whose_hosts_a_rule_forbids_to_talk_is_refused_with_the_rule(bench: Bench) -> None:
    rule(bench, NOTHING)
    with pytest.raises(NotPossible, match="policy rule 'quiet' denies it"):
        bench._desk.create(SEGMENT)


def test_a_rule_that_comes_later_takes_it_away(bench: Bench) -> None:
    up(bench)
    rule(bench, NOTHING)
    assert (bench.stitch().state, bench.stitch().reason) == (State.TERMINATING, "policy rule 'quiet' denies it")


def test_rules_of_a_policy_for_a_pair_come_before_what_the_segment_lets_through(bench: Bench) -> None:
    stitch = up(bench)
    permits = [
        entry
        for entries in rules(stitch).values()
        for entry in entries.values()
        if isinstance(entry, FlowRule) and entry.table == Table.SEGMENT
    ]
    assert permits and all(50 < entry.priority < min(LAST, PAIR, PATTERNS) for entry in permits)


def test_it_takes_the_links_that_the_policy_leaves_to_it(bench: Bench) -> None:
    links = bench._planner.network.links
    ports = frozenset(key[:2] for key in links if frozenset({key[0], key[2]}) != {1, 2})

    demand = Rule("secret", (RED,), (BLUE,), allow=True, demands=Demands(encrypted=True))
    rule(bench, Policy((demand,), MappingProxyType({}), MappingProxyType({}), ports))
    stitch = up(bench)
    assert {frozenset({key[0], key[2]}) for key in tree(stitch).links} == {frozenset({1, 3}), frozenset({2, 3})}
    rule(bench, Policy((demand,)))
    assert bench.stitch().state is State.TERMINATING


def test_without_links_that_a_rule_demands_it_is_refused(bench: Bench) -> None:
    rule(bench, Policy((Rule("secret", (RED,), (BLUE,), allow=True, demands=Demands(encrypted=True)),)))
    with pytest.raises(NotPossible, match="on the links that the policy leaves to it"):
        bench._desk.create(SEGMENT)
