"""Whether the kernel's devices, addresses, routes or rules are others than when they were read (rtnetlink(7)).

To read all of them takes milliseconds, and on most machines nothing of it changes for hours.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar

from vte_agent.netlink import PerThread

T = TypeVar("T")

LINKS = 0x0001
ALL = LINKS | 0x0010 | 0x0100 | 0x0040 | 0x0400 | 0x0080 | 0x4_0000
"""RTNLGRP_LINK, _IPV4_IFADDR, _IPV6_IFADDR, _IPV4_ROUTE, _IPV6_ROUTE, _IPV4_RULE, _IPV6_RULE, a bit for each."""

_MESSAGE_BYTES = 65_536


class KernelChanges:
    """Of the network namespace this is made in. What the kernel says is not read, only that it said something.

    Not for more than one thread. Raises OSError where there is no netlink.
    """

    def __init__(self, groups: int = ALL) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        try:
            self._socket.setblocking(False)
            self._socket.bind((0, groups))
        except OSError:
            self._socket.close()
            raise
        self._is_first = True

    def __enter__(self) -> KernelChanges:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def any(self) -> bool:
        """Whether something has changed since this was asked last; the first time it has."""
        found, self._is_first = self._is_first, False
        while True:
            try:
                self._socket.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return found
            except OSError as failed:
                # More has changed than there was room for: what that was nobody knows.
                if failed.errno != errno.ENOBUFS:
                    raise
            found = True

    def forget(self) -> None:
        """What has changed could not be read: the next time something has."""
        self._is_first = True

    def close(self) -> None:
        """Hear of nothing any more."""
        self._socket.close()


class KernelLinks(Generic[T]):
    """What is made of the devices of the network namespace this is made in, anew only where one is another.

    make: takes all of them, as the kernel's messages. What is counted of them is as it was then. Of a device that
    is down the alias, the group and the ends of a VXLAN may be, too, until it comes up or something else of it
    changes: the kernel says nothing of these. Not for more than one thread.
    """

    def __init__(self, netlink: PerThread, make: Callable[[Iterable[Any]], T]) -> None:
        self._netlink = netlink
        self._make = make
        self._changes: KernelChanges | None = None
        self._made = make(())

    def read(self) -> T:
        """As they are now. Raises NetlinkError, OSError."""
        if self._changes is None:
            self._changes = KernelChanges(LINKS)
        if self._changes.any():
            try:
                self._made = self._make(self._netlink.here.link("dump"))
            except BaseException:
                self._changes.forget()
                raise
        return self._made

    def close(self) -> None:
        """Hear of nothing any more."""
        if self._changes is not None:
            self._changes.close()
