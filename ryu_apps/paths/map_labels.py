"""The nodes of a map with their names, where there is room for them."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath

from pathing.csr import FloatArray
from pathing.topology import Topology
from ryu_apps.paths.map_links import INK, Scale
from ryu_apps.paths.map_places import LEGEND, TITLE, Page

# Names on a page of this many square points; more on a larger one.
_MOST_LABELS = 90
_LABELS_PAGE = 500_000.0

Box = tuple[float, float, float, float]
"""Left, bottom, right and top of a label, in points."""


def draw_nodes(
    axes: Axes, topology: Topology, places: FloatArray, link_mbps: FloatArray, scale: Scale, page: Page
) -> None:
    """Draw the nodes, and the names of those first that the fullest links join."""
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
    names = topology.node_names
    labels = Labels(places, _along(places[sources], places[targets]), scale, page)
    most = round(_MOST_LABELS * max(1.0, page.width * page.height / _LABELS_PAGE))
    for node in in_order(topology, link_mbps)[:most]:
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


def in_order(topology: Topology, link_mbps: FloatArray) -> list[int]:
    """Nodes by the fullest link at each, those with more traffic first among equals."""
    sources, targets = topology.ends()
    fullest, traffic = np.zeros(topology.n_nodes), np.zeros(topology.n_nodes)
    # What differs by less is as full: a plan evens links out.
    utilisation = np.round(link_mbps / topology.array("capacity_mbps"), 3)
    for ends in (sources, targets):
        np.maximum.at(fullest, ends, utilisation)
        np.add.at(traffic, ends, link_mbps)
    order: list[int] = np.lexsort((-traffic, -fullest)).tolist()
    return order


def _along(starts: FloatArray, ends: FloatArray, step: float = 4.0) -> FloatArray:
    """Points on the links, one every `step` points."""
    counts = np.ceil(np.linalg.norm(ends - starts, axis=1) / step).astype(np.intp)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    share = ((np.arange(counts.sum()) - first + 0.5) / np.repeat(counts, counts))[:, None]
    points: FloatArray = np.repeat(starts, counts, axis=0) * (1 - share) + np.repeat(ends, counts, axis=0) * share
    return points


class Labels:
    """Where names go: beside nodes, over no node and no other name, and over as little of the links as can be."""

    def __init__(self, nodes: FloatArray, links: FloatArray, scale: Scale, page: Page) -> None:
        self._nodes, self._links, self._scale, self._page = nodes, links, scale, page
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
        page = self._page
        if x < 2 or right > page.width - page.bar or y < LEGEND or top > page.height - TITLE:
            return math.inf
        if _inside(self._nodes, box, self._scale.radius):
            return math.inf
        return float(_inside(self._links, box, self._scale.widest))


_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def _inside(points: FloatArray, box: Box, margin: float) -> int:
    x, y, right, top = box
    across = (points[:, 0] > x - margin) & (points[:, 0] < right + margin)
    return int((across & (points[:, 1] > y - margin) & (points[:, 1] < top + margin)).sum())
