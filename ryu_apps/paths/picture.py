"""The map of a plan: each direction of each link as wide and as dark as it is full.

Everything is worked out in points (1/72 inch), so that widths, gaps and labels keep their size on any network.
A link is drawn on the right of the line from its source to its target, with half an arrowhead at the target;
the other direction lies on the other side, parallel links farther out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from pathing.csr import FloatArray
from pathing.dataset import Dataset
from ryu_apps.paths.map_labels import draw_nodes
from ryu_apps.paths.map_links import IDLE, INK, NOTHING, OVER, draw_links, scale_of, top
from ryu_apps.paths.map_places import (
    LEGEND,
    MARGIN,
    POINTS_PER_INCH,
    TITLE,
    Page,
    fit,
    places_of,
    spread,
)
from ryu_apps.paths.numbers import percent

DPI = 130
_TITLE_FONT = 11.0
_SMALL_FONT = 8.5
# The mean width of a letter, as a share of the size of the font.
_LETTER = 0.52
_LOW_ON_BAR = 0.2
_SAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "idle": ("idle", {"facecolor": IDLE, "edgecolor": "none"}),
    "over": ("over 100 %, more than it carries", {"facecolor": OVER[0], "edgecolor": INK}),
    "down": ("down", {"facecolor": "none", "edgecolor": INK, "linestyle": ":"}),
}


def draw(file: Path, dataset: Dataset, link_mbps: FloatArray, title: str) -> None:
    """Write the map with the load `link_mbps` (n_links,) to `file`, whose suffix says the format.

    Nodes stand at their coordinates; where they have none, networkx finds a layout. Raises OSError.
    """
    topology = dataset.topology
    utilisation = link_mbps / topology.array("capacity_mbps")
    places, page = fit(places_of(dataset))
    scale = scale_of(topology, places)
    places = spread(places, 4 * scale.radius)
    figure = Figure(figsize=(page.width / POINTS_PER_INCH, page.height / POINTS_PER_INCH), dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, page.width), ylim=(0, page.height))
    axes.axis("off")
    links = draw_links(axes, topology, places, utilisation, scale)
    draw_nodes(axes, topology, places, link_mbps, scale, page)
    _colour_bar(figure, links, page, utilisation)
    up = topology.array("up") > 0
    seen = {"idle": (up & (utilisation <= NOTHING)).any(), "over": (utilisation > 1).any(), "down": (~up).any()}
    _legend(axes, page, [kind for kind, there in seen.items() if there])
    font = _TITLE_FONT * page.enlarged
    letters = int((page.width - MARGIN) / (_LETTER * font))
    axes.text(
        MARGIN / 2,
        page.height - TITLE / 2,
        "\n".join(textwrap.wrap(title, letters)),
        fontsize=font,
        color=INK,
        va="center",
        parse_math=False,
    )
    figure.savefig(file)


def _colour_bar(figure: Figure, links: PolyCollection, page: Page, utilisation: FloatArray) -> None:
    """The scale of colours, with a mark at the fullest link."""
    tall, font = min(360.0 * page.enlarged, 0.62 * page.height), _SMALL_FONT * page.enlarged
    left = 1 - 0.55 * page.bar / page.width
    box = (left, 0.5 - 0.5 * tall / page.height, 11 * page.enlarged / page.width, tall / page.height)
    bar = figure.add_axes(box)
    figure.colorbar(links, cax=bar, format=PercentFormatter(1.0))
    bar.tick_params(labelsize=font, colors=INK)
    bar.set_title("link load", fontsize=font, color=INK, pad=8)
    fullest, highest = float(utilisation.max(initial=0.0)), top(utilisation)
    bar.plot([-0.6, 0.0], [fullest, fullest], color=INK, linewidth=1.2, clip_on=False)
    # Below the mark, and above it only where the bar ends below.
    side = "top" if fullest > _LOW_ON_BAR * highest else "bottom"
    bar.text(-0.8, fullest, f"fullest\n{percent(fullest)}", fontsize=font, color=INK, ha="right", va=side)
    bar.set_ylim(0.0, highest)


def _legend(axes: Axes, page: Page, kinds: Iterable[str]) -> None:
    """A line below the map that says what widths, colours and sides mean."""
    x, y, font = MARGIN / 2, LEGEND / 2, _SMALL_FONT * page.enlarged
    for words, look in (_SAMPLES[kind] for kind in kinds):
        axes.add_patch(Rectangle((x, y - 3), 16, 6, zorder=4, **look))
        x = _write(axes, x + 21, y, words, font) + 14
    _write(axes, x, y, "the wider and darker, the fuller; each direction on its right-hand side", font)


def _write(axes: Axes, x: float, y: float, words: str, font: float) -> float:
    """Write words beside each other; gives where they end."""
    axes.text(x, y, words, fontsize=font, color=INK, va="center", zorder=4)
    return x + _LETTER * font * len(words)
