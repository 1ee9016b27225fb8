"""`lockstitch`: starts a controller, asks one, and takes in the commands of plug-ins."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from ryu_apps.forecasts import commands as forecasts
from ryu_apps.forecasts import options
from ryu_apps.forecasts.commands import BacktestFailed
from ryu_apps.mode import Mode
from ryu_apps.paths import commands as paths
from ryu_apps.paths.commands import PathCommandFailed
from ryu_apps.rest import access_commands, client, intent_commands, policy_commands, stitch_commands
from ryu_apps.rest import commands as asking
from ryu_apps.rest import reconcile_command as reconciling
from ryu_apps.rest.client import CallFailed
from ryu_apps.rest.tls import TlsError, TlsFiles
from ryu_apps.rest.token import TokenError

if TYPE_CHECKING:
    from forecasting import Calendar
    from ryu_apps.ovsdb.remotes import Certificates

PLUGINS = "lockstitch.commands"
"""The entry-point group of plug-ins: each is a typer.Typer whose commands are added at the top."""


_DAY_S = 86400.0
_LONGEST_SEASON_S = 366 * _DAY_S


class CannotStart(Exception):
    """The controller cannot start; the message says what to do."""


KNOWN_ERRORS = (BacktestFailed, CallFailed, CannotStart, PathCommandFailed, TlsError, TokenError)
"""What is told in one line. Anything else is a fault of ours and keeps its traceback."""


@dataclass(frozen=True)
class Plugins:
    """The commands of all plug-ins that could be loaded, and a line about each that could not."""

    commands: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @classmethod
    def load(cls) -> Plugins:
        """Import all plug-ins. What goes wrong in one is noted and hurts nobody else."""
        plugins = cls()
        for entry in sorted(metadata.entry_points(group=PLUGINS), key=lambda entry: entry.name):
            try:
                plugins.commands.update(typer.main.get_group(entry.load()).commands)
            except Exception as error:  # noqa: BLE001  # a plug-in may fail in any way
                plugins.skipped.append(_skipped(entry, error))
        return plugins


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
    add_completion=False,
    # Tracebacks with the values of variables in them could show the token.
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(asking.commands)
app.add_typer(policy_commands.commands)
app.add_typer(access_commands.commands)
app.add_typer(stitch_commands.commands, name="stitch")
app.add_typer(reconciling.commands)
app.add_typer(intent_commands.commands, name="intent")
app.add_typer(paths.commands)
app.add_typer(forecasts.commands)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("lockstitch"))
        raise typer.Exit


def _a_number(value: float) -> float:
    """Raise BadParameter for nan, which is within any bounds."""
    if math.isnan(value):
        raise typer.BadParameter("nan is no number")
    return value


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


@app.command()
def controller(
    state: Annotated[
        Path,
        typer.Option(
            "--state",
            envvar="LOCKSTITCH_STATE",
            default_factory=asking.default_state,
            show_default="~/.local/state/lockstitch",
            help="Where it keeps its store and its token.",
        ),
    ],
    of_host: Annotated[str, typer.Option(help="Where switches connect.")] = "127.0.0.1",
    of_port: Annotated[int, typer.Option(min=0, max=65535)] = 6653,
    rest_host: Annotated[str, typer.Option(help="Where REST is served.")] = "127.0.0.1",
    rest_port: Annotated[int, typer.Option(min=0, max=65535)] = 8080,
    tls: Annotated[
        bool, typer.Option("--tls", help="Serve REST over TLS, with a certificate made at the first start.")
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Serve REST over TLS with this certificate (PEM) ...")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="... and its key.")] = None,
    insecure_http: Annotated[
        bool, typer.Option("--insecure-http", help="Serve REST to other machines without TLS.")
    ] = False,
    rate_limit: Annotated[
        float,
        typer.Option(min=1, max=1e6, callback=_a_number, help="Requests a second of one token, in the long run."),
    ] = 200.0,
    audit_days: Annotated[
        float, typer.Option(min=1, max=36500, callback=_a_number, help="How long changes are kept on record.")
    ] = 90.0,
    period: Annotated[
        float, typer.Option(min=0.1, max=3600, callback=_a_number, help="Seconds between two polls of counters.")
    ] = 1.0,
    trigger: Annotated[
        Mode, typer.Option(help="What makes stitches by itself: the forecast, a full link, or nothing.")
    ] = Mode.PREDICTIVE,
    season: Annotated[
        float,
        typer.Option(
            min=1,
            max=_LONGEST_SEASON_S,
            callback=_a_number,
            help="Seconds in the daily cycle of the traffic, for the forecast.",
        ),
    ] = _DAY_S,
    events: Annotated[
        Path | None, typer.Option(help="Scheduled events to expect: CSV with start_utc, end_utc and kind.")
    ] = None,
    holidays: Annotated[
        str | None,
        typer.Option(
            metavar="DATE,DATE", help="Local days to expect traffic of a day off on: 2026-12-25,2027-01-01."
        ),
    ] = None,
    utc_offset: Annotated[
        float,
        typer.Option(
            min=-12,
            max=14,
            callback=_a_number,
            metavar="HOURS",
            help="Local time less UTC: when days and weeks begin.",
        ),
    ] = 0.0,
    members: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Models to forecast with; else all without extras."),
    ] = None,
    share: Annotated[
        float,
        typer.Option(
            min=0.01, max=1.0, callback=_a_number, help="A link is hot above this share of its capacity ..."
        ),
    ] = 0.9,
    probability: Annotated[
        float, typer.Option(min=0.01, max=0.99, callback=_a_number, help="... when that is likelier than this.")
    ] = 0.3,
    ovsdb: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVER",
            help="Database of switches, for BFD and queues: unix:/PATH, tcp:HOST:PORT, ssl:HOST:PORT; repeatable.",
        ),
    ] = None,
    ovsdb_key: Annotated[Path | None, typer.Option(help="Our key for ssl: (PEM).")] = None,
    ovsdb_cert: Annotated[Path | None, typer.Option(help="Our certificate for ssl: (PEM).")] = None,
    ovsdb_ca: Annotated[Path | None, typer.Option(help="The authority that signed the servers' (PEM).")] = None,
    bfd_ms: Annotated[
        int, typer.Option(min=1, max=10_000, help="Interval of BFD: a link is dead after three are missed.")
    ] = 20,
    hosted: Annotated[
        list[str] | None,
        typer.Option("--app", metavar="APP", help="Run your own Ryu app too: a file or module; may be repeated."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every detail.")] = False,
) -> None:
    """Run a controller until SIGINT or SIGTERM."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s level=%(levelname)s logger=%(name)s %(message)s",
    )
    # Here and not above: it brings in os-ken, FastAPI and the forecaster.
    from ryu_apps.controller import Settings, StartError, run
    from ryu_apps.guests.loading import GuestError
    from ryu_apps.rest.access.access import AccessSettings
    from ryu_apps.rest.server import ServerError

    settings = Settings(
        state=state,
        of_host=of_host,
        of_port=of_port,
        rest_host=rest_host,
        rest_port=rest_port,
        period_s=period,
        trigger=trigger,
        calendar=_calendar(season, events, holidays, utc_offset),
        members=_members(members),
        share=share,
        probability=probability,
        tls=tls,
        tls_files=_tls_files(tls, tls_cert, tls_key),
        insecure_http=insecure_http,
        limits=AccessSettings(rate_per_s=rate_limit, burst=10 * rate_limit, audit_days=audit_days),
        ovsdb=_ovsdb(ovsdb or []),
        ovsdb_ssl=_certificates(ovsdb or [], ovsdb_key, ovsdb_cert, ovsdb_ca),
        bfd_ms=bfd_ms,
        apps=tuple(hosted or ()),
    )
    try:
        run(settings)
    except GuestError as error:
        typer.echo(f"error: --app {error}", err=True)
        raise typer.Exit(2) from error
    except (StartError, ServerError, OSError) as error:
        raise CannotStart(str(error)) from error


def main() -> None:
    """The console script."""
    app()


def _tls_files(tls: bool, certificate: Path | None, key: Path | None) -> TlsFiles | None:
    if certificate is None and key is None:
        return None
    if tls:
        raise CannotStart("--tls makes a certificate; leave it out, or --tls-cert and --tls-key")
    if certificate is None or key is None:
        raise CannotStart("--tls-cert and --tls-key go together; give both")
    return TlsFiles(certificate, key)


def _calendar(season_s: float, events: Path | None, holidays: str | None, utc_offset_h: float) -> Calendar:
    from forecasting import Calendar
    from ryu_apps.forecasts.errors import BadSeries
    from ryu_apps.forecasts.series import read_events

    if holidays is not None and season_s != _DAY_S:
        raise CannotStart("--holidays are days of 24 hours; leave --season out, or --holidays")
    offset_s = 3600.0 * utc_offset_h
    days_off = tuple(_noon_s(date) - offset_s for date in holidays.split(",")) if holidays is not None else ()
    try:
        scheduled = () if events is None else read_events(events)
        return Calendar(day_s=season_s, utc_offset_s=offset_s, holidays=days_off, events=scheduled)
    except (BadSeries, OSError) as error:
        raise CannotStart(str(error)) from error


def _noon_s(date: str) -> float:
    """Noon of a day, as if it were in UTC."""
    try:
        midnight = datetime.strptime(date.strip(), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise CannotStart(
            f"--holidays: {date.strip()!r} is no date; write them like 2026-12-25,2027-01-01"
        ) from None
    return midnight.timestamp() + _DAY_S / 2


def _ovsdb(remotes: list[str]) -> tuple[str, ...]:
    from ryu_apps.ovsdb.remotes import BadRemote, check_remote

    try:
        return tuple(check_remote(remote) for remote in remotes)
    except BadRemote as error:
        raise CannotStart(f"--ovsdb: {error}") from error


def _certificates(remotes: list[str], *files: Path | None) -> Certificates | None:
    from ryu_apps.ovsdb.remotes import Certificates

    if not any(remote.startswith("ssl:") for remote in remotes):
        return None
    given = [str(file) for file in files if file is not None]
    if len(given) < len(files):
        raise CannotStart("--ovsdb ssl: needs our key and certificate: --ovsdb-key, --ovsdb-cert and --ovsdb-ca")
    for name in given:
        try:
            Path(name).read_bytes()
        except OSError as error:
            raise CannotStart(f"{name}: {error.strerror}") from error
    return Certificates(*given)


def _members(names: str | None) -> tuple[str, ...]:
    from forecasting import MEMBERS, NEURAL, SettingError
    from forecasting.members import chosen

    if names is None:
        return MEMBERS
    try:
        found = chosen(options.names(names))
    except SettingError as error:
        raise CannotStart(f"--members: {error}") from error
    neural = [name for name in found if name in NEURAL]
    if neural and find_spec("torch") is None:
        raise CannotStart(f"--members {neural[0]} needs PyTorch: pip install 'lockstitch[neural]'")
    return found


def _skipped(entry: metadata.EntryPoint, error: Exception) -> str:
    note = f"plug-in {entry.name!r} was skipped ({' '.join(str(error).split()) or type(error).__name__})"
    ours = entry.dist is not None and entry.dist.name == "lockstitch"
    if ours and isinstance(error, ImportError):
        return f"{note}; what it needs comes with: pip install 'lockstitch[{entry.name}]'"
    return note
