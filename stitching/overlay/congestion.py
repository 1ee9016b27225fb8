"""Which class moves off which uplink before that is full.

An uplink is hot when a high quantile of its forecast load exceeds a share of its capacity. From the hottest one,
the move is made that lowers the cost of congestion most: the sum over uplinks of capacity times the convex
penalty of Fortz and Thorup (pathing.load_penalty), so that a way over idle uplinks and one over busy ones are
weighed alike. A move makes no other uplink hot, but where all are too narrow for what is expected: then none
fuller than the one that it leaves was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pathing import load_penalty

UplinkKey = tuple[int, str, str]
"""Serial, name of the uplink, and "out" or "in"."""


@dataclass(frozen=True, slots=True)
class CongestionPolicy:
    """`share` of the capacity is what a quantile of the load may be; moves leave `margin_share` below that.

    Each move costs `move_cost` of its demand, so that nothing moves for next to nothing.
    """

    share: float = 0.8
    margin_share: float = 0.05
    move_cost: float = 0.1
    most_moves: int = 32


@dataclass(frozen=True, slots=True)
class WayUse:
    """A way that a demand can take: its tunnels, and every uplink that it goes over."""

    tunnels: tuple[str, ...]
    uplinks: tuple[UplinkKey, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a class will send from a site to another, at the worst step of the forecast.

    `high_mbps` is the quantile that is planned for. `ways` are best first, `takes` is the place of today's.
    """

    src: int
    dst: int
    class_name: str | None
    mean_mbps: float
    high_mbps: float
    ways: tuple[WayUse, ...]
    takes: int = 0


@dataclass(frozen=True, slots=True)
class Shift:
    """One move: which class takes which way from now on, what for, and by how much that lowers the cost."""

    src: int
    dst: int
    class_name: str | None
    before: tuple[str, ...]
    after: tuple[str, ...]
    relieves: UplinkKey
    gain: float
    why: str


@dataclass(frozen=True, slots=True)
class Relieved:
    """All moves, in the order in which they were found, and the uplinks that stay hot with their load."""

    shifts: tuple[Shift, ...]
    still_hot: Mapping[UplinkKey, float]


def relieve(
    expected: Sequence[Expected],
    capacity_mbps: Mapping[UplinkKey, float],
    other_mbps: Mapping[UplinkKey, float],
    policy: CongestionPolicy | None = None,
) -> Relieved:
    """Say who moves where. `other_mbps`: what uplinks carry besides. One without a capacity is never hot.

    Loads add up by means, and by what the high quantiles add to them as independent spreads do (root of the sum of
    squares): demands do not all peak at once.
    """
    return _Relief(expected, capacity_mbps, other_mbps, policy or CongestionPolicy()).all()


class _Relief:
    def __init__(
        self,
        expected: Sequence[Expected],
        capacity_mbps: Mapping[UplinkKey, float],
        other_mbps: Mapping[UplinkKey, float],
        policy: CongestionPolicy,
    ) -> None:
        self.policy = policy
        self.capacity = capacity_mbps
        self.expected = list(expected)
        self.takes = [one.takes for one in expected]
        self.mean = dict(other_mbps)
        self.square: dict[UplinkKey, float] = {}
        self.on: dict[UplinkKey, set[int]] = {}
        for index, one in enumerate(self.expected):
            if one.ways:
                self._put(index, one.ways[one.takes].uplinks, 1.0)

    def all(self) -> Relieved:
        shifts: list[Shift] = []
        stuck: set[UplinkKey] = set()
        moved: set[int] = set()
        while len(shifts) < self.policy.most_moves:
            hot = max(
                (key for key in self.on if key not in stuck and self._over(key) > 0),
                key=lambda key: (self._over(key), key),
                default=None,
            )
            if hot is None:
                break
            shift = self._best(hot, moved)
            if shift is None:
                stuck.add(hot)
            else:
                shifts.append(shift)
        still = {key: self._load(key) for key in sorted(self.capacity) if self._over(key) > 0}
        return Relieved(tuple(shifts), still)

    def _best(self, hot: UplinkKey, moved: set[int]) -> Shift | None:
        """Make the best move off an uplink; a demand moves once."""
        found: tuple[float, int, int] | None = None
        for index in sorted(self.on[hot] - moved):
            for place, way in enumerate(self.expected[index].ways):
                if hot in way.uplinks or place == self.takes[index]:
                    continue
                gain = self._gain(index, way.uplinks)
                if gain is not None and gain > 0 and (found is None or gain > found[0]):
                    found = gain, index, place
        if found is None:
            return None
        gain, index, place = found
        one = self.expected[index]
        before, after = one.ways[self.takes[index]], one.ways[place]
        share = self._load(hot) / self.capacity[hot]
        self._put(index, before.uplinks, -1.0)
        self._put(index, after.uplinks, 1.0)
        self.takes[index] = place
        moved.add(index)
        why = f"uplink {hot[1]} of {hot[0]} would be {share:.0%} full"
        return Shift(one.src, one.dst, one.class_name, before.tunnels, after.tunnels, hot, gain, why)

    def _gain(self, index: int, uplinks: Iterable[UplinkKey]) -> float | None:
        """By how much a move lowers the cost of congestion; None where another uplink would be too full by it."""
        one = self.expected[index]
        old, new = set(one.ways[self.takes[index]].uplinks), set(uplinks)
        keys = [key for key in old ^ new if key in self.capacity]
        before = self._cost(keys)
        fullest = max(
            (self._load(key) / self.capacity[key] for key in old - new if key in self.capacity), default=0.0
        )
        self._put(index, old, -1.0)
        self._put(index, new, 1.0)
        after = self._cost(keys)
        limit = max(self.policy.share, fullest) - self.policy.margin_share
        calm = all(self._load(key) <= limit * self.capacity[key] for key in new - old if key in self.capacity)
        self._put(index, new, -1.0)
        self._put(index, old, 1.0)
        return before - after - self.policy.move_cost * one.mean_mbps if calm else None

    # -- loads

    def _put(self, index: int, uplinks: Iterable[UplinkKey], sign: float) -> None:
        one = self.expected[index]
        spread = max(0.0, one.high_mbps - one.mean_mbps)
        for key in uplinks:
            self.mean[key] = self.mean.get(key, 0.0) + sign * one.mean_mbps
            self.square[key] = self.square.get(key, 0.0) + sign * spread**2
            on = self.on.setdefault(key, set())
            (on.add if sign > 0 else on.discard)(index)

    def _load(self, key: UplinkKey) -> float:
        return max(0.0, self.mean.get(key, 0.0)) + math.sqrt(max(0.0, self.square.get(key, 0.0)))

    def _over(self, key: UplinkKey) -> float:
        capacity = self.capacity.get(key)
        return 0.0 if capacity is None else self._load(key) / capacity - self.policy.share

    def _cost(self, keys: Sequence[UplinkKey]) -> float:
        capacity = np.array([self.capacity[key] * self.policy.share for key in keys])
        load = np.array([self._load(key) for key in keys])
        return float((capacity * load_penalty(load / capacity)).sum())
