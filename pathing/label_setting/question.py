"""Constraints put to one topology: what they bar, what they limit, what they require."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pathing.checks import float_array
from pathing.constraints import Constraints
from pathing.csr import FloatArray
from pathing.errors import ConstraintError
from pathing.label_setting.arcs import BoolArray, Stop
from pathing.topology import Topology
from pathing.weights import Weight, weigh

# Sums of floats depend on their order, so they are compared to this share of them.
ROUNDING = 1e-12
_LOSS_ROUNDING = 1e-14


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """The most that the sum of `values`, (n_links,), may be along a path; infinity keeps a link out of use."""

    values: FloatArray
    most: float


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A pair of nodes with the constraints by the names of their fields, those that ask for something.

    `weights` are by link, infinite where it is out of use; `bars` tell which links a constraint leaves in use,
    (n_links,); `stops` are what must be taken, source and destination left out.
    """

    topology: Topology
    src: str
    dst: str
    constraints: Constraints
    weights: FloatArray
    limits: Mapping[str, Limit]
    bars: Mapping[str, BoolArray]
    stops: Mapping[str, tuple[Stop, ...]]

    @property
    def fields(self) -> tuple[str, ...]:
        """The constraints that ask for something."""
        return (*self.limits, *self.bars, *self.stops)

    def without(self, field: str) -> Question:
        """Give the question with all constraints but this."""
        return self._where(lambda name: name != field)

    def only(self, field: str) -> Question:
        """Give the question with this constraint alone."""
        return self._where(lambda name: name == field)

    def usable_weights(self) -> FloatArray:
        """Give the weights, infinite also for links that a constraint bars."""
        weights = self.weights
        for left in self.bars.values():
            weights = np.where(left, weights, np.inf)
        for limit in self.limits.values():
            weights = np.where(np.isfinite(limit.values), weights, np.inf)
        return weights

    def _where(self, wanted: Callable[[str], bool]) -> Question:
        return replace(
            self,
            limits={name: limit for name, limit in self.limits.items() if wanted(name)},
            bars={name: left for name, left in self.bars.items() if wanted(name)},
            stops={name: stops for name, stops in self.stops.items() if wanted(name)},
        )


def ask(topology: Topology, src: str, dst: str, constraints: Constraints, weight: Weight) -> Question:
    """Put constraints to a topology.

    Raises `UnknownNode`, `TopologyError` for an unknown link, `ConstraintError`, `WeightError`.
    """
    for name in (src, dst):
        topology.node_index(name)
    stops = dict(_stops(topology, src, dst, constraints))
    bars = dict(_bars(topology, constraints))
    weights = weigh(topology, weight).by_link
    return Question(topology, src, dst, constraints, weights, dict(_limits(topology, constraints)), bars, stops)


def free_mbps(topology: Topology, constraints: Constraints) -> FloatArray:
    """Give what each link can still carry, (n_links,), never negative."""
    free = constraints.free_mbps
    if free is None:
        free = topology.array("capacity_mbps") * (1.0 - topology.array("utilisation"))
    return np.maximum(_checked_free(topology, free), 0.0)


def _checked_free(topology: Topology, free: FloatArray) -> FloatArray:
    numbers = float_array(free)
    if numbers is None:
        raise ConstraintError("free_mbps is no array of real numbers; give Mbit/s, one a link")
    if numbers.shape != (topology.n_links,):
        raise ConstraintError(
            f"free_mbps has shape {numbers.shape}; give one number a link: ({topology.n_links},), by link id"
        )
    unknown = np.flatnonzero(np.isnan(numbers))
    if unknown.size:
        link = topology.link(int(unknown[0]))
        raise ConstraintError(f"free_mbps of link {link.id} ({link.src!r} -> {link.dst!r}) is NaN; give Mbit/s")
    return numbers


def _limits(topology: Topology, constraints: Constraints) -> Iterator[tuple[str, Limit]]:
    if constraints.max_latency_ms is not None:
        latency = topology.array("latency_ms")
        known = np.where(np.isnan(latency), np.inf, latency)
        yield "max_latency_ms", Limit(known, constraints.max_latency_ms)
    if constraints.max_loss is not None and constraints.max_loss < 1:
        # A product of shares, as in Path.loss, is rounded in its last place whether the loss is large or small.
        most = log_loss(constraints.max_loss) + _LOSS_ROUNDING
        yield "max_loss", Limit(-np.log1p(-topology.array("loss")), most)
    if constraints.max_hops is not None:
        yield "max_hops", Limit(np.ones(topology.n_links), constraints.max_hops)


def log_loss(loss: float) -> float:
    """Give -ln(1 - loss), which adds up along a path; infinite for a loss of 1."""
    return -math.log1p(-loss) if loss < 1 else math.inf


def _bars(topology: Topology, constraints: Constraints) -> Iterator[tuple[str, BoolArray]]:
    free = constraints.free_mbps
    if free is not None or constraints.bandwidth_mbps is not None:
        free = free_mbps(topology, constraints)
    if free is not None and constraints.bandwidth_mbps is not None:
        # Capacity times what utilisation leaves is rounded too.
        yield "bandwidth_mbps", free >= constraints.bandwidth_mbps * (1.0 - ROUNDING)
    if constraints.zones is not None:
        zones = topology.memo("zone", lambda: tuple(link.zone for link in topology.links()))
        allowed = frozenset(constraints.zones)
        yield "zones", np.array([zone in allowed for zone in zones], dtype=np.bool_)
    if constraints.encrypted:
        yield "encrypted", topology.array("encrypted") > 0
    if len(constraints.avoid_nodes) > 0:
        avoided = [topology.node_index(name) for name in constraints.avoid_nodes]
        sources, targets = topology.ends()
        yield "avoid_nodes", ~(np.isin(sources, avoided) | np.isin(targets, avoided))
    if len(constraints.avoid_links) > 0:
        left = np.ones(topology.n_links, dtype=np.bool_)
        left[[topology.link(link).id for link in constraints.avoid_links]] = False
        yield "avoid_links", left


def _stops(
    topology: Topology, src: str, dst: str, constraints: Constraints
) -> Iterator[tuple[str, tuple[Stop, ...]]]:
    nodes = dict.fromkeys(topology.node_index(name) for name in constraints.require_nodes)
    ends = {topology.node_index(src), topology.node_index(dst)}
    between = tuple(Stop(node, node) for node in nodes if node not in ends)
    if between:
        yield "require_nodes", between
    links = []
    for number in dict.fromkeys(constraints.require_links):
        link = topology.link(number)
        for end in (link.src, link.dst):
            if end in constraints.avoid_nodes:
                raise ConstraintError(
                    f"link {link.id} ({link.src!r} -> {link.dst!r}) is required, but its end {end!r} is avoided"
                )
        links.append(Stop(topology.node_index(link.src), topology.node_index(link.dst), link.id))
    if links:
        yield "require_links", tuple(links)
