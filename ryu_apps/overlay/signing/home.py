"""The signer's directory: its key and its ledger, for its own user alone, and for one process at a time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ryu_apps.overlay.signing.ledger import Ledger
from ryu_apps.overlay.signing.signer import Signer
from vte_agent.private_files import held, write_file

KEY = "policy.key"
LEDGER = "ledger.db"


class SignerError(Exception):
    """The signer cannot start; the message says what to do."""


class InUse(SignerError):
    """Another process has the directory."""


@contextlib.contextmanager
def opened(directory: Path, clock: Callable[[], float]) -> Iterator[Signer]:
    """The signer of a directory, made at its first use. Raises SignerError; InUse where another process has it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_mode(directory, "700")
        with held(directory, InUse(f"another signer uses {directory}; stop it, or ask it")):
            key = _key(directory)
            with contextlib.closing(Ledger(directory / LEDGER)) as ledger:
                signer = Signer(ledger, key, clock)
                if not signer.has_signed_its_ledger:
                    raise SignerError(
                        f"{directory / KEY} is not the key that {directory / LEDGER} is of; "
                        "put it back from a copy: all agents know it"
                    )
                yield signer
    except OSError as error:
        raise SignerError(f"cannot use {directory} for the signer: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise SignerError(f"{directory / LEDGER} cannot be used ({error}); put it back from a copy") from error


def _key(directory: Path) -> Ed25519PrivateKey:
    path = directory / KEY
    if not path.exists():
        if (directory / LEDGER).exists():
            raise SignerError(f"{path} is gone; put it back from a copy: all agents know it")
        write_file(path, Ed25519PrivateKey.generate().private_bytes_raw(), 0o600)
    _check_mode(path, "600")
    try:
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except ValueError:
        raise SignerError(f"{path} is damaged; put it back from a copy: all agents know it") from None


def _check_mode(path: Path, should_be: str) -> None:
    status = path.stat()
    if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.geteuid():
        raise SignerError(
            f"{path} can be used by others; run: chown {os.geteuid()} {path}; chmod {should_be} {path}"
        )
