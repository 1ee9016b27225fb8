"""The command `lockstitch stitch change`: other terms for a stitch that is there."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from ryu_apps.rest.commands import LOCAL, AsJson, State, Url
from ryu_apps.rest.stitch_calls import change_and_show
from ryu_apps.rest.stitch_options import (
    From,
    Labels,
    MaxLatency,
    MaxLoss,
    Until,
    Wait,
    Weekly,
    above_zero,
    label_of,
    protections,
    share_of,
    times,
)


class Term(StrEnum):
    """What can be taken out of the terms of a stitch."""

    MAX_LATENCY = "max-latency"
    MAX_LOSS = "max-loss"
    GUARANTEE = "guarantee"
    CAP = "cap"
    FROM = "from"
    UNTIL = "until"
    WEEKLY = "weekly"
    LABELS = "labels"


_FIELDS = {
    Term.MAX_LATENCY: "max_latency_ms",
    Term.MAX_LOSS: "max_loss",
    Term.GUARANTEE: "guarantee_mbps",
    Term.CAP: "cap_mbps",
    Term.FROM: "valid_from",
    Term.UNTIL: "valid_until",
}

Mbps = float | None


def change(
    stitch_id: int,
    state: State,
    bandwidth: Annotated[Mbps, typer.Option("--bandwidth", help="Mbit/s each way.")] = None,
    max_latency: MaxLatency = None,
    max_loss: MaxLoss = None,
    protect: Annotated[
        str | None, typer.Option("--protect", help="none, link, or node.", autocompletion=protections)
    ] = None,
    guarantee: Annotated[Mbps, typer.Option("--guarantee", help="Mbit/s that they can always have.")] = None,
    cap: Annotated[Mbps, typer.Option("--cap", help="Mbit/s that they never exceed.")] = None,
    follow_forecast: Annotated[
        bool | None, typer.Option("--follow-forecast/--no-follow-forecast", help="Let the guarantee grow.")
    ] = None,
    label: Labels = None,
    priority: Annotated[int | None, typer.Option("--priority", help="0 to 7.", min=0, max=7)] = None,
    valid_from: From = None,
    until: Until = None,
    weekly: Weekly = None,
    encrypted: Annotated[
        bool | None, typer.Option("--encrypted/--not-encrypted", help="Only over encrypted links, or over any.")
    ] = None,
    without: Annotated[
        list[Term] | None, typer.Option("--without", help="Take a term out; may be repeated.")
    ] = None,
    wait: Wait = False,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Give a stitch other terms, without a gap; those that are not named stay. Labels are replaced as a whole.

    With --wait, exit code 1 where it did not come up on them.
    """
    given: dict[str, Any] = {
        "bandwidth_mbps": above_zero(bandwidth, "--bandwidth") if bandwidth is not None else None,
        "max_latency_ms": above_zero(max_latency, "--max-latency") if max_latency is not None else None,
        "max_loss": share_of(max_loss) if max_loss is not None else None,
        "protection": protect,
        "guarantee_mbps": above_zero(guarantee, "--guarantee") if guarantee is not None else None,
        "cap_mbps": above_zero(cap, "--cap") if cap is not None else None,
        "follow_forecast": follow_forecast,
        "labels": dict(label_of(text) for text in label) if label else None,
        "priority": priority,
        "encrypted": encrypted,
        **times(valid_from, until, weekly),
    }
    body = {name: value for name, value in given.items() if value is not None}
    for term in without or ():
        name = _FIELDS.get(term, term.value)
        if name in body:
            raise typer.BadParameter(f"{term.value} is given as well", param_hint="--without")
        body[name] = {} if term is Term.LABELS else None
    if not body:
        raise typer.BadParameter("name at least one term that is to be another, such as --bandwidth 5")
    change_and_show(url, state, stitch_id, body, wait=wait, as_json=as_json)
