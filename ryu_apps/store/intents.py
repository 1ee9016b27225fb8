"""Versions of the intents, and how far their transfers have come."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, func, insert, select, update

from ryu_apps.store import schema
from ryu_apps.store.codec import BadRecord, dump, load
from ryu_apps.store.engine import Database
from ryu_apps.store.errors import StoreError
from stitching.intents.version import IntentVersion
from stitching.intents.world import Progress

KEPT_VERSIONS = 100
"""Versions before the newest."""


class IntentStore:
    """The intents of one controller, in the database of its state. All calls raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = database.lock

    def version(self, number: int | None = None) -> IntentVersion | None:
        """A version, the newest unless one is named; None where there is none."""
        table = schema.intent_versions
        query = select(table).order_by(table.c.version.desc())
        if number is not None:
            query = query.where(table.c.version == number)
        with self._database.reading("read the intents") as connection:
            row = connection.execute(query.limit(1)).mappings().first()
        return None if row is None else IntentVersion(**row)

    def versions(self) -> tuple[IntentVersion, ...]:
        """All versions, the newest first."""
        table = schema.intent_versions
        with self._database.reading("read the versions of the intents") as connection:
            rows = connection.execute(select(table).order_by(table.c.version.desc())).mappings().all()
        return tuple(IntentVersion(**row) for row in rows)

    def save(self, created_s: float, document: str, note: str, *, atomic: bool) -> IntentVersion:
        """Keep a document as the newest version; of those before, KEPT_VERSIONS stay."""
        table = schema.intent_versions
        with self._lock, self._database.writing("save the intents") as connection:
            number = (connection.scalar(select(func.max(table.c.version))) or 0) + 1
            made = IntentVersion(number, created_s, document, note, atomic)
            values = {name: getattr(made, name) for name in table.c.keys()}  # noqa: SIM118  # no mapping
            connection.execute(insert(table).values(values))
            connection.execute(delete(table).where(table.c.version < number - KEPT_VERSIONS))
        return made

    def settle(self, number: int) -> None:
        """All that can be done about a version was done."""
        table = schema.intent_versions
        with self._lock, self._database.writing("save the intents") as connection:
            connection.execute(update(table).where(table.c.version == number).values(settled=True))

    def progress(self) -> dict[str, Progress]:
        """How far transfers have come, by the name of the intent."""
        table = schema.transfers
        with self._database.reading("read how far transfers have come") as connection:
            rows = connection.execute(select(table.c.intent, table.c.body)).all()
        try:
            return {intent: load(Progress, body) for intent, body in rows}
        except BadRecord as error:
            where = self._database.where
            raise StoreError(f"{where} has a record that cannot be read: {error}; move the file away") from error

    def save_progress(self, progress: Mapping[str, Progress]) -> None:
        """Keep how far these have come, and forget all others."""
        table = schema.transfers
        rows = [{"intent": intent, "body": dump(one)} for intent, one in progress.items()]
        with self._lock, self._database.writing("save how far transfers have come") as connection:
            connection.execute(delete(table))
            if rows:
                connection.execute(insert(table), rows)
