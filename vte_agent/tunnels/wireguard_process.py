"""The process of one wireguard-go: how it starts, how it is known again, how exactly it and no other is ended.

It outlives the agent: it has a session of its own, and writes to no pipe that could break. So a supervisor that
ends the agent's children with it has to leave these (`KillMode=process` for systemd).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vte_agent.tunnels.contract import TunnelFailed

SOCKETS: Final = Path("/var/run/wireguard")
"""Where wireguard-go has its sockets; it can be told no other place."""

PROGRAM: Final = "wireguard-go"
_MARK: Final = "LOCKSTITCH_TUNNEL"
_END_WITHIN_MS = 1000
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_LOG_BYTES = 4096


@dataclass(frozen=True)
class Started:
    """A process that was started here. log: a file in memory with the first of what it had to say."""

    pid: int
    log: int


def start(device: str, tunnel: str) -> Started:
    """Start wireguard-go for a device, marked as ours by its environment. Raises TunnelFailed."""
    program = shutil.which(PROGRAM, path=search_path())
    if program is None:
        raise TunnelFailed(f"{PROGRAM} is not installed; run 'apt-get install {PROGRAM}'")
    # Sealed: a process that complains for years takes no memory for it.
    log = os.memfd_create("wireguard-go", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(log, _LOG_BYTES)
        fcntl.fcntl(log, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
        pid = os.posix_spawn(
            program,
            [PROGRAM, "-f", device],
            {"PATH": search_path(), "LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1", _MARK: tunnel},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
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


def said(started: Started) -> str:
    """The last line that a process wrote before it was told any key."""
    lines = os.pread(started.log, _LOG_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace").strip().splitlines()
    if not lines:
        return "it says nothing"
    # Each has one inotify instance; by default a user has 128, on all of the machine.
    remedy = "; raise fs.inotify.max_user_instances with sysctl" if "too many open files" in lines[-1] else ""
    return lines[-1] + remedy


def reap(pid: int) -> bool:
    """Whether a process started here has ended; then nothing is left of it."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not Path(f"/proc/{pid}").exists()


def socket_of(device: str) -> Path:
    """Where the socket of a device is."""
    return SOCKETS / f"{device}.sock"


def dial(device: str) -> socket.socket:
    """A connection to a device's socket.

    Raises OSError as connect does, TunnelFailed if somebody else could have put the socket there.
    """
    path = socket_of(device)
    directory, file = path.parent.stat(), path.lstat()
    for what, status, forbidden in ((path.parent, directory, _WRITABLE_BY_OTHERS), (path, file, _OTHERS)):
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & forbidden:
            raise TunnelFailed(
                f"{what} is open to other users: its owner must be root, and nobody else may write it"
            )
    if not stat.S_ISSOCK(file.st_mode):
        raise TunnelFailed(f"{path} is no socket; remove it")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(1.0)
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def behind(connection: socket.socket) -> int:
    """The process that listens at the other end of a connection."""
    size = struct.calcsize("3i")
    pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]
    return pid


def tunnel_of(pid: int, device: str) -> str | None:
    """The tunnel for which a process runs wireguard-go on this device, in this network namespace.

    None if that is not what it does.
    """
    process = Path(f"/proc/{pid}")
    try:
        command = (process / "cmdline").read_bytes().split(b"\0")
        environment = (process / "environ").read_bytes().split(b"\0")
        here = (process / "ns/net").readlink() == Path("/proc/thread-self/ns/net").readlink()
    except OSError:
        return None
    if not here or command != [PROGRAM.encode(), b"-f", device.encode(), b""]:
        return None
    prefix = f"{_MARK}=".encode()
    return next((one.removeprefix(prefix).decode() for one in environment if one.startswith(prefix)), None)


def is_ending(pid: int) -> bool:
    """Whether a process has ended, or is about to and has no memory any more; its files may still be open."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def search(device: str) -> int | None:
    """The process of a device whose socket is gone."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and tunnel_of(int(entry.name), device) is not None:
            return int(entry.name)
    return None


def end(pid: int, device: str) -> None:
    """End a process if it is the wireguard-go of this device, and wait for it. Raises TunnelFailed if it stays."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Looked at after it was opened: from here on the number cannot become another process's.
        if is_ending(pid):
            signals: tuple[int, ...] = (0,)
        elif tunnel_of(pid, device) is None:
            return
        else:
            signals = (signal.SIGTERM, signal.SIGKILL)
        for number in signals:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            if poll.poll(_END_WITHIN_MS):
                return
    finally:
        os.close(handle)
    raise TunnelFailed(f"the {PROGRAM} of device {device} (process {pid}) does not end; it may hang in the kernel")


def search_path() -> str:
    """Where programs are looked for: root of a service often lacks sbin."""
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/bin:/sbin:/bin"
