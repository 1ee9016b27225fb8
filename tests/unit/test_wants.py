"""What is wanted of a switch is what its owners want together, whatever they said in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ryu_apps import wire
from ryu_apps.installing.wants import Wants, watches_alive
from stitching.match import Match
from stitching.rules import PORT_IN_PORT, Entry, EntryKey, Failover, FlowRule, Output, RuleSet, rule_set

entries: st.SearchStrategy[Entry] = st.builds(
    FlowRule,
    table=st.just(0),
    priority=st.integers(0, 3),
    match=st.just(Match()),
    actions=st.integers(1, 2).map(lambda port: (Output(port),)),
) | st.builds(Failover, st.tuples(st.integers(1, 2), st.just(PORT_IN_PORT)))
rule_sets = st.lists(entries, max_size=5).map(lambda drawn: {entry.key: entry for entry in drawn})
said = st.tuples(st.sampled_from("abc"), st.dictionaries(st.integers(1, 2), rule_sets))


def together(owners: dict[str, dict[int, RuleSet]], dpid: int) -> dict[EntryKey, set[Entry]]:
    """What anybody wants, by key: they need not agree."""
    wanted: dict[EntryKey, set[Entry]] = {}
    for rules in owners.values():
        for key, entry in rules.get(dpid, {}).items():
            wanted.setdefault(key, set()).add(entry)
            if watches_alive(entry):
                wanted[wire.ALIVE.key] = {wire.ALIVE}
    return wanted


@given(st.lists(said, max_size=12))
def test_what_is_wanted_is_what_the_owners_want_together(sayings: list[tuple[str, dict[int, RuleSet]]]) -> None:
    wants = Wants()
    owners: dict[str, dict[int, RuleSet]] = {}
    for owner, rules in sayings:
        before = {dpid: dict(wants.on(dpid)) for dpid in (1, 2)}
        touched = wants.speak(owner, rules)
        owners[owner] = rules
        for dpid in (1, 2):
            now, wanted = dict(wants.on(dpid)), together(owners, dpid)
            assert now.keys() == wanted.keys()
            assert all(entry in wanted[key] for key, entry in now.items())
            changed = {key for key in {**before[dpid], **now} if before[dpid].get(key) != now.get(key)}
            assert changed <= touched.get(dpid, set())
            for key in now:
                others = {name: rules for name, rules in owners.items() if name != "a"}
                if key != wire.ALIVE.key:
                    assert wants.by_another("a", dpid, key) == (key in together(others, dpid))


def test_who_repeats_what_was_said_touches_nothing() -> None:
    wants = Wants()
    rules = {1: rule_set([FlowRule(0, 1, Match())])}
    assert wants.speak("a", rules)[1] == set(rules[1])
    assert not wants.speak("a", rules)
    assert not wants.speak("a", {1: dict(rules[1])})


def test_of_two_different_wishes_the_last_counts_until_it_is_taken_back() -> None:
    wants = Wants()
    first, second = FlowRule(0, 1, Match(), (Output(1),)), FlowRule(0, 1, Match(), (Output(2),))
    wants.speak("a", {1: rule_set([first])})
    wants.speak("b", {1: rule_set([second])})
    assert wants.on(1)[first.key] == second
    wants.speak("b", {})
    assert wants.on(1)[first.key] == first
