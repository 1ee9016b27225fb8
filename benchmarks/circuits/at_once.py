"""How soon stitches of five hops are up: one, a hundred and a thousand at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.circuits.ladder import Ladder, ladder
from benchmarks.support.figure import Better, Figure, note

_ROUNDS = {1: 40, 100: 7, 1000: 3}
_TARGET_MS = {1: 30.0, 100: 150.0, 1000: 1000.0}


def at_once() -> Iterator[Figure]:
    """Milliseconds from the request until its answer says that all are UP: medians."""
    with ladder() as made:
        for count, rounds in _ROUNDS.items():
            took = [_up_ms(made, count) for _ in range(rounds)]
            note(f"stitches_at_once={count} rounds={rounds} least_ms={min(took):.1f}")
            yield Figure.over(f"up_{count}_ms", "stitches", took, "ms", Better.LESS, target=_TARGET_MS[count])


def _up_ms(made: Ladder, count: int) -> float:
    start_s = time.perf_counter()
    made.make(count)
    took_ms = 1e3 * (time.perf_counter() - start_s)
    made.remove_all()
    return took_ms
