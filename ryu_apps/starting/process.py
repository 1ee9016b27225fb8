"""Fits the process to what a controller does: many sockets, and threads that share their memory."""

from __future__ import annotations

import contextlib
import ctypes
import resource

_SOCKETS = 65_536

_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
"""Of mallopt(3)."""


def share_arenas() -> None:
    """Have all threads share two arenas of memory: with one for each, what is freed is lost to the others.

    And what is large goes back to the system when it is freed, instead of leaving a hole where small things stay.
    """
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 17)


def take_sockets() -> None:
    """Allow as many sockets as the system lets us: a switch takes one, and so does a caller who waits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _SOCKETS if hard == resource.RLIM_INFINITY else min(_SOCKETS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
