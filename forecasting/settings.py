"""What every member is told: how far to forecast, on which clock, and what is known of the days ahead."""

from __future__ import annotations

from dataclasses import dataclass, field

from forecasting.calendar import Calendar
from forecasting.checks import is_number, is_whole
from forecasting.errors import SettingError


@dataclass(frozen=True)
class Settings:
    """`horizon` in steps of `step_s` seconds, the calendar, and the seed of members that learn by chance.

    Raises SettingError.
    """

    horizon: int
    step_s: float
    calendar: Calendar = field(default_factory=Calendar)
    seed: int = 0

    def __post_init__(self) -> None:
        if not (is_whole(self.horizon) and self.horizon >= 1):
            raise SettingError(f"horizon is {self.horizon!r}; give the number of steps to forecast, 1 or more")
        if not (is_number(self.step_s) and self.step_s > 0):
            raise SettingError(f"step_s is {self.step_s!r}; give the seconds between two samples, above 0")
        if not (is_whole(self.seed) and self.seed >= 0):
            raise SettingError(f"seed is {self.seed!r}; give a whole number, 0 or more")
        # Plain numbers, which compare, print and are stored alike wherever they came from.
        object.__setattr__(self, "horizon", int(self.horizon))
        object.__setattr__(self, "step_s", float(self.step_s))
        object.__setattr__(self, "seed", int(self.seed))
