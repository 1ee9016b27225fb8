"""Options that the commands for stitches of all kinds share, and what they mean."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from ryu_apps.rest.completing import one_of

Bandwidth = Annotated[float, typer.Option("--bandwidth", help="Mbit/s each way.")]
MaxLatency = Annotated[float | None, typer.Option("--max-latency", help="Milliseconds one way.")]
MaxLoss = Annotated[float | None, typer.Option("--max-loss", help="Per cent of packets that may be lost.")]
protections = one_of("none", "link", "node")
Protect = Annotated[
    str,
    typer.Option(
        "--protect",
        help="What may die without a gap: none, link, or node (link or switch).",
        autocompletion=protections,
    ),
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="What it is for; may be repeated.")
]
Priority = Annotated[int, typer.Option("--priority", help="0 to 7: the least give way first.", min=0, max=7)]
Encrypted = Annotated[bool, typer.Option("--encrypted", help="Only over links that are marked as encrypted.")]
From = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="Not before, such as 2026-03-01T08:00 (local time).")
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Not after.")]
Weekly = Annotated[
    str | None,
    typer.Option(
        "--weekly", metavar="DAYS START-END [ZONE]", help="Only then, such as 'mon,tue 08:00-18:00 Europe/Vienna'."
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it is up, or has failed.")]


def above_zero(value: float, option: str) -> float:
    """The value of an option that has to be a number above 0. Raises BadParameter naming it."""
    if not 0 < value < float("inf"):
        raise typer.BadParameter("give a number above 0", param_hint=option)
    return value


def share_of(per_cent: float) -> float:
    """What --max-loss says as a share. Raises BadParameter."""
    if not 0 <= per_cent <= 100:
        raise typer.BadParameter("give per cent, from 0 to 100", param_hint="--max-loss")
    return per_cent / 100


def label_of(text: str) -> tuple[str, str]:
    """NAME=VALUE in two. Raises BadParameter."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE, such as team=video", param_hint="--label")
    return name, value


def times(valid_from: str | None, until: str | None, weekly: str | None) -> dict[str, Any]:
    """When a stitch is to be there, as the API takes it. Raises BadParameter."""
    found: dict[str, Any] = {}
    for name, option, text in (("valid_from", "--from", valid_from), ("valid_until", "--until", until)):
        if text is not None:
            try:
                found[name] = datetime.fromisoformat(text).astimezone().isoformat()
            except (ValueError, OverflowError) as error:
                raise typer.BadParameter(
                    f"{text!r} is no time, such as 2026-03-01T08:00", param_hint=option
                ) from error
    if weekly is not None:
        found["weekly"] = _weekly(weekly)
    return found


def _weekly(text: str) -> dict[str, Any]:
    words = text.split()
    start, separator, end = words[1].partition("-") if len(words) in (2, 3) else ("", "", "")
    if not separator:
        raise typer.BadParameter(
            f"{text!r} is not DAYS START-END [ZONE], such as 'mon,tue 08:00-18:00 Europe/Vienna'",
            param_hint="--weekly",
        )
    zone = {"zone": words[2]} if len(words) == 3 else {}
    return {"days": words[0].lower().split(","), "start": start, "end": end, **zone}
