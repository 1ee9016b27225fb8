"""The commands of `lockstitch` that ask a running controller."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from ryu_apps.rest import tables
from ryu_apps.rest.client import call, items
from ryu_apps.rest.output import Watch, follow, show


def default_state() -> Path:
    """Where a controller keeps its state unless told otherwise (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state") / "lockstitch"


commands = typer.Typer()
vnets = typer.Typer(no_args_is_help=True, help="Virtual networks: list, put, delete.")
links = typer.Typer(no_args_is_help=True, help="Links: list, capacity, encryption.")
commands.add_typer(links, name="links")
commands.add_typer(vnets, name="vnets")

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

Guard = Literal["strict", "declared", "mac", "off"]

LOCAL = "http://127.0.0.1:8080"


@commands.command()
def topology(state: State, url: Url = LOCAL, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show switches, links and hosts."""
    follow(lambda: call(url, state, "GET", "/topology"), tables.topology, watch=watch, as_json=as_json)


@commands.command()
def hosts(
    state: State,
    url: Url = LOCAL,
    vnet: Annotated[str | None, typer.Option("--vnet", help="Only those of this virtual network.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Only those that have this label; may be repeated.")
    ] = None,
    watch: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Show the hosts and where they are."""
    query: dict[str, Any] = {"vnet": vnet} if vnet else {}
    if label:
        query["label"] = label
    follow(lambda: items(url, state, "/hosts", query), tables.hosts, watch=watch, as_json=as_json)


@commands.command()
def health(state: State, url: Url = LOCAL, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show how the controller is doing."""
    follow(lambda: call(url, state, "GET", "/health"), tables.health, watch=watch, as_json=as_json)


@commands.command()
def reservations(
    state: State,
    url: Url = LOCAL,
    link: Annotated[
        list[str] | None,
        typer.Option(
            "--link", metavar="DPID:PORT", help="Only the link that leaves by this port; may be repeated."
        ),
    ] = None,
    vnet: Annotated[
        list[str] | None, typer.Option("--vnet", help="Only what stitches of this virtual network hold.")
    ] = None,
    stitch: Annotated[list[int] | None, typer.Option("--stitch", help="Only what this stitch holds.")] = None,
    watch: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Show what is promised on each link, to which stitch, and what is left."""
    given = {"link": [_port(text) for text in link or ()], "vnet": vnet, "stitch": stitch}
    query: dict[str, Any] = {name: value for name, value in given.items() if value}
    follow(lambda: items(url, state, "/reservations", query), tables.reservations, watch=watch, as_json=as_json)


@links.command("list")
def list_links(state: State, url: Url = LOCAL, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show the links: latency, capacity, load."""
    follow(lambda: call(url, state, "GET", "/topology")["links"], tables.links, watch=watch, as_json=as_json)


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


@links.command("encryption")
def set_encryption(
    link: Annotated[
        list[str], typer.Argument(metavar="DPID:PORT...", help="A link by a port at one of its ends.")
    ],
    state: State,
    off: Annotated[bool, typer.Option("--off", help="They are not encrypted any more.")] = False,
    one_way: Annotated[bool, typer.Option("--one-way", help="Only the way that leaves by this port.")] = False,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Mark links as encrypted, both ways: stitches and policies that demand encryption use these and no others."""
    ports = dict.fromkeys(_port(text) for text in link)
    if not one_way:
        for one in call(url, state, "GET", "/topology")["links"]:
            if f"{one['src_dpid']}:{one['src_port']}" in ports:
                ports[f"{one['dst_dpid']}:{one['dst_port']}"] = None
    named = (port.split(":") for port in ports)
    body = [{"dpid": dpid, "port": int(number), "encrypted": not off} for dpid, number in named]
    answer = call(url, state, "PUT", "/links/encryption", body=body)
    if as_json:
        show(answer, as_json)
    else:
        waiting = answer["ports"] - answer["links"]
        typer.echo(
            f"{'unmarked' if off else 'marked as encrypted'}: {answer['links']}"
            + (f"; ports that have no link yet: {waiting}" if waiting else "")
        )


@vnets.command("list")
def list_vnets(state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show the virtual networks."""
    answer = items(url, state, "/vnets")
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


def _port(text: str) -> str:
    """DPID:PORT with all digits of the DPID. Raises BadParameter."""
    dpid, _, port_no = text.partition(":")
    try:
        return f"{int(dpid, 16):016x}:{int(port_no)}"
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not DPID:PORT, such as 1:2", param_hint="DPID:PORT") from None


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
