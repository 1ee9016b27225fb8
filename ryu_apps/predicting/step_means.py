"""Means of demands over steps of several periods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ryu_apps.events import Rates
from stitching.routes import Pair


@dataclass(frozen=True)
class Step:
    """The demands of a step that ended at time_s; beat counts the steps, those left out included."""

    time_s: float
    beat: int
    demand_mbps: Mapping[Pair, float]


class StepMeans:
    """Adds up what is measured each period, and gives the mean of each demand when a step of `periods` is over.

    The mean is of what was measured; a demand that was not is not in it, and a step without a period is left out.
    """

    def __init__(self, periods: int) -> None:
        self._periods = periods
        self._beat: int | None = None
        self._end_s = 0.0
        self._sums: dict[Pair, float] = {}
        self._counts: dict[Pair, int] = {}

    def add(self, rates: Rates) -> list[Step]:
        """Take in a period; give the steps that are over with it, oldest first: mostly none, at most two."""
        over = []
        # Steps are told apart by the count of periods: the wall clock may be set.
        beat = (rates.beat - 1) // self._periods + 1
        if self._beat is not None and beat != self._beat:
            over.append(self._finished())
        self._beat = beat
        self._end_s = rates.time_s + (beat * self._periods - rates.beat) * rates.period_s
        for pair, mbps in rates.demand_mbps.items():
            self._sums[pair] = self._sums.get(pair, 0.0) + mbps
            self._counts[pair] = self._counts.get(pair, 0) + 1
        if rates.beat == beat * self._periods:
            over.append(self._finished())
        return over

    def _finished(self) -> Step:
        assert self._beat is not None
        step = Step(self._end_s, self._beat, {p: mbps / self._counts[p] for p, mbps in self._sums.items()})
        self._beat = None
        self._sums, self._counts = {}, {}
        return step
