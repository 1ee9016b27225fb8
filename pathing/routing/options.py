"""The options of `route_demands`, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from pathing.checks import number, whole_number
from pathing.routing.deadline import Clock
from pathing.routing.network import RoutingError
from pathing.routing.plan import RoutingPlan

OverScenarios = Literal["worst", "mean"]

DEFAULT_MEAN_WEIGHT = 1e-4
# Less would not tell a detour from the straight way.
_LEAST_MEAN_WEIGHT = 1e-6


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `route_demands` that shape the plan."""

    gap: float
    max_paths: int
    mean_weight: float
    unsplittable: bool
    max_moved: float | None
    over_scenarios: OverScenarios = "worst"

    @property
    def most_paths(self) -> int:
        """How many paths a demand may have."""
        return 1 if self.unsplittable else self.max_paths

    @property
    def tie_break_weight(self) -> float:
        """The weight of the mean that is used: never so small that detours are free."""
        return max(self.mean_weight, _LEAST_MEAN_WEIGHT)

    def check(self, previous: RoutingPlan | None, time_limit_s: float | None, clock: Clock | None) -> None:
        """Raise `RoutingError` for the first option that makes no sense."""
        _require(_is_number(self.gap) and self.gap > 0, "gap", self.gap, "a number above 0, such as 1e-3")
        good = (whole_number(self.max_paths) or 0) >= 1
        _require(good, "max_paths", self.max_paths, "a whole number, 1 or more")
        _require(_is_number(self.mean_weight), "mean_weight", self.mean_weight, "a finite number, 0 or more")
        if previous is not None and not isinstance(previous, RoutingPlan):
            raise RoutingError(f"previous is {type(previous).__name__}; give the plan of an earlier call")
        known = self.over_scenarios in get_args(OverScenarios)
        _require(known, "over_scenarios", self.over_scenarios, '"worst" or "mean"')
        if self.max_moved is not None:
            good = _is_number(self.max_moved) and self.max_moved >= 0
            _require(
                good, "max_moved", self.max_moved, "a share of the traffic, 0.05 for 5 %, or None for no limit"
            )
            if previous is None:
                raise RoutingError("max_moved limits what moves from previous; give that too")
        if time_limit_s is not None:
            good = _is_number(time_limit_s) and time_limit_s >= 0
            _require(good, "time_limit_s", time_limit_s, "a number of seconds, 0 or more, or None for no limit")
            if clock is None:
                raise RoutingError("time_limit_s needs a clock to go by; give clock=time.monotonic")


def _is_number(value: object) -> bool:
    return 0 <= number(value) < math.inf


def _require(good: bool, option: str, value: object, expected: str) -> None:
    if not good:
        raise RoutingError(f"{option} is {value!r}; it must be {expected}")
