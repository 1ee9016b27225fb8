"""The agent's files: written in one step, for its user alone; what the disk does not take is tried again."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from vte_agent.private_files import DRAFTS, held, write_file

_MARK = b"\0lockstitch-vte-agent"


class CannotKeep(Exception):
    """A file cannot be read or written; the message says why and what to do. Nothing of its content is in it."""


class InUse(CannotKeep):
    """Another process is at work on the directory."""


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold a state directory against others that would change it; the lock goes with the process, however it ends.

    Raises CannotKeep; InUse where another one has it.
    """
    taken = InUse(f"another vte-agent is at work on {directory}; stop it first (systemctl stop vte-agent)")
    with contextlib.ExitStack() as stack:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(held(directory, taken))
        except OSError as error:
            raise _cannot(directory, error) from error
        yield


@contextlib.contextmanager
def alone_here() -> Iterator[None]:
    """Hold this network namespace against agents with other state directories; its tables have one owner.

    Raises InUse.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mark:
        try:
            # Abstract names are of the network namespace, and go with the process.
            mark.bind(_MARK)
        except OSError as error:
            raise InUse(
                "another vte-agent, with another state directory, is at work on this machine; stop it first: one "
                "agent looks after all uplinks of a network namespace"
            ) from error
        yield


def _cannot(directory: Path, error: OSError) -> CannotKeep:
    remedy = "run this as root, or give" if isinstance(error, PermissionError) else "give"
    return CannotKeep(f"{directory} cannot be used ({error.strerror}); {remedy} another one with --state")


class Keeping:
    """The state directory (0700) of one agent. For one thread."""

    def __init__(self, directory: Path, *, looking: bool = False) -> None:
        """looking: an agent may be at work there, and nothing is changed. Raises CannotKeep."""
        self._directory = directory
        self._waiting: dict[str, bytes] = {}
        self._why: dict[str, str] = {}
        self._looking = looking
        try:
            if not looking:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_mode(directory, "700")
            if looking:
                return
            for draft in directory.glob(DRAFTS):
                draft.unlink()
        except OSError as error:
            raise _cannot(directory, error) from error

    def path(self, name: str) -> Path:
        """Where a file is."""
        return self._directory / name

    def read(self, name: str) -> bytes | None:
        """A file as it was last put; None where there is none. Raises CannotKeep."""
        if name in self._waiting:
            return self._waiting[name]
        path = self.path(name)
        try:
            self._check_mode(path, "600")
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CannotKeep(f"{path} cannot be read ({error.strerror})") from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file; it is on the disk when this returns. Raises CannotKeep, with the old one still there."""
        path = self.path(name)
        if self._looking:
            raise CannotKeep(f"{path} is not there; put it back from a copy, or enroll anew")
        try:
            write_file(path, content, 0o600)
        except OSError as error:
            raise CannotKeep(
                f"{path} cannot be written ({error.strerror}); make room for it: it is tried again"
            ) from error
        self._waiting.pop(name, None)
        self._why.pop(name, None)

    def remove(self, name: str) -> None:
        """Have no such file any more. Raises CannotKeep."""
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError as error:
            raise CannotKeep(f"{self.path(name)} cannot be removed ({error.strerror})") from error

    def put(self, name: str, content: bytes) -> None:
        """Write a file, now or with the next flush() that succeeds; until then only this process knows it."""
        if self._looking:
            self._waiting[name] = content
            return
        try:
            self.write(name, content)
        except CannotKeep as error:
            self._waiting[name] = content
            self._why[name] = str(error)

    def flush(self) -> None:
        """Try again what the disk did not take."""
        for name, content in list(self._waiting.items()):
            self.put(name, content)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not on the disk, and why."""
        return tuple(self._why.values())

    def _check_mode(self, path: Path, should_be: str) -> None:
        status = path.stat()
        if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.geteuid():
            raise CannotKeep(
                f"{path} can be used by others; run: chown {os.geteuid()} {path}; chmod {should_be} {path}"
            )
