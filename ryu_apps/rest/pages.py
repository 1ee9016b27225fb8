"""Collections in pages: `limit` items from `cursor` on, and a link to the next page (RFC 8288)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response

from ryu_apps.rest.problems import Kind, Problem

Item = TypeVar("Item")
Key = tuple[Any, ...]

MOST_ITEMS = 10_000
_MOST_CURSOR = 1000

LINKED: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Link": {
                "schema": {"type": "string"},
                "description": 'The next page, as `<...>; rel="next"`; absent on the last one.',
            }
        }
    }
}
"""The `responses` of a collection."""

LOCATED = {"Location": {"schema": {"type": "string"}, "description": "Where it is."}}
"""The headers of what was made."""


class Page:
    """The part of a collection that a request asks for. Items have a key, by which they are in order."""

    def __init__(self, request: Request, response: Response, limit: int, cursor: str | None) -> None:
        self.limit = limit
        self._request = request
        self._response = response
        self._cursor = cursor

    def after(self, *types: type) -> Key | None:
        """The key of the last item before this page; None on the first. Raises a problem for a false cursor."""
        if self._cursor is None:
            return None
        try:
            padded = self._cursor + "=" * (-len(self._cursor) % 4)
            key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, RecursionError):
            key = None
        if not isinstance(key, list) or [type(part) for part in key] != list(types):
            raise Problem(
                Kind.INVALID,
                "this is no cursor of this collection",
                field="cursor",
                remedy="take it from the Link header of the page before, or leave it out to begin anew",
            )
        return tuple(key)

    def of(self, items: Iterable[Item], key: Callable[[Item], Key], *types: type) -> list[Item]:
        """The items of this page, of all items by rising key; links to the next one where there are more."""
        after = self.after(*types)
        rest = sorted((item for item in items if after is None or key(item) > after), key=key)
        return self.cut(rest, key)

    def cut(self, rest: list[Item], key: Callable[[Item], Key]) -> list[Item]:
        """The first `limit` of items in order; links to the next page where there are more."""
        shown = rest[: self.limit]
        if len(rest) > len(shown):
            text = json.dumps(key(shown[-1]), separators=(",", ":"))
            cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
            query = [(n, v) for n, v in self._request.query_params.multi_items() if n not in ("cursor", "limit")]
            query += [("limit", str(self.limit)), ("cursor", cursor)]
            self._response.headers["Link"] = f'<{self._request.url.path}?{urlencode(query)}>; rel="next"'
        return shown


def _page(
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS, description="Most items of the answer.")] = MOST_ITEMS,
    cursor: Annotated[
        str | None, Query(max_length=_MOST_CURSOR, description="Where to go on, from the link to the next page.")
    ] = None,
) -> Page:
    return Page(request, response, limit, cursor)


def _short_page(
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most items of the answer.")] = 100,
    cursor: Annotated[
        str | None, Query(max_length=_MOST_CURSOR, description="Where to go on, from the link to the next page.")
    ] = None,
) -> Page:
    return Page(request, response, limit, cursor)


PageOf = Annotated[Page, Depends(_page)]
"""A parameter of a handler: the page that is asked for."""

ShortPageOf = Annotated[Page, Depends(_short_page)]
"""The same, of collections that grow without end."""
