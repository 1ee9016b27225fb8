"""The commands of `lockstitch` about who may do what, what was done, and what happens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.table import Table

from ryu_apps.rest import sse
from ryu_apps.rest.client import CallFailed, call, connected, content_of, items
from ryu_apps.rest.commands import LOCAL, AsJson, State, Url
from ryu_apps.rest.completing import one_of
from ryu_apps.rest.output import show
from ryu_apps.shown import UNKNOWN, table
from stitching.terms import PRIORITY

commands = typer.Typer()
token = typer.Typer(no_args_is_help=True, help="Tokens: create, list, revoke.")
commands.add_typer(token, name="token")

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}
_STREAM_TIMEOUT_S = 60.0


@token.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Whom or what it is for.")],
    state: State,
    role: Annotated[
        str, typer.Option(help="viewer, operator or admin.", autocompletion=one_of("viewer", "operator", "admin"))
    ] = "viewer",
    vnet: Annotated[
        list[str] | None, typer.Option("--vnet", help="Confine it to this virtual network; may be repeated.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="30d", help="How long it opens anything: 45m, 12h, 30d.")
    ] = None,
    max_priority: Annotated[
        int | None,
        typer.Option(
            "--max-priority",
            help="The greatest priority of stitches it may ask for; 3 unless given. More may displace others.",
            min=0,
            max=7,
        ),
    ] = None,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it, this once."""
    body: dict[str, Any] = {"name": name, "role": role}
    if max_priority is not None:
        body["max_priority"] = max_priority
    if vnet:
        body["scope"] = vnet
    if expires is not None:
        body["expires"] = (datetime.now(UTC) + _span(expires)).isoformat()
    answer = call(url, state, "POST", "/tokens", body=body)
    if as_json:
        show(answer, as_json)
    else:
        typer.echo(
            f"token {answer['id']} for {answer['name']}, {_words(answer)}. It is not shown again:", err=True
        )
        typer.echo(answer["token"])


@token.command("list")
def list_tokens(state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show the tokens that were made, without their secrets."""
    answer = items(url, state, "/tokens")
    columns = ("id", "name", "role", "confined to", "priority", "created", "expires", "used")
    show(answer, as_json, table("Tokens", *columns, rows=(
        (
            one["id"],
            one["name"],
            one["role"],
            ", ".join(one["scope"]) if one["scope"] is not None else "",
            "" if one["role"] == "viewer" else f"up to {one['max_priority']}",
            *((_time(one[key]) if one[key] else UNKNOWN) for key in ("created", "expires", "used")),
        )
        for one in answer
    )))  # fmt: skip


@token.command("revoke")
def revoke_token(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The part of the token before its dot.")],
    state: State,
    url: Url = LOCAL,
) -> None:
    """Forget a token: from now on it opens nothing."""
    if not re.fullmatch(r"[0-9a-f]{8}", token_id):
        raise typer.BadParameter("an id has 8 hex digits; `lockstitch token list` shows them", param_hint="ID")
    call(url, state, "DELETE", f"/tokens/{token_id}")
    typer.echo(f"token {token_id} is revoked")


@commands.command()
def audit(
    state: State,
    who: Annotated[str | None, typer.Option(help="Only what this token did, by name or id.")] = None,
    resource: Annotated[str | None, typer.Option(help="Only what is at or below this path: /v1/vnets.")] = None,
    since: Annotated[str | None, typer.Option(metavar="1d", help="Only of so long: 45m, 12h, 30d.")] = None,
    denied: Annotated[bool, typer.Option("--denied", help="Only attempts that were denied.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most records, the newest.")] = 50,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Show who changed what, the newest first; --json has what was there before and after."""
    query: dict[str, str | float] = {"limit": limit}
    for key, value in (("who", who), ("resource", resource), ("denied", "true" if denied else None)):
        if value is not None:
            query[key] = value
    if since is not None:
        query["since"] = (datetime.now(UTC) - _span(since)).isoformat()
    answer = call(url, state, "GET", "/audit", query=query)
    show(answer, as_json, _audit_table(answer))


@commands.command()
def events(
    state: State,
    since: Annotated[str | None, typer.Option("--since", metavar="ID", help="Go on after this event.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Follow what happens: stitches, links, hosts, switches, alarms. --json gives one object a line."""
    left = count
    for event in _followed(url, state, since):
        if as_json:
            typer.echo(json.dumps({"id": event.id, "event": event.kind, "data": event.data}))
        else:
            typer.echo(_event_line(event))
        if event.kind == "cut":
            raise CallFailed(f"the controller ended the stream: {event.data.get('detail')}; start this again")
        if left is not None:
            left -= 1
            if left == 0:
                return


def _followed(url: str, state: Any, since: str | None) -> Iterator[sse.Event]:
    headers = {"Last-Event-ID": since} if since is not None else {}
    with (
        connected(url, state, _STREAM_TIMEOUT_S) as client,
        client.stream("GET", "/v1/events", headers=headers) as answer,
    ):
        if not answer.is_success:
            answer.read()
            content_of(answer, url)
        yield from sse.events(answer.iter_lines())
    raise CallFailed(f"the controller at {url} closed the stream; start this again")


def _event_line(event: sse.Event) -> str:
    data = dict(event.data)
    time = _time(data.pop("time", None))
    for end in ("source", "destination"):
        if isinstance(data.get(end), dict):
            data[end] = data[end].get("name")
    words = " ".join(f"{key}={value}" for key, value in data.items() if value is not None)
    return f"{time}  {event.kind}  {words}"


def _audit_table(answer: list[Any]) -> Table:
    return table("Audit", "time", "who", "role", "method", "resource", "outcome", "status", rows=(
        (
            _time(one["time"]),
            one["who"],
            one["role"] or "",
            one["method"],
            one["resource"],
            one["outcome"],
            UNKNOWN if one["status"] is None else str(one["status"]),
        )
        for one in answer
    ))  # fmt: skip


def _words(answer: dict[str, Any]) -> str:
    scope = answer["scope"]
    where = f" of {', '.join(scope)} only" if scope is not None else ""
    until = f", until {_time(answer['expires'])}" if answer["expires"] else ""
    granted = answer["role"] == "operator" and answer["max_priority"] != PRIORITY
    most = f", priority up to {answer['max_priority']}" if granted else ""
    return f"{answer['role']}{where}{most}{until}"


def _time(text: str | None) -> str:
    return text[:19].replace("T", " ") + "Z" if text else UNKNOWN


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no span of time; write 45m, 12h or 30d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
