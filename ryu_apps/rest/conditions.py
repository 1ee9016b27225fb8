"""ETags and preconditions (RFC 9110): nobody overwrites what they have not seen."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Response
from pydantic import BaseModel

from ryu_apps.rest.pages import LOCATED
from ryu_apps.rest.problems import Kind, Problem, documented

View = TypeVar("View", bound=BaseModel)

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')

ETAG = {"ETag": {"schema": {"type": "string"}, "description": "Changes with the resource (RFC 9110)."}}

TAGGED: dict[int | str, dict[str, Any]] = {
    200: {"headers": ETAG},
    304: {"description": "It is what If-None-Match says", "headers": ETAG},
}
"""The `responses` of a GET with an ETag."""

GUARDED = documented(Kind.STALE)
"""The `responses` of what takes If-Match."""


def stored_as(view: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a PUT that takes If-Match and answers with this."""
    return {
        200: {"headers": ETAG},
        201: {"description": "It is new", "model": view, "headers": {**LOCATED, **ETAG}},
        **GUARDED,
    }


def stored(view: View, response: Response, where: str, *, is_new: bool) -> View:
    """The answer to who has stored this there: 200, or 201 and its place where it is new; with its ETag."""
    if is_new:
        response.status_code = 201
        response.headers["Location"] = where
    response.headers["ETag"] = tag_of(view)
    return view


class NotChanged(Exception):
    """The caller has it already."""

    def __init__(self, tag: str) -> None:
        super().__init__(tag)
        self.tag = tag


def tag_of(view: BaseModel, *, measured: Collection[str] = ()) -> str:
    """The strong ETag of a resource: `"wanted.measured"`, the second part only where something is measured.

    It is another one when any byte of the answer is. The first part leaves out what is measured.
    """
    wanted = _hash(view.model_dump_json(exclude=set(measured)))
    return f'"{wanted}.{_hash(view.model_dump_json(include=set(measured)))}"' if measured else f'"{wanted}"'


class Conditions:
    """What the headers of a request ask for."""

    def __init__(self, if_match: str | None, if_none_match: str | None) -> None:
        self._match = _tags(if_match, "If-Match")
        self._none_match = _tags(if_none_match, "If-None-Match")

    def read(self, view: BaseModel, response: Response, *, measured: Collection[str] = ()) -> None:
        """Tag the answer to a GET. Raises NotChanged where the caller has the very same already."""
        tag = tag_of(view, measured=measured)
        if self._none_match is not None and ("*" in self._none_match or tag in map(_weakly, self._none_match)):
            raise NotChanged(tag)
        response.headers["ETag"] = tag

    def check(self, view: BaseModel | None, *, measured: Collection[str] = ()) -> None:
        """Raise a 412 problem where a change is wanted of something else than this; None: there is none.

        What was measured meanwhile does not count: nobody could change a stitch that carries traffic.
        """
        tag = tag_of(view, measured=measured) if view is not None else None
        if self._match is not None and not _among(tag, self._match):
            detail = "it has changed since" if view is not None else "there is nothing here"
            raise Problem(
                Kind.STALE, detail, field="If-Match", remedy="GET it again, then decide on what it is now"
            )
        if self._none_match is not None and _among(tag, self._none_match):
            raise Problem(
                Kind.STALE,
                "it is there already",
                field="If-None-Match",
                remedy="leave the header out to replace it",
            )


def _conditions(
    if_match: Annotated[str | None, Header(max_length=2000, description="Only if it has this ETag.")] = None,
    if_none_match: Annotated[
        str | None, Header(max_length=2000, description="Only if it has another ETag.")
    ] = None,
) -> Conditions:
    return Conditions(if_match, if_none_match)


ConditionsOf = Annotated[Conditions, Depends(_conditions)]
"""A parameter of a handler: its preconditions."""


def _tags(text: str | None, field: str) -> frozenset[str] | None:
    if text is None:
        return None
    tags = [tag.strip() for tag in text.split(",") if tag.strip()]
    if not tags or not all(tag == "*" or _TAG.fullmatch(tag) for tag in tags):
        raise Problem(
            Kind.INVALID, "this is no list of ETags", field=field, remedy='send one as it came, with quotes: "..."'
        )
    return frozenset(tags)


def _among(tag: str | None, tags: frozenset[str]) -> bool:
    # A weak tag never matches here: RFC 9110, section 13.1.1.
    return tag is not None and ("*" in tags or _wanted(tag) in map(_wanted, tags))


def _wanted(tag: str) -> str:
    return tag.strip('"').partition(".")[0] if tag.startswith('"') else tag


def _weakly(tag: str) -> str:
    return tag.removeprefix("W/")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]
