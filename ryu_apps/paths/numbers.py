"""How figures and names are written for people: few digits, a unit that fits, never an exponent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

UNKNOWN = "-"
_UNITS = (("Gbit/s", 1e3), ("Mbit/s", 1.0), ("kbit/s", 1e-3), ("bit/s", 1e-6))
_MOST_DECIMALS = 9
# Beyond this the digits before the point are noise themselves.
_LARGEST = 1e15
_SEPARATORS = re.compile(r"(?<=[\s_\-./,:()])")


def digits(value: float | None, count: int = 4, *, zeros: bool = False) -> str:
    """Write a number with so many digits that count; those before the point are all there.

    With `zeros` those at the end are written too, so that numbers below each other have as many.
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    if value == 0 or not math.isfinite(value) or abs(value) >= _LARGEST:
        return f"{value:g}"
    decimals = min(_MOST_DECIMALS, max(0, count - 1 - math.floor(math.log10(abs(value)))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text and not zeros else text


def mbps(value: float | None) -> str:
    """Write Mbit/s in the unit that leaves few digits before the point."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    # What rounds up to a thousand of a unit is one of the next.
    unit, size = next(((unit, size) for unit, size in _UNITS if abs(value) >= 0.99995 * size), _UNITS[-1])
    return f"{digits(value / size)} {unit}" if value else "0 Mbit/s"


def percent(share: float) -> str:
    """Write a share in per cent."""
    return f"{digits(100 * share, zeros=True)} %"


def counted(number: int, what: str) -> str:
    """Write a number of things."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def folded(name: str, width: int) -> str:
    """Break a long name into lines, after separators only."""
    lines = [""]
    for part in _SEPARATORS.split(name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def chain(label: str, names: Iterable[str], width: int) -> list[str]:
    """Write "a > b > c" in lines of `width` at most, broken after an arrow only; a longer name sticks out."""
    indent = " " * len(label)
    parts = [f"{name} >" for name in names]
    parts[-1] = parts[-1].removesuffix(" >")
    lines = [label + parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) > width:
            lines.append(indent + part)
        else:
            lines[-1] += f" {part}"
    return lines
