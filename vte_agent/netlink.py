"""Netlink for whichever thread asks, a socket for each.

pyroute2 keeps the event loop that its requests need in the thread that has made the socket. In any other thread it
makes one anew for each request, which takes longer than the kernel does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any


class PerThread:
    """Sockets of one kind, each made by the thread that asks, and in its network namespace."""

    def __init__(self, make: Callable[..., Any]) -> None:
        """`make` is pyroute2's class."""
        self._make = make
        self._lock = threading.Lock()
        self._made: list[tuple[Any, asyncio.AbstractEventLoop]] = []
        self._own = threading.local()

    @property
    def here(self) -> Any:
        """The one of this thread. Raises OSError as its making does."""
        found = getattr(self._own, "netlink", None)
        if found is None:
            loop = asyncio.new_event_loop()
            try:
                found = self._make(use_event_loop=loop)
            except BaseException:
                loop.close()
                raise
            self._own.netlink = found
            with self._lock:
                self._made.append((found, loop))
        return found

    def close(self) -> None:
        """Close all of them, once no other thread asks; who asks again has another one made."""
        with self._lock:
            made, self._made, self._own = self._made, [], threading.local()
        for netlink, loop in made:
            netlink.close()
            if not loop.is_closed():
                loop.close()
