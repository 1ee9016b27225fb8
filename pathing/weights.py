"""From what a caller calls a weight to one distance for each link, ready for scipy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from pathing.checks import float_array
from pathing.csr import Csr, FloatArray, Structure
from pathing.errors import WeightError, did_you_mean
from pathing.topology import Topology

# A field name, one number a link, or a function that gives one number a link.
Weight = str | FloatArray | Callable[[Topology], FloatArray]

# Capacity is left out on purpose: more of it is better, so it is no distance.
WEIGHT_FIELDS = ("latency_ms", "cost", "weight", "loss", "utilisation")
HOPS = "hops"


@dataclass(frozen=True, eq=False)
class Side:
    """Links grouped by one end with their distances in that order; down links have an infinite one."""

    csr: Csr
    weights: FloatArray

    @cached_property
    def matrix(self) -> csr_array[np.float64]:
        """The distances as a matrix for scipy."""
        return self.csr.matrix(self.weights)


@dataclass(frozen=True, eq=False)
class WeighedGraph:
    """A topology's structure with one distance a link (`by_link`, by link id; infinite where it is down)."""

    structure: Structure
    by_link: FloatArray

    @cached_property
    def outward(self) -> Side:
        """Links by source, for searches along the links."""
        return Side(self.structure.outward, self.by_link.take(self.structure.outward.links))

    @cached_property
    def inward(self) -> Side:
        """Links by target, for searches against the links."""
        return Side(self.structure.inward, self.by_link.take(self.structure.inward.links))

    @cached_property
    def least(self) -> float:
        """The least distance of any link, infinite without links."""
        return float(self.by_link.min(initial=np.inf))


def weigh(topology: Topology, weight: Weight) -> WeighedGraph:
    """Give the graph with the distances that `weight` means.

    A name is one of `WEIGHT_FIELDS` or "hops" (every link 1); links whose value is unknown are charged as
    `charge_unknown` says. An array or a function of the topology gives (n_links,) numbers; infinity there
    keeps a link out of use. Raises `WeightError` for NaN, negative numbers, a wrong length or an unknown
    name.
    """
    if isinstance(weight, str):
        name = _named(weight)
        return topology.memo(name, lambda: _without_down(topology, _field(topology, name)))
    values = weight(topology) if callable(weight) else weight
    return _without_down(topology, _checked(topology, values))


def charge_unknown(values: FloatArray) -> FloatArray:
    """Replace NaN by twice the largest known value, or by 1 when nothing above zero is known.

    Unknown is neither zero nor best: a path over a link nobody has measured must not win by that, and must
    stay usable when it is the only one. Links that are down count as known, so that the charge does not jump
    when one fails.
    """
    unknown = np.isnan(values)
    if not unknown.any():
        return values
    largest = float(values[~unknown].max(initial=0.0))
    return np.where(unknown, 2.0 * largest if largest > 0 else 1.0, values)


def _named(name: str) -> str:
    known = (*WEIGHT_FIELDS, HOPS)
    if name not in known:
        close = did_you_mean(get_close_matches(name, known, n=1))
        raise WeightError(f"no weight {name!r}{close}; name one of {', '.join(known)} or give an array")
    return name


def _field(topology: Topology, name: str) -> FloatArray:
    return np.ones(topology.n_links) if name == HOPS else charge_unknown(topology.array(name))


def _checked(topology: Topology, values: FloatArray) -> FloatArray:
    numbers = float_array(values)
    if numbers is None:
        raise WeightError("the weights are no array of real numbers; give one number a link")
    if numbers.shape != (topology.n_links,):
        raise WeightError(
            f"the weights have shape {numbers.shape}; give one a link: ({topology.n_links},), by link id"
        )
    if not numbers.min(initial=0.0) >= 0:  # a NaN anywhere makes the minimum NaN
        link = topology.link(int(np.flatnonzero(~(numbers >= 0))[0]))
        raise WeightError(
            f"the weight of link {link.id} ({link.src!r} -> {link.dst!r}) is {numbers[link.id]}; "
            "it must be 0 or more, infinite to keep the link out of use"
        )
    return numbers


def _without_down(topology: Topology, values: FloatArray) -> WeighedGraph:
    down = topology.memo("up", lambda: np.flatnonzero(topology.array("up") == 0))
    # A copy in any case: what a caller or the topology changes later must not change this graph.
    by_link = values.copy()
    by_link[down] = np.inf
    return WeighedGraph(topology.structure(), by_link)
