"""What crosses the control channel: JSON objects, each one message with its type's name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

from pydantic import Field, ValidationError

from vte_agent.protocol.base import PROTOCOL_VERSION, Message, Name
from vte_agent.protocol.enrollment import (
    Challenge,
    ClaimFrame,
    Enroll,
    Enrolled,
    Lapsed,
    Refused,
    Renew,
    Renewed,
)
from vte_agent.protocol.has import Has
from vte_agent.protocol.signed import Signed

MOST_BYTES = 16 << 20
MOST_FROM_AGENT = 8 << 20
"""Bytes of what an agent says: room for the longest `Has` there is."""

PIECE = 8 << 10
"""Characters. websockets takes 4,096 pieces for a message, and the longest here has half as many."""

_MOST_PARTS = 400_000
"""Lists, objects and what is in them: a short text can be many, each of which takes memory while it is read."""
_MOST_PLACES = 100


class BadFrame(ValueError):
    """Not a message that is understood here."""


class Hello(Message):
    """The first thing an agent says on a channel: which protocol it speaks and which build it is."""

    version: int = PROTOCOL_VERSION
    build: Annotated[str, Field(max_length=63)] = ""


class WantedFrame(Message):
    """A new wanted state (a signed `Wanted`)."""

    wanted: Signed


class RollFrame(Message):
    """A new roll, ahead of everything else: who is revoked is out at once."""

    roll: Signed


class Moved(Message):
    """An agent had a route take another way, by itself."""

    at_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    prefix: Annotated[str, Field(max_length=64)]
    class_name: Name | None = None
    after: Name | None = None
    why: Annotated[str, Field(max_length=300)] = ""


FROM_AGENT: Final = {kind.__name__: kind for kind in (Hello, Enroll, Renew, Has, Moved)}
FROM_STRANGER: Final = {kind.__name__: kind for kind in (Enroll, Lapsed, ClaimFrame)}
"""Who shows no certificate."""

FROM_CONTROLLER: Final = {
    kind.__name__: kind for kind in (WantedFrame, RollFrame, Enrolled, Renewed, Challenge, Refused)
}


def encode(message: Message) -> str:
    """One message as text."""
    return f'{{"type":"{type(message).__name__}","body":{message.model_dump_json()}}}'


def pieces(text: str) -> Iterator[str]:
    """A long text in pieces, for a connection to send as one message.

    Who encrypts it, sends it on and hears it has memory for one of them only, but has it for as long as it lives.
    """
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]


def decode(text: str | bytes, kinds: Mapping[str, type[Message]]) -> Message:
    """The message of a text, if it is one of these kinds. Raises BadFrame, which never shows what came."""
    if len(text) > MOST_BYTES:
        raise BadFrame(f"a frame of {len(text)} bytes is longer than {MOST_BYTES}")
    if (sum(map(text.count, "[{,")) if isinstance(text, str) else sum(map(text.count, b"[{,"))) > _MOST_PARTS:
        raise BadFrame("a frame has too many parts")
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFrame("a frame is no JSON") from None
    kind = kinds.get(str(frame.get("type"))) if isinstance(frame, dict) else None
    if kind is None or frame.keys() != {"type", "body"}:
        raise BadFrame("a frame is of no type that is understood here")
    try:
        return kind.model_validate(frame["body"], strict=False)
    except (ValidationError, RecursionError) as error:
        raise BadFrame(f"a {kind.__name__} is not as it has to be, at {_places(error)}") from None


def _places(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError) or error.error_count() > _MOST_PLACES:
        return "many places"
    where = error.errors(include_input=False, include_url=False)[:3]
    return ", ".join(".".join(map(str, one["loc"])) or "(all)" for one in where)
