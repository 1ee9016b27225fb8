"""The question in numbers: which sum shall be least, and how large the others may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pathing.csr import FloatArray
from pathing.label_setting.arcs import Arcs, BoolArray
from pathing.label_setting.question import ROUNDING, Question


@dataclass(frozen=True, eq=False)
class Problem:
    """Sought is the simple path with all stops whose sum `sought`, a row of `arcs.sums`, is least.

    Row by row of `limits` each sum may be `most`, (limits,).
    """

    arcs: Arcs
    sought: int
    limits: tuple[int, ...]
    most: FloatArray

    def only(self, kept: BoolArray) -> Problem:
        """Give the problem on the arcs that are kept, (m,)."""
        return replace(self, arcs=self.arcs.only(kept))

    def minimising(self, limit: int) -> Problem:
        """Ask for the least of a limited sum, with all limits but its own; `limit` counts the limits."""
        most = np.delete(self.most, limit)
        return Problem(self.arcs, self.limits[limit], self.limits[:limit] + self.limits[limit + 1 :], most)

    def sums(self) -> FloatArray:
        """Give what arcs add to the sum sought and to the limited ones, (1 + limits, m)."""
        sums: FloatArray = self.arcs.sums[[self.sought, *self.limits]]
        return sums

    def keeps_limits(self, sums: FloatArray) -> bool:
        """Whether these sums of a walk, (1 + limits,), are within the limits."""
        return bool((sums[1:] <= self.most).all())


def in_numbers(question: Question) -> Problem:
    """Give the question as a problem; its limits are in the order of the question's.

    Links that no simple path can take are left out: into the source, out of the destination, and those beside a
    required link at either of its ends.
    """
    topology = question.topology
    start, end = topology.node_index(question.src), topology.node_index(question.dst)
    outward, inward = topology.structure().outward, topology.structure().inward
    weights, limits = question.usable_weights(), question.limits.values()
    kept = np.isfinite(weights).take(outward.links) & (outward.neighbours != start) & (outward.rows != end)
    stops = tuple(stop for several in question.stops.values() for stop in several)
    for stop in stops:
        if stop.link is not None:
            beside = (outward.rows == stop.entry) | (outward.neighbours == stop.exit)
            kept &= ~beside | (outward.links == stop.link)
    position = np.empty(weights.size, dtype=np.intp)
    position[outward.links] = np.arange(weights.size)
    sums = np.stack([weights, *(limit.values for limit in limits)])[:, outward.links]
    by_head = position.take(inward.links)
    arcs = Arcs(
        topology.n_nodes, start, end, stops, outward.rows, outward.neighbours, outward.links, by_head, sums
    )
    most = np.array([limit.most for limit in limits]) * (1.0 + ROUNDING)
    return Problem(arcs.only(kept), 0, tuple(range(1, 1 + len(limits))), most)


@dataclass(slots=True)
class Best:
    """The best path found so far: its sum, infinite for none, and link ids."""

    weight: float = math.inf
    links: tuple[int, ...] = ()

    def offer(self, problem: Problem, walk: Sequence[int]) -> FloatArray:
        """Take a walk if it is a better path that keeps the limits; returns its sums, (1 + limits,)."""
        sums: FloatArray = problem.sums()[:, walk].sum(axis=1)
        if sums[0] < self.weight and problem.keeps_limits(sums) and problem.arcs.is_path(walk):
            self.take(problem, walk, float(sums[0]))
        return sums

    def take(self, problem: Problem, walk: Sequence[int], weight: float) -> None:
        """Take a walk that is known to be a better path."""
        self.weight, self.links = weight, tuple(problem.arcs.links[list(walk)].tolist())
