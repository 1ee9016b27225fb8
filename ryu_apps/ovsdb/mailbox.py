"""What OVSDB servers have said and nobody has read yet: of each the newest, however much it says meanwhile.

Setting filters keeps the reader for seconds, and a database of a thousand bridges says something new 20 times in
each of them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ryu_apps.ovsdb.connection import Heard


@dataclass(slots=True)
class _Unread:
    newest: Heard
    away: Heard | None = None


class Mailbox:
    """Put by the threads of the servers, taken by one reader."""

    def __init__(self) -> None:
        self._unread: dict[str, _Unread] = {}
        self._lock = threading.Lock()

    def put(self, heard: Heard) -> bool:
        """A server says this. Returns whether the reader has to be told that there is something."""
        with self._lock:
            unread = self._unread.get(heard.remote)
            if unread is None:
                self._unread[heard.remote] = _Unread(heard)
                return True
            if unread.newest.view is None:
                unread.away = unread.newest
            if not heard.error and unread.newest.error:
                heard = type(heard)(heard.remote, heard.view, unread.newest.error)
            unread.newest = heard
            return False

    def take(self, remote: str) -> tuple[Heard, ...]:
        """What a server has said since: that it was away, where it was, and what it says now."""
        with self._lock:
            unread = self._unread.pop(remote, None)
        if unread is None:
            return ()
        return (unread.newest,) if unread.away is None else (unread.away, unread.newest)
