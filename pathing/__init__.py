"""Paths: the topology as arrays and the graph algorithms over it. Numbers in, numbers out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pathing.cost import CostWeights, link_cost, load_penalty
from pathing.dataset import Dataset, great_circle_ms
from pathing.errors import (
    BadFile,
    ConstraintError,
    Fault,
    LabelBudget,
    NoPath,
    Oversubscribed,
    PathingError,
    ResourceError,
    TopologyError,
    UnknownNode,
    WeightError,
)
from pathing.link import Link, LinkChanges
from pathing.path import Path
from pathing.promises import Compute, ComputeOversubscribed, Reservation
from pathing.readers import read_graphml, read_repetita, read_repetita_demands, read_sndlib
from pathing.resources import Resources
from pathing.shortest import (
    AllPairs,
    PathTree,
    all_pairs,
    shortest_path,
    shortest_paths_from,
    shortest_paths_to,
)
from pathing.topology import Topology
from pathing.weights import Weight

if TYPE_CHECKING:
    from pathing.constrained import constrained_path
    from pathing.constraints import Constraints
    from pathing.disjoint import DisjointPaths, Shared, disjoint_paths
    from pathing.disjoint_program import Undecided
    from pathing.k_shortest import k_shortest_paths
    from pathing.latency_model import LatencyModel
    from pathing.networkx_border import from_networkx, to_networkx
    from pathing.repair import Detour, Repair, local_repair
    from pathing.routing import RoutingError, RoutingPlan, route_demands, route_greedily

# Loaded when they are first asked for: a controller that plans path by path need not hold a solver in memory.
_LATER = {
    "constrained_path": "pathing.constrained",
    "Constraints": "pathing.constraints",
    "DisjointPaths": "pathing.disjoint",
    "Shared": "pathing.disjoint",
    "disjoint_paths": "pathing.disjoint",
    "Undecided": "pathing.disjoint_program",
    "k_shortest_paths": "pathing.k_shortest",
    "LatencyModel": "pathing.latency_model",
    "from_networkx": "pathing.networkx_border",
    "to_networkx": "pathing.networkx_border",
    "Detour": "pathing.repair",
    "Repair": "pathing.repair",
    "local_repair": "pathing.repair",
    "RoutingError": "pathing.routing",
    "RoutingPlan": "pathing.routing",
    "route_demands": "pathing.routing",
    "route_greedily": "pathing.routing",
}

__all__ = [
    "AllPairs",
    "BadFile",
    "Compute",
    "ComputeOversubscribed",
    "ConstraintError",
    "Constraints",
    "CostWeights",
    "Dataset",
    "Detour",
    "DisjointPaths",
    "Fault",
    "LabelBudget",
    "LatencyModel",
    "Link",
    "LinkChanges",
    "NoPath",
    "Oversubscribed",
    "Path",
    "PathTree",
    "PathingError",
    "Repair",
    "Reservation",
    "ResourceError",
    "Resources",
    "RoutingError",
    "RoutingPlan",
    "Shared",
    "Topology",
    "TopologyError",
    "Undecided",
    "UnknownNode",
    "Weight",
    "WeightError",
    "all_pairs",
    "constrained_path",
    "disjoint_paths",
    "from_networkx",
    "great_circle_ms",
    "k_shortest_paths",
    "link_cost",
    "load_penalty",
    "local_repair",
    "read_graphml",
    "read_repetita",
    "read_repetita_demands",
    "read_sndlib",
    "route_demands",
    "route_greedily",
    "shortest_path",
    "shortest_paths_from",
    "shortest_paths_to",
    "to_networkx",
]


if not TYPE_CHECKING:  # or every name that is not there would be an object to it

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
        return value
