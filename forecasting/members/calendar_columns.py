"""What the calendar says of a time, as the columns that ridge and SARIMAX share."""

from __future__ import annotations

import numpy as np

from forecasting.calendar import harmonics
from forecasting.panel import FloatArray
from forecasting.settings import Settings

# Harmonics of the day and of the week, where as many seasons are known; under two they are no season but a trend.
_HOUR_PAIRS, _DAY_PAIRS, _WEEK_PAIRS = 3, 3, 3
_SEASONS_NEEDED = 2.0

# Jobs start on the full hour, and a lab that plays a day in minutes plays its hours in seconds.
_HOURS_A_DAY = 24

# A harmonic needs some samples in each of its waves.
_SAMPLES_PER_WAVE = 3

# Where the columns of each kind begin.
FIRST_DAY = 2 * _HOUR_PAIRS
FIRST_WEEK = FIRST_DAY + 2 * _DAY_PAIRS
FIRST_EVENT = FIRST_WEEK + 2 * _WEEK_PAIRS + 1


def calendar_columns(times: FloatArray, settings: Settings) -> FloatArray:
    """Give what the calendar says of `times` (T,): (T, columns).

    Harmonics of hour, day and week, a flag for days off, then the events, and once more those on days off, which
    are other events: whoever watches a match is at work or is not.
    """
    calendar = settings.calendar
    off = calendar.is_day_off(times).astype(np.float64)[:, None]
    events = calendar.event_columns(times, settings.step_s)
    parts = [
        harmonics(np.mod(calendar.day_phase(times) * _HOURS_A_DAY, 1.0), _HOUR_PAIRS),
        harmonics(calendar.day_phase(times), _DAY_PAIRS),
        harmonics(calendar.week_phase(times), _WEEK_PAIRS),
        off,
        events,
        events * off,
    ]
    return np.hstack(parts)


def usable_calendar_columns(span_s: float, settings: Settings, count: int) -> FloatArray:
    """Say which of `count` calendar columns a history of `span_s` seconds can tell of: 1 or 0 for each."""
    usable = np.ones(count)
    day_s, week_s = settings.calendar.day_s, settings.calendar.week_s
    if day_s is None or span_s < _SEASONS_NEEDED * day_s:
        usable[:FIRST_WEEK] = 0.0
    else:
        usable[2 * _pairs(day_s / _HOURS_A_DAY, settings.step_s, _HOUR_PAIRS) : FIRST_DAY] = 0.0
        usable[FIRST_DAY + 2 * _pairs(day_s, settings.step_s, _DAY_PAIRS) : FIRST_WEEK] = 0.0
    if week_s is None or span_s < _SEASONS_NEEDED * week_s:
        usable[FIRST_WEEK:FIRST_EVENT] = 0.0
    return usable


def _pairs(season_s: float, step_s: float, most: int) -> int:
    return min(most, int(season_s / (step_s * _SAMPLES_PER_WAVE)))
