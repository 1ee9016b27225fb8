"""`lockstitch`: all its commands, ours and those of plug-ins."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from ryu_apps.forecasts import commands as forecasts
from ryu_apps.forecasts.commands import BacktestFailed
from ryu_apps.overlay import signer_commands
from ryu_apps.paths import commands as paths
from ryu_apps.paths.commands import PathCommandFailed
from ryu_apps.plugins import Plugins
from ryu_apps.rest import (
    access_commands,
    client,
    intent_commands,
    overlay_commands,
    ovsdb_commands,
    policy_commands,
    stitch_commands,
)
from ryu_apps.rest import commands as asking
from ryu_apps.rest import reconcile_command as reconciling
from ryu_apps.rest.client import CallFailed
from ryu_apps.rest.tls import TlsError
from ryu_apps.rest.token import TokenError
from ryu_apps.starting import command as starting
from ryu_apps.starting.options import CannotStart

KNOWN_ERRORS = (BacktestFailed, CallFailed, CannotStart, PathCommandFailed, TlsError, TokenError)
"""What is told in one line. Anything else is a fault of ours and keeps its traceback."""


class Commands(TyperGroup):
    """Our own commands first. Plug-ins are loaded when help is asked for, or a command that is not ours."""

    _loaded: Plugins | None = None

    @property
    def plugins(self) -> Plugins:
        """The plug-ins, loaded at the first use."""
        if self._loaded is None:
            self._loaded = Plugins.load()
        return self._loaded

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command there is."""
        own = super().list_commands(ctx)
        return [*own, *(name for name in self.plugins.commands if name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; None, and a note about plug-ins that may have had it, when there is none."""
        command = super().get_command(ctx, cmd_name) or self.plugins.commands.get(cmd_name)
        if command is None:
            for note in self.plugins.skipped:
                typer.echo(f"note: {note}", err=True)
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Help, with a line about every plug-in that was skipped."""
        self.epilog = "\n\n".join(escape(note) for note in self.plugins.skipped) or None
        super().format_help(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Run a command. An error we know is one line and exit code 1."""
        try:
            return super().invoke(ctx)
        except KNOWN_ERRORS as error:
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    name="lockstitch",
    cls=Commands,
    no_args_is_help=True,
    # Tracebacks with the values of variables in them could show the token.
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(starting.commands)
app.add_typer(asking.commands)
app.add_typer(policy_commands.commands)
app.add_typer(access_commands.commands)
app.add_typer(stitch_commands.commands, name="stitch")
app.add_typer(reconciling.commands)
app.add_typer(ovsdb_commands.commands, name="switch")
app.add_typer(intent_commands.commands, name="intent")
app.add_typer(overlay_commands.commands, name="overlay")
app.add_typer(signer_commands.commands, name="signer")
app.add_typer(paths.commands)
app.add_typer(forecasts.commands)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("lockstitch"))
        raise typer.Exit


@app.callback()
def lockstitch(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca", envvar="LOCKSTITCH_CA", help="Certificates (PEM) that a controller at https:// is known by."
        ),
    ] = None,
) -> None:
    """An SDN controller that stitches virtual networks together before the traffic arrives."""
    client.trust(ca)


def main() -> None:
    """The console script."""
    app()
