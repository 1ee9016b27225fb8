"""What every member is told: how far to forecast, on which clock, and what is known of the days ahead."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from forecasting.calendar import Calendar
from forecasting.errors import SettingError


@dataclass(frozen=True)
class Settings:
    """`horizon` in steps of `step_s` seconds, the calendar, and the seed of members that learn by chance."""

    horizon: int
    step_s: float
    calendar: Calendar = field(default_factory=Calendar)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise SettingError(f"horizon is {self.horizon}; give the number of steps to forecast, 1 or more")
        if not (math.isfinite(self.step_s) and self.step_s > 0):
            raise SettingError(f"step_s is {self.step_s}; give the seconds between two samples, above 0")
