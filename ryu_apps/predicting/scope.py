"""How far each outlook looks, in which steps, and how much of the past it keeps."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum

from forecasting import Calendar

HORIZON = 8
"""Steps ahead of the outlook by periods; each is a period."""

STEPS_A_DAY = 288
"""Most steps of the outlook a day ahead: five minutes each, where a day has 24 hours."""

LEAST_STEPS_A_DAY = 12
LEAST_STEP_S = 60.0
"""Days of fewer steps, none shorter than this, are well within what the outlook by periods knows."""

_SEASONS_NEEDED = 2.0
"""A day or week is learnt once so many of them are known; see forecasting/members/calendar_columns.py."""

_LATE_FIT_S = 600.0
"""A fit of 2,000 demands and 1,000 links takes 5 minutes of CPU time, 0.1 s each. What takes twice that hangs."""

_LATE_DAY_S = 1800.0


class Ahead(StrEnum):
    """The two outlooks: some periods ahead, on which stitches are made, and a day ahead."""

    PERIODS = "periods"
    DAY = "day"


@dataclass(frozen=True)
class Scope:
    """An outlook of `horizon` steps of step_s seconds, each `periods` polling periods.

    kept: samples kept of each demand; most_pairs: demands forecast, the largest. Whoever has not answered for
    late_steps is taken for dead, and a fit that is not done in late_fit_steps. It is renewed after refit_most
    samples at the latest.
    """

    ahead: Ahead
    step_s: float
    periods: int
    horizon: int
    kept: int
    most_pairs: int
    late_steps: int
    late_fit_steps: int
    refit_most: int

    @property
    def kept_s(self) -> float:
        """How much of the past is kept."""
        return self.kept * self.step_s

    def learns(self, calendar: Calendar) -> tuple[str, ...]:
        """Say what of `calendar` this outlook keeps enough samples to learn: "day", "week" and "events"."""
        seasons = (("day", calendar.day_s), ("week", calendar.week_s))
        known = [name for name, s in seasons if s is not None and self.kept_s >= _SEASONS_NEEDED * s]
        return (*known, *(("events",) if _closest_s(calendar) <= self.kept_s else ()))


def periods_ahead(period_s: float) -> Scope:
    """The outlook that stitches are made on."""
    # Enough to fit on, little enough to keep for every demand: a step of the forecasts of 2,000 demands takes a
    # few hundredths of a second, their samples 60 MB.
    late_fit_steps = max(2, math.ceil(_LATE_FIT_S / period_s))
    return Scope(
        Ahead.PERIODS, period_s, 1, HORIZON, kept=2048, most_pairs=2000,
        late_steps=30, late_fit_steps=late_fit_steps, refit_most=900,
    )  # fmt: skip


def day_ahead(period_s: float, day_s: float | None) -> Scope | None:
    """The outlook over the next day, and None where a day is too short to need one."""
    if day_s is None:
        return None
    periods = _periods_a_step(period_s, day_s)
    step_s = periods * period_s
    horizon = round(day_s / step_s)
    if horizon < LEAST_STEPS_A_DAY:
        return None
    # Two weeks and some steps more: a week is learnt from two whole ones, also where first steps are missing.
    kept = 14 * STEPS_A_DAY + 64
    # With 500 demands and as many links a new process plays back for two minutes of CPU time and fits for one, and
    # it gives way to everybody.
    late_steps = max(2, math.ceil(_LATE_DAY_S / step_s))
    return Scope(
        Ahead.DAY, step_s, periods, horizon, kept, most_pairs=500,
        late_steps=late_steps, late_fit_steps=late_steps, refit_most=horizon,
    )  # fmt: skip


def unlearnt(scopes: tuple[Scope, ...], calendar: Calendar) -> list[str]:
    """Say what of `calendar` none of these outlooks can learn, and why; empty where all is well."""
    learnt = {name for scope in scopes for name in scope.learns(calendar)}
    kept_s = max((scope.kept_s for scope in scopes), default=0.0)
    found = []
    if calendar.day_s is not None and "day" not in learnt:
        found.append(
            f"a season of {calendar.day_s:g} s is not learnt: only {kept_s:g} s of samples are kept, less "
            "than two seasons; give a longer --period, or a season of 12 minutes or more"
        )
    if calendar.events and "events" not in learnt:
        found.append(
            f"scheduled events are not learnt: no two of a kind begin within the {kept_s:g} s of samples that are "
            "kept; list past and coming events of one kind together"
        )
    return found


def _periods_a_step(period_s: float, day_s: float) -> int:
    """Periods in a step of about a 288th of a day: so many that a day is a whole number of steps, if possible."""
    least = math.ceil(max(LEAST_STEP_S, day_s / STEPS_A_DAY) / period_s - 1e-9)
    periods_a_day = day_s / period_s
    if abs(periods_a_day - round(periods_a_day)) < 1e-6:
        fitting = (n for n in range(least, 2 * least + 1) if round(periods_a_day) % n == 0)
        return next(fitting, least)
    return least


def _closest_s(calendar: Calendar) -> float:
    """Seconds between the starts of the two events of one kind that are closest; infinite where there are none."""
    starts = defaultdict(list)
    for event in calendar.events:
        starts[event.kind].append(event.start_s)
    gaps = [
        later - earlier for found in map(sorted, starts.values()) for earlier, later in itertools.pairwise(found)
    ]
    return min(gaps, default=math.inf)
