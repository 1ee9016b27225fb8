"""Waits for many things at once on one thread: what it is told to wait with is handed back when its time is up."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Pauses(Generic[Item]):
    """Hands each item to `over`, on a thread of its own, when its pause has passed; `stop` ends what still waits.

    A thousand stitches that end at once wait for their packets to arrive all at once: a thread each would be more
    than there are of everything else together.
    """

    def __init__(self, over: Callable[[Item], None], name: str) -> None:
        self._over = over
        self._name = name
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Item]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def add(self, item: Item, pause_s: float) -> None:
        """Wait with an item for so long."""
        with self._changed:
            if self._stopped:
                return
            heapq.heappush(self._waiting, (time.monotonic() + pause_s, next(self._order), item))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            elif self._waiting[0][2] is item:
                self._changed.notify()

    def stop(self) -> None:
        """Hand nothing over any more."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (not self._waiting or self._waiting[0][0] > time.monotonic()):
                    first_s = self._waiting[0][0] - time.monotonic() if self._waiting else None
                    self._changed.wait(first_s)
                if self._stopped:
                    return
                _, _, item = heapq.heappop(self._waiting)
            self._over(item)
