"""The process of a charon: with what it starts, and by what it is known again (see daemons.py)."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path
from typing import Final

from vte_agent import programs
from vte_agent.tunnels import daemons
from vte_agent.tunnels.contract import TunnelFailed
from vte_agent.tunnels.daemons import Started

PROGRAM: Final = "charon-systemd"
"""Unlike charon it has no file with its process number that all of a machine share. It needs no systemd."""

PLUGINS: Final = "random nonce openssl gcm kdf kernel-libipsec kernel-netlink socket-default vici"

_DIRECTORIES = ("/usr/lib/ipsec/plugins", "/usr/lib/strongswan/plugins", "/usr/lib64/strongswan/plugins")
_PACKAGES = {"kernel-libipsec": "libcharon-extra-plugins", "openssl": "libstrongswan-standard-plugins"}
_CONFIGURATION = "STRONGSWAN_CONF"
_PROFILES = Path("/sys/kernel/security/apparmor/profiles")
_TUN = Path("/dev/net/tun")


def missing() -> str:
    """Why no charon can run here, and the remedy; "" where one can."""
    if programs.find(PROGRAM) is None:
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


def start(configuration: Path) -> Started:
    """Start charon with a configuration, by which it is known again. Raises TunnelFailed."""
    program = programs.find(PROGRAM)
    if program is None:
        raise TunnelFailed(missing())
    environment = {"PATH": programs.search_path(), _CONFIGURATION: str(configuration)}
    return daemons.start(program, [PROGRAM], environment, with_output=False)


def is_charon(pid: int, configuration: Path) -> bool:
    """Whether a process is a charon with this configuration in this network namespace."""
    found = daemons.running(pid)
    return (
        found is not None
        and found.command[0] == PROGRAM.encode()
        and f"{_CONFIGURATION}={configuration}".encode() in found.environment
    )


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
    daemons.end(pid, lambda: is_charon(pid, configuration), PROGRAM)
