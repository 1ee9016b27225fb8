"""The directory of a controller: it is one controller's, keeps the key of its probes, and tells its ports."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from ryu_apps.starting.settings import StartError
from vte_agent.private_files import held


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold the directory against a second controller; the lock goes with the process, however it ends."""
    taken = StartError(f"another controller uses {directory}; stop it, or give this one its own with --state")
    with held(directory, taken):
        yield


def tell_ports(directory: Path, of_port: int, rest_port: int) -> None:
    """Leave the ports in DIR/ports, for whoever started this with a port of 0."""
    part = directory / "ports.part"
    part.write_text(f"openflow={of_port}\nrest={rest_port}\n")
    part.rename(directory / "ports")


def probe_key(directory: Path) -> bytes:
    """The key that signs probes, made at first start: links found before a restart are still believed after."""
    path = directory / "probe.key"
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) == 32:
            return key
        path.unlink()
    key = secrets.token_bytes(32)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key)
    return key
