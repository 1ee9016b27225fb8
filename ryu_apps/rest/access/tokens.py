"""The tokens there are: made, told apart, listed and revoked. Their secrets are known to their holders alone."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ryu_apps.rest.access.roles import Principal, Role
from ryu_apps.store.access import AccessStore, TokenRecord

BOOTSTRAP = "bootstrap"
"""The name and id of the token in the state directory."""

MOST_TOKENS = 1000

_SECRET_BYTES = 32
_USES_STORED_EACH_S = 60.0


class TooManyTokens(RuntimeError):
    """No more tokens fit."""


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What is told of a token. used_s: when it was used last, in seconds since the epoch."""

    record: TokenRecord
    used_s: float | None

    @property
    def principal(self) -> Principal:
        """Who has this token."""
        one = self.record
        scope = frozenset(one.scope) if one.scope is not None else None
        return Principal(one.id, one.name, Role(one.role), scope, self.max_priority)

    @property
    def max_priority(self) -> int:
        """The greatest priority it may ask for; an admin could make itself a token for any."""
        role = Role(self.record.role)
        return role.default_max_priority if role is Role.ADMIN else self.record.max_priority


class TokenBook:
    """All tokens. One that was made is `id.secret`: the id finds it, the hash of its 256 bits is compared.

    A hash without salt or rounds is enough for a secret that nobody can guess. May be called from any thread.
    """

    def __init__(self, store: AccessStore, bootstrap: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._bootstrap = _digest(bootstrap.encode())
        self._lock = threading.Lock()
        self._records = {record.id: record for record, _ in store.tokens()}
        self._used_s = {record.id: used_s for record, used_s in store.tokens() if used_s is not None}
        self._stored_s = -math.inf

    def principal(self, offered: bytes) -> Principal | None:
        """Who offers this token; None where it is none, or no longer one."""
        if hmac.compare_digest(_digest(offered), self._bootstrap):
            return Principal(BOOTSTRAP, BOOTSTRAP, Role.ADMIN, max_priority=Role.ADMIN.default_max_priority)
        token_id, _, secret = offered.partition(b".")
        record = self._records.get(token_id.decode("ascii", "replace"))
        # Hashed and compared also where there is no such id: an answer takes as long either way.
        expected = record.digest if record is not None else self._bootstrap
        if not hmac.compare_digest(_digest(secret), expected) or record is None:
            return None
        now_s = self._clock()
        if record.expires_s is not None and now_s >= record.expires_s:
            return None
        self._used_s[record.id] = now_s
        return TokenInfo(record, now_s).principal

    def create(
        self,
        name: str,
        role: Role,
        scope: Collection[str] | None,
        expires_s: float | None,
        max_priority: int | None = None,
    ) -> tuple[str, TokenInfo]:
        """A new token, which nobody can be told again; max_priority: that of its role unless given.

        Raises TooManyTokens, StoreError.
        """
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        with self._lock:
            if len(self._records) >= MOST_TOKENS:
                raise TooManyTokens(f"there are {MOST_TOKENS} tokens already")
            token_id = secrets.token_hex(4)
            while token_id in self._records:
                token_id = secrets.token_hex(4)
            record = TokenRecord(
                token_id,
                name,
                role.value,
                tuple(sorted(set(scope))) if scope is not None else None,
                _digest(secret.encode()),
                self._clock(),
                expires_s,
                role.default_max_priority if max_priority is None else max_priority,
            )
            self._store.save_token(record)
            self._records[token_id] = record
        return f"{token_id}.{secret}", TokenInfo(record, None)

    def revoke(self, token_id: str) -> TokenInfo | None:
        """Forget a token; from now on it opens nothing. None where there is none of that id. Raises StoreError."""
        with self._lock:
            info = self.get(token_id)
            if info is not None:
                self._store.delete_token(token_id)
                del self._records[token_id]
                self._used_s.pop(token_id, None)
            return info

    def get(self, token_id: str) -> TokenInfo | None:
        """What is told of a token."""
        record = self._records.get(token_id)
        return TokenInfo(record, self._used_s.get(token_id)) if record is not None else None

    def holds(self, token_id: str) -> bool:
        """Whether a token is still one."""
        record = self._records.get(token_id)
        if record is None:
            return token_id == BOOTSTRAP
        return record.expires_s is None or self._clock() < record.expires_s

    def all(self) -> list[TokenInfo]:
        """All tokens but the bootstrap one, by id."""
        return [TokenInfo(record, self._used_s.get(i)) for i, record in sorted(self._records.items())]

    def uses_to_store(self) -> dict[str, float]:
        """When tokens were used last, those that were since this gave something; once a minute at most."""
        now_s = self._clock()
        if 0 <= now_s - self._stored_s < _USES_STORED_EACH_S:
            return {}
        found = {i: s for i, s in list(self._used_s.items()) if s > self._stored_s}
        if found:
            self._stored_s = now_s
        return found


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
