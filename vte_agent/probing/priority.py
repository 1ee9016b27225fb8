"""What a failover waits for runs before ordinary programs, so that a busy machine does not fail over late."""

from __future__ import annotations

import contextlib
import os


def run_ahead() -> None:
    """Put the calling thread ahead of ordinary ones; it has to sleep most of the time.

    Where the real-time class is forbidden it stays as it is. The kernel keeps 5 % of a processor from that class.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
