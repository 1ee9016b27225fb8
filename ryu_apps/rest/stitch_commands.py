"""The commands of `lockstitch` about stitches: create, check, list, show, delete; the others are beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ryu_apps.rest import tables
from ryu_apps.rest.change_command import change
from ryu_apps.rest.client import call, items
from ryu_apps.rest.commands import LOCAL, AsJson, State, Url
from ryu_apps.rest.completing import one_of, states
from ryu_apps.rest.kind_commands import bandwidth as bandwidth_command
from ryu_apps.rest.kind_commands import segment as segment_command
from ryu_apps.rest.output import Watch, follow, show
from ryu_apps.rest.stitch_calls import create_and_show
from ryu_apps.rest.stitch_options import (
    Bandwidth,
    Encrypted,
    From,
    Labels,
    MaxLatency,
    MaxLoss,
    Priority,
    Protect,
    Until,
    Wait,
    Weekly,
    above_zero,
    label_of,
    share_of,
    times,
)

commands = typer.Typer(
    no_args_is_help=True, help="Stitches of all kinds: make, check, list, show, change, delete."
)

App = Annotated[
    str | None,
    typer.Option("--app", metavar="PROTO[/PORT][@DSCP]", help="Only this application, such as tcp/443 or udp@46."),
]
End = Annotated[str, typer.Argument(help="Host name, IP address or MAC.")]

_APPLICATION = re.compile(r"(?P<protocol>[a-z0-9]+)?(/(?P<port>\d+))?(@(?P<dscp>\d+))?")


@dataclass(frozen=True)
class Wanted:
    """What a stitch is to be, as options say it."""

    bandwidth: float
    max_latency: float | None
    max_loss: float | None
    protect: str
    app: str | None
    labels: list[str]
    priority: int = 3
    valid: tuple[str | None, str | None, str | None] = (None, None, None)
    predictive: float | None = None
    encrypted: bool = False

    def body(self, source: str, destination: str) -> dict[str, Any]:
        """The same as the API takes it. Raises BadParameter naming the option."""
        body: dict[str, Any] = {
            "source": source,
            "destination": destination,
            "bandwidth_mbps": above_zero(self.bandwidth, "--bandwidth"),
            "protection": self.protect,
            "priority": self.priority,
            "encrypted": self.encrypted,
            **times(*self.valid),
        }
        if self.predictive is not None:
            body |= {"mode": "predictive", "threshold_mbps": above_zero(self.predictive, "--predictive")}
        if self.max_latency is not None:
            body["max_latency_ms"] = above_zero(self.max_latency, "--max-latency")
        if self.max_loss is not None:
            body["max_loss"] = share_of(self.max_loss)
        if self.app is not None:
            body["application"] = _application(self.app)
        if self.labels:
            body["labels"] = dict(label_of(text) for text in self.labels)
        return body


@commands.command("create")
def create(
    source: End,
    destination: End,
    bandwidth: Bandwidth,
    state: State,
    max_latency: MaxLatency = None,
    max_loss: MaxLoss = None,
    protect: Protect = "none",
    app: App = None,
    label: Labels = None,
    priority: Priority = 3,
    valid_from: From = None,
    until: Until = None,
    weekly: Weekly = None,
    predictive: Annotated[
        float | None,
        typer.Option("--predictive", metavar="MBPS", help="Make it only while more than that is forecast."),
    ] = None,
    encrypted: Encrypted = False,
    wait: Wait = False,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Join two hosts by a path of their own. With --wait, exit code 1 where it did not come up."""
    valid = (valid_from, until, weekly)
    wanted = Wanted(
        bandwidth, max_latency, max_loss, protect, app, label or [], priority, valid, predictive, encrypted
    )
    create_and_show(url, state, wanted.body(source, destination), wait=wait, as_json=as_json)


@commands.command("check")
def check(
    source: End,
    destination: End,
    bandwidth: Bandwidth,
    state: State,
    max_latency: MaxLatency = None,
    max_loss: MaxLoss = None,
    protect: Protect = "none",
    app: App = None,
    priority: Priority = 3,
    encrypted: Encrypted = False,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Say whether a stitch could be had, on which path, and who makes room; exit code 1 where it could not."""
    wanted = Wanted(bandwidth, max_latency, max_loss, protect, app, [], priority, encrypted=encrypted)
    answer = call(url, state, "POST", "/stitches/check", body=wanted.body(source, destination))
    if as_json:
        show(answer, as_json)
    elif answer["possible"]:
        latency_ms = answer["latency_ms"]
        known = "latency unknown" if latency_ms is None else f"{latency_ms:.4g} ms"
        typer.echo(f"possible, {known}: {tables.path(answer['path'])}")
        if answer["backup"]:
            typer.echo(f"backup: {tables.path(answer['backup'])}")
        if answer["displaces"]:
            typer.echo(f"stitches that would make room: {', '.join(map(str, answer['displaces']))}")
    else:
        typer.echo(f"not possible: {answer['field']}: {answer['reason']}; {answer['remedy']}")
    if not answer["possible"]:
        raise typer.Exit(1)


@commands.command("list")
def list_all(
    state: State,
    url: Url = LOCAL,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="STATE",
            help="Only those in this state, such as up; may be repeated.",
            autocompletion=states,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="Only vm, segment or bandwidth.",
            autocompletion=one_of("vm", "segment", "bandwidth"),
        ),
    ] = None,
    label: Labels = None,
    watch: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Show all stitches."""
    query: dict[str, Any] = {"state": only} if only else {}
    if kind:
        query["kind"] = kind
    if label:
        query["label"] = label
    follow(lambda: items(url, state, "/stitches", query), tables.stitches, watch=watch, as_json=as_json)


@commands.command("show")
def show_one(
    stitch_id: int, state: State, url: Url = LOCAL, watch: Watch = False, as_json: AsJson = False
) -> None:
    """Show all that is known of a stitch."""
    follow(lambda: call(url, state, "GET", f"/stitches/{stitch_id}"), tables.stitch, watch=watch, as_json=as_json)


@commands.command("delete")
def delete(stitch_id: int, state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Take a stitch away."""
    answer = call(url, state, "DELETE", f"/stitches/{stitch_id}")
    if as_json:
        show(answer, as_json)
    else:
        typer.echo(f"stitch {stitch_id} is {answer['state']}")


def _application(text: str) -> dict[str, Any]:
    found = _APPLICATION.fullmatch(text.lower())
    if found is None or not text:
        raise typer.BadParameter(f"{text!r} is not PROTO[/PORT][@DSCP], such as tcp/443", param_hint="--app")
    application: dict[str, Any] = {}
    if (protocol := found["protocol"]) is not None:
        application["protocol"] = int(protocol) if protocol.isdecimal() else protocol
    if found["port"] is not None:
        application["destination_port"] = int(found["port"])
    if found["dscp"] is not None:
        application["dscp"] = int(found["dscp"])
    return application


commands.command("change")(change)
commands.command("segment")(segment_command)
commands.command("bandwidth")(bandwidth_command)
