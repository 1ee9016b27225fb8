"""The commands of `lockstitch` that ask a running controller."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer
from rich.console import Console

from ryu_apps.rest import tables
from ryu_apps.rest.client import CallFailed, call

WAIT_S = 30.0
"""How long `stitch create --wait` waits; the most that the API allows."""


def default_state() -> Path:
    """Where a controller keeps its state unless told otherwise (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state") / "lockstitch"


commands = typer.Typer()
vnets = typer.Typer(no_args_is_help=True, help="Virtual networks: list, put, delete.")
stitch = typer.Typer(no_args_is_help=True, help="Stitches: create, check, list, show, delete.")
links = typer.Typer(no_args_is_help=True, help="Links: list, capacity.")
commands.add_typer(links, name="links")
commands.add_typer(vnets, name="vnets")
commands.add_typer(stitch, name="stitch")

Url = Annotated[str, typer.Option("--url", envvar="LOCKSTITCH_URL", help="Where the controller serves REST.")]
State = Annotated[
    Path,
    typer.Option(
        "--state",
        envvar="LOCKSTITCH_STATE",
        default_factory=default_state,
        show_default="~/.local/state/lockstitch",
        help="The controller's state directory, which holds its token.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as it came.")]
Bandwidth = Annotated[float, typer.Option("--bandwidth", help="Mbit/s each way.")]
MaxLatency = Annotated[float | None, typer.Option("--max-latency", help="Milliseconds one way.")]
End = Annotated[str, typer.Argument(help="Host name, IP address or MAC.")]

Guard = Literal["strict", "declared", "mac", "off"]

LOCAL = "http://127.0.0.1:8080"


@commands.command()
def topology(state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show switches, links and hosts."""
    answer = call(url, state, "GET", "/topology")
    show(answer, as_json, *tables.topology(answer))


@commands.command()
def hosts(state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show the hosts and where they are."""
    answer = call(url, state, "GET", "/hosts")
    show(answer, as_json, tables.hosts(answer))


@commands.command()
def health(state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show how the controller is doing."""
    answer = call(url, state, "GET", "/health")
    show(answer, as_json, tables.health(answer))


@links.command("list")
def list_links(state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show the links: latency, capacity, load."""
    answer = call(url, state, "GET", "/topology")["links"]
    show(answer, as_json, tables.links(answer))


@links.command("capacity")
def set_capacities(
    capacity: Annotated[
        list[str],
        typer.Argument(metavar="DPID:PORT=MBPS...", help="A link by its source port, and what it carries."),
    ],
    state: State,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Say what links carry where the port speed does not: 0000000000000001:2=10. Each way is a link of its own."""
    body = [_capacity(text) for text in capacity]
    answer = call(url, state, "PUT", "/links/capacities", body=body)
    if as_json:
        show(answer, as_json)
    else:
        waiting = answer["ports"] - answer["links"]
        typer.echo(
            f"links that have their capacity: {answer['links']}"
            + (f"; ports that will, when a link is found on them: {waiting}" if waiting else "")
        )


@vnets.command("list")
def list_vnets(state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show the virtual networks."""
    answer = call(url, state, "GET", "/vnets")
    show(answer, as_json, tables.vnets(answer))


@vnets.command("put")
def put_vnet(
    name: Annotated[str, typer.Argument(help="Lower case letters, digits and dashes.")],
    state: State,
    url: Url = LOCAL,
    host: Annotated[list[str] | None, typer.Option("--host", help="NAME=MAC of a host; may be repeated.")] = None,
    subnet: Annotated[list[str] | None, typer.Option("--subnet", help="CIDR; may be repeated.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="NAME=LABEL of a host; may be repeated.")
    ] = None,
    ip: Annotated[
        list[str] | None, typer.Option("--ip", help="NAME=ADDRESS: the only ones a host may use; may be repeated.")
    ] = None,
    at: Annotated[
        list[str] | None, typer.Option("--at", help="NAME=DPID:PORT: the only port a host may be on.")
    ] = None,
    guard: Annotated[Guard, typer.Option("--spoof-guard", help="What hosts are held to.")] = "declared",
    as_json: AsJson = False,
) -> None:
    """Make a virtual network, or make it be these hosts and subnets and no others."""
    hosts = [_member(text) for text in host or ()]
    for field, texts in (("labels", label), ("ips", ip), ("port", at)):
        _declare(hosts, field, texts or ())
    body = {"hosts": hosts, "subnets": subnet or [], "spoof_guard": guard}
    answer = call(url, state, "PUT", f"/vnets/{quote(name, safe='')}", body=body)
    show(answer, as_json, tables.vnets([answer]))


@vnets.command("delete")
def delete_vnet(name: str, state: State, url: Url = LOCAL) -> None:
    """Forget a virtual network; its hosts fall back to the default one."""
    call(url, state, "DELETE", f"/vnets/{quote(name, safe='')}")
    typer.echo(f"virtual network {name} is gone")


@stitch.command("create")
def create_stitch(
    source: End,
    destination: End,
    bandwidth: Bandwidth,
    state: State,
    max_latency: MaxLatency = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is up, or has failed.")] = False,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Join two hosts by a path of their own. With --wait, exit code 1 where it did not come up."""
    body = _wanted(source, destination, bandwidth, max_latency)
    query = {"wait_s": WAIT_S} if wait else None
    answer = call(url, state, "POST", "/stitches", body=body, query=query, timeout_s=WAIT_S + 10.0)
    show(answer, as_json, tables.stitch(answer))
    if wait and answer["state"] != "up":
        raise CallFailed(
            f"stitch {answer['id']} is {answer['state']}: {answer['reason'] or 'no reason was given'}"
        )


@stitch.command("check")
def check_stitch(
    source: End,
    destination: End,
    bandwidth: Bandwidth,
    state: State,
    max_latency: MaxLatency = None,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Say whether a stitch could be had, and on which path; exit code 1 where it could not."""
    answer = call(url, state, "POST", "/stitches/check", body=_wanted(source, destination, bandwidth, max_latency))
    if as_json:
        show(answer, as_json)
    elif answer["possible"]:
        latency_ms = answer["latency_ms"]
        known = "latency unknown" if latency_ms is None else f"{latency_ms:.4g} ms"
        typer.echo(f"possible, {known}: {tables.path(answer['path'])}")
    else:
        typer.echo(f"not possible: {answer['field']}: {answer['reason']}; {answer['remedy']}")
    if not answer["possible"]:
        raise typer.Exit(1)


@stitch.command("list")
def list_stitches(
    state: State,
    url: Url = LOCAL,
    only: Annotated[str | None, typer.Option("--only", help="Only those in this state, such as up.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show all stitches."""
    answer = call(url, state, "GET", "/stitches", query={"state": only} if only else None)
    show(answer, as_json, tables.stitches(answer))


@stitch.command("show")
def show_stitch(stitch_id: int, state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show all that is known of a stitch."""
    answer = call(url, state, "GET", f"/stitches/{stitch_id}")
    show(answer, as_json, tables.stitch(answer))


@stitch.command("delete")
def delete_stitch(stitch_id: int, state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Take a stitch away."""
    answer = call(url, state, "DELETE", f"/stitches/{stitch_id}")
    if as_json:
        show(answer, as_json)
    else:
        typer.echo(f"stitch {stitch_id} is {answer['state']}")


def show(answer: Any, as_json: bool, *shown: Any) -> None:
    """Print an answer as it came, or what is made of it for people."""
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    console = Console()
    for table in shown:
        console.print(table, soft_wrap=isinstance(table, str), markup=False, highlight=False)


def _declare(hosts: list[dict[str, Any]], field: str, texts: Iterable[str]) -> None:
    """Add to the hosts what options say of them by name."""
    option = {"labels": "--label", "ips": "--ip", "port": "--at"}[field]
    for text in texts:
        name, separator, value = text.partition("=")
        found = next((host for host in hosts if host["name"] == name), None)
        if not separator or found is None:
            raise typer.BadParameter(f"{text!r} is not NAME=..., of a host named by --host", param_hint=option)
        if field == "port":
            found[field] = value
        else:
            found.setdefault(field, []).append(value)


def _member(text: str) -> dict[str, Any]:
    name, separator, mac = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{text!r} is not NAME=MAC, such as h1=02:00:00:00:00:01", param_hint="--host")
    return {"name": name, "mac": mac}


def _capacity(text: str) -> dict[str, object]:
    port, separator, mbps = text.rpartition("=")
    dpid, colon, port_no = port.partition(":")
    try:
        if not (separator and colon):
            raise ValueError
        carries_mbps = float(mbps)
        if not math.isfinite(carries_mbps):
            raise ValueError
        return {"dpid": f"{int(dpid, 16):016x}", "port": int(port_no), "capacity_mbps": carries_mbps}
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not DPID:PORT=MBPS, such as 0000000000000001:2=10", param_hint="DPID:PORT=MBPS"
        ) from None


def _wanted(source: str, destination: str, bandwidth: float, max_latency: float | None) -> dict[str, object]:
    if not (bandwidth > 0 and bandwidth != float("inf")):
        raise typer.BadParameter("give a number above 0", param_hint="--bandwidth")
    wanted: dict[str, object] = {"source": source, "destination": destination, "bandwidth_mbps": bandwidth}
    if max_latency is not None:
        if not (max_latency > 0 and max_latency != float("inf")):
            raise typer.BadParameter("give a number above 0", param_hint="--max-latency")
        wanted["max_latency_ms"] = max_latency
    return wanted
