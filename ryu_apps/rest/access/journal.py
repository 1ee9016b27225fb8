"""Writes what happens at the API into the store: many at once share one transaction, and nobody goes unwritten."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ryu_apps.rest.access.answers import KEPT_S
from ryu_apps.rest.access.roles import Principal
from ryu_apps.store.access import AccessStore, AnswerRecord, AuditEnd, AuditRecord, Batch
from ryu_apps.store.errors import StoreError

log = logging.getLogger("lockstitch.audit")

MOST_CHANGES = 100_000
MOST_DENIED = 10_000
"""Attempts that were denied are kept apart, so that nobody can push changes out of the log by being denied."""

_SHORTEN_EACH_S = 600.0
_MOST_LATE = 10_000
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who asks for what."""

    who: Principal | None
    address: str
    method: str
    path: str
    request_id: str


class Journal:
    """The audit, and what goes with it into one transaction. For one event loop at a time.

    keep_days: how long records are kept; MOST_CHANGES and MOST_DENIED bound them too.
    """

    def __init__(self, store: AccessStore, clock: Callable[[], float], keep_days: float) -> None:
        self._store = store
        self._clock = clock
        self._keep_s = keep_days * _DAY_S
        self._ids = itertools.count(store.last_audit_id() + 1)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="rest-journal")
        self._waiting: list[tuple[Batch, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._late = Batch()
        self._shorten_at_s = 0.0

    async def begin(self, attempt: Attempt, answer: AnswerRecord | None) -> int:
        """Store that somebody is about to change something; its id. Raises StoreError: do nothing then."""
        record = self._record(attempt, denied=False)
        await self.write(Batch(begun=[record], answers=[answer] if answer is not None else []))
        return record.id

    async def end(self, end: AuditEnd, batch: Batch) -> None:
        """Store how it ended. Where the store does not take it now, it does with what is written next."""
        batch.ended.append(end)
        try:
            await self.write(batch)
        except StoreError as error:
            log.warning("audit=%d outcome=late status=%d error=%s", end.id, end.status, error)
            if len(self._late.ended) < _MOST_LATE:
                _add(self._late, batch)

    async def denied(self, attempt: Attempt, status: int) -> None:
        """Store that somebody was not let in, if that can be stored."""
        record = replace(self._record(attempt, denied=True), status=status)
        log.warning(
            "denied=%d who=%r address=%s method=%s path=%r",
            status, record.who, attempt.address, record.method, record.path,
        )  # fmt: skip
        try:
            await self.write(Batch(begun=[record]))
        except StoreError as error:
            log.warning("denied=not_stored error=%s", error)

    async def used(self, used_s: dict[str, float]) -> None:
        """Store when tokens were used last, if that can be stored."""
        try:
            await self.write(Batch(used_s=used_s))
        except StoreError as error:
            log.warning("used=not_stored error=%s", error)

    async def write(self, batch: Batch) -> None:
        """Store a batch, together with those of others that wait. Raises StoreError."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        await done

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown()

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            # Those that come in while these are written go together next time.
            waiting, self._waiting = self._waiting, []
            late, self._late = self._late, Batch()
            together = Batch()
            _add(together, late)
            for batch, _ in waiting:
                _add(together, batch)
            error: Exception | None = None
            try:
                await loop.run_in_executor(self._executor, self._store_now, together)
            except Exception as raised:  # noqa: BLE001  # whatever it is, those who wait are told
                error = raised
                _add(late, self._late)
                self._late = late
            for _, done in waiting:
                if done.done():
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    def _store_now(self, batch: Batch) -> None:
        self._store.write(batch)
        now_s = self._clock()
        if now_s >= self._shorten_at_s:
            self._shorten_at_s = now_s + _SHORTEN_EACH_S
            try:
                self._store.forget(
                    now_s - self._keep_s,
                    changes=MOST_CHANGES,
                    denied=MOST_DENIED,
                    answers_before_s=now_s - KEPT_S,
                )
            except StoreError as error:
                log.warning("audit=not_shortened error=%s", error)

    def _record(self, attempt: Attempt, *, denied: bool) -> AuditRecord:
        who = attempt.who
        return AuditRecord(
            id=next(self._ids),
            time_s=self._clock(),
            who=who.name if who is not None else f"nobody at {attempt.address}"[:80],
            token_id=who.token_id if who is not None else None,
            role=who.role.value if who is not None else None,
            method=attempt.method[:10],
            path=attempt.path[:500].encode("utf-8", "replace").decode(),
            resource=attempt.path[:500].encode("utf-8", "replace").decode(),
            request_id=attempt.request_id,
            denied=denied,
        )


def _add(to: Batch, other: Batch) -> None:
    to.begun += other.begun
    to.ended += other.ended
    to.released += other.released
    to.answers += other.answers
    to.used_s.update(other.used_s)
