"""`lockstitch reconcile`: compare switches with what they should have, and put them right."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ryu_apps.rest.client import CallFailed, call
from ryu_apps.rest.commands import LOCAL, AsJson, State, Url
from ryu_apps.shown import table

TIMEOUT_S = 30.0

WOULD_CHANGE = 3
"""The exit code of --dry-run where something differs, as that of `intent plan --detailed-exitcode`."""

commands = typer.Typer()


@commands.command()
def reconcile(
    state: State,
    dpid: Annotated[
        str | None, typer.Argument(help="The switch, up to 16 hex digits; all that are connected, without.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what differs and change nothing.")] = False,
    remove_guests: Annotated[
        bool, typer.Option("--remove-guests", help="Take out the rules of hosted apps (--app) that do not run.")
    ] = False,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Read switches and put right what is not as it should be.

    Exit code 1 where that failed or a switch refused a part of it; 3 where --dry-run finds a difference.
    """
    answers = []
    failed = []
    for one in _dpids(dpid, url, state):
        query = {"dry_run": _flag(dry_run), "remove_guests": _flag(remove_guests)}
        try:
            answers.append(
                call(url, state, "POST", f"/switches/{one}/reconcile", query=query, timeout_s=TIMEOUT_S)
            )
        except CallFailed as error:
            if dpid is not None:
                raise
            failed.append(str(error))
    if as_json:
        typer.echo(json.dumps(answers, indent=2))
    else:
        console = Console()
        for shown in _tables(answers):
            console.print(shown)
    for line in failed:
        typer.echo(line, err=True)
    if failed or any(answer["refused"] for answer in answers):
        raise typer.Exit(1)
    if any(_would_change(answer, remove_guests) for answer in answers):
        raise typer.Exit(WOULD_CHANGE)


def _dpids(dpid: str | None, url: str, state: Any) -> list[str]:
    if dpid is None:
        switches = call(url, state, "GET", "/topology")["switches"]
        return [switch["dpid"] for switch in switches if switch["connected"]]
    try:
        number = int(dpid, 16)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise typer.BadParameter(f"{dpid!r} is not a dpid, such as 0000000000000001", param_hint="DPID")
    return [f"{number:016x}"]


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _would_change(answer: Any, remove_guests: bool) -> bool:
    differs = any(answer[how]["count"] for how in ("missing", "wrong", "excess"))
    return bool(answer["dry_run"]) and (differs or (remove_guests and bool(answer["abandoned"])))


def _tables(answers: list[Any]) -> list[Table]:
    columns = ("dpid", "right", "missing", "wrong", "excess", "refused", "others' rules, groups, meters")
    title = "Would be put right" if any(answer["dry_run"] for answer in answers) else "Put right"
    shown = [table(title, *columns, rows=(
        (
            answer["dpid"],
            answer["right"],
            *(answer[how]["count"] for how in ("missing", "wrong", "excess")),
            len(answer["refused"]),
            ", ".join(str(answer["others"][kind]) for kind in ("rules", "groups", "meters")),
        )
        for answer in answers
    ))]  # fmt: skip
    entries = [
        (answer["dpid"], how, f"{entry['kind']} {entry['where']}", entry["match"], entry["does"])
        for answer in answers
        for how in ("missing", "wrong", "excess")
        for entry in answer[how]["entries"]
    ]
    if entries:
        shown.append(table("Entries", "dpid", "was", "entry", "match", "does", rows=entries))
    left = [
        (answer["dpid"], one["tables"], one["owner"], one["rules"], one["removed"])
        for answer in answers
        for one in answer["abandoned"]
    ]
    if left:
        title = "Of hosted apps that do not run"
        shown.append(table(title, "dpid", "tables", "owner", "rules", "removed", rows=left))
    refused = [(answer["dpid"], what) for answer in answers for what in answer["refused"]]
    if refused:
        shown.append(table("Refused", "dpid", "entry, and what the switch says", rows=refused))
    return shown
