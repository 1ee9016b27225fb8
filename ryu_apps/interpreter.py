"""How the interpreter is set for the controller: threads that hand each other work, and many objects that stay."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SWITCH_INTERVAL_S = 0.0005
_GC_THRESHOLDS = (50_000, 50, 200)


@contextmanager
def tuned() -> Iterator[None]:
    """Set it, and set it back.

    Threads hand small pieces of work to each other all the time: waiting 5 ms for the interpreter would add up.
    And tens of thousands of rules come at once and stay, without a cycle among them: looking for cycles after each
    700 objects took more than half of the time of installing them. What was imported stays too, and is looked at
    no more: each look at it was a pause of a tenth of a second for all switches.
    """
    interval_s, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.set_threshold(*_GC_THRESHOLDS)
    gc.freeze()
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)
        gc.unfreeze()
        gc.set_threshold(*thresholds)
