"""Which pairs of sites get tunnels of their own beside the star, as forecasts and measurements ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from stitching.overlay.sites import Pair

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class DirectPolicy:
    """When pairs get tunnels of their own, and lose them.

    They get them when their forecast has been at `add_mbps`, or their ways poor, for `add_after_s`. They lose them
    after `remove_after_s` below `remove_mbps` with good ways. A pair that changed stays as it is for `hold_s`; all
    pairs together change at most `changes_per_hour` times in any hour.
    """

    add_mbps: float = 5.0
    remove_mbps: float = 2.0
    add_after_s: float = 10.0
    remove_after_s: float = 900.0
    hold_s: float = 600.0
    changes_per_hour: int = 60


@dataclass(frozen=True, slots=True)
class Direct:
    """Pairs with tunnels of their own and why; since when others ask and these need none; past changes."""

    pairs: Mapping[Pair, str] = field(default_factory=lambda: MappingProxyType({}))
    asking_s: Mapping[Pair, float] = field(default_factory=lambda: MappingProxyType({}))
    idle_s: Mapping[Pair, float] = field(default_factory=lambda: MappingProxyType({}))
    changed_s: Mapping[Pair, float] = field(default_factory=lambda: MappingProxyType({}))
    recent_s: tuple[float, ...] = ()


DEFAULT_POLICY = DirectPolicy()
NO_PAIRS = Direct()


class DirectStep:
    """One look at all pairs. The caller says which of the additions and removals may be."""

    def __init__(
        self,
        before: Direct,
        demand_mbps: Mapping[Pair, float],
        poor: Mapping[Pair, str],
        now_s: float,
        policy: DirectPolicy,
    ) -> None:
        self.now_s, self.policy = now_s, policy
        self.recent = [at for at in before.recent_s if now_s - at < HOUR_S]
        self.pairs = dict(before.pairs)
        self.changed = {pair: at for pair, at in before.changed_s.items() if now_s - at < policy.hold_s}
        reasons = {
            pair: f"{mbps:.1f} Mbit/s are expected"
            for pair, mbps in demand_mbps.items()
            if mbps >= policy.add_mbps
        }
        reasons.update(poor)
        self.asking = {pair: before.asking_s.get(pair, now_s) for pair in reasons if pair not in before.pairs}
        self.idle = {
            pair: before.idle_s.get(pair, now_s)
            for pair in before.pairs
            if demand_mbps.get(pair, 0.0) < policy.remove_mbps and pair not in poor
        }
        self.reasons = reasons
        ripe = (p for p, since in self.asking.items() if self._ripe(p, since, policy.add_after_s))
        # What is poor first, then whoever sends most.
        self.to_add = sorted(ripe, key=lambda p: (p not in poor, -demand_mbps.get(p, 0.0), p))
        self.to_remove = sorted(
            (p for p, since in self.idle.items() if self._ripe(p, since, policy.remove_after_s)),
            key=lambda p: (self.idle[p], p),
        )

    def _ripe(self, pair: Pair, since_s: float, after_s: float) -> bool:
        return self.now_s - since_s >= after_s and pair not in self.changed

    @property
    def spent(self) -> bool:
        """Whether this hour's changes are used up."""
        return len(self.recent) >= self.policy.changes_per_hour

    def add(self, pair: Pair) -> None:
        """Give a pair tunnels of its own."""
        self.pairs[pair] = self.reasons[pair]
        self.asking.pop(pair, None)
        self._count(pair)

    def remove(self, pair: Pair) -> None:
        """Take them from it."""
        del self.pairs[pair]
        self.idle.pop(pair, None)
        self._count(pair)

    def forget(self, pair: Pair) -> None:
        """A pair that is none any more, or may have none: that is no change of mind and counts as none."""
        self.pairs.pop(pair, None)
        self.idle.pop(pair, None)
        self.asking.pop(pair, None)

    def _count(self, pair: Pair) -> None:
        self.changed[pair] = self.now_s
        self.recent.append(self.now_s)

    def after(self) -> Direct:
        """What is kept until the next look."""
        asking, idle, changed = (MappingProxyType(kept) for kept in (self.asking, self.idle, self.changed))
        return Direct(MappingProxyType(self.pairs), asking, idle, changed, tuple(self.recent))
