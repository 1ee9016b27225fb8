"""Where the gate listens: how many may stand there who have not shown who they are.

A connection takes memory and a file descriptor before anybody knows whose it is.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

MOST_OF_ONE = 512
"""Of one address: many sites behind one NAT may all come at once, and be in the middle of their handshakes."""
MOST_OF_ALL = 1024
PATIENCE_S = 10.0
"""Who has stood there for longer makes room for others. Shorter, and a busy machine would end nothing it began."""


class Doorway(socket.socket):
    """A listening socket that takes in only so many. For one thread; asyncio accepts from it as from any other."""

    def __init__(self, family: int, place: tuple[Any, ...], clock: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError where it is not free."""
        super().__init__(family, socket.SOCK_STREAM)
        self._clock = clock
        self._unknown: OrderedDict[tuple[Any, ...], _Standing] = OrderedDict()
        self._of: Counter[str] = Counter()
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.bind(place)
        except OSError:
            self.close()
            raise

    def accept(self) -> tuple[socket.socket, Any]:
        """The next one for whom there is room; the others are closed. Raises OSError."""
        while True:
            link, peer = super().accept()
            source = _source(peer)
            if self._has_room(source):
                caller = _Caller(link, peer, self._left)
                self._unknown[peer] = _Standing(caller, source, self._clock())
                self._of[source] += 1
                return caller, peer
            link.close()

    def known(self, peer: tuple[Any, ...]) -> None:
        """It has shown who it is, or is gone."""
        standing = self._unknown.pop(peer, None)
        if standing is not None:
            self._of[standing.source] -= 1
            if not self._of[standing.source]:
                del self._of[standing.source]

    def _left(self, caller: _Caller) -> None:
        standing = self._unknown.get(caller.peer)
        # Not another one that calls from the same port by now.
        if standing is not None and standing.link is caller:
            self.known(caller.peer)

    def _has_room(self, source: str) -> bool:
        if self._of[source] >= MOST_OF_ONE:
            return self._make_room(lambda one: one.source == source)
        return len(self._unknown) < MOST_OF_ALL or self._make_room(lambda _: True)

    def _make_room(self, of: Callable[[_Standing], bool]) -> bool:
        """Close the one that has stood there for longest, if that is too long."""
        found = next(((peer, one) for peer, one in self._unknown.items() if of(one)), None)
        if found is None or self._clock() - found[1].since_s < PATIENCE_S:
            return False
        self.known(found[0])
        with contextlib.suppress(OSError):
            found[1].link.shutdown(socket.SHUT_RDWR)
        return True


class _Caller(socket.socket):
    """A connection that says when it is closed."""

    def __init__(self, link: socket.socket, peer: tuple[Any, ...], closed: Callable[[_Caller], object]) -> None:
        super().__init__(link.family, link.type, link.proto, fileno=link.detach())
        self.peer = peer
        self._tell_closed = closed

    def close(self) -> None:
        """Close it, and say so."""
        self._tell_closed(self)
        super().close()


@dataclass(frozen=True)
class _Standing:
    link: socket.socket
    source: str
    since_s: float


def doorways(host: str, port: int) -> tuple[Doorway, ...]:
    """One for each address that a host has. Raises OSError where one is not free."""
    known = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found: dict[tuple[Any, ...], int] = {place: family for family, _, _, _, place in known}
    with contextlib.ExitStack() as opened:
        made: list[Doorway] = []
        for place, family in found.items():
            # With port 0 all are at the one that the first was given.
            bound = made[0].getsockname()[1] if made else port
            made.append(opened.enter_context(Doorway(family, (place[0], bound, *place[2:]))))
        opened.pop_all()
    return tuple(made)


def _source(peer: tuple[Any, ...]) -> str:
    """An address, or of version 6 its network: a host may have all of a /64 (RFC 4291)."""
    address = ip_address(str(peer[0]).partition("%")[0])
    return str(int(address) >> 64) if isinstance(address, IPv6Address) else str(address)
