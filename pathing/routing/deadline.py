"""Time as an argument: a limit and the caller's clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the caller's clock, in seconds; never passed without a clock."""

    clock: Clock | None = None
    at_s: float = math.inf

    def left_s(self) -> float:
        """Seconds left, 0 when it has passed."""
        return math.inf if self.clock is None else max(0.0, self.at_s - self.clock())

    def part(self, share: float) -> Deadline:
        """The moment when this share of the time left will have gone by."""
        return (
            self
            if math.isinf(self.at_s) or self.clock is None
            else Deadline(self.clock, self.at_s - (1 - share) * self.left_s())
        )

    def passed(self) -> bool:
        """Whether it has passed."""
        return self.left_s() <= 0
