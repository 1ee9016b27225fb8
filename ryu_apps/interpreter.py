"""How the interpreter is set for the controller: threads that hand each other work, and many objects that stay."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SWITCH_INTERVAL_S = 0.0005
_TASKS = Path("/proc/self/task")

LOOK_S = 0.25
"""How often it is looked whether this is a good time to look for cycles."""

SOME, MANY = 50_000, 100_000
"""From so many new objects on it is worth it when there is little to do, and in any case: 250,000 take 40 ms."""

_LITTLE = 0.75
"""The share of a core below which there is little to do: a thousand switches that are only watched are little."""

_OLDER_EVERY = 10
"""Each so many times those are looked at as well that were there the times before."""

ALL_EVERY_S, _ALL_AT_LAST_S = 600.0, 3600.0
"""How often all objects are looked at when there is little to do, and however much there is: it takes longest."""


@contextmanager
def tuned() -> Iterator[None]:
    """Set it, and set it back.

    Threads hand small pieces of work to each other all the time: waiting 5 ms for the interpreter would add up.
    And tens of thousands of rules come at once and stay, without a cycle among them: looking for cycles after each
    700 objects took more than half of the time of installing them, and each look while a link is down is a pause
    of tens of milliseconds for all who are to leave it. What was imported stays too, and is looked at no more.
    """
    interval_s, enabled = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.freeze()
    gc.disable()
    over = threading.Event()
    collector = threading.Thread(target=collect_when_idle, args=(over,), name="collector", daemon=True)
    collector.start()
    try:
        yield
    finally:
        over.set()
        collector.join()
        sys.setswitchinterval(interval_s)
        gc.unfreeze()
        if enabled:
            gc.enable()


def collect_when_idle(over: threading.Event) -> None:
    """Look for cycles of dead objects when there is little to do, or they may be too many; until it is over."""
    looks, all_s = 0, time.monotonic()
    before_s, had_s = time.monotonic(), _had_to_do_s()
    while not over.wait(LOOK_S):
        now_s, having_s = time.monotonic(), _had_to_do_s()
        idle = (having_s - had_s) / (now_s - before_s) < _LITTLE
        before_s, had_s = now_s, having_s
        if now_s - all_s >= (ALL_EVERY_S if idle else _ALL_AT_LAST_S):
            all_s = now_s
            gc.collect()
        elif gc.get_count()[0] >= (SOME if idle else MANY):
            looks += 1
            gc.collect(1 if looks % _OLDER_EVERY == 0 else 0)


def _had_to_do_s() -> float:
    """How long threads have run, or could have: on a busy machine one with much to do may get little done."""
    waited_ns = 0
    for task in _TASKS.iterdir():
        with contextlib.suppress(
            OSError, IndexError
        ):  # a thread that has ended meanwhile; a kernel that does not say
            waited_ns += int((task / "schedstat").read_bytes().split()[1])
    return time.process_time() + 1e-9 * waited_ns
