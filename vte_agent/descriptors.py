"""How many files the agent may have open at once, and for how many tunnels that is enough."""

from __future__ import annotations

import resource

A_TUNNEL = 5
"""Sockets that the probes of a tunnel have open."""

_MOST = 65_536
"""More is not asked for: a process that may have no end of them can fill the kernel's memory."""

_OTHERS = 64
"""What else is open."""


def take_descriptors() -> None:
    """Allow as many as the system lets us, in this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _most(hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def allowed() -> tuple[int, int]:
    """How many files an agent that is started like this process may have open, and how many tunnels."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _most(hard) if soft == resource.RLIM_INFINITY else max(soft, _most(hard))
    return most, max(0, most - _OTHERS) // A_TUNNEL


def _most(hard: int) -> int:
    return _MOST if hard == resource.RLIM_INFINITY else min(_MOST, hard)
