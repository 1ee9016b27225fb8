"""`lockstitch path` and `lockstitch route`: what `pathing` answers for a network in a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console

from ryu_apps.paths import options
from ryu_apps.paths.busy import Say, busy
from ryu_apps.paths.failing import PathCommandFailed, in_options, one_line
from ryu_apps.paths.numbers import percent
from ryu_apps.paths.outputs import require_writable, same

# What calculates is imported in the commands: numpy and scipy take longer than `lockstitch --help` may.

__all__ = ["PathCommandFailed", "commands"]

ABOVE_CAPACITY = 3
NOT_ROUTED = 4

# What goes on after the first calls of `progress`; then there are rounds.
_FIRST_STEPS = ("first prices", "a first plan")

commands = typer.Typer()


@commands.command()
def path(
    file: options.NetworkFile,
    src: options.Source,
    dst: options.Destination,
    max_latency: options.MaxLatency = None,
    max_loss: options.MaxLoss = None,
    max_hops: options.MaxHops = None,
    bandwidth: options.Bandwidth = None,
    avoid: options.Avoid = None,
    require: options.Require = None,
    disjoint: options.Disjoint = None,
    by: options.By = None,
    maximally: options.Maximally = False,
    k: options.K = None,
    weight: options.Weight = options.WeightName.LATENCY,
    capacity: options.Capacity = None,
    ids: options.Ids = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Find the best path through a network in a file, or several.

    Exit code 0: found. 1: there is no such path, or a file, node or link is not there. 2: the command makes no
    sense whatever the file.
    """
    limits = {
        "max_latency_ms": max_latency,
        "max_loss": max_loss,
        "max_hops": max_hops,
        "bandwidth_mbps": bandwidth,
    }
    places = {"--avoid": avoid, "--require": require}
    _check_together(k, disjoint, by is not None, maximally, {**limits, **places})
    if disjoint is not None and src == dst:
        raise typer.BadParameter(f"from {src!r} to itself; disjoint paths join two nodes", param_hint="--disjoint")
    with one_line(file) as notes, busy(f"reading {file}") as say:
        from pathing.constrained import constrained_path
        from pathing.disjoint import disjoint_paths
        from pathing.k_shortest import k_shortest_paths
        from ryu_apps.paths import path_tables
        from ryu_apps.paths.files import read_network
        from ryu_apps.paths.places import SenselessPlace, constraints

        dataset = read_network(file, capacity)
        topology = dataset.topology
        notes.extend(path_tables.weight_notes(topology, weight.value))
        if by is options.Apart.SRLG:
            notes.extend(path_tables.group_notes(topology))
        notes.extend(dataset.notes)
        say(f"searching a way from {src} to {dst}")
        try:
            allowed = constraints(topology, (src, dst), limits, avoid or (), require or ())
        except SenselessPlace as error:
            raise typer.BadParameter(str(error), param_hint="--avoid") from error
        together = None
        if k is not None:
            paths = k_shortest_paths(topology, src, dst, k, weight.value)
            notes[:0] = path_tables.fewer_than_asked(paths, k)
        elif disjoint is not None:
            together = disjoint_paths(
                topology,
                src,
                dst,
                disjoint,
                (by or options.Apart.LINK).value,
                weight.value,
                maximally=maximally,
                constraints=allowed,
            )
            paths = together.paths
        else:
            paths = (constrained_path(topology, src, dst, allowed, weight.value),)
        dataset = replace(dataset, notes=tuple(notes))
    if as_json:
        typer.echo(json.dumps(path_tables.paths_json(dataset, paths, weight.value, together), indent=2))
    else:
        _print(*path_tables.paths(dataset, paths, weight.value, together, ids))


def _check_together(
    k: int | None, disjoint: int | None, by: bool, maximally: bool, narrowing: Mapping[str, object]
) -> None:
    """Raise BadParameter for options that do not go together."""
    given = [in_options(name) for name, value in narrowing.items() if value not in (None, [])]
    if k is not None and disjoint is not None:
        raise typer.BadParameter("the K shortest paths, or K disjoint ones: leave one out", param_hint="--k")
    if k is not None and given:
        raise typer.BadParameter(
            f"the K shortest paths are those of the whole network, without {', '.join(given)}; within limits "
            "there are the best path (leave --k out) and K disjoint ones (--disjoint K)",
            param_hint="--k",
        )
    for option, is_given in (("--by", by), ("--maximally", maximally)):
        if is_given and disjoint is None:
            raise typer.BadParameter("it says how paths are disjoint; give --disjoint K too", param_hint=option)


@commands.command()
def route(
    file: options.NetworkFile,
    demands: options.Demands = None,
    max_paths: options.MaxPaths = 3,
    gap: options.Gap = 1e-3,
    time_limit: options.TimeLimit = None,
    unsplittable: options.Unsplittable = False,
    capacity: options.Capacity = None,
    output: options.JsonFile = None,
    plot: options.Plot = None,
) -> None:
    """Route all demands of a network in a file so that its fullest link is as empty as can be.

    Exit code 0: all is routed and fits. 1: a file cannot be read or written. 2: the command makes no sense.
    3: more is asked for than fits; the plan says what is too much. 4: some demands have no way at all.
    """
    _check_outputs(output, plot, {"FILE": file, "--demands": demands})
    picture = _picture() if plot is not None else None
    with one_line(file) as notes:
        from ryu_apps.paths import plan_tables
        from ryu_apps.paths.files import read_demands, read_network
        from ryu_apps.paths.worth import on_shortest_paths

        for target in (output, plot):
            if target != options.STDOUT:
                require_writable(target)
        with busy(f"reading {file}") as say:
            dataset = read_network(file, capacity)
            notes.extend(dataset.notes)
            say("reading demands")
            dataset = read_demands(dataset, file, demands)
            notes[:] = dataset.notes
            from pathing.routing.route import route_demands

            began_s = time.monotonic()
            say(f"setting up {len(dataset.demands):,} demands")
            plan = route_demands(
                dataset.topology,
                dataset.demands,
                gap=gap,
                time_limit_s=time_limit,
                max_paths=max_paths,
                unsplittable=unsplittable,
                clock=time.monotonic,
                progress=_rounds(say),
            )
            took_s = time.monotonic() - began_s
            say("comparing with shortest paths")
            shortest = on_shortest_paths(dataset)
        # What was found is shown before it is written: a full disk must not take it away.
        if output != options.STDOUT:
            _print(*plan_tables.plan(dataset, plan, shortest, took_s))
        writing: dict[Path, Callable[[], None]] = {}
        if output is not None:
            text = json.dumps(plan_tables.plan_json(dataset, plan, shortest), indent=2)
            writing[output] = lambda: _write(output, text)
        if picture is not None and plot is not None:
            title = f"{file.name}, {plan_tables.plan_in_one_line(dataset, plan)}"
            writing[plot] = lambda: picture.draw(plot, dataset, plan.link_mbps, title)
        _write_all(writing)
    if plan.unroutable:
        raise typer.Exit(NOT_ROUTED)
    if plan.overflows:
        raise typer.Exit(ABOVE_CAPACITY)


def _check_outputs(output: Path | None, plot: Path | None, inputs: Mapping[str, Path | None]) -> None:
    """Raise BadParameter where writing would overwrite what is read, or one file twice."""
    taken = dict(inputs)
    for option, target in (("--json", output), ("--plot", plot)):
        if target is None or target == options.STDOUT:
            continue
        for what, other in taken.items():
            if other is not None and same(target, other):
                raise typer.BadParameter(f"{target} is {what} too and would be overwritten", param_hint=option)
        taken[option] = target


def _rounds(say: Say) -> Callable[[float, float], None]:
    """Make what tells how far the routing has come."""
    told = 0

    def tell(best: float, bound: float) -> None:
        nonlocal told
        what = _FIRST_STEPS[told] if told < len(_FIRST_STEPS) else f"round {told - len(_FIRST_STEPS) + 1}"
        told += 1
        say(f"{what}: best {percent(best)}, bound {percent(bound)}")

    return tell


def _write(file: Path, text: str) -> None:
    if file == options.STDOUT:
        typer.echo(text)
    else:
        file.write_text(f"{text}\n")


def _write_all(writing: Mapping[Path, Callable[[], None]]) -> None:
    """Write all that can be written and say which; raises PathCommandFailed naming what could not."""
    failed = []
    for file, write in writing.items():
        try:
            with busy(f"writing {file}"):
                write()
        except OSError as error:
            failed.append(f"{file}: it could not be written: {error.strerror or error}")
            continue
        if file != options.STDOUT:
            typer.echo(f"Written: {file}", err=options.STDOUT in writing)
    if failed:
        raise PathCommandFailed("; ".join(failed))


def _picture() -> ModuleType:
    """What draws, if it can be had."""
    try:
        from ryu_apps.paths import picture
    except ImportError as error:
        raise PathCommandFailed(
            f"--plot cannot draw ({error}); what it needs comes with: pip install 'lockstitch[plot]'"
        ) from error
    return picture


def _print(*shown: object) -> None:
    console = Console(highlight=False)
    for one in shown:
        console.print(one)
