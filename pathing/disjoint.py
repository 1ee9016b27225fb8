"""Paths with nothing in common, of least total weight: link-disjoint, node-disjoint or without a shared risk."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TypeVar, get_args

from pathing.constrained import constrained_path
from pathing.constraints import Constraints
from pathing.disjoint_program import Effort, Solution
from pathing.disjoint_refusal import no_way, refusal, too_few
from pathing.disjoint_search import Apart, Asked, Group, by_flow, by_programme, flow_of, groups_of
from pathing.errors import LabelBudget, PathingError
from pathing.label_setting.question import Question, ask
from pathing.path import Path
from pathing.routing.deadline import Clock, Deadline
from pathing.topology import Topology
from pathing.weights import Weight

Element = TypeVar("Element", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Shared:
    """What more than one path uses; false when nothing.

    `links` by id; `nodes` between the ends where node-disjoint paths were asked for; `groups` of shared risk where
    paths without common groups were.
    """

    links: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.links or self.nodes or self.groups)


@dataclass(frozen=True, slots=True)
class DisjointPaths:
    """Paths between the same two nodes, the lightest first, their total `weight` and what they share.

    `lower_bound` is proven: no paths that share as little, as `disjoint_paths` counts it, weigh less in total. At
    the optimum it is `weight` where a search found it. Where the integer programme was needed it is that to 1e-8
    if no link weighs more than a million times the least total, else to 1e-8 or 1e-14 of the heaviest link,
    whichever is more: with weights from 1e-9 to 1e9 `gap` can stay far above 0 at the optimum. `fewest` is False
    where the time was up before it was proven that no paths share less.
    """

    paths: tuple[Path, ...]
    weight: float
    shared: Shared
    lower_bound: float
    fewest: bool = True

    @property
    def gap(self) -> float:
        """How far above the optimum the weight can be at the most, as a share of it; 0 if it is `lower_bound`."""
        return (self.weight - self.lower_bound) / self.weight if self.weight > self.lower_bound else 0.0


def disjoint_paths(
    topology: Topology,
    src: str,
    dst: str,
    k: int = 2,
    by: Apart = "link",
    weight: Weight = "latency_ms",
    *,
    maximally: bool = False,
    constraints: Constraints | None = None,
    gap: float = 0.0,
    time_limit_s: float | None = None,
    clock: Clock | None = None,
) -> DisjointPaths:
    """Find `k` paths from `src` to `dst` that have nothing in common, of least total weight.

    `by` says what: "link", where parallel links and the two directions of a cable are different links; "node", no
    node between the ends and no link; "srlg", no shared-risk group, a link without one being a risk of its own.
    With `maximally`, where it cannot be nothing, they share as little as can be, then weigh the least. What is
    counted is every use after the first: a link on three of the paths counts 2, one on two of them 1. By link
    these are links, by node first nodes and then links, by srlg groups (and links without a group).
    Each path by itself satisfies `constraints`; one path alone is what `constrained_path` gives.

    By link or node, two paths (and any number that share nothing) are a flow of least cost, found at once. Shared
    risks, and constraints that this flow does not happen to satisfy, make it NP-hard: an integer programme then
    solves it to the relative `gap`, or gives the best it has after `time_limit_s` with what is proven. A gap of 0
    is one as small as the solver can tell, see `DisjointPaths`. By default there is no limit, and where a network
    is large that takes long: two paths under `max_latency_ms` among 10,000 nodes took 21 s.

    On `clock` (such as `time.monotonic`) the limit is for everything, also for building the programme and for
    finding out why there are no paths; a step that has begun is finished. Without a clock it is for the solver
    alone, each time it is asked: once for the paths, and for a refusal once for each constraint and once more.

    Raises `UnknownNode`, `TopologyError`, `WeightError`, `ConstraintError`, `PathingError` for other arguments
    that make no sense, `Undecided` if nothing was found in time, and `NoPath`. That names what stands in the way:
    a constraint with the nearest value of it that works, asked again, or where it is the number of paths, `k` as
    its constraint and the most there can be as `nearest`.
    """
    _check(src, dst, k, by, gap, time_limit_s)
    at_s = math.inf if clock is None or time_limit_s is None else clock() + time_limit_s
    question = ask(topology, src, dst, constraints or Constraints(), weight)
    if k == 1 and question.fields and (one := _one_path(question)) is not None:
        return one
    asked = Asked(question, k, by, maximally, Effort(gap, time_limit_s, Deadline(clock, at_s)))
    # Two paths share the least by a flow too, if it is links or nodes that count.
    flow = flow_of(asked, share=maximally and k == 2 and by != "srlg")
    if not flow.placed:
        raise no_way(asked)
    if flow.placed < k and not maximally:
        raise too_few(asked, flow)
    solution = by_flow(asked, flow) or by_programme(asked)
    if solution is None:
        raise refusal(asked)
    return _answer(asked, solution)


def _check(src: str, dst: str, k: int, by: str, gap: float, time_limit_s: float | None) -> None:
    # True is an int, but one path is not what it means. NaN fails every comparison.
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise PathingError(f"k is {k!r}; ask for a whole number of paths, 1 or more")
    if by not in get_args(Apart):
        raise PathingError(f"by is {by!r}; it must be one of {', '.join(get_args(Apart))}")
    if src == dst:
        raise PathingError(f"src and dst are both {src!r}; disjoint paths join two nodes")
    if not (_is_number(gap) and gap >= 0):
        raise PathingError(f"gap is {gap!r}; it must be a share, 0 or more")
    if time_limit_s is not None and not (_is_number(time_limit_s) and time_limit_s > 0):
        raise PathingError(f"time_limit_s is {time_limit_s!r}; it must be more than 0 s, or None for no limit")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _answer(asked: Asked, solution: Solution) -> DisjointPaths:
    paths = tuple(sorted((_path(asked.question, links) for links in solution.paths), key=lambda path: path.weight))
    weight = math.fsum(path.weight for path in paths)
    links = _more_than_once(path.links for path in paths)
    nodes = _more_than_once(path.nodes[1:-1] for path in paths) if asked.by == "node" else ()
    groups = _more_than_once(groups_of(asked.topology, path.links) for path in paths) if asked.by == "srlg" else ()
    shared = Shared(links, nodes, groups)
    return DisjointPaths(paths, weight, shared, min(weight, solution.lower_bound), solution.fewest)


def _one_path(question: Question) -> DisjointPaths | None:
    """Give the one path that satisfies the constraints by the search made for it, None where that gives up."""
    try:
        path = constrained_path(
            question.topology, question.src, question.dst, question.constraints, question.weights
        )
    except LabelBudget:
        return None
    return DisjointPaths((path,), path.weight, Shared(), path.weight)


def _path(question: Question, links: Sequence[int]) -> Path:
    names = question.topology.node_names
    heads = [names[question.topology.end_indexes(link)[1]] for link in links]
    weight = math.fsum(float(question.weights[link]) for link in links)
    return Path((question.src, *heads), tuple(links), weight)


def _more_than_once(several: Iterable[Iterable[Element]]) -> tuple[Element, ...]:
    counts = Counter(element for elements in several for element in dict.fromkeys(elements))
    return tuple(element for element, count in counts.items() if count > 1)
