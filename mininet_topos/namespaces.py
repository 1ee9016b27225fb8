"""Work inside another process's network namespace.

A thread changes its own namespace, does one thing there (opens sockets, sets a device up) and comes back;
what it opened stays in the namespace it was opened in. So one process can hold sockets of every host of a lab
in one event loop.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000


def _setns(fd: int) -> None:
    # os.setns came with Python 3.12; the lab runs on 3.11 too.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Run the body in the network namespace of process `pid` (this thread only; root).

    Raises OSError when the process is gone or the caller may not enter.
    """
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(here)
    finally:
        os.close(here)
