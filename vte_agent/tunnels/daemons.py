"""Processes that carry tunnels and outlive the agent: how one is started, and how it and no other is ended.

Each has a session of its own and writes to no pipe that could break. So a supervisor that ends the agent's
children with it has to leave these (`KillMode=process` for systemd).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vte_agent.tunnels.contract import TunnelFailed

_LOG_BYTES = 16_384
_SAID_CHARS = 200
_END_WITHIN_MS = 1000


@dataclass(frozen=True)
class Started:
    """A process that was started here. log: a file in memory with the first of what it had to say."""

    pid: int
    log: int

    def said(self) -> str:
        """The last line that it wrote."""
        lines = os.pread(self.log, _LOG_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:_SAID_CHARS] if lines else "it says nothing"


def start(program: str, words: Sequence[str], environment: Mapping[str, str], *, with_output: bool) -> Started:
    """Start a program; of its output the log has what it says as errors, or all of it. Raises TunnelFailed."""
    # Sealed: a process that complains for years takes no memory for it.
    log = os.memfd_create(words[0], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    output = (os.POSIX_SPAWN_DUP2, log, 1) if with_output else (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    try:
        os.ftruncate(log, _LOG_BYTES)
        fcntl.fcntl(log, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
        pid = os.posix_spawn(
            program,
            list(words),
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                output,
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
            setsigmask=(),
            # What Python ignores, its children would ignore.
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGTERM, signal.SIGINT),
        )
    except OSError as error:
        os.close(log)
        raise TunnelFailed(f"cannot start {program}: {error.strerror}") from None
    return Started(pid, log)


@dataclass(frozen=True)
class Running:
    """What a process in this network namespace was started with."""

    command: tuple[bytes, ...]
    environment: frozenset[bytes]


def running(pid: int) -> Running | None:
    """A process, where it is in this network namespace."""
    process = Path(f"/proc/{pid}")
    try:
        command = (process / "cmdline").read_bytes().split(b"\0")
        environment = (process / "environ").read_bytes().split(b"\0")
        here = (process / "ns/net").readlink() == Path("/proc/thread-self/ns/net").readlink()
    except OSError:
        return None
    return Running(tuple(command), frozenset(environment)) if here else None


def reap(pid: int) -> bool:
    """Whether a process started here has ended; then nothing is left of it."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not Path(f"/proc/{pid}").exists()


def is_ending(pid: int) -> bool:
    """Whether a process has ended, or is about to and has no memory any more; its files may still be open."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def end(pid: int, is_ours: Callable[[], bool], what: str) -> None:
    """End a process if it is ours, and wait for it. Raises TunnelFailed if it stays."""
    try:
        handle = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return
        raise TunnelFailed(f"cannot end process {pid}: {error.strerror}") from None
    try:
        # Looked at after it was opened: from here on the number cannot become another process's.
        if is_ending(pid):
            signals: tuple[int, ...] = (0,)
        elif is_ours():
            signals = (signal.SIGTERM, signal.SIGKILL)
        else:
            return
        for number in signals:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            if poll.poll(_END_WITHIN_MS):
                return
    finally:
        os.close(handle)
    raise TunnelFailed(f"{what} (process {pid}) does not end; it may hang in the kernel")
