"""Where the programs of this node are: the PATH of a service, or of a user, often lacks sbin."""

from __future__ import annotations

import os
import shutil

ALSO = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")


def search_path() -> str:
    """The directories in which programs are looked for."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *ALSO])


def find(name: str) -> str | None:
    """A program by its name; None where there is none."""
    return shutil.which(name, path=search_path())
