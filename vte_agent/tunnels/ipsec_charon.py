"""The charon of this node: strongSwan's IKE daemon, of which the agent has one of its own with all its tunnels.

It is started when the first tunnel is made and outlives the agent, who finds it again by its socket; a supervisor
that ends the agent's children with it has to leave it (`KillMode=process` for systemd). It reads no configuration
but the one written here, and keeps no secret on disk: those are given to it over its socket.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from vte_agent.marks import BYPASS
from vte_agent.tunnels import daemons
from vte_agent.tunnels import ipsec_process as process
from vte_agent.tunnels.contract import TunnelFailed

_FIRST_PORT, _OTHER_PORTS = 4500, range(14_500, 14_600)
_START_WITHIN_S = 5.0
_POLL_S = 0.002
_LONGEST_PATH = 100
"""Of a socket's name: 107 bytes (unix(7))."""

_CONFIGURATION = """\
# Written by the agent, read by its charon.
charon-systemd {{
  load = {plugins}
  # IKE and ESP share the second port; the first is not used.
  port = 0
  port_nat_t = {port}
  install_virtual_ip = no
  routing_table = 0
  process_route = no
  # A dead end is given up after 4 s, and a lost packet is made up for after 1 s.
  retransmit_tries = 3
  retransmit_timeout = 1.0
  retransmit_base = 1.0
  half_open_timeout = 10
  # Many sites may share one address behind their provider's NAT.
  block_threshold = 50
  cookie_threshold = 100
  send_vendor_id = no
  plugins {{
    socket-default {{
      # Outer packets are no application's.
      fwmark = {mark}/{mark}
    }}
    vici {{
      socket = unix://{socket}
    }}
  }}
  journal {{
    default = 0
  }}
  filelog {{
    stderr {{
      default = 0
      lib = 1
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Running:
    """A charon that answers. tun: its TUN device."""

    pid: int
    port: int
    tun: str
    connection: socket.socket


class Charon:
    """Starts, finds and ends the charon of a directory. Everything happens in the current network namespace."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket, self._configuration = directory / "charon.vici", directory / "strongswan.conf"
        self._children: set[int] = set()

    def find(self) -> Running | None:
        """The one that runs, whoever started it. Raises TunnelFailed when the socket is somebody else's."""
        try:
            connection = self._dial()
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise TunnelFailed(f"cannot reach charon at {self._socket}: {error.strerror}") from None
        pid = _behind(connection)
        tun = process.tun_of(pid) if process.is_charon(pid, self._configuration) else None
        if tun is None:
            connection.close()
            raise TunnelFailed(f"what answers at {self._socket} is no charon of this agent's: end it")
        return Running(pid, self._port(), tun, connection)

    def start(self) -> Running:
        """Start one, or return the one there is. Raises TunnelFailed with nothing left behind."""
        running = self.find()
        if running is not None:
            return running
        self._prepare()
        started = process.start(self._configuration)
        self._children.add(started.pid)
        try:
            return self._wait_for(started)
        except TunnelFailed:
            process.end(started.pid, self._configuration)
            self._remove()
            raise
        finally:
            os.close(started.log)
            self.reap()

    def end(self) -> None:
        """End all that run, also one that hangs or whose socket is gone, and remove the files.

        Raises TunnelFailed if one stays.
        """
        for pid in self.processes():
            process.end(pid, self._configuration)
        self.reap()
        self._remove()

    def processes(self) -> list[int]:
        """All that run."""
        return process.search(self._configuration)

    def reap(self) -> None:
        """What was started here and has ended is left as no zombie."""
        self._children = {pid for pid in self._children if not daemons.reap(pid)}

    def _wait_for(self, started: daemons.Started) -> Running:
        give_up_s = time.monotonic() + _START_WITHIN_S
        while True:
            running = self.find()
            if running is not None:
                return running
            if daemons.reap(started.pid):
                raise TunnelFailed(f"{process.PROGRAM} ended at once: {started.said()}")
            if time.monotonic() > give_up_s:
                raise TunnelFailed(f"{process.PROGRAM} does not answer: {started.said()}")
            time.sleep(_POLL_S)

    def _prepare(self) -> None:
        """A directory of our own with a configuration, and no other charon that has it."""
        for pid in self.processes():
            process.end(pid, self._configuration)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self._directory.lstat()
            if (
                not stat.S_ISDIR(status.st_mode)
                or status.st_uid not in (0, os.geteuid())
                or status.st_mode & 0o022
            ):
                raise TunnelFailed(f"{self._directory} must be a directory that only the agent's user can write")
            self._directory.chmod(0o700)
            path = str(self._socket)
            if len(path) > _LONGEST_PATH or not re.fullmatch(r"[A-Za-z0-9/._-]+", path):
                raise TunnelFailed(f"{self._directory} has a name that is too long, or unusual characters in it")
            port = self._port()
            if not port or not _is_free(port):
                port = next(filter(_is_free, (_FIRST_PORT, *_OTHER_PORTS)), 0)
            self._configuration.write_text(
                _CONFIGURATION.format(plugins=process.PLUGINS, port=port, mark=BYPASS, socket=path)
            )
            self._socket.unlink(missing_ok=True)
        except OSError as error:
            raise TunnelFailed(f"cannot write {self._directory}: {error.strerror}") from None

    def _dial(self) -> socket.socket:
        for path in (self._directory, self._socket):
            status = path.lstat()
            if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o007 or stat.S_ISLNK(status.st_mode):
                raise TunnelFailed(f"{path} is open to other users: remove it")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.settimeout(1.0)
            connection.connect(str(self._socket))
        except OSError:
            connection.close()
            raise
        return connection

    def _port(self) -> int:
        """The one in the configuration; 0 where there is none."""
        with contextlib.suppress(OSError):
            found = re.search(r"^\s*port_nat_t = (\d{1,5})$", self._configuration.read_text(), re.MULTILINE)
            return int(found[1]) if found else 0
        return 0

    def _remove(self) -> None:
        for path in (self._socket, self._configuration):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._directory.rmdir()


def _behind(connection: socket.socket) -> int:
    """The process that listens at the other end of a connection."""
    size = struct.calcsize("3i")
    pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]
    return pid


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
