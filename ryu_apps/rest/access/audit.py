"""What the audit says of a change: before and after as JSON, without secrets, and not without bounds."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

from fastapi import Depends, Request
from pydantic import BaseModel

CHANGE_KEY = "lockstitch.change"
"""Where a request (its ASGI scope) has its change."""

MOST_BYTES = 65_536
"""Of a state that is longer, only its length and hash are kept."""

_SECRETS = frozenset({"token", "secret", "password", "passphrase", "key", "psk", "private_key", "authorization"})
_MAYBE_SECRET = re.compile("|".join(f'"{name}":' for name in sorted(_SECRETS)), re.IGNORECASE)
_HIDDEN = "(not kept)"
_ANSWERED: Any = object()


@dataclass(slots=True)
class Change:
    """What a handler knows of the change it makes. after: what it was answered, unless it is set."""

    before: Any = None
    after: Any = field(default=_ANSWERED)
    resource: str | None = None

    def after_text(self, answered: bytes | None) -> str | None:
        """What it is like after the change, given the body of the answer, which is kept where it is JSON."""
        if self.after is not _ANSWERED:
            return text_of(self.after)
        if not answered:
            return None
        if len(answered) > MOST_BYTES and not _MAYBE_SECRET.search(text := answered.decode()):
            # A batch of a thousand: whoever asked for it waits until this is on record.
            return _too_long(text)
        try:
            return text_of(json.loads(answered))
        except ValueError:
            return None


def change_of(request: Request) -> Change:
    """The change that a request makes; one that nobody looks at where it makes none."""
    return cast("Change", request.scope.get(CHANGE_KEY) or Change())


ChangeOf = Annotated[Change, Depends(change_of)]
"""A parameter of a handler: says what was there before, for the audit."""


def text_of(state: Any) -> str | None:
    """A state as JSON text, with secrets left out; None for None."""
    if state is None:
        return None
    if isinstance(state, BaseModel):
        state = state.model_dump(mode="json")
    text = _json(state)
    if _MAYBE_SECRET.search(text):
        text = _json(_without_secrets(state))
    if len(text) <= MOST_BYTES:
        return text
    return _too_long(text)


def _too_long(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({"too_long": True, "bytes": len(text), "sha256": digest})


def _json(state: Any) -> str:
    return json.dumps(state, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _HIDDEN if str(name).lower() in _SECRETS else _without_secrets(item)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_without_secrets(item) for item in value]
    if isinstance(value, BaseModel):
        return _without_secrets(value.model_dump(mode="json"))
    return value
