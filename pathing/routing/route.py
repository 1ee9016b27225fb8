"""Traffic engineering on a whole demand matrix: `route_demands`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from pathing.csr import FloatArray, IndexArray
from pathing.routing.deadline import Clock, Deadline
from pathing.routing.generation import Aim, Generation, tie_break
from pathing.routing.greedy import Assignment, SplitLimits, greedy_split, improve
from pathing.routing.network import Commodities, Network, Pair, RoutingError, commodities, network
from pathing.routing.opening import Opening, opening
from pathing.routing.plan import PlanPaths, RoutingPlan
from pathing.routing.previous import moved_share, parts, standing
from pathing.routing.pricing import Pricing
from pathing.routing.ragged import Ragged
from pathing.routing.shed import least_shed
from pathing.routing.split import Split, keep_few, single
from pathing.topology import Topology

DEFAULT_MEAN_WEIGHT = 1e-4
# Less would not tell a detour from the straight way.
_LEAST_MEAN_WEIGHT = 1e-6
# The first-order rounds that give the first prices. The programme needs no better ones where it is small; with
# several matrices each round costs a search for every demand.
_FEW_ROUNDS = 15
_ROUNDS = 60
_GREEDY_ROUNDS = 40
_MANY_DEMANDS = 10_000
# Demands that fill more than this of a link are split in the greedy plan, only the largest in that to start from.
_LARGE = 0.01
_LARGE_AT_START = 0.1
# A utilisation above 1 by no more than this is a rounding error.
_FULL = 1e-9


def route_demands(
    topology: Topology,
    demands: Mapping[Pair, float],
    *,
    previous: RoutingPlan | None = None,
    max_moved: float | None = None,
    gap: float = 1e-3,
    time_limit_s: float | None = None,
    max_paths: int = 3,
    scenarios: Sequence[Mapping[Pair, float]] | None = None,
    mean_weight: float = DEFAULT_MEAN_WEIGHT,
    unsplittable: bool = False,
    clock: Clock | None = None,
) -> RoutingPlan:
    """Route `demands` (Mbit/s by (source, destination)) so that the fullest link is as empty as can be.

    Minimises maximum utilisation + `mean_weight` * mean utilisation over the links that are up, until the
    relative `gap` to what is possible is proven closed. The maximum is then within gap + `mean_weight` of the
    least possible. `scenarios` are further matrices that the same paths and fractions must carry: the maximum is
    the worst over all of them, the mean is over all. No demand has more than `max_paths` paths, or more than one
    if `unsplittable`.

    With `max_moved`, no more than that share of the traffic of `demands` leaves the paths it has in `previous`;
    traffic that cannot stay, because its way is down or it is new, is not counted. A demand may then keep as many
    paths as it has there. `time_limit_s` is measured on `clock` (such as `time.monotonic`).

    Raises `UnknownNode`, and `RoutingError` naming a demand or an option that cannot be. Demands without a way
    are listed in the plan, not raised.

    Column generation on HiGHS with Lagrangian bounds: Ford and Fulkerson 1958; Barnhart, Hane, Vance, "Using
    branch-and-price-and-cut to solve origin-destination integer multicommodity flow problems", 2000; smoothed as
    in Wentges, "Weighted Dantzig-Wolfe decomposition", 1997.
    """
    options = Options(gap, max_paths, mean_weight, unsplittable, max_moved)
    options.check(previous, time_limit_s, clock)
    deadline = Deadline(clock, math.inf if clock is None or time_limit_s is None else clock() + time_limit_s)
    task = Task.of(topology, demands, scenarios or (), options, deadline)
    kept = None if previous is None else task.standing(previous)
    if task.idle:
        return task.plan(topology, single(task.base), 0.0, kept, "optimal")
    first = opening(task.scaled, task.tie_break, task.opening_rounds, deadline)
    split, bound, closed = task.solve(first, kept)
    return task.plan(topology, split, max(bound, first.bound), kept, closed)


def route_greedily(
    topology: Topology,
    demands: Mapping[Pair, float],
    *,
    max_paths: int = 3,
    scenarios: Sequence[Mapping[Pair, float]] | None = None,
    unsplittable: bool = False,
) -> RoutingPlan:
    """Give a plan by congestion prices alone: some per cent from the best, sooner, with a weaker bound.

    Arguments, answer and errors as `route_demands`; that falls back on this when its time is too short.
    """
    options = Options(1.0, max_paths, DEFAULT_MEAN_WEIGHT, unsplittable, None)
    options.check(None, None, None)
    task = Task.of(topology, demands, scenarios or (), options, Deadline())
    if task.idle:
        return task.plan(topology, single(task.base), 0.0, None, "greedy")
    first = opening(task.scaled, task.tie_break, _GREEDY_ROUNDS, task.deadline)
    return task.plan(topology, task.greedily(first), first.bound, None, "greedy")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `route_demands` that shape the plan."""

    gap: float
    max_paths: int
    mean_weight: float
    unsplittable: bool
    max_moved: float | None

    @property
    def most_paths(self) -> int:
        """How many paths a demand may have."""
        return 1 if self.unsplittable else self.max_paths

    @property
    def tie_break_weight(self) -> float:
        """The weight of the mean that is used: never so small that detours are free."""
        return max(self.mean_weight, _LEAST_MEAN_WEIGHT)

    def check(self, previous: RoutingPlan | None, time_limit_s: float | None, clock: Clock | None) -> None:
        """Raise `RoutingError` for the first option that makes no sense."""
        _require(_is_number(self.gap) and self.gap > 0, "gap", self.gap, "a number above 0, such as 1e-3")
        whole = isinstance(self.max_paths, int) and not isinstance(self.max_paths, bool)
        _require(whole and self.max_paths >= 1, "max_paths", self.max_paths, "a whole number, 1 or more")
        _require(_is_number(self.mean_weight), "mean_weight", self.mean_weight, "a finite number, 0 or more")
        if self.max_moved is not None:
            good = _is_number(self.max_moved) and self.max_moved >= 0
            _require(
                good, "max_moved", self.max_moved, "a share of the traffic, 0.05 for 5 %, or None for no limit"
            )
            if previous is None:
                raise RoutingError("max_moved limits what moves from previous; give that too")
        if time_limit_s is not None:
            good = _is_number(time_limit_s) and time_limit_s >= 0
            _require(good, "time_limit_s", time_limit_s, "a number of seconds, 0 or more, or None for no limit")
            if clock is None:
                raise RoutingError("time_limit_s needs a clock to go by; give clock=time.monotonic")


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is to be done, as arrays. In `scaled` the volumes are such that the base paths' maximum is 1."""

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

    @staticmethod
    def of(
        topology: Topology,
        demands: Mapping[Pair, float],
        scenarios: Sequence[Mapping[Pair, float]],
        options: Options,
        deadline: Deadline,
    ) -> Task:
        """Check the demands, leave out those without a way, and give the rest its least loading paths as base."""
        net = network(topology)
        pairs, asked = commodities(topology, [demands, *scenarios])
        all_pricing = Pricing(net, asked)
        routable = all_pricing.reachable()
        unroutable = tuple(pairs[i] for i in np.setdiff1d(np.arange(len(pairs)), routable))
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
        )

    @property
    def idle(self) -> bool:
        """Whether there is nothing to route."""
        return self.scale == 0

    @property
    def opening_rounds(self) -> int:
        """How long to look for first prices."""
        few = len(self.pairs) < _MANY_DEMANDS or self.pricing.commodities.volumes.shape[0] > 1
        return _FEW_ROUNDS if few else _ROUNDS

    def standing(self, previous: RoutingPlan) -> Split:
        """What of the previous plan the demands can stay on."""
        ends = self.pricing.commodities.sources, self.pricing.commodities.targets
        return standing(previous.paths, self.pairs, ends, self.network)

    def solve(self, first: Opening, kept: Split | None) -> tuple[Split, float, str]:
        """Give the split, a bound on the scaled maximum, and the status."""
        if kept is not None and self.options.max_moved is not None:
            return self._solve_near(first, kept, self.options.max_moved)
        start = self.greedily(first, _LARGE_AT_START)
        generation = Generation(self.scaled, self.base, self._aim(None), self.deadline)
        generation.seed(start)
        generated = generation.run(first.weights)
        if not generated.solved:
            return start, generated.bound, "greedy"
        generation.limit_paths(self.options.most_paths, generated.bound * (1 + self.options.gap / 2))
        split = generation.split().tidy()
        most = np.full(len(self.pairs), self.options.most_paths)
        split = keep_few(split, most, np.zeros(split.owners.size, dtype=np.bool_))
        if self.options.unsplittable:
            split = self._better_whole(split, start)
        return split, generated.bound, "optimal" if generated.closed else "time limit"

    def greedily(self, first: Opening, large: float = _LARGE) -> Split:
        """The greedy plan; demands are split that fill more than `large` of a link."""
        limits = SplitLimits(self.options.most_paths, large)
        return greedy_split(self.scaled, self.tie_break, first.use, self.base, limits, self.deadline).tidy()

    def _solve_near(self, first: Opening, kept: Split, max_moved: float) -> tuple[Split, float, str]:
        """Solve with a limit on what moves: demands are cut into parts, each on the path it has now."""
        cut = parts(kept, self.base)
        whole = self.scaled.commodities
        volumes = whole.volumes[:, cut.owners] * cut.fractions
        commodities_cut = Commodities(whole.sources[cut.owners], whole.targets[cut.owners], volumes)
        pricing = Pricing(self.network, commodities_cut, self.scaled.searcher)
        aim = self._aim(max_moved * float(whole.volumes[0].sum()))
        generation = Generation(pricing, cut.base, aim, self.deadline, cut.counted)
        generated = generation.run(first.weights)
        part = generation.split()
        split = Split(part.paths, cut.owners[part.owners], part.fractions * cut.fractions[part.owners]).tidy()
        before = np.bincount(kept.owners, minlength=len(self.pairs))
        most = np.maximum(self.options.most_paths, before)
        split = keep_few(split, most, split.is_in(kept))
        return split, generated.bound, "optimal" if generated.closed else "time limit"

    def _better_whole(self, split: Split, start: Split) -> Split:
        """Improve the rounded solution move by move; give that or the greedy one, whichever is better."""
        rounded = improve(self.scaled, self.tie_break, Assignment(split.paths, self._use(split)), self.deadline)
        return min(single(rounded.paths), start, key=lambda one: float(self._use(one).max()))

    def _use(self, split: Split) -> FloatArray:
        loads = split.loads(self.scaled.commodities.volumes, self.network.n_links)
        return loads / self.network.capacity_mbps

    def _aim(self, moved_limit: float | None) -> Aim:
        return Aim(self.options.tie_break_weight, self.options.gap, moved_limit)

    def plan(self, topology: Topology, split: Split, bound: float, kept: Split | None, status: str) -> RoutingPlan:
        """Put the answer together; all figures are worked out again from the paths."""
        volumes = self.pricing.commodities.volumes
        link_mbps = split.loads(volumes, self.network.n_links)
        use = link_mbps / self.network.capacity_mbps
        mlu = float(use.max(initial=0.0))
        usable = use[:, self.network.usable]
        bound = min(max(bound * self.scale, self._few_paths_bound()), mlu)
        if (
            status == "optimal"
            and mlu > 0
            and mlu - bound > (self.options.gap + self.options.tie_break_weight) * mlu
        ):
            status = "gap open"
        return RoutingPlan(
            paths=PlanPaths(topology.node_names, self.network, self.pairs, split),
            mlu=mlu,
            lower_bound=bound,
            mean_utilisation=float(usable.mean()) if usable.size else 0.0,
            moved=0.0 if kept is None else moved_share(kept, split, volumes[0]),
            link_mbps=link_mbps[0],
            excess_mbps=self._excess(split) if mlu > 1 + _FULL else {},
            unroutable=self.unroutable,
            status=status,
        )

    def _few_paths_bound(self) -> float:
        """A bound from the limit on paths alone.

        k paths leave the source over at most k links, so a demand fills the k largest of them to its volume over
        the sum of their capacities at least; likewise the links into its destination.
        """
        asked, most = self.pricing.commodities, self.options.most_paths
        out = _largest(self.network.tails, self.network, most)[asked.sources]
        into = _largest(self.network.heads, self.network, most)[asked.targets]
        return float((asked.peaks / np.minimum(out, into)).max(initial=0.0))

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


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < math.inf


def _require(good: bool, option: str, value: object, expected: str) -> None:
    if not good:
        raise RoutingError(f"{option} is {value!r}; it must be {expected}")
