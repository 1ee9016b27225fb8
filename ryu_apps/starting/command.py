"""`lockstitch controller`: what it can be told, and to run."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Annotated

import typer

from ryu_apps.mode import Mode
from ryu_apps.rest.commands import default_state
from ryu_apps.starting import options

commands = typer.Typer()

_LONGEST_SEASON_S = 366 * options.DAY_S


def _a_number(value: float) -> float:
    """Raise BadParameter for nan, which is within any bounds."""
    if math.isnan(value):
        raise typer.BadParameter("nan is no number")
    return value


@commands.command()
def controller(
    state: Annotated[
        Path,
        typer.Option(
            "--state",
            envvar="LOCKSTITCH_STATE",
            default_factory=default_state,
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
    ] = options.DAY_S,
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
    overlay: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Join sites by encrypted tunnels; listen for their agents here."),
    ] = None,
    overlay_signer: Annotated[
        Path | None,
        typer.Option(
            envvar="LOCKSTITCH_OVERLAY_SIGNER",
            show_default="~/.local/state/lockstitch-signer/controller.sock",
            help="The signer's socket, which says who is a member.",
        ),
    ] = None,
    overlay_address: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="Where agents call, if not at --overlay itself; may be repeated."),
    ] = None,
    overlay_key_age: Annotated[
        str | None,
        typer.Option(
            metavar="24h", show_default="24h", help="Tunnels whose keys are older get new ones, without a gap."
        ),
    ] = None,
    overlay_transport: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default="what both sites have, WireGuard first",
            help="What tunnels are made of, wireguard or ipsec; give both to fall back on the second.",
        ),
    ] = None,
    overlay_range: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX",
            show_default="100.96.0.0/12",
            help="Where tunnels have their addresses and no site has any. For good, once there are tunnels.",
        ),
    ] = None,
    overlay_hubs: Annotated[
        int | None,
        typer.Option(
            min=1, max=8, show_default="2", help="So many sites, relays first, have tunnels with every other."
        ),
    ] = None,
    overlay_budget: Annotated[
        int | None,
        typer.Option(
            min=2, max=1000, show_default="32", help="Most tunnels of a site but for those that it must have."
        ),
    ] = None,
    overlay_direct_mbps: Annotated[
        float | None,
        typer.Option(
            show_default="5", help="Two sites that will send each other so much get tunnels of their own."
        ),
    ] = None,
    overlay_star_mbps: Annotated[
        float | None,
        typer.Option(show_default="2", help="They lose them after 15 minutes with less than this."),
    ] = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take switches that another controller keeps, once each.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every detail.")] = False,
) -> None:
    """Run a controller until SIGINT or SIGTERM."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s level=%(levelname)s logger=%(name)s %(message)s",
    )
    # Here and not above: it brings in os-ken, FastAPI and the forecaster.
    from ryu_apps.controller import run
    from ryu_apps.guests.loading import GuestError
    from ryu_apps.rest.access.access import AccessSettings
    from ryu_apps.rest.server import ServerError
    from ryu_apps.starting.settings import Settings, StartError

    settings = Settings(
        state=state,
        of_host=of_host,
        of_port=of_port,
        rest_host=rest_host,
        rest_port=rest_port,
        period_s=period,
        trigger=trigger,
        calendar=options.calendar(season, events, holidays, utc_offset),
        members=options.members(members),
        share=share,
        probability=probability,
        tls=tls,
        tls_files=options.tls_files(tls, tls_cert, tls_key),
        insecure_http=insecure_http,
        limits=AccessSettings(rate_per_s=rate_limit, burst=10 * rate_limit, audit_days=audit_days),
        ovsdb=options.ovsdb(ovsdb or []),
        ovsdb_ssl=options.certificates(ovsdb or [], ovsdb_key, ovsdb_cert, ovsdb_ca),
        bfd_ms=bfd_ms,
        apps=tuple(hosted or ()),
        take_over=take_over,
        overlay=options.overlay(
            *(overlay, overlay_signer, overlay_address or [], overlay_key_age, overlay_transport or []),
            *(overlay_range, options.mesh(overlay_hubs, overlay_budget, overlay_direct_mbps, overlay_star_mbps)),
        ),
    )
    try:
        run(settings)
    except GuestError as error:
        typer.echo(f"error: --app {error}", err=True)
        raise typer.Exit(2) from error
    except (StartError, ServerError, OSError) as error:
        raise options.CannotStart(str(error)) from error
