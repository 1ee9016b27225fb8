"""Problems: every error of the API is one document of one shape (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any

from fastapi import Response
from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"

_TYPE_PREFIX = "urn:problem-type:lockstitch:"


class Kind(Enum):
    """What can go wrong: the HTTP status, the name in the problem's type, and its title."""

    UNAUTHORIZED = (401, "unauthorized", "A valid token is needed")
    FORBIDDEN = (403, "forbidden", "The token may not do this")
    TOO_MANY = (429, "too-many-requests", "This was asked too often")
    NO_ROUTE = (404, "no-such-path", "There is nothing at this path")
    METHOD = (405, "method-not-allowed", "This path does not take this method")
    TOO_LARGE = (413, "body-too-large", "The body is too large")
    NOT_JSON = (415, "not-json", "The body is not declared as JSON")
    MALFORMED = (400, "malformed-json", "The body is not JSON")
    INVALID = (422, "invalid", "A field is not what it has to be")
    UNKNOWN_HOST = (404, "unknown-host", "No such host is known")
    UNKNOWN_LINK = (404, "unknown-link", "No such link is known")
    UNKNOWN_STITCH = (404, "unknown-stitch", "There is no such stitch")
    UNKNOWN_VNET = (404, "unknown-vnet", "There is no such virtual network")
    UNKNOWN_VERSION = (404, "unknown-version", "There is no such version")
    BAD_POLICY = (422, "bad-policy", "The policy cannot be accepted")
    UNKNOWN_TOKEN = (404, "unknown-token", "There is no such token")
    UNKNOWN_SWITCH = (404, "unknown-switch", "No such switch is connected")
    UNKNOWN_PORT = (404, "unknown-port", "The switch has no such port")
    NOT_SERVED = (404, "not-served", "This message is not sent to switches")
    BAD_BODY = (400, "bad-body", "The body cannot be turned into a message")
    NOT_YOURS = (409, "not-yours", "This belongs to another owner")
    REFUSED = (409, "refused-by-switch", "The switch refused it")
    SWITCH_GONE = (503, "switch-gone", "The switch went away before it answered")
    GUEST_FAILED = (502, "hosted-app-failed", "A hosted app failed to answer")
    GUEST_SILENT = (504, "hosted-app-silent", "A hosted app did not answer in time")
    NO_ANSWER = (504, "switch-silent", "The switch did not answer in time")
    UNKNOWN_INTENT = (404, "unknown-intent", "There is no such intent")
    BAD_INTENTS = (422, "bad-intents", "The intents cannot be accepted")
    NO_OVERLAY = (404, "no-overlay", "This controller joins no sites")
    UNKNOWN_SITE = (404, "unknown-site", "There is no such site")
    UNKNOWN_UPLINK = (404, "unknown-uplink", "The site has no such uplink")
    UNKNOWN_CLASS = (404, "unknown-class", "There is no such application class")
    TOO_MANY_CLASSES = (409, "too-many-classes", "No more application classes can be made")
    UNKNOWN_RULE = (404, "unknown-rule", "There is no such rule for pairs of sites")
    TOO_MANY_RULES = (409, "too-many-rules", "No more rules for pairs of sites can be made")
    CONFLICT = (409, "conflicting-intents", "Intents contradict each other")
    UNDONE = (409, "undone", "A part could not be had, and all was undone")
    NOT_POSSIBLE = (409, "not-possible", "The stitch cannot be had")
    WRONG_STATE = (409, "wrong-state", "The stitch is in a state that does not allow this")
    NOT_RECONCILED = (409, "not-reconciled", "The switch could not be compared or put right")
    DUPLICATE_VNET = (409, "duplicate-vnet", "A virtual network of this name exists")
    OVERLAP = (409, "overlapping-vnets", "Another virtual network claims the same")
    RESERVED = (409, "reserved-name", "This name is reserved")
    NOT_UP = (409, "not-up", "The stitch did not come up as asked")
    TOO_MANY_TOKENS = (409, "too-many-tokens", "No more tokens can be made")
    IN_PROGRESS = (409, "in-progress", "The request with this key is under way")
    OUTCOME_UNKNOWN = (409, "outcome-unknown", "It is not known how the request with this key ended")
    SHOWN_ONCE = (409, "shown-once", "The answer held a secret and is not given again")
    STALE = (412, "changed-since", "It is not what the precondition says")
    KEY_REUSED = (422, "key-reused", "The key was used for another request")
    INTERNAL = (500, "internal", "The controller failed to answer")
    UNSTORED = (503, "not-stored", "The controller could not store it")
    UNRECORDED = (503, "not-recorded", "The change could not be put on record")
    UNAVAILABLE = (503, "unavailable", "A part of the controller does not answer")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[0]

    @property
    def uri(self) -> str:
        """The `type` of the problem."""
        return _TYPE_PREFIX + self.value[1]

    @property
    def title(self) -> str:
        """What kind of thing went wrong; the same for every problem of the type."""
        return self.value[2]


class FieldError(BaseModel):
    """A field of the request and what is wrong with it."""

    field: str
    problem: str


class ProblemView(BaseModel):
    """What went wrong, where, and what to do about it (RFC 9457)."""

    type: str = Field(description="Names the kind of problem; stable.")
    title: str
    status: int
    detail: str
    field: str | None = Field(default=None, description="The field of the request that stands in the way.")
    remedy: str | None = Field(default=None, description="What would help.")
    errors: list[FieldError] | None = Field(default=None, description="Every field that is wrong.")
    error_id: str | None = Field(default=None, description="Find this in the log of the controller.")


class Problem(Exception):
    """A request that cannot be answered as asked; raised by handlers, sent by `problem_response`."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        field: str | None = None,
        remedy: str | None = None,
        errors: list[FieldError] | None = None,
        error_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.headers = headers
        self.view = ProblemView(
            type=kind.uri,
            title=kind.title,
            status=kind.status,
            detail=detail,
            field=field,
            remedy=remedy,
            errors=errors,
            error_id=error_id,
        )


def problem_response(view: ProblemView, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that carries a problem.

    ASCII only: a field name taken from the request may hold half a surrogate pair, which UTF-8 cannot.
    """
    body = json.dumps(view.model_dump(exclude_none=True), ensure_ascii=True)
    return Response(body, view.status, dict(headers or {}), MEDIA_TYPE)


def plain_problem(status: int, detail: str) -> ProblemView:
    """A problem that says no more than its HTTP status (type about:blank, RFC 9457 section 4.2.1)."""
    return ProblemView(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail)


def documented(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may end in these problems."""
    described: dict[int, list[str]] = {}
    for kind in kinds:
        described.setdefault(kind.status, []).append(kind.title)
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": "; ".join(titles), "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, titles in described.items()
    }
