"""`lockstitch backtest`: how good forecasts of the series in a file would have been."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from ryu_apps.forecasts import asking, options, showing

# What calculates is imported in the commands: numpy and scipy take longer than `lockstitch --help` may.
if TYPE_CHECKING:
    from forecasting.backtest import BacktestResult, Forecasts, RollingOrigin
    from forecasting.calendar import Calendar
    from forecasting.panel import Panel

MOST_BYTES = 6 * 2**30
"""A back-test that would keep more than this is refused before it starts."""

_BYTES_A_FORECAST = 300
_OTHERS_CPU = "CPU time is that of this process; what its workers spent is not in it"


class BacktestFailed(Exception):
    """There is no answer; the message says why and what would help."""


class _NamesMembers(TyperCommand):
    """Names the models of the pool where help is asked for: importing them takes longer than other help may."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from forecasting import MEMBERS, NEURAL

        for option in self.params:
            if option.name == "members":
                said = f"Models of the pool. Default: {','.join(MEMBERS)}; also {','.join(NEURAL)} (extra neural)."
                option.help = said  # type: ignore[attr-defined]  # options have help, arguments need not
        super().format_help(ctx, formatter)


commands = typer.Typer()
commands.add_typer(asking.commands)


@commands.command(cls=_NamesMembers)
def backtest(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help=".npz of demand matrices, or CSV with a time column, gzipped or not."),
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this column, or ORIGIN:DESTINATION; may be repeated."),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Only so many of the largest series.")] = None,
    train: Annotated[str, typer.Option(help="What to fit on: a share (0.5, 50%) or a time (7d, 36h).")] = "0.5",
    refit: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Fit anew to all that is known after each such time (1d); else once."),
    ] = None,
    horizon: Annotated[int, typer.Option(min=1, help="Steps to forecast.")] = 12,
    every: Annotated[int, typer.Option(min=1, help="Steps from one forecast to the next.")] = 12,
    members: Annotated[str | None, typer.Option(metavar="A,B", help="Models of the pool.")] = None,
    events: Annotated[
        Path | None, typer.Option(help="Scheduled events: CSV with start_utc, end_utc and kind.")
    ] = None,
    step: Annotated[
        str | None, typer.Option(metavar="TIME", help="Between the matrices of an .npz without times; else 5min.")
    ] = None,
    season: Annotated[str, typer.Option(help="The daily cycle (1d, 288s), or none.")] = "1d",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="For models that learn by chance.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write all scores to this file.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Draw forecasts and reliability: a .png, .svg or .pdf file.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes to fit in.")] = 1,
) -> None:
    """Forecast the past of a file as if it were then, beside last value, and score what came true."""
    options.require_picture(plot)
    # Small matrices only: a second thread costs several times the CPU. Set before numpy is first imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    share, train_s = options.training(train)
    season_s = None if season == "none" else options.seconds(season, "--season")
    refit_s = None if refit is None else options.seconds(refit, "--refit")
    step_s = None if step is None else options.seconds(step, "--step")
    picture = _picture() if plot is not None else None
    with _one_line(file):
        from forecasting.backtest import RollingOrigin, train_steps
        from forecasting.calendar import Calendar
        from ryu_apps.forecasts import tables
        from ryu_apps.forecasts.series import events_within, read_events, read_series
        from ryu_apps.paths.outputs import require_writable, same

        for option, target in (("--json", output), ("--plot", plot)):
            if target is not None and any(other is not None and same(target, other) for other in (file, events)):
                raise typer.BadParameter(f"{target} is read too and would be overwritten", param_hint=option)
            require_writable(target)
        calendar = Calendar(day_s=season_s, events=read_events(events) if events is not None else ())
        pool = None if members is None else options.names(members)
        forecaster = _forecaster(horizon, calendar, pool, seed)
        with showing.busy(f"reading {file.name}"):
            found = read_series(file, column or (), top, step_s)
        panel = found.panel
        refit_every = None if refit_s is None else max(1, round(refit_s / panel.step_s))
        plan = RollingOrigin(train_steps(panel, share=share, seconds=train_s), horizon, every, refit_every)
        _require_room(panel, plan)
        result = _run(panel, forecaster, plan, season_s, workers)
        used = tables.Used(len(calendar.events), events_within(panel, calendar.events))
        notes = found.notes if workers == 1 else (*found.notes, _OTHERS_CPU)
        if output is not None:
            settings = {
                "file": file.name,
                "columns": list(column or ()),
                "top": top,
                "train": train,
                "members": pool,
                "refit": refit,
                "events": used.events,
                "events_within": used.within,
                "season_s": season_s,
                "step": step,
                "seed": seed,
            }
            answer = tables.backtest_json(result, notes, settings, used)
            output.write_text(json.dumps(answer, indent=2) + "\n")
        if picture is not None and plot is not None:
            picture.draw_backtest(plot, result, f"{file.name}: {tables.one_line(result)}")
    console = Console()
    for shown in tables.backtest(result, notes, used):
        console.print(shown)


def _forecaster(horizon: int, calendar: Calendar, members: Sequence[str] | None, seed: int) -> Forecasts:
    """Make what is tested; what is wrong here is wrong with an option, not with the file."""
    from forecasting import MEMBERS, Forecaster, ForecastingError, SettingError
    from forecasting.backtest import SCORED_LEVELS
    from forecasting.members import chosen

    try:
        pool = MEMBERS if members is None else chosen(members)
    except SettingError as error:
        raise BacktestFailed(f"--members: {error}") from error
    try:
        return Forecaster(horizon, calendar=calendar, levels=SCORED_LEVELS, members=pool, seed=seed)
    except ForecastingError as error:
        raise BacktestFailed(str(error)) from error


def _run(
    panel: Panel, forecaster: Forecasts, plan: RollingOrigin, season_s: float | None, workers: int
) -> BacktestResult:
    from forecasting.backtest import backtest as run

    with _workers(workers) as executor, showing.phases() as phases:
        phases.start(len(panel.names), plan.train_steps)
        return run(
            panel,
            forecaster,
            plan,
            day_s=season_s or 86400.0,
            executor=executor,
            progress=phases.forecast,
            fit_progress=phases.fitted,
            cpu_clock=time.process_time,
            wall_clock=time.perf_counter,
        )


def _workers(count: int) -> Any:
    """A pool of fresh processes; a fork would take threads' locks along."""
    context = multiprocessing.get_context("spawn")
    pool: Any = ProcessPoolExecutor(count, mp_context=context) if count > 1 else nullcontext()
    return pool


def _require_room(panel: Panel, plan: RollingOrigin) -> None:
    """Refuse what would not fit in memory, instead of being killed in the middle."""
    forecasts = len(panel.names) * plan.origins(panel.times.size).size * plan.horizon
    if forecasts * _BYTES_A_FORECAST > MOST_BYTES:
        gigabytes = forecasts * _BYTES_A_FORECAST / 2**30
        raise BacktestFailed(
            f"{len(panel.names)} series would take {gigabytes:.0f} GiB; forecast less often (--every), or "
            "fewer series (--top, --column)"
        )


def _picture() -> ModuleType:
    """What draws, if it can be had."""
    try:
        from ryu_apps.forecasts import picture
    except ImportError as error:
        raise BacktestFailed(
            f"--plot cannot draw ({error}); what it needs comes with: pip install 'lockstitch[plot]'"
        ) from error
    return picture


@contextmanager
def _one_line(file: Path) -> Iterator[None]:
    """Turn what can go wrong with a file, a setting, a worker or a disk into one line."""
    from forecasting import ForecastingError
    from ryu_apps.forecasts.errors import BadSeries

    try:
        yield
    except BadSeries as error:
        raise BacktestFailed(str(error)) from error
    except ForecastingError as error:
        raise BacktestFailed(f"{file}: {error}") from error
    except BrokenExecutor as error:
        raise BacktestFailed(f"a worker process died ({error}); try again with fewer --workers") from error
    except OSError as error:
        raise BacktestFailed(str(error)) from error
