"""Files written in one step and never open to more than they should be, and a directory for one process at a time.

For the agent, and for the controller and its signer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

DRAFTS = ".*.part"
"""What a process that was killed may have left half written."""


def write_file(path: Path, content: bytes, mode: int, *, lasting: bool = True) -> None:
    """Write a file in one step, on the disk when this returns. Raises OSError, with the old one still there.

    lasting False: the disk is not waited for; what was just written may be gone or empty after a power failure.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        draft.rename(path)
        if lasting:
            sync_directory(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on the disk too."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held(directory: Path, taken: Exception) -> Iterator[None]:
    """Hold a directory against other processes that would; the lock goes with the process, however it ends.

    Raises `taken` where another one has it, and OSError.
    """
    lock = os.open(directory / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise taken from None
        yield
    finally:
        os.close(lock)
