"""The token that opens the API: a file that only its owner can read."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

FILE_NAME = "token"

_LEAST_CHARACTERS = 16
_MOST_BYTES = 4096


class TokenError(Exception):
    """The token cannot be had; the message says what to do."""


def load_or_make_token(directory: Path) -> str:
    """The token of this state directory, made at the first start.

    The directory is made with mode 0700 where it is missing. Raises TokenError for a file that others can
    read or that holds no token, or a directory that cannot be written.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (directory / FILE_NAME).exists():
            _make(directory)
    except OSError as error:
        raise TokenError(
            f"cannot keep a token in {directory}: {error.strerror}; choose another directory with --state"
        ) from error
    return read_token(directory)


def read_token(directory: Path) -> str:
    """The token of a state directory. Raises TokenError where there is none, or others can read it."""
    path = directory / FILE_NAME
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise TokenError(f"{path} is not a file; remove it to have a token made at the next start")
            if stat.S_IMODE(status.st_mode) & 0o077:
                raise TokenError(f"{path} can be read by others; run: chmod 600 {path}")
            content = file.read(_MOST_BYTES)
    except FileNotFoundError as error:
        raise TokenError(
            f"there is no token in {directory}; start a controller with `lockstitch controller`, "
            "or give the state directory "
            "of one with --state, as the user who runs it"
        ) from error
    except OSError as error:
        raise TokenError(
            f"cannot read {path}: {error.strerror}; run as the user who runs the controller"
        ) from error
    token = content.strip()
    if len(token) < _LEAST_CHARACTERS or not all(0x21 <= byte <= 0x7E for byte in token):
        raise TokenError(f"{path} holds no token; remove it to have one made at the next start of the controller")
    return token.decode()


def _make(directory: Path) -> None:
    """Write a new token under its name in one step, so that nobody ever reads half of one.

    A link fails where the name is taken: of two controllers that start at once, both use the first one's.
    """
    draft = directory / f".{FILE_NAME}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            (directory / FILE_NAME).hardlink_to(draft)
    finally:
        draft.unlink()
