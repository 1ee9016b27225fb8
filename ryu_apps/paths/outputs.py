"""Where output goes: not over what is read, and only where something can be written."""

from __future__ import annotations

import os
from pathlib import Path


def require_writable(file: Path | None) -> None:
    """Raise OSError now, not after minutes of work, where `file` could not be written."""
    if file is None:
        return
    if file.is_dir():
        raise IsADirectoryError(f"{file}: it is a directory; give the name of a file")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise PermissionError(f"{file}: it cannot be written; give a file in a directory that is there and yours")


def same(one: Path, other: Path) -> bool:
    """Whether two names are of one file, also by a link, and also before it is there."""
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()
