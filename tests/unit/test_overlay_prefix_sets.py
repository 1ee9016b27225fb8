"""Prefixes as spans of a table are what they are one by one."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitching.overlay.prefix_sets import NextHops, PrefixSet, PrefixTable, Span
from stitching.overlay.sites import Prefix

PREFIXES: list[Prefix] = [IPv4Network((0x0A000000 + (number << 8), 24)) for number in range(12)]
TABLE = PrefixTable(PREFIXES[:10])


def spans() -> st.SearchStrategy[list[Span]]:
    place = st.integers(0, len(TABLE.prefixes))
    return st.lists(st.tuples(place, place).map(lambda two: (min(two), max(two))), max_size=5)


def one_by_one(of: list[Span]) -> list[Prefix]:
    places = {place for start, end in of for place in range(start, end)}
    return [TABLE.prefixes[place] for place in sorted(places)]


@given(spans())
def test_a_set_has_the_prefixes_of_its_spans_and_no_others(of: list[Span]) -> None:
    made = PrefixSet.of(TABLE, of)
    assert list(made) == one_by_one(of)
    assert len(made) == len(one_by_one(of))
    assert made.text == ",".join(map(str, one_by_one(of)))
    assert [prefix for prefix in PREFIXES if prefix in made] == one_by_one(of)
    assert all(end < start for (_, end), (start, _) in zip(made.spans, made.spans[1:], strict=False))


@given(spans(), spans())
def test_sets_are_equal_by_what_they_have_whatever_their_table(one: list[Span], other: list[Span]) -> None:
    here, there = PrefixSet.of(TABLE, one), PrefixSet.of(TABLE, other)
    elsewhere = PrefixSet.of(PrefixTable(here), [(0, len(here))])
    assert (here == there) == (list(here) == list(there))
    assert here == elsewhere and hash(here) == hash(elsewhere)
    assert here != list(here)


@given(st.lists(st.tuples(spans(), st.frozensets(st.integers(1, 4), min_size=1)), max_size=5))
def test_next_hops_are_those_of_every_way_that_has_the_prefix(
    ways: list[tuple[list[Span], frozenset[int]]],
) -> None:
    found = NextHops([(PrefixSet.of(TABLE, of), hops) for of, hops in ways])
    expected: dict[Prefix, frozenset[int]] = {}
    for of, hops in ways:
        for prefix in one_by_one(of):
            expected[prefix] = expected.get(prefix, frozenset()) | hops
    assert dict(found) == expected and len(found) == len(expected)
    assert [prefix for prefix in PREFIXES if prefix in found] == [one for one in PREFIXES if one in expected]


def test_the_prefixes_of_a_plan_are_all_of_one_table() -> None:
    ways = [(PrefixSet.of(PrefixTable(PREFIXES), [(0, 1)]), frozenset({1})) for _ in range(2)]
    with pytest.raises(ValueError, match="one table"):
        NextHops(ways)
