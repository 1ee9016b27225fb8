"""What stands between the network and the handlers: a shield, the token and the size limit (ASGI middleware)."""

from __future__ import annotations

import hmac
import logging
import secrets

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ryu_apps.rest.problems import Kind, Problem, problem_response

log = logging.getLogger("lockstitch.rest")

BODY_LIMIT_BYTES = 1 << 20


class Shield:
    """Keeps the inside of the controller inside: an unforeseen exception is logged, the caller gets its id."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer for it where nobody else did."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
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
            await problem_response(problem.view)(scope, receive, send)


class RequireToken:
    """Lets nobody in without the bearer token (RFC 6750), whatever the path."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on where its token is right."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        # latin-1 is how ASGI decoded the header; the comparison takes the same time wherever they differ.
        offered = given.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
        if hmac.compare_digest(offered, self._token):
            await self.app(scope, receive, send)
            return
        problem = _token_missing() if not offered else _token_wrong()
        await problem_response(problem.view, problem.headers)(scope, receive, send)


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


def _token_missing() -> Problem:
    return Problem(
        Kind.UNAUTHORIZED,
        "the request carries no bearer token",
        field="Authorization",
        remedy="send 'Authorization: Bearer TOKEN' with what is in the file 'token' of the state directory",
        headers={"WWW-Authenticate": 'Bearer realm="lockstitch"'},
    )


def _token_wrong() -> Problem:
    return Problem(
        Kind.UNAUTHORIZED,
        "the bearer token is not the token of this controller",
        field="Authorization",
        remedy="send what is in the file 'token' of the state directory of this controller",
        headers={"WWW-Authenticate": 'Bearer realm="lockstitch", error="invalid_token"'},
    )
