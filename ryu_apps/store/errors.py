"""What goes wrong with the store, said so that somebody can do something about it."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

_REMEDIES = (
    ("full", "free some space on its disk"),
    ("locked", "stop whatever else has it open, a database browser perhaps"),
    ("readonly", "let the user of the controller write to it and to its directory"),
    ("unable to open", "see that its directory exists and that the user of the controller may write there"),
    ("not a database", "it is something else: move it away, or give the controller another --state directory"),
    ("malformed", "it is damaged: move it away and start again, or put a copy of it back"),
    ("disk i/o", "see whether its disk is in order"),
)


class StoreError(RuntimeError):
    """The store could not be read or written; the message names the file and what helps."""


def is_locked(error: SQLAlchemyError) -> bool:
    """Whether somebody else holds the database."""
    return isinstance(error, DBAPIError) and "locked" in str(error.orig).lower()


def store_error(doing: str, where: str, error: SQLAlchemyError) -> StoreError:
    """What to raise for a failure of the database while `doing` something with the file `where`."""
    # Only the cause: the text of SQLAlchemy's error has the statement and its values in it.
    cause = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
    for sign, remedy in _REMEDIES:
        if sign in cause.lower():
            return StoreError(f"cannot {doing} in {where}: {cause}; {remedy}")
    return StoreError(f"cannot {doing} in {where}: {cause}")
