"""Server-sent events (WHATWG HTML, section 9.2): the feed, as far as its reader may see it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ryu_apps.feed import Feed, Happening, Missed
from ryu_apps.rest.access.roles import Principal
from ryu_apps.rest.views import moment

log = logging.getLogger("lockstitch.rest")

HEARTBEAT_S = 15.0
SEND_S = 20.0
"""A reader that takes nothing for so long is cut off."""

_RETRY_MS = 2000


class EventStream(Response):
    """Goes on until its reader leaves, falls behind or may no longer read, or the controller stops.

    valid: whether the token of the reader still is one.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        feed: Feed,
        who: Principal,
        *,
        last_id: str | None,
        valid: Callable[[], bool],
        done: Callable[[], None],
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._feed = feed
        self._who = who
        self._last_id = last_id
        self._valid = valid
        self._done = done
        self._heartbeat_s = heartbeat_s

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send what happens as it happens."""
        try:
            sending = asyncio.create_task(self._send(send))
            leaving = asyncio.create_task(_left(receive))
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        finally:
            self._done()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async for text in self._texts():
                async with asyncio.timeout(SEND_S):
                    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        except TimeoutError:
            log.warning("events=cut_off who=%s reason=took nothing for %g s", self._who.name, SEND_S)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _texts(self) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        news = asyncio.Event()
        unwatch = self._feed.watch(lambda: _wake(loop, news))
        try:
            yield f"retry: {_RETRY_MS}\n\n"
            number = self._feed.last
            if self._last_id is not None:
                try:
                    number = self._feed.number_of(self._last_id)
                    self._feed.after(number, 0)
                except Missed:
                    number = self._feed.last
                    yield _event(
                        "missed", {"reason": "what happened after that id is no longer kept: read all anew"}
                    )
            while True:
                news.clear()
                try:
                    happened = self._feed.after(number)
                except Missed:
                    yield self._cut("too-slow", "more happened than is kept while you did not read")
                    return
                if happened:
                    number = happened[-1].number
                    if text := "".join(map(self._text, happened)):
                        yield text
                    continue
                if self._feed.closed:
                    yield self._cut("stopping", "the controller stops")
                    return
                if not self._valid():
                    yield self._cut("token", "the token is no longer valid")
                    return
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        await news.wait()
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            unwatch()

    def _cut(self, reason: str, detail: str) -> str:
        log.info("events=cut_off who=%s reason=%s", self._who.name, reason)
        return _event("cut", {"reason": reason, "detail": detail})

    def _text(self, one: Happening) -> str:
        scope = self._who.scope
        if scope is not None and (one.vnets is None or not one.vnets <= scope):
            return ""
        data = {"time": moment(one.time_s).isoformat().replace("+00:00", "Z"), **one.data}
        return _event(one.kind, data, self._feed.id_of(one.number))


def _event(kind: str, data: dict[str, Any], event_id: str | None = None) -> str:
    lines = [f"event: {kind}", f"data: {json.dumps(data, separators=(',', ':'))}"]
    if event_id is not None:
        lines.insert(0, f"id: {event_id}")
    return "\n".join(lines) + "\n\n"


def _wake(loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(news.set)
    except RuntimeError:
        log.debug("events=loop closed")


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
