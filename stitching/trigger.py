"""When to stitch and when to let go, decided on forecasts, with hysteresis so that nothing flaps.

A link is hot when it will carry more than `share` of its capacity with more than `probability` at some step of
the horizon. That is the same as its (1 - probability) quantile exceeding the share, so one set of quantiles
serves to find hot links, to size what must leave them and to see whether another link has room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from forecasting import Forecast
from stitching.network import LinkKey
from stitching.plan import NotPossible, Situation, plan_path
from stitching.routes import CARRYING, Pair, Route
from stitching.stitch import Stitch, StitchPath, StitchRequest

ORIGIN = "trigger"
"""The origin of stitches that were made, and may be taken away again, by the trigger."""


@dataclass(frozen=True, slots=True)
class TriggerPolicy:
    """When to act. Shares are of link capacity; release_share < share is the hysteresis in load, hold_s in time.

    margin_share: how far below `share` a relieved link is brought, so that it is not hot again at once.
    least_share: demands below this share of the link are not worth a stitch.
    """

    share: float = 0.9
    probability: float = 0.3
    release_share: float = 0.75
    hold_s: float = 15.0
    margin_share: float = 0.03
    least_share: float = 0.005
    most_per_round: int = 12


@dataclass(frozen=True, slots=True)
class Establish:
    """Take this demand off a link that is about to be full."""

    request: StitchRequest
    path: StitchPath
    probability: float


@dataclass(frozen=True, slots=True)
class Release:
    """The shortest way has had room for this stitch for long enough."""

    stitch_id: int


@dataclass(frozen=True, slots=True)
class NoRelief:
    """A link is about to be full and no demand on it fits anywhere else."""

    link: LinkKey
    probability: float
    reason: str


Decision = Establish | Release | NoRelief


@dataclass
class Trigger:
    """Remembers since when each stitch could be let go; everything else comes in with each call."""

    policy: TriggerPolicy
    _calm_since_s: dict[int, float] = field(default_factory=dict)

    def decide(
        self,
        now_s: float,
        *,
        links: tuple[LinkKey, ...],
        link_forecast: Forecast,
        pairs: tuple[Pair, ...],
        demand_forecast: Forecast,
        routes: Mapping[Pair, Route],
        stitches: tuple[Stitch, ...],
        situation: Situation,
    ) -> list[Decision]:
        """What to do now. `routes` are the shortest ways, without stitches; names are in the order given.

        The forecasts are of the links as traffic is routed now and of every demand, in Mbit/s.
        """
        plan = _Plan(self.policy, links, link_forecast, pairs, demand_forecast, routes, stitches, situation)
        decisions = plan.relieve()
        decisions.extend(self._release(now_s, plan))
        return decisions

    def _release(self, now_s: float, plan: _Plan) -> list[Decision]:
        released: list[Decision] = []
        mine = [s for s in plan.stitches if s.request.origin == ORIGIN and s.state in CARRYING]
        self._calm_since_s = {s.id: self._calm_since_s.get(s.id, now_s) for s in mine if plan.fits_back(s)}
        for stitch in sorted(mine, key=lambda s: self._calm_since_s.get(s.id, now_s)):
            # One that went back may have taken the room of the next: it is asked again.
            since_s = self._calm_since_s.get(stitch.id, now_s)
            if now_s - since_s >= self.policy.hold_s and plan.fits_back(stitch):
                plan.move_back(stitch)
                self._calm_since_s.pop(stitch.id, None)
                released.append(Release(stitch.id))
        return released


class _Plan:
    """One round: the expected load of every link, kept in step with the decisions of the round."""

    def __init__(
        self,
        policy: TriggerPolicy,
        links: tuple[LinkKey, ...],
        link_forecast: Forecast,
        pairs: tuple[Pair, ...],
        demand_forecast: Forecast,
        routes: Mapping[Pair, Route],
        stitches: tuple[Stitch, ...],
        situation: Situation,
    ) -> None:
        self.policy = policy
        self.stitches = stitches
        self.situation = situation
        self.routes = routes
        level = 1.0 - policy.probability
        upper = link_forecast.quantile(level).max(axis=1)
        self.load = {key: float(load) for key, load in zip(links, upper, strict=True)}
        capacity = {key: link.capacity_mbps for key, link in situation.network.links.items()}
        self.capacity = {key: mbps for key, mbps in capacity.items() if mbps is not None and mbps > 0}
        self.ceiling = {key: policy.share * mbps for key, mbps in self.capacity.items()}
        limits = np.array([self.ceiling.get(key, np.inf) for key in links])
        above = link_forecast.prob_above(limits).max(axis=1)
        self.probability = {key: float(p) for key, p in zip(links, above, strict=True)}
        expected = demand_forecast.mean.max(axis=1)
        most = np.maximum(demand_forecast.quantile(level).max(axis=1), expected)
        self.expected = {pair: float(mbps) for pair, mbps in zip(pairs, expected, strict=True)}
        self.most = {pair: float(mbps) for pair, mbps in zip(pairs, most, strict=True)}
        self.stitched = {pair for stitch in stitches for pair in stitch.request.directions}

    def relieve(self) -> list[Decision]:
        """Move demands off hot links, worst link first."""
        decisions: list[Decision] = []
        over = {key: self.load[key] - self.ceiling[key] for key in self.load if key in self.ceiling}
        for link in sorted((key for key in over if over[key] > 0), key=lambda key: -over[key]):
            made = self._relieve_link(link, self.policy.most_per_round - len(decisions))
            decisions.extend(made)
        return decisions

    def _relieve_link(self, link: LinkKey, budget: int) -> list[Decision]:
        target = self.ceiling[link] - self.policy.margin_share * self.capacity[link]
        least = self.policy.least_share * self.capacity[link]
        candidates = {
            pair: self.expected[pair]
            for pair, route in self.routes.items()
            if link in route and pair not in self.stitched and self.expected.get(pair, 0.0) >= least
        }
        made: list[Decision] = []
        reason = "no demand on it is large enough to move"
        while self.load[link] > target and candidates and len(made) < budget:
            pair = _cheapest_sufficient(candidates, self.load[link] - target)
            del candidates[pair]
            try:
                made.append(self._move(pair, link))
            except NotPossible as error:
                reason = str(error)
        if not made and budget > 0 and self.load[link] > self.ceiling[link]:
            return [NoRelief(link, self.probability[link], reason)]
        return made

    def _move(self, pair: Pair, link: LinkKey) -> Establish:
        """Plan a stitch for a demand and count its load on the new links instead of the old ones."""
        request = StitchRequest(*pair, self.most[pair], both_ways=False, origin=ORIGIN, relieves=link)
        without = dict(self.load)
        for key in self.routes[pair]:
            if key in without and key != link:
                without[key] = max(0.0, without[key] - self.expected[pair])
        situation = Situation(self.situation.network, self.situation.directory, self.situation.resources, without)
        path = plan_path(request, situation, ceiling_mbps={**self.ceiling, link: 0.0})
        self._shift(self.routes[pair], path.links, pair)
        self.stitched.add(pair)
        return Establish(request, path, self.probability[link])

    def fits_back(self, stitch: Stitch) -> bool:
        """Whether the shortest way would stay calm with the demand of this stitch on it."""
        pair = stitch.request.directions[0]
        assert stitch.path is not None  # CARRYING stitches have one
        for key in self.routes.get(pair, ()):
            extra = 0.0 if key in stitch.path.links else self.most.get(pair, stitch.request.bandwidth_mbps)
            if self.load.get(key, 0.0) + extra > self.policy.release_share * self.capacity.get(key, np.inf):
                return False
        return True

    def move_back(self, stitch: Stitch) -> None:
        """Count the demand of a stitch on the shortest way again."""
        pair = stitch.request.directions[0]
        assert stitch.path is not None  # CARRYING stitches have one
        self._shift(stitch.path.links, self.routes.get(pair, ()), pair)

    def _shift(self, old: Route, new: Route, pair: Pair) -> None:
        for key in old:
            if key in self.load:
                self.load[key] = max(0.0, self.load[key] - self.expected.get(pair, 0.0))
        for key in new:
            if key in self.load:
                self.load[key] += self.most.get(pair, 0.0)


def _cheapest_sufficient(candidates: Mapping[Pair, float], excess: float) -> Pair:
    """The smallest demand that is enough on its own, else the largest: fewest stitches, least traffic moved."""
    enough = [pair for pair, mbps in candidates.items() if mbps >= excess]
    if enough:
        return min(enough, key=lambda pair: (candidates[pair], pair))
    return max(candidates, key=lambda pair: (candidates[pair], pair))
