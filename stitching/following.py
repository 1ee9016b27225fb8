"""When shares of a cap and the size of a guarantee follow the traffic, with hysteresis so that nothing flaps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from forecasting import Forecast
from stitching.bandwidth import BandwidthRequest, BandwidthShares
from stitching.bandwidth_plan import demand_by_switch, split_again
from stitching.enforced import MeterId, MeterWatch
from stitching.routes import CARRYING
from stitching.stitch import State, Stitch

Pair = tuple[str, str]

PAUSE_S = 5.0
"""Between two changes of the shares of one cap."""

SMOOTHING = 0.5
"""How much the newest period counts in what a switch is taken to send."""

LEVEL = 0.9
"""A guarantee that follows the forecast is this quantile of it."""

STEPS = 4
"""How many steps of the forecast it looks at."""

GROW, SHRINK, HOLD_S = 1.1, 0.8, 30.0
"""It grows where more than that many times is expected, and shrinks where less is for so long."""

_SETTLED = frozenset({State.UP, State.DEGRADED})


@dataclass
class Following:
    """What is remembered of each bandwidth stitch between two looks. Times are of one monotonic clock."""

    _demand: dict[Pair, float] = field(default_factory=dict)
    _changed_s: dict[int, float] = field(default_factory=dict)
    _less_since_s: dict[int, float] = field(default_factory=dict)
    _meters: MeterWatch = field(default_factory=MeterWatch)

    def measured(
        self, demand_mbps: Mapping[Pair, float], packets: Mapping[MeterId, int], stitches: Iterable[Stitch]
    ) -> None:
        """Take in what was measured in a period."""
        self._demand = {
            pair: mbps if (before := self._demand.get(pair)) is None else before + SMOOTHING * (mbps - before)
            for pair, mbps in demand_mbps.items()
        }
        sent: dict[MeterId, float] = {}
        for _, _, placed in _of_bandwidth(stitches):
            demand = demand_by_switch(placed, demand_mbps)
            sent.update({(share.dpid, placed.meter): demand.get(share.dpid, 0.0) for share in placed.shares})
        self._meters.counted(packets, sent)

    def shares(self, now_s: float, stitches: Iterable[Stitch]) -> list[tuple[Stitch, BandwidthShares]]:
        """The caps that should be split another way now."""
        changed = []
        for stitch, request, placed in _of_bandwidth(stitches):
            if stitch.state in _SETTLED and now_s - self._changed_s.get(stitch.id, float("-inf")) >= PAUSE_S:
                other = split_again(request, placed, self._demand)
                if other is not None:
                    self._changed_s[stitch.id] = now_s
                    changed.append((stitch, other))
        return changed

    def promises(
        self, now_s: float, pairs: tuple[Pair, ...], demands: Forecast, stitches: Iterable[Stitch]
    ) -> list[tuple[Stitch, float]]:
        """The guarantees that should be of another size now, and of which."""
        most = demands.quantile(LEVEL)[:, :STEPS]
        row = {pair: index for index, pair in enumerate(pairs)}
        changed = []
        for stitch, request, placed in _of_bandwidth(stitches):
            if not request.follow_forecast or stitch.state not in _SETTLED or request.guarantee_mbps is None:
                continue
            rows = [row[one.mac, other.mac] for one, other in placed.pairs() if (one.mac, other.mac) in row]
            # The sum of the quantiles of many demands is above the quantile of their sum: on the safe side.
            expected = float(most[rows].sum(axis=0).max(initial=0.0)) if rows else 0.0
            ceiling = float("inf") if request.cap_mbps is None else request.cap_mbps
            target = min(max(expected, request.guarantee_mbps), ceiling)
            if self._should_follow(stitch, request.bandwidth_mbps, target, now_s):
                changed.append((stitch, target))
        return changed

    def verdict(self, stitch: Stitch) -> tuple[str, str]:
        """By what its cap is enforced, and why that is said."""
        match stitch.request, stitch.path:
            case BandwidthRequest(), BandwidthShares() as placed if placed.shares:
                if stitch.state not in CARRYING:
                    return "none", "it is not in place"
                return self._meters.verdict(tuple((share.dpid, placed.meter) for share in placed.shares))
        return "none", "it has no cap"

    def _should_follow(self, stitch: Stitch, now_mbps: float, target: float, now_s: float) -> bool:
        if target > now_mbps * GROW:
            self._less_since_s.pop(stitch.id, None)
            return True
        if target >= now_mbps * SHRINK:
            self._less_since_s.pop(stitch.id, None)
            return False
        since_s = self._less_since_s.setdefault(stitch.id, now_s)
        if now_s - since_s < HOLD_S:
            return False
        del self._less_since_s[stitch.id]
        return True


def _of_bandwidth(stitches: Iterable[Stitch]) -> Iterator[tuple[Stitch, BandwidthRequest, BandwidthShares]]:
    for stitch in stitches:
        match stitch.request, stitch.path:
            case BandwidthRequest() as request, BandwidthShares() as placed:
                yield stitch, request, placed
