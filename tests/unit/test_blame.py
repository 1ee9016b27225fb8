"""Blame ends on the link that bad paths share, is forgotten by and by, and longer with each relapse."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stitching.blame import HALF_LIFE_S, LONGEST_HALF_LIFE_S, Blame
from stitching.network import LinkKey


def link(number: int) -> LinkKey:
    return number, 1, number + 1, 2


GUILTY = link(0)


@given(others=st.lists(st.sets(st.integers(1, 9), min_size=1, max_size=4), min_size=2, max_size=5))
def test_what_bad_paths_have_in_common_bears_the_blame(others: list[set[int]]) -> None:
    shared = set.intersection(*others)
    blame = Blame()
    for _ in range(20):
        for other in others:
            blame.lay([GUILTY, *map(link, other)], 0.15, 0.0, 0.0)
    innocent = max((blame.of(link(number), 0.0) for number in range(1, 10) if number not in shared), default=0.0)
    assert blame.of(GUILTY, 0.0) >= innocent
    if not shared:
        assert blame.of(GUILTY, 0.0) > 0.75 * 0.15


def test_a_path_that_does_well_long_enough_clears_its_links_and_only_by_what_it_saw_since() -> None:
    blame = Blame()
    blame.lay([GUILTY, link(1)], 0.15, 10.0, 8.0)
    blame.clear([link(1)], clean_since_s=-100.0, now_s=13.9, enough_s=6.0)
    assert blame.of(link(1), 13.9) > 0
    blame.clear([link(1)], clean_since_s=-100.0, now_s=14.0, enough_s=6.0)
    assert blame.of(link(1), 14.0) == 0
    assert set(blame.now(14.0)) == {GUILTY}


def test_suspicion_halves_and_is_kept_twice_as_long_after_each_relapse() -> None:
    blame, now_s = Blame(), 0.0
    blame.lay([GUILTY], 0.2, now_s, now_s)
    for relapse in range(10):
        half_life_s = min(HALF_LIFE_S * 2**relapse, LONGEST_HALF_LIFE_S)
        assert abs(blame.of(GUILTY, now_s + half_life_s) - 0.1) < 1e-9
        now_s += 3 * half_life_s
        blame.lay([GUILTY], 0.2, now_s, now_s)


def test_what_is_long_forgotten_is_dropped() -> None:
    blame = Blame()
    blame.lay([GUILTY], 0.2, 0.0, 0.0)
    assert not blame.now(15 * HALF_LIFE_S)
    assert blame
    blame.now(21 * HALF_LIFE_S)
    assert not blame
