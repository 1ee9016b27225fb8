"""A link dies that 500 stitches use: how soon the controller has all of them on whole paths again."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.circuits.ladder import Ladder, ladder, moved_after_ms
from benchmarks.support.controller_process import wait_until
from benchmarks.support.figure import Better, Figure, note

_STITCHES = 500
_WITHIN_S = 20.0
_TARGET_MS = 500.0


def broken_link() -> Iterator[Figure]:
    """Milliseconds from the cut (the carrier is lost) until the last of 500 is UP on another path."""
    with ladder() as made:
        for protection, name in (("link", "reprotected_500_ms"), ("none", "rerouted_500_ms")):
            yield Figure(name, "stitches", _moved_ms(made, protection), "ms", Better.LESS, _TARGET_MS)
            made.lab.link("a1", "a2").restore()
            made.wait_for_links()
            made.remove_all()


def _moved_ms(made: Ladder, protection: str) -> float:
    made.make(_STITCHES, protection=protection)
    offset = made.log_bytes()
    cut_s = time.time()
    made.lab.link("a1", "a2").cut(silent=False)
    # The log is written line by line as it happens; asking the API for 500 stitches would slow what is measured.
    wait_until(
        lambda: len(moved_after_ms(made.log_from(offset), cut_s)) >= _STITCHES,
        _WITHIN_S,
        "stitches were not all moved",
    )
    moved = moved_after_ms(made.log_from(offset), cut_s)
    begun = moved_after_ms(made.log_from(offset), cut_s, "adjusting")
    note(f"protection={protection} first_begun_ms={min(begun):.0f} last_begun_ms={max(begun):.0f}")
    return max(moved[:_STITCHES])
