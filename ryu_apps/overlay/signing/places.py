"""Where the signer is, for those who talk to it: its directory, and the two sockets in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CONTROLLER_SOCKET = "controller.sock"
OPERATOR_SOCKET = "operator.sock"


@dataclass(frozen=True)
class Sockets:
    """The socket for the controller, and the one for the operator."""

    controller: Path
    operator: Path


def default_signer() -> Path:
    """Where the signer keeps its state unless told otherwise (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state") / "lockstitch-signer"


def in_state(directory: Path) -> Sockets:
    """Its sockets, where they were not put elsewhere."""
    return Sockets(directory / CONTROLLER_SOCKET, directory / OPERATOR_SOCKET)
