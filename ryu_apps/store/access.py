"""Who may call the API, what they changed, and what they were answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from ryu_apps.store import schema
from ryu_apps.store.codec import BadRecord, dump, load
from ryu_apps.store.engine import IN_MEMORY, Database
from ryu_apps.store.errors import StoreError
from stitching.terms import PRIORITY

Json = str
"""A JSON text."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token as it is kept: not itself, but the SHA-256 of its secret. scope: virtual networks; None is all.

    max_priority: of stitches it asks for; one that was made before there was a limit displaces nobody by it.
    """

    id: str
    name: str
    role: str
    scope: tuple[str, ...] | None
    digest: str
    created_s: float
    expires_s: float | None
    max_priority: int = PRIORITY


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A change or a denied attempt. status is None while it is under way, and where its end is not known."""

    id: int
    time_s: float
    who: str
    token_id: str | None
    role: str | None
    method: str
    path: str
    resource: str
    request_id: str
    denied: bool
    status: int | None = None
    before: Json | None = None
    after: Json | None = None


@dataclass(frozen=True, slots=True)
class AuditEnd:
    """How the change with this id ended."""

    id: int
    status: int
    denied: bool
    resource: str
    before: Json | None
    after: Json | None


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """What a request with an idempotency key was answered; status is None while it is not.

    asked is the SHA-256 of what was asked. content is None where it may not be kept.
    """

    token_id: str
    key: str
    asked: str
    time_s: float
    status: int | None = None
    headers: Json | None = None
    content: bytes | None = None


@dataclass(slots=True)
class Batch:
    """What is written in one transaction, in this order."""

    begun: list[AuditRecord] = field(default_factory=list)
    ended: list[AuditEnd] = field(default_factory=list)
    released: list[tuple[str, str]] = field(default_factory=list)
    answers: list[AnswerRecord] = field(default_factory=list)
    used_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which records: all conditions hold. who: name or id of a token; resource: a path, with all below it."""

    who: str | None = None
    resource: str | None = None
    since_s: float | None = None
    until_s: float | None = None
    denied: bool | None = None


class AccessStore:
    """Keeps tokens, the audit and answers in a database that has the tables of schema.py, or is given them.

    May be called from any thread. All calls raise StoreError.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        schema.prepare(database)

    @classmethod
    def in_memory(cls) -> AccessStore:
        """A store that is forgotten with its process."""
        return cls(Database(IN_MEMORY, durable=False))

    # -- tokens ---------------------------------------------------------------------------------------------

    def tokens(self) -> tuple[tuple[TokenRecord, float | None], ...]:
        """All tokens with the time each was used last, oldest first."""
        table = schema.tokens
        with self._database.lock, self._database.reading("read tokens") as connection:
            rows = connection.execute(
                select(table.c.body, table.c.used_s).order_by(table.c.created_s, table.c.id)
            ).all()
        try:
            return tuple((load(TokenRecord, body), used_s) for body, used_s in rows)
        except BadRecord as error:
            where = self._database.where
            raise StoreError(f"{where} has a token that cannot be read: {error}; move the file away") from error

    def save_token(self, token: TokenRecord) -> None:
        """Keep a new token."""
        row = {"id": token.id, "created_s": token.created_s, "body": dump(token)}
        with self._database.lock, self._database.writing("save a token") as connection:
            connection.execute(insert(schema.tokens), [row])

    def delete_token(self, token_id: str) -> None:
        """Forget a token and what it was answered."""
        with self._database.lock, self._database.writing("revoke a token") as connection:
            connection.execute(delete(schema.tokens).where(schema.tokens.c.id == token_id))
            connection.execute(delete(schema.answers).where(schema.answers.c.token_id == token_id))

    # -- the journal ----------------------------------------------------------------------------------------

    def write(self, batch: Batch) -> None:
        """Keep all of a batch or nothing of it."""
        audit, answers, tokens = schema.audit, schema.answers, schema.tokens
        with self._database.lock, self._database.writing("write the audit log") as connection:
            if batch.begun:
                connection.execute(insert(audit), [_row(record) for record in batch.begun])
            if batch.ended:
                ending = update(audit).where(audit.c.id == bindparam("key_id"))
                connection.execute(ending, [{"key_id": end.id, **_row(end, "id")} for end in batch.ended])
            gone = [*batch.released, *((answer.token_id, answer.key) for answer in batch.answers)]
            if gone:
                going = delete(answers).where(
                    answers.c.token_id == bindparam("key_token"), answers.c.key == bindparam("key_key")
                )
                connection.execute(going, [{"key_token": token, "key_key": key} for token, key in gone])
            if batch.answers:
                connection.execute(insert(answers), [_row(answer) for answer in batch.answers])
            if batch.used_s:
                using = update(tokens).where(tokens.c.id == bindparam("key_id")).values(used_s=bindparam("used_s"))
                connection.execute(using, [{"key_id": i, "used_s": s} for i, s in batch.used_s.items()])

    def forget(self, before_s: float, *, changes: int, denied: int, answers_before_s: float) -> None:
        """Drop what is from before a time, and the oldest records of the audit above so many of each kind."""
        table = schema.audit
        with self._database.lock, self._database.writing("shorten the audit log") as connection:
            connection.execute(delete(schema.answers).where(schema.answers.c.time_s < answers_before_s))
            connection.execute(delete(table).where(table.c.time_s < before_s))
            for kind, most in ((False, changes), (True, denied)):
                of_kind = table.c.denied == kind
                newest = select(table.c.id).where(of_kind).order_by(table.c.id.desc())
                last_out = connection.scalar(newest.offset(most).limit(1))
                if last_out is not None:
                    connection.execute(delete(table).where(of_kind, table.c.id <= last_out))

    def last_audit_id(self) -> int:
        """The highest id in the audit; 0 where it is empty."""
        with self._database.lock, self._database.reading("read the audit log") as connection:
            return int(connection.scalar(select(func.max(schema.audit.c.id))) or 0)

    def audit(self, query: AuditQuery, *, below_id: int | None, limit: int) -> tuple[AuditRecord, ...]:
        """The newest records first, those below an id."""
        table = schema.audit
        wanted = select(table).order_by(table.c.id.desc()).limit(limit)
        if below_id is not None:
            wanted = wanted.where(table.c.id < below_id)
        if query.who is not None:
            wanted = wanted.where(or_(table.c.who == query.who, table.c.token_id == query.who))
        if query.resource is not None:
            below = f"{query.resource.rstrip('/')}/"
            wanted = wanted.where(
                or_(table.c.resource == query.resource, table.c.resource.startswith(below, autoescape=True))
            )
        if query.since_s is not None:
            wanted = wanted.where(table.c.time_s >= query.since_s)
        if query.until_s is not None:
            wanted = wanted.where(table.c.time_s < query.until_s)
        if query.denied is not None:
            wanted = wanted.where(table.c.denied == query.denied)
        with self._database.lock, self._database.reading("read the audit log") as connection:
            return tuple(AuditRecord(**row) for row in connection.execute(wanted).mappings())

    # -- answers --------------------------------------------------------------------------------------------

    def answer_index(self) -> Sequence[tuple[AnswerRecord, int]]:
        """All answers but for their headers and content, oldest first, and how many bytes each content has."""
        table = schema.answers
        columns = (table.c.token_id, table.c.key, table.c.asked, table.c.time_s, table.c.status)
        size = func.coalesce(func.length(table.c.content), 0)
        with self._database.lock, self._database.reading("read the answers") as connection:
            rows = connection.execute(select(*columns, size).order_by(table.c.time_s)).all()
        return [(AnswerRecord(*row[:-1]), row[-1]) for row in rows]

    def answer(self, token_id: str, key: str) -> AnswerRecord | None:
        """The answer to a key."""
        table = schema.answers
        wanted = select(table).where(table.c.token_id == token_id, table.c.key == key)
        with self._database.lock, self._database.reading("read an answer") as connection:
            row = connection.execute(wanted).mappings().first()
        return AnswerRecord(**row) if row is not None else None

    def forget_answers(self, keys: Iterable[tuple[str, str]]) -> None:
        """Drop the answers to these keys."""
        self.write(Batch(released=list(keys)))


def _row(record: Any, *but: str) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__ if name not in but}
