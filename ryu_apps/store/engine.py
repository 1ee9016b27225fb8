"""Opens the database with the promises that its users need."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from ryu_apps.store.errors import StoreError, is_locked, store_error

BUSY_MS = 1000
"""How long a writer waits for another one. Those of this controller take milliseconds."""

LOCKED_MS = 20
"""How long once it is known that another program holds the file: who writes has other things to do meanwhile."""

_PATIENCE = 5
"""So many times longer the history waits: a thread of its own writes it, and nobody waits for that."""

IN_MEMORY = "sqlite://"
"""A database that is gone with its process, for whoever takes turns (Database.lock)."""

_READING, _BUSY = "lockstitch_reading", "lockstitch_busy_ms"


class Database:
    """One connection pool with its manners.

    durable: a commit survives the loss of power, not only the end of this process (SQLite: synchronous=FULL
    instead of NORMAL). Raises StoreError.
    """

    def __init__(self, url: str, *, durable: bool) -> None:
        try:
            parsed = make_url(url)
            # What is in memory is in one connection: another one would see another database.
            pool = (
                {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}} if url == IN_MEMORY else {}
            )
            self.engine: Engine = create_engine(parsed, **pool)
        except (ArgumentError, SQLAlchemyError, ImportError) as error:
            raise StoreError(f"cannot open the store {url!r}: {error}") from error
        self.where = parsed.database or parsed.render_as_string(hide_password=True)
        self._locked = False
        # The history waits again each time: what it gives up is lost.
        self._busy_ms = (BUSY_MS, LOCKED_MS) if durable else (_PATIENCE * BUSY_MS,) * 2
        if self.engine.dialect.name == "sqlite":
            _make_private(self.where)
            _teach_sqlite(self.engine, lambda: self._busy_ms[self._locked], durable=durable)
        # Writers of this process queue here: SQLite would have them sleep and try again.
        self.lock = threading.Lock()
        self._reader = self.engine.execution_options(**{_READING: True})

    @contextlib.contextmanager
    def writing(self, doing: str) -> Iterator[Connection]:
        """One transaction that may write; it is there, or nothing of it. Raises StoreError."""
        try:
            with self.engine.begin() as connection:
                self._locked = False
                yield connection
        except SQLAlchemyError as error:
            self._locked = is_locked(error)
            raise store_error(doing, self.where, error) from error

    @contextlib.contextmanager
    def reading(self, doing: str) -> Iterator[Connection]:
        """One view of the data at one moment, that waits for no writer. Raises StoreError."""
        try:
            with self._reader.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise store_error(doing, self.where, error) from error

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def _make_private(file: str) -> None:
    """Nobody else on the machine needs to see the fabric. SQLite gives its -wal file the same mode."""
    if file and file != ":memory:" and Path(file).parent.is_dir():
        with contextlib.suppress(FileExistsError, OSError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _teach_sqlite(engine: Engine, busy_ms: Callable[[], int], *, durable: bool) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        # Transactions are begun below: the driver would begin one at the first write, too late to read before it.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={busy_ms()}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        if durable:
            # Moving the log into the file takes its time; the history's thread has more of it.
            cursor.execute("PRAGMA wal_autocheckpoint=10000")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get(_READING, False)
        now_ms = busy_ms()
        if connection.info.get(_BUSY) != now_ms:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={now_ms}")
            connection.info[_BUSY] = now_ms
        # A writer takes its place at once: one that reads first might find at its first write that it is too late.
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
