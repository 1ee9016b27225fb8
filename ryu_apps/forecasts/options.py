"""What options of the command line mean: times, shares, links and pictures; anything else is told at once."""

from __future__ import annotations

import math
import re
from pathlib import Path

import typer

PICTURES = (".png", ".svg", ".pdf")

_UNITS_S = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
# A century; sums of longer times lose their seconds.
_LONGEST_S = 100 * 365.25 * 86400.0
_LINK = re.compile(r"([0-9a-fA-F]{1,16}):([0-9]{1,10})")
# The API knows no larger one.
_SHARE_MAX = 10.0


def require_picture(file: Path | None, option: str = "--plot") -> None:
    """Raise BadParameter where the name of `file` is not that of a picture."""
    if file is not None and file.suffix.lower() not in PICTURES:
        raise typer.BadParameter(f"{file} ends in none of {', '.join(PICTURES)}", param_hint=option)


def seconds(text: str, option: str) -> float:
    """Read a time such as 7d, 36h, 90min or 288s; raises BadParameter."""
    number = text.strip().rstrip("abcdefghijklmnopqrstuvwxyz")
    unit_s = _UNITS_S.get(text.strip()[len(number) :])
    try:
        found = float(number) * (unit_s or math.nan)
    except ValueError:
        found = math.nan
    if not 0 < found <= _LONGEST_S:
        raise typer.BadParameter(f"{text!r} is no time; write it like 7d, 36h, 90min or 288s", param_hint=option)
    return found


def training(text: str) -> tuple[float | None, float | None]:
    """Read a share (0.6 or 60%) or a time: (share, None) or (None, seconds). Raises BadParameter."""
    share = _number(text)
    if share is None:
        return None, seconds(text, "--train")
    if not 0.0 < share < 1.0:
        raise typer.BadParameter(
            f"{text} is no share between 0 and 1, and no time such as 7d", param_hint="--train"
        )
    return share, None


def share_of_capacity(text: str) -> float:
    """Read a share of what a link carries, 0.9 or 90%; raises BadParameter."""
    share = _number(text)
    if share is None or not 0.0 < share <= _SHARE_MAX:
        raise typer.BadParameter(
            f"{text} is no share of a capacity; give a number above 0 and at most {_SHARE_MAX:g}, like 0.9 or 90%",
            param_hint="--share",
        )
    return share


def link(text: str) -> str:
    """Read a link by its source, dpid:port; zeros in front may be left out. Raises BadParameter."""
    found = _LINK.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no link; write dpid:port of its source, 16 hex digits and a number, like "
            "0000000000000001:2, or 1:2 for short",
            param_hint="--link",
        )
    return f"{int(found[1], 16):016x}:{int(found[2])}"


def names(text: str) -> tuple[str, ...]:
    """Take A,B apart. An empty name stays one: whoever looks it up says that there is none of it."""
    return tuple(name.strip() for name in text.split(","))


def _number(text: str) -> float | None:
    """A number, or a percentage as a share; None for neither."""
    bare = text.strip().removesuffix("%")
    try:
        return float(bare) / (100.0 if text.strip().endswith("%") else 1.0)
    except ValueError:
        return None
