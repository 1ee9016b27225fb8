"""A link dies that 500 stitches use: how soon the controller has all of them on whole paths again."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.circuits.ladder import Ladder, ladder, moved_after_ms
from benchmarks.support.controller_process import wait_until
from benchmarks.support.figure import Better, Figure, MeasurementFailed, note

_STITCHES = 500
_ROUNDS = 5
_WITHIN_S = 20.0
_TARGET_MS = 500.0


def broken_link() -> Iterator[Figure]:
    """Milliseconds from the cut (the carrier is lost) until the last of 500 is UP on another path; five cuts each.

    Each cut is where all of them are then. The first counts too: what a controller has not done before takes it
    longer, and links die unannounced.
    """
    with ladder() as made:
        for protection, name in (("link", "reprotected_500_ms"), ("none", "rerouted_500_ms")):
            made.make(_STITCHES, protection=protection)
            took = [_round_ms(made, protection) for _ in range(_ROUNDS)]
            note(f"{name} rounds_ms={' '.join(f'{ms:.0f}' for ms in took)}")
            yield Figure.over(name, "stitches", took, "ms", Better.LESS, target=_TARGET_MS)
            made.remove_all()


def _round_ms(made: Ladder, protection: str) -> float:
    middle = _middle(made)
    took_ms = _moved_ms(made, middle, protection)
    # The next cut comes before they would go back to the best way: links have to be the same for 10 s for that.
    made.lab.link(*middle).restore()
    made.wait_for_links()
    return took_ms


def _middle(made: Ladder) -> tuple[str, str]:
    """The switches at the ends of a link in the middle of the path of all stitches."""
    names = made.lab.topology.node_names
    paths = {tuple(int(hop["dpid"], 16) for hop in stitch["path"]) for stitch in made.stitches_that_carry()}
    if len(paths) != 1:
        raise MeasurementFailed(f"stitches are on {len(paths)} paths, and one link is to die under all of them")
    _, one, other, *_ = paths.pop()
    return names[one - 1], names[other - 1]


def _moved_ms(made: Ladder, middle: tuple[str, str], protection: str) -> float:
    offset = made.log_bytes()
    cut_s = time.time()
    made.lab.link(*middle).cut(silent=False)
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
