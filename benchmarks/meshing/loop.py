"""An event loop in a thread of its own, for agents."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_END_S = 60.0


class Loop:
    """To be closed; whatever still runs in it is cancelled then."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, act: Coroutine[Any, Any, T], within_s: float = 30.0) -> T:
        """Run something to its end. Raises what it raises, TimeoutError."""
        return self.begin(act).result(within_s)

    def begin(self, act: Coroutine[Any, Any, T]) -> Future[T]:
        """Have something run."""
        return asyncio.run_coroutine_threadsafe(act, self._loop)

    def call(self, act: Any, *arguments: Any) -> None:
        """Call something on the loop's thread."""
        self._loop.call_soon_threadsafe(act, *arguments)

    def close(self) -> None:
        """End all of it."""

        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.run(end(), _END_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
