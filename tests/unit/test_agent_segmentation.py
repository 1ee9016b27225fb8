"""Filters become one table; what makes no sense is refused before anything is touched."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vte_agent.protocol.filters import Filters, Pair, Pattern, Standing
from vte_agent.segmentation import NO_RULE, TO_MACHINE, compile_filters

WEB = Pattern(rule="web", allow=True, protocol=6, ports=((80, 80), (8000, 8005)))
REST = Pattern(rule="default", allow=False)


def standing(number: int, *prefixes: str) -> Standing:
    return Standing(id=number, prefixes=tuple(ip_network(text) for text in prefixes))


TWO = (standing(1, "10.1.0.0/16"), standing(2, "10.2.0.0/16", "fd00:2::/64"))


def test_a_rule_is_counted_once_however_many_pairs_it_is_about() -> None:
    pairs = tuple(Pair(source=a, target=b, patterns=(WEB, REST)) for a, b in ((1, 2), (2, 1)))
    ruleset = compile_filters(Filters(standings=TWO, pairs=pairs))
    rules = [(NO_RULE, False), (TO_MACHINE, False), ("default", False), ("web", True)]
    assert sorted(ruleset.counters.values()) == rules
    assert ruleset.body.count("tcp dport { 80, 8000-8005 } counter name") == 1, "both have the same chain"


def test_a_name_of_a_rule_is_never_a_part_of_the_table() -> None:
    evil = Pattern(rule='x" ; flush ruleset ; #', allow=True)
    ruleset = compile_filters(Filters(standings=TWO, pairs=(Pair(source=1, target=2, patterns=(evil,)),)))
    assert "flush" not in ruleset.body


@pytest.mark.parametrize(
    ("filters", "why"),
    [
        (
            Filters(standings=(*TWO, standing(3, "10.1.7.0/24"))),
            r"10\.1\.7\.0/24 and 10\.1\.0\.0/16 overlap",
        ),
        (Filters(standings=(TWO[0], TWO[0])), "the same number"),
        (Filters(standings=TWO, pairs=(Pair(source=1, target=9, patterns=()),)), "no standing 9"),
        (Filters(standings=TWO, pairs=(Pair(source=1, target=2, patterns=()),) * 2), "a pair twice"),
        (
            Filters(
                standings=TWO,
                pairs=(
                    Pair(
                        source=1, target=2, patterns=(Pattern(rule="r", allow=True, protocol=6, ports=((9, 8),)),)
                    ),
                ),
            ),
            "9-8",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(filters: Filters, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compile_filters(filters)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=8))
def test_standings_are_refused_exactly_where_two_overlap(parts: list[tuple[int, int]]) -> None:
    networks = [ip_network((0x0A000000 | byte, length), strict=False) for byte, length in parts]
    overlap = any(a.overlaps(b) for n, a in enumerate(networks) for b in networks[:n])
    filters = Filters(standings=tuple(Standing(id=n, prefixes=(one,)) for n, one in enumerate(networks)))
    if overlap:
        with pytest.raises(ValueError, match="overlap"):
            compile_filters(filters)
    else:
        compile_filters(filters)
