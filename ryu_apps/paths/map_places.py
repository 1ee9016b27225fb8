"""Where the nodes of a map stand, in points (1/72 inch), and how large the page is that suits them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import networkx as nx
import numpy as np
from scipy.spatial import cKDTree

from pathing.csr import FloatArray
from pathing.dataset import Dataset
from pathing.topology import Topology

POINTS_PER_INCH = 72
MARGIN = 40.0
COLOUR_BAR = 100.0
TITLE = 40.0
LEGEND = 30.0
# The longer side of the map, and how many nodes it is for; with four times as many it is twice as long.
_SIDE = 9.5 * POINTS_PER_INCH
_SIDE_NODES = 60
_MOST_TIMES = 2.2
# A map is no flatter and no narrower than this, for what stands beside it.
_LEAST_HEIGHT = 3.5 * POINTS_PER_INCH
_LEAST_WIDTH = 6.0 * POINTS_PER_INCH
_USUAL_SIDE = 800.0
_MOST_ENLARGED = 1.6


@dataclass(frozen=True)
class Page:
    """Width and height in points, and how much larger than usual what stands beside the map is."""

    width: float
    height: float
    enlarged: float = 1.0

    @property
    def bar(self) -> float:
        """The width of the strip for the scale of colours."""
        return COLOUR_BAR * self.enlarged


def places_of(dataset: Dataset) -> FloatArray:
    """Where the nodes are, (n_nodes, 2), in any unit with x to the east and y to the north."""
    names = dataset.topology.node_names
    # In files (0, 0) stands for a place that nobody knows.
    known = {name: at for name, at in dataset.coordinates.items() if at != (0.0, 0.0)}
    if known:
        middle = math.radians(sum(lat for _, lat in known.values()) / len(known))
        flat = {name: (lon * math.cos(middle), lat) for name, (lon, lat) in known.items()}
    else:
        flat = {}
    if len(flat) < len(names):
        flat = _laid_out(dataset.topology, flat)
    return np.array([flat[name] for name in names], dtype=np.float64).reshape(-1, 2)


def _laid_out(topology: Topology, known: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Places for all nodes, those that are `known` left where they are."""
    graph = nx.Graph()
    graph.add_nodes_from(topology.node_names)
    graph.add_edges_from((link.src, link.dst) for link in topology.links())
    if known:
        return known | _in_between(graph, known)
    # Parts that nothing joins would drift away from each other.
    parts = [min(part) for part in nx.connected_components(graph)]
    graph.add_edges_from((parts[0], part) for part in parts[1:])
    # Kamada and Kawai's is the clearer one, but slow on many nodes.
    if len(graph) <= 150:
        placed = nx.kamada_kawai_layout(graph)
    else:
        placed = nx.spring_layout(graph, seed=1, iterations=100)
    return {name: (float(x), float(y)) for name, (x, y) in placed.items()}


def _in_between(graph: nx.Graph, known: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """A place for each node without one: the middle of its neighbours, or of all where none of them has one."""
    middle = tuple(np.mean(list(known.values()), axis=0).tolist())
    placed = {name: middle for name in graph if name not in known}
    for _ in range(50):
        for name in placed:
            around = [known.get(other) or placed[other] for other in graph[name]]
            placed[name] = tuple(np.mean(around or [middle], axis=0).tolist())
    return placed


def fit(places: FloatArray) -> tuple[FloatArray, Page]:
    """The same in points, and a page that is hardly larger than the map; more nodes have more of it."""
    side = _SIDE * min(_MOST_TIMES, max(1.0, math.sqrt(len(places) / _SIDE_NODES)))
    low, high = (places.min(axis=0), places.max(axis=0)) if places.size else (np.zeros(2), np.zeros(2))
    extent = np.maximum(high - low, 1e-9)
    if extent.max() <= 1e-9:
        extent = np.ones(2)
    factor = side / float(extent.max())
    room = np.maximum(factor * extent, (_LEAST_WIDTH, _LEAST_HEIGHT))
    factor = float((room / extent).min())
    origin = np.array([MARGIN, MARGIN + LEGEND]) + (room - factor * (high - low)) / 2
    # So that it can be read on a large page.
    enlarged = min(_MOST_ENLARGED, max(1.0, float(room.max()) / _USUAL_SIDE))
    width = float(room[0]) + 2 * MARGIN + COLOUR_BAR * enlarged
    page = Page(width, float(room[1]) + 2 * MARGIN + LEGEND + TITLE, enlarged)
    return origin + factor * (places - low), page


def spread(places: FloatArray, least: float) -> FloatArray:
    """Push nodes that lie upon each other apart, to `least` points."""
    places = places.copy()
    # A direction of its own for each node that lies exactly upon another.
    angles = 2.4 * np.arange(len(places))
    places += 1e-3 * np.column_stack((np.cos(angles), np.sin(angles)))
    for _ in range(30):
        one, other = cKDTree(places).query_pairs(least, output_type="ndarray").T
        if not one.size:
            break
        between = places[one] - places[other]
        distance = np.linalg.norm(between, axis=1)[:, None]
        push = 0.5 * (least - distance) * between / distance
        np.add.at(places, one, push)
        np.add.at(places, other, -push)
    return places
