"""One question to `route_demands` as arrays, and the steps to its answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pathing.csr import FloatArray, IndexArray
from pathing.routing.aim import Aim
from pathing.routing.deadline import Deadline
from pathing.routing.generation import Generation
from pathing.routing.greedy import Assignment, SplitLimits, greedy_split, improve
from pathing.routing.levels import Levels
from pathing.routing.network import Commodities, Network, Pair, commodities, network
from pathing.routing.opening import Opening, opening
from pathing.routing.options import Options
from pathing.routing.plan import PlanPaths, RoutingPlan
from pathing.routing.previous import moved_share, parts, standing
from pathing.routing.pricing import Pricing, tie_break
from pathing.routing.progress import Progress, Tell
from pathing.routing.ragged import Ragged
from pathing.routing.shed import least_shed
from pathing.routing.split import Split, keep_few, single
from pathing.topology import Topology

# The first-order rounds that give the first prices. The programme needs no better ones where it is small; with
# several matrices each round costs a search for every demand.
_FEW_ROUNDS = 15
_ROUNDS = 60
_GREEDY_ROUNDS = 40
# They take no more than this share of the time: without a plan good prices are worth nothing.
_OPENING_SHARE = 0.3
_MANY_DEMANDS = 10_000
# With fewer demands the programme is solved before a greedy plan to start from is made.
_SMALL = 500
# Demands that fill more than this of a link are split in the greedy plan, only the largest in that to start from.
_LARGE = 0.01
_LARGE_AT_START = 0.1
# A utilisation above 1 by no more than this is a rounding error.
_FULL = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is to be done, as arrays. In `scaled` the volumes are such that the base paths' maximum is 1."""

    names: tuple[str, ...]
    network: Network
    pairs: tuple[Pair, ...]
    unroutable: tuple[Pair, ...]
    pricing: Pricing
    base: Ragged
    scale: float
    scaled: Pricing
    tie_break: FloatArray
    options: Options
    deadline: Deadline
    progress: Progress

    @staticmethod
    def of(
        topology: Topology,
        demands: Mapping[Pair, float],
        scenarios: Sequence[Mapping[Pair, float]],
        options: Options,
        deadline: Deadline,
        tell: Tell | None = None,
    ) -> Task:
        """Check the demands, leave out those without a way, and give the rest its least loading paths as base."""
        net = network(topology)
        pairs, asked = commodities(topology, [demands, *scenarios])
        all_pricing = Pricing(net, asked)
        routable = all_pricing.reachable()
        apart = np.ones(len(pairs), dtype=np.bool_)
        apart[routable] = False
        unroutable = tuple(pairs[i] for i in np.flatnonzero(apart))
        pricing = Pricing(net, asked.take(routable), all_pricing.searcher)
        # The tie break is the same for all matrices: one tree a source does for it.
        one = Commodities(pricing.commodities.sources, pricing.commodities.targets, np.ones((1, routable.size)))
        even = Pricing(net, one, all_pricing.searcher)
        base = even.cheapest(tie_break(even, 1.0)).paths(np.arange(routable.size))
        loads = single(base).loads(pricing.commodities.volumes, net.n_links)
        highest = float((loads / net.capacity_mbps).max(initial=0.0))
        scale = highest if highest > 0 else 1.0
        part = pricing.commodities
        scaled = Pricing(net, Commodities(part.sources, part.targets, part.volumes / scale), all_pricing.searcher)
        return Task(
            topology.node_names,
            net,
            tuple(pairs[i] for i in routable) if unroutable else pairs,
            unroutable,
            pricing,
            base,
            highest,
            scaled,
            tie_break(scaled, options.tie_break_weight),
            options,
            deadline,
            Progress(tell, scale),
        )

    @property
    def levels(self) -> Levels:
        """What is minimised of the matrices' maxima."""
        if self.options.over_scenarios == "worst":
            return Levels.worst()
        return Levels.mean(self.pricing.commodities.volumes.shape[0])

    @property
    def idle(self) -> bool:
        """Whether there is nothing to route."""
        return self.scale == 0

    def best(self, previous: RoutingPlan | None) -> RoutingPlan:
        """Give the plan within the gap, or the best there was time for."""
        kept = None
        if previous is not None:
            ends = self.pricing.commodities.sources, self.pricing.commodities.targets
            kept = standing(previous.paths, self.pairs, ends, self.network)
        if self.idle:
            return self._plan(single(self.base), 0.0, kept, "optimal")
        self.progress.step(self.levels.value(self._use(single(self.base))))
        near = kept is not None and self.options.max_moved is not None
        if self.deadline.passed() and not (near or self._small):
            return self._plan(single(self.base), 0.0, kept, "greedy")
        few = len(self.pairs) < _MANY_DEMANDS or self.pricing.commodities.volumes.shape[0] > 1
        first = self._opening(_FEW_ROUNDS if few else _ROUNDS)
        split, bound, status = self._solve(first, kept)
        return self._plan(split, max(bound, first.bound), kept, status)

    def quick(self) -> RoutingPlan:
        """Give the greedy plan."""
        if self.idle:
            return self._plan(single(self.base), 0.0, None, "greedy")
        first = self._opening(_GREEDY_ROUNDS)
        return self._plan(self._greedily(first), first.bound, None, "greedy")

    def _opening(self, rounds: int) -> Opening:
        until = self.deadline.part(_OPENING_SHARE)
        return opening(self.scaled, self.tie_break, self.levels, rounds, until)

    def _solve(self, first: Opening, kept: Split | None) -> tuple[Split, float, str]:
        """Give the split, a bound on the scaled maximum, and the status."""
        if kept is not None and self.options.max_moved is not None:
            return self._solve_near(first, kept, self.options.max_moved)
        quick = self._small and not self.options.unsplittable
        self.progress.step(math.inf, first.bound)
        start = single(self.base) if quick else self._greedily(first, _LARGE_AT_START)
        self.progress.step(self.levels.value(self._use(start)), first.bound)
        if self.deadline.passed():
            return self._at_least_greedily(first, start), first.bound, "greedy"
        generation = Generation(self.scaled, self.base, self._aim(None), self.deadline, progress=self.progress)
        generation.seed(start)
        generated = generation.run(first.weights)
        if not generated.solved:
            return self._at_least_greedily(first, start), generated.bound, "greedy"
        generation.limit_paths(self.options.most_paths, generated.bound * (1 + self.options.gap / 2))
        split = generation.split().tidy()
        split = keep_few(split, self._most_paths(None), np.zeros(split.owners.size, dtype=np.bool_))
        if self.options.unsplittable:
            split = self._better_whole(split, start)
        return split, generated.bound, "optimal" if generated.closed else "time limit"

    @property
    def _small(self) -> bool:
        """Whether a greedy plan takes so little time that none need be there for it."""
        return len(self.pairs) < _SMALL

    def _greedily(self, first: Opening, large: float = _LARGE, deadline: Deadline | None = None) -> Split:
        """The greedy plan; demands are split that fill more than `large` of a link."""
        limits, until = SplitLimits(self.options.most_paths, large), deadline or self.deadline
        return greedy_split(self.scaled, self.tie_break, first.use, self.base, limits, until).tidy()

    def _at_least_greedily(self, first: Opening, start: Split) -> Split:
        """The plan to give where the programme was not solved."""
        return self._greedily(first, deadline=Deadline()) if self._small else start

    def _solve_near(self, first: Opening, kept: Split, max_moved: float) -> tuple[Split, float, str]:
        """Solve with a limit on what moves: demands are cut into parts, each on the path it has now."""
        cut = parts(kept, self.base)
        whole = self.scaled.commodities
        volumes = whole.volumes[:, cut.owners] * cut.fractions
        commodities_cut = Commodities(whole.sources[cut.owners], whole.targets[cut.owners], volumes)
        pricing = Pricing(self.network, commodities_cut, self.scaled.searcher)
        aim = self._aim(max_moved * float(whole.volumes[0].sum()))
        generation = Generation(pricing, cut.base, aim, self.deadline, cut.counted, self.progress)
        generated = generation.run(first.weights)
        part = generation.split()
        split = Split(part.paths, cut.owners[part.owners], part.fractions * cut.fractions[part.owners]).tidy()
        split = keep_few(split, self._most_paths(kept), split.is_in(kept))
        return split, generated.bound, "optimal" if generated.closed else "time limit"

    def _better_whole(self, split: Split, start: Split) -> Split:
        """Improve the rounded solution move by move; give that or the greedy one, whichever is better."""
        rounded = improve(self.scaled, self.tie_break, Assignment(split.paths, self._use(split)), self.deadline)
        return min(single(rounded.paths), start, key=lambda one: self.levels.value(self._use(one)))

    def _use(self, split: Split) -> FloatArray:
        loads = split.loads(self.scaled.commodities.volumes, self.network.n_links)
        return loads / self.network.capacity_mbps

    def _aim(self, moved_limit: float | None) -> Aim:
        return Aim(self.levels, self.options.tie_break_weight, self.options.gap, moved_limit)

    def _plan(self, split: Split, bound: float, kept: Split | None, status: str) -> RoutingPlan:
        """Put the answer together; all figures are worked out again from the paths."""
        volumes = self.pricing.commodities.volumes
        link_mbps = split.loads(volumes, self.network.n_links)
        use = link_mbps / self.network.capacity_mbps
        mlu = self.levels.value(use)
        usable = use[:, self.network.usable]
        overflows = bool(use.max(initial=0.0) > 1 + _FULL)
        bound = min(max(bound * self.scale, self._few_paths_bound(self._most_paths(kept))), mlu)
        if (
            status == "optimal"
            and mlu > 0
            and mlu - bound > (self.options.gap + self.options.tie_break_weight) * mlu
        ):
            status = "gap open"
        return RoutingPlan(
            paths=PlanPaths(self.names, self.network, self.pairs, split),
            mlu=mlu,
            lower_bound=bound,
            mean_utilisation=float(usable.mean()) if usable.size else 0.0,
            moved=0.0 if kept is None else moved_share(kept, split, volumes[0]),
            link_mbps=link_mbps[0],
            excess_mbps=self._excess(split) if overflows else {},
            unroutable=self.unroutable,
            status=status,
            overflows=overflows,
        )

    def _most_paths(self, kept: Split | None) -> IndexArray:
        """How many paths each demand may have; with a limit on what moves, as many as it has now."""
        most = np.full(len(self.pairs), min(self.options.most_paths, np.iinfo(np.intp).max))
        if kept is not None and self.options.max_moved is not None:
            np.maximum(most, np.bincount(kept.owners, minlength=most.size), out=most)
        return most

    def _few_paths_bound(self, most: IndexArray) -> float:
        """A bound from the limit on paths alone, `most` (n_demands,).

        k paths leave the source over at most k links, so a demand fills the k largest of them to its volume over
        the sum of their capacities at least; likewise the links into its destination.
        """
        asked = self.pricing.commodities
        out, into = np.empty(most.size), np.empty(most.size)
        for count in np.unique(most).tolist():
            those = most == count
            out[those] = _largest(self.network.tails, self.network, count)[asked.sources[those]]
            into[those] = _largest(self.network.heads, self.network, count)[asked.targets[those]]
        return self.levels.value(asked.volumes / np.minimum(out, into))

    def _excess(self, split: Split) -> dict[Pair, float]:
        """What to cut of each demand, in Mbit/s of its largest volume."""
        cut = least_shed(self.pricing, split, self.deadline) * self.pricing.commodities.peaks
        return {self.pairs[number]: float(cut[number]) for number in np.flatnonzero(cut > 0)}


def _largest(ends: IndexArray, net: Network, most: int) -> FloatArray:
    """For each node the sum of the capacities of its `most` largest links that are up; `ends` (n_links,)."""
    links = np.flatnonzero(net.usable)
    links = links[np.lexsort((-net.capacity_mbps[links], ends[links]))]
    rank = np.arange(links.size) - np.searchsorted(ends[links], ends[links])
    links = links[rank < most]
    return np.bincount(ends[links], weights=net.capacity_mbps[links], minlength=net.n_nodes).astype(np.float64)
