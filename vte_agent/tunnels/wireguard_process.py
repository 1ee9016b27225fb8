"""The process of one wireguard-go: with what it starts, and by what it is known again (see daemons.py)."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path
from typing import Final

from vte_agent import programs
from vte_agent.tunnels import daemons
from vte_agent.tunnels.contract import TunnelFailed
from vte_agent.tunnels.daemons import Started

SOCKETS: Final = Path("/var/run/wireguard")
"""Where wireguard-go has its sockets; it can be told no other place."""

PROGRAM: Final = "wireguard-go"
_MARK: Final = "LOCKSTITCH_TUNNEL"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def start(device: str, tunnel: str) -> Started:
    """Start wireguard-go for a device, marked as ours by its environment. Raises TunnelFailed."""
    program = programs.find(PROGRAM)
    if program is None:
        raise TunnelFailed(f"{PROGRAM} is not installed; run 'apt-get install {PROGRAM}'")
    environment = {
        "PATH": programs.search_path(),
        "LOG_LEVEL": "error",
        "WG_PROCESS_FOREGROUND": "1",
        _MARK: tunnel,
    }
    return daemons.start(program, [PROGRAM, "-f", device], environment, with_output=True)


def said(started: Started) -> str:
    """The last line that a process wrote before it was told any key, and the remedy where it is known."""
    line = started.said()
    # Each has one inotify instance; by default a user has 128, on all of the machine.
    return line + ("; raise fs.inotify.max_user_instances with sysctl" if "too many open files" in line else "")


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
    found = daemons.running(pid)
    if found is None or found.command != (PROGRAM.encode(), b"-f", device.encode(), b""):
        return None
    prefix = f"{_MARK}=".encode()
    return next((one.removeprefix(prefix).decode() for one in found.environment if one.startswith(prefix)), None)


def search(device: str) -> int | None:
    """The process of a device whose socket is gone."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and tunnel_of(int(entry.name), device) is not None:
            return int(entry.name)
    return None


def end(pid: int, device: str) -> None:
    """End a process if it is the wireguard-go of this device, and wait for it. Raises TunnelFailed if it stays."""
    daemons.end(pid, lambda: tunnel_of(pid, device) is not None, f"the {PROGRAM} of device {device}")
