"""`lockstitch demo`, `lockstitch lab` and `lockstitch lab overlay`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from mininet_topos.abilene import abilene
from mininet_topos.busy import Stretch, busy_stretch, describe
from mininet_topos.demand import BadDemand, Demand, load_demand, map_to
from mininet_topos.demo import RUNS, DemoError, Plan, Report, RunResult, as_json, capacities, doubts, run_demo
from mininet_topos.emulator import RelayFailed
from mininet_topos.generator import generate
from mininet_topos.lab import Lab, LabError
from mininet_topos.overlay.lab import overlay_lab, require_overlay
from mininet_topos.overlay.shell import Shell
from mininet_topos.overlay.telling import tell_on
from mininet_topos.ovs import LabUnavailable, OvsError, database, require_lab
from mininet_topos.topology import BadTopology, LabTopology, from_dataset
from mininet_topos.waiting import wait_until
from mininet_topos.worker import WorkerFailed
from pathing import BadFile, read_repetita, read_sndlib
from ryu_apps.rest.client import CallFailed, call
from ryu_apps.rest.commands import LOCAL
from ryu_apps.rest.token import TokenError

commands = typer.Typer(help="Labs on real Open vSwitch bridges.")
labs = typer.Typer()
commands.add_typer(labs, name="lab")

KNOWN_ERRORS = (
    OSError,
    BadDemand,
    BadFile,
    BadTopology,
    CallFailed,
    DemoError,
    LabError,
    LabUnavailable,
    OvsError,
    RelayFailed,
    TokenError,
    WorkerFailed,
)

STEPS = 300
"""Steps of a demand that one run of the demo plays by default."""

TITLE = "The same demand, three ways to run the network"

LEAD_IN_S = 15.0
"""How long a run stays calm: the forecasts of the predictive one start from nothing."""

GENERATED_STEPS = 288 * 3

JOINED_WITHIN_S = 60.0
"""How long the sites of the overlay's lab have to be joined, and their hosts then to reach each other."""

TopologyFile = Annotated[
    Path | None, typer.Option(help="REPETITA .graph or SNDlib XML; without it Abilene.", show_default=False)
]


@commands.command()
def demo(
    demand: Annotated[
        Path | None, typer.Option(help="Demand matrices: .npz or SNDlib XML. Without it they are generated.")
    ] = None,
    topology: TopologyFile = None,
    start: Annotated[str | None, typer.Option(help="First step to play: an index, or a time in the file.")] = None,
    scale: Annotated[float | None, typer.Option(help="Factor on the demand.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes of the demand to play in each run.")] = None,
    step_seconds: Annotated[float, typer.Option(help="Seconds that one step of the demand takes here.")] = 0.25,
    seed: Annotated[int, typer.Option(help="Seed of generated demand, packet times and losses.")] = 1,
    output: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    with_overlay: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Then tell the story of `lab overlay` too.")
    ] = True,
) -> None:
    """Play one demand three times: shortest paths, stitches when links are full, stitches on forecast.

    Then sites are joined by tunnels, and what befalls them is measured (--no-overlay: not).
    """
    console = Console()
    with _one_line():
        lab = _topology(topology)
        matrices = _demand(demand, lab, seed)
        stretch = _stretch(matrices, lab, start, scale, minutes, step_seconds)
        cut = matrices.window(stretch.start, stretch.steps, stretch.scale)
        plan = Plan(lab, cut, step_seconds, seed)
        require_lab()
        # Rather now than after five minutes.
        if with_overlay:
            require_overlay()
        if output is not None:
            output.touch()
        _introduce(console, plan, stretch)
        with _progress(console, plan) as report:
            runs = run_demo(plan, report)
    _show(console, runs)
    figures = as_json(plan, runs)
    with _one_line():
        _write(output, figures)
        if with_overlay:
            console.print()
            _write(output, {**figures, "overlay": tell_on(console).as_json()})


@labs.callback(invoke_without_command=True)
def lab(
    context: typer.Context,
    topology: TopologyFile = None,
    controller: Annotated[str, typer.Option(help="Where the controller listens for switches.")] = "127.0.0.1:6653",
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            envvar="LOCKSTITCH_STATE",
            help="The controller's state directory: with it the lab tells the controller what its links carry, "
            "and where the database of its switches is.",
            show_default=False,
        ),
    ] = None,
    url: Annotated[
        str, typer.Option("--url", envvar="LOCKSTITCH_URL", help="Where the controller serves REST.")
    ] = LOCAL,
) -> None:
    """Bring up a lab and open Mininet's command line on it; everything is removed at the end."""
    if context.invoked_subcommand is not None:
        return
    with _one_line(), Lab(_topology(topology), controller=controller) as running:
        if state is not None:
            told = call(url, state, "PUT", "/links/capacities", body=capacities(running))
            typer.echo(f"told the controller what {told['ports']} ports carry")
            tell_ovsdb(url, state, running)
        running.cli()


@labs.command("overlay")
def overlay(
    stay: Annotated[
        bool, typer.Option("--stay", help="Open a command line on the lab in place of the story.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
) -> None:
    """Three sites and two compute instances, and what they go through. Exit code 1 where a target is missed."""
    console = Console()
    with _one_line():
        if stay:
            with overlay_lab() as made:
                with console.status("sites, tunnels and all else are made"):
                    made.start()
                    made.world.wait_settled(within_s=JOINED_WITHIN_S)
                    wait_until(lambda: not made.unreached(), JOINED_WITHIN_S, made.world.describe)
                Shell(made).cmdloop()
            return
        told = tell_on(console)
        _write(output, told.as_json())
    if told.missed:
        raise typer.Exit(1)


def tell_ovsdb(url: str, state: Path, running: Lab) -> None:
    """Say where the database of the lab's switches is: one server knows them all."""
    dpid = f"{running.topology.nodes[0].dpid:016x}"
    try:
        call(url, state, "PUT", f"/switches/{dpid}/ovsdb", body={"remote": database()})
    except CallFailed as error:
        # A token that may say what links carry need not be an administrator's.
        typer.echo(f"no BFD and no queues: the controller was not told of the database ({error})", err=True)
        return
    typer.echo("told the controller where the switches' database is: links get BFD, stitches get queues")


def _write(output: Path | None, figures: dict[str, Any]) -> None:
    if output is not None:
        output.write_text(json.dumps(figures, indent=2) + "\n")


@contextmanager
def _one_line() -> Iterator[None]:
    """Say what went wrong in one line."""
    try:
        yield
    except KNOWN_ERRORS as error:
        typer.echo(f"lockstitch: {error}", err=True)
        raise typer.Exit(1) from None


def _topology(path: Path | None) -> LabTopology:
    if path is None:
        return abilene()
    reader = read_repetita if path.suffix == ".graph" else read_sndlib
    return from_dataset(reader(path), path.name.split(".")[0])


def _demand(path: Path | None, lab: LabTopology, seed: int) -> Demand:
    if path is None:
        made, _ = generate(lab, seed, GENERATED_STEPS)
        return made
    return map_to(load_demand(path), lab)


def _stretch(
    demand: Demand,
    lab: LabTopology,
    start: str | None,
    scale: float | None,
    minutes: float | None,
    step_seconds: float,
) -> Stretch:
    """The stretch to play: chosen, unless it is given."""
    most = demand.steps if demand.steps > 1 else STEPS
    asked = minutes if minutes is not None else min(STEPS, most) * demand.step_s / 60
    if start is None:
        found = busy_stretch(demand, lab, asked, lead_in=math.ceil(LEAD_IN_S / step_seconds))
        return found if scale is None else describe(demand, lab, found.start, found.steps, scale)
    steps = round(asked * 60 / demand.step_s)
    return describe(demand, lab, demand.index_of(start), steps, scale)


def _introduce(console: Console, plan: Plan, stretch: Stretch) -> None:
    when = f" from {plan.demand.start}" if plan.demand.start is not None else f" from step {stretch.start}"
    console.print(
        f"[bold]{plan.topology.name}[/]: {len(plan.topology.nodes)} switches, {len(plan.topology.links)} links. "
        f"Demand: {plan.demand.name}{when}, {stretch.steps} steps of {plan.demand.step_s:g} s played in "
        f"{plan.duration_s:g} s, times {stretch.scale:.3g}."
    )
    console.print(
        f"Shortest paths would fill the fullest link to {stretch.peak_utilisation:.0%}, the best routing to "
        f"{stretch.optimum_utilisation:.0%}."
    )
    if stretch.note:
        console.print(f"[yellow]{stretch.note}[/]")


@contextmanager
def _progress(console: Console, plan: Plan) -> Iterator[Report]:
    columns = (TextColumn("{task.description:<22}"), BarColumn(40), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bars: dict[str, TaskID] = {
            name: progress.add_task(name, total=plan.duration_s, start=False) for name in RUNS
        }

        def report(what: str, done_s: float, _total_s: float) -> None:
            bar = bars[what.split(":")[0]]
            progress.start_task(bar)
            progress.update(bar, description=what, completed=done_s)

        yield report


def _show(console: Console, runs: dict[str, RunResult]) -> None:
    why_not = doubts(runs)
    title = "This does not count: the machine was too busy" if why_not else TITLE
    table = Table("", *runs, title=title, title_style="bold red" if why_not else None)
    for column in table.columns[1:]:
        column.justify = "right"
    rows: dict[str, Callable[[RunResult], str]] = {
        "lost traffic": lambda run: f"{run.lost_share:.3%}",
        "delay p50 / p95 / p99, ms": lambda run: " / ".join(
            "-" if value is None else f"{value:.1f}"
            for value in (run.delay_ms.p50, run.delay_ms.p95, run.delay_ms.p99)
        ),
        "time with a link over 90 %, s": lambda run: f"{run.busy_s:.1f}",
        "stitches made": lambda run: str(run.stitches),
        "rules written": lambda run: str(run.rules),
        "congestions answered": lambda run: f"{len(run.lead_time_s)} of {run.congestions}",
        "lead time of each, s": lambda run: _leads(run.lead_time_s),
        "packets sent late": lambda run: f"{run.fidelity.late_share:.2%}",
        "sender held up, ms": lambda run: f"{run.fidelity.held_up_ms:.0f}",
        "lost, but not on links": lambda run: f"{run.fidelity.unexplained_share:.3%}",
        "processors for others": lambda run: (
            f"{run.fidelity.machine.others:.1f} of {run.fidelity.machine.processors}"
        ),
    }
    for label, cell in rows.items():
        table.add_row(label, *(cell(run) for run in runs.values()))
    console.print(table)
    console.print(_refusal(why_not) if why_not else _verdict(runs))


def _leads(leads: list[float]) -> str:
    return ", ".join(f"{lead:+.1f}" for lead in sorted(leads, reverse=True)) or "-"


def _refusal(why_not: list[str]) -> str:
    """What is said in place of a comparison that proves nothing."""
    return (
        "These runs cannot be compared: "
        + "; ".join(why_not)
        + ". The figures say more of this machine than of the "
        "controller. Stop what else runs here, then play again."
    )


def _verdict(runs: dict[str, RunResult]) -> str:
    shortest, reactive, predictive = (runs[name].lost_share for name in RUNS)
    if predictive < reactive < shortest:
        saved = 1 - predictive / reactive
        return (
            f"Stitching on forecast lost {predictive:.3%} of the traffic: {saved:.0%} less than stitching links "
            f"that are full already, {1 - predictive / shortest:.0%} less than shortest paths."
        )
    verdicts = [
        f"Stitching on forecast lost {'less' if predictive < other else 'no less'} than {name}."
        for name, other in (("shortest paths", shortest), ("stitching links that are full already", reactive))
    ]
    return " ".join(verdicts)
