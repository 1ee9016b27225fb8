"""`lockstitch overlay rule`: which sites have tunnels with each other, and of what kind."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

import typer

from ryu_apps.rest import overlay_tables as tables
from ryu_apps.rest.client import call, items
from ryu_apps.rest.commands import LOCAL, AsJson, State, Url
from ryu_apps.rest.output import show
from stitching.overlay.mesh_rules import Say
from vte_agent.protocol.transport import Transport

commands = typer.Typer(no_args_is_help=True, help="Rules for pairs of sites: list, put, delete.")

ANYBODY = "any"


class ProbeInterval(StrEnum):
    """How often a tunnel is probed, in milliseconds."""

    QUICK = "20"
    USUAL = "50"


Name = Annotated[str, typer.Argument(help="Lower case letters, digits and dashes.")]
_SITES = f"A site by its name, sites by a label (LABEL=VALUE), or {ANYBODY}."


@commands.command("list")
def list_rules(state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show the rules, in the order in which pairs of sites are held against them."""
    answer = items(url, state, "/overlay/rules")
    show(answer, as_json, tables.rules(answer))


@commands.command("put")
def put_rule(
    name: Name,
    one: Annotated[str, typer.Argument(help=_SITES)],
    other: Annotated[str, typer.Argument(help="The same for the other end.")],
    state: State,
    say: Annotated[
        Say, typer.Option("--say", help="Tunnels always, as need be, or never straight between the two.")
    ] = Say.MAY,
    transport: Annotated[
        list[Transport] | None,
        typer.Option("--transport", help="What tunnels are made of; may be repeated, the preferred one first."),
    ] = None,
    probe_ms: Annotated[ProbeInterval, typer.Option("--probe-ms", help="Between probes.")] = ProbeInterval.USUAL,
    probe_times: Annotated[
        int, typer.Option("--probe-times", help="So many lost ones in a row are a dead tunnel.")
    ] = 3,
    mtu: Annotated[
        int | None, typer.Option("--mtu", help="Of packets inside; otherwise found by probing.")
    ] = None,
    order: Annotated[int, typer.Option("--order", help="Of several rules the lowest counts for a pair.")] = 100,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Make a rule for the tunnels between sites, or make it anew."""
    body = {
        "order": order,
        "one": _selector(one),
        "other": _selector(other),
        "say": say.value,
        "transports": [choice.value for choice in transport or ()],
        "probe_interval_ms": int(probe_ms),
        "probe_multiplier": probe_times,
        "mtu": mtu,
    }
    answer = call(url, state, "PUT", _path(name), body=body)
    show(answer, as_json, tables.rules([answer]))


@commands.command("delete")
def delete_rule(name: Name, state: State, url: Url = LOCAL) -> None:
    """Forget a rule; for its pairs the next one that fits counts."""
    call(url, state, "DELETE", _path(name))
    typer.echo(f"rule {name} is gone")


def _path(name: str) -> str:
    return f"/overlay/rules/{quote(name, safe='')}"


def _selector(text: str) -> dict[str, str]:
    if text == ANYBODY:
        return {}
    return {"label" if "=" in text else "name": text}
