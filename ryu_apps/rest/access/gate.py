"""What every request goes through before its handler (ASGI middleware): who, what they may, what is kept of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ryu_apps.rest.access import answers
from ryu_apps.rest.access.access import Access
from ryu_apps.rest.access.audit import CHANGE_KEY, Change, text_of
from ryu_apps.rest.access.journal import Attempt
from ryu_apps.rest.access.roles import SCOPE_KEY, Need, Principal
from ryu_apps.rest.access.routes import RouteTable
from ryu_apps.rest.guards import request_id_of
from ryu_apps.rest.problems import Kind, Problem, problem_response
from ryu_apps.store.access import AnswerRecord, AuditEnd, Batch
from ryu_apps.store.errors import StoreError

REPLAYED = "Idempotent-Replayed"


class RequireToken:
    """Lets nobody in without a bearer token (RFC 6750), whatever the path, and nobody too often."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on where its token is right."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            scope[SCOPE_KEY] = await self._principal(scope)
        except Problem as problem:
            await problem_response(problem.view, problem.headers)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _principal(self, scope: Scope) -> Principal:
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        # latin-1 is how ASGI decoded the header.
        offered = given.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
        # A right token is let in however many wrong ones came from its address: nobody can guess 256 bits, but a
        # script with an old token could lock out all others behind the same address.
        who = self._access.tokens.principal(offered) if offered else None
        if who is None:
            address = _address(scope)
            if (wait_s := self._access.failures.take(address)) is not None:
                raise _too_often("too many requests without a right token came from this address", wait_s)
            await self._access.journal.denied(_attempt(scope, None), 401)
            raise _token_wrong() if offered else _token_missing()
        if (wait_s := self._access.requests.take(who.token_id)) is not None:
            raise _too_often(f"the token {who.name!r} asks too often", wait_s)
        if used_s := self._access.tokens.uses_to_store():
            await self._access.journal.used(used_s)
        return who


class Gate:
    """Lets a request through to a route that its token may use, and keeps a record of what it changes."""

    def __init__(self, app: ASGIApp, access: Access, table: RouteTable) -> None:
        self.app = app
        self._access = access
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer why not."""
        entry = self._table.find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if entry is None:
            # There is no such path or method, as the framework will say.
            await self.app(scope, receive, send)
            return
        try:
            try:
                entry.need.check(scope[SCOPE_KEY])
            except Problem:
                await self._access.journal.denied(_attempt(scope, scope[SCOPE_KEY]), 403)
                raise
            if entry.need.changes and scope["method"] != "GET":
                messages = await self._change(scope, receive, entry.need)
            else:
                messages = None
        except Problem as problem:
            await problem_response(problem.view, problem.headers)(scope, receive, send)
            return
        if messages is None:
            await self.app(scope, receive, send)
        else:
            for message in messages:
                await send(message)

    async def _change(self, scope: Scope, receive: Receive, need: Need) -> list[Message]:
        """Do what changes something, between two records; what it is answered. Raises problems."""
        who: Principal = scope[SCOPE_KEY]
        body = await _body(receive)
        claimed = None
        key = answers.key_of(Headers(scope=scope).get(answers.HEADER)) if scope["method"] == "POST" else None
        if key is not None:
            asked = answers.fingerprint(scope["method"], scope["path"], scope["query_string"], body)
            claimed = self._access.answers.claim(who.token_id, key, asked)
            if claimed is None:
                return await self._again(who, key)
        try:
            number = await self._access.journal.begin(_attempt(scope, who), claimed)
        except StoreError as error:
            self._settle(claimed, None, need)
            raise Problem(
                Kind.UNRECORDED,
                f"{error}; nothing was changed",
                remedy="put that right, then try again: what cannot be put on record is not done",
            ) from error
        except BaseException:
            self._settle(claimed, None, need)
            raise
        change = scope[CHANGE_KEY] = Change(resource=scope["path"])
        try:
            messages = await _answered(self.app, scope, body)
        except Exception:
            await self._end(number, change, None, claimed, need)
            raise
        await self._end(number, change, messages, claimed, need)
        return messages

    async def _end(
        self, number: int, change: Change, messages: list[Message] | None, claimed: AnswerRecord | None, need: Need
    ) -> None:
        status = messages[0]["status"] if messages else 500
        after = None
        if messages:
            change.resource = Headers(raw=messages[0]["headers"]).get("location") or change.resource
            # Without its body, which says why: what is refused changes nothing, unless the handler says so.
            after = change.after_text(None if need.secret or status >= 300 else _body_of(messages))
        batch = self._settle(claimed, messages, need)
        resource = (change.resource or "")[:500]
        end = AuditEnd(number, status, status == 403, resource, text_of(change.before), after)
        await self._access.journal.end(end, batch)

    def _settle(self, claimed: AnswerRecord | None, messages: list[Message] | None, need: Need) -> Batch:
        """Keep the answer to a key; one that says that the controller failed gives the key back."""
        if claimed is None:
            return Batch()
        status = messages[0]["status"] if messages else 500
        if messages is None or status >= 500:
            self._access.answers.release(claimed.token_id, claimed.key)
            return Batch(released=[(claimed.token_id, claimed.key)])
        secret = need.secret and status < 300
        content = None if secret else b"".join(message.get("body", b"") for message in messages[1:])
        headers = answers.kept_headers(messages[0]["headers"])
        settled = replace(claimed, status=status, headers=headers, content=content)
        return Batch(released=self._access.answers.settle(settled), answers=[settled])

    async def _again(self, who: Principal, key: str) -> list[Message]:
        try:
            record = await asyncio.to_thread(self._access.answers.read, who.token_id, key)
        except StoreError as error:
            raise Problem(
                Kind.UNAVAILABLE, str(error), remedy="this request was done before; ask for its answer again later"
            ) from error
        if record is None or record.status is None or record.headers is None:
            raise Problem(
                Kind.IN_PROGRESS,
                "the answer to the request with this key is being stored",
                field=answers.HEADER,
                remedy="wait a moment, then send it again with the same key",
            )
        if record.content is None:
            raise Problem(
                Kind.SHOWN_ONCE,
                "this request was done, and its answer held a secret, which is shown once",
                field=answers.HEADER,
                remedy="revoke what was made (GET lists it), then make another with a new key",
            )
        headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in json.loads(record.headers)]
        headers += [(b"content-length", str(len(record.content)).encode()), (REPLAYED.lower().encode(), b"true")]
        if record.status == 204:
            headers = [header for header in headers if header[0] != b"content-length"]
        return [
            {"type": "http.response.start", "status": record.status, "headers": headers},
            {"type": "http.response.body", "body": record.content},
        ]


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        try:
            message = await receive()
        except HTTPException as error:
            raise Problem(Kind.TOO_LARGE, str(error.detail), remedy="send it in smaller parts") from error
        if message["type"] != "http.request":
            raise Problem(
                Kind.MALFORMED, "the request ended before its body", field="body", remedy="send it whole"
            )
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _answered(app: ASGIApp, scope: Scope, body: bytes) -> list[Message]:
    """What an app answers, held back. Its caller may be gone: that is no reason to stop halfway."""
    messages: list[Message] = []
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            await asyncio.Event().wait()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    return messages


def _body_of(messages: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in messages[1:])


def _attempt(scope: Scope, who: Principal | None) -> Attempt:
    return Attempt(who, _address(scope), scope["method"], scope["path"], request_id_of(scope))


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "an unknown address"


def _too_often(detail: str, wait_s: int) -> Problem:
    headers = {"Retry-After": str(wait_s)}
    return Problem(Kind.TOO_MANY, detail, remedy=f"wait {wait_s} s, then try again", headers=headers)


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
        "the bearer token is not the token of this controller, or is no longer one",
        field="Authorization",
        remedy="send what is in the file 'token' of the state directory of this controller, or a token made by it",
        headers={"WWW-Authenticate": 'Bearer realm="lockstitch", error="invalid_token"'},
    )
