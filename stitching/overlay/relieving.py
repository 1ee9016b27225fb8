"""Ways that are chosen so that no uplink is forecast to be full: before it is, and without swinging to and fro.

What a class is expected to send leaves an uplink whose load would pass a share of its capacity (congestion.py).
It does not come back, and nothing else comes, before there is room for it below a lower share; and who has left
one stays for a while (choosing.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stitching.overlay.choosing import Choice, Steadiness, relieved
from stitching.overlay.compiling import ChoiceKey
from stitching.overlay.congestion import CongestionPolicy, Expected, UplinkKey, WayUse, relieve
from stitching.overlay.scoring import Hop, ScoredWay
from stitching.overlay.sites import Site
from stitching.overlay.tunnels import Tunnel

COME_SHARE = 0.6
"""To an uplink that would be fuller nobody comes for a better score."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a class is expected to send from one site to another at the worst step: mean, and a high quantile."""

    mean_mbps: float
    high_mbps: float


@dataclass(frozen=True)
class Uplinks:
    """Which uplinks ways go over, and what these can carry; of others nobody has said."""

    of_tunnel: Mapping[str, Tunnel]
    capacity_mbps: Mapping[UplinkKey, float] = field(default_factory=dict)

    @classmethod
    def known(cls, sites: Mapping[int, Site], tunnels: Iterable[Tunnel]) -> Uplinks:
        """All that is known of them."""
        capacity = {
            (serial, uplink.name, way): uplink.capacity_mbps
            for serial, site in sites.items()
            for uplink in site.uplinks
            if uplink.capacity_mbps is not None
            for way in ("out", "in")
        }
        return cls({tunnel.name: tunnel for tunnel in tunnels}, capacity)

    def under(self, way: ScoredWay) -> tuple[UplinkKey, ...]:
        """The uplinks of a way, in order."""
        return self.under_legs(zip(way.tunnels, way.nodes, way.nodes[1:], strict=False))

    def under_legs(self, legs: Iterable[tuple[str, int, int]]) -> tuple[UplinkKey, ...]:
        """The same of (tunnel, from, to) of each of its legs."""
        keys: list[UplinkKey] = []
        for name, src, dst in legs:
            if (tunnel := self.of_tunnel.get(name)) is not None:
                keys += [(src, tunnel.line.uplink_at(src), "out"), (dst, tunnel.line.uplink_at(dst), "in")]
        return tuple(keys)


class Room:
    """What is expected on each uplink as choices are; moved along as they change."""

    def __init__(self, uplinks: Uplinks, demands: Mapping[ChoiceKey, Demand]) -> None:
        self._uplinks, self._demands = uplinks, demands
        self._load: dict[UplinkKey, float] = {}

    def put(self, key: ChoiceKey, way: ScoredWay, sign: float = 1.0) -> None:
        """What is expected of a class takes a way, or (-1) leaves it."""
        if (demand := self._demands.get(key)) is not None:
            for uplink in self._uplinks.under(way):
                self._load[uplink] = self._load.get(uplink, 0.0) + sign * demand.high_mbps

    def free_mbps(self, key: ChoiceKey, hops: Sequence[Hop], taken: ScoredWay | None) -> float | None:
        """What the narrowest uplink of a way has left for a class; None: nobody has said what they carry.

        `taken`: the way of the class today; what it sends there is not in its own way.
        """
        capacity = self._uplinks.capacity_mbps
        if not capacity:
            return None
        demand = self._demands.get(key)
        own_mbps = demand.high_mbps if demand is not None else 0.0
        own = self._uplinks.under(taken) if taken is not None else ()
        left = [
            capacity[uplink] - self._load.get(uplink, 0.0) + (own_mbps if uplink in own else 0.0)
            for uplink in self._uplinks.under_legs((hop.tunnel, hop.src, hop.dst) for hop in hops)
            if uplink in capacity
        ]
        return max(0.0, min(left)) if left else None

    def may_come(self, key: ChoiceKey, way: ScoredWay) -> bool:
        """Whether a way has room for a class that is not on it yet."""
        demand = self._demands.get(key)
        if demand is None:
            return True
        capacity = self._uplinks.capacity_mbps
        return all(
            self._load.get(uplink, 0.0) + demand.high_mbps <= COME_SHARE * capacity[uplink]
            for uplink in self._uplinks.under(way)
            if uplink in capacity
        )


def relieve_choices(
    choices: Mapping[ChoiceKey, Choice],
    demands: Mapping[ChoiceKey, Demand],
    uplinks: Uplinks,
    now_s: float,
    steadiness: Steadiness,
    policy: CongestionPolicy | None = None,
) -> Mapping[ChoiceKey, Choice]:
    """The choices after whoever has to leave an uplink has left. Who has left one a moment ago stays."""
    keys = [key for key in choices if key in demands]
    if not uplinks.capacity_mbps or not keys:
        return choices
    ways = {key: _ways(choices[key], now_s) for key in keys}
    expected = [
        Expected(
            *key,
            demands[key].mean_mbps,
            demands[key].high_mbps,
            tuple(WayUse(way.tunnels, uplinks.under(way)) for way in ways[key]),
        )
        for key in keys
    ]
    found = dict(choices)
    for shift in relieve(expected, uplinks.capacity_mbps, {}, policy).shifts:
        key = shift.src, shift.dst, shift.class_name
        to = next(way for way in ways[key] if way.tunnels == shift.after)
        found[key] = relieved(choices[key], to, now_s, steadiness, shift.why)
    return found


def _ways(choice: Choice, now_s: float) -> Sequence[ScoredWay]:
    """Those that a choice may take, today's first."""
    if not choice.may_relieve(now_s):
        return (choice.taken,)
    return (choice.taken, *(way for way in choice.ranked if way.good and way.tunnels != choice.taken.tunnels))


def with_all(choice: Choice, scored: Iterable[ScoredWay]) -> Choice:
    """A choice that was made among some of the ways, with all of them to be seen and to fall back on."""
    return replace(choice, ranked=tuple(sorted(scored, key=lambda way: way.order)))
