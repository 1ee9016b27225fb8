"""The private keys and ports of WireGuard devices, kept on the node's disk.

A device goes with its process, and all of them when the machine is started anew. With the key and the port that it
had it is again the one that its other end knows, also while no controller can tell of another.
"""

from __future__ import annotations

import base64
import binascii
import errno
import logging
import socket
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from vte_agent.private_files import write_file

DIRECTORY = "tunnel-keys"
KEY_BYTES = 32
_PORTS = 1 << 16

_log = logging.getLogger("vte_agent.tunnels")


@dataclass(frozen=True)
class OwnKey:
    """A private key (X25519), and the UDP port where its device listens; 0: not known yet."""

    private_key: bytes = field(repr=False)
    port: int = 0


class OwnKeys:
    """Those of one node, by device. directory: where they are kept, a file each; None: nowhere."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._known: dict[str, OwnKey] = {}
        if directory is None or not directory.is_dir():
            return
        for path in directory.iterdir():
            try:
                self._known[path.name] = _read(path.read_text())
            except (OSError, ValueError) as error:
                # The device gets another, as a new one does.
                _log.warning("key_lost=%s it cannot be read (%s)", path, type(error).__name__)
                path.unlink(missing_ok=True)

    def of(self, device: str) -> OwnKey | None:
        """What a device had."""
        return self._known.get(device)

    def keep(self, device: str, key: OwnKey) -> None:
        """Have it for the next time. Where the disk does not take it, that is in the log, and this run has it."""
        if self._known.get(device) == key:
            return
        self._known[device] = key
        if self._directory is None:
            return
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            # A mesh is made of hundreds, and the disk may take its time: what is lost is made anew.
            write_file(self._directory / device, _text(key).encode(), 0o600, lasting=False)
        except OSError as error:
            _log.warning(
                "key_not_kept=%s %s; after a restart of the machine it has another", device, error.strerror
            )

    def keep_only(self, devices: Collection[str]) -> None:
        """Forget those of all others."""
        for device in self._known.keys() - set(devices):
            del self._known[device]
            if self._directory is not None:
                (self._directory / device).unlink(missing_ok=True)


def is_free(port: int) -> bool:
    """Whether nobody else has a UDP port of this network namespace."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(("", port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
    return True


def _text(key: OwnKey) -> str:
    return f"{key.port} {base64.b64encode(key.private_key).decode()}\n"


def _read(text: str) -> OwnKey:
    """Raises ValueError, which shows nothing of it."""
    port, _, word = text.strip().partition(" ")
    try:
        key = OwnKey(base64.b64decode(word, validate=True), int(port))
    except (ValueError, binascii.Error):
        raise ValueError("not a port and a key") from None
    if len(key.private_key) != KEY_BYTES or not 0 <= key.port < _PORTS:
        raise ValueError("not a port and a key")
    return key
