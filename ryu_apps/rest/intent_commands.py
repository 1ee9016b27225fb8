"""`lockstitch intent`: say what is wanted of the network; see what that changes; have it done and kept."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ryu_apps.policy_text import BadText, read_text
from ryu_apps.rest import intent_tables
from ryu_apps.rest.client import CallFailed, call, connected, content_of
from ryu_apps.rest.commands import LOCAL, AsJson, State, Url
from ryu_apps.rest.completing import one_of
from ryu_apps.rest.output import Watch, follow, show

TIMEOUT_S = 30.0
"""How long an answer may take: a plan tries its stitches out."""

WAIT_S = 30.0
"""How long `apply` waits until nothing is pending any more."""

POLL_S = 0.3

CHANGES_EXIT = 3
"""The exit code of `plan --detailed-exitcode` where something would change."""

commands = typer.Typer(no_args_is_help=True, help="Intents: plan, apply, list, show, delete, versions, rollback.")

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Intents in YAML or JSON.")]
Name = Annotated[str, typer.Argument(help="The name of an intent.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Atomic = Annotated[bool, typer.Option("--atomic", help="What cannot be had undoes all of it.")]


@commands.command("plan")
def plan(
    file: File,
    state: State,
    detailed: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 3 where something would change.")
    ] = False,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Show what a document would change. Exit code 1 where intents contradict each other, or cannot be had."""
    answer = call(url, state, "POST", "/intents/plan", body=_read(file), timeout_s=TIMEOUT_S)
    _show_plan(answer, as_json)
    if _refused(answer):
        raise typer.Exit(1)
    if detailed and _changes(answer):
        raise typer.Exit(CHANGES_EXIT)


@commands.command("apply")
def apply(
    file: File, state: State, yes: Yes = False, atomic: Atomic = False, url: Url = LOCAL, as_json: AsJson = False
) -> None:
    """Make a document what is wanted, and wait until it is so. Exit code 1 where a part could not be had."""
    _change(url, state, {"json": _read(file)}, yes=yes, atomic=atomic, as_json=as_json)


@commands.command("rollback")
def rollback(
    version: Annotated[int, typer.Argument(min=1, help="A version of `intent versions`.")],
    state: State,
    yes: Yes = False,
    atomic: Atomic = False,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Make an older version what is wanted."""
    _change(url, state, {"params": {"version": version}}, yes=yes, atomic=atomic, as_json=as_json)


@commands.command("list")
def list_all(
    state: State,
    url: Url = LOCAL,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            help="Only those that are satisfied, pending or violated.",
            autocompletion=one_of("satisfied", "pending", "violated"),
        ),
    ] = None,
    watch: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Show all intents: whether they have what they ask for, why not, and what carries them."""
    query = {"state": only} if only else None
    follow(
        lambda: call(url, state, "GET", "/intents", query=query),
        intent_tables.intents,
        watch=watch,
        as_json=as_json,
    )


@commands.command("show")
def show_one(name: Name, state: State, url: Url = LOCAL, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show all that is known of an intent."""
    follow(lambda: call(url, state, "GET", f"/intents/{name}"), intent_tables.intent, watch=watch, as_json=as_json)


@commands.command("delete")
def delete(name: Name, state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Take out an intent, and with it what only it wanted."""
    answer = call(url, state, "DELETE", f"/intents/{name}", timeout_s=TIMEOUT_S)
    _show_plan(answer, as_json)


@commands.command("versions")
def versions(state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show the versions of the intents, the newest first."""
    answer = call(url, state, "GET", "/intents/versions")
    show(answer, as_json, intent_tables.versions(answer))


def _change(url: str, state: Path, content: dict[str, Any], *, yes: bool, atomic: bool, as_json: bool) -> None:
    """Plan, ask, apply and wait; nobody's change in between is overwritten."""
    with connected(url, state, TIMEOUT_S) as client:
        seen = client.get("/v1/intents")
        content_of(seen, url)
        planned = content_of(client.post("/v1/intents/plan", **content), url)
        if not _changes(planned):
            if not as_json:
                _show_plan(planned, False)
        elif not yes:
            _show_plan(planned, False)
            _ask(as_json)
        params = {**content.get("params", {}), "atomic": atomic}
        headers = {"If-Match": seen.headers["etag"]}
        answer = content_of(client.put("/v1/intents", **{**content, "params": params}, headers=headers), url)
        names = {step["intent"] for step in answer["steps"]} | {note["intent"] for note in answer["notes"]}
        now = _settled(client, url, names)
    if as_json:
        show({**answer, "intents": now["intents"]}, as_json)
    elif _changes(planned):
        if yes:
            _show_plan(answer, False)
        show(now, False, intent_tables.intents(now))
    violated = [one for one in now["intents"] if one["name"] in names and one["state"] == "violated"]
    if _refused(answer) or violated:
        raise typer.Exit(1)


def _settled(client: Any, url: str, names: set[str]) -> Any:
    """The intents once none of these is pending, or WAIT_S have passed."""
    until_s = time.monotonic() + WAIT_S
    while True:
        answer = content_of(client.get("/v1/intents"), url)
        pending = any(one["state"] == "pending" for one in answer["intents"] if one["name"] in names)
        if (answer["settled"] and not pending) or time.monotonic() > until_s:
            return answer
        time.sleep(POLL_S)


def _ask(as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise typer.BadParameter("nobody is here to be asked; give --yes", param_hint="--yes")
    if not typer.confirm("apply this?"):
        raise typer.Exit(1)


def _show_plan(answer: Any, as_json: bool) -> None:
    if as_json:
        show(answer, as_json)
        return
    console = Console()
    for line in intent_tables.plan(answer):
        console.print(line, highlight=False, soft_wrap=True)


def _changes(answer: Any) -> bool:
    return any(answer[count] for count in ("creates", "changes", "deletes"))


def _refused(answer: Any) -> bool:
    return any(step["refused"] for step in answer["steps"])


def _read(file: Path) -> object:
    try:
        return read_text(file.read_bytes())
    except (BadText, OSError) as error:
        raise CallFailed(f"{file}: {error}") from error
