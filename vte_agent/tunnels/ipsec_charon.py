"""The charon of this node: strongSwan's IKE daemon, of which the agent has one of its own with all its tunnels.

It is started when the first tunnel is made and outlives the agent, who finds it again by its socket; a supervisor
that ends the agent's children with it has to leave it (`KillMode=process` for systemd). It reads no configuration
but the one written here, and keeps no secret on disk: those are given to it over its socket.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import select
import shutil
import signal
import socket
import stat
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vte_agent.tunnels.contract import TunnelFailed

PROGRAM: Final = "charon-systemd"
"""Unlike charon it has no file with its process number that all of a machine share. It needs no systemd."""

_PLUGIN_DIRECTORIES = ("/usr/lib/ipsec/plugins", "/usr/lib/strongswan/plugins", "/usr/lib64/strongswan/plugins")
_PLUGINS = "random nonce openssl gcm kdf kernel-libipsec kernel-netlink socket-default vici"
_PACKAGES = {"kernel-libipsec": "libcharon-extra-plugins", "openssl": "libstrongswan-standard-plugins"}
_PROFILES = Path("/sys/kernel/security/apparmor/profiles")
_TUN = Path("/dev/net/tun")
_FIRST_PORT, _OTHER_PORTS = 4500, range(14_500, 14_600)
_START_WITHIN_S, _END_WITHIN_MS = 5.0, 2000
_POLL_S = 0.002
_LOG_BYTES = 16_384

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
      net = 1
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
        tun = self._tun(pid)
        if tun is None:
            connection.close()
            raise TunnelFailed(
                f"what answers at {self._socket} is no charon of this agent's: end it, or remove the file"
            )
        return Running(pid, self._port(), tun, connection)

    def start(self) -> Running:
        """Start one, or return the one there is. Raises TunnelFailed with nothing left behind."""
        running = self.find()
        if running is not None:
            return running
        self._prepare()
        pid, log = self._spawn()
        try:
            give_up_s = time.monotonic() + _START_WITHIN_S
            while True:
                running = self.find()
                if running is not None:
                    self._check_port(log)
                    return running
                if _has_ended(pid):
                    raise TunnelFailed(f"{PROGRAM} ended at once: {_last_line(log)}")
                if time.monotonic() > give_up_s:
                    raise TunnelFailed(f"{PROGRAM} does not answer: {_last_line(log)}")
                time.sleep(_POLL_S)
        except TunnelFailed:
            self._end(pid)
            self._remove()
            raise
        finally:
            os.close(log)

    def end(self) -> None:
        """End the one that runs and remove its files. Raises TunnelFailed if it stays."""
        with contextlib.suppress(TunnelFailed):
            running = self.find()
            if running is not None:
                running.connection.close()
                self._end(running.pid)
        for pid in self._processes():
            self._end(pid)
        self._remove()

    def reap(self) -> None:
        """What was started here and has ended is left as no zombie."""
        self._children = {pid for pid in self._children if not _has_ended(pid)}

    def _prepare(self) -> None:
        # One that hangs, or whose socket was removed.
        for pid in self._processes():
            self._end(pid)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self._directory.lstat()
            if (
                not stat.S_ISDIR(status.st_mode)
                or status.st_uid not in (0, os.geteuid())
                or status.st_mode & 0o022
            ):
                raise TunnelFailed(
                    f"{self._directory} must be a directory that nobody but the agent's user can write"
                )
            self._directory.chmod(0o700)
            if len(str(self._socket)) > 100 or not re.fullmatch(r"[A-Za-z0-9/._-]+", str(self._socket)):
                raise TunnelFailed(
                    f"{self._directory} cannot be used: its name is too long or has unusual characters"
                )
            port = self._port()
            if not port or not _is_free(port):
                port = next(filter(_is_free, (_FIRST_PORT, *_OTHER_PORTS)), 0)
            text = _CONFIGURATION.format(plugins=_PLUGINS, port=port, socket=self._socket)
            self._configuration.write_text(text)
            self._socket.unlink(missing_ok=True)
        except OSError as error:
            raise TunnelFailed(f"cannot write {self._directory}: {error.strerror}") from None

    def _spawn(self) -> tuple[int, int]:
        program = _program()
        if program is None:
            raise TunnelFailed(missing())
        # Sealed: a process that complains for years takes no memory for it.
        log = os.memfd_create(PROGRAM, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(log, _LOG_BYTES)
            fcntl.fcntl(log, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
            pid = os.posix_spawn(
                program,
                [PROGRAM],
                {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "STRONGSWAN_CONF": str(self._configuration)},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
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
        self._children.add(pid)
        return pid, log

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
        with contextlib.suppress(OSError):
            found = re.search(r"^\s*port_nat_t = (\d{1,5})$", self._configuration.read_text(), re.MULTILINE)
            return int(found[1]) if found else 0
        return 0

    def _is_ours(self, pid: int) -> bool:
        """Whether a process is a charon with our configuration in this network namespace."""
        process = Path(f"/proc/{pid}")
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes().split(b"\0")
            here = (process / "ns/net").readlink() == Path("/proc/thread-self/ns/net").readlink()
        except OSError:
            return False
        return (
            here
            and command[0] == PROGRAM.encode()
            and f"STRONGSWAN_CONF={self._configuration}".encode() in environment
        )

    def _processes(self) -> list[int]:
        return [
            int(one.name) for one in os.scandir("/proc") if one.name.isdigit() and self._is_ours(int(one.name))
        ]

    def _tun(self, pid: int) -> str | None:
        if not self._is_ours(pid):
            return None
        try:
            for one in Path(f"/proc/{pid}/fdinfo").iterdir():
                # A descriptor may be closed while it is looked at.
                with contextlib.suppress(FileNotFoundError):
                    found = re.search(r"^iff:\s*(\S+)$", one.read_text(), re.MULTILINE)
                    if found:
                        return found[1]
        except OSError:
            return None
        return None

    def _check_port(self, log: int) -> None:
        if "unable to bind" in _said(log):
            raise TunnelFailed(f"charon cannot have UDP port {self._port()}: {_last_line(log)}")

    def _end(self, pid: int) -> None:
        try:
            handle = os.pidfd_open(pid)
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.EINVAL):
                self.reap()
                return
            raise
        try:
            # Looked at after it was opened: from here on the number cannot become another process's.
            if self._is_ours(pid) and not _ends(handle):
                raise TunnelFailed(f"{PROGRAM} (process {pid}) does not end; it may hang in the kernel")
        finally:
            os.close(handle)
            self.reap()

    def _remove(self) -> None:
        for path in (self._socket, self._configuration):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._directory.rmdir()


def missing() -> str:
    """Why no charon can run here, and the remedy; "" where one can."""
    if _program() is None:
        return (
            f"{PROGRAM} is not installed: run 'apt-get install --no-install-recommends charon-systemd "
            "libcharon-extra-plugins libstrongswan-standard-plugins'"
        )
    for plugin, package in _PACKAGES.items():
        if not any(Path(one, f"libstrongswan-{plugin}.so").exists() for one in _PLUGIN_DIRECTORIES):
            return f"strongSwan's plugin {plugin} is not installed: run 'apt-get install {package}'"
    with contextlib.suppress(OSError):
        if re.search(rf"^\S*{PROGRAM} \(enforce\)$", _PROFILES.read_text(), re.MULTILINE):
            return f"AppArmor keeps {PROGRAM} from the agent's files: run 'aa-complain {PROGRAM}'"
    return _tun_missing()


def _tun_missing() -> str:
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            return f"{_TUN} is forbidden here: run the agent as root, and allow the container the device"
        return f"there is no {_TUN}: run 'modprobe tun', or give the container the device {_TUN}"
    return ""


def _program() -> str | None:
    return shutil.which(PROGRAM, path="/usr/sbin:/usr/local/sbin:/usr/bin:/sbin")


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


def _ends(handle: int) -> bool:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if poll.poll(_END_WITHIN_MS):
            return True
    return False


def _has_ended(pid: int) -> bool:
    """Whether a process started here has ended; then nothing is left of it."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not Path(f"/proc/{pid}").exists()


def _said(log: int) -> str:
    return os.pread(log, _LOG_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace")


def _last_line(log: int) -> str:
    lines = _said(log).strip().splitlines()
    return lines[-1][:200] if lines else "it says nothing"
