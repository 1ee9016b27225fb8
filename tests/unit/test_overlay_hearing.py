"""However much a site says, what waits for the app is little, and the newest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.app import Event
from ryu_apps.overlay.ahead import MOST_AHEAD, Ahead
from ryu_apps.overlay.heard import MOVES_KEPT, SiteCame, SiteGone, SiteSaid
from ryu_apps.overlay.hearing import Hearing
from vte_agent.protocol.frames import Hello, Moved
from vte_agent.protocol.has import Has


@pytest.fixture
def posted() -> list[Event]:
    return []


@pytest.fixture
def hearing(posted: list[Event]) -> Hearing:
    return Hearing(posted.append)


def test_of_a_thousand_reports_that_nobody_takes_the_newest_waits(hearing: Hearing, posted: list[Event]) -> None:
    gate = hearing.listener()
    for generation in range(1000):
        gate.on_has(7, Has(generation=generation))
        gate.on_moved(7, Moved(at_s=generation, prefix="10.0.0.0/8"))
        gate.on_has(8, Has(generation=1))
    of_7, of_8 = posted
    assert isinstance(of_7, SiteSaid) and isinstance(of_8, SiteSaid)
    said = hearing.take(of_7)
    assert said.has == Has(generation=999)
    assert [moved.at_s for moved in said.moves] == list(range(1000 - MOVES_KEPT, 1000))
    gate.on_has(7, Has(generation=1000))
    assert len(posted) == 3 and said.has == Has(generation=999)


def test_what_one_says_that_was_gone_is_heard_after_that(hearing: Hearing, posted: list[Event]) -> None:
    gate = hearing.listener()
    gate.on_has(7, Has(generation=1))
    gate.on_gone(7, "closed")
    gate.on_hello(7, Hello())
    gate.on_has(7, Has(generation=2))
    assert [type(one) for one in posted] == [SiteSaid, SiteGone, SiteCame, SiteSaid]
    heard = [hearing.take(one).has for one in posted if isinstance(one, SiteSaid)]
    assert heard == [Has(generation=1), Has(generation=2)]


@given(st.lists(st.tuples(st.integers(1, 2), st.integers(0, (1 << 63) - 1)), max_size=60))
def test_whatever_sites_say_they_carry_out_each_leads_no_further_than_a_lost_store(
    said: list[tuple[int, int]],
) -> None:
    """And one that is ahead by less than that in all is followed as often as it is."""
    ahead, known, led = Ahead(), 5, {1: 0, 2: 0}
    for serial, generation in said:
        followed = ahead.leads(serial, known, generation)
        assert followed == (generation > known and led[serial] + generation - known <= MOST_AHEAD)
        assert any(f"serial {serial} " in why for why in ahead.problems) == (generation > known and not followed)
        if followed:
            led[serial] += generation - known
            known = generation
    assert known - 5 == sum(led.values()) and max(led.values()) <= MOST_AHEAD


def test_a_site_that_always_says_it_is_as_far_ahead_as_it_may_be_is_followed_once() -> None:
    ahead, known = Ahead(), 0
    for _ in range(10_000):
        if ahead.leads(1, known, known + MOST_AHEAD):
            known += MOST_AHEAD
    assert known == MOST_AHEAD
    assert ahead.leads(2, known, known + 7)


def test_who_is_not_followed_is_a_problem_until_it_says_better_or_is_no_more() -> None:
    ahead = Ahead()
    for serial in (1, 2):
        assert not ahead.leads(serial, 5, 6 + MOST_AHEAD)
    assert ahead.problems == tuple(
        f"serial {serial} says it carries out generation {6 + MOST_AHEAD}" for serial in (1, 2)
    )
    assert not ahead.leads(1, 5, 5)
    assert [why.split()[1] for why in ahead.problems] == ["2"]
    ahead.forget(2)
    assert not ahead.problems
