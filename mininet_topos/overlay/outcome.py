"""What an act of the overlay's story measured, and whether that is good enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """One figure. most: it is good up to this; None: there is nothing that it is held against."""

    act: str
    what: str
    value: float
    unit: str
    most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether it is good enough; None where nothing says what is."""
        return None if self.most is None else self.value <= self.most

    @property
    def mark(self) -> str:
        """The same in a word."""
        return {None: "", True: "yes", False: "NO"}[self.met]

    @property
    def shown(self) -> str:
        """The figure with its unit; seconds below ten have a digit more."""
        digits = 1 if self.unit == "s" and self.value < 10 else 0
        return f"{self.value:.{digits}f} {self.unit}".rstrip()


def missed(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that are not good enough."""
    return [one for one in outcomes if one.met is False]
