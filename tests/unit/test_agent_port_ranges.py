"""Of lists of ports the first that has a port decides, said in ranges that do not overlap."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vte_agent.port_ranges import first_of

PORTS = st.integers(0, 30) | st.integers(65_530, 65_535)
RANGES = st.lists(st.tuples(PORTS, PORTS).map(lambda pair: (min(pair), max(pair))), max_size=4)


@given(st.lists(st.tuples(RANGES, st.sampled_from("abc")), max_size=8))
def test_each_port_has_the_verdict_of_the_first_list_that_has_it(
    lists: list[tuple[list[tuple[int, int]], str]],
) -> None:
    found = first_of(lists)
    for port in (*range(32), *range(65_529, 65_536)):
        said = [verdict for ranges, verdict in lists if any(first <= port <= last for first, last in ranges)]
        assert [verdict for (first, last), verdict in found if first <= port <= last] == said[:1]


@given(st.lists(st.tuples(RANGES, st.sampled_from("abc")), max_size=8))
def test_they_come_in_order_and_are_as_few_as_can_be(lists: list[tuple[list[tuple[int, int]], str]]) -> None:
    for ((_, last), verdict), ((first, _), following) in pairwise(first_of(lists)):
        assert last < first
        assert last + 1 < first or verdict != following
