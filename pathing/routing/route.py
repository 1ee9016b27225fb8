"""Traffic engineering on a whole demand matrix: `route_demands`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pathing.routing.deadline import Clock, Deadline
from pathing.routing.network import Pair
from pathing.routing.options import DEFAULT_MEAN_WEIGHT, Options, OverScenarios
from pathing.routing.plan import RoutingPlan
from pathing.routing.progress import Tell
from pathing.routing.task import Task
from pathing.topology import Topology


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
    over_scenarios: OverScenarios = "worst",
    mean_weight: float = DEFAULT_MEAN_WEIGHT,
    unsplittable: bool = False,
    clock: Clock | None = None,
    progress: Tell | None = None,
) -> RoutingPlan:
    """Route `demands` (Mbit/s by (source, destination)) so that the fullest link is as empty as can be.

    Minimises maximum utilisation + `mean_weight` * mean utilisation over the links that are up, until the
    relative `gap` to what is possible is proven closed. The maximum is then within gap + `mean_weight` of the
    least possible. `scenarios` are further matrices that the same paths and fractions must carry. Over all of them
    the maximum is the worst, or with `over_scenarios="mean"` the mean of their maxima: that is the one to ask for
    where they are samples of what may come and not bounds of it. The mean utilisation is over all.
    No demand has more than `max_paths` paths, or more than one if `unsplittable`.

    With `max_moved`, no more than that share of the traffic of `demands` leaves the paths it has in `previous`;
    traffic that cannot stay, because its way is down or it is new, is not counted. A demand may then keep as many
    paths as it has there. `time_limit_s` is measured on `clock` (such as `time.monotonic`); a step that has begun
    is ended, so it can take a little longer. `progress` is called after each with the maximum of the best routing
    met so far, which may have more paths than the plan is allowed, and the bound proven so far.

    Raises `UnknownNode`, and `RoutingError` naming a demand or an option that cannot be. Demands without a way
    are listed in the plan, not raised.

    Column generation on HiGHS with Lagrangian bounds: Ford and Fulkerson 1958; Barnhart, Hane, Vance, "Using
    branch-and-price-and-cut to solve origin-destination integer multicommodity flow problems", 2000; smoothed as
    in Wentges, "Weighted Dantzig-Wolfe decomposition", 1997.
    """
    options = Options(gap, max_paths, mean_weight, unsplittable, max_moved, over_scenarios)
    options.check(previous, time_limit_s, clock)
    deadline = Deadline(clock, math.inf if clock is None or time_limit_s is None else clock() + time_limit_s)
    return Task.of(topology, demands, scenarios or (), options, deadline, progress).best(previous)


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
    return Task.of(topology, demands, scenarios or (), options, Deadline()).quick()
