"""One round of the trigger: which stitches are resized, which demands leave a hot link, and which may go back.

A link is hot when it will carry more than `share` of its capacity with more than `probability` at some step of
the horizon. That is the same as its (1 - probability) quantile exceeding the share, so one set of quantiles
serves to find hot links and to see whether another link has room.

Which demand leaves a hot link, and for where, is the move that lowers the cost of congestion most: the sum over
links of capacity times the convex penalty of Fortz and Thorup (pathing.load_penalty), which is gentle on an empty
link and steep on a full one, so a long detour over empty links and a short one over busy links are weighed alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pathing import load_penalty
from stitching.decisions import (
    ORIGIN,
    Decision,
    Establish,
    NoRelief,
    Prospect,
    Reroute,
    Resize,
    TriggerPolicy,
)
from stitching.kinds import carried
from stitching.plan import path_at_cost
from stitching.routes import CARRYING, Pair, Route, stitched_routes
from stitching.stitch import ENDED, Stitch, StitchPath, VmRequest

Floats = npt.NDArray[np.float64]

LEAST_PROMISE_MBPS = 0.001
"""What a stitch keeps while its demand is silent: a promise of nothing is none."""


@dataclass(frozen=True)
class _Move:
    """A demand that could leave its route for a path; gain is in the unit of the cost of congestion."""

    pair: Pair
    path: StitchPath
    gain: float


class Round:
    """The expected load of every link, kept in step with the decisions of the round."""

    def __init__(self, policy: TriggerPolicy, prospect: Prospect) -> None:
        links, link_forecast = prospect.links, prospect.link_forecast
        pairs, demand_forecast = prospect.pairs, prospect.demand_forecast
        routes, stitches, situation = prospect.routes, prospect.stitches, prospect.situation
        self.policy = policy
        self.stitches = stitches
        self.situation = situation
        self.shortest = routes
        self.routes = stitched_routes(routes, stitches)
        network = situation.network
        self.row = {key: row for row, key in enumerate(network.link_order)}
        capacity = (network.links[key].capacity_mbps for key in network.link_order)
        # A link nobody told the capacity of is never hot and never a detour.
        self.capacity = np.array([mbps or np.inf for mbps in capacity])
        self.ceiling = policy.share * self.capacity
        level, ahead = 1.0 - policy.probability, policy.steps
        # A link may have gone since the forecast was begun.
        known = [index for index, key in enumerate(links) if key in self.row]
        place = self._rows(links)
        limits = np.full(len(links), np.inf)
        limits[known] = self.ceiling[place]
        self.mean = np.zeros(len(self.row))
        self.mean[place] = link_forecast.mean[known, :ahead].max(axis=1, initial=0.0)
        # With a handful of samples the spread is a guess, wide on purpose: no reason to move anything.
        sure = ~link_forecast.cold[known]
        upper = link_forecast.quantile(level)[known, :ahead].max(axis=1, initial=0.0)
        self.load = np.zeros(len(self.row))
        self.load[place] = np.where(sure, upper, self.mean[place])
        self.probability = np.zeros(len(self.row))
        self.probability[place] = link_forecast.prob_above(limits)[known, :ahead].max(axis=1, initial=0.0)
        self.free = np.array([situation.resources.free(key) for key in network.link_order])
        expected = demand_forecast.mean[:, :ahead].max(axis=1, initial=0.0)
        upper = demand_forecast.quantile(level)[:, :ahead].max(axis=1, initial=0.0)
        most = np.where(demand_forecast.cold, expected, np.maximum(upper, expected))
        self.expected = dict(zip(pairs, expected.tolist(), strict=True))
        self.most = dict(zip(pairs, most.tolist(), strict=True))
        ours = [s for s in stitches if s.request.origin == ORIGIN and s.state in CARRYING]
        self.mine = {s.vm_request.directions[0]: s for s in ours}
        # Those of others, and ours that are on their way out or down: not to be touched.
        rest = (s for s in stitches if s.state not in ENDED and s not in ours)
        self.theirs = {pair for s in rest for pair in carried(s)}
        self.rerouted: set[int] = set()

    def resize(self) -> list[Resize]:
        """Follow the demands: what a stitch no longer needs is free for others, what it needs more it asks for."""
        resized = []
        for pair, stitch in self.mine.items():
            before = stitch.request.bandwidth_mbps
            now = max(self.most.get(pair, before), LEAST_PROMISE_MBPS)
            at = self._rows(stitch.path.links) if stitch.path else []
            grows = now > before * (1 + self.policy.resize_share) and bool((self.free[at] >= now - before).all())
            if grows or now < before * (1 - self.policy.resize_share):
                self.free[at] -= now - before
                resized.append(Resize(stitch.id, now))
                request = replace(stitch.request, bandwidth_mbps=now)
                self.mine[pair] = replace(stitch, request=request)
        return resized

    # -- off the hot links ----------------------------------------------------------------------------------

    def relieve(self) -> list[Decision]:
        """Make the best moves off hot links, until none is hot or no move is worth making."""
        moved: dict[Pair, Decision] = {}
        stuck: set[int] = set()
        while len(moved) < self.policy.most_per_round:
            over = self.load / self.capacity - self.policy.share
            over[list(stuck)] = -np.inf
            worst = int(np.argmax(over)) if over.size else 0
            if not over.size or over[worst] <= 0:
                break
            move = self._best_move(worst, moved)
            if move is None:
                stuck.add(worst)
            else:
                moved[move.pair] = self._make(move, worst)
        links = self.situation.network.link_order
        still = (row for row in sorted(stuck) if self.load[row] > self.ceiling[row])
        return [*moved.values(), *(NoRelief(links[row], float(self.probability[row])) for row in still)]

    def _best_move(self, hot: int, moved: Mapping[Pair, Decision]) -> _Move | None:
        link = self.situation.network.link_order[hot]
        least = self.policy.least_share * self.capacity[hot]
        pairs = [
            pair
            for pair, route in self.routes.items()
            if link in route
            and pair not in moved
            and pair not in self.theirs
            and self.expected.get(pair, 0.0) >= least
        ]
        best = self._best(pairs, hot, self.load, self.most)
        if best is None and self.mean[hot] > self.ceiling[hot]:
            # It will be full, whatever the spread. While little is known that makes every other link look full as
            # well: what is expected has to do.
            best = self._best(pairs, hot, self.mean, self.expected)
        return best

    def _best(self, pairs: list[Pair], hot: int, load: Floats, demand: Mapping[Pair, float]) -> _Move | None:
        moves = (self._move(pair, hot, load, demand[pair]) for pair in pairs)
        return max((m for m in moves if m and m.gain > 0), key=lambda m: (m.gain, m.pair), default=None)

    def _move(self, pair: Pair, hot: int, load: Floats, demand: float) -> _Move | None:
        """The best path for a demand that avoids a hot link, and what going there would gain."""
        hosts = self.situation.network.hosts
        source, target = hosts.get(pair[0]), hosts.get(pair[1])
        if source is None or target is None:
            return None
        at = self._rows(self.routes[pair])
        without = load.copy()
        without[at] = np.maximum(0.0, without[at] - self.expected[pair])
        dearer = self._cost(without + demand) - self._cost(without)
        room = self.free.copy()
        if pair in self.mine:
            room[at] += self.mine[pair].request.bandwidth_mbps
        calm = without + demand <= (self.policy.share - self.policy.margin_share) * self.capacity
        usable = calm & (room >= self.most[pair]) & np.isfinite(self.capacity)
        weight = np.where(usable, np.maximum(dearer, 0.0), np.inf)
        weight[hot] = np.inf
        path = path_at_cost(self.situation.network, source, target, weight)
        if path is None:
            return None
        now = float((self._cost(load)[at] - self._cost(without)[at]).sum())
        then = float(sum(weight[self.row[key]] for key in path.links))
        return _Move(pair, path, now - then - self.policy.hop_cost * demand)

    def _cost(self, load: Floats) -> Floats:
        """The cost of congestion of every link, where a link at its ceiling counts as full."""
        known = np.isfinite(self.capacity)
        ceiling = np.where(known, self.ceiling, 1.0)
        return np.where(known, ceiling * load_penalty(load / ceiling), 0.0)

    def _make(self, move: _Move, hot: int) -> Decision:
        """Count the demand on its new path, and say what is to be done."""
        link = self.situation.network.link_order[hot]
        bandwidth = self.most[move.pair]
        probability = float(self.probability[hot])
        stitch = self.mine.get(move.pair)
        self._shift(move.pair, move.path.links)
        self.free[self._rows(move.path.links)] -= bandwidth
        if stitch is not None:
            self.rerouted.add(stitch.id)
            # It holds its old path until the new one carries: only where both are one it gives anything back.
            old = stitch.path.links if stitch.path is not None else ()
            shared = self._rows(tuple(key for key in move.path.links if key in old))
            self.free[shared] += stitch.request.bandwidth_mbps
        if stitch is not None:
            return Reroute(stitch.id, bandwidth, move.path, link, probability)
        request = VmRequest(*move.pair, bandwidth, both_ways=False, origin=ORIGIN, relieves=link)
        return Establish(request, move.path, probability)

    # -- back to the shortest way ---------------------------------------------------------------------------

    def fits_back(self, stitch: Stitch) -> bool:
        """Whether the shortest way would stay calm with the demand of this stitch on it."""
        pair = stitch.vm_request.directions[0]
        now = set(self.routes.get(pair, ()))
        demand = self.most.get(pair, stitch.request.bandwidth_mbps)
        for key in self.shortest.get(pair, ()):
            row = self.row.get(key)
            if row is None:
                return False  # its switch is away: no rules can be taken in there now
            extra = 0.0 if key in now else demand
            if self.load[row] + extra > self.policy.release_share * self.capacity[row]:
                return False
        return pair in self.shortest

    def move_back(self, stitch: Stitch) -> None:
        """Count the demand of a stitch on the shortest way again."""
        pair = stitch.vm_request.directions[0]
        self._shift(pair, self.shortest.get(pair, ()))

    def _shift(self, pair: Pair, route: Route) -> None:
        """Put a demand on another route: what is expected leaves the old one, what it may be goes onto the new."""
        old = self._rows(self.routes.get(pair, ()))
        for load, arrives in ((self.load, self.most), (self.mean, self.expected)):
            load[old] = np.maximum(0.0, load[old] - self.expected.get(pair, 0.0))
            load[self._rows(route)] += arrives.get(pair, 0.0)
        self.routes[pair] = route

    def _rows(self, route: Route) -> list[int]:
        """Where its links stand in the arrays, those left out that are gone."""
        return [self.row[key] for key in route if key in self.row]
