"""A measured figure as one JSON line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from math import ceil
from statistics import median
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
    runs: tuple[float, ...] = ()
    """What each run gave, where there were several; `value` is one number made of them."""
    target_ratio: float | None = None
    """A target for the ratio to the peer, in place of one for the value."""

    @classmethod
    def over(cls, name: str, area: str, runs: Iterable[float], unit: str, better: Better, **more: Any) -> Figure:
        """A figure whose value is the median of several runs."""
        taken = tuple(runs)
        return cls(name, area, median(taken), unit, better, runs=taken, **more)

    @classmethod
    def worst(cls, name: str, area: str, runs: Iterable[float], unit: str, better: Better, **more: Any) -> Figure:
        """A figure whose value is the p95 of several runs."""
        taken = tuple(runs)
        return cls(name, area, p95_of(taken, better), unit, better, runs=taken, **more)

    @property
    def p95(self) -> float | None:
        """What 95 of 100 runs are at least as good as; None without runs."""
        return p95_of(self.runs, self.better) if self.runs else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        now, target = (self.value, self.target) if self.target_ratio is None else (self.ratio, self.target_ratio)
        if target is None or now is None:
            return None
        return now >= target if self.better is Better.MORE else now <= target

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
        if self.target_ratio is not None:
            said["target_ratio"] = self.target_ratio
        if self.p95 is not None:
            said |= {"median": _rounded(median(self.runs)), "p95": _rounded(self.p95), "n": len(self.runs)}
        return json.dumps(said)


def p95_of(runs: Sequence[float], better: Better) -> float:
    """The run that 95 of 100 are at least as good as (nearest rank)."""
    worst_last = sorted(runs, reverse=better is Better.MORE)
    return worst_last[ceil(0.95 * len(worst_last)) - 1]


def note(text: str) -> None:
    """Say something that is no figure, on standard error."""
    print(f"# {text}", file=sys.stderr, flush=True)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
