"""A controller as it presents itself to the signer: its card, its key, and where others find them."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from ryu_apps.overlay.signing.requests import ControllerCard
from stitching.overlay.sites import Prefix
from stitching.overlay.tunnels import DEFAULT_RANGE
from vte_agent.private_files import write_file
from vte_agent.protocol.base import public_text

KEY_FILE = "overlay-state.key"
CARD_FILE = "overlay-card.json"


class CardError(Exception):
    """A key or a card cannot be had; the message says what to do."""


def state_key(directory: Path) -> Ed25519PrivateKey:
    """The key that signs what sites shall have, made at its first use (0600). Raises CardError."""
    path = directory / KEY_FILE
    try:
        if not path.exists():
            write_file(path, Ed25519PrivateKey.generate().private_bytes_raw(), 0o600)
        status = path.stat()
        if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.geteuid():
            raise CardError(f"{path} can be used by others; run: chown {os.geteuid()} {path}; chmod 600 {path}")
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except OSError as error:
        raise CardError(f"{path} cannot be used ({error.strerror})") from error
    except ValueError:
        raise CardError(
            f"{path} is damaged; put it back from a copy, or remove it and have the signer trust the new card"
        ) from None


def card_of(
    key: Ed25519PrivateKey,
    authority_sha256: str,
    addresses: Sequence[str],
    overlay_range: Prefix = DEFAULT_RANGE,
) -> ControllerCard:
    """The card of a controller. Nothing in it is secret."""
    return ControllerCard(
        state_key=public_text(key.public_key().public_bytes_raw()),
        authority_sha256=authority_sha256,
        addresses=tuple(addresses),
        overlay_range=overlay_range,
    )


def write_card(directory: Path, card: ControllerCard) -> Path:
    """Leave the card in a state directory, for whoever sets the signer up. Raises OSError."""
    path = directory / CARD_FILE
    write_file(path, card.model_dump_json().encode() + b"\n", 0o644)
    return path


def read_card(text: str) -> ControllerCard:
    """The card of a text. Raises CardError."""
    try:
        return ControllerCard.model_validate_json(text)
    except ValidationError:
        raise CardError(
            "this is no card of a controller; `lockstitch overlay card` prints one, and the "
            f"controller's state directory has it as {CARD_FILE}"
        ) from None
