"""When a stitch that is made on the forecast is wanted, and when no longer, so that nothing flaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from forecasting import Forecast
from stitching.vm import VmRequest

Pair = tuple[str, str]

STEPS = 4
"""How many steps of the forecast are looked at."""

RELEASE = 0.5
HOLD_S = 30.0
"""It is let go when the traffic was less likely than this share of its probability for so long."""


@dataclass
class Expecting:
    """The newest forecast, and since when each stitch could be let go. Times are of one monotonic clock."""

    _forecast: Forecast | None = None
    _row: Mapping[Pair, int] = field(default_factory=dict)
    _calm_since_s: dict[int, float] = field(default_factory=dict)

    def hear(self, pairs: tuple[Pair, ...], demands: Forecast) -> None:
        """Take in a forecast."""
        self._forecast = demands
        self._row = {pair: row for row, pair in enumerate(pairs)}

    def waits_for(self, request: VmRequest) -> str | None:
        """Why it is not to be made yet; None where the traffic is expected."""
        if request.expects is None:
            return None
        likely = self._probability(request)
        if likely is None:
            return "waits for a forecast of the traffic between its hosts"
        if likely >= request.expects.probability:
            return None
        limit = f"{request.expects.threshold_mbps:g} Mbit/s"
        return f"waits until more than {limit} is {request.expects.probability:.0%} likely"

    def let_go(self, stitch_id: int, request: VmRequest, now_s: float) -> bool:
        """Whether a stitch that is there is wanted no longer. Without a forecast it stays."""
        likely = self._probability(request)
        if request.expects is None or likely is None or likely >= RELEASE * request.expects.probability:
            self._calm_since_s.pop(stitch_id, None)
            return False
        if now_s - self._calm_since_s.setdefault(stitch_id, now_s) < HOLD_S:
            return False
        del self._calm_since_s[stitch_id]
        return True

    def _probability(self, request: VmRequest) -> float | None:
        """That a direction exceeds the threshold at some step; of a guessed spread only the mean counts."""
        rows = [self._row[pair] for pair in request.directions if pair in self._row]
        if self._forecast is None or request.expects is None or not rows:
            return None
        limit = request.expects.threshold_mbps
        above = self._forecast.prob_above(np.full(len(self._row), limit))[rows, :STEPS].max(axis=1, initial=0.0)
        mean = self._forecast.mean[rows, :STEPS].max(axis=1, initial=0.0)
        likely = np.where(self._forecast.cold[rows], mean > limit, above)
        return float(likely.max())
