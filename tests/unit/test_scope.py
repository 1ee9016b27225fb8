"""What each outlook can see, keep and learn follows from the period and the day."""

from __future__ import annotations

import pytest

from forecasting import Calendar, Event
from ryu_apps.predicting.scope import Scope, day_ahead, periods_ahead, unlearnt

DAY_S = 86400.0


def scopes(period_s: float, day_s: float = DAY_S) -> tuple[Scope, ...]:
    day = day_ahead(period_s, day_s)
    return (periods_ahead(period_s), *(() if day is None else (day,)))


@pytest.mark.parametrize(
    ("period_s", "day_s", "step_s", "horizon"),
    [
        (1.0, DAY_S, 300.0, 288),
        (0.2, DAY_S, 300.0, 288),
        (9.0, DAY_S, 360.0, 240),  # 306 s would be nearer, and no day is a whole number of them
        (3600.0, DAY_S, 3600.0, 24),
        (1.0, 7200.0, 60.0, 120),  # never shorter than a minute
        (1.0, 720.0, 60.0, 12),
    ],
)
def test_a_day_is_cut_into_steps(period_s: float, day_s: float, step_s: float, horizon: int) -> None:
    scope = day_ahead(period_s, day_s)
    assert scope is not None
    assert scope.step_s == pytest.approx(step_s) == pytest.approx(scope.periods * period_s)
    assert scope.horizon == horizon


@pytest.mark.parametrize(("period_s", "day_s"), [(1.0, 300.0), (1.0, 600.0), (3600.0, 36000.0), (1.0, None)])
def test_a_day_of_few_steps_has_no_outlook_of_its_own(period_s: float, day_s: float | None) -> None:
    assert day_ahead(period_s, day_s) is None


def test_at_the_defaults_only_the_outlook_over_a_day_learns_days_and_weeks() -> None:
    periods, day = scopes(1.0)
    assert periods.learns(Calendar()) == ()
    assert day.learns(Calendar()) == ("day", "week")
    assert day.kept_s >= 14 * DAY_S


def test_events_are_learnt_where_one_is_remembered_when_the_next_of_its_kind_comes() -> None:
    def weekly(apart_s: float) -> Calendar:
        return Calendar(events=tuple(Event(n * apart_s, n * apart_s + 600.0, "match") for n in range(3)))

    periods, day = scopes(1.0)
    assert "events" in day.learns(weekly(7 * DAY_S)) and "events" not in periods.learns(weekly(7 * DAY_S))
    assert "events" in periods.learns(weekly(1200.0))
    assert unlearnt((periods, day), weekly(7 * DAY_S)) == []
    (reason,) = unlearnt((periods, day), weekly(60 * DAY_S))
    assert "events are not learnt" in reason


def test_a_season_that_nobody_remembers_twice_is_told() -> None:
    assert unlearnt(scopes(1.0, 300.0), Calendar(day_s=300.0)) == []
    (reason,) = unlearnt(scopes(0.1, 300.0), Calendar(day_s=300.0))
    assert "a season of 300 s is not learnt" in reason and "longer --period" in reason
