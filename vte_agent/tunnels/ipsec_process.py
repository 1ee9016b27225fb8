"""The process of a charon: how it starts, how it is known again, how exactly it and no other is ended."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import select
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vte_agent.tunnels.contract import TunnelFailed

PROGRAM: Final = "charon-systemd"
"""Unlike charon it has no file with its process number that all of a machine share. It needs no systemd."""

PLUGINS: Final = "random nonce openssl gcm kdf kernel-libipsec kernel-netlink socket-default vici"

_DIRECTORIES = ("/usr/lib/ipsec/plugins", "/usr/lib/strongswan/plugins", "/usr/lib64/strongswan/plugins")
_PACKAGES = {"kernel-libipsec": "libcharon-extra-plugins", "openssl": "libstrongswan-standard-plugins"}
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_PROFILES = Path("/sys/kernel/security/apparmor/profiles")
_TUN = Path("/dev/net/tun")
_END_WITHIN_MS = 1000
_LOG_BYTES = 16_384


def missing() -> str:
    """Why no charon can run here, and the remedy; "" where one can."""
    if _program() is None:
        return (
            f"{PROGRAM} is not installed: run 'apt-get install --no-install-recommends charon-systemd "
            "libcharon-extra-plugins libstrongswan-standard-plugins'"
        )
    for plugin, package in _PACKAGES.items():
        if not any(Path(one, f"libstrongswan-{plugin}.so").exists() for one in _DIRECTORIES):
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
    return shutil.which(PROGRAM, path=_PATH)


@dataclass(frozen=True)
class Started:
    """A process that was started here. log: a file in memory with the first of what it had to say."""

    pid: int
    log: int

    def said(self) -> str:
        """The last line that it wrote."""
        lines = os.pread(self.log, _LOG_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else "it says nothing"


def start(configuration: Path) -> Started:
    """Start charon with a configuration, by which it is known again. Raises TunnelFailed."""
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
            {"PATH": _PATH, "STRONGSWAN_CONF": str(configuration)},
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
    return Started(pid, log)


def is_charon(pid: int, configuration: Path) -> bool:
    """Whether a process is a charon with this configuration in this network namespace."""
    process = Path(f"/proc/{pid}")
    try:
        command = (process / "cmdline").read_bytes().split(b"\0")
        environment = (process / "environ").read_bytes().split(b"\0")
        here = (process / "ns/net").readlink() == Path("/proc/thread-self/ns/net").readlink()
    except OSError:
        return False
    return here and command[0] == PROGRAM.encode() and f"STRONGSWAN_CONF={configuration}".encode() in environment


def search(configuration: Path) -> list[int]:
    """All that run with this configuration here."""
    found = [int(one.name) for one in os.scandir("/proc") if one.name.isdigit()]
    return [pid for pid in found if is_charon(pid, configuration)]


def tun_of(pid: int) -> str | None:
    """The TUN device that a process holds; None where it has none."""
    with contextlib.suppress(OSError):
        for one in Path(f"/proc/{pid}/fdinfo").iterdir():
            # A descriptor may be closed while it is looked at.
            with contextlib.suppress(FileNotFoundError):
                found = re.search(r"^iff:\s*(\S+)$", one.read_text(), re.MULTILINE)
                if found:
                    return found[1]
    return None


def end(pid: int, configuration: Path) -> None:
    """End a process if it is a charon with this configuration. Raises TunnelFailed if it stays."""
    try:
        handle = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return
        raise TunnelFailed(f"cannot end process {pid}: {error.strerror}") from None
    try:
        # Looked at after it was opened: from here on the number cannot become another process's.
        if is_charon(pid, configuration) and not _ends(handle):
            raise TunnelFailed(f"{PROGRAM} (process {pid}) does not end; it may hang in the kernel")
    finally:
        os.close(handle)


def _ends(handle: int) -> bool:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if poll.poll(_END_WITHIN_MS):
            return True
    return False


def has_ended(pid: int) -> bool:
    """Whether a process started here has ended; then nothing is left of it."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not Path(f"/proc/{pid}").exists()
