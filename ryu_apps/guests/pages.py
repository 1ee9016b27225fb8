"""Serves what the controllers of hosted apps answer, behind our own paths and our own token."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Request, Response

from ryu_apps.guests import wsgi
from ryu_apps.guests.loading import cause
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.problems import Kind, Problem

ANSWER_S = 10.0
"""How long a hosted app may take to answer."""

_AT_A_TIME = 8
"""Requests to hosted apps at a time: they have threads of their own, so that those that hang keep none of ours."""


def pages_of(application: wsgi.WSGIApplication) -> tuple[APIRouter, APIRouter]:
    """Two routers that answer every path that is left: the first reads, the second changes."""
    limit: list[anyio.CapacityLimiter] = []

    def _limiter() -> anyio.CapacityLimiter:
        if not limit:
            limit.append(anyio.CapacityLimiter(_AT_A_TIME))
        return limit[0]

    handler = _handler(application, _limiter)
    reads = APIRouter(include_in_schema=False, dependencies=[needs(Role.VIEWER)])
    changes = APIRouter(include_in_schema=False, dependencies=[needs(Role.ADMIN)])
    reads.api_route("/{path:path}", methods=["GET"])(handler)
    changes.api_route("/{path:path}", methods=["POST", "PUT", "DELETE", "PATCH"])(handler)
    return reads, changes


def _handler(
    application: wsgi.WSGIApplication, limiter: Callable[[], anyio.CapacityLimiter]
) -> Callable[[Request, ChangeOf], Awaitable[Response]]:
    async def handler(request: Request, change: ChangeOf) -> Response:
        path = request.url.path
        if not application.has(request.method, path):
            raise HTTPException(404)
        body = await request.body()
        asked = wsgi.Request(request.method, path, request.url.query, _told(request), body)
        change.after = {"given": _recorded(body), "query": request.url.query or None, "answered": None}
        try:
            with anyio.fail_after(ANSWER_S):
                answer = await run_sync(application.answer, asked, abandon_on_cancel=True, limiter=limiter())
        except TimeoutError as error:
            raise Problem(
                Kind.GUEST_SILENT,
                f"the hosted app did not answer {request.method} {path} within {ANSWER_S:g} s",
                remedy="look at GET /v1/health, and at the app",
            ) from error
        except Exception as error:
            raise Problem(
                Kind.GUEST_FAILED,
                f"the hosted app failed over {request.method} {path}: {cause(error)}",
                remedy="put the app right, or what is sent to it",
            ) from error
        change.after["answered"] = _recorded(answer.body)
        return Response(answer.body, answer.status_code, answer.headers, answer.content_type)

    return handler


def _told(request: Request) -> dict[str, str]:
    """The headers, without the token: it is no business of the app."""
    return {name: value for name, value in request.headers.items() if name != "authorization"}


def _recorded(body: bytes) -> Any:
    """A body for the audit: as it is where it is JSON, without its secrets then; else its length and hash."""
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
