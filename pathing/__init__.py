"""Paths: the topology as arrays and the graph algorithms over it. Numbers in, numbers out."""

from pathing.cost import CostWeights, link_cost, load_penalty
from pathing.dataset import Dataset, great_circle_ms
from pathing.errors import (
    BadFile,
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
from pathing.readers import read_repetita, read_sndlib
from pathing.resources import Reservation, Resources
from pathing.shortest import PathTree, next_hops, shortest_path, shortest_path_tree
from pathing.topology import Topology
from pathing.weights import Weight

__all__ = [
    "BadFile",
    "CostWeights",
    "Dataset",
    "Link",
    "LinkChanges",
    "NoPath",
    "Oversubscribed",
    "Path",
    "PathTree",
    "PathingError",
    "Reservation",
    "ResourceError",
    "Resources",
    "Topology",
    "TopologyError",
    "UnknownNode",
    "Weight",
    "WeightError",
    "great_circle_ms",
    "link_cost",
    "load_penalty",
    "next_hops",
    "read_repetita",
    "read_sndlib",
    "shortest_path",
    "shortest_path_tree",
]
