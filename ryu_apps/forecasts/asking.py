"""`lockstitch forecast`: what the links and demands of a running controller will carry."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ryu_apps.forecasts import options, outlook
from ryu_apps.rest.client import CallFailed, call
from ryu_apps.rest.commands import LOCAL, AsJson, State, Url

# A chart shows so many horizons of the past, or so many periods if that is more.
_PAST_HORIZONS, _LEAST_PAST = 2, 16

commands = typer.Typer()


@commands.command()
def forecast(
    state: State,
    url: Url = LOCAL,
    link: Annotated[
        str | None,
        typer.Option(metavar="DPID:PORT", help="Only this link, by its source: every step, and a fan chart."),
    ] = None,
    day: Annotated[bool, typer.Option("--day", help="A day ahead, not a few periods.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Every link and demand, at every step.")] = False,
    share: Annotated[
        str, typer.Option(help="Give the chance of more than this share of a link's capacity.")
    ] = "0.9",
    plot: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Draw the link to this .png, .svg or .pdf file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what links and demands will carry, the fullest first, and how sure that is."""
    options.require_picture(plot)
    if plot is not None and link is None:
        raise typer.BadParameter("name one link to draw with --link", param_hint="--plot")
    query: dict[str, str | float] = {
        "threshold_share": options.share_of_capacity(share),
        "ahead": "day" if day else "periods",
    }
    if link is not None:
        query["link"] = options.link(link)
    answer = call(url, state, "GET", "/forecasts", query=query)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    elif not answer["ready"]:
        needed = "an hour or two of samples" if day else "a few samples"
        typer.echo(f"there is no forecast yet: it takes {needed}; see `lockstitch health`")
    else:
        console = Console()
        for shown in outlook.tables(answer, every_step=every or link is not None):
            console.print(shown)
    for one in answer["links"] if link is not None else ():
        _draw(one, answer["step_s"], plot, in_terminal=not as_json)


def _draw(series: dict[str, Any], step_s: float, plot: Path | None, *, in_terminal: bool) -> None:
    """A fan chart, in the terminal and as a picture. What draws takes longer to import than a table to show."""
    from ryu_apps.forecasts.fan import fan_of

    def known(values: list[float | None]) -> list[float]:
        return [math.nan if value is None else value for value in values]

    past = max(_PAST_HORIZONS * len(series["mean_mbps"]), _LEAST_PAST)
    fan = fan_of(
        f"{series['name']} to {series['dst_dpid']}:{series['dst_port']}",
        step_s,
        known(series["recent_mbps"])[-past:],
        [quantile["level"] for quantile in series["quantiles"]],
        [known(quantile["mbps"]) for quantile in series["quantiles"]],
        unit="Mbit/s",
    )
    if in_terminal:
        from ryu_apps.forecasts.terminal import fan_chart

        typer.echo(fan_chart(fan, colour=sys.stdout.isatty()))
    if plot is not None:
        try:
            from ryu_apps.forecasts.picture import fan_picture
        except ImportError as error:
            raise CallFailed(
                f"--plot cannot draw ({error}); get what it needs: pip install 'lockstitch[plot]'"
            ) from error
        try:
            fan_picture(plot, fan)
        except (OSError, ValueError) as error:
            raise CallFailed(f"{plot} cannot be written: {error}") from error
