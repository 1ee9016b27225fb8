"""The links of a map: half arrows, each direction on its right-hand side, as wide and as dark as they are full."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap

from pathing.csr import FloatArray
from pathing.topology import Topology

INK = "#333333"
IDLE = "#c3c9cf"
OVER = ("#2b2f8f", "#05050f")
"""The colours of a link that is just over its capacity, and of the fullest one."""
# Below this the scale ends at the fullest link: all would be of the palest colour otherwise.
_LOW = 0.5
NOTHING = 1e-9
_NARROWEST = 0.2


@dataclass(frozen=True)
class Scale:
    """Sizes in points that fit the network: widest link, node radius, font."""

    widest: float
    radius: float
    font: float


def scale_of(topology: Topology, places: FloatArray) -> Scale:
    """Sizes for a map, from the usual length of its links."""
    sources, targets = topology.ends()
    lengths = np.linalg.norm(places[targets] - places[sources], axis=1)
    typical = float(np.median(lengths)) if lengths.size else 100.0
    widest = min(7.0, max(0.9, 0.075 * typical))
    return Scale(widest, min(5.0, max(1.2, 0.75 * widest)), min(9.0, max(5.5, 4.0 + widest)))


def top(utilisation: FloatArray) -> float:
    """The utilisation at which the scale of colours ends."""
    fullest = float(utilisation.max(initial=0.0))
    return fullest if NOTHING < fullest < _LOW else max(1.0, fullest)


def shapes(topology: Topology, places: FloatArray, utilisation: FloatArray, scale: Scale) -> list[FloatArray]:
    """The corners of every link, in link order; none lies upon another between the same two nodes."""
    sources, targets = topology.ends()
    share = np.clip(utilisation / min(1.0, top(utilisation)), 0.0, 1.0)
    widths = scale.widest * (_NARROWEST + (1 - _NARROWEST) * share)
    taken: dict[tuple[int, int], float] = {}
    corners = []
    for link, (source, target) in enumerate(zip(sources.tolist(), targets.tolist(), strict=True)):
        inner = taken.get((source, target), 0.07 * scale.widest)
        corners.append(_half_arrow(places[source], places[target], inner, float(widths[link]), scale))
        taken[source, target] = inner + float(widths[link]) + 0.55 * scale.widest
    return corners


def draw_links(
    axes: Axes, topology: Topology, places: FloatArray, utilisation: FloatArray, scale: Scale
) -> PolyCollection:
    """Draw all links; what is given back has the colours of those that carry something."""
    corners = shapes(topology, places, utilisation, scale)
    up = topology.array("up") > 0
    down = [corners[link] for link in np.flatnonzero(~up)]
    axes.add_collection(PolyCollection(down, facecolors="none", edgecolors=INK, linestyles=":", zorder=1))
    idle = [corners[link] for link in np.flatnonzero(up & (utilisation <= NOTHING))]
    axes.add_collection(PolyCollection(idle, facecolors=IDLE, edgecolors="none", zorder=1))
    # The fullest last, on top of all others.
    order = [
        int(link) for link in np.argsort(utilisation, kind="stable") if up[link] and utilisation[link] > NOTHING
    ]
    highest = top(utilisation)
    collection = PolyCollection(
        [corners[link] for link in order],
        array=utilisation[order],
        cmap=_colours(highest),
        clim=(0.0, highest),
        edgecolors=INK,
        linewidths=0.04 * scale.widest,
        zorder=2,
    )
    axes.add_collection(collection)
    return collection


def _half_arrow(start: FloatArray, end: FloatArray, inner: float, width: float, scale: Scale) -> FloatArray:
    """Corners of a shaft with half a head, `inner` points to the right of the line from `start` to `end`."""
    length = max(float(np.linalg.norm(end - start)), 1e-9)
    along = (end - start) / length
    right = np.array([along[1], -along[0]])
    # It ends at the rims of the nodes, short links at least in the middle.
    reach = min(scale.radius + 0.8, 0.3 * length)
    head = min(1.1 * scale.widest + width, 0.35 * length)
    barb = width + min(0.45 * scale.widest, 0.6 * head)
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
    """Colours from empty to `fullest`, with a break at 1: above it a link cannot carry what is on it.

    Where all links are nearly empty the colours are spread over what there is.
    """
    # The pale end of the first is left off: an empty link must show on white.
    within = LinearSegmentedColormap.from_list("within", colormaps["YlOrRd"](np.linspace(0.18, 1.0, 256)))
    over = LinearSegmentedColormap.from_list("over", OVER)
    loads = np.linspace(0.0, fullest, 1024)
    shades = np.where(
        (loads <= 1)[:, None], within(loads / min(1.0, fullest)), over((loads - 1) / max(fullest - 1, 1e-9))
    )
    return ListedColormap(shades)
