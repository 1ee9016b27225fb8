"""`lockstitch overlay class`: which packets are of which application class, and what the class wants."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from ryu_apps.rest import overlay_tables as tables
from ryu_apps.rest.client import call, items
from ryu_apps.rest.commands import LOCAL, AsJson, State, Url
from ryu_apps.rest.output import show

commands = typer.Typer(no_args_is_help=True, help="Application classes: list, put, delete.")

_FIELDS = {"from": "source", "to": "destination", "proto": "protocol", "ports": "ports", "dscp": "dscp"}
_WEIGHTS = ("latency", "loss", "bandwidth", "price", "relay_load")

Name = Annotated[str, typer.Argument(help="Lower case letters, digits and dashes.")]


@commands.command("list")
def list_classes(state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show the classes, in the order in which packets are held against them."""
    answer = items(url, state, "/overlay/classes")
    show(answer, as_json, tables.classes(answer))


@commands.command("put")
def put_class(
    name: Name,
    state: State,
    match: Annotated[
        list[str],
        typer.Option(
            "--match", help="Packets: from=CIDR,to=CIDR,proto=udp,ports=5060-5061,dscp=46; may be repeated."
        ),
    ],
    order: Annotated[int, typer.Option("--order", help="Of several classes the lowest has a packet.")] = 100,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight", help=f"PART=NUMBER: how much counts {', '.join(_WEIGHTS)}; what is not named does not."
        ),
    ] = None,
    max_rtt_ms: Annotated[float | None, typer.Option(help="A longer way is taken only where all are.")] = None,
    max_loss: Annotated[float | None, typer.Option(help="The same of loss: a share, such as 0.01.")] = None,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Define a class, or define it anew. Without --weight all parts count as for packets of no class."""
    wants: dict[str, Any] = {"max_rtt_ms": max_rtt_ms, "max_loss": max_loss}
    if weight:
        wants["weights"] = {**dict.fromkeys(_WEIGHTS, 0.0), **dict(_weight(text) for text in weight)}
    body = {"order": order, "matches": [_match(text) for text in match], "wants": wants}
    answer = call(url, state, "PUT", _path(name), body=body)
    show(answer, as_json, tables.classes([answer]))


@commands.command("delete")
def delete_class(name: Name, state: State, url: Url = LOCAL) -> None:
    """Forget a class; its packets are of the next one that matches, or of none."""
    call(url, state, "DELETE", _path(name))
    typer.echo(f"class {name} is gone")


def _path(name: str) -> str:
    return f"/overlay/classes/{quote(name, safe='')}"


def _match(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in text.split(","):
        key, _, value = part.strip().partition("=")
        if key not in _FIELDS or not value:
            raise typer.BadParameter(f"{part!r}: write {', '.join(f'{one}=...' for one in _FIELDS)}")
        if key == "dscp":
            if not value.isdecimal():
                raise typer.BadParameter(f"{part!r}: a DSCP is a number from 0 to 63")
            found[_FIELDS[key]] = int(value)
        else:
            found[_FIELDS[key]] = value
    return found


def _weight(text: str) -> tuple[str, float]:
    part, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if part not in _WEIGHTS or number < 0:
        raise typer.BadParameter(
            f"{text!r}: write PART=NUMBER, such as latency=2; PART is one of {', '.join(_WEIGHTS)}, "
            "and the number is 0 or more"
        )
    return part, number
