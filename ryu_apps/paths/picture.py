"""The map of a plan: each direction of each link as wide and as dark as it is full.

Everything is worked out in points (1/72 inch), so that widths, gaps and labels keep their size on any network.
A link is drawn on the right of the line from its source to its target, with half an arrowhead at the target;
the other direction lies on the other side, parallel links farther out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from matplotlib.ticker import PercentFormatter
from scipy.spatial import cKDTree

from pathing.csr import FloatArray
from pathing.dataset import Dataset
from pathing.topology import Topology

POINTS_PER_INCH = 72
WIDTH = 11 * POINTS_PER_INCH
MARGIN = 40
LEGEND = 62
TITLE = 24
DPI = 130
MOST_LABELS = 90
INK = "#333333"
OVER = ("#b04fc4", "#2a0845")
"""The colours of a link that is just over its capacity, and of the fullest one."""

Box = tuple[float, float, float, float]
"""Left, bottom, right and top of a label, in points."""


@dataclass(frozen=True)
class Scale:
    """Sizes in points that fit the network: widest link, node radius, font."""

    widest: float
    radius: float
    font: float


def draw(file: Path, dataset: Dataset, link_mbps: FloatArray, title: str) -> None:
    """Write the map with the load `link_mbps` (n_links,) to `file`, whose suffix says the format.

    Nodes stand at their coordinates; where they have none, networkx finds a layout. Raises OSError.
    """
    topology = dataset.topology
    utilisation = link_mbps / topology.array("capacity_mbps")
    places, height = _fit(_places(dataset))
    scale = _scale(topology, places)
    places = spread(places, 4 * scale.radius)
    figure = Figure(figsize=(WIDTH / POINTS_PER_INCH, height / POINTS_PER_INCH), dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, height))
    axes.axis("off")
    links = _links(axes, topology, places, utilisation, scale)
    _nodes(axes, topology, places, link_mbps, scale)
    tall = min(360.0, 0.7 * height)
    bar = figure.add_axes((1 - (LEGEND - 6) / WIDTH, 0.5 - 0.5 * tall / height, 0.014, tall / height))
    figure.colorbar(links, cax=bar, format=PercentFormatter(1.0))
    bar.tick_params(labelsize=8, colors=INK)
    bar.set_title("link load", fontsize=9, color=INK, pad=8)
    axes.text(MARGIN / 2, height - TITLE, title, fontsize=11, color=INK, va="center", parse_math=False)
    figure.savefig(file)


# -- places


def _places(dataset: Dataset) -> FloatArray:
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


def _fit(places: FloatArray) -> tuple[FloatArray, float]:
    """The same in points, and the height of the page that suits them."""
    if not places.size:
        return places, float(WIDTH / 2)
    low, high = places.min(axis=0), places.max(axis=0)
    spread = np.maximum(high - low, 1e-9)
    room = WIDTH - 2 * MARGIN - LEGEND
    shape = min(1.0, max(0.4, spread[1] / spread[0]))
    box = np.array([room, room * shape])
    factor = float((box / spread).min())
    origin = np.array([MARGIN, MARGIN]) + (box - factor * spread) / 2
    return origin + factor * (places - low), float(box[1] + 2 * MARGIN + TITLE)


def _scale(topology: Topology, places: FloatArray) -> Scale:
    sources, targets = topology.ends()
    lengths = np.linalg.norm(places[targets] - places[sources], axis=1)
    typical = float(np.median(lengths)) if lengths.size else 100.0
    widest = min(7.0, max(0.9, 0.075 * typical))
    return Scale(widest, min(5.0, max(1.2, 0.75 * widest)), min(9.0, max(5.5, 4.0 + widest)))


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


# -- links


def shapes(topology: Topology, places: FloatArray, utilisation: FloatArray, scale: Scale) -> list[FloatArray]:
    """The corners of every link, in link order; none lies upon another between the same two nodes."""
    sources, targets = topology.ends()
    widths = scale.widest * (0.2 + 0.8 * np.clip(utilisation, 0.0, 1.0))
    taken: dict[tuple[int, int], float] = {}
    corners = []
    for link, (source, target) in enumerate(zip(sources.tolist(), targets.tolist(), strict=True)):
        inner = taken.get((source, target), 0.07 * scale.widest)
        corners.append(_half_arrow(places[source], places[target], inner, float(widths[link]), scale))
        taken[source, target] = inner + float(widths[link]) + 0.55 * scale.widest
    return corners


def _links(
    axes: Axes, topology: Topology, places: FloatArray, utilisation: FloatArray, scale: Scale
) -> PolyCollection:
    corners = shapes(topology, places, utilisation, scale)
    up = topology.array("up") > 0
    # The fullest last, on top of all others.
    order = [int(link) for link in np.argsort(utilisation, kind="stable") if up[link]]
    fullest = max(1.0, float(utilisation.max(initial=0.0)))
    collection = PolyCollection(
        [corners[link] for link in order],
        array=utilisation[order],
        cmap=_colours(fullest),
        clim=(0.0, fullest),
        edgecolors=INK,
        linewidths=0.04 * scale.widest,
        zorder=2,
    )
    axes.add_collection(collection)
    down = [corners[link] for link in np.flatnonzero(~up)]
    axes.add_collection(PolyCollection(down, facecolors="none", edgecolors="#999999", linestyles=":", zorder=1))
    return collection


def _half_arrow(start: FloatArray, end: FloatArray, inner: float, width: float, scale: Scale) -> FloatArray:
    """Corners of a shaft with half a head, `inner` points to the right of the line from `start` to `end`."""
    length = max(float(np.linalg.norm(end - start)), 1e-9)
    along = (end - start) / length
    right = np.array([along[1], -along[0]])
    # It ends at the rims of the nodes, short links at least in the middle.
    reach = min(scale.radius + 0.8, 0.3 * length)
    head = min(1.1 * scale.widest + width, 0.35 * length)
    barb = width + 0.45 * scale.widest
    tail, tip = start + along * reach, end - along * reach
    neck = tip - along * head
    return np.array(
        [
            tail + right * inner,
            tip + right * inner,
            neck + right * (inner + barb),
            neck + right * (inner + width),
            tail + right * (inner + width),
        ]
    )


def _colours(fullest: float) -> Colormap:
    """Colours from empty to `fullest`, with a break at 1: above it a link cannot carry what is on it."""
    # The pale end of the first is left off: an empty link must show on white.
    within = LinearSegmentedColormap.from_list("within", colormaps["YlOrRd"](np.linspace(0.18, 1.0, 256)))
    over = LinearSegmentedColormap.from_list("over", OVER)
    loads = np.linspace(0.0, fullest, 1024)
    shades = np.where((loads <= 1)[:, None], within(loads), over((loads - 1) / max(fullest - 1, 1e-9)))
    return ListedColormap(shades)


# -- nodes


def _nodes(axes: Axes, topology: Topology, places: FloatArray, link_mbps: FloatArray, scale: Scale) -> None:
    axes.scatter(
        places[:, 0],
        places[:, 1],
        s=(2 * scale.radius) ** 2,
        facecolors="white",
        edgecolors=INK,
        linewidths=min(1.2, 0.3 * scale.radius),
        zorder=3,
    )
    sources, targets = topology.ends()
    weight = np.bincount(sources, link_mbps, len(places)) + np.bincount(targets, link_mbps, len(places))
    busiest = np.argsort(-weight, kind="stable")[:MOST_LABELS]
    names = topology.node_names
    labels = Labels(places, _along(places[sources], places[targets]), scale)
    for node in busiest.tolist():
        box = labels.place(names[node], places[node])
        if box is not None:
            axes.text(
                *box[:2],
                names[node],
                fontsize=scale.font,
                color=INK,
                parse_math=False,
                zorder=4,
                path_effects=[withStroke(linewidth=2, foreground="white", alpha=0.85)],
            )


def _along(starts: FloatArray, ends: FloatArray, step: float = 4.0) -> FloatArray:
    """Points on the links, one every `step` points."""
    counts = np.ceil(np.linalg.norm(ends - starts, axis=1) / step).astype(np.intp)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    share = ((np.arange(counts.sum()) - first + 0.5) / np.repeat(counts, counts))[:, None]
    points: FloatArray = np.repeat(starts, counts, axis=0) * (1 - share) + np.repeat(ends, counts, axis=0) * share
    return points


class Labels:
    """Where names go: beside nodes, over no node and no other name, and over as little of the links as can be."""

    def __init__(self, nodes: FloatArray, links: FloatArray, scale: Scale) -> None:
        self._nodes, self._links, self._scale = nodes, links, scale
        self._boxes: list[Box] = []

    def place(self, name: str, node: FloatArray) -> Box | None:
        """Find a place for a name and keep it; None where there is no room."""
        # A dollar would begin a formula.
        extents = TextPath((0, 0), name.replace("$", "S"), size=self._scale.font).get_extents()
        width, height = float(extents.width), 0.75 * self._scale.font
        boxes = [self._box(node, side, width, height) for side in _SIDES]
        cost, best = min((self._cost(box), number) for number, box in enumerate(boxes))
        if math.isinf(cost):
            return None
        self._boxes.append(boxes[best])
        return boxes[best]

    def _box(self, place: FloatArray, side: tuple[int, int], width: float, height: float) -> Box:
        away = self._scale.radius + 2.5
        x = float(place[0]) + side[0] * (away + width / 2) - width / 2
        y = float(place[1]) + side[1] * (away + height / 2) - height / 2
        return x, y, x + width, y + height

    def _cost(self, box: Box) -> float:
        x, y, right, top = box
        if any(x < other[2] and other[0] < right and y < other[3] and other[1] < top for other in self._boxes):
            return math.inf
        if x < 2 or right > WIDTH - LEGEND or y < 2 or _inside(self._nodes, box, self._scale.radius):
            return math.inf
        return float(_inside(self._links, box, self._scale.widest))


_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def _inside(points: FloatArray, box: Box, margin: float) -> int:
    x, y, right, top = box
    across = (points[:, 0] > x - margin) & (points[:, 0] < right + margin)
    return int((across & (points[:, 1] > y - margin) & (points[:, 1] < top + margin)).sum())
