"""Idempotency keys: what a request was answered, for whoever sends it again."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from ryu_apps.rest.problems import Kind, Problem
from ryu_apps.store.access import AccessStore, AnswerRecord

HEADER = "Idempotency-Key"
KEPT_S = 24 * 3600.0
MOST_KEYS = 10_000
MOST_BYTES = 32 << 20
"""Of one token. Above either the oldest answers are forgotten before their time."""

_MOST_CHARACTERS = 255


class _State(Enum):
    RUNNING = "running"
    UNKNOWN = "unknown"
    DONE = "done"


@dataclass(slots=True)
class _Known:
    asked: str
    time_s: float
    state: _State
    size: int = 0


_NONE: OrderedDict[str, _Known] = OrderedDict()


class AnswerBook:
    """The answers to the keys of each token, for 24 hours. For one thread; content is read from the store."""

    def __init__(self, store: AccessStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, OrderedDict[str, _Known]] = {}
        self._sizes: dict[str, int] = {}
        for record, size in store.answer_index():
            # What was under way when the controller ended may have been done or not.
            state = _State.DONE if record.status is not None else _State.UNKNOWN
            self._put(record.token_id, record.key, _Known(record.asked, record.time_s, state, size))

    def claim(self, token_id: str, key: str, asked: str) -> AnswerRecord | None:
        """Take a key for a request: what to store of it, or None where it has been answered before.

        Raises a problem where the key is taken: by another request, or by this one, which is not answered yet.
        """
        known = self._known.get(token_id, _NONE).get(key)
        now_s = self._clock()
        if known is None or now_s - known.time_s >= KEPT_S:
            self._drop(token_id, key)
            self._put(token_id, key, _Known(asked, now_s, _State.RUNNING))
            return AnswerRecord(token_id, key, asked, now_s)
        if known.asked != asked:
            raise Problem(
                Kind.KEY_REUSED,
                "this key was used for another request",
                field=HEADER,
                remedy="send a new key with a new request, the old one only with the very same",
            )
        if known.state is _State.DONE:
            return None
        if known.state is _State.UNKNOWN:
            raise Problem(
                Kind.OUTCOME_UNKNOWN,
                "the controller was stopped while it answered this request: it may have been done or not",
                field=HEADER,
                remedy="look with GET whether it was done; if not, send it again with a new key",
            )
        raise Problem(
            Kind.IN_PROGRESS,
            "the request with this key is not answered yet",
            field=HEADER,
            remedy="wait a moment, then send it again with the same key",
        )

    def settle(self, record: AnswerRecord) -> list[tuple[str, str]]:
        """The answer to a key; gives the keys that are forgotten to make room."""
        self._drop(record.token_id, record.key)
        known = _Known(record.asked, record.time_s, _State.DONE, len(record.content or b""))
        self._put(record.token_id, record.key, known)
        return [(record.token_id, key) for key in self._surplus(record.token_id)]

    def release(self, token_id: str, key: str) -> None:
        """Give a key back: nothing was done."""
        self._drop(token_id, key)

    def forget_token(self, token_id: str) -> None:
        """Drop all answers to a token that was revoked."""
        self._known.pop(token_id, None)
        self._sizes.pop(token_id, None)

    def read(self, token_id: str, key: str) -> AnswerRecord | None:
        """The answer to a key that is settled. Reads the store: not on the event loop. Raises StoreError."""
        return self._store.answer(token_id, key)

    def _surplus(self, token_id: str) -> Iterable[str]:
        known = self._known[token_id]
        limit_s = self._clock() - KEPT_S
        for key in list(known):
            one = known[key]
            crowded = len(known) > MOST_KEYS or self._sizes[token_id] > MOST_BYTES
            if one.time_s > limit_s and not crowded:
                return
            if one.state is not _State.RUNNING:
                self._drop(token_id, key)
                yield key

    def _put(self, token_id: str, key: str, known: _Known) -> None:
        self._known.setdefault(token_id, OrderedDict())[key] = known
        self._sizes[token_id] = self._sizes.get(token_id, 0) + known.size

    def _drop(self, token_id: str, key: str) -> None:
        known = self._known.get(token_id, OrderedDict()).pop(key, None)
        if known is not None:
            self._sizes[token_id] -= known.size


def key_of(text: str | None) -> str | None:
    """The key that a header gives. Raises a 422 problem for one that is none."""
    if text is None:
        return None
    if not (0 < len(text) <= _MOST_CHARACTERS and all(0x21 <= ord(character) <= 0x7E for character in text)):
        raise Problem(
            Kind.INVALID,
            f"a key has 1 to {_MOST_CHARACTERS} visible ASCII characters",
            field=HEADER,
            remedy="send a random one, such as a UUID",
        )
    return text


def fingerprint(method: str, path: str, query: bytes, body: bytes) -> str:
    """What was asked, as a hash. Parts are told apart by their lengths."""
    digest = hashlib.sha256()
    for part in (method.encode(), path.encode("utf-8", "surrogateescape"), query, body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def kept_headers(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The headers of an answer that are given again with it."""
    again = (b"content-type", b"location", b"etag", b"link", b"retry-after")
    return json.dumps([[n.decode("latin-1"), v.decode("latin-1")] for n, v in headers if n.lower() in again])
