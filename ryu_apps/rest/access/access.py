"""All that decides who gets in, in one place."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ryu_apps.rest.access.answers import AnswerBook
from ryu_apps.rest.access.journal import Journal
from ryu_apps.rest.access.limits import Buckets
from ryu_apps.rest.access.tokens import TokenBook
from ryu_apps.store.access import AccessStore

_FAILURES_PER_S = 0.2
_FAILURES_AT_ONCE = 20.0


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """rate_per_s: how many requests a token may make in the long run, burst: at once. audit_days: kept so long."""

    rate_per_s: float = 200.0
    burst: float = 2000.0
    audit_days: float = 90.0


class Access:
    """Tokens, limits, audit and answers of one API. Raises StoreError."""

    def __init__(
        self,
        store: AccessStore,
        token: str,
        settings: AccessSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not token:
            raise ValueError("an empty token would let everybody in; see ryu_apps.rest.token")
        settings = settings or AccessSettings()
        self.store = store
        self.tokens = TokenBook(store, token, clock)
        self.journal = Journal(store, clock, settings.audit_days)
        self.answers = AnswerBook(store, clock)
        self.requests = Buckets(settings.rate_per_s, settings.burst, monotonic)
        self.failures = Buckets(_FAILURES_PER_S, _FAILURES_AT_ONCE, monotonic)

    def close(self) -> None:
        """End its thread."""
        self.journal.close()
