"""Events: what happens, as it happens."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Header, Request

from ryu_apps.rest.access.access import Access
from ryu_apps.rest.access.roles import Role, Who, needs
from ryu_apps.rest.problems import Kind, Problem
from ryu_apps.rest.stream import EventStream

router = APIRouter(tags=["events"])

MOST_STREAMS = 100
MOST_STREAMS_EACH = 20


class Streams:
    """Who reads, so that nobody takes all connections. For one event loop."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """How many read now."""
        return self._open.total()

    def join(self, token_id: str) -> None:
        """One more reader. Raises a 429 problem where there are too many."""
        if self.total >= MOST_STREAMS or self._open[token_id] >= MOST_STREAMS_EACH:
            raise Problem(
                Kind.TOO_MANY,
                f"there are {self.total} readers of events, {self._open[token_id]} with this token",
                remedy=f"close some: {MOST_STREAMS} can read at once, {MOST_STREAMS_EACH} with one token",
                headers={"Retry-After": "10"},
            )
        self._open[token_id] += 1

    def leave(self, token_id: str) -> None:
        """One reader less."""
        self._open[token_id] -= 1
        if not self._open[token_id]:
            del self._open[token_id]


@router.get(
    "/events",
    dependencies=[needs(Role.VIEWER, scoped=True)],
    response_class=EventStream,
    status_code=200,
    responses={
        200: {
            "description": "Server-sent events: stitch, link, host, switch, alarm; missed where some were lost; "
            "cut as the last one. Comments in between say that the stream lives.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def get_events(
    request: Request,
    who: Who,
    last_event_id: Annotated[
        str | None, Header(max_length=100, description="Go on after the event with this id.")
    ] = None,
) -> EventStream:
    """What happens from now on, or since Last-Event-ID where that is still kept."""
    state = request.app.state
    access: Access = state.access
    streams: Streams = state.streams
    streams.join(who.token_id)
    return EventStream(
        state.feed,
        who,
        last_id=last_event_id,
        valid=lambda: access.tokens.holds(who.token_id),
        done=lambda: streams.leave(who.token_id),
    )
