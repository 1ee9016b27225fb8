"""What the signer remembers: tokens, members, controllers, and the roll. On the disk before anybody is told."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ryu_apps.overlay.signing.requests import ControllerCard, OpenToken
from vte_agent.protocol.members import Member
from vte_agent.protocol.signed import Signed

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, terms TEXT NOT NULL, expires_at INTEGER NOT NULL,
    secret TEXT, request TEXT, serial INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS members (
    serial INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, member TEXT NOT NULL, signed TEXT NOT NULL,
    not_after INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS names ON members (name) WHERE revoked = 0;
CREATE TABLE IF NOT EXISTS controllers (state_key TEXT PRIMARY KEY, card TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS rolls (
    epoch INTEGER PRIMARY KEY, issued_at INTEGER NOT NULL, not_after INTEGER NOT NULL, signed TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True)
class TokenRow:
    """A token as it is kept: with its secret until it is used, then with the hash of the request that used it."""

    terms: OpenToken
    secret: str | None
    request: str | None
    serial: int | None

    def __repr__(self) -> str:
        """Without the secret."""
        return f"TokenRow(id={self.terms.id!r})"


@dataclass(frozen=True)
class RollRow:
    """The roll that is in force."""

    epoch: int
    issued_at: int
    not_after: int
    signed: Signed


class Ledger:
    """A SQLite file. Whatever is changed within transaction() is there wholly and on the disk, or not at all.

    All methods raise sqlite3.Error.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        self._db.execute("PRAGMA synchronous = FULL")
        # Gone from the file as well: a secret that was used is no longer there to be read.
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # Where the disk is full SQLite may have rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def add_token(self, terms: OpenToken, secret: str) -> None:
        """Keep a new token."""
        row = (terms.id, terms.model_dump_json(), terms.expires_at, secret)
        self._db.execute("INSERT INTO tokens (id, terms, expires_at, secret) VALUES (?, ?, ?, ?)", row)

    def token(self, token_id: str) -> TokenRow | None:
        """A token, used or not."""
        row = self._db.execute(
            "SELECT terms, secret, request, serial FROM tokens WHERE id = ?", (token_id,)
        ).fetchone()
        return TokenRow(OpenToken.model_validate_json(row[0]), *row[1:]) if row else None

    def use_token(self, token_id: str, request: str, serial: int) -> None:
        """Its one use: the secret is forgotten."""
        self._db.execute(
            "UPDATE tokens SET secret = NULL, request = ?, serial = ? WHERE id = ?", (request, serial, token_id)
        )

    def drop_token(self, token_id: str) -> bool:
        """Forget a token that was not used; whether there was one."""
        found = self._db.execute("DELETE FROM tokens WHERE id = ? AND secret IS NOT NULL", (token_id,))
        return found.rowcount > 0

    def drop_tokens_before(self, expired_at: int) -> None:
        """Forget those that expired before."""
        self._db.execute("DELETE FROM tokens WHERE expires_at < ?", (expired_at,))

    def open_tokens(self, now_s: float) -> list[OpenToken]:
        """Those that can be used."""
        rows = self._db.execute(
            "SELECT terms FROM tokens WHERE secret IS NOT NULL AND expires_at > ? ORDER BY rowid", (int(now_s),)
        )
        return [OpenToken.model_validate_json(row[0]) for row in rows]

    def next_serial(self) -> int:
        """One that nobody has or ever had."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'members'").fetchone()
        return (row[0] if row else 0) + 1

    def put_member(self, member: Member, signed: Signed) -> None:
        """Keep a member, or what is newly signed of one."""
        self._db.execute(
            "INSERT INTO members (serial, name, member, signed, not_after) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (serial) DO UPDATE SET"
            " member = excluded.member, signed = excluded.signed, not_after = excluded.not_after",
            (
                member.serial, member.name, member.model_dump_json(), signed.model_dump_json(), member.not_after,
            ),
        )  # fmt: skip

    def members(self, after: int = 0, most: int = -1) -> list[tuple[Member, Signed]]:
        """Those that are not revoked."""
        rows = self._db.execute(
            "SELECT member, signed FROM members WHERE revoked = 0 AND serial > ? ORDER BY serial LIMIT ?",
            (after, most),
        )
        return [(Member.model_validate_json(row[0]), Signed.model_validate_json(row[1])) for row in rows]

    def member(self, serial: int) -> tuple[Member, Signed, bool] | None:
        """A member, and whether it is revoked."""
        row = self._db.execute(
            "SELECT member, signed, revoked FROM members WHERE serial = ?", (serial,)
        ).fetchone()
        if row is None:
            return None
        return Member.model_validate_json(row[0]), Signed.model_validate_json(row[1]), bool(row[2])

    def revoke(self, serial: int) -> None:
        """Mark one as put out."""
        self._db.execute("UPDATE members SET revoked = 1 WHERE serial = ?", (serial,))

    def revoked(self, now_s: float) -> tuple[int, ...]:
        """Those who are out and whose membership has not run out by itself."""
        rows = self._db.execute(
            "SELECT serial FROM members WHERE revoked = 1 AND not_after > ? ORDER BY serial", (int(now_s),)
        )
        return tuple(row[0] for row in rows)

    def put_card(self, card: ControllerCard) -> None:
        """Keep a controller."""
        self._db.execute(
            "INSERT OR REPLACE INTO controllers VALUES (?, ?)", (card.state_key, card.model_dump_json())
        )

    def drop_card(self, state_key: str) -> bool:
        """Forget a controller; whether it was there."""
        return self._db.execute("DELETE FROM controllers WHERE state_key = ?", (state_key,)).rowcount > 0

    def cards(self) -> list[ControllerCard]:
        """All controllers, in the order they came."""
        rows = self._db.execute("SELECT card FROM controllers ORDER BY rowid")
        return [ControllerCard.model_validate_json(row[0]) for row in rows]

    def put_roll(self, row: RollRow) -> None:
        """The roll from now on."""
        self._db.execute("DELETE FROM rolls")
        values = (row.epoch, row.issued_at, row.not_after, row.signed.model_dump_json())
        self._db.execute("INSERT INTO rolls VALUES (?, ?, ?, ?)", values)

    def roll(self) -> RollRow | None:
        """The roll of now; None before the first."""
        row = self._db.execute("SELECT epoch, issued_at, not_after, signed FROM rolls").fetchone()
        return RollRow(row[0], row[1], row[2], Signed.model_validate_json(row[3])) if row else None
