"""`vte-agent`: enroll a node, run its agent, and see how it does."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from vte_agent import membership as members
from vte_agent.agent import Agent
from vte_agent.believing import GUARDED_FILE, Believer
from vte_agent.bridging.difference import Place
from vte_agent.bridging.openvswitch import DATABASE
from vte_agent.bridging.vxlan import LinkFailed
from vte_agent.cleaning import clean
from vte_agent.descriptors import take_descriptors
from vte_agent.doctor import Finding, examine, rights
from vte_agent.enrolling import NotEnrolled, enroll
from vte_agent.identity import load_or_make
from vte_agent.keeping import CannotKeep, Keeping, alone, alone_here
from vte_agent.looking import look
from vte_agent.membership import Membership
from vte_agent.planning import Plan
from vte_agent.protocol.base import Name
from vte_agent.protocol.enrollment import BadToken, Token
from vte_agent.protocol.has import Has, TunnelReport
from vte_agent.protocol.signed import NotSigned
from vte_agent.routing import RoutingFailed
from vte_agent.talking import NotRunning, ask_status, telling
from vte_agent.tunnels.contract import TunnelFailed
from vte_agent.tunnels.transports import transports
from vte_agent.uplinks import BadUplink, Uplinks, read_uplinks

STATE = Path("/var/lib/lockstitch-agent")

app = typer.Typer(
    name="vte-agent",
    help="The agent of one site: encrypted tunnels to the other sites, kept as the controller wants them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class NotAllowed(Exception):
    """The user may not do it; the message says who may."""


KNOWN_ERRORS = (
    BadToken,
    CannotKeep,
    LinkFailed,
    NotAllowed,
    NotEnrolled,
    NotRunning,
    NotSigned,
    RoutingFailed,
    TunnelFailed,
)
"""What is told in one line; anything else is a fault of ours and keeps its traceback."""


def _allowed(state: Path) -> Path:
    if state.exists() and not os.access(state, os.R_OK | os.X_OK):
        raise typer.BadParameter(f"{state} is its owner's alone; run this as root, as with sudo")
    return state


State = Annotated[
    Path,
    typer.Option(
        "--state",
        envvar="VTE_AGENT_STATE",
        help="Where the agent keeps what is its own.",
        readable=False,
        callback=_allowed,
    ),
]
UplinkWords = Annotated[
    list[str],
    typer.Option(
        "--uplink", metavar="NAME=DEVICE", envvar="VTE_AGENT_UPLINKS", help="A way out of the site; give each."
    ),
]
Bridge = Annotated[
    str | None,
    typer.Option(
        "--bridge",
        metavar="NAME",
        envvar="VTE_AGENT_BRIDGE",
        help="The site's Open vSwitch bridge; it is joined to those of other sites.",
    ),
]
Database = Annotated[
    str, typer.Option("--ovsdb", envvar="VTE_AGENT_OVSDB", help="Where Open vSwitch's database is.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


def main() -> None:
    """Run the command line; what is known to go wrong is one line and exit code 1."""
    try:
        app()
    except KNOWN_ERRORS as error:
        typer.echo(f"vte-agent: {error}", err=True)
        raise SystemExit(1) from error


@app.command("enroll")
def enroll_command(
    name: Annotated[str, typer.Option("--name", help="What this site is called; the token may demand one.")],
    state: State = STATE,
) -> None:
    """Have this node let in, with a token that is read from standard input."""
    checked = _checked_name(name)
    with alone(state):
        keeping = Keeping(state)
        if (there := members.load(keeping)) is not None:
            who = there.open()
            raise NotEnrolled(
                f"this node is a member already: {who.name}, {who.serial}; to have it join anew, remove {state}"
            )
        text = getpass.getpass("Token: ") if sys.stdin.isatty() else sys.stdin.readline()
        membership = asyncio.run(enroll(Token.read(text), checked, keeping))
    own = membership.open()
    typer.echo(f"{own.name} is member {own.serial}; start it: vte-agent run --uplink NAME=DEVICE")


@app.command("run")
def run_command(
    uplink: UplinkWords,
    state: State = STATE,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Leave tunnels and routes as they are on the way out, for the next start."),
    ] = False,
    bridge: Bridge = None,
    ovsdb: Database = DATABASE,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run the agent until it is told to stop (SIGTERM, Ctrl-C)."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s level=%(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)
    take_descriptors()
    uplinks, place = Uplinks(_uplinks(uplink)), _place(bridge, ovsdb)
    with alone(state):
        keeping, membership = _membership(state)
        _check_rights()
        with alone_here():
            agent = Agent(keeping, load_or_make(keeping), membership, uplinks, transports(state), place=place)
            asyncio.run(_until_told(agent, state, keep=keep))


async def _until_told(agent: Agent, state: Path, *, keep: bool) -> None:
    running = asyncio.ensure_future(agent.run(keep=keep))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)

    def status() -> str:
        return agent.status.model_dump_json() if agent.status is not None else "null"

    async with telling(state, status):
        with contextlib.suppress(asyncio.CancelledError):
            await running


@app.command("status")
def status_command(state: State = STATE, as_json: AsJson = False) -> None:
    """Show tunnels and routes of the running agent."""
    text = ask_status(state)
    if as_json:
        typer.echo(text)
        return
    if text == "null":
        typer.echo("the agent has just started")
        return
    has = Has.model_validate_json(text)
    console = Console()
    console.print(_tunnels(has.tunnels) if has.tunnels else "there is no tunnel")
    console.print(_routes(has) if has.routes else "there is no route into tunnels")
    for problem in has.problems:
        console.print(f"problem: {problem}", markup=False, highlight=False, soft_wrap=True)


@app.command("doctor")
def doctor_command(
    uplink: Annotated[
        list[str] | None, typer.Option("--uplink", metavar="NAME=DEVICE", envvar="VTE_AGENT_UPLINKS")
    ] = None,
    bridge: Bridge = None,
    ovsdb: Database = DATABASE,
    state: State = STATE,
    as_json: AsJson = False,
) -> None:
    """Say what is missing on this node, and the remedy. The exit code is 1 where something is."""
    uplinks = Uplinks(_uplinks(uplink)) if uplink else None
    controllers: Sequence[str] = ()
    with contextlib.suppress(CannotKeep):
        membership = members.load(Keeping(state, looking=True)) if state.is_dir() else None
        controllers = membership.controllers if membership is not None else ()
    findings = list(examine(state, uplinks, transports(), controllers, _place(bridge, ovsdb)))
    if as_json:
        typer.echo(json.dumps([asdict(finding) | {"is_well": finding.is_well} for finding in findings]))
    else:
        Console().print(_findings(findings))
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(1)


@app.command("plan")
def plan_command(
    uplink: UplinkWords,
    state: State = STATE,
    bridge: Bridge = None,
    ovsdb: Database = DATABASE,
    as_json: AsJson = False,
) -> None:
    """Show what an agent would change here by what it was told last; nothing is changed."""
    keeping, membership = _membership(state, looking=True)
    believer, identity = Believer(membership, keeping), load_or_make(keeping)
    own, place = believer.own, _place(bridge, ovsdb)
    made = look(
        *(believer.judge(), own, Uplinks(_uplinks(uplink)), transports(), place),
        lambda peer, tunnel: identity.pair_secret(own, peer, tunnel),
    )
    if as_json:
        changes = [asdict(change) for change in made.changes]
        typer.echo(json.dumps({"generation": made.generation, "changes": changes, "problems": made.problems}))
        return
    console = Console()
    if made.is_done:
        console.print(f"Generation {made.generation}: nothing would change", highlight=False)
    if made.todo or made.waiting:
        console.print(_changes(made))
    for problem in made.problems:
        console.print(f"problem: {problem}", markup=False, highlight=False, soft_wrap=True)


@app.command("clean")
def clean_command(state: State = STATE, ovsdb: Database = DATABASE) -> None:
    """Take away what an agent has left: tunnels, routes, rules, what was kept from leaving. None may run."""
    _check_rights()
    with alone(state) if state.is_dir() else contextlib.nullcontext(), alone_here():
        gone, problems = clean(transports(state if state.is_dir() else None), ovsdb)
        if state.is_dir():
            Keeping(state).remove(GUARDED_FILE)
    typer.echo(f"taken away: {', '.join(gone) or 'nothing was left'}")
    for problem in problems:
        typer.echo(f"vte-agent: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


@app.command("unit")
def unit_command() -> None:
    """Print a systemd unit for the agent, to be put into /etc/systemd/system."""
    text = (files("vte_agent") / "systemd" / "vte-agent.service").read_text()
    typer.echo(text.replace("/usr/bin/vte-agent", f"{Path(sys.argv[0]).resolve()}"), nl=False)


def _check_rights() -> None:
    found = rights()
    if not found.is_well:
        raise NotAllowed(f"this user {found.found}: {found.what_to_do}")


def _membership(state: Path, *, looking: bool = False) -> tuple[Keeping, Membership]:
    missing = looking and not state.is_dir()
    keeping = None if missing else Keeping(state, looking=looking)
    membership = members.load(keeping) if keeping is not None else None
    if keeping is None or membership is None:
        raise NotEnrolled(f"{state} holds no membership; run vte-agent enroll first")
    return keeping, membership


def _place(bridge: str | None, database: str) -> Place | None:
    return Place(_checked_name(bridge), database) if bridge else None


def _uplinks(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, device = word.partition("=")
        if not equals:
            raise typer.BadParameter(f"{word!r} is no uplink: give NAME=DEVICE, as wan=eth0")
        if name in found:
            raise typer.BadParameter(f"uplink {name} is named twice: {name}={found[name]} and {word}")
        found[name] = device
    try:
        return dict(read_uplinks(found))
    except BadUplink as error:
        raise typer.BadParameter(str(error)) from None


def _checked_name(name: str) -> Name:
    try:
        return TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise typer.BadParameter("a name has letters, digits, '.', '_' and '-', at most 63") from None


def _tunnels(tunnels: Sequence[TunnelReport]) -> Table:
    table = Table(
        "tunnel", "state", "round trip", "jitter out", "in", "lost out", "in", "MTU", "handshake", title="Tunnels"
    )
    # Of several between two sites the ends of their names differ.
    table.columns[0].overflow = "fold"
    for one in tunnels:
        quality = one.quality
        table.add_row(
            one.name,
            f"{one.state.value}{f': {one.why}' if one.why else ''}",
            _said(quality.rtt_ms, "{:.1f} ms"),
            _said(quality.jitter_out_ms, "{:.1f} ms"),
            _said(quality.jitter_in_ms, "{:.1f} ms"),
            _said(quality.loss_out, "{:.1%}"),
            _said(quality.loss_in, "{:.1%}"),
            _said(one.mtu, "{}"),
            _said(one.handshake_age_s, "{:.0f} s ago"),
        )
    return table


def _routes(has: Has) -> Table:
    table = Table("prefix", "class", "tunnel", "why", title="Routes")
    for route in has.routes:
        for prefix in route.prefixes:
            table.add_row(str(prefix), route.class_name or "", route.tunnel or "none", route.why)
    return table


def _changes(made: Plan) -> Table:
    title = "what would change" if made.todo else "what waits"
    table = Table("", "what", "which", "of", "how", title=f"Generation {made.generation}: {title}")
    for one in (*made.todo, *made.waiting):
        table.add_row(one.do.value, one.kind, one.name, one.of, one.why)
    return table


def _findings(findings: Sequence[Finding]) -> Table:
    table = Table("", "what", "found", "what to do")
    # Remedies are there to be typed, so none is cut short.
    for column in table.columns:
        column.overflow = "fold"
    for one in findings:
        table.add_row("" if one.is_well else "!", one.what, one.found, one.what_to_do)
    return table


def _said(value: Any, form: str) -> str:
    return "" if value is None else form.format(value)
