"""A measured figure as one JSON line."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from enum import Enum
from typing import Any

_DIGITS = 4
"""Significant digits of what is written."""


class MeasurementFailed(RuntimeError):
    """A figure could not be taken; the message says why in one line."""


class Better(Enum):
    """Which way a figure improves."""

    MORE = "more"
    LESS = "less"


@dataclass(frozen=True)
class Figure:
    """One figure; `unit` is that of value, target and peer_value."""

    name: str
    area: str
    value: float
    unit: str
    better: Better
    target: float | None = None
    peer: str | None = None
    peer_value: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.better is Better.MORE else self.value <= self.target

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the peer's; None without a peer."""
        return self.value / self.peer_value if self.peer_value else None

    def line(self) -> str:
        """The figure as a JSON object on one line."""
        said: dict[str, Any] = {
            "name": self.name,
            "area": self.area,
            "value": _rounded(self.value),
            "unit": self.unit,
            "target": self.target,
            "met": self.met,
        }
        if self.peer is not None and self.peer_value is not None and self.ratio is not None:
            said |= {"peer": self.peer, "peer_value": _rounded(self.peer_value), "ratio": _rounded(self.ratio)}
        return json.dumps(said)


def note(text: str) -> None:
    """Say something that is no figure, on standard error."""
    print(f"# {text}", file=sys.stderr, flush=True)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
