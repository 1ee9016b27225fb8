"""The least-weight path that satisfies constraints end to end, or why there is none."""

from __future__ import annotations

import math

from pathing.checks import whole_number
from pathing.constraints import Constraints
from pathing.errors import ConstraintError, Fault, LabelBudget, NoPath
from pathing.label_setting.lightest import OutOfLabels, lightest
from pathing.label_setting.problem import in_numbers
from pathing.label_setting.question import ROUNDING, Question, ask
from pathing.label_setting.refusal import refusal
from pathing.path import Path
from pathing.shortest import shortest_path
from pathing.topology import Topology
from pathing.weights import Weight

LABEL_BUDGET = 1_000_000


def constrained_path(
    topology: Topology,
    src: str,
    dst: str,
    constraints: Constraints,
    weight: Weight = "latency_ms",
    *,
    label_budget: int = LABEL_BUDGET,
) -> Path:
    """Find the path of least weight among all simple paths that satisfy the constraints.

    Exact: limits and weights are compared to one part in 10^12, for the rounding of sums. Where the shortest
    path satisfies everything it is the one that `shortest_path` gives over the links left in use; otherwise any
    of equally light ones. See `label_setting.lightest` for the algorithm with its sources and its worst case,
    which is exponential; `label_budget` ends it after that many labels, about 300 bytes each.

    Raises `UnknownNode`, `TopologyError`, `ConstraintError`, `WeightError`; `LabelBudget` with how far it got;
    `NoPath` with the reason, the constraint at fault and the nearest value of it that works with the others as
    they are: asked again with that value, there is a path.
    """
    if (whole_number(label_budget) or 0) < 1:
        raise ConstraintError(f"label_budget is {label_budget!r}; it must be a whole number of labels, 1 or more")
    question = ask(topology, src, dst, constraints, weight)
    if src == dst:
        return _at_home(question)
    path = _shortest(question)
    if path is not None:
        return path
    problem = in_numbers(question)
    try:
        best = lightest(problem, label_budget)
    except OutOfLabels as spent:
        found = _path(question, spent.best.links) if spent.best.links else None
        raise LabelBudget(src, dst, label_budget, spent.bound, found) from None
    if best is None:
        raise refusal(question, problem, label_budget)
    return _path(question, best.links)


def _at_home(question: Question) -> Path:
    """From a node to itself only the path without links is simple."""
    src = question.src
    faults = ["avoid_nodes"] if src in question.constraints.avoid_nodes else []
    faults += question.stops
    if faults:
        reason = f"{' and '.join(faults)}: the only simple path to itself has no links"
        raise NoPath(src, src, reason, faults[0], faults=tuple(map(Fault, faults)))
    return Path((src,), (), 0.0)


def _shortest(question: Question) -> Path | None:
    """Give the shortest path over the links left in use if it satisfies everything."""
    try:
        path = shortest_path(question.topology, question.src, question.dst, question.usable_weights())
    except NoPath:
        return None
    links = list(path.links)
    for limit in question.limits.values():
        if math.fsum(limit.values[links]) > limit.most * (1.0 + ROUNDING):
            return None
    indexes = {question.topology.node_index(name) for name in path.nodes}
    for stops in question.stops.values():
        if not all(stop.entry in indexes if stop.link is None else stop.link in links for stop in stops):
            return None
    return path


def _path(question: Question, links: tuple[int, ...]) -> Path:
    names = question.topology.node_names
    nodes = [question.src, *(names[question.topology.end_indexes(link)[1]] for link in links)]
    return Path(tuple(nodes), links, sum(question.weights[list(links)].tolist()))
