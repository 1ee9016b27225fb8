"""`lockstitch path` and `lockstitch route`: what `pathing` answers for a network in a file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

# What calculates is imported in the commands: numpy and scipy take longer than `lockstitch --help` may.


class PathCommandFailed(Exception):
    """There is no answer; the message says why and what would help."""


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

commands = typer.Typer()

NetworkFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="REPETITA .graph, SNDlib XML or GraphML, gzipped or not.")
]
Places = Annotated[
    list[str] | None, typer.Option(metavar="PLACE", help="A node, SRC:DST or link:ID; may be repeated.")
]


@commands.command()
def path(
    file: NetworkFile,
    src: Annotated[str, typer.Argument(metavar="SRC", help="Node it starts from.")],
    dst: Annotated[str, typer.Argument(metavar="DST", help="Node it ends at.")],
    max_latency: Annotated[float | None, typer.Option(help="Milliseconds one way, end to end.")] = None,
    max_loss: Annotated[float | None, typer.Option(help="Share of packets lost end to end, 0.01 for 1 %.")] = None,
    max_hops: Annotated[int | None, typer.Option(help="Number of links.")] = None,
    bandwidth: Annotated[float | None, typer.Option(help="Mbit/s that every link must have.")] = None,
    avoid: Places = None,
    require: Places = None,
    disjoint: Annotated[
        int | None, typer.Option(metavar="K", help="K paths with nothing in common, of least total weight.")
    ] = None,
    by: Annotated[Apart, typer.Option(help="What disjoint paths may not have in common.")] = Apart.LINK,
    maximally: Annotated[
        bool, typer.Option("--maximally", help="Where disjoint paths must share something: as little as can be.")
    ] = False,
    k: Annotated[int | None, typer.Option("--k", metavar="K", help="The K shortest paths.")] = None,
    weight: Annotated[
        WeightName, typer.Option(help="What is least on the path; where unknown, twice the most known.")
    ] = WeightName.LATENCY,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Find the best path through a network in a file, or several; exit code 1 where there is none."""
    limits = {
        "max_latency_ms": max_latency,
        "max_loss": max_loss,
        "max_hops": max_hops,
        "bandwidth_mbps": bandwidth,
    }
    limited = avoid or require or any(limit is not None for limit in limits.values())
    if k is not None and (disjoint is not None or limited):
        raise typer.BadParameter("it takes neither limits nor --disjoint; leave one of them out", param_hint="--k")
    with _one_line(file), _busy("searching"):
        from pathing.constrained import constrained_path
        from pathing.disjoint import disjoint_paths
        from pathing.k_shortest import k_shortest_paths
        from ryu_apps.paths import tables
        from ryu_apps.paths.files import read_network
        from ryu_apps.paths.places import constraints

        dataset = read_network(file)
        topology = dataset.topology
        allowed = constraints(topology, limits, avoid or (), require or ())
        together = None
        if k is not None:
            paths = k_shortest_paths(topology, src, dst, k, weight.value)
        elif disjoint is not None:
            together = disjoint_paths(
                topology, src, dst, disjoint, by.value, weight.value, maximally=maximally, constraints=allowed
            )
            paths = together.paths
        else:
            paths = (constrained_path(topology, src, dst, allowed, weight.value),)
    if as_json:
        typer.echo(json.dumps(tables.paths_json(topology, paths, weight.value, together), indent=2))
    else:
        _print(*tables.paths(dataset, paths, weight.value, together))


@commands.command()
def route(
    file: NetworkFile,
    demands: Annotated[
        Path | None, typer.Option(help="REPETITA .demands, or SNDlib XML; without it those in FILE.")
    ] = None,
    max_paths: Annotated[int, typer.Option(help="Most paths that one demand is split over.")] = 3,
    gap: Annotated[float, typer.Option(help="How far from the proven optimum is near enough, as a share.")] = 1e-3,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds after which the best so far has to do.")
    ] = None,
    unsplittable: Annotated[bool, typer.Option("--unsplittable", help="One path for each demand.")] = False,
    output: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write the plan to this file.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Draw the map of it: a .png, .svg or .pdf file.")
    ] = None,
) -> None:
    """Route all demands of a network in a file so that its fullest link is as empty as can be."""
    if plot is not None and plot.suffix.lower() not in PICTURES:
        raise typer.BadParameter(f"{plot} ends in none of {', '.join(PICTURES)}", param_hint="--plot")
    picture = _picture() if plot is not None else None
    with _one_line(file):
        from ryu_apps.paths import tables
        from ryu_apps.paths.files import read_demands, read_network, require_writable

        for target in (output, plot):
            require_writable(target)
        dataset = read_demands(read_network(file), file, demands)
        began_s = time.monotonic()
        with _busy(f"routing {len(dataset.demands)} demands"):
            from pathing.routing.route import route_demands

            plan = route_demands(
                dataset.topology,
                dataset.demands,
                gap=gap,
                time_limit_s=time_limit,
                max_paths=max_paths,
                unsplittable=unsplittable,
                clock=time.monotonic,
            )
        took_s = time.monotonic() - began_s
        if output is not None:
            output.write_text(json.dumps(tables.plan_json(dataset, plan), indent=2) + "\n")
        if picture is not None and plot is not None:
            with _busy("drawing"):
                picture.draw(
                    plot, dataset, plan.link_mbps, f"{file.name}, {tables.plan_in_one_line(dataset, plan)}"
                )
    _print(*tables.plan(dataset, plan, took_s))


def _picture() -> ModuleType:
    """What draws, if it can be had."""
    try:
        from ryu_apps.paths import picture
    except ImportError as error:
        raise PathCommandFailed(
            f"--plot cannot draw ({error}); what it needs comes with: pip install 'lockstitch[plot]'"
        ) from error
    return picture


@contextmanager
def _one_line(file: Path) -> Iterator[None]:
    """Turn what can go wrong with a file, a question or a disk into one line."""
    from pathing.errors import PathingError, UnknownNode, did_you_mean

    try:
        yield
    except UnknownNode as error:
        raise PathCommandFailed(f"{file}: no node {error.node!r} in it{did_you_mean(error.close)}") from error
    except (PathingError, OSError) as error:
        raise PathCommandFailed(str(error)) from error


@contextmanager
def _busy(what: str) -> Iterator[None]:
    """Show that something goes on, on the error stream so that answers can be piped."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(what, total=None)
        yield


def _print(*shown: object) -> None:
    console = Console()
    for one in shown:
        console.print(one)
