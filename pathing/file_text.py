"""Text of files that strangers wrote: the numbers it stands for, and as much of it as a message shows."""

from __future__ import annotations

import math

_SHOWN = 60
_GAP = "..."


def number(text: str) -> float:
    """Give the finite number that a text stands for, NaN for none; "1_000" is Python, not a number in a file."""
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def shown(value: str | None) -> str:
    """Give the repr of what a file says, shortened in the middle."""
    # Cut before as well: the repr of megabytes is megabytes.
    return shortened(repr(value if value is None else shortened(value, 2 * _SHOWN)))


def shortened(text: str, most: int = _SHOWN) -> str:
    """Give a text of `most` characters at the most: its begin and its end, what is wrong often being there."""
    if len(text) <= most:
        return text
    half = (most - len(_GAP)) // 2
    return f"{text[:half]}{_GAP}{text[-half:]}"
