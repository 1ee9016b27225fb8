"""`lockstitch switch ovsdb`: where the database of a switch is."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from ryu_apps.rest.client import call
from ryu_apps.rest.commands import LOCAL, AsJson, State, Url
from ryu_apps.rest.output import show
from ryu_apps.shown import table

commands = typer.Typer(help="Switches.", no_args_is_help=True)

_DIGITS = 16


@commands.callback()
def switch() -> None:
    """Switches."""


@commands.command()
def ovsdb(
    dpid: Annotated[str, typer.Argument(help="The switch, up to 16 hex digits.")],
    state: State,
    remote: Annotated[
        str | None,
        typer.Argument(metavar="[SERVER]", help="unix:/PATH/TO/db.sock, tcp:HOST:PORT or ssl:HOST:PORT."),
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Use the one that was named no more.")] = False,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Say where the OVSDB server of a switch is, for BFD and queues; without SERVER, show it."""
    if forget and remote is not None:
        raise typer.BadParameter("give a server, or --forget", param_hint="SERVER")
    path = f"/switches/{dpid.lower().removeprefix('0x').zfill(_DIGITS)}/ovsdb"
    if forget:
        call(url, state, "DELETE", path)
    if remote is not None:
        call(url, state, "PUT", path, body={"remote": remote})
    answer = call(url, state, "GET", path)
    show(answer, as_json, _shown(answer))


def _shown(answer: dict[str, str | None]) -> Table:
    rows = [
        ("switch", answer["dpid"] or ""),
        ("named", answer["remote"] or "none"),
        ("answered by", answer["answered_by"] or "none"),
    ]
    return table("OVSDB", "what", "value", rows=rows)
