"""What stands between the network and the handlers: a shield and the size limit (ASGI middleware)."""

from __future__ import annotations

import logging
import secrets

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ryu_apps.rest.problems import Kind, Problem, problem_response

log = logging.getLogger("lockstitch.rest")

BODY_LIMIT_BYTES = 1 << 20
REQUEST_ID = "X-Request-Id"

_ID_KEY = "lockstitch.request_id"


class Shield:
    """Keeps the inside of the controller inside: an unforeseen exception is logged, the caller gets its id.

    It also gives each request an id, which its answer carries.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer for it where nobody else did."""
        started = False
        scope[_ID_KEY] = request_id = secrets.token_hex(8)

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message.setdefault("headers", []))[REQUEST_ID] = request_id
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            error_id = secrets.token_hex(4)
            log.exception(
                "unhandled error_id=%s method=%s path=%r", error_id, scope.get("method"), scope.get("path")
            )
            if started or scope["type"] != "http":
                raise
            problem = Problem(
                Kind.INTERNAL,
                "something went wrong inside the controller",
                remedy=f"look for error_id={error_id} in its log",
                error_id=error_id,
            )
            await problem_response(problem.view, {REQUEST_ID: request_id})(scope, receive, send)


def request_id_of(scope: Scope) -> str:
    """The id of a request, which the shield has given it."""
    return str(scope[_ID_KEY])


class LimitBody:
    """Refuses a body over limit_bytes, by its declared length or, where that lies or is absent, by counting."""

    def __init__(self, app: ASGIApp, limit_bytes: int = BODY_LIMIT_BYTES) -> None:
        self.app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a body that ends at the limit."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        too_large = HTTPException(413, f"the limit is {self._limit_bytes} bytes")
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > self._limit_bytes:
            problem = Problem(Kind.TOO_LARGE, too_large.detail, remedy="send it in smaller parts")
            await problem_response(problem.view)(scope, receive, send)
            return
        seen_bytes = 0

        async def counted() -> Message:
            nonlocal seen_bytes
            message = await receive()
            seen_bytes += len(message.get("body", b""))
            if seen_bytes > self._limit_bytes:
                # FastAPI passes on an HTTPException from here; any other would become a 400.
                raise too_large
            return message

        await self.app(scope, counted, send)
