"""The options of `path` and `route`: their names, help and which values make sense."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class WeightName(StrEnum):
    """The weights a user can name."""

    LATENCY = "latency_ms"
    HOPS = "hops"
    WEIGHT = "weight"
    COST = "cost"
    LOSS = "loss"
    UTILISATION = "utilisation"


class Apart(StrEnum):
    """What disjoint paths may not have in common."""

    LINK = "link"
    NODE = "node"
    SRLG = "srlg"


PICTURES = (".png", ".svg", ".pdf")
STDOUT = Path("-")

Check = Callable[[float | None], float | None]


def _number(least: float, most: float = math.inf, *, above: bool = False) -> Check:
    """Make a check for a finite number; NaN fails every comparison."""
    bound = f"above {least:g}" if above else f"{least:g} or more"
    expected = f"a number from {least:g} to {most:g}" if most < math.inf else f"a finite number, {bound}"

    def check(value: float | None) -> float | None:
        good = value is None or (
            least <= value <= most and math.isfinite(value) and not (above and value == least)
        )
        if not good:
            raise typer.BadParameter(f"{value:g} is not {expected}")
        return value

    return check


def _picture(value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() not in PICTURES:
        raise typer.BadParameter(f"{value} ends in none of {', '.join(PICTURES)}")
    return value


NetworkFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="REPETITA .graph, SNDlib XML or GraphML, gzipped or not.")
]
Source = Annotated[str, typer.Argument(metavar="SRC", help="Node it starts from.")]
Destination = Annotated[str, typer.Argument(metavar="DST", help="Node it ends at.")]
MaxLatency = Annotated[
    float | None,
    typer.Option(callback=_number(0), metavar="MS", help="Milliseconds one way, end to end."),
]
MaxLoss = Annotated[
    float | None,
    typer.Option(callback=_number(0, 1), metavar="SHARE", help="Share of packets lost end to end, 0.01 for 1 %."),
]
MaxHops = Annotated[int | None, typer.Option(min=0, help="Number of links.")]
Bandwidth = Annotated[
    float | None,
    typer.Option(callback=_number(0), metavar="MBPS", help="Mbit/s that every link must have."),
]
_PLACE = "this node, SRC:DST (the links from SRC straight to DST, not those back) or link:ID; may be repeated."
Avoid = Annotated[list[str] | None, typer.Option(metavar="PLACE", help=f"Not over {_PLACE}")]
Require = Annotated[list[str] | None, typer.Option(metavar="PLACE", help=f"Over {_PLACE}")]
Disjoint = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="K", help="K paths with nothing in common, of least total weight; limits hold for each."
    ),
]
By = Annotated[
    Apart | None,
    typer.Option(help="With --disjoint: what the paths may not have in common.", show_default="link"),
]
Maximally = Annotated[
    bool,
    typer.Option(
        "--maximally", help="With --disjoint: where the paths must share something, as little as can be."
    ),
]
K = Annotated[
    int | None,
    typer.Option(
        "--k", min=1, metavar="K", help="The K shortest paths; takes no limits and no --avoid or --require."
    ),
]
Weight = Annotated[
    WeightName, typer.Option(help="What is least on the path; where unknown, twice the most known.")
]
Capacity = Annotated[
    float | None,
    typer.Option(
        callback=_number(0, above=True),
        metavar="MBPS",
        help="Mbit/s of links that FILE gives none for; by default GraphML has 1, others are refused.",
    ),
]
Ids = Annotated[bool, typer.Option("--ids", help="Show the links of each path by id, as link:ID takes them.")]

Demands = Annotated[
    Path | None,
    typer.Option(help="REPETITA .demands (nodes by number) or SNDlib XML (by name); without it those in FILE."),
]
MaxPaths = Annotated[int, typer.Option(min=1, help="Most paths that one demand is split over.")]
Gap = Annotated[
    float,
    typer.Option(
        callback=_number(0, above=True), help="How far from the proven optimum is near enough, as a share."
    ),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        callback=_number(0),
        metavar="SECONDS",
        help="After this the best so far has to do. Reading and writing files is not counted, and a step that has "
        "begun is ended: 20 s may take 21.",
    ),
]
Unsplittable = Annotated[bool, typer.Option("--unsplittable", help="One path for each demand.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="OUT", help="Write the plan to this file; - for standard output.")
]
Plot = Annotated[
    Path | None,
    typer.Option(callback=_picture, metavar="OUT", help="Draw the map of it: a .png, .svg or .pdf file."),
]
