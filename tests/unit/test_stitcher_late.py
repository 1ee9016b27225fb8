"""A controller that is behind with its work takes no stitch for dead that carries."""

import time

from ryu_apps.app import Tick
from ryu_apps.stitches.watch import MISSES, WATCH_EVERY_S
from stitching.stitch import State
from tests.unit.stitcher_bench import Bench, bench, store, up

__all__ = ["bench", "store"]

_LONG = 4 * MISSES


def test_probes_that_wait_in_the_queue_are_not_missed(bench: Bench) -> None:
    up(bench)
    for _ in range(_LONG):
        bench.now_s += WATCH_EVERY_S
        # It comes to its timer 2 s after that ran out, and to the probes that came in meanwhile after it.
        bench.on_tick(Tick("probe", posted_s=time.monotonic() - 2.0))
        bench.probes_cross()
    assert bench.stitch().state is State.UP


def test_a_controller_that_was_held_up_again_and_again_misses_nothing(bench: Bench) -> None:
    up(bench)
    for _ in range(_LONG):
        bench.now_s += WATCH_EVERY_S
        bench.on_tick(Tick("probe", late_s=WATCH_EVERY_S))
        bench.on_tick(Tick("probe"))
    assert bench.stitch().state is State.UP


def test_probes_that_do_not_come_are_missed_as_soon_as_it_keeps_up_again(bench: Bench) -> None:
    up(bench)
    for _ in range(_LONG):
        bench.now_s += WATCH_EVERY_S
        bench.on_tick(Tick("probe", posted_s=time.monotonic() - 2.0))
    assert bench.stitch().state is State.DOWN, "those that were sent more than 2 s ago would have been seen"
