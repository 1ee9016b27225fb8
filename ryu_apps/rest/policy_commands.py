"""`lockstitch policy` and `lockstitch explain`: who may talk to whom, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ryu_apps.policy_text import BadText, read_text
from ryu_apps.rest import policy_tables, tables
from ryu_apps.rest.client import CallFailed, call
from ryu_apps.rest.commands import LOCAL, AsJson, State, Url
from ryu_apps.rest.output import show

commands = typer.Typer()
policy = typer.Typer(no_args_is_help=True, help="Policy: show, check, apply, versions.")
commands.add_typer(policy, name="policy")

End = Annotated[str, typer.Argument(help="Host name, IP address or MAC.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="YAML or JSON.")]

TIMEOUT_S = 60.0

_WITH_PORTS = frozenset(("tcp", "udp", "sctp", "6", "17", "132"))


@policy.command("show")
def show_policy(
    state: State,
    url: Url = LOCAL,
    version: Annotated[int | None, typer.Option("--version", min=1, help="One that held before.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the policy: its rules in order."""
    answer = call(url, state, "GET", "/policy", query={"version": version} if version else None)
    show(answer, as_json, *policy_tables.policy(answer))


@policy.command("versions")
def list_versions(state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show the versions of the policy."""
    answer = call(url, state, "GET", "/policy/versions")
    show(answer, as_json, policy_tables.versions(answer))


@policy.command("check")
def check_policy(file: File, state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Say whether a policy would be accepted, and what it would change; exit code 1 where it would not."""
    _put(file, state, url, as_json, dry_run=True)


@policy.command("apply")
def apply_policy(
    file: File,
    state: State,
    url: Url = LOCAL,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a file the policy; exit code 1 where it has a fault, or fails a case of its own."""
    _put(file, state, url, as_json, dry_run=dry_run)


def _put(file: Path, state: Path, url: str, as_json: bool, *, dry_run: bool) -> None:
    query = {"dry_run": "true"} if dry_run else None
    answer = call(url, state, "PUT", "/policy", body=_read(file), query=query, timeout_s=TIMEOUT_S)
    show(answer, as_json, *policy_tables.outcome(answer))


def _read(file: Path) -> object:
    try:
        return read_text(file.read_bytes())
    except (BadText, OSError) as error:
        raise CallFailed(f"{file}: {error}") from error


@commands.command()
def explain(
    source: End,
    destination: End,
    state: State,
    proto: Annotated[str, typer.Option("--proto", help="tcp, udp, sctp, icmp, icmpv6, a number, or any.")] = "any",
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="The port that is called.")] = None,
    src_port: Annotated[int | None, typer.Option("--src-port", min=1, max=65535, help="The caller's.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="When, such as 2026-03-01T08:00:00Z; else now.")] = None,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Say whether a packet arrives, by which rule, and on which way; exit code 1 where it does not.

    Ends behind two sites are answered for by the sites, with the tunnels.
    """
    if (port, src_port) != (None, None) and proto.lower() not in _WITH_PORTS:
        raise typer.BadParameter("only tcp, udp and sctp have ports", param_hint="--port")
    query: dict[str, Any] = {"src": source, "dst": destination, "proto": proto}
    query |= {
        name: value for name, value in (("port", port), ("src_port", src_port), ("at", at)) if value is not None
    }
    answer = call(url, state, "GET", "/explain", query=query)
    if as_json:
        show(answer, as_json)
    else:
        typer.echo(answer["words"])
        if answer["path"]:
            typer.echo(f"path: {tables.path(answer['path'])}")
    if not answer["arrives"]:
        raise typer.Exit(1)
